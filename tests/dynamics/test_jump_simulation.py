"""Simulated jump processes: the laws of the process, whatever the method, the threads and the compiler, and what bad input is told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from trajlab.dynamics import compiled
from trajlab.dynamics.jumps import simulate as module
from trajlab.dynamics.jumps.generator import from_rates, mean_jump_rate, stationary, transition
from trajlab.dynamics.jumps.pair_counts import pair_counts
from trajlab.dynamics.jumps.simulate import SignalModel, simulate
from trajlab.dynamics.jumps.simulate_grid import grid_of
from trajlab.types import JumpPaths

THREE = from_rates(np.array([[0, 1.0, 0.3], [0.2, 0, 2.0], [1.5, 0.7, 0]]))
DYING = from_rates(np.array([[0, 1.0, 0.1], [0.5, 0, 0.4], [0, 0, 0]]))


def labels(paths):
    return paths.label.numpy().reshape(paths.n_paths, -1)


def fits(observed, expected, constraints=1):
    """Pearson's test at one in ten thousand: the seeds are fixed, so that this never fails by chance."""
    keep = expected > 5
    x2 = ((observed[keep] - expected[keep]) ** 2 / expected[keep]).sum()
    return x2 < chi2.ppf(0.9999, keep.sum() - constraints)


@pytest.fixture(params=["compiled", "numpy"])
def compiler(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setenv(compiled.OFF, "1")
    return request.param


@pytest.mark.parametrize("method", ["gillespie", "grid"])
def test_states_at_looks_follow_the_transition_matrix(method, compiler):
    """Joint law of the looks at 0, .5 and 2, and of each path's own lags, from a start that is not stationary."""
    initial, count = np.array([0.7, 0.1, 0.2]), 20_000
    seen = labels(simulate(THREE, count, [0.0, 0.5, 2.0], initial=initial, method=method, seed=1))
    p, r = transition(THREE, np.array([0.5, 1.5]))
    expected = count * initial[:, None, None] * p[:, :, None] * r[None]
    observed = np.zeros((3, 3, 3))
    np.add.at(observed, tuple(seen.T), 1)
    assert fits(observed, expected)
    lags = np.random.default_rng(0).uniform(0, 2, 2000)
    own = labels(simulate(THREE, 2000, np.stack([0 * lags, lags], 1), initial=0, method=method, seed=2))
    chance = transition(THREE, lags)[:, 0]
    z = ((own[:, 1, None] == np.arange(3)) - chance).sum(0) / np.sqrt((chance * (1 - chance)).sum(0))
    assert (np.abs(z) < 4).all()


def test_long_paths_are_stationary():
    q = from_rates(np.random.default_rng(3).gamma(0.5, 1.0, (20, 20)))
    seen = simulate(q, 2000, [0.0, 60.0], initial=7, seed=4).label.numpy().reshape(-1, 2)[:, 1]
    assert fits(np.bincount(seen, minlength=20), 2000 * stationary(q))


def test_jumps_are_those_of_the_rates(compiler):
    """Given the exposure, counts of jumps are Poisson with q_ij tau_i; holding times are exponential; the counts reach the likelihood unchanged."""
    paths = simulate(THREE, 3000, (10.0, 2), keep="jumps", seed=5)
    counts = pair_counts(paths)[0]
    off = ~np.eye(3, dtype=bool)
    expected = (THREE * counts.time[:, None])[off]
    assert ((counts.jumps[off] - expected) ** 2 / expected).sum() < chi2.ppf(0.9999, 6)
    assert counts.time.sum() == pytest.approx(30_000)
    label, time = paths.label.numpy(), paths.time.numpy()
    full = (paths.observed.numpy()[1:] == JumpPaths.EXACT) & (np.diff(label) != 0) & (np.diff(paths.path.numpy()) == 0)
    first = full & (np.r_[-1, paths.path.numpy()[:-2]] != paths.path.numpy()[:-1])  # of long paths hardly any first holding time is cut off
    for state in range(3):
        held = np.diff(time)[first & (label[:-1] == state)]
        assert kstest(held * -THREE[state, state], "expon").pvalue > 1e-3


def test_jumps_and_looks_are_the_same_paths():
    jumps = simulate(THREE, 50, (5.0, 100), keep="jumps", seed=6)
    looks = simulate(THREE, 50, (5.0, 100), method="gillespie", seed=6)
    for p in range(50):
        mine = (jumps.path == p).numpy()
        at = np.searchsorted(jumps.time.numpy()[mine], np.linspace(0, 5, 100), side="right") - 1
        assert (jumps.label.numpy()[mine][at] == labels(looks)[p]).all()


def test_the_seed_decides_and_nothing_else(monkeypatch):
    monkeypatch.setattr(module, "SHARE", 10)
    for given in ({"method": "gillespie"}, {"method": "grid"}, {"keep": "jumps"}, {"keep": "entries"}, {"method": "gillespie", "noise": 0.3}):
        make = {"times": (8.0, 30), "seed": 7, "initial": 0, **given}
        one = simulate(DYING, 400, workers=1, **make)
        for other in (simulate(DYING, 400, workers=3, **make), simulate(DYING, 900, workers=2, **make)):
            mine = other.path < 400
            assert (other.label[mine] == one.label).all()
            assert (other.time[mine] == one.time).all()
        assert not (simulate(DYING, 400, **make | {"seed": 8}).label[:400] == one.label[:400]).all()


def test_without_a_compiler_the_paths_are_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    ragged = [np.sort(rng.uniform(2, 9, rng.integers(1, 40))) for _ in range(300)]
    noise = (0.0, 0.2, np.full((3, 3), 1 / 3))
    cases = [{"times": t, "method": m, "noise": e} for t in (ragged, (6.0, 50)) for m in ("gillespie", "grid") for e in noise]
    cases += [{"times": ragged, "keep": "jumps"}, {"times": ragged, "keep": "entries"}]
    for q in (THREE, DYING):
        found = [simulate(q, 300, seed=9, initial=1, **case) for case in cases]
        monkeypatch.setenv(compiled.OFF, "1")
        for case, paths in zip(cases, found, strict=True):
            plain = simulate(q, 300, seed=9, initial=1, **case)
            assert (plain.label == paths.label).all()
            assert np.allclose(plain.time, paths.time, rtol=1e-14)
        monkeypatch.delenv(compiled.OFF)


def test_absorbing_states_are_not_left():
    paths = simulate(DYING, 2000, (6.0, 25), initial=[0.5, 0.5, 0.0], seed=10)
    seen = labels(paths)
    assert (np.diff((seen == 2).astype(int), axis=1) >= 0).all()
    dead = transition(DYING, np.array(6.0))[:2, 2].mean()
    assert (seen[:, -1] == 2).mean() == pytest.approx(dead, abs=4 * np.sqrt(dead * (1 - dead) / 2000))
    assert (labels(simulate(DYING, 5, (6.0, 9), initial=2)) == 2).all()
    assert (labels(simulate(np.zeros((3, 3)), 5, (6.0, 9), initial=1)) == 1).all()


def test_entries_end_a_path_at_their_time():
    paths = simulate(DYING, 3000, (6.0, 13), initial=0, keep="entries", seed=11)
    entry = (paths.observed == JumpPaths.ENTRY).numpy()
    last = np.r_[np.diff(paths.path.numpy()) > 0, True]
    assert (entry <= last).all()
    assert ((paths.label.numpy() == 2) == entry).all()
    survival = 1 - transition(DYING, np.array(3.0))[0, 2]
    share = 1 - (paths.time.numpy()[entry] <= 3.0).sum() / 3000
    assert share == pytest.approx(survival, abs=4 * np.sqrt(survival * (1 - survival) / 3000))
    looks = labels(simulate(DYING, 3000, (6.0, 13), initial=0, method="gillespie", seed=11))
    assert (looks[looks != 2] == paths.label.numpy()[~entry]).all()


def test_labels_are_wrong_as_often_as_asked(compiler):
    truth = labels(simulate(THREE, 500, (5.0, 60), seed=12))
    seen = labels(simulate(THREE, 500, (5.0, 60), seed=12, noise=0.3))
    wrong = np.zeros((3, 3))
    np.add.at(wrong, (truth.ravel(), seen.ravel()), 1)
    expected = wrong.sum(1, keepdims=True) * (0.7 * np.eye(3) + 0.1)
    assert fits(wrong, expected, 3)
    chance = np.array([[0.9, 0.1, 0.0], [0.0, 0.5, 0.5], [0.25, 0.0, 0.75]])
    seen = labels(simulate(THREE, 500, (5.0, 60), seed=12, noise=chance))
    read = np.zeros((3, 3))
    np.add.at(read, (truth.ravel(), seen.ravel()), 1)
    assert fits(read, wrong.sum(1, keepdims=True) * chance, 3)
    assert (read[chance == 0] == 0).all()


def test_signals_lie_around_the_levels_of_the_states():
    truth = simulate(THREE, 300, (5.0, 60), seed=13).label.numpy()
    for freedom in (np.inf, 5.0):
        model = SignalModel(level=[[0.0, 1.0], [2.0, -1.0], [4.0, 0.0]], scale=[[0.5, 0.1], [1.0, 0.1], [0.2, 0.1]], freedom=freedom)
        paths = simulate(THREE, 300, (5.0, 60), seed=13, noise=model)
        assert (paths.observed == JumpPaths.SIGNAL).all()
        for state in range(3):
            value = (paths.signal.numpy()[truth == state] - model.level[state]) / model.scale[state]
            assert np.abs(value.mean(0)).max() < 4 / np.sqrt(len(value))
            assert value.std(0) == pytest.approx(1.0 if np.isinf(freedom) else np.sqrt(5 / 3), rel=0.1)


def test_the_cheaper_method_is_taken():
    stiff = from_rates(1e5 * (THREE - np.diag(np.diag(THREE))))
    assert simulate(stiff, 100, (10.0, 50)).source["method"] == "grid"
    assert simulate(THREE, 100, (10.0, 500)).source["method"] == "gillespie"
    own = simulate(stiff, 3, [[0.0, 1.0], [5.0, 9.0, 9.0], [2.0]])
    assert own.time.tolist() == [0.0, 1.0, 5.0, 9.0, 9.0, 2.0]
    assert own.label[3] == own.label[4]
    assert simulate(THREE, 2, np.array([[0.0, 1.0, np.nan], [0.5, 1.5, 2.5]])).time.tolist() == [0.0, 1.0, 0.5, 1.5, 2.5]
    assert mean_jump_rate(stiff) == pytest.approx(1e5 * mean_jump_rate(THREE))


def test_lags_are_those_of_the_times():
    lag, which = grid_of((7.0, 300), 4).lags()
    assert lag == pytest.approx([7 / 299], rel=1e-12)
    assert which.tolist() == [-1] + [0] * 299
    rng = np.random.default_rng(0)
    times = [np.sort(rng.choice([0.0, 0.1, 0.3, 0.35, 0.9], size)) for size in (1, 4, 30)]
    grid = grid_of(times, 3)
    lag, which = grid.lags()
    found = np.where(which >= 0, lag[which], 0.0)
    assert found == pytest.approx(np.concatenate([np.diff(t, prepend=t[0]) for t in times]), rel=1e-12)
    assert len(lag) == len(set(lag.round(9)))


@pytest.mark.parametrize(("given", "message"), [
    ({"q": [[-1.0, 2.0], [1.0, -1.0]]}, "row 0 of the generator sums to 1"),
    ({"n_paths": 0}, "n_paths = 0; at least one"),
    ({"times": (0.0, 5)}, "positive horizon"),
    ({"times": [0.0, 2.0, 1.0]}, "times of path 0 go back from 2 to 1"),
    ({"times": [[0.0, 1.0]]}, "times of 1 paths for 2 paths"),
    ({"times": [[0.0, 1.0], [1.0, float("inf")]]}, "of path 1 is not finite"),
    ({"times": [[0.0], []]}, "no times of path 1"),
    ({"times": []}, "no times"),
    ({"times": np.zeros((2, 2, 2))}, "times has shape"),
    ({"method": "gilespie"}, "did you mean 'gillespie'"),
    ({"keep": "jump"}, "did you mean 'jumps'"),
    ({"keep": "jumps", "noise": 0.1}, "labels are not wrong"),
    ({"keep": "jumps", "method": "grid"}, "does not draw"),
    ({"initial": "uniform"}, "no initial distribution"),
    ({"initial": 3}, "initial state 3 is not one of the states 0 to 2"),
    ({"initial": [0.5, 0.6, 0.0]}, "3 probabilities that sum to one"),
    ({"noise": 1.5}, "a probability was wanted"),
    ({"noise": np.eye(2)}, r"noise has shape \(2, 2\)"),
    ({"noise": SignalModel([0.0, 1.0])}, "levels of 2 states, the process 3"),
    ({"q": 1e12 * THREE, "method": "gillespie"}, "jumps would have to be drawn; use method='grid'"),
])
def test_bad_input_is_told(given, message):
    with pytest.raises(ValueError, match=message):
        simulate(**{"q": THREE, "n_paths": 2, **given})


def test_bad_signals_are_told():
    for given in ({"scale": 0.0}, {"freedom": -1.0}, {"scale": [1.0, 2.0, 3.0]}):
        with pytest.raises(ValueError, match=r"scale"):
            SignalModel([0.0, 1.0], **given)
