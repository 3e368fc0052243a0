"""PNDM: order two, exact on cubics in sigma/alpha with equal steps, and its calls."""

from __future__ import annotations

import math

import pytest
import torch
from samplers.closed_forms import error, nodes, slope

from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import VE, Rectified, VPLinear, VPTable
from trajlab.samplers import grids
from trajlab.samplers.deis import ddim
from trajlab.samplers.pndm import PNDM, pndm_f, pndm_s
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture


def power_of_rho(power):
    """A denoiser whose noise prediction is rho^power, whatever the state."""

    class Fixed:
        path = VE()

        def __call__(self, x, level, **_):
            return Prediction(x, level, "eps", torch.full_like(x, level.rho**power))

    return Fixed()


@pytest.mark.parametrize(("solver", "extra"), [(pndm_f(), 9), (pndm_s(), 1)], ids="FS")
def test_order_two_and_calls(solver, extra):
    assert 1.9 < slope(solver, 40) < 2.1
    assert error(solver, 80) < 5e-4
    assert solver.plan(nodes(40)).nfe == 40 + extra
    assert solver.plan(nodes(40, "denoise")).nfe == 41 + extra


@pytest.mark.parametrize(("solver", "power"), [(PNDM("F", "rho"), 3), (PNDM("S"), 1)], ids="FS")
def test_exact_on_polynomials_of_equal_steps(solver, power):
    rho = torch.linspace(4.0, 1.0, 9, dtype=torch.float64)
    x = torch.zeros(1, 1, dtype=torch.float64)
    for degree in range(power + 1):
        found = sample(power_of_rho(degree), grids.explicit(VE(), -rho.log(), end="stop"), x, solver).x
        assert float(found) == pytest.approx((1 - 4 ** (degree + 1)) / (degree + 1), rel=1e-12)
    beyond = float(sample(power_of_rho(power + 1), grids.explicit(VE(), -rho.log(), end="stop"), x, solver).x)
    assert beyond != pytest.approx((1 - 4 ** (power + 2)) / (power + 2), rel=1e-6)


def test_a_fifth_of_the_error_of_ddim_at_fifty_calls(generator):
    path, mixture = VPTable(), GaussianMixture.smooth_paths(generator)
    x = torch.randn(16, *mixture.event, generator=generator, dtype=torch.float64)
    fine = sample(mixture.denoiser(path), grids.uniform_lam(path, 150), x).x

    def far(solver, steps):
        found = sample(mixture.denoiser(path), grids.uniform_lam(path, steps), x, solver)
        assert found.nfe == 50
        return float((found.x - fine).flatten(1).norm(dim=-1).median())

    assert far(pndm_f(), 40) < far(ddim(), 49) / 5


def test_middles():
    path = VPLinear()
    s, t = path.level(-1.0), path.level(1.0)
    assert PNDM(middle="lam").halfway(path, s, t).lam == 0
    assert PNDM(middle="t").halfway(path, s, t).t == pytest.approx((s.t + t.t) / 2)
    assert PNDM(middle="rho").halfway(path, s, t).rho == pytest.approx((s.rho + t.rho) / 2)


def test_bad_input():
    with pytest.raises(ValueError, match="use at least 4 steps"):
        PNDM().plan(grids.uniform_lam(VPLinear(), 3))
    with pytest.raises(ValueError, match="variant"):
        PNDM("G")
    with pytest.raises(ValueError, match="coordinate"):
        PNDM(middle="s")
    with pytest.raises(ValueError, match="alpha = 0"):
        PNDM().plan(grids.explicit(Rectified(), [-math.inf, -1.0, 0.0, 1.0, 2.0]))
