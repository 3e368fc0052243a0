"""Search of schedules and of steps: better than fixed solvers on held-out samples, never worse than seeds, right where the answer is known."""

from __future__ import annotations

import pytest
import torch

from trajlab import catalog
from trajlab.paths.schedules import VPTable
from trajlab.samplers.deis import DEIS
from trajlab.samplers.grids import uniform_lam
from trajlab.samplers.sample import sample
from trajlab.samplers.search import search_schedule
from trajlab.sources.mixtures import GaussianMixture

PATH = VPTable()
NFE = 5


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(mixture, n, seed):
    return torch.randn(n, *mixture.event, generator=seeded(seed), dtype=torch.float64) * PATH.level(PATH.ends[0]).sigma


def fixed_solvers():
    found = [DEIS(order, kind) for order in (1, 2, 3) for kind in ("eps", "x0")]
    return found + [catalog.find(name, "samplers")() for name in catalog.table("samplers")]


def best_fixed(denoiser, start, end):
    """(mean, median) of the best fixed solver, each by itself, of those that have a table of NFE calls on a grid uniform in lam."""
    errors = []
    for solver in fixed_solvers():
        for steps in range(1, NFE):
            grid = uniform_lam(PATH, steps)
            try:
                table = solver.plan(grid)
            except (ValueError, NotImplementedError):
                continue
            if table.nfe == NFE:
                got = sample(denoiser, grid, start, solver, generator=seeded())
                errors.append((got.x - end).flatten(1).norm(dim=1))
    return min(float(e.mean()) for e in errors), min(float(e.median()) for e in errors)


@pytest.mark.parametrize("mixture", [GaussianMixture.ring(), GaussianMixture.smooth_paths(seeded(1))], ids=["ring", "paths"])
def test_beats_the_best_fixed_solver_on_fresh_samples(mixture):
    denoiser = mixture.denoiser(PATH)
    found = search_schedule(denoiser, NFE, noise(mixture, 128, 11), seeded())
    assert found.score < found.seed_score
    fresh = noise(mixture, 192, 12)
    end = mixture.ode_end(PATH, fresh, PATH.ends[0], float("inf"), tolerance=1e-6)
    got = sample(denoiser, found.grid, fresh, found.solver)
    error = (got.x - end).flatten(1).norm(dim=1)
    mean, median = best_fixed(denoiser, fresh, end)
    assert got.nfe == NFE
    assert float(error.mean()) < mean / 1.5
    assert float(error.median()) < median / 1.5
