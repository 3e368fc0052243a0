"""Reference refinement: known processes are found, the objective falls, what is held out stays out, and bad input is named."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from models.bridge_systems import TURN, F, turning

import trajlab as tl
from trajlab.dynamics.linear_noise import Diverged
from trajlab.metrics.distribution import wasserstein
from trajlab.models.bridge_scale import intervals_of
from trajlab.models.moment_fit import moment_fit
from trajlab.models.slow_bridge import slow_bridge

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "cells" / "sbirr"
Config = tl.SchrodingerBridgeConfig


def plain(family: str = "ou", iterations: int = 6, **changes: object) -> tl.SchrodingerBridge:
    return tl.SchrodingerBridge(Config(family=family, sigma=0.2, iterations=iterations, scale="none", **changes))


def real(file: str, gap: float) -> tuple[tl.Snapshots, torch.Tensor, torch.Tensor]:
    """Even snapshots to fit, the odd ones and their times."""
    if not (REAL / file).is_file():
        pytest.skip(f"{file} is not here; put the published snapshots into {REAL}")
    x = torch.tensor(np.load(REAL / file)).double()
    time = gap * torch.arange(len(x), dtype=F)
    even = x[::2]
    return tl.Snapshots(even.flatten(0, 1), torch.arange(len(even)).repeat_interleave(x.shape[1]), time[::2]), x[1::2], time[1::2]


def judged(model: tl.SchrodingerBridge, cells: torch.Tensor, times: torch.Tensor) -> float:
    drawn = model.bridge(times, 400).x
    return sum(float(wasserstein(drawn[:, k], one, p=1)) for k, one in enumerate(cells)) / len(cells)


def test_a_linear_process_is_found_and_the_objective_falls():
    model = plain(iterations=6, settle=1e-12).fit(turning())
    A = model.theta[:4].reshape(2, 2)
    assert (A - TURN).abs().max() < 0.15
    rise = max(b.objective - a.objective for a, b in pairwise(model.history))
    assert rise <= 1e-5  # as far as the plans are solved
    tight = plain(iterations=30, settle=1e-12, tolerance=1e-11, patience=30).fit(turning(cells=30))
    assert max(b.objective - a.objective for a, b in pairwise(tight.history)) <= 1e-10


def test_lotka_volterra_from_the_published_snapshots():
    snapshots, cells, times = real("LV_data.npy", 1.0)
    model = tl.SchrodingerBridge(Config.mechanistic("lotka_volterra", 0.1, 10)).fit(snapshots)
    assert judged(model, cells, times) <= 0.13
    for name, truth in {"alpha": 1.0, "beta": 0.4, "gamma": 0.4, "delta": 0.1}.items():
        assert model.parameters[name] == pytest.approx(truth, rel=0.1)
    assert model.history[0].objective > 800
    assert min(step.objective for step in model.history) < -15.7


def test_vortex_from_the_published_snapshots():
    snapshots, cells, times = real("GoMvortex_data.npy", 1.0)
    still = tl.SchrodingerBridge(Config.mechanistic("brownian", 0.1, 0)).fit(snapshots)
    bar = judged(still, cells, times)
    for family in ("vortex", "ou"):
        score = judged(tl.SchrodingerBridge(Config.mechanistic(family, 0.1, 10)).fit(snapshots), cells, times)
        assert score <= 0.12
        assert score <= 0.55 * bar


def test_garbage_in_what_is_left_out_changes_no_bit():
    """Left out: nothing changes. Held out to choose the number of iterations: no iterate changes, only the choice can."""
    snapshots = turning()
    spoilt = snapshots.replace(x=torch.where((snapshots.snapshot == 2)[:, None], 1e6, snapshots.x))
    for scale in ("none", "one"):
        one, two = (tl.SchrodingerBridge(Config(sigma=0.2, iterations=3, scale=scale)).fit(s, leave_out=[2]) for s in (snapshots, spoilt))
        assert torch.equal(one.theta, two.theta)
        assert all(torch.equal(a.P, b.P) for a, b in zip(one.plans, two.plans))
        assert torch.equal(one.bridge([1.2], 50).x, two.bridge([1.2], 50).x)
    one, two = (plain(iterations=3, hold_out=2).fit(s) for s in (snapshots, spoilt))
    assert all(torch.equal(a.theta, b.theta) for a, b in zip(one.validation, two.validation))
    assert one.validation[0].score != two.validation[0].score


def test_a_held_out_snapshot_chooses_the_number_of_iterations():
    model = plain(iterations=4, hold_out=2).fit(turning())
    scores = [step.score for step in model.validation]
    assert len(model.history) - 1 == scores.index(min(scores))
    assert min(scores) < scores[0]
    with pytest.raises(ValueError, match="inner snapshot"):
        plain(hold_out=0).fit(turning())


@pytest.mark.parametrize("how", ["likelihood", "squarem"])
def test_accelerations_reach_the_same_and_never_rise(how):
    snapshots = turning(15, 3)
    slow = plain(iterations=10, settle=1e-9, steps=10).fit(snapshots)
    quick = plain(iterations=5, settle=1e-9, steps=10, acceleration=how).fit(snapshots)
    assert any(step.how in ("likelihood", "extrapolated") for step in quick.history)
    figures = [step.objective for step in quick.history]
    assert max(b - a for a, b in pairwise(figures)) <= 1e-5  # never a rise
    assert figures[-1] == pytest.approx(slow.history[-1].objective, abs=0.1)


def test_sigma_from_moments():
    """True .2: between .18 and .25 with 300 cells, and said to be an estimate."""
    for seed in range(3):
        assert 0.17 < moment_fit(intervals_of(turning(300, seed=seed))).sigma < 0.25
    with pytest.warns(UserWarning, match="Drift, noise and growth cannot all be told"):
        model = tl.SchrodingerBridge(Config(iterations=0, scale="none", steps=4)).fit(turning(100))
    assert model.sigma == pytest.approx(0.22, abs=0.05)


def test_paths_pass_through_the_cells_and_repeat():
    snapshots = turning(30, 3)
    model = plain(iterations=2).fit(snapshots)
    paths = model.bridge([0.0, 0.31, 0.6, 1.2], n=40)
    assert paths.x.shape == (40, 4, 2)
    for k, column in ((0, 0), (1, 2), (2, 3)):
        assert (paths.x[:, column, None] - snapshots.at(k)).abs().sum(-1).amin(1).max() < 1e-12
    assert torch.equal(paths.x, model.bridge([0.0, 0.31, 0.6, 1.2], n=40).x)
    assert not torch.equal(paths.x, model.bridge([0.0, 0.31, 0.6, 1.2], n=40, seed=1).x)


def test_growth_frees_the_sources():
    """Two branches far apart, one doubled: its share of the sources doubles."""
    g = torch.Generator().manual_seed(0)
    place = torch.tensor([[0.0, 0.0], [4.0, 0.0]], dtype=F)
    first = place.repeat_interleave(50, 0) + 0.4 * torch.randn(100, 2, generator=g, dtype=F)
    second = place[[0, 0, 1]].repeat_interleave(40, 0) + 0.4 * torch.randn(120, 2, generator=g, dtype=F)
    snapshots = tl.Snapshots(torch.cat([first, second]), torch.tensor([0] * 100 + [1] * 120), torch.tensor([0.0, 1.0]))
    model = tl.SchrodingerBridge(Config(family="brownian", sigma=0.3, scale="none", growth=1.0)).fit(snapshots)
    mass = model.plans[0].P.sum(1)
    assert float(mass[:50].sum() / mass[50:].sum()) == pytest.approx(2.0, abs=0.1)
    assert (model.plans[0].P.sum(0) - 1 / 120).abs().max() < 1e-6


def test_the_slow_bridge_agrees():
    """A simulated kernel, as a check: plan and middle of the exact linear bridge."""
    snapshots = turning(25, 2)
    model = plain(iterations=2).fit(snapshots)
    slow = slow_bridge(model.reference, model.intervals[0], torch.Generator().manual_seed(0), 1500, 20)
    assert (slow.plan.P - model.plans[0].P).abs().sum() < 0.25
    assert slow.effective > 20
    one, two = slow.paths(2000, torch.Generator().manual_seed(1))[:, 10], model.bridge([0.3], 2000).x[:, 0]
    assert (one.mean(0) - two.mean(0)).abs().max() < 0.03
    assert (torch.cov(one.mT) - torch.cov(two.mT)).abs().max() < 0.02


def test_small_and_flat_snapshots():
    """One cell at a time; a constant dimension."""
    single = tl.Snapshots(torch.tensor([[0.0, 0.0], [1.0, 0.5], [2.0, 1.0]], dtype=F), torch.arange(3), torch.arange(3.0))
    assert plain(iterations=2).fit(single).bridge([0.5], 5).x.isfinite().all()
    with pytest.raises(ValueError, match="give sigma"):
        tl.SchrodingerBridge(Config(scale="none")).fit(single)
    cells = turning(30, 3)
    flat = cells.replace(x=torch.cat([cells.x, torch.ones(90, 1, dtype=F)], 1))
    for scale in ("one", "each"):
        model = tl.SchrodingerBridge(Config(sigma=0.2, iterations=2, scale=scale)).fit(flat)
        assert model.bridge([0.3], 5).x.isfinite().all()


def test_bad_input():
    x = torch.zeros(4, 2, dtype=F)
    with pytest.raises(ValueError, match="increas"):
        tl.Snapshots(x, torch.tensor([0, 0, 1, 1]), torch.tensor([1.0, 1.0]))
    with pytest.raises(ValueError, match="snapshot"):
        tl.Snapshots(x, torch.tensor([0, 0, 0, 0]), torch.tensor([0.0, 1.0]))  # the second is empty
    with pytest.raises(ValueError, match="finite"):
        tl.Snapshots(x + math.nan, torch.tensor([0, 0, 1, 1]), torch.tensor([0.0, 1.0]))
    with pytest.raises(TypeError, match="Snapshots were wanted"):
        plain().fit(x)
    with pytest.raises(ValueError, match="at least 2 snapshots"):
        plain().fit(turning(), leave_out=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="call fit"):
        plain().bridge([0.5])
    with pytest.raises(ValueError, match="family of references"):
        plain("uo")
    with pytest.raises(ValueError, match="hold no cell of positive weight"):
        plain().fit(turning(3, 3).replace(weight=torch.tensor([1.0] * 3 + [0.0] * 3 + [1.0] * 3)))
    model = plain(iterations=1).fit(turning(10, 3))
    for times in ([], [0.5, 0.5], [-1.0], [5.0]):
        with pytest.raises(ValueError, match="rising times"):
            model.bridge(times)
    for wrong in ({"sigma": -1.0}, {"steps": 1}, {"growth": 0.0}, {"tolerance": 0.0}, {"paths": 0}):
        with pytest.raises(ValueError, match="wanted"):
            Config(**wrong)
    for wrong in ({"scale": "two"}, {"acceleration": "fast"}):  # by the checker of types here, by the config itself elsewhere
        with pytest.raises((ValueError, TypeError), match=r"one of|Literal"):
            Config(**wrong)


def test_a_reference_that_blows_up():
    from trajlab.models.parametric_families import Parametric

    class Wild(Parametric):
        def start(self, intervals, D):
            return torch.ones(1, dtype=F)

    wild = Wild(lambda x, theta: theta * x**3, ("k",))
    with pytest.raises(Diverged, match="blow up"):
        tl.SchrodingerBridge(Config(family=wild, sigma=0.2, scale="none")).fit(turning())
