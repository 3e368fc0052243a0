"""Iterative proportional fitting: Gaussian bridges in closed form, the other bridges of a nonlinear reference, and bad input."""

from __future__ import annotations

import math

import pytest
import torch
from models.bridge_systems import TURN, F

from trajlab.couplings.sinkhorn import sinkhorn
from trajlab.dynamics.bridges import bridge_paths, pairs_of
from trajlab.dynamics.linear_noise import Diverged, linear_noise
from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.dynamics.references import CallableReference, LinearReference
from trajlab.metrics.distribution import energy_distance
from trajlab.models.bridge_evidence import Interval
from trajlab.models.proportional_fitting import ProportionalFittingConfig, proportional_fitting
from trajlab.sources.lotka_volterra import lotka_volterra
from trajlab.sources.snapshots_simulated import SnapshotRecipe

FIRST = torch.tensor([[0.3, 0.1], [0.1, 0.2]], dtype=F)
SECOND, AT = torch.tensor([[0.5, -0.2], [-0.2, 0.3]], dtype=F), torch.tensor([1.5, 0.5], dtype=F)
LONG = 1.5
NOISE = 0.4 * torch.eye(2, dtype=F)
BROWNIAN = LinearSDE(torch.zeros(2, 2, dtype=F), torch.zeros(2, dtype=F), NOISE)
TURNING = LinearSDE(TURN, torch.tensor([0.3, 0.0], dtype=F), NOISE)
Config = ProportionalFittingConfig


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(n: int, mean: torch.Tensor, cov: torch.Tensor, seed: int) -> torch.Tensor:
    """Cells whose mean and covariance are exactly these."""
    x = torch.randn(n, 2, generator=seeded(seed), dtype=F)
    x = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.mT, correction=0)), (x - x.mean(0)).mT, upper=False).mT
    return mean + x @ torch.linalg.cholesky(cov).mT


def between(x: torch.Tensor, y: torch.Tensor, duration: float) -> Interval:
    return Interval(x, y, torch.full((len(x),), 1 / len(x), dtype=F), torch.full((len(y),), 1 / len(y), dtype=F), duration)


def gaussians(n: int = 300) -> Interval:
    return between(gaussian(n, torch.zeros(2, dtype=F), FIRST, 0), gaussian(n, AT, SECOND, 1), LONG)


def power(matrix: torch.Tensor, exponent: float) -> torch.Tensor:
    value, vector = torch.linalg.eigh(matrix)
    return vector @ (value**exponent).diag() @ vector.mT


def closed_form(sde: LinearSDE, s: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance at s of the bridge of N(0, FIRST) and N(AT, SECOND). In whitened coordinates, x -> S^-1/2 (Phi x + c), y -> S^-1/2 y,
    the entropic plan of N(., A) and N(., B) with the cost |x - y|^2 / 2 has the cross covariance
    A^1/2 (A^1/2 B A^1/2 + 1/4)^1/2 A^-1/2 - 1/2  (Janati, Muzellec, Peyre & Cuturi 2020)."""
    whole, early, late = sde.transition(LONG), sde.transition(s), sde.transition(LONG - s)
    eye = torch.eye(2, dtype=F)
    white, colour = power(whole.cov, -0.5), power(whole.cov, 0.5)
    A, B = white @ whole.phi @ FIRST @ whole.phi.mT @ white, white @ SECOND @ white
    half = power(A, 0.5)
    cross = torch.linalg.inv(whole.phi) @ colour @ (half @ power(half @ B @ half + eye / 4, 0.5) @ power(A, -0.5) - eye / 2) @ colour
    V = late.phi @ early.cov
    V = torch.linalg.solve(whole.cov, V).mT
    M = early.phi - V @ whole.phi
    mean = V @ AT + early.c - V @ whole.c
    mixed = M @ cross @ V.mT
    return mean, early.cov - V @ late.phi @ early.cov + M @ FIRST @ M.mT + V @ SECOND @ V.mT + mixed + mixed.mT


@pytest.mark.parametrize("sde", [BROWNIAN, TURNING], ids=["brownian", "turning"])
def test_gaussian_bridges(sde):
    cells = gaussians()
    found = proportional_fitting(LinearReference(sde), cells, seeded(2), Config(iterations=6, steps=30, paths=4, features=60))
    assert found.paths.shape == (1200, 31, 2)
    assert (found.paths[:, 0, None] - cells.x[None]).abs().sum(-1).amin(1).max() == 0
    mean, cov = closed_form(sde, LONG / 2)
    free = found.paths[:, 15]
    assert (free.mean(0) - mean).abs().max() < 0.08
    assert (torch.cov(free.mT) - cov).abs().max() < 0.08
    assert len(found.marginal_error) == 7
    assert found.marginal_error[0] > 0.1
    assert max(map(abs, found.marginal_error[3:])) < 0.02
    assert (torch.cov(found.paths[:, -1].mT) - SECOND).abs().max() < 0.08
