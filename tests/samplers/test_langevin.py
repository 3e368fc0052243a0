"""Annealed Langevin dynamics: its step rule, its calls, and the variance it settles at."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from samplers.closed_forms import Linear, end_variance

from trajlab.paths.schedules import VE, Rectified, VPLinear
from trajlab.samplers import grids
from trajlab.samplers.langevin import AnnealedLangevin
from trajlab.samplers.sample import sample


def test_steps_follow_the_noise():
    """h_i = h_L sigma_i^2/sigma_L^2, M of them at every level, and x left alone in between."""
    path = VE(0.1, 10.0)
    table = AnnealedLangevin(share=0.1, inner=3).plan(grids.uniform_lam(path, 4, end="stop"))
    assert table.nfe == len(table.stages) == 15
    last = table.stages[-1]
    h_last = last.noise**2 / 2
    for stage in table.stages:
        sigma = stage.level.sigma
        assert stage.noise**2 / 2 == pytest.approx(h_last * sigma**2 / last.level.sigma**2)
        assert stage.states == (1.0,)
        assert stage.predictions[0] == pytest.approx(-(stage.noise**2) / 2 / sigma)  # h score, score = -eps/sigma
    assert sum(stage.node for stage in table.stages) == 4


def test_between_levels_the_clean_scale_is_kept():
    grid = grids.uniform_lam(VPLinear(), 3, start=-2.0, stop=2.0, end="stop")
    moves = [stage for stage in AnnealedLangevin(inner=2).plan(grid).stages if stage.level is None]
    assert [m.states[0] for m in moves] == pytest.approx([t.alpha / s.alpha for s, t in pairwise(grid.levels)])


def test_settles_at_the_variance_of_the_explicit_scheme():
    """On N(0, V) the scheme x <- (1 - h/V) x + sqrt(2 h) z has variance V/(1 - h/(2 V))."""
    path = VE(0.1, 10.0)
    grid = grids.explicit(path, [0.0, 0.5], end="stop")
    sigma2 = math.exp(-1.0)
    total = 0.25 + sigma2
    found = end_variance(AnnealedLangevin(share=0.5, inner=100), grid)
    assert found == pytest.approx(total / (1 - 0.5 * sigma2 / (2 * total)), rel=1e-6)


@pytest.mark.parametrize("path", [VE(0.01, 10.0), VPLinear()], ids=["VE", "VP"])
def test_end_variance_is_that_of_the_data(path):
    """What is missing is annealing: it freezes where share sigma^2 M falls below the variance."""
    grid = grids.uniform_lam(path, 40, start=-2.3, stop=4.6)
    errors = [end_variance(AnnealedLangevin(share=0.1, inner=m), grid, most=41 * m + 1) / 0.25 - 1 for m in (20, 80)]
    assert 0 < errors[0] < 0.15
    assert 0 < errors[1] < errors[0] / 2


def test_forgets_its_start():
    """From a start that is far too wide (level 0 counts), the end is the same."""
    path = VE(0.01, 10.0)
    grid = grids.uniform_lam(path, 40)
    starts = [torch.full((1, 1), w, dtype=torch.float64) for w in (0.0, 100.0)]
    ends = [sample(Linear(path, 0.25), grid, x, AnnealedLangevin(), generator=torch.Generator().manual_seed(0)).x for x in starts]
    assert float((ends[0] - ends[1]).abs()) < 0.05


def test_bad_input():
    with pytest.raises(ValueError, match="share = 2"):
        AnnealedLangevin(share=2.0)
    with pytest.raises(ValueError, match="inner = 0"):
        AnnealedLangevin(inner=0)
    with pytest.raises(ValueError, match="alpha = 0"):
        AnnealedLangevin().plan(grids.at_times(Rectified(), [0.0, 0.5]))
