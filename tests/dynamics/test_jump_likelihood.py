"""Transition matrices, counts of pairs, the likelihood of a generator and its gradient, by both of its methods."""

from __future__ import annotations

import csv
from math import factorial

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from trajlab.dynamics.jumps import eigen
from trajlab.dynamics.jumps.generator import checked, from_rates, mean_jump_rate, stationary, transition
from trajlab.dynamics.jumps.kernels import panel_gradient
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import PairCounts, pair_counts
from trajlab.types import JumpPaths

METHODS = ["squaring", "eigen"]
LAGS = np.array([0.05, 0.1, 0.17, 0.3, 0.4, 0.7, 0.9, 1.3, 2.0, 3.1])


def chain(n: int, tilt: float = 0.0) -> np.ndarray:
    """One-way jumps at equal rates: a single eigenvector for n - 1 equal eigenvalues."""
    rates = np.zeros((n, n))
    rates[np.arange(n - 1), np.arange(1, n)] = 1.0 + tilt * np.arange(n - 1)
    return from_rates(rates)


def ring(n: int) -> np.ndarray:
    """Jumps one way round: complex eigenvalues."""
    return from_rates(np.roll(np.eye(n), 1, 1) * 1.5)


def generic(n: int, seed: int = 0) -> np.ndarray:
    return from_rates(np.random.default_rng(seed).gamma(1.0, 1.0, (n, n)))


def absorbing() -> np.ndarray:
    q = generic(4, 3)
    q[3] = 0.0
    return q


GENERATORS = {
    "generic": generic(5), "complex pairs": ring(5), "defective": chain(4), "nearly defective": chain(4, 1e-9), "absorbing": absorbing(),
    "two times one rate": from_rates(np.array([[0, 1, 0.0], [0, 0, 1.0], [0.5, 0.5, 0]])),
}


def some_counts(q: np.ndarray, seed: int = 0, entries: bool = True) -> PairCounts:
    """Ten lags, fifteen possible pairs each, some of them entries of known date, and a few exact jumps and times."""
    rng = np.random.default_rng(seed)
    n, rows = len(q), []
    into = np.flatnonzero((q - np.diag(np.diag(q))).sum(0) > 0)
    for lag, p in zip(LAGS, transition(q, LAGS), strict=True):
        for _ in range(15):
            i = rng.integers(n)
            j = rng.choice(n, p=p[i] / p[i].sum())
            entry = bool(entries and rng.random() < 0.3 and j in into and q[i, i] < 0 and (p[i] @ q)[j] - p[i, j] * q[j, j] > 1e-12)
            rows.append((lag, i, j, rng.integers(1, 4), entry))
    lag, start, stop, weight, entry = (np.array(v) for v in zip(*rows, strict=True))
    counts = PairCounts.from_pairs(lag, start, stop, n, weight.astype(float), entry)
    if entries:
        counts.jumps[q > 0] += 1.0
        counts.time[:] += 0.5
    return counts


def scaled(counts: PairCounts, factor: float) -> PairCounts:
    out = PairCounts.from_pairs(counts.lag_of_pair * factor, counts.start, counts.stop, counts.n_states, counts.weight, counts.entry)
    out.jumps[:] += counts.jumps
    out.time[:] += counts.time * factor
    return out


def test_small_probabilities_keep_their_digits():
    n, t = 20, 1e-3
    p = transition(chain(n), np.array(t))
    exact = np.exp(-t) * t ** np.arange(n - 1) / np.array([factorial(k) for k in range(n - 1)], dtype=float)
    np.testing.assert_allclose(p[0, :-1], exact, rtol=2e-12)
    np.testing.assert_allclose(transition(generic(6), np.array([0.0, 0.3, 40.0]))[1], expm(generic(6) * 0.3), rtol=1e-12)
    np.testing.assert_allclose(transition(generic(6), np.array(40.0)), np.tile(stationary(generic(6)), (6, 1)), rtol=1e-12)


def test_stiff_transitions_stay_probabilities():
    q = from_rates(np.array([[0, 1e6, 0], [1e6, 0, 1e-3], [0, 1e-3, 0]]))
    p = transition(q, np.array([1e-7, 1.0, 1e3]))
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(p[2, 2, 2], 1 / 3 + 2 / 3 * np.exp(-1.5e-3 * 1e3), rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", GENERATORS)
def test_gradient_by_every_entry_is_the_integral(name, method):
    """The upper right block of expm([[q^T, w], [0, q^T]] dt) is the same integral (Van Loan 1978)."""
    q = GENERATORS[name]
    n, counts = len(q), some_counts(q, entries=False)
    wanted, loglik = np.zeros((n, n)), 0.0
    for m, lag in enumerate(counts.lag):
        p, w = transition(q, np.array(lag)), np.zeros((n, n))
        for e in range(counts.first[m], counts.first[m + 1]):
            w[counts.start[e], counts.stop[e]] += counts.weight[e] / p[counts.start[e], counts.stop[e]]
            loglik += counts.weight[e] * np.log(p[counts.start[e], counts.stop[e]])
        block = expm(np.block([[q.T, w], [np.zeros((n, n)), q.T]]) * lag)
        wanted += block[:n, n:]
    found = evaluate(q, counts, method)
    assert found.loglik == pytest.approx(loglik, rel=1e-11)
    np.testing.assert_allclose(found.free, wanted, rtol=0, atol=1e-9 * counts.total_time)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", GENERATORS)
def test_gradient_by_log_rates_is_the_slope(name, method):
    """With entries of known date, exact jumps and exact times."""
    q, h = GENERATORS[name], 1e-5
    counts = some_counts(q)
    found = evaluate(q, counts, method).by_log_rate(q)
    for i, j in np.argwhere(q > 0):
        ahead, behind = q.copy(), q.copy()
        ahead[i, j] *= np.exp(h)
        behind[i, j] *= np.exp(-h)
        slope = (evaluate(from_rates(ahead), counts, method).loglik - evaluate(from_rates(behind), counts, method).loglik) / (2 * h)
        assert found[i, j] == pytest.approx(slope, abs=2e-6 * counts.weight.sum())


@pytest.mark.parametrize("method", METHODS)
def test_expected_times_sum_to_the_observed_time(method):
    q = generic(6, 2)
    counts = some_counts(q)
    found = evaluate(q, counts, method)
    assert found.time.sum() == pytest.approx(counts.total_time, rel=1e-11)
    assert (found.jumps >= 0).all()
    assert (found.time > 0).all()
    assert (np.diag(found.jumps) == 0).all()
    # each entry of known date and each exact jump is at least one jump
    assert found.jumps.sum() >= counts.weight[counts.entry].sum() + counts.jumps.sum()


@pytest.mark.parametrize("name", GENERATORS)
def test_methods_agree(name):
    q = GENERATORS[name]
    counts = some_counts(q, seed=5)
    one, other = (evaluate(q, counts, m) for m in METHODS)
    assert one.loglik == pytest.approx(other.loglik, rel=1e-10)
    np.testing.assert_allclose(one.free, other.free, rtol=0, atol=1e-9 * counts.total_time)


def test_dependent_eigenvectors_are_left_to_squaring(monkeypatch):
    assert eigen._law(chain(4)) is None
    assert eigen._law(chain(4, 1e-9)) is None
    assert eigen._law(generic(5)) is not None
    called = []
    monkeypatch.setattr(eigen, "panel_gradient", lambda *a: called.append(len(a[1])) or panel_gradient(*a))
    evaluate(generic(5), some_counts(generic(5)), "eigen")
    assert not called
    evaluate(chain(4), some_counts(chain(4)), "eigen")
    assert called == [len(LAGS)]


def test_probabilities_too_small_for_eigenvalues_are_left_to_squaring(monkeypatch):
    """From one end of a reversible chain to the other in no time: the terms are of order one, their sum is 1e-19."""
    rates = np.diag(np.ones(6), 1) + np.diag(np.ones(6), -1)
    q, lag = from_rates(rates), np.r_[1e-3, np.linspace(1.0, 2.0, 9)]
    counts = PairCounts.from_pairs(lag, np.zeros(10, dtype=int), np.full(10, 6), 7)
    one = evaluate(q, counts, "squaring")
    called = []
    monkeypatch.setattr(eigen, "panel_gradient", lambda *a: called.append(len(a[1])) or panel_gradient(*a))
    other = evaluate(q, counts, "eigen")
    assert called
    assert called[0] < 10
    assert one.loglik == pytest.approx(other.loglik, rel=1e-10)
    np.testing.assert_allclose(other.free, one.free, rtol=1e-9, atol=1e-9 * counts.total_time)
    # a path of 6 jumps in a time of 1e-3
    short = PairCounts.from_pairs(lag[:1], np.zeros(1, dtype=int), np.full(1, 6), 7)
    assert evaluate(q, short).loglik == pytest.approx(6 * np.log(1e-3) - np.log(factorial(6)), abs=0.01)
    np.testing.assert_allclose(evaluate(q, short).jumps[np.arange(6), np.arange(1, 7)], 1.0, atol=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_units_of_time_and_relabelling(method):
    q, factor = generic(5, 7), 3.6e12
    counts = some_counts(q)
    one, other = evaluate(q, counts, method), evaluate(q / factor, scaled(counts, factor), method)
    # densities (entries, exact jumps) carry one unit of 1/time each
    densities = counts.weight[counts.entry].sum() + counts.jumps.sum()
    assert other.loglik + densities * np.log(factor) == pytest.approx(one.loglik, rel=1e-9)
    np.testing.assert_allclose(other.jumps, one.jumps, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(other.time, one.time * factor, rtol=1e-8)
    order = np.random.default_rng(0).permutation(5)
    place = np.argsort(order)
    moved = PairCounts.from_pairs(counts.lag_of_pair, place[counts.start], place[counts.stop], 5, counts.weight, counts.entry)
    moved.jumps[:] += counts.jumps[np.ix_(order, order)]
    moved.time[:] += counts.time[order]
    np.testing.assert_allclose(evaluate(q[np.ix_(order, order)], moved, method).free, one.free[np.ix_(order, order)], rtol=1e-8, atol=1e-8)


def test_what_cannot_be_is_named():
    q = chain(3)
    for method in METHODS:
        found = evaluate(q, PairCounts.from_pairs(LAGS, np.full(10, 2), np.full(10, 1), 3), method)
        assert found.loglik == -np.inf
        assert found.impossible == (2, 1)
    exact = PairCounts.from_pairs(np.ones(1), np.zeros(1, dtype=int), np.ones(1, dtype=int), 3)
    exact.jumps[1, 0] = 1.0
    assert evaluate(q, exact).impossible == (1, 0)
    with pytest.raises(ValueError, match=r"method.*'eigne'.*eigen"):
        evaluate(q, exact, "eigne")


def test_exact_observation_is_the_limit_of_dense_looks():
    q, n = generic(3, 1), 4000
    time = np.linspace(0, 3, n + 1)
    label = np.where(time < 1.0, 0, np.where(time < 2.2, 2, 1))
    dense = PairCounts.from_pairs(np.diff(time), label[:-1], label[1:], 3)
    exact = PairCounts.from_pairs(np.zeros(0), np.zeros(0, dtype=int), np.zeros(0, dtype=int), 3)
    exact.jumps[0, 2] = exact.jumps[2, 1] = 1.0
    exact.time[:] = [1.0, 0.8, 1.2]
    one, other = evaluate(q, dense), evaluate(q, exact)
    assert one.loglik - 2 * np.log(3 / n) == pytest.approx(other.loglik, abs=5e-3)
    np.testing.assert_allclose(one.by_log_rate(q), other.by_log_rate(q), atol=5e-3)


# ---- counting pairs


def paths(label, time, path, n_states=3, **more) -> JumpPaths:
    return JumpPaths(label=torch.tensor(label), time=torch.tensor(time, dtype=torch.float64), path=torch.tensor(path), n_states=n_states, **more)


def test_pairs_are_counted_within_paths_by_lag():
    (counts,) = pair_counts(paths([0, 1, 1, 0, 1, 2], [0.0, 1, 3, 5, 6, 8], [0, 0, 0, 1, 1, 1]))
    assert counts.lag.tolist() == [1.0, 2.0]
    assert counts.first.tolist() == [0, 1, 3]
    assert list(zip(counts.start, counts.stop, counts.weight, strict=True)) == [(0, 1, 2.0), (1, 1, 1.0), (1, 2, 1.0)]
    assert counts.total_time == 6.0
    assert counts.changes == 3.0
    assert counts.exposure.tolist() == [2.0, 4.0, 0.0]


def test_kinds_of_observation():
    kind = torch.tensor([JumpPaths.PANEL, JumpPaths.EXACT, JumpPaths.EXACT, JumpPaths.ENTRY, JumpPaths.MISSING])
    (counts,) = pair_counts(paths([0, 1, 1, 2, -1], [0.0, 1, 3, 5, 9], [0, 0, 0, 0, 0], observed=kind))
    assert counts.jumps[0, 1] == 1
    assert counts.jumps.sum() == 1
    assert counts.time.tolist() == [1.0, 2.0, 0.0]
    assert counts.entry.tolist() == [True]
    assert (counts.start[0], counts.stop[0]) == (1, 2)
    hole = paths([0, -1, 1], [0.0, 1, 2], [0, 0, 0], observed=torch.tensor([JumpPaths.PANEL, JumpPaths.MISSING, JumpPaths.PANEL]))
    with pytest.raises(ValueError, match="observation 1 names no state"):
        pair_counts(hole)


def test_shared_ends_clocks_and_covariates():
    whole = paths([0, 1, 2, 0], [0.0, 1, 3, 4], [0, 0, 0, 0])
    cut = paths([0, 1, 1, 2, 0], [100.0, 101, 7, 9, 10], [0, 0, 1, 1, 1])
    q = generic(3)
    assert evaluate(q, pair_counts(whole)[0]).loglik == pytest.approx(evaluate(q, pair_counts(cut)[0]).loglik, rel=1e-13)
    groups = pair_counts(whole.replace(covariates={"age": torch.tensor([50.0, 50, 60, 60])}), ("age",))
    assert [g.covariates["age"] for g in groups] == [50.0, 60.0]
    assert [g.weight.sum() for g in groups] == [2.0, 1.0]
    assert sum(evaluate(q, g).loglik for g in groups) == pytest.approx(evaluate(q, pair_counts(whole)[0]).loglik, rel=1e-13)


def test_classes_of_lags_change_the_likelihood_little():
    rng, q = np.random.default_rng(0), generic(4)
    lag = rng.uniform(0.01, 2.0, 4000)
    p = transition(q, lag)
    start = rng.integers(0, 4, len(lag))
    stop = np.minimum((p[np.arange(len(lag)), start].cumsum(1) < rng.random((len(lag), 1))).sum(1), 3)
    exact, classed = (PairCounts.from_pairs(lag, start, stop, 4, most_lags=m) for m in (None, 1024))
    assert len(classed.lag) < 700 < len(exact.lag)
    assert classed.total_time == pytest.approx(exact.total_time, rel=1e-12)
    one, other = evaluate(q, exact), evaluate(q, classed)
    assert abs(one.loglik - other.loglik) / len(lag) < 2e-5
    np.testing.assert_allclose(other.free, one.free, rtol=2e-3, atol=1e-3)


def test_bad_input():
    with pytest.raises(ValueError, match="lag of pair 1 is -2"):
        PairCounts.from_pairs(np.array([1.0, -2.0]), np.array([0, 0]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="two looks at one time see states 0 and 1"):
        PairCounts.from_pairs(np.array([0.0]), np.array([0]), np.array([1]), 2)
    with pytest.raises(ValueError, match="none of the 2 paths has two looks"):
        pair_counts(paths([0, 1], [0.0, 1.0], [0, 1]))
    with pytest.raises(ValueError, match="rate from 0 to 1 of the generator is -1"):
        checked(np.array([[1.0, -1.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match=r"row 0 .* sums to 1"):
        checked(np.array([[0.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="smallest is -1"):
        transition(chain(3), np.array([-1.0]))


def test_stationary_distributions():
    q = generic(8, 4)
    pi = stationary(q)
    np.testing.assert_allclose(pi @ q, 0.0, atol=1e-13)
    assert mean_jump_rate(q) == pytest.approx(-(pi * np.diag(q)).sum())
    np.testing.assert_allclose(stationary(absorbing()), [0, 0, 0, 1], atol=1e-12)


def test_published_likelihood_of_heart_transplants(reference):
    """R msm's worked example: deaths at exact dates, -2 log-likelihood 4908.8168 at its first guess and 3968.798 at the optimum (Jackson 2011)."""
    rows = list(csv.DictReader((reference / "jumps" / "cav.csv").open()))
    patient, state = (np.array([int(r[k]) for r in rows]) for k in ("PTNUM", "state"))
    years = np.array([float(r["years"]) for r in rows])
    same = patient[1:] == patient[:-1]
    stop = state[1:][same] - 1
    q = from_rates(np.array([[0, 0.25, 0, 0.25], [0.166, 0, 0.166, 0.166], [0, 0.25, 0, 0.25], [0, 0, 0, 0]]))
    counts = PairCounts.from_pairs(np.diff(years)[same], state[:-1][same] - 1, stop, 4, entry=stop == 3, most_lags=None)
    assert counts.weight.sum() == 2224
    for method in METHODS:
        assert -2 * evaluate(q, counts, method).loglik == pytest.approx(4908.8168, abs=1e-4)
