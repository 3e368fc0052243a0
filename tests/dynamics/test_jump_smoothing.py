"""Forward-backward sums against sums over all hidden paths, and the laws that hold for them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from trajlab.dynamics.jumps.emissions import Exactly, Flip
from trajlab.dynamics.jumps.generator import from_rates, stationary, transition
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import pair_counts
from trajlab.dynamics.jumps.smoothing import Intervals, Likelihood, smooth
from trajlab.dynamics.jumps.viterbi import viterbi
from trajlab.types import JumpPaths

PANEL, EXACT, CENSORED, MISSING, ENTRY = range(5)


def rates(n=3, seed=0):
    return from_rates(np.random.default_rng(seed).uniform(0.2, 2.0, (n, n)))


def looks(label, time, path, n, observed=None, **more):
    observed = torch.as_tensor(np.zeros(len(label), dtype=np.int64) if observed is None else np.asarray(observed))
    return JumpPaths(torch.as_tensor(np.asarray(label)), torch.as_tensor(np.asarray(time, dtype=np.float64)), torch.as_tensor(np.asarray(path)), n,
                     observed=observed, **more)


def mixed():
    """Two paths of six looks with every kind, two at one time, a covariate, and one path of a single look."""
    label = [0, 1, -1, -1, 2, 2, 1, 0, 2, -1, 2, 0, 1]
    kind = [PANEL, PANEL, MISSING, CENSORED, EXACT, ENTRY, EXACT, PANEL, EXACT, CENSORED, EXACT, ENTRY, PANEL]
    time = [0, 0.3, 1.1, 1.1, 2.0, 2.6, 5, 5.3, 6, 6.4, 7, 7, 0.0]  # the second path ends with a stay and a jump at one time
    allowed = torch.ones(13, 3, dtype=torch.bool)
    allowed[3, 0] = allowed[9, 1] = False
    treated = torch.tensor([0.0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0])
    return looks(label, time, [0] * 6 + [1] * 6 + [2], 3, kind, allowed=allowed, covariates={"treated": treated})


def by_hand(paths, generators, groups, rows, initial):
    """Likelihood, posterior, and derivative-free expected steps by summing over all hidden paths."""
    label, time, path, kind = (v.numpy() for v in (paths.label, paths.time, paths.path, paths.observed))
    n, loglik, posterior, best = paths.n_states, 0.0, np.zeros((len(label), paths.n_states)), []
    for p in range(paths.n_paths):
        at = np.flatnonzero(path == p)
        steps = []
        for s in at[1:]:
            q, dt = generators[groups[s - 1]], time[s] - time[s - 1]
            off, stay = q - np.diag(np.diag(q)), np.diag(np.exp(np.diag(q) * dt))
            last = label[at[0] : s][label[at[0] : s] >= 0][-1]
            steps.append({PANEL: expm(q * dt), CENSORED: expm(q * dt), MISSING: expm(q * dt), ENTRY: expm(q * dt) @ off,
                          EXACT: stay if last == label[s] else stay @ off}[kind[s]])
        total, weight, top = 0.0, np.zeros((len(at), n)), (0.0, None)
        for x in product(range(n), repeat=len(at)):
            value = initial[x[0]] * rows[at[0], x[0]]
            for k, step in enumerate(steps):
                value *= step[x[k], x[k + 1]] * rows[at[k + 1], x[k + 1]]
            total += value
            weight[np.arange(len(at)), x] += value
            top = max(top, (value, x), key=lambda found: found[0])
        loglik += np.log(total)
        posterior[at] = weight / total
        best.append(top)
    return loglik, posterior, best


@pytest.mark.parametrize("emission", [Flip(0.3), Flip(0.2, noisy=(PANEL, EXACT, ENTRY))])
def test_sums_over_all_hidden_paths(emission):
    paths = mixed()
    generators, initial = [rates(seed=1), rates(seed=2)], np.array([0.5, 0.2, 0.3])
    intervals = Intervals.from_paths(paths, ("treated",))
    assert [c["treated"] for c in intervals.covariates] == [0.0, 1.0]
    likelihood = emission.likelihood(paths)
    groups = paths.covariates["treated"].numpy().astype(int)
    loglik, posterior, best = by_hand(paths, generators, groups, np.asarray(likelihood), initial)
    found = smooth(generators, intervals, likelihood, initial)
    assert found.loglik == pytest.approx(loglik, abs=1e-12)
    np.testing.assert_allclose(found.posterior, posterior, atol=1e-12)
    np.testing.assert_allclose(found.first, posterior[[0, 6, 12]].sum(0), atol=1e-12)
    states, top = viterbi(generators, intervals, likelihood, initial)
    assert states.tolist() == [s for _, x in best for s in x]
    assert top == pytest.approx(sum(np.log(value) for value, _ in best), abs=1e-12)


def test_fisher_identity_for_rates_of_each_group():
    paths, emission, initial = mixed(), Flip(0.3), np.array([0.5, 0.2, 0.3])
    generators = [rates(seed=1), rates(seed=2)]
    intervals = Intervals.from_paths(paths, ("treated",))
    likelihood = emission.likelihood(paths)
    found = smooth(generators, intervals, likelihood, initial)
    off = ~np.eye(3, dtype=bool)
    for g in range(2):
        slope = evaluate(generators[g], found.counts[g]).by_log_rate(generators[g])[off]
        numeric = []
        for i, j in np.argwhere(off):
            values = []
            for h in (1e-5, -1e-5):
                moved = [q.copy() for q in generators]
                moved[g][i, j] *= np.exp(h)
                moved[g] = from_rates(moved[g])
                values.append(smooth(moved, intervals, likelihood, initial).loglik)
            numeric.append((values[0] - values[1]) / 2e-5)
        np.testing.assert_allclose(slope, numeric, atol=1e-7)


def drawn(q, n_paths, n_looks, seed=0, irregular=False, eps=0.0):
    """Looks at stationary paths."""
    rng = np.random.default_rng(seed)
    n = len(q)
    lag = rng.choice([0.1, 0.25, 0.6], (n_paths, n_looks - 1)) if irregular else np.full((n_paths, n_looks - 1), 0.1)
    time = np.concatenate([rng.uniform(0, 9, (n_paths, 1)), lag], 1).cumsum(1) if irregular else np.arange(n_looks) * 0.1 + np.zeros((n_paths, 1))
    cumulated = transition(q, lag).cumsum(-1)
    state = np.empty((n_paths, n_looks), dtype=np.int64)
    state[:, 0] = rng.choice(n, n_paths, p=stationary(q))
    for k in range(1, n_looks):
        state[:, k] = (rng.random((n_paths, 1)) > cumulated[np.arange(n_paths), k - 1, state[:, k - 1]]).sum(1).clip(max=n - 1)
    seen = np.where(rng.random(state.shape) < eps, rng.integers(0, n, state.shape), state)
    return looks(seen.ravel(), time.ravel(), np.repeat(np.arange(n_paths), n_looks), n), state.ravel()


def test_exact_labels_are_pair_counts():
    q = rates(4, 3)
    paths, _ = drawn(q, 30, 12, irregular=True)
    kind = np.zeros(len(paths.label), dtype=np.int64)
    label, time = paths.label.numpy().copy(), paths.time.numpy()
    first = np.flatnonzero(np.diff(paths.path.numpy(), prepend=-1))
    kind[first[:10] + 5] = EXACT
    for at in first[10:20] + 11:
        kind[at], label[at] = ENTRY, (label[at - 1] + 1) % 4
    paths = looks(label, time, paths.path.numpy(), 4, kind)
    found = smooth(q, Intervals.from_paths(paths), Exactly().likelihood(paths), np.ones(4))
    known, = pair_counts(paths)
    ours, theirs = evaluate(q, found.counts[0]), evaluate(q, known)
    assert found.loglik == pytest.approx(theirs.loglik, abs=1e-10)
    assert ours.loglik == pytest.approx(theirs.loglik, abs=1e-10)
    np.testing.assert_allclose(ours.free, theirs.free, rtol=1e-10, atol=1e-10)
    assert ours.time.sum() == pytest.approx(known.total_time)
    np.testing.assert_allclose(found.counts[0].lag, known.lag)


def test_counts_add_up_and_threads_do_not_matter():
    q = rates(5, 4)
    paths, _ = drawn(q, 400, 30, irregular=True, eps=0.1)
    intervals = Intervals.from_paths(paths)
    likelihood, initial = Flip(0.1).likelihood(paths), stationary(q)
    one, two = (smooth(q, intervals, likelihood, initial, threads=k) for k in (1, 2))
    counts = one.counts[0]
    assert counts.weight.sum() == pytest.approx(400 * 29, rel=1e-12)
    assert evaluate(q, counts).time.sum() == pytest.approx(intervals.total_time, rel=1e-12)
    np.testing.assert_allclose(one.posterior.sum(1), 1, atol=1e-12)
    assert one.first.sum() == pytest.approx(400)
    assert one.loglik == two.loglik
    assert (counts.weight == two.counts[0].weight).all()
    half = looks(paths.label[:6000], paths.time[:6000], paths.path[:6000], 5)
    rest = looks(paths.label[6000:], paths.time[6000:], paths.path[6000:] - 200, 5)
    parts = [smooth(q, Intervals.from_paths(p), Flip(0.1).likelihood(p), initial) for p in (half, rest)]
    assert sum(p.loglik for p in parts) == pytest.approx(one.loglik, rel=1e-12)


def test_relabelled_states_and_other_clocks():
    q = rates(3, 5)
    paths, _ = drawn(q, 20, 10, irregular=True, eps=0.1)
    initial = np.array([0.2, 0.3, 0.5])
    found = smooth(q, Intervals.from_paths(paths), Flip(0.1).likelihood(paths), initial)
    order = np.array([2, 0, 1])  # new name of each state
    back = order.argsort()
    other = looks(order[paths.label.numpy()], paths.time.numpy() * 1e-6 + 3.0, paths.path, 3)
    moved = smooth(q[np.ix_(back, back)] * 1e6, Intervals.from_paths(other), Flip(0.1).likelihood(other), initial[back])
    assert moved.loglik == pytest.approx(found.loglik, abs=1e-6)
    np.testing.assert_allclose(moved.posterior[:, order], found.posterior, atol=1e-6)


def test_long_paths_and_long_stays_do_not_underflow():
    q = rates(3, 6)
    paths, state = drawn(q, 1, 100_000, eps=0.1)
    found = smooth(q, Intervals.from_paths(paths), Flip(0.1).likelihood(paths), stationary(q))
    assert np.isfinite(found.loglik)
    assert (found.posterior.argmax(1) == state).mean() > (paths.label.numpy() == state).mean()
    # -900 times the lag of the stay, which is not a number that exp can hold
    slow = from_rates(np.array([[0, 900.0], [800.0, 0]]))
    stay = looks([0, 0, 1], [0, 1.0, 3.0], [0, 0, 0], 2, [PANEL, EXACT, EXACT])
    found = smooth(slow, Intervals.from_paths(stay), Flip(0.1).likelihood(stay), np.ones(2) / 2)
    assert found.loglik == pytest.approx(-900 - 1800 + np.log(900) + np.log(0.95 / 2), abs=1e-9)
    assert found.counts[0].time == pytest.approx([3.0, 0.0])


def test_many_lags_are_classed():
    q = rates(3, 7)
    rng = np.random.default_rng(0)
    time = np.sort(rng.uniform(0, 500, (2, 2000)), 1)
    label = rng.integers(0, 3, 4000)
    paths = looks(label, time.ravel(), np.repeat([0, 1], 2000), 3)
    classed, every = Intervals.from_paths(paths), Intervals.from_paths(paths, most_lags=None)
    assert len(classed.lag) < 1024 < len(every.lag)
    found = [smooth(q, i, Flip(0.3).likelihood(paths), np.ones(3) / 3).loglik for i in (classed, every)]
    assert found[0] == pytest.approx(found[1], abs=4000 * 3e-5)  # lags differ by half a per cent from their means, which are kept


def test_the_impossible_is_said():
    chain = from_rates(np.array([[0, 1.0, 0], [0, 0, 1.0], [0, 0, 0]]))
    paths = looks([0, 1, 0, 1], [0, 1.0, 2.0, 3.0], [0, 0, 0, 0], 3)
    found = smooth(chain, Intervals.from_paths(paths), Exactly().likelihood(paths), np.ones(3))
    assert found.loglik == -np.inf
    assert found.impossible == 2
    assert np.isfinite(found.counts[0].weight).all()
    with pytest.raises(ValueError, match="path 0 is impossible"):
        viterbi(chain, Intervals.from_paths(paths), Exactly().likelihood(paths), np.ones(3))
    assert np.isfinite(smooth(chain, Intervals.from_paths(paths), Flip(0.1).likelihood(paths), np.ones(3) / 3).loglik)


def test_bad_input():
    q, paths = rates(), mixed()
    intervals, likelihood = Intervals.from_paths(paths), Flip(0.1).likelihood(paths)
    with pytest.raises(ValueError, match="none of the 2 paths has two"):
        Intervals.from_paths(looks([0, 1], [0.0, 1.0], [0, 1], 2))
    with pytest.raises(ValueError, match="no covariate 'age'; the paths have treated"):
        Intervals.from_paths(paths, ("age",))
    with pytest.raises(ValueError, match="generators have shape"):
        smooth(np.zeros((2, 2)), intervals, likelihood, np.ones(3))
    with pytest.raises(ValueError, match="not finite"):
        smooth(np.full((3, 3), np.nan), intervals, likelihood, np.ones(3))
    with pytest.raises(ValueError, match="initial has shape"):
        smooth(q, intervals, likelihood, np.ones(2))
    with pytest.raises(ValueError, match="the emission has rows"):
        smooth(q, intervals, np.ones((4, 3)), np.ones(3))
    with pytest.raises(ValueError, match="at least 0"):
        smooth(q, intervals, Likelihood(-likelihood.rows, likelihood.index), np.ones(3))
