"""Straightness and path energy: known for Gaussians, zero for straight flows."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.paths.schedules import Rectified, VPCosine
from trajlab.paths.straightness import straightness
from trajlab.samplers.ode import flow_field
from trajlab.sources.mixtures import gaussian

F64 = torch.float64


def normal(n: int) -> torch.Tensor:
    """Quantiles of N(0, 1) with mean square exactly 1."""
    z = math.sqrt(2) * torch.erfinv(2 * (torch.arange(n, dtype=F64) + 0.5) / n - 1)
    return (z / (z**2).mean().sqrt())[:, None]


def test_gaussian_to_gaussian():
    """N(0, 1) -> N(0, 9) independent: S = 1.2876, energy 5.2876 = W2^2 (4) + S."""
    found = straightness(flow_field(gaussian(torch.zeros(1), [[9.0]]).denoiser(Rectified())), normal(200), steps=300)
    assert found.straightness == pytest.approx(1.2876, abs=2e-4)
    assert found.energy == pytest.approx(5.2876, abs=2e-4)
    assert found.transport == pytest.approx(4.0, abs=2e-4)
    assert torch.allclose(found.end, 3 * normal(200), rtol=1e-4)


def test_second_order():
    field = flow_field(gaussian(torch.zeros(1), [[9.0]]).denoiser(Rectified()))
    fine = straightness(field, normal(50), 400).straightness
    errors = [abs(straightness(field, normal(50), k).straightness - fine) for k in (20, 40)]
    assert 3 < errors[0] / errors[1] < 5


def test_a_straight_flow_is_straight_at_one_step(generator):
    x = torch.randn(5, 3, 2, 2, generator=generator, dtype=F64)
    # The flow of the coupling x -> 3 x: x_t = (1 + 2 t) x_0.
    found = straightness(lambda x, t: 2 * x / (1 + 2 * t).reshape(-1, 1, 1, 1), x, steps=50)
    assert found.straightness < 1e-6 * found.energy
    assert straightness(lambda x, t: torch.ones_like(x), x, 1).straightness == 0


def test_one_euler_step_of_rectified_flow_gives_the_mean(generator):
    mixture = gaussian(torch.tensor([0.3, -1.0]), torch.eye(2))
    x = torch.randn(6, 2, generator=generator, dtype=F64)
    first = flow_field(mixture.denoiser(Rectified()))(x, torch.zeros(6, dtype=F64))
    assert torch.allclose(x + first, torch.tensor([0.3, -1.0], dtype=F64).expand(6, 2), atol=1e-12)


def test_rotations_do_not_matter_and_steps_are_checked(generator):
    field = flow_field(gaussian(torch.zeros(2), torch.eye(2) * 4).denoiser(VPCosine()))
    x = torch.randn(5, 2, generator=generator, dtype=F64)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=F64)
    assert straightness(field, x @ turn.T, 20).straightness == pytest.approx(straightness(field, x, 20).straightness, rel=1e-10)
    with pytest.raises(ValueError, match="at least one"):
        straightness(field, x, 0)
