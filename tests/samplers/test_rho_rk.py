"""Runge-Kutta in sigma/alpha: orders, calls, and the step to zero noise."""

from __future__ import annotations

import math

import pytest
import torch
from samplers.closed_forms import nodes, slope

from trajlab.paths.schedules import VE, Rectified
from trajlab.samplers import grids
from trajlab.samplers.rho_rk import RhoRK, Tableau, rho_heun, rho_kutta3, rho_rk4
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture, gaussian


@pytest.mark.parametrize(("solver", "order", "calls"), [(rho_heun(), 2, 2), (rho_kutta3(), 3, 3), (rho_rk4(), 4, 4)], ids=["heun", "kutta3", "rk4"])
def test_order_and_calls(solver, order, calls):
    assert order - 0.1 < slope(solver, 40) < order + 0.1
    assert solver.plan(nodes(40)).nfe == 40 * calls
    assert solver.plan(nodes(40, "denoise")).nfe == 40 * calls + 1


def test_one_step_by_hand():
    """Heun on N(0, 1) along VE, where e = rho x / (1 + rho^2)."""
    path, normal = VE(), gaussian(torch.zeros(1, dtype=torch.float64), [[1.0]])
    grid = grids.explicit(path, [-math.log(2.0), 0.0], end="stop")
    found = sample(normal.denoiser(path), grid, torch.ones(1, 1, dtype=torch.float64), rho_heun()).x
    first = 2 / 5
    second = (1 - first) / 2
    assert float(found) == pytest.approx(1 - (first + second) / 2)


@pytest.mark.parametrize("solver", [rho_heun(), rho_rk4()], ids=["heun", "rk4"])
def test_the_last_step_may_end_without_noise(solver, generator):
    path, mixture = Rectified(), GaussianMixture.ring()
    x = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    lam = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0]
    ended = sample(mixture.denoiser(path), grids.explicit(path, [*lam, math.inf], end="stop"), x, solver)
    denoised = sample(mixture.denoiser(path), grids.explicit(path, lam), x, solver)
    assert ended.nfe == denoised.nfe
    torch.testing.assert_close(ended.x, denoised.x)


def test_bad_input():
    with pytest.raises(ValueError, match="inner rows"):
        Tableau(((1.0, 2.0),), (0.5, 0.5))
    with pytest.raises(ValueError, match="sum to one"):
        Tableau(((1.0,),), (0.5, 0.6))
    with pytest.raises(ValueError, match="alpha = 0"):
        RhoRK().plan(grids.explicit(Rectified(), [-math.inf, 0.0]))
