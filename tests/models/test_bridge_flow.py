"""The global flow of a bridge: its targets against known laws, its marginals against the bridge's own paths, and bad input."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from models.bridge_systems import TURN, F, turning

import trajlab as tl
from trajlab.dynamics.bridges import bridge_moments, pinned_drift
from trajlab.dynamics.linear_noise import linear_noise
from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.dynamics.references import LinearReference
from trajlab.metrics.distribution import energy_distance
from trajlab.models.bridge_flow import BridgeFlow, BridgeFlowConfig
from trajlab.models.bridge_flow_config import training
from trajlab.models.bridge_flow_density import KernelDensity
from trajlab.models.bridge_flow_exact import exact_fields, mixture_fields
from trajlab.models.bridge_flow_rows import rows_of, thread
from trajlab.train.config import TrainConfig

Config = tl.SchrodingerBridgeConfig


def normal(count: int, mean: tuple[float, float], deviation: tuple[float, float], seed: int) -> torch.Tensor:
    """Points of a quasi-random normal law with exact means and deviations, and no correlation."""
    u = torch.quasirandom.SobolEngine(2, scramble=True, seed=seed).draw(count).double().clamp(1e-4, 1 - 1e-4)
    z = torch.special.ndtri(u)
    z = (z - z.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.mT, correction=0))).mT
    return z * torch.tensor(deviation, dtype=F) + torch.tensor(mean, dtype=F)


def two(cells: int = 256) -> tl.Snapshots:
    x = torch.cat([normal(cells, (0, 1), (0.5, 1.0), 0), normal(cells, (2, 0), (1.0, 0.4), 1)])
    return tl.Snapshots(x, torch.arange(2).repeat_interleave(cells), torch.tensor([1.0, 3.0], dtype=F))


@pytest.fixture(scope="module")
def brownian() -> tl.SchrodingerBridge:
    model = tl.SchrodingerBridge(Config(family="brownian", sigma=0.6, iterations=0, scale="one")).fit(two())
    model.flow(train=training(None, 0, steps=700, batch=128))
    return model


@pytest.fixture(scope="module")
def rotation() -> tl.SchrodingerBridge:
    model = tl.SchrodingerBridge(Config(family="ou", sigma=0.3, iterations=3, scale="none")).fit(turning(120, 3, sigma=0.3))
    model.flow(train=training(None, 0, steps=300, batch=128))
    return model


class Gaussian:
    """The Schrodinger bridge between two Gaussians with independent dimensions, reference sigma dW (Bunne et al. 2023), in one dimension."""

    def __init__(self, m0: float, s0: float, m1: float, s1: float, sigma: float, T: float) -> None:
        self.m, self.s, self.e, self.T = (m0, m1), (s0, s1), sigma**2 * T, T
        self.C = (math.sqrt(4 * s0**2 * s1**2 + self.e**2) - self.e) / 2  # covariance of the plan

    def at(self, r: float) -> tuple[float, float, float, float]:
        """Mean, variance, slope of the drift and slope of the ODE's velocity at the share r of the time."""
        (a, b), e = (s**2 for s in self.s), self.e
        var = (1 - r) ** 2 * a + r**2 * b + r * (1 - r) * (2 * self.C + e)
        rate = (-2 * (1 - r) * a + 2 * r * b + (1 - 2 * r) * (2 * self.C + e)) / self.T
        slope = ((1 - r) * self.C + r * b - var) / ((1 - r) * self.T * var)
        return self.m[0] + r * (self.m[1] - self.m[0]), var, slope, rate / (2 * var)


def exact(model: tl.SchrodingerBridge) -> list[Gaussian]:
    """The volatility is that of scaled coordinates."""
    sigma = 0.6 * float(model.scale.divisor[0])
    return [Gaussian(0, 0.5, 2, 1.0, sigma, 2.0), Gaussian(1, 1.0, 0, 0.4, sigma, 2.0)]


@pytest.mark.parametrize("r", [0.1, 0.5, 0.9])
def test_between_gaussians_velocity_and_score_are_those_of_the_closed_form(brownian, r):
    laws, net, t = exact(brownian), brownian.flow(), 1 + 2 * r
    z = torch.randn(100, 2, generator=torch.Generator().manual_seed(0), dtype=F)
    x = torch.stack([laws[k].at(r)[0] + laws[k].at(r)[1] ** 0.5 * z[:, k] for k in range(2)], 1)
    off = lambda found, truth: float((found - truth).square().mean().sqrt())  # noqa: E731
    for k, law in enumerate(laws):
        mean, var, slope, flow = law.at(r)
        pace, away = (law.m[1] - law.m[0]) / law.T, x[:, k] - mean
        assert off(net.velocity(x, t)[:, k], pace + slope * away) < 0.12  # velocities are up to 1.2
        assert off(net.flow_velocity(x, t)[:, k], pace + flow * away) < 0.12
        assert off(net.score(x, t)[:, k], -away / var) < 0.2 / var**0.5


def test_between_gaussians_the_density_is_gaussian(brownian):
    x = brownian.bridge([2.0], 50, seed=1).x[:, 0]
    truth = torch.zeros(50, dtype=F)
    for k, law in enumerate(exact(brownian)):
        mean, var, _, _ = law.at(0.5)
        truth = truth - (x[:, k] - mean) ** 2 / (2 * var) - 0.5 * math.log(2 * math.pi * var)
    assert (brownian.flow().log_prob(x, 2.0) - truth).abs().mean() < 0.15
    first = brownian.flow().log_prob(x, 1.0)
    cells = brownian.snapshots.at(0)
    density = KernelDensity.of(cells, torch.full((len(cells),), 1 / len(cells), dtype=F))
    assert torch.allclose(first, density.log_density(x))


def test_kernel_density_integrates_to_one():
    density = KernelDensity.of(normal(40, (0, 0), (1.0, 0.3), 3), torch.full((40,), 1.0, dtype=F))
    grid = torch.cartesian_prod(torch.linspace(-5, 5, 201, dtype=F), torch.linspace(-2, 2, 161, dtype=F))
    assert float(density.log_density(grid).exp().sum()) * 0.05 * 0.025 == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="no spread in some direction"):
        KernelDensity.of(torch.ones(5, 2, dtype=F), torch.ones(5, dtype=F))


@pytest.mark.parametrize("kind", ["sde", "ode"])
def test_marginals_under_rotation_are_those_of_the_bridge(rotation, kind):
    times = torch.linspace(0.15, 1.2, 8, dtype=F)
    apart = [rotation.bridge(times, 500, seed=s).x for s in (5, 6)]
    drawn = rotation.simulate(None, times, kind, n=500, seed=3)
    assert drawn.x.shape == (500, 8, 2)
    assert torch.equal(drawn.time[0], times)
    mean = lambda one, other: float(np.mean([energy_distance(one[:, k], other[:, k]) for k in range(8)]))  # noqa: E731
    assert mean(drawn.x, apart[0]) < 0.004 + abs(mean(*apart))  # of populations about one apart


def one_pair(A: torch.Tensor) -> tuple[tl.SchrodingerBridge, LinearReference]:
    """A bridge of one cell to one cell."""
    sde = LinearSDE(A, torch.tensor([0.2, -0.1], dtype=F), torch.tensor([[0.5, 0.1], [0.1, 0.3]], dtype=F))
    model = tl.SchrodingerBridge(Config(family="brownian", sigma=0.5, iterations=0, scale="none"))
    x = torch.tensor([[1.0, 0.0], [0.3, -0.7]], dtype=F)
    model.fit(tl.Snapshots(x, torch.arange(2), torch.tensor([0.0, 1.0], dtype=F)))
    reference = LinearReference(sde)
    model.evidence = replace(model.evidence, reference=reference, laws=[linear_noise(reference, x[:1], 1.0)])
    return model, reference


@pytest.mark.parametrize(("A", "symmetric"), [(TURN, False), (torch.tensor([[-0.5, 0.2], [0.2, 0.1]], dtype=F), True)])
def test_targets_are_drift_minus_score_and_carry_the_marginals(A, symmetric):
    model, reference = one_pair(A)
    evidence, D = model.evidence, reference.D
    rows = rows_of(evidence, model.snapshots.time, 1, 0)
    law, y = evidence.laws[0], evidence.intervals[0].y
    zeta, moments, h = torch.tensor([0.4, -1.1], dtype=F), [bridge_moments(law, y, k) for k in range(law.steps + 1)], law.h
    for k in (10, 20, 30):
        mean, rate, L, spread = (getattr(rows, name)[k - 1] for name in ("mean", "rate", "L", "spread"))
        assert float(rows.time[k - 1]) == pytest.approx(k * h)
        assert torch.allclose(L @ L.mT, moments[k].cov[0], atol=1e-9)
        assert torch.allclose(mean, moments[k].mean[0])
        score = -torch.linalg.solve(L.mT, zeta)
        drift = pinned_drift(reference, law, (mean + L @ zeta)[None], y, k)[0]
        assert torch.allclose(rate + spread @ zeta + D @ score / 2, drift, atol=1e-7)
        turn, gamma = spread @ torch.linalg.inv(L), (moments[k + 1].cov - moments[k - 1].cov)[0] / (2 * h)
        assert torch.allclose(turn @ L @ L.mT + (turn @ L @ L.mT).mT, gamma, atol=2e-3)
        assert torch.allclose(rate, (moments[k + 1].mean - moments[k - 1].mean)[0] / (2 * h), atol=2e-3)
        plain = gamma @ torch.linalg.inv(L @ L.mT) / 2
        if not symmetric:  # the same marginals, another velocity
            assert (plain - turn).abs().max() > 0.5


def test_exact_targets_are_means_over_all_pairs(rotation):
    evidence, node = rotation.evidence, 25
    one, law, plan = evidence.intervals[1], evidence.laws[1], thread(evidence)[1]
    x = one.y[:4] + 0.1
    source, target = torch.cartesian_prod(torch.arange(len(one.x)), torch.arange(len(one.y))).mT
    velocity, score = exact_fields(evidence, 1, plan, law, node, x)
    every, y = law.of(source), one.y[target]
    mean, cov = bridge_moments(every, y, node)
    for k in range(4):
        off = x[k] - mean
        pull = -torch.linalg.solve(cov, off[..., None])[..., 0]
        weight = torch.softmax(plan[source, target].log() + (pull * off).sum(1) / 2, 0)
        drift = weight @ pinned_drift(evidence.reference, every, x[k].expand(len(y), -1), y, node)
        assert torch.allclose(score[k], weight @ pull, atol=1e-6)
        assert torch.allclose(velocity[k], drift - evidence.reference.D @ (weight @ pull) / 2, atol=1e-6)


def test_a_seed_gives_the_same_flow_and_files_the_same_numbers(rotation, tmp_path):
    torch.manual_seed(1)
    one = BridgeFlow().fit(rotation, train=training(None, 4, steps=3))
    torch.manual_seed(2)
    other = BridgeFlow().fit(rotation, train=training(None, 4, steps=3))
    x = rotation.snapshots.x[:5]
    assert torch.equal(one.velocity(x, 0.7), other.velocity(x, 0.7))
    assert not torch.equal(one.velocity(x, 0.7), BridgeFlow().fit(rotation, train=training(None, 5, steps=3)).velocity(x, 0.7))
    flow = rotation.flow()
    assert flow is rotation.flow()
    flow.save(tmp_path)
    back = BridgeFlow.load(tmp_path)
    for what in ("velocity", "flow_velocity", "score"):
        assert torch.equal(getattr(flow, what)(x, 0.7), getattr(back, what)(x, 0.7))
    assert torch.equal(flow.log_prob(x, 0.3), back.log_prob(x, 0.3))
    assert torch.equal(flow.simulate(x, [0.5, 0.9, 1.6], seed=2).x, back.simulate(x, [0.5, 0.9, 1.6], seed=2).x)
    assert back.about["bridge"]["method"] == "sbirr"
    assert back.units == flow.units


def test_paths_start_at_the_cells_and_follow_the_reference_after_the_last_snapshot(rotation):
    cells = np.array([[2.0, 0.0], [1.5, 0.2]])
    drawn = rotation.simulate(cells, [0.0, 0.4], n=6, seed=1)
    assert np.allclose(drawn.x[:, 0], cells[[0, 0, 0, 1, 1, 1]])
    assert torch.equal(drawn.x, rotation.simulate(cells, [0.0, 0.4], n=6, seed=1).x)
    x = torch.tensor(cells)
    assert torch.equal(rotation.velocity(x, 5.0), rotation.reference.drift(x))
    late = rotation.simulate(x[:1], [1.2, 2.2], n=2000, seed=0).x[:, 1]
    law = rotation.reference.linear.transition(1.0)
    assert torch.allclose(late.mean(0), law.phi @ x[0] + law.c, atol=0.03)
    assert torch.allclose(torch.cov(late.mT), law.cov, atol=0.01)


def test_velocity_is_differentiable_in_the_state_and_takes_a_time_a_cell(rotation):
    x = rotation.snapshots.x[:4].clone().requires_grad_()
    t = torch.tensor([0.1, 0.2, 0.9, 3.0], dtype=F)
    found = rotation.velocity(x, t)
    (slope,) = torch.autograd.grad(found[:, 0].sum(), x)
    assert torch.allclose(slope[3], rotation.reference.linear.A[0])
    assert torch.allclose(found[2:3], rotation.velocity(x[2:3], 0.9), atol=1e-12)


def test_lineages_keep_one_mass_from_snapshot_to_snapshot():
    snapshots = turning(30, 3)
    model = tl.SchrodingerBridge(Config(family="brownian", sigma=0.4, iterations=0, scale="none", growth=0.5)).fit(snapshots)
    first, second = thread(model.evidence)
    assert torch.allclose(first.sum(0), second.sum(1))
    assert float(first.sum()) == pytest.approx(1)
    assert (model.plans[0].P.sum(0) / model.plans[0].P.sum() - model.plans[1].P.sum(1) / model.plans[1].P.sum()).abs().max() > 1e-4
    flow = BridgeFlow().fit(model, train=training(None, 0, steps=2))
    assert torch.allclose(flow.weight, first.sum(1))


@pytest.mark.parametrize("smoothing", [0, 1])
def test_a_nonlinear_reference_has_matrices_of_each_pair(smoothing, tmp_path):
    g = torch.Generator().manual_seed(0)
    x = torch.cat([torch.tensor([c], dtype=F) + 0.2 * torch.randn(20, 2, generator=g, dtype=F) for c in ((5.0, 4.0), (3.0, 3.5), (4.0, 2.0))])
    snapshots = tl.Snapshots(x, torch.arange(3).repeat_interleave(20), torch.tensor([0.0, 0.5, 1.0], dtype=F))
    model = tl.SchrodingerBridge(Config.mechanistic("lotka_volterra", 0.3, 1, smoothing=smoothing, steps=20)).fit(snapshots)
    rows = rows_of(model.evidence, snapshots.time, 30, 0)
    here = rows.site == 9
    L, unit = rows.L[rows.which[here]], rows.unit[9]
    gamma = L @ L.mT
    assert torch.allclose(unit @ unit.mT, gamma.mean(0), atol=1e-9)
    assert float((gamma - gamma[0]).abs().max()) > 1e-4
    assert torch.allclose(rows.variance[9], rows.spread[rows.which[here]].square().sum(-1).mean(0))
    velocity, score = mixture_fields(rows.of(9), x[:3])
    apart = torch.linalg.solve(L, (x[:3, None] - rows.mean[here])[..., None])  # [point row dim 1]
    weight = torch.softmax(-L.diagonal(dim1=1, dim2=2).log().sum(1) - apart.square().sum((2, 3)) / 2, 1)
    drift = rows.rate[here] + (rows.spread[rows.which[here]] @ apart)[..., 0]
    assert torch.allclose(velocity, (weight[..., None] * drift).sum(1))
    assert torch.allclose(score, -(weight[..., None] * torch.linalg.solve(L.mT, apart)[..., 0]).sum(1))
    flow = BridgeFlow().fit(model, train=training(None, 0, steps=20, batch=64))
    flow.save(tmp_path)
    assert torch.equal(BridgeFlow.load(tmp_path).velocity(x, 0.7), flow.velocity(x, 0.7))


def test_a_reference_without_a_name_is_saved_within_the_nets(tmp_path):
    model = tl.SchrodingerBridge(Config(family="mlp", options={"steps": 3}, sigma=0.3, iterations=1, steps=20)).fit(turning(20, 3))
    short = training(None, 0, steps=3)
    with pytest.raises(ValueError, match="residual=False"):
        BridgeFlow().fit(model, train=short).save(tmp_path)
    flow = BridgeFlow(BridgeFlowConfig(residual=False)).fit(model, train=short)
    flow.save(tmp_path)
    back = BridgeFlow.load(tmp_path)
    assert torch.equal(back.velocity(model.snapshots.x, 0.5), flow.velocity(model.snapshots.x, 0.5))
    with pytest.raises(ValueError, match="follow the reference, which was not written"):
        back.velocity(model.snapshots.x, 5.0)


def test_the_bridge_answers_of_fates_and_forgets_its_flow_when_fitted_again(rotation):
    last, y = rotation.snapshots.snapshot == 2, rotation.snapshots.x[:, 1]
    high = y > y[last].median()
    ends = rotation.fate({"high": (last & high).numpy(), "low": (last & ~high).numpy()})
    assert torch.allclose(ends.probability.sum(1), torch.ones(360, dtype=F), atol=1e-6)
    model = tl.SchrodingerBridge(Config(family="brownian", sigma=0.3, iterations=0)).fit(turning(10, 3))
    before = model.flow(train=training(None, 0, steps=1))
    assert model.fit(turning(10, 3, seed=1)).flow(train=training(None, 0, steps=1)) is not before


def test_bad_input_is_named(rotation, tmp_path):
    x = rotation.snapshots.x[:3].clone()
    bad = x.clone()
    bad[1, 0] = float("nan")
    with pytest.raises(ValueError, match=r"cells\[1, 0\] is nan"):
        rotation.simulate(bad, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"x\[1, 0\] is nan"):
        rotation.velocity(bad, 0.5)
    with pytest.raises(ValueError, match=r"\[cell 2\]"):
        rotation.velocity(torch.ones(3, 5), 0.5)
    with pytest.raises(ValueError, match="rising"):
        rotation.simulate(x, [0.5, 0.2])
    with pytest.raises(ValueError, match="before the first snapshot"):
        rotation.simulate(x, [-1.0, 0.2])
    with pytest.raises(ValueError, match="only the SDE"):
        rotation.simulate(x, [0.0, 9.0], "ode")
    with pytest.raises(ValueError, match="only the SDE"):
        rotation.flow().log_prob(x, 9.0)
    with pytest.raises(ValueError, match="sdee"):
        rotation.simulate(x, [0.0, 1.0], "sdee")
    with pytest.raises(ValueError, match="at least 1"):
        rotation.simulate(x, [0.0, 1.0], n=0)
    with pytest.raises(ValueError, match="2 times for 3 states"):
        rotation.velocity(x, [0.1, 0.2])
    with pytest.raises(ValueError, match="fit"):
        tl.SchrodingerBridge(Config()).simulate(x, [0.0, 1.0])
    with pytest.raises(ValueError, match="not fitted"):
        BridgeFlow().velocity(x, 0.0)
    with pytest.raises(TypeError, match="SchrodingerBridge"):
        BridgeFlow().fit(turning(10, 3))
    with pytest.raises(ValueError, match="one was wanted"):
        BridgeFlow().fit(rotation, minutes=1.0, train=TrainConfig(steps=1))
    with pytest.raises(ValueError, match="width=0"):
        BridgeFlowConfig(width=0)
    with pytest.raises(ValueError, match="holds no model"):
        BridgeFlow.load(tmp_path)
