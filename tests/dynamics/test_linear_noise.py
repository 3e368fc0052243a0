"""Linear-noise laws: exact for linear processes, second order in the step, and repaired by smoothing, splitting and guided weights."""

from __future__ import annotations

import pytest
import torch

from trajlab.dynamics.guided import guided
from trajlab.dynamics.linear_noise import Diverged, linear_noise
from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.dynamics.references import CallableReference, LinearReference, by_rows
from trajlab.dynamics.simulated import simulated
from trajlab.dynamics.smoothing import pair_log_density, smoothed
from trajlab.dynamics.splitting import split

A = torch.tensor([[-0.5, 1.0], [-1.0, -0.2]], dtype=torch.float64)
B = torch.tensor([0.3, -0.1], dtype=torch.float64)
D = torch.tensor([[0.05, 0.01], [0.01, 0.04]], dtype=torch.float64)


def starts(n: int = 5) -> torch.Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def prey(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x[:, 0] - 0.4 * x[:, 0] * x[:, 1], 0.1 * x[:, 0] * x[:, 1] - 0.4 * x[:, 1]], 1)


def test_linear_drifts_are_exact_and_the_step_second_order():
    x, y = starts(), starts(7)
    exact = linear_noise(LinearReference(LinearSDE(A, B, D)), x, 1.3)
    error = []
    for steps in (20, 40):
        law = linear_noise(CallableReference(lambda z: z @ A.mT + B, D), x, 1.3, steps)
        error.append(float((law.S[:, -1] - exact.S[:, -1]).abs().max()))
        assert (law.log_density(y) - exact.log_density(y)).abs().max() < 60 / steps**2
    assert 3.5 < error[0] / error[1] < 4.8
    # steps and propagators fit together
    assert torch.allclose(law.S[:, 1:], law.P @ law.S[:, :-1] @ law.P.mT + law.Q, atol=1e-14)
    assert torch.allclose(law.G[:, 0], torch.linalg.matrix_exp(A * 1.3), atol=2e-3)


def test_jacobian_by_rows():
    x = starts(6) + 4
    found = by_rows(prey, x)
    wanted = torch.stack([torch.autograd.functional.jacobian(lambda z: prey(z[None])[0], row) for row in x])
    assert torch.allclose(found, wanted, atol=1e-12)
    assert torch.equal(by_rows(lambda z: torch.ones_like(z.detach()), x), torch.zeros(6, 2, 2, dtype=torch.float64))


def test_moments_match_simulation():
    """Lotka-Volterra with little noise: mean and spread of simulated paths."""
    reference = CallableReference(prey, 0.01 * torch.eye(2, dtype=torch.float64))
    x = torch.tensor([[5.0, 4.0]], dtype=torch.float64)
    law = linear_noise(reference, x, 2.0)
    end = simulated(reference, x.expand(4000, -1), 2.0, 400, torch.Generator().manual_seed(0))[:, -1]
    deviation = law.S[0, -1].diagonal().sqrt()
    assert ((end.mean(0) - law.m[0, -1]).abs() / deviation < 0.15).all()
    assert (end.std(0) / deviation - 1).abs().max() < 0.05


def bistable() -> tuple[CallableReference, torch.Tensor, torch.Tensor, float]:
    """dx = x - x^3 from near the ridge: the density of both wells after a while, by a matrix product on a fine grid."""
    reference = CallableReference(lambda z: z - z**3, 0.09 * torch.eye(1, dtype=torch.float64))
    grid = torch.linspace(-2.2, 2.2, 441, dtype=torch.float64)
    h, width = 0.02, float(grid[1] - grid[0])
    kernel = torch.exp(-((grid - (grid + h * (grid - grid**3))[:, None]) ** 2) / (2 * 0.09 * h)) / (2 * torch.pi * 0.09 * h) ** 0.5
    start = 0.1
    row = torch.exp(-((grid - (start + h * (start - start**3))) ** 2) / (2 * 0.09 * h)) / (2 * torch.pi * 0.09 * h) ** 0.5
    for _ in range(199):
        row = row @ kernel * width
    return reference, torch.tensor([[start]], dtype=torch.float64), row.log(), float(grid[0])


def test_splitting_finds_the_other_well():
    reference, x, truth, low = bistable()
    y = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    wanted = truth[((y[:, 0] - low) / 0.01).round().long()]
    plain = linear_noise(reference, x, 4.0).log_density(y)[0]
    better = split(reference, x, 4.0, torch.Generator().manual_seed(0)).log_density(y)[0]
    assert (plain - wanted).abs().max() > 20  # the other well is thought impossible
    assert (better - wanted).abs().max() < 0.6


def test_guided_weights_agree_with_the_grid_and_say_when_not_to_be_trusted():
    reference, x, truth, low = bistable()
    law = linear_noise(reference, x, 4.0, 200)
    near = guided(reference, law, torch.tensor([1.0], dtype=torch.float64), 2000, torch.Generator().manual_seed(0))
    assert abs(near.log_density - float(truth[round((1.0 - low) / 0.01)])) < 0.2
    far = guided(reference, law, torch.tensor([-1.0], dtype=torch.float64), 2000, torch.Generator().manual_seed(0))
    assert far.doubtful
    assert not near.doubtful


def test_a_smoothing_pass_brings_the_tail_closer():
    """Lotka-Volterra with much noise, an end in the tail: guided weights are the truth."""
    reference = CallableReference(prey, 0.09 * torch.eye(2, dtype=torch.float64))
    x = torch.tensor([[5.0, 4.0]], dtype=torch.float64)
    law = linear_noise(reference, x, 2.0, 100)
    end = law.m[:, -1] + 2.5 * law.S[:, -1].diagonal(dim1=-2, dim2=-1).sqrt() * torch.tensor([1.0, -1.0], dtype=torch.float64)
    truth = guided(reference, law, end[0], 4000, torch.Generator().manual_seed(1)).log_density
    better = float(pair_log_density(smoothed(reference, law, end), end)[0])
    assert abs(better - truth) < 0.1
    assert abs(better - truth) < abs(float(law.log_density(end)[0, 0]) - truth)
    linear = LinearReference(LinearSDE(A, B, D))
    one = linear_noise(linear, x, 1.0)
    assert smoothed(linear, one, end) is one


def test_what_blows_up_is_named():
    with pytest.raises(Diverged, match=r"start 0, x = \[3.0\].*blow up"):
        linear_noise(CallableReference(lambda z: z**3, torch.eye(1, dtype=torch.float64)), torch.tensor([[3.0]], dtype=torch.float64), 5.0)
    still = CallableReference(lambda z: z, torch.zeros(1, 1, dtype=torch.float64))
    with pytest.raises(Diverged, match="not positive definite"):
        linear_noise(still, torch.ones(1, 1, dtype=torch.float64), 1.0).log_density(torch.ones(1, 1, dtype=torch.float64))
    with pytest.raises(ValueError, match="positive time"):
        linear_noise(still, torch.ones(1, 1, dtype=torch.float64), 0.0)
    with pytest.raises(ValueError, match="share between 0 and 1"):
        split(still, torch.ones(1, 1, dtype=torch.float64), 1.0, torch.Generator(), 1.0)
    with pytest.raises(ValueError, match="row by row"):
        smoothed(still, linear_noise(still, torch.ones(1, 1, dtype=torch.float64), 1.0), torch.ones(2, 1, dtype=torch.float64))
