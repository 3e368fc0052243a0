"""Families of references: closed forms against direct minimisation, and regressions that find what they were made from."""

from __future__ import annotations

import pytest
import torch
from models.bridge_systems import TURN, F, intervals, turning

import trajlab as tl
from trajlab.dynamics.references import by_rows
from trajlab.models import mechanistic_families as known
from trajlab.models.bridge_step import bridge_step
from trajlab.models.family import FAMILIES, family
from trajlab.models.parametric_families import Parametric, levenberg_marquardt
from trajlab.models.reference_families import Brownian, Linear, constrained

Config = tl.SchrodingerBridgeConfig
D = 0.04 * torch.eye(2, dtype=F)


def problem(dim: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    root, L = torch.randn(dim, dim, generator=g, dtype=F), torch.randn(dim, dim, generator=g, dtype=F)
    return root @ root.mT + torch.eye(dim, dtype=F), torch.randn(dim, dim, generator=g, dtype=F), L @ L.mT + 0.3 * torch.eye(dim, dtype=F)


def loss(A: torch.Tensor, C: torch.Tensor, N: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return torch.trace(torch.linalg.solve(noise, A @ C @ A.mT - 2 * N @ A.mT))


def minimum(make, start: torch.Tensor, *parts: torch.Tensor) -> float:
    free = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([free], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss(make(free), *parts)
        value.backward()
        return value

    optimiser.step(closure)
    return float(loss(make(free), *parts))


def test_symmetric_drifts_are_the_minimiser_and_symmetrising_afterwards_is_not():
    parts = problem()
    A = constrained(*parts, "symmetric")
    assert torch.equal(A, A.mT)
    reached = float(loss(A, *parts))
    assert reached == pytest.approx(minimum(lambda a: a + a.mT, torch.zeros(3, 3, dtype=F), *parts), abs=1e-9)
    general = constrained(*parts, "general")
    assert float(loss((general + general.mT) / 2, *parts)) > reached + 0.01
    assert float(loss(general, *parts)) < reached


def test_low_rank_drifts_are_the_minimiser():
    parts = problem(4)
    A = constrained(*parts, "low_rank", 2)
    assert int(torch.linalg.matrix_rank(A, rtol=1e-9)) == 2
    start = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=F)
    assert float(loss(A, *parts)) == pytest.approx(minimum(lambda a: a[:4] @ a[4:].mT, start, *parts), abs=1e-7)
    assert torch.allclose(constrained(*parts, "low_rank", 4), constrained(*parts, "general"), atol=1e-9)


def test_ridge_shrinks_the_matrix_not_the_mean():
    evidence = bridge_step(Brownian().reference(torch.zeros(0), D), intervals(), Config(sigma=0.2))
    sizes = [float(Linear(ridge=ridge).refit(evidence, None)[:4].norm()) for ridge in (0.0, 1.0, 100.0)]
    assert sizes[0] > sizes[1] > sizes[2]
    second, cross = evidence.moments
    theta = Linear(ridge=1e9).refit(evidence, None)
    assert torch.allclose(theta[4:], cross[:, -1] / second[-1, -1], atol=1e-6)


def test_closed_form_moments_are_those_of_the_cubature():
    """The same integrals from the points at grid midpoints, of all pairs drawn."""
    reference = Linear().reference(torch.tensor([-0.2, 0.8, -0.9, 0.1, 0.2, 0.0], dtype=F), D)
    evidence = bridge_step(reference, intervals(cells=20), Config(sigma=0.2, paths=4000))
    second, cross = evidence.moments
    x, u, weight = evidence.regression
    one = torch.cat([x, torch.ones(len(x), 1, dtype=F)], 1)
    assert torch.allclose(one.mT @ (weight[:, None] * one), second, rtol=2e-3, atol=5e-3)
    assert torch.allclose(u.mT @ (weight[:, None] * one), cross, rtol=5e-3, atol=2e-2)


@pytest.mark.parametrize("name", ["lotka_volterra", "repressilator"])
def test_given_jacobians(name):
    made = family(name)
    theta = torch.tensor([1.2, 2.4, 0.7, 0.9], dtype=F)
    x = torch.rand(6, 2 if name == "lotka_volterra" else 3, generator=torch.Generator().manual_seed(0), dtype=F) + 0.2
    assert torch.allclose(made.derivative(x, theta), by_rows(lambda z: made.function(z, theta), x), atol=1e-12)


def test_levenberg_marquardt_solves_a_curve():
    t = torch.linspace(0, 2, 40, dtype=F)
    truth = torch.tensor([2.0, 1.5], dtype=F)
    found, cost = levenberg_marquardt(lambda p: p[0] * torch.exp(-p[1] * t) - truth[0] * torch.exp(-truth[1] * t), torch.tensor([0.5, 0.1], dtype=F))
    assert torch.allclose(found, truth, atol=1e-6)
    assert cost < 1e-12


@pytest.mark.parametrize(("name", "options"), [("features", {"kind": "polynomial", "degree": 1, "ridge": 0.0}), ("features", {"count": 10}),
                                               ("mlp", {"steps": 300, "width": 32}), ("gradient_field", {"steps": 100, "width": 16})])
def test_general_families_lower_the_objective(name, options):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    model = tl.SchrodingerBridge(Config(family=name, options=options, sigma=0.2, iterations=2, scale="none", steps=20, paths=50)).fit(turning(40, 3))
    assert torch.equal(before, torch.random.get_rng_state())  # no global random state
    figures = [step.objective for step in model.history]
    if name != "gradient_field":  # which cannot turn
        assert min(figures) < figures[0] - 5
    if options.get("degree") == 1:  # the linear family in disguise
        linear = tl.SchrodingerBridge(Config(sigma=0.2, iterations=2, scale="none", steps=20, paths=50)).fit(turning(40, 3))
        assert figures[1] == pytest.approx(linear.history[1].objective, abs=1.0)
    again = tl.SchrodingerBridge(model.config).fit(turning(40, 3))
    assert torch.equal(again.theta, model.theta)


def test_gradient_fields_have_symmetric_jacobians():
    made = family("gradient_field", width=8, steps=1)
    theta = made.start(intervals(cells=10), D)
    theta = theta + 0.3 * torch.randn(len(theta), generator=torch.Generator().manual_seed(0), dtype=F)
    J = made.reference(theta, D).jacobian(torch.randn(4, 2, generator=torch.Generator().manual_seed(1), dtype=F))
    assert torch.allclose(J, J.mT, atol=1e-12)
    assert J.abs().max() > 1e-3


def test_a_function_of_the_user_with_signs():
    law = Parametric(lambda x, theta: torch.stack([-theta[0] * x[:, 0] + theta[1] * x[:, 1], -theta[1] * x[:, 0] - theta[0] * x[:, 1]], 1),
                     ("damping", "turn"), (True, False))
    model = tl.SchrodingerBridge(Config(family=law, sigma=0.2, scale="none", iterations=8)).fit(turning())
    assert model.parameters["damping"] == pytest.approx(0.3, abs=0.08)
    assert model.parameters["turn"] == pytest.approx(float(TURN[0, 1]), abs=0.08)
    assert law.bound(law.free(torch.tensor([0.2, -3.0], dtype=F))).tolist() == pytest.approx([0.2, -3.0])


def test_the_vortex_is_a_linear_process():
    reference = known.Vortex().reference(torch.tensor([0.5, 0.2, -0.1, 0.3], dtype=F), D)
    assert reference.linear is not None
    assert reference.drift(torch.tensor([[0.2, -0.1]], dtype=F)).abs().max() < 1e-15  # its centre


def test_refusals():
    assert {"brownian", "ou", "parametric", "features", "gradient_field", "mlp"} <= set(FAMILIES)
    for options in ({"shape": "round"}, {"rank": 0}, {"ridge": -1.0}, {"begin": "now"}):
        with pytest.raises(ValueError):
            Linear(**options)
    with pytest.raises(ValueError, match="one of each"):
        Parametric(lambda x, theta: x, ())
    with pytest.raises(ValueError, match="features"):
        family("feature")
    with pytest.raises(TypeError, match="a name or a Family"):
        family(3)
    with pytest.raises(ValueError, match="kind of features"):
        family("features", kind="sines")
    with pytest.raises(ValueError, match="positive values"):
        family("mlp", width=0)
