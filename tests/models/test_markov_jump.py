"""Inference of jump processes: known answers, laws, and what bad input gets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab import JumpPaths, MarkovJump, MarkovJumpConfig, concat_jumps, cut_jumps
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.simulate import simulate
from trajlab.models.jumps.fit import load_generator
from trajlab.models.jumps.uncertainty_laplace import laplace
from trajlab.units import Units

Q = from_rates(np.array([[0, 1.0, 0.3], [0.5, 0, 1.2], [0.8, 0.2, 0]]))
OFF = ~np.eye(3, dtype=bool)
METHODS = ["auto", "map", "mle", "zero-shot"]
TIGHT = {"auto": 1e-5, "map": 1e-5, "mle": 1e-5, "zero-shot": 1e-4}  #: the network's numbers are float32


@pytest.fixture(scope="module")
def paths():
    return simulate(Q, 60, (8.0, 25), seed=3)


@pytest.fixture(scope="module")
def noisy():
    return simulate(Q, 60, (8.0, 25), noise=0.06, seed=4)


def infer(paths, **settings):
    return MarkovJump(**settings).infer(paths)


def rebuilt(paths, **changes):
    kept = {"label": paths.label, "time": paths.time, "path": paths.path, "n_states": paths.n_states, "observed": paths.observed}
    return JumpPaths(**{**kept, **changes})


def panel(label, time=None, path=None, n_states=2, **more):
    label = torch.tensor(label)
    return JumpPaths(label, torch.arange(len(label)).double() if time is None else torch.tensor(time),
                     torch.zeros_like(label) if path is None else torch.tensor(path), n_states, **more)


@pytest.mark.parametrize("optimiser", ["em", "lbfgs"])
@pytest.mark.parametrize("method", ["map", "mle"])
def test_rates_are_recovered(paths, method, optimiser):
    many = simulate(Q, 1500, (8.0, 25), seed=5)
    fit = infer(many, method=method, optimiser=optimiser, noise="none")
    assert fit.converged
    assert np.abs(np.log(fit.generator[OFF] / Q[OFF])).max() < 0.1
    assert fit.generator.sum(1) == pytest.approx(np.zeros(3), abs=1e-12)


@pytest.mark.parametrize("noise", ["none", "flip"])
def test_both_optimisers_find_the_same_mode(noisy, noise):
    em, lbfgs = (infer(noisy, method="map", optimiser=o, noise=noise, tolerance=1e-12) for o in ("em", "lbfgs"))
    assert em.generator == pytest.approx(lbfgs.generator, rel=3e-3, abs=1e-3)
    assert em.loglik == pytest.approx(lbfgs.loglik, abs=1e-3)
    if noise == "flip":
        assert em.level == pytest.approx(lbfgs.level, rel=2e-3)


def test_wrong_labels_are_noticed(paths, noisy):
    many = simulate(Q, 600, (8.0, 40), noise=0.05, seed=6)
    fit, blind = infer(many, method="map"), infer(many, method="map", noise="none")
    assert fit.level == pytest.approx(0.05, rel=0.15)
    assert np.abs(fit.generator - Q)[OFF].max() < 0.12 < np.abs(blind.generator - Q)[OFF].max()
    assert infer(paths, method="map").level is None or infer(paths, method="map").level < 0.01
    assert infer(noisy, method="map", noise="flip", level=0.06).level == 0.06


def test_a_full_matrix_of_confusions(noisy):
    many = simulate(Q, 600, (8.0, 40), noise=0.15, seed=7)
    fit = infer(many, method="map", noise="matrix")
    matrix = fit.noise.matrix(3) if callable(fit.noise.matrix) else fit.noise.matrix
    assert np.diag(matrix) == pytest.approx(np.full(3, 0.9), abs=0.04)
    assert np.abs(fit.generator - Q)[OFF].max() < 0.15


def test_a_signal_instead_of_labels():
    from trajlab.dynamics.jumps.emissions import GaussianEmission

    seen = simulate(Q, 40, (20.0, 100), seed=8)
    rng = torch.Generator().manual_seed(0)
    signal = 3.0 * seen.label.double()[:, None] + 0.5 * torch.randn(len(seen.label), 1, generator=rng, dtype=torch.float64)
    blind = rebuilt(seen, label=torch.full_like(seen.label, -1), observed=torch.full_like(seen.label, JumpPaths.SIGNAL), signal=signal)
    fit = infer(blind, method="map")
    assert isinstance(fit.noise, GaussianEmission)
    order = np.argsort(np.asarray(fit.noise.mean)[:, 0])
    assert np.asarray(fit.noise.mean)[order, 0] == pytest.approx([0, 3, 6], abs=0.15)
    known = infer(seen, method="map", noise="none").generator
    assert fit.generator[np.ix_(order, order)][OFF] == pytest.approx(known[OFF], rel=0.2, abs=0.05)


def test_missing_and_censored_looks(paths):
    kind = paths.observed.clone()
    kind[5::7] = JumpPaths.MISSING
    kind[3::11] = JumpPaths.CENSORED
    allowed = torch.ones(len(kind), 3, dtype=torch.bool)
    label = paths.label.clone()
    allowed[3::11] = torch.nn.functional.one_hot(label[3::11], 3).bool()  # allows the state that was there alone
    label[(kind == JumpPaths.MISSING) | (kind == JumpPaths.CENSORED)] = -1
    fit = infer(rebuilt(paths, label=label, observed=kind, allowed=allowed), method="map")
    assert fit.generator[OFF] == pytest.approx(infer(paths, method="map", noise="none").generator[OFF], rel=0.35)
    sure = rebuilt(paths, label=torch.where(kind == JumpPaths.CENSORED, -1, paths.label), observed=torch.where(kind == JumpPaths.CENSORED, kind, 0),
                   allowed=allowed)
    assert infer(sure, method="mle", noise="none").generator == pytest.approx(infer(paths, method="mle", noise="none").generator, rel=1e-3, abs=1e-4)


# laws


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise", ["none", "flip"])
def test_relabelled_states_permute_the_answer(noisy, method, noise):
    order = torch.tensor([2, 0, 1])
    first = infer(noisy, method=method, noise=noise).generator
    other = infer(rebuilt(noisy, label=order[noisy.label]), method=method, noise=noise).generator
    assert other[np.ix_(order, order)] == pytest.approx(first, rel=100 * TIGHT[method], abs=100 * TIGHT[method])


@pytest.mark.parametrize("method", METHODS)
def test_another_unit_of_time_and_another_origin(paths, method):
    first = infer(paths, method=method)
    shift = torch.arange(paths.n_paths).double()[paths.path] * 17.0
    moved = infer(rebuilt(paths, time=paths.time + shift), method=method)
    assert moved.generator == pytest.approx(first.generator, rel=TIGHT[method], abs=TIGHT[method])
    for c in (1e-9, 1e6):
        scaled = infer(rebuilt(paths, time=paths.time * c), method=method)
        assert scaled.generator * c == pytest.approx(first.generator, rel=TIGHT[method], abs=TIGHT[method])
        assert scaled.warnings == first.warnings


@pytest.mark.parametrize("method", ["map", "mle"])
def test_a_cut_at_a_shared_look_changes_nothing(paths, method):
    whole = infer(paths, method=method, noise="none")
    cut = cut_jumps(paths, list(range(7, len(paths.label), 25)))
    assert cut.n_paths == 2 * paths.n_paths
    assert infer(cut, method=method, noise="none").generator == pytest.approx(whole.generator, rel=1e-9)


def test_twice_the_data_halve_the_variance(paths):
    twice = concat_jumps([paths, paths])
    one, two = (infer(p, method="mle", noise="none", tolerance=1e-14) for p in (paths, twice))
    first, second = (laplace(f.problem, f.x).covariance for f in (one, two))
    assert second == pytest.approx(first / 2, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_state_that_is_never_visited_changes_no_rate(paths, method):
    first = infer(paths, method=method, noise="none")
    more = infer(rebuilt(paths, n_states=4), method=method, noise="none")
    assert more.generator[:3, :3] == pytest.approx(first.generator, rel=1e-9)
    assert not more.generator[3].any()
    assert not more.generator[:, 3].any()
    assert any("no look names state 3" in w for w in more.warnings)


def test_an_unseen_state_that_is_kept_has_the_rates_of_the_prior(paths):
    more = infer(rebuilt(paths, n_states=4), method="map", noise="none", unseen="keep")
    first = infer(paths, method="map", noise="none")
    assert (more.generator[:3, 3] > 0).all()
    assert more.generator[:3, 3].max() < 0.1 * first.generator[OFF].max()  # they were watched for long, and nobody went there
    assert (more.generator[3, :3] > 0).all()
    assert more.generator[:3, :3][OFF] == pytest.approx(first.generator[OFF], rel=0.1, abs=0.02)


# constraints


def test_links_equal_and_fixed_rates(paths):
    fit = infer(paths, method="map", noise="none", links=((0, 1), (1, 2), (2, 0)))
    assert (fit.generator[OFF] > 0).sum() == 3
    same = infer(paths, method="map", noise="none", equal=(((0, 1), (1, 2)),), optimiser="lbfgs")
    by_em = infer(paths, method="map", noise="none", equal=(((0, 1), (1, 2)),), optimiser="em")
    assert same.generator[0, 1] == pytest.approx(same.generator[1, 2])
    assert by_em.generator == pytest.approx(same.generator, rel=1e-3)
    fixed = infer(paths, method="map", noise="none", fixed=((0, 1, 0.7),))
    assert fixed.generator[0, 1] == pytest.approx(0.7)


def test_detailed_balance_holds_where_it_is_asked_for(paths):
    q = infer(paths, method="map", noise="none", reversible=True).generator
    assert q[0, 1] * q[1, 2] * q[2, 0] == pytest.approx(q[1, 0] * q[2, 1] * q[0, 2], rel=1e-6)


def test_a_covariate_that_doubles_a_rate():
    slow, fast = simulate(Q, 400, (8.0, 25), seed=9), simulate(2 * Q, 400, (8.0, 25), seed=10)
    both = concat_jumps([slow, fast])
    drug = torch.cat([torch.zeros(len(slow.label)), torch.ones(len(fast.label))]).double()
    fit = infer(both.replace(covariates={"drug": drug}), method="map", covariates=("drug",))
    assert fit.generator_at(drug=1.0)[OFF] == pytest.approx(2 * Q[OFF], rel=0.25)
    assert fit.generator_at(drug=0.0)[OFF] == pytest.approx(Q[OFF], rel=0.25)
    with pytest.raises(ValueError, match="no covariate of this fit 'drag'"):
        fit.generator_at(drag=1.0)


def test_save_and_load(paths, tmp_path):
    fit = infer(paths.replace(names=("a", "b", "c"), units=Units(time="s")), method="map")
    q, names, unit = load_generator(fit.save(tmp_path / "q.json"))
    assert q == pytest.approx(fit.generator)
    assert (names, unit) == (("a", "b", "c"), "s")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not written by JumpFit\.save"):
        load_generator(tmp_path / "x.json")


def test_diagnostics_pass_what_is_right_and_see_what_is_not():
    seen = simulate(Q, 200, (0.6, 40), seed=13)  # looks of one path are far from independent
    found = {type(d).__name__: d for d in infer(seen, method="map", noise="none").diagnose()}
    assert set(found) == {"SamplingInterval", "Identifiability", "ChapmanKolmogorov", "DwellTimes", "OccupancyInTime", "PearsonFit", "Embeddability"}
    assert [name for name, d in found.items() if d.warning] == []
    hidden = from_rates(np.array([[0, 2.0, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 2.0], [2.0, 0, 0, 0]]))
    ring = simulate(hidden, 300, (8.0, 40), seed=14)
    lumped = rebuilt(ring, label=ring.label // 2, n_states=2)  # stays of two steps are no exponentials
    doubts = {type(d).__name__ for d in infer(lumped, method="map", noise="none").diagnose() if d.warning}
    assert {"DwellTimes", "ChapmanKolmogorov"} <= doubts


# bad input


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="no observations"):
        infer(JumpPaths(torch.zeros(0, dtype=torch.long), torch.zeros(0), torch.zeros(0, dtype=torch.long), 2))
    with pytest.raises(ValueError, match="each of the 3 paths has one observation"):
        infer(panel([0, 1, 0], path=[0, 1, 2]))
    with pytest.raises(ValueError, match="no jump is possible between the states that were seen"):
        infer(panel([0, 0, 0]))
    with pytest.raises(TypeError, match="JumpPaths were wanted"):
        MarkovJump().infer(np.zeros(3))
    with pytest.raises(ValueError, match="time goes back"):
        panel([0, 1], time=[1.0, 0.0])
    with pytest.raises(ValueError, match="label 7 of observation 1"):
        panel([0, 7])
    with pytest.raises(ValueError, match="two looks at one time see states 0 and 1"):
        infer(panel([0, 1, 0], time=[0.0, 0.0, 1.0]), method="map", noise="none")


@pytest.mark.parametrize("method", METHODS)
def test_paths_that_never_change_give_upper_limits(method):
    fit = infer(panel([0] * 5 + [1] * 5, path=[0] * 5 + [1] * 5), method=method)
    assert np.isfinite(fit.generator).all()
    assert fit.generator[OFF[:2, :2]].max() < 0.5
    assert any("no look saw another state" in w for w in fit.warnings)


@pytest.mark.parametrize("method", ["map", "mle"])
def test_looks_too_far_apart_say_so(method):
    far = simulate(Q, 200, (4000.0, 21), seed=11)
    fit = infer(far, method=method, noise="none")
    assert np.isfinite(fit.generator).all()
    assert np.abs(fit.generator).max() < 1e3 * 20 / 200.0
    assert any("apart" in w for w in fit.warnings)


def test_absorbing_states_keep_no_exit():
    dead = from_rates(np.array([[0, 0.6, 0.2], [0.3, 0, 0.5], [0, 0, 0.0]]))
    seen = simulate(dead, 300, (6.0, 13), seed=12, initial=0)
    fit = infer(seen, method="map", absorbing=(2,), noise="none")
    assert not fit.generator[2].any()
    assert fit.generator[:2][OFF[:2]] == pytest.approx(dead[:2][OFF[:2]], rel=0.25, abs=0.05)
    ends = panel([0, 1, 2, 0, 2], time=[0.0, 1.0, 1.5, 0.0, 0.7], path=[0, 0, 0, 1, 1], n_states=3, observed=torch.tensor([0, 0, 4, 0, 4]))
    told = infer(ends, method="map")
    assert not told.generator[2].any()
    assert any("taken as absorbing" in w for w in told.warnings)
    blind = infer(panel([0, 1, 2, 0, 2], time=[0.0, 1.0, 1.5, 0.0, 0.7], path=[0, 0, 0, 1, 1], n_states=3), method="map", noise="none")
    assert any("never watched after it was entered" in w for w in blind.warnings)


def test_what_the_links_forbid_is_refused(paths):
    with pytest.raises(ValueError, match="no sequence of allowed jumps leads there"):
        infer(panel([0, 1, 0]), method="map", noise="none", links=((0, 1),))
    with pytest.raises(ValueError, match=r"links names \(0, 9\)"):
        infer(paths, method="map", links=((0, 9),))


def test_settings_are_checked(paths):
    for words, settings in (("no method 'mpa'", {"method": "mpa"}), ("no noise 'flips'", {"noise": "flips"}), ("level=2", {"level": 2}),
                            ("strength=-1", {"strength": -1}), ("has no prior", {"method": "mle", "strength": 1.0}),
                            ("the fixed rate", {"fixed": ((0, 1, -1.0),)}), ("EM is there for free", {"optimiser": "em", "reversible": True}),
                            ("parametric says all", {"parametric": (None, None), "reversible": True}), ("iterations=0", {"iterations": 0})):
        with pytest.raises(ValueError, match=words):
            MarkovJumpConfig(**settings)
    with pytest.raises(ValueError, match="needs a signal"):
        infer(paths, method="map", noise="gaussian")
    with pytest.raises(ValueError, match="the network cannot answer here"):
        infer(paths.replace(covariates={"z": torch.zeros(len(paths.label)).double()}), method="zero-shot", covariates=("z",))


def test_em_never_lowers_the_log_posterior(noisy):
    from trajlab.dynamics.jumps.emissions import Flip
    from trajlab.dynamics.jumps.pair_counts import pair_counts
    from trajlab.dynamics.jumps.smoothing import Intervals
    from trajlab.models.jumps.em import EM, HiddenData, Rates
    from trajlab.models.jumps.rate_prior import all_links, crude, rate_prior

    counts, links = pair_counts(noisy), all_links(3)
    data = HiddenData(Intervals.from_paths(noisy), noisy, Flip(0.02, prior=(20.0, 0.4)), np.full(3, 1 / 3))
    history = EM(Rates(links), rate_prior(counts, links), (1e-6, 1e6), tolerance=1e-12).fit(data, crude(counts, links)).history
    assert len(history) > 5
    assert np.diff(history).min() > -1e-8


def test_priors_fade_where_data_are_many(paths):
    few, many = simulate(Q, 2, (8.0, 25), seed=15), simulate(Q, 400, (8.0, 25), seed=16)
    assert infer(few, method="map", noise="none").prior.strength.max() == 1.0
    assert infer(many, method="map", noise="none").prior.strength.max() == 0.1
    changes = [(p.label.diff() != 0).logical_and(p.path.diff() == 0).sum().item() / 6 for p in (few, paths)]
    for looks, x in zip((few, paths), changes, strict=True):
        found = infer(looks, method="auto", noise="none").prior.strength.max()
        assert found == pytest.approx(30 / (1 + (x / 10) ** 2))
    assert infer(many, method="auto", noise="none").prior.strength.max() == 0.1  # the network is the start alone
