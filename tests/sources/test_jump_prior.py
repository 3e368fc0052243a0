"""The prior over jump processes: its families, its frequencies, its tasks, and that tasks are reproducible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trajlab.dynamics.jumps.generator import stationary, transition
from trajlab.sources.jump_families import connected
from trajlab.sources.jump_prior import JumpPrior, PriorConfig
from trajlab.sources.jump_prior_config import FAMILIES

FEW = PriorConfig(paths=(1, 3), looks=(2, 5))


def share(count, of, chance):
    """Whether a count is within four standard deviations of what was expected."""
    return abs(count - of * chance) < 4 * np.sqrt(of * chance * (1 - chance))


def test_frequencies_are_those_of_the_config():
    tasks = list(JumpPrior(FEW).tasks(1000, seed=1))
    sizes = np.bincount([t.n_states for t in tasks], minlength=7)
    assert all(share(sizes[n], 1000, w) for n, w in zip(range(2, 7), np.array([1, 1, 1, 1, 5]) / 9, strict=True))
    assert share(sum(t.eps == 0 for t in tasks), 1000, 0.30)
    assert share(sum(t.eps == 0.01 for t in tasks), 1000, 0.35)
    assert max(t.eps for t in tasks) < 0.1
    regular = [np.ptp(np.diff(t.time[0])) < 1e-9 and t.time[0, 0] == 0 for t in tasks]
    assert share(sum(regular), 1000, 0.5)
    assert share(sum(t.starts_stationary for t in tasks), 1000, 0.5)
    assert all(t.shared_grid and (t.time == t.time[0]).all() for t in tasks)
    assert {t.label.shape[1] for t in tasks} == {2, 3, 4, 5}
    assert {t.n_paths for t in tasks} == {1, 2, 3}
    large = [t for t in tasks if t.n_states == 6]
    assert share(sum((np.count_nonzero(t.q) == 36) for t in large), len(large), 0.51)  # complete, or random links that happen to be all there
    assert all(connected(t.q > 0) for t in tasks)
    rates = np.concatenate([t.q[~np.eye(t.n_states, dtype=bool)] for t in tasks])
    assert rates.max() < 10
    assert 0.05 < np.median(rates[rates > 0]) < 0.5


def test_paths_are_uniform_in_the_logarithm():
    rng = np.random.default_rng(0)
    count = np.array([JumpPrior(replace(FEW, paths=(1, 300))).task(rng, n=2, L=2, eps=0.0).n_paths for _ in range(800)])
    assert (count.min(), count.max() <= 300) == (1, True)
    for edge in (3, 17, 100):
        assert share((count < edge).sum(), 800, np.log(edge) / np.log(301))


@pytest.mark.parametrize("family", FAMILIES)
def test_families_have_their_links(family):
    for n in (2, 3, 5, 20):
        for seed in range(20):
            q = JumpPrior(PriorConfig.wide()).generator(np.random.default_rng((n, seed)), n, family)[0]
            links = q > 0
            exits = -np.diag(q)
            reach = transition(q / exits.max(), np.array(1e6)) > 1e-12 if family == "absorbing" else links
            assert np.isfinite(q).all()
            assert q.sum(1) == pytest.approx(0, abs=1e-9 * exits.max())
            if family in ("random", "ring", "birth_death", "reversible"):
                assert connected(links)
            if family in ("ring", "birth_death"):
                assert links.sum(1).max() <= 2
                assert links.sum() in {"ring": (n, 2 * n), "birth_death": (2 * n - 2,)}[family]
            if family == "reversible":
                flux = stationary(q)[:, None] * q
                assert flux == pytest.approx(flux.T, abs=1e-9 * flux.max())
            if family == "one_way":
                assert np.linalg.matrix_power(links.astype(int), n).sum() == 0, "no way leads back"
                assert (exits == 0).sum() == 1
            if family == "absorbing":
                ends = exits == 0
                assert 1 <= ends.sum() <= min(3, max(1, n // 2))
                assert reach[:, ends].any(1).all()


def test_wide_rates_span_more_decades():
    prior = JumpPrior(replace(PriorConfig.wide(), spread_share=1.0))
    spans = []
    for seed in range(100):
        q = prior.generator(np.random.default_rng(seed), 6, "random")[0]
        spans.append(np.log10(q[q > 0].max() / q[q > 0].min()))
    assert np.mean(spans) > 2.5
    assert max(spans) <= 6.01


def test_labels_follow_the_process():
    """Transitions of a task pooled over its paths are those of exp(q lag), with each path's own times; the first look follows ``initial``."""
    config = replace(PriorConfig.wide(), own_grid=1.0, spread_share=0.0)
    task = JumpPrior(config).task_at(5, 0, n=3, K=4000, L=6, eps=0.0, irregular=True, stationary=False, family="random")
    assert not task.shared_grid
    assert (np.diff(task.time, axis=1) >= 0).all()
    assert len(np.unique(task.time)) == task.time.size
    first = np.bincount(task.label[:, 0], minlength=3)
    assert all(share(first[k], 4000, task.initial[k]) for k in range(3))
    p = transition(task.q, np.diff(task.time, axis=1))
    chance = np.take_along_axis(p, task.label[:, :-1, None, None], 2)[:, :, 0]
    hit = task.label[:, 1:, None] == np.arange(3)
    z = (hit - chance).sum((0, 1)) / np.sqrt((chance * (1 - chance)).sum((0, 1)))
    assert (np.abs(z) < 4).all()


def test_noise_is_that_of_the_task():
    clean = JumpPrior().task_at(3, 2, K=200, L=50, eps=0.0)
    noisy = JumpPrior().task_at(3, 2, K=200, L=50, eps=0.2)
    assert (clean.q == noisy.q).all()
    n = clean.n_states
    assert share((clean.label != noisy.label).sum(), clean.label.size, 0.2 * (n - 1) / n)


def test_tasks_are_reproducible_and_independent():
    prior = JumpPrior(PriorConfig.wide())
    five = list(prior.tasks(5, seed=7))
    later = next(prior.tasks(1, seed=7, first=3))
    assert (later.q == five[3].q).all()
    assert (later.label == five[3].label).all()
    assert len({t.q.tobytes() for t in five}) == 5
    assert not np.array_equal(prior.task_at(8, 3).q, later.q)
    paths = later.paths()
    assert (paths.n_paths, paths.n_states) == (later.n_paths, later.n_states)
    assert (paths.label.numpy().reshape(later.label.shape) == later.label).all()


def test_settings_come_from_a_table():
    config = PriorConfig.from_dict({"states": [3, 4], "state_weights": [1, 2], "beta_shapes": [[1, 2]], "ring": 0.5})
    assert config == PriorConfig(states=(3, 4), state_weights=(1, 2), beta_shapes=((1, 2),), ring=0.5)
    with pytest.raises(ValueError, match="did you mean 'horizon'"):
        PriorConfig.from_dict({"horizn": 3})


@pytest.mark.parametrize(("given", "message"), [
    ({"states": (1, 2)}, "at least 2"),
    ({"states": (2, 3)}, "5 state_weights for 2 numbers of states"),
    ({"beta_shapes": ((1.0, 0.0),)}, "pairs of positive numbers"),
    ({"irregular": 1.5}, "irregular = 1.5"),
    ({"random": 0.0}, "frequencies"),
    ({"looks": (1, 5)}, "looks = "),
    ({"paths": (5, 2)}, "rising pair"),
    ({"horizon": 0.0}, "horizon 0.0"),
])
def test_bad_settings_are_told(given, message):
    with pytest.raises(ValueError, match=message):
        PriorConfig(**given)


@pytest.mark.parametrize(("fixed", "message"), [
    ({"k": 3}, "no part of a task that can be fixed 'k'"), ({"K": 0}, "K = 0"), ({"n": 1}, "n = 1"), ({"eps": 2.0}, "eps = 2.0"),
    ({"family": "chain"}, "no family 'chain'"),
])
def test_bad_tasks_are_told(fixed, message):
    with pytest.raises(ValueError, match=message):
        JumpPrior().task_at(0, 0, **fixed)
