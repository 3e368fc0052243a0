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
from trajlab.models.slow_bridge import slow_bridge
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
    found = proportional_fitting(LinearReference(sde), cells, seeded(2), Config(iterations=5, steps=20, paths=4, features=40))
    assert found.paths.shape == (1200, 21, 2)
    assert (found.paths[:, 0, None] - cells.x[None]).abs().sum(-1).amin(1).max() == 0
    mean, cov = closed_form(sde, LONG / 2)
    free = found.paths[:, 10]
    assert (free.mean(0) - mean).abs().max() < 0.06
    assert (torch.cov(free.mT) - cov).abs().max() < 0.06
    assert len(found.marginal_error) == 6
    assert found.marginal_error[0] > 0.1
    assert max(map(abs, found.marginal_error[3:])) < 0.02
    assert (torch.cov(found.paths[:, -1].mT) - SECOND).abs().max() < 0.06


def test_the_fitted_drifts_move_the_cells():
    """Forward from the first snapshot they reach the second, backward the other way round; far from the paths they are their bases."""
    reference, cells = LinearReference(TURNING), gaussians(200)
    found = proportional_fitting(reference, cells, seeded(2), Config(iterations=4, steps=20, paths=4, features=40))
    h, step = LONG / 20, (0.4 * LONG / 20) ** 0.5
    for drift, x, to in ((found.forward, cells.x, cells.y), (found.backward, cells.y, cells.x)):
        x = x.repeat(3, 1)
        for k in range(20):
            s = LONG - k * h if drift.backward else k * h
            x = x + h * drift(x, s) + step * torch.randn(x.shape, generator=seeded(k), dtype=F)
        assert abs(energy_distance(x, to)) < 0.03
    torch.testing.assert_close(found.forward.mean[-1], AT)  # the backward paths that it was fitted to start there
    torch.testing.assert_close(found.backward.mean[0], torch.zeros(2, dtype=F))
    assert found.forward.gram[0, 0] == pytest.approx(2 * 800 * 20, rel=0.01)  # rows of the last fresh iteration and the one after it
    far = torch.tensor([[60.0, -50.0]], dtype=F)
    torch.testing.assert_close(found.forward(far, 0.7), reference.drift(far))
    assert (found.backward(far, 0.7) + reference.drift(far)) @ far.mT < 0  # the score brings them home


def prey(x: torch.Tensor) -> torch.Tensor:
    meetings = x[:, 0] * x[:, 1]
    return torch.stack([x[:, 0] - 0.4 * meetings, 0.1 * meetings - 0.4 * x[:, 1]], 1)


def test_lotka_volterra_as_the_other_bridges():
    snapshots = lotka_volterra(SnapshotRecipe((0.0, 2.0), cells=100, sigma=0.3, step=0.01))
    cells = between(snapshots.at(0).double(), snapshots.at(1).double(), 2.0)
    reference = CallableReference(prey, 0.09 * torch.eye(2, dtype=F))
    found = proportional_fitting(reference, cells, seeded(7), Config(iterations=4, steps=20, features=80)).paths[:, 10]
    slow = slow_bridge(reference, cells, seeded(5), 200, 20).paths(600, seeded(6))[:, 10]
    law = linear_noise(reference, cells.x, 2.0, 20)
    source, target = pairs_of(sinkhorn(law.log_density(cells.y), cells.a, cells.b).P, 1000, seeded(3))
    fast = bridge_paths(law.of(source), cells.y[target], seeded(4))[:, 10]
    for other in (slow, fast):
        assert energy_distance(found, other) < 0.006
        assert (torch.cov(found.mT) - torch.cov(other.mT)).abs().max() < 0.025
    straight = (cells.x[source] + cells.y[target]) / 2
    assert energy_distance(straight, fast) > 0.3


def test_weights_count_and_the_generator_decides():
    """Half of the second snapshot has no weight; the same generator gives the same paths."""
    x, g = 0.3 * torch.randn(60, 1, generator=seeded(0), dtype=F), seeded(1)
    y = torch.cat([x + 1, x - 5])
    cells = Interval(x, y, torch.ones(60), torch.cat([torch.full((60,), 2.0), torch.zeros(60)]), 1.0)
    small, reference = Config(iterations=2, steps=10, paths=2, features=20), LinearReference.brownian(1, 0.5)
    found = proportional_fitting(reference, cells, g, small)
    assert found.paths[:, -1].mean() == pytest.approx(float(x.mean()) + 1, abs=0.1)
    assert torch.equal(found.paths, proportional_fitting(reference, cells, seeded(1), small).paths)
    assert not torch.equal(found.paths, proportional_fitting(reference, cells, g, small).paths)


def test_one_source_cell():
    y = 1 + 0.3 * torch.randn(50, 1, generator=seeded(0), dtype=F)
    cells = between(torch.zeros(1, 1, dtype=F), y, 1.0)
    found = proportional_fitting(LinearReference.brownian(1, 0.5), cells, seeded(1), Config(iterations=3, steps=20, paths=200, features=20))
    assert found.paths[:, 10].mean() == pytest.approx(float(y.mean()) / 2, abs=0.06)


@pytest.mark.parametrize(("name", "value"), [("iterations", 0), ("fresh", 0), ("steps", 1), ("paths", 0), ("features", True), ("degree", -1),
                                             ("bandwidth", 0.0), ("ridge", math.nan), ("ridge", math.inf)])
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name}=.*wanted"):
        Config(**{name: value})


def test_bad_input():
    x = torch.randn(20, 2, generator=seeded(0), dtype=F)
    brownian, good = LinearReference.brownian(2, 0.5), between(x, x + 1, 1.0)
    for changed, message in ((good._replace(x=x[:0]), "first snapshot has 0 cells"), (good._replace(y=x[:1]), "second snapshot has 1 cells"),
                             (good._replace(y=x * math.nan), "second snapshot is nan"), (good._replace(duration=0.0), "a duration of 0"),
                             (good._replace(x=x[:, :1]), "1 and 2 dimensions"), (good._replace(a=-good.a), "weights of the first snapshot")):
        with pytest.raises(ValueError, match=message):
            proportional_fitting(brownian, changed, seeded(0))
    still = LinearReference(LinearSDE(torch.zeros(2, 2, dtype=F), torch.zeros(2, dtype=F), torch.diag(torch.tensor([1.0, 0.0], dtype=F))))
    with pytest.raises(ValueError, match="least eigenvalue of the diffusion matrix is 0"):
        proportional_fitting(still, good, seeded(0))


def test_paths_that_blow_up():
    x = torch.randn(20, 2, generator=seeded(0), dtype=F)
    short = Config(iterations=1, steps=10, paths=2, features=10)
    with pytest.raises(Diverged, match="reference leaves every bound"):
        proportional_fitting(CallableReference(lambda x: 50 * x**3, torch.eye(2, dtype=F)), between(x, x, 1.0), seeded(0), short)
    with pytest.raises(Diverged, match=r"iteration 1, backward pass: .* from step .* of 10 on; raise steps"):
        proportional_fitting(CallableReference(lambda x: -(x**3), torch.eye(2, dtype=F)), between(x, 50 + x, 1.0), seeded(0), short)
