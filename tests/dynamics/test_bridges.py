"""Bridges: moments against brute force, paths against moments, and the drift against both."""

from __future__ import annotations

import pytest
import torch

from trajlab.dynamics.bridges import bridge_field, bridge_moments, bridge_paths, pairs_of, pinned_drift
from trajlab.dynamics.linear_noise import linear_noise
from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.dynamics.references import CallableReference, LinearReference

F = torch.float64


def setting() -> tuple[LinearReference, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    A, L = torch.randn(3, 3, generator=g, dtype=F), 0.3 * torch.randn(3, 3, generator=g, dtype=F)
    reference = LinearReference(LinearSDE(A, torch.randn(3, generator=g, dtype=F), L @ L.T))
    return reference, torch.randn(4, 3, generator=g, dtype=F), torch.randn(4, 3, generator=g, dtype=F)


def test_moments_are_those_of_the_conditioned_gaussian():
    """The joint law of X_s and X_T, conditioned on X_T by hand."""
    reference, x, y = setting()
    law, k = linear_noise(reference, x, 1.3, 40), 26
    early, late = reference.sde.transition(26 * law.h), reference.sde.transition(14 * law.h)
    mean = x @ early.phi.mT + early.c
    cross = early.cov @ late.phi.mT
    end = late.phi @ early.cov @ late.phi.mT + late.cov
    gain = cross @ torch.linalg.inv(end)
    found = bridge_moments(law, y, k)
    assert torch.allclose(found.mean, mean + (y - mean @ late.phi.mT - late.c) @ gain.mT, atol=1e-9)
    assert torch.allclose(found.cov[0], early.cov - gain @ cross.mT, atol=1e-11)


def test_paths_have_the_moments_and_both_ends():
    reference, x, y = setting()
    law = linear_noise(reference, x[:1], 1.3, 20)
    path = bridge_paths(law.of(torch.zeros(20000, dtype=torch.long)), y[:1].expand(20000, -1), torch.Generator().manual_seed(1))
    assert torch.equal(path[:, 0], x[:1].expand(20000, -1))
    assert torch.equal(path[:, -1], y[:1].expand(20000, -1))
    wanted = bridge_moments(law, y[:1], 10)
    scale = wanted.cov[0].diagonal().sqrt().max()
    assert (path[:, 10].mean(0) - wanted.mean[0]).abs().max() < 0.03 * scale
    assert (torch.cov(path[:, 10].mT) - wanted.cov[0]).abs().max() < 0.03 * scale**2


def test_drift_moves_the_moments():
    """mu' = E u  and  Gamma' = B Gamma + Gamma B^T + D, by differences over the grid."""
    reference, x, y = setting()
    law, k = linear_noise(reference, x, 1.3, 2000), 900
    before, here, after = (bridge_moments(law, y, j) for j in (k - 1, k, k + 1))
    rate = (after.mean - before.mean) / (2 * law.h)
    assert torch.allclose(pinned_drift(reference, law, here.mean, y, k), rate, atol=1e-4)
    over = bridge_field(reference, law, [k])
    B = over.slope[0, 0]
    grown = B @ here.cov[0] + here.cov[0] @ B.mT + reference.D
    assert torch.allclose((after.cov[0] - before.cov[0]) / (2 * law.h), grown, atol=1e-4)


def test_field_and_drift_agree_for_curved_drifts():
    reference = CallableReference(lambda z: torch.sin(z) - z.roll(1, 1) ** 2 / 4, 0.1 * torch.eye(3, dtype=F))
    _, x, y = setting()
    law = linear_noise(reference, x, 0.8, 20)
    xi = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=F)
    cell = torch.tensor([0, 2, 3])
    at, u = bridge_field(reference, law, [7, 11]).points(1, cell, y[cell], xi)
    again = pinned_drift(reference, law.of(cell.repeat(5)), at, y[cell].repeat(5, 1), 11)
    assert torch.allclose(u, again, atol=1e-9)
    moments = bridge_moments(law.of(cell), y[cell], 11)
    white = torch.linalg.solve(torch.linalg.cholesky(moments.cov), (at.reshape(5, 3, 3) - moments.mean)[..., None])[..., 0]
    assert torch.allclose(white, xi[:, None].expand(-1, 3, -1), atol=1e-5)


def test_pairs_are_drawn_their_expected_number_of_times():
    plan = torch.rand(6, 5, generator=torch.Generator().manual_seed(0), dtype=F)
    source, target = pairs_of(plan, 1000, torch.Generator().manual_seed(1))
    counts = torch.zeros(6, 5, dtype=F).index_put((source, target), torch.ones(1000, dtype=F), accumulate=True)
    assert (counts - 1000 * plan / plan.sum()).abs().max() < 2.0  # a pair has all of the strata within its mass, and perhaps parts of two more


def test_ends_are_refused():
    reference, x, y = setting()
    law = linear_noise(reference, x, 1.0, 10)
    with pytest.raises(ValueError, match="singular at the end"):
        pinned_drift(reference, law, x, y, 10)
    with pytest.raises(ValueError, match="inner ones"):
        bridge_field(reference, law, [0, 3])


def test_pairs_of_an_even_plan_reach_every_target():
    plan = torch.full((30, 30), 1 / 900, dtype=torch.float64)
    source, target = pairs_of(plan, 600, torch.Generator().manual_seed(0))
    assert torch.bincount(source, minlength=30).tolist() == [20] * 30
    assert (torch.bincount(target, minlength=30) > 5).all()
