"""Entropic plans: against POT, the Gaussian closed form, relaxed marginals, and plans that are nearly one to one."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from trajlab.couplings.sinkhorn import SinkhornConfig, sinkhorn

F = torch.float64


def cost(n: int = 60, m: int = 50, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.cdist(torch.randn(n, 2, generator=g, dtype=F), torch.randn(m, 2, generator=g, dtype=F) + 1).square()


def test_agrees_with_pot():
    ot = pytest.importorskip("ot")
    C = cost()
    g = torch.Generator().manual_seed(5)
    a, b = torch.rand(60, generator=g, dtype=F) + 0.1, torch.rand(50, generator=g, dtype=F) + 0.1
    a, b = a / a.sum(), b / b.sum()
    found = sinkhorn(-C, a, b, SinkhornConfig(1e-11, 20000))
    wanted = ot.sinkhorn(a.numpy(), b.numpy(), C.numpy(), 1.0, method="sinkhorn_log", numItermax=100000, stopThr=1e-13)
    assert np.abs(found.P.numpy() - wanted).max() < 1e-10
    assert found.converged
    assert torch.allclose(found.P, a[:, None] * b * (-C + found.f[:, None] + found.g).exp(), atol=1e-14)


def test_relaxed_marginals_agree_with_pot():
    ot = pytest.importorskip("ot")
    C = cost(40, 40)
    a = np.full(40, 1 / 40)
    found = sinkhorn(-C, config=SinkhornConfig(1e-12, 20000, rho=(0.5, 2.0)))
    wanted = ot.unbalanced.sinkhorn_unbalanced(a, a, C.numpy(), 1.0, (0.5, 2.0), reg_type="kl", numItermax=100000, stopThr=1e-14)
    assert np.abs(found.P.numpy() - wanted).max() < 1e-8
    half = sinkhorn(-C, config=SinkhornConfig(1e-10, 20000, rho=(1.0, math.inf)))
    assert (half.P.sum(0) - 1 / 40).abs().max() < 1e-9
    assert (half.P.sum(1) * 40 - 1).abs().max() > 1e-2  # the sources really are free


def test_gaussians_on_a_grid_have_the_closed_form():
    """Entropic plan of N(0, s^2) and N(0, t^2) at cost |x-y|^2 / (2 v): correlation from c = sqrt(s^2 t^2 + v^2/4) - v/2 (Janati et al. 2020)."""
    s, t, v = 1.0, 0.6, 0.3
    x = torch.linspace(-6, 6, 301, dtype=F)
    a, b = torch.exp(-x.square() / (2 * s**2)) + 1e-30, torch.exp(-x.square() / (2 * t**2)) + 1e-30
    found = sinkhorn(-(x[:, None] - x).square() / (2 * v), a, b, SinkhornConfig(1e-10, 5000))
    cross = float((found.P * x[:, None] * x).sum())
    assert cross == pytest.approx(math.sqrt(s**2 * t**2 + v**2 / 4) - v / 2, abs=1e-7)


@pytest.mark.parametrize("sharp", [300.0, 3000.0])
def test_nearly_one_to_one_plans_converge(sharp):
    """Sinkhorn's iteration alone needs thousands of steps here; Newton's method takes over."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sinkhorn(-sharp * cost(50, 50), config=SinkhornConfig(1e-8, 5000))
    assert found.error < 1e-8
    assert found.iterations < 1000
    assert (found.P.sum(1) * 50 - 1).abs().max() < 1e-6
    assert (found.P.sum(0) * 50 - 1).abs().max() < 1e-6


def test_a_constant_changes_nothing_and_a_warm_start_is_quick():
    C = cost()
    first = sinkhorn(-C, config=SinkhornConfig(1e-10))
    moved = sinkhorn(-C - 500, config=SinkhornConfig(1e-10))
    assert torch.allclose(first.P, moved.P, atol=1e-12)
    again = sinkhorn(-C * 1.001, config=SinkhornConfig(1e-6), start=(first.f, first.g))
    cold = sinkhorn(-C * 1.001, config=SinkhornConfig(1e-6))
    assert again.iterations <= cold.iterations
    assert torch.allclose(again.P, cold.P, atol=1e-8)


def test_float32_is_good_to_its_rounding():
    C = cost()
    rough = sinkhorn(-C.float(), config=SinkhornConfig(1e-4))
    assert rough.P.dtype == torch.float32
    assert (rough.P - sinkhorn(-C).P).abs().sum() < 3e-3


def test_refusals_and_warnings():
    with pytest.raises(ValueError, match=r"finite \[source target\]"):
        sinkhorn(torch.full((3, 3), math.nan, dtype=F))
    with pytest.raises(ValueError, match="source weights"):
        sinkhorn(-cost(3, 3), torch.tensor([0.0, 1.0, 1.0], dtype=F))
    with pytest.raises(ValueError, match="positive values"):
        SinkhornConfig(0.0)
    with pytest.warns(UserWarning, match="stopped after 7 iterations"):
        sinkhorn(-cost(), config=SinkhornConfig(1e-15, 7, anneal=False))
