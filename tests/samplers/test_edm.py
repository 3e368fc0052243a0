"""EDM's sampler: Heun in sigma/alpha on any path, churn that keeps the variance, and the published loop."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from samplers.closed_forms import end_variance, slope

from trajlab.paths.schedules import EDM, VE, VPLinear
from trajlab.samplers import grids
from trajlab.samplers.edm import EDMHeun, edm_churn
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture


def test_order_two():
    assert 1.9 < slope(EDMHeun(), 40) < 2.1


def published(denoise, x, sigmas, churn, lowest, highest, inflation, draw):
    """Algorithm 2 of Karras et al. 2022."""
    steps = len(sigmas) - 1
    for here, there in pairwise(sigmas):
        gain = min(churn / steps, math.sqrt(2) - 1) if lowest <= here <= highest else 0
        raised = here * (1 + gain)
        if gain > 0:
            x = x + math.sqrt(raised**2 - here**2) * inflation * draw(x)
        slope = (x - denoise(x, raised)) / raised
        guess = x + (there - raised) * slope
        if there > 0:
            slope = 0.5 * (slope + (guess - denoise(guess, there)) / there)
        x = x + (there - raised) * slope
    return x


@pytest.mark.parametrize("churn", [0.0, 4.0, 40.0])
def test_is_the_published_algorithm(churn, generator):
    path, mixture = EDM(), GaussianMixture.ring()
    grid = grids.karras(path, 17)
    assert grid.levels[0].sigma == pytest.approx(80)
    x = 80 * torch.randn(6, 2, generator=generator, dtype=torch.float64)
    sigmas = [*(k.sigma for k in grid.levels), 0.0]
    noise = RowNoise(torch.Generator().manual_seed(3))
    there = published(lambda x, s: mixture.posterior(x, 1.0, s)[0], x, sigmas, churn, 0.05, 50.0, 1.003, noise.normal)
    solver = EDMHeun(churn, 0.05, 50.0, 1.003)
    found = sample(mixture.denoiser(path), grid, x, solver, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(found.x, there)
    assert found.nfe == 35


def test_the_same_on_every_path(generator):
    mixture, x = GaussianMixture.ring(), torch.randn(8, 2, generator=generator, dtype=torch.float64)
    ends = []
    for path in (VE(), VPLinear()):
        grid = grids.uniform_lam(path, 40, start=-4.0, stop=6.0)
        start = x * grid.levels[0].sigma
        ends.append(sample(mixture.denoiser(path), grid, start, edm_churn(), generator=torch.Generator().manual_seed(0)).x)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-6, atol=1e-6)


def test_churn_keeps_the_variance():
    errors = [end_variance(EDMHeun(churn=40.0), grids.karras(EDM(), n)) / 0.25 - 1 for n in (60, 240)]
    assert abs(errors[0]) < 0.06
    assert abs(errors[1]) < abs(errors[0]) / 2
    assert end_variance(EDMHeun(churn=40.0, inflation=1.1), grids.karras(EDM(), 60)) > 0.27


def test_churn_stays_below_the_noisiest_level():
    path = EDM()
    grid = grids.karras(path, 17)
    solver = EDMHeun(churn=40.0)
    assert solver.raised(path, grid.levels[0], 18).sigma == grid.levels[0].sigma
    assert solver.raised(path, grid.levels[1], 18).sigma <= 80 * (1 + 1e-9)
    assert solver.raised(path, grid.levels[9], 18).rho == pytest.approx(math.sqrt(2) * grid.levels[9].rho)


def test_bad_input():
    with pytest.raises(ValueError, match="negative"):
        EDMHeun(churn=-1.0)
    with pytest.raises(ValueError, match="lowest"):
        EDMHeun(lowest=2.0, highest=1.0)
