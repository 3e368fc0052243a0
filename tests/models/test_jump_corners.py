"""Corners of the inference of jump processes: looks at one time, censored ends, wrong labels beside gaps, states the network was not asked of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab import JumpPaths, MarkovJump, MarkovJumpConfig
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.pair_counts import pair_counts
from trajlab.dynamics.jumps.simulate import simulate
from trajlab.models.jumps.intervals import derive

Q = from_rates(np.array([[0, 1.0, 0.3], [0.5, 0, 1.2], [0.8, 0.2, 0]]))
OFF = ~np.eye(3, dtype=bool)


def infer(paths, **settings):
    return MarkovJump(**settings).infer(paths)


def looks(label, time, path, n_states=2, **more):
    return JumpPaths(torch.tensor(label), torch.tensor(time, dtype=torch.float64), torch.tensor(path), n_states, **more)


@pytest.fixture(scope="module")
def noisy():
    return simulate(Q, 120, (8.0, 40), noise=0.05, seed=5)


@pytest.fixture(scope="module")
def doubled(noisy):
    """Every tenth look is followed by one at the same time in another state."""
    at = torch.arange(5, len(noisy.label), 10)
    take = torch.sort(torch.cat([torch.arange(len(noisy.label)), at])).values
    label = noisy.label[take]
    label[1:][take[1:] == take[:-1]] = (label[1:][take[1:] == take[:-1]] + 1) % 3
    return noisy.replace(label=label, time=noisy.time[take], path=noisy.path[take], observed=noisy.observed[take])


@pytest.mark.parametrize("method", ["mle", "map"])
def test_following_that_ends_alive_counts_as_time_at_risk(method):
    kind = torch.tensor([0, JumpPaths.ENTRY, 0, JumpPaths.CENSORED])
    alive = torch.tensor([[True, True], [True, True], [True, True], [True, False]])
    fit = infer(looks([0, 1, 0, -1], [0.0, 2.0, 0.0, 3.0], [0, 0, 1, 1], observed=kind, allowed=alive), method=method, noise="none", strength=None)
    seen = infer(looks([0, 1, 0, 0], [0.0, 2.0, 0.0, 3.0], [0, 0, 1, 1], observed=torch.tensor([0, 4, 0, 0])), method=method, noise="none")
    if method == "mle":
        assert fit.generator[0, 1] == pytest.approx(1 / 5, rel=1e-4)  # one death in five years
        assert fit.generator == pytest.approx(seen.generator, rel=1e-4)
    assert fit.generator[0, 1] < 0.5


def test_an_entry_on_the_day_of_a_look_is_a_jump_from_there():
    kind = torch.tensor([0, 0, JumpPaths.ENTRY])
    counts = pair_counts(looks([0, 1, 2], [0.0, 1.0, 1.0], [0, 0, 0], 3, observed=kind))[0]
    assert counts.jumps[1, 2] == 1
    assert counts.weight.tolist() == [1.0]
    paths = looks([0, 1, 1, 0, 1], [0.0, 2.0, 2.0, 0.0, 2.0], [0, 0, 0, 1, 1], observed=torch.tensor([0, 4, 0, 0, 4]))
    assert infer(paths, method="mle", noise="none").generator[0, 1] == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("noise", ["flip", "auto", "matrix"])
def test_two_states_at_one_time_are_wrong_labels(doubled, noise):
    fit = infer(doubled, method="map", noise=noise)
    assert np.isfinite(fit.generator).all()
    assert np.abs(fit.generator - Q)[OFF].max() < 0.5
    if noise != "matrix":
        assert 0.05 < fit.level < 0.4  # half of the doubled looks are wrong too
    assert len(fit.diagnose()) > 3


def test_two_states_at_one_time_need_noise(doubled):
    with pytest.raises(ValueError, match="two looks at one time see states"):
        infer(doubled, method="map", noise="none")


def test_the_network_reads_looks_at_one_time(doubled):
    assert np.isfinite(infer(doubled, method="zero-shot").generator).all()


def test_only_allowed_confusions_have_a_share():
    truth = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 1.0]])
    paths = simulate(Q, 300, (8.0, 40), noise=truth, seed=7)
    fit = infer(paths, method="map", noise="matrix", confusions=((0, 1), (1, 0)))
    assert not fit.noise.matrix[truth == 0].any()
    assert fit.noise.matrix == pytest.approx(truth, abs=0.05)
    assert np.abs(fit.generator - Q)[OFF].max() < 0.2
    assert sum("odds" in p.name for p in fit.intervals()) == 2
    with pytest.raises(ValueError, match=r"confusions names \(0, 5\)"):
        infer(paths, method="map", noise="matrix", confusions=((0, 5),))


def test_the_prior_of_a_matrix_says_that_most_labels_are_right():
    paths = simulate(Q, 1, (2.0, 6), seed=2)
    assert np.diag(infer(paths, method="map", noise="matrix").noise.matrix)[np.unique(paths.label)].min() > 0.8
    assert infer(paths, method="mle", noise="matrix").noise.pseudo.sum() == 0


@pytest.mark.parametrize("method", ["map", "auto"])
def test_wrong_labels_are_noticed_beside_gaps(noisy, method):
    label, kind = noisy.label.clone(), noisy.observed.clone()
    label[3::9], kind[3::9] = -1, JumpPaths.MISSING
    fit = infer(noisy.replace(label=label, observed=kind), method=method)
    assert fit.level == pytest.approx(0.05, rel=0.4)
    assert np.abs(fit.generator - Q)[OFF].max() < 0.3


@pytest.mark.parametrize("method", ["map", "auto"])
def test_looks_that_cannot_be_are_taken_as_wrong(method):
    onward = from_rates(np.array([[0, 0.6, 0], [0, 0, 0.4], [0, 0, 0.0]]))
    paths = simulate(onward, 200, (6.0, 13), noise=0.05, initial=0, seed=5)
    links = ((0, 1), (1, 2))
    fit = infer(paths, method=method, links=links)
    assert fit.level == pytest.approx(0.05, rel=0.4)
    assert fit.generator[[0, 1], [1, 2]] == pytest.approx([0.6, 0.4], rel=0.2)
    assert any("cannot follow each other" in w for w in fit.warnings)
    with pytest.raises(ValueError, match="no sequence of allowed jumps leads there"):
        infer(paths, method=method, links=links, noise="none")


def test_a_known_level_is_kept_whatever_the_likelihood_says():
    assert infer(simulate(Q, 20, (8.0, 25), seed=3), method="map", level=0.03).level == 0.03


def test_the_network_among_more_states():
    paths = simulate(Q, 30, (8.0, 25), seed=3)
    wide = paths.replace(label=torch.tensor([0, 2, 3])[paths.label], n_states=4)
    few, fit = infer(paths, method="zero-shot"), infer(wide, method="zero-shot")
    assert fit.generator[np.ix_([0, 2, 3], [0, 2, 3])] == pytest.approx(few.generator)
    assert [i.low for i in fit.intervals()] == pytest.approx([i.low for i in few.intervals()])
    assert [i.name for i in fit.intervals()] == ["0->2", "0->3", "2->0", "2->3", "3->0", "3->2"]
    assert derive(fit, lambda q: q[:, 0, 2]).high == pytest.approx(derive(few, lambda q: q[:, 0, 1]).high, rel=0.3)
    with pytest.raises(ValueError, match="it knows nothing of equal and fixed rates"):
        infer(paths, method="zero-shot", reversible=True)


def test_settings_that_mean_nothing_together():
    for words, settings in (("level=0.1 is one of flips", {"level": 0.1, "noise": "matrix"}), ("take noise='matrix'", {"confusions": ((0, 1),)}),
                            ("a pair", {"parametric": np.exp})):
        with pytest.raises(ValueError, match=words):
            MarkovJumpConfig(**settings)
    with pytest.raises(ValueError, match="no jump is possible"):
        infer(simulate(Q, 20, (8.0, 25), seed=3), method="map", links=())


def test_detailed_balance_beside_a_state_that_is_never_visited():
    paths = simulate(Q, 60, (8.0, 25), seed=3)
    few = infer(paths, method="map", noise="none", reversible=True).generator
    wide = paths.replace(label=paths.label + 1, n_states=5)
    more = infer(wide, method="map", noise="none", reversible=True).generator
    assert more[1:4, 1:4] == pytest.approx(few, rel=1e-4)
    assert not more[[0, 4]].any()


# deaths of known date

ILL = from_rates(np.array([[0, 0.5, 0.05], [0.3, 0, 0.5], [0, 0, 0.0]]))


def followed(seed, paths=300):
    """Looks at the living, and the dates of deaths."""
    return simulate(ILL, paths, (6.0, 19), initial=[0.8, 0.2, 0.0], keep="entries", seed=seed)


def alive(paths):
    return (paths.observed == JumpPaths.PANEL) & (paths.label < 2)


@pytest.mark.parametrize("noise", ["flip", "matrix"])
def test_nobody_is_dead_while_looked_at(noise):
    paths = followed(1)
    rng = np.random.default_rng(0)
    label = paths.label.clone()
    wrong = alive(paths) & torch.from_numpy(rng.random(len(label)) < 0.05)  # flips of a tenth among two labels
    label[wrong] = 1 - label[wrong]
    keep = alive(paths) | (paths.observed == JumpPaths.ENTRY)
    paths = paths.replace(label=label[keep], time=paths.time[keep], path=paths.path[keep], observed=paths.observed[keep])
    fit = infer(paths, method="map", noise=noise)
    assert fit.generator[:2][OFF[:2]] == pytest.approx(ILL[:2][OFF[:2]], rel=0.25, abs=0.05)
    rows = fit.noise.matrix(3) if noise == "flip" else fit.noise.matrix
    assert rows[2].tolist() == [0, 0, 1]
    assert not rows[:2, 2].any()
    assert rows[0, 1] == pytest.approx(0.05, abs=0.015)
    assert fit.initial[2] == 0
    score, step = fit.problem.value_and_gradient(fit.x)[1], 1e-5
    for k in range(len(fit.x)):
        ahead, behind = (fit.problem.value_and_gradient(fit.x + s * step * np.eye(len(fit.x))[k])[0] for s in (1, -1))
        assert (ahead - behind) / (2 * step) == pytest.approx(score[k], abs=1e-3)
    assert fit.intervals(method="bootstrap", draws=2)


@pytest.mark.parametrize("noise", ["gaussian", "student"])
def test_the_dead_show_no_signal(noise):
    paths = followed(2)
    keep = alive(paths) | (paths.observed == JumpPaths.ENTRY)
    label, time, path, kind = (v[keep] for v in (paths.label, paths.time, paths.path, paths.observed))
    rng = np.random.default_rng(0)
    signal = torch.from_numpy(2.0 * label.numpy() + 0.4 * rng.standard_normal(len(label)))[:, None]
    looked = kind == JumpPaths.PANEL
    hidden = JumpPaths(torch.where(looked, -1, label), time, path, 3, torch.where(looked, JumpPaths.SIGNAL, kind), signal=signal)
    fit = infer(hidden, method="map", noise=noise)
    assert fit.noise.silent == (2,)
    assert fit.noise.mean[:2, 0] == pytest.approx([0, 2], abs=0.1)
    assert fit.initial[2] == 0
    assert fit.generator[:2][OFF[:2]] == pytest.approx(ILL[:2][OFF[:2]], rel=0.25, abs=0.05)
    assert not any("[2, 0]" in name for name in fit.problem.names)
    score, step = fit.problem.value_and_gradient(fit.x)[1], 1e-5
    for k in range(len(fit.x)):
        ahead, behind = (fit.problem.value_and_gradient(fit.x + s * step * np.eye(len(fit.x))[k])[0] for s in (1, -1))
        assert (ahead - behind) / (2 * step) == pytest.approx(score[k], abs=1e-3)
    assert fit.intervals(method="bootstrap", draws=2)


def test_nothing_is_to_be_known_of_rates_from_death():
    found = {type(d).__name__: d for d in infer(followed(1, 100), method="map", noise="none", links=((0, 1), (0, 2), (1, 0), (1, 2))).diagnose()}
    assert "never seen" not in found["Identifiability"].sentence
    assert not found["Identifiability"].warning
    assert " -0 " not in found["SamplingInterval"].sentence
