"""Intervals of jump rates: laws that they obey, agreement of the methods, coverage, and what is said where nothing is known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from trajlab.dynamics.jumps.generator import from_rates, stationary
from trajlab.dynamics.jumps.resimulate import resample_paths, resimulate
from trajlab.dynamics.jumps.simulate import SignalModel, simulate
from trajlab.evaluate.jumps_coverage import coverage
from trajlab.models.jumps.chains import effective_size, split_rhat
from trajlab.models.jumps.intervals import METHODS, derive, generator_draws, intervals
from trajlab.models.jumps.markov_jump import MarkovJump
from trajlab.models.jumps.pareto import smoothed_weights
from trajlab.models.jumps.uncertainty_bootstrap import bootstrap, corrected_quantiles
from trajlab.models.jumps.uncertainty_laplace import generators_of, laplace
from trajlab.models.jumps.uncertainty_posterior import PosteriorConfig, posterior
from trajlab.models.jumps.uncertainty_profile import profile
from trajlab.types import JumpPaths

Q = from_rates(np.array([[0, 1.0, 0.3], [0.5, 0, 0.8], [0.2, 0.6, 0]]))


def infer(paths, **settings):
    return MarkovJump(**({"method": "mle", "noise": "none"} | settings)).infer(paths)


def twice(paths, times=2):
    path = torch.cat([paths.path + k * paths.n_paths for k in range(times)])
    return JumpPaths(paths.label.repeat(times), paths.time.repeat(times), path, paths.n_states, paths.observed.repeat(times))


@pytest.fixture(scope="module")
def paths():
    return simulate(Q, 50, (10.0, 21), seed=3)


@pytest.fixture(scope="module")
def fit(paths):
    return infer(paths)


@pytest.fixture(scope="module")
def never():
    """State 1 never jumps to 0."""
    q = from_rates(np.array([[0, 1.0, 0.5], [0, 0, 0.8], [0.6, 0.4, 0]]))
    return infer(simulate(q, 60, (10.0, 101), seed=1))


# ---------------------------------------------------------------------------------------------------- laws


def test_duplicated_data_halve_the_variance(fit, paths):
    one = laplace(fit.problem, fit.x).covariance
    double = infer(twice(paths))
    np.testing.assert_allclose(laplace(double.problem, double.x).covariance, one / 2, rtol=1e-3, atol=1e-6)


def test_relabelled_states_permute_the_intervals(fit, paths):
    order = [2, 0, 1]
    moved = infer(JumpPaths(torch.tensor(order)[paths.label], paths.time, paths.path, 3))
    for method in ("laplace", "profile"):
        mine = {r.name: (r.low, r.high) for r in intervals(fit, method=method)}
        theirs = {r.name: (r.low, r.high) for r in intervals(moved, method=method)}
        for name, ends in mine.items():
            i, j = name.split("->")
            np.testing.assert_allclose(theirs[f"{order[int(i)]}->{order[int(j)]}"], ends, rtol=3e-3)


def test_another_unit_of_time_shifts_log_rates(fit, paths):
    slow = infer(JumpPaths(paths.label, paths.time * 1000, paths.path, 3))
    for method in ("laplace", "profile"):
        for a, b in zip(intervals(fit, method=method), intervals(slow, method=method), strict=True):
            np.testing.assert_allclose((b.low * 1000, b.estimate * 1000, b.high * 1000), (a.low, a.estimate, a.high), rtol=3e-3)


# ---------------------------------------------------------------------------------------------------- the methods agree, and with theory


def test_jumps_seen_as_they_happen_have_the_known_law():
    seen = simulate(Q, 40, (5.0, 2), seed=4, keep="jumps")
    fit = infer(seen)
    counts = fit.problem.data.counts[0]
    np.testing.assert_allclose(np.diag(laplace(fit.problem, fit.x).covariance), 1 / counts.jumps[~np.eye(3, dtype=bool)], rtol=1e-4)
    drawn = posterior(fit.problem, laplace(fit.problem, fit.x), PosteriorConfig(draws=2000, tilt=1.0), 0)
    assert drawn.sampler == "gibbs"
    mean = (counts.jumps + 1) / counts.time[:, None]
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(drawn.generators.mean(0)[off], mean[off], rtol=0.03)


def test_gibbs_and_hamiltonian_draws_have_one_law(fit):
    mode = laplace(fit.problem, fit.x)
    one, other = (posterior(fit.problem, mode, PosteriorConfig(draws=480, sampler=s, thin=4, warm_up=50), 1) for s in ("gibbs", "hmc"))
    assert one.settled
    assert other.settled
    assert other.accepted > 0.6
    spread = one.x.std(0)
    assert (np.abs(one.x.mean(0) - other.x.mean(0)) < 4.5 * spread * np.sqrt(1 / one.size + 1 / other.size)).all()
    widths = [np.subtract(*np.quantile(d.x, [0.8, 0.2], axis=0)) for d in (one, other)]
    np.testing.assert_allclose(widths[1], widths[0], rtol=0.25)


def test_all_methods_come_close_where_data_are_many(paths):
    fit = infer(twice(paths, 3))
    rows = [intervals(fit, method=m, draws=100 if m == "bootstrap" else 300) for m in METHODS]
    for k, first in enumerate(rows[0]):
        width = math.log(first.high / first.low)
        for other in (r[k] for r in rows[1:]):
            assert abs(math.log(other.low / first.low)) < 0.35 * width
            assert abs(math.log(other.high / first.high)) < 0.35 * width
            assert other.low < first.estimate < other.high


def test_ends_of_a_profile_are_on_the_cut_off(fit):
    mode = laplace(fit.problem, fit.x)
    ends = profile(fit.problem, mode, 0.9)
    assert ends.reliable.all()
    top = fit.problem.value_and_gradient(fit.x)[0]
    # no point with that coordinate is likelier than the cut-off: those of a fine conditional search neither
    x = fit.x.copy()
    x[1] = ends.low[1]
    for _ in range(200):
        gradient = fit.problem.value_and_gradient(x)[1]
        step = mode.covariance @ np.where(np.arange(len(x)) == 1, 0.0, gradient)
        x += np.where(np.arange(len(x)) == 1, 0.0, 0.3 * step)
    assert 2 * (top - fit.problem.value_and_gradient(x)[0]) == pytest.approx(1.6449**2, rel=0.01)


def test_importance_weights_correct_the_normal_law(fit):
    mode = laplace(fit.problem, fit.x)
    x, weight, k = mode.weighted(1000, 1)
    exact = posterior(fit.problem, mode, PosteriorConfig(draws=600, thin=3), 2).x
    assert k < 0.7
    gap, spread = np.abs(weight @ x - exact.mean(0)), exact.std(0)
    assert (gap < 0.2 * spread).all()


def test_cover_over_simulated_sets():
    found = coverage(("laplace", "profile", "posterior"), sets=5, seed=5, draws=200)
    for row in found:
        assert 0.75 <= row.rates <= 1.0, row
        assert 0 <= row.below <= 0.12
    assert found[0].stationary > 0.7
    assert found[2].slowest >= 0.75


# ---------------------------------------------------------------------------------------------------- derived quantities


def pi_of(q):
    return np.stack([stationary(one) for one in q])


@pytest.mark.parametrize("method", ["laplace", "posterior", "bootstrap"])
def test_what_follows_from_rates_has_an_interval(fit, method):
    draws = 40 if method == "bootstrap" else 300
    law = derive(fit, pi_of, method=method, draws=draws)
    assert law.name == "pi_of"
    assert ((law.low < law.estimate) & (law.estimate < law.high)).all()
    assert ((law.low > 0) & (law.high < 1)).all()
    single = derive(fit, lambda q: q[0, 1], method=method, draws=draws, vectorised=False, name="rate")
    direct = next(r for r in intervals(fit, method=method, draws=draws) if r.name == "0->1")
    assert single.low == pytest.approx(direct.low, rel=0.15)
    assert single.high == pytest.approx(direct.high, rel=0.15)


def test_rates_of_reversible_processes(paths):
    fit = infer(paths, reversible=True)
    found = {r.name: r for r in intervals(fit, of="rates", draws=300)}
    assert set(found) == {"0->1", "0->2", "1->0", "1->2", "2->0", "2->1"}
    for r in found.values():
        assert r.low < r.estimate < r.high
    mode = laplace(fit.problem, fit.x)
    drawn = posterior(fit.problem, mode, PosteriorConfig(draws=200, warm_up=60), 0)
    assert drawn.sampler == "hmc"
    flow = pi_of(drawn.generators)[:, :, None] * drawn.generators
    np.testing.assert_allclose(flow, flow.transpose(0, 2, 1), atol=1e-10)


def test_generators_of_many_draws_are_those_of_each(fit):
    x = laplace(fit.problem, fit.x).draws(5)
    np.testing.assert_allclose(generators_of(fit.problem, x), [fit.problem.generator(row) for row in x], rtol=1e-13)


def test_infinite_and_undefined_values_do_no_harm(fit):
    assert derive(fit, lambda q: np.where(q[:, 0, 1] > fit.generator[0, 1], np.inf, 1.0), draws=50).high == np.inf
    some = derive(fit, lambda q: np.where(q[:, 0, 1] > fit.generator[0, 1], np.nan, 1.0), draws=50)
    assert some.low == some.high == 1
    assert "draws" in some.note


# ---------------------------------------------------------------------------------------------------- what is not determined


@pytest.mark.parametrize("method", ["laplace", "profile"])
def test_a_jump_that_never_happened_has_an_upper_limit(never, method):
    found = {r.name: r for r in intervals(never, method=method)}["1->0"]
    assert found.low == 0
    assert "upper limit" in found.note
    # about three over the time spent in state 1, somewhat more since a detour through 2 may hide a jump
    spent = 600 * stationary(never.generator)[1]
    assert 1.5 / spent < found.high < 18 / spent
    assert all(np.isfinite(r.high) and r.low > 0 for r in intervals(never, method=method) if r.name != "1->0")


def test_laws_of_what_never_happened_are_finite(never):
    mode = laplace(never.problem, never.x)
    assert mode.undetermined == ("1->0",)
    assert np.isfinite(generator_draws(never, draws=200)).all()
    assert mode.weighted(500)[2] < 0.8
    drawn = posterior(never.problem, mode, PosteriorConfig(draws=400), 0)
    assert np.isfinite(drawn.x).all()


def test_states_that_are_told_apart_too_late_have_open_intervals():
    paths = simulate(Q * 100, 30, (100.0, 21), seed=2)  # some 700 jumps between two looks
    for row in intervals(infer(paths)):
        assert not math.isnan(row.low)
        assert not math.isnan(row.high)
        assert row.high > 50 * row.low


# ---------------------------------------------------------------------------------------------------- new data seen as the old were


def test_new_paths_are_looked_at_as_the_old_were(paths):
    new = resimulate(paths, Q, seed=1)
    assert torch.equal(new.time, paths.time)
    assert torch.equal(new.path, paths.path)
    first = np.flatnonzero(np.diff(paths.path.numpy(), prepend=-1))
    assert torch.equal(new.label[first], paths.label[first])
    assert not torch.equal(new.label, paths.label)
    share = np.bincount(resimulate(twice(paths, 20), Q, seed=2).label.numpy(), minlength=3) / (1050 * 20)
    np.testing.assert_allclose(share, stationary(Q), atol=0.02)


def test_deaths_and_jumps_of_known_date_stay_so():
    q = from_rates(np.array([[0, 0.4, 0.1], [0.3, 0, 0.3], [0, 0, 0]]))
    dead = resimulate(simulate(q, 400, (8.0, 9), initial=0, seed=1, keep="entries"), q, seed=5)
    last = np.flatnonzero(np.diff(dead.path.numpy(), append=-1))
    entries = dead.observed == JumpPaths.ENTRY
    assert set(np.flatnonzero(entries).tolist()) <= set(last.tolist())
    fit = infer(dead)
    assert intervals(fit)[0].low < 0.4 < intervals(fit)[0].high
    seen = resimulate(simulate(Q, 60, (20.0, 2), seed=1, keep="jumps"), Q, seed=6)
    fit = infer(seen)
    assert sum(r.low < Q[int(r.name[0]), int(r.name[3])] < r.high for r in intervals(fit, 0.99)) >= 5


def test_wrong_labels_missing_looks_and_signals_are_made_again():
    noisy = resimulate(simulate(Q * 0, 200, (5.0, 6), initial=1, seed=0), Q * 0, np.array([0, 1.0, 0]), noise=0.3, seed=1)
    assert (noisy.label != 1).double().mean().item() == pytest.approx(0.2, abs=0.04)
    paths = simulate(Q, 20, (5.0, 6), seed=0)
    kind = torch.where(torch.arange(120) % 6 == 5, JumpPaths.MISSING, JumpPaths.PANEL)
    gone = resimulate(JumpPaths(torch.where(kind == JumpPaths.PANEL, paths.label, -1), paths.time, paths.path, 3, kind), Q, seed=1)
    assert torch.equal(gone.observed, kind)
    signal = simulate(Q, 20, (5.0, 6), noise=SignalModel([0.0, 1.0, 2.0], 0.1), seed=0)
    assert resimulate(signal, Q, noise=SignalModel([5.0, 5.0, 5.0], 0.1), seed=1).signal.mean().item() == pytest.approx(5, abs=0.1)
    with pytest.raises(ValueError, match="draw"):
        resimulate(signal, Q)


def test_paths_are_resampled_whole(fit, paths):
    new = resample_paths(paths, 1)
    rows, old = new.label.reshape(50, 21), paths.label.reshape(50, 21)
    assert (rows[:, None] == old[None]).all(-1).any(1).all()
    found = bootstrap(fit, 40, "paths", seed=1)
    low, high = corrected_quantiles(found.x, fit.x, 0.95)
    assert (low < fit.x).all()
    assert (fit.x < high).all()


def test_noise_of_unknown_level_has_an_interval():
    fit = infer(simulate(Q, 60, (6.0, 31), noise=0.1, seed=8), method="map", noise="flip")
    row = next(r for r in intervals(fit) if r.name == "eps")
    assert 0 < row.low < 0.1 < row.high < 0.3
    found = bootstrap(fit, 3, seed=1)
    assert found.x.shape == (3, len(fit.x))


# ---------------------------------------------------------------------------------------------------- chains and weights


def test_chains_that_settled_and_chains_that_did_not():
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((4, 1000, 2))
    assert (split_rhat(draws) < 1.01).all()
    np.testing.assert_allclose(effective_size(draws), 4000, rtol=0.2)
    draws[0] += 3
    assert (split_rhat(draws) > 1.3).all()
    slow = np.zeros((4, 4000, 1))
    for t in range(1, 4000):
        slow[:, t] = 0.9 * slow[:, t - 1] + rng.standard_normal((4, 1))
    assert effective_size(slow)[0] == pytest.approx(16000 * 0.1 / 1.9, rel=0.3)


def test_tail_index_of_weights():
    rng = np.random.default_rng(1)
    _, light = smoothed_weights(0.1 * rng.standard_normal(4000))
    _, heavy = smoothed_weights(rng.exponential(1.2, 4000))  # weights with a Pareto tail of index 1.2
    assert light < 0.3
    assert heavy == pytest.approx(1.2, abs=0.3)
    weight, k = smoothed_weights(np.full(100, 3.0))
    assert k == -math.inf
    assert weight.sum() == pytest.approx(1)


# ---------------------------------------------------------------------------------------------------- bad input


def test_bad_input(fit):
    with pytest.raises(ValueError, match="laplace"):
        intervals(fit, method="laplce")
    with pytest.raises(ValueError, match="level"):
        intervals(fit, level=95)
    with pytest.raises(ValueError, match="profile"):
        derive(fit, pi_of, method="profile")
    with pytest.raises(ValueError, match="vectorised"):
        derive(fit, lambda q: q.sum(), draws=20)
    with pytest.raises(ValueError, match="parametric"):
        bootstrap(fit, kind="parametrc")
    with pytest.raises(ValueError, match="sampler"):
        PosteriorConfig(sampler="nuts")
    with pytest.raises(ValueError, match="draws"):
        PosteriorConfig(draws=2)
    with pytest.raises(ValueError, match="refits"):
        bootstrap(fit, 1)
    alone = dataclasses.replace(fit, problem=None)
    with pytest.raises(ValueError, match="network"):
        intervals(alone, method="posterior")
    with pytest.raises(ValueError, match="even"):
        coverage(sets=1, kind="odd")
