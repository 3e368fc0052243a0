"""Transitions of linear processes: quadrature, doubling, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trajlab.dynamics.linear_sde import LinearSDE


def process(seed: int = 0, dim: int = 3) -> LinearSDE:
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    L = 0.3 * draw(dim, dim)
    return LinearSDE(draw(dim, dim), draw(dim), L @ L.T)


def test_transition_is_the_integral():
    sde, tau = process(), 1.3
    found = sde.transition(tau)
    assert torch.allclose(found.phi, torch.linalg.matrix_exp(sde.A * tau), atol=1e-12)
    cov, c = torch.zeros_like(sde.D), torch.zeros_like(sde.b)
    for place, weight in zip(*np.polynomial.legendre.leggauss(40)):
        u, w = tau / 2 * (1 + float(place)), tau / 2 * float(weight)
        e = torch.linalg.matrix_exp(sde.A * u)
        cov, c = cov + w * e @ sde.D @ e.mT, c + w * e @ sde.b
    assert torch.allclose(found.cov, cov, rtol=1e-11, atol=1e-12)
    assert torch.allclose(found.c, c, rtol=1e-11, atol=1e-12)


def test_halves_make_a_whole():
    sde = process(1)
    whole, half = sde.transition(2.0), sde.transition(1.0)
    twice = half.then(half)
    for name in ("phi", "c", "cov"):
        assert torch.allclose(getattr(whole, name), getattr(twice, name), rtol=1e-10, atol=1e-10)


def test_fast_processes_do_not_overflow():
    """exp(-A tau) of the block would be e^800; the stationary variance is D / (2 rate)."""
    sde = LinearSDE(torch.tensor([[-400.0]]), torch.tensor([400.0]), torch.tensor([[2.0]]))
    found = sde.transition(2.0)
    assert found.cov.item() == pytest.approx(2 / 800, rel=1e-12)
    assert found.c.item() == pytest.approx(1.0, rel=1e-12)


def test_brownian_motion_spreads_with_time():
    zero = torch.zeros(2, 2)
    found = LinearSDE(zero, zero[0], 0.25 * torch.eye(2)).transition(3.0)
    assert torch.allclose(found.cov, 0.75 * torch.eye(2, dtype=torch.float64))
    assert torch.equal(found.phi, torch.eye(2, dtype=torch.float64))


def test_refusals():
    with pytest.raises(ValueError, match=r"\[dim dim\]"):
        LinearSDE(torch.zeros(2, 3), torch.zeros(2), torch.eye(2))
    with pytest.raises(ValueError, match="A holds values that are not finite"):
        LinearSDE(torch.full((2, 2), math.nan), torch.zeros(2), torch.eye(2))
    with pytest.raises(ValueError, match="zero or more"):
        process().transition(-1.0)
