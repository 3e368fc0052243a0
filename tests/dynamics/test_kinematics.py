"""Moments of kinematic models: against Monte Carlo, against the Kalman recursion, and in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from trajlab.dynamics.kinematics import FORMULATIONS, Controls, Start, propagate
from trajlab.dynamics.kinematics_joint import Step, joint_covariance, joint_prefix
from trajlab.dynamics.kinematics_path import path

DT, STEPS = 0.1, 80


def double(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def number(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def constant(mean: tuple[float, float], std: tuple[float, float], steps: int = STEPS, **more) -> Controls:
    one = torch.ones(steps, 2, dtype=torch.float64)
    return Controls(one * number(mean), one * number(std), **more)


def start(vx: float = 10.0, vy: float = 0.0, heading: float | None = None, covariance: torch.Tensor | None = None) -> Start:
    angle = None if heading is None else torch.tensor(heading, dtype=torch.float64)
    return Start(number([1.0, -2.0]), number([vx, vy]), angle, covariance)


def monte_carlo(formulation: str, controls: Controls, begin: Start, samples: int = 20_000, wheelbase: float = 3.0) -> torch.Tensor:
    """Drawn paths, control noise by plain recursion in time."""
    g = torch.Generator().manual_seed(1)
    z = torch.randn(samples, *controls.mean.shape, generator=g, dtype=torch.float64)
    r = controls.persistence
    for t in range(1, z.shape[1]):
        z[:, t] = r * z[:, t - 1] + math.sqrt(1 - r**2) * z[:, t]
    if controls.rho is not None:
        z[..., 1] = controls.rho * z[..., 0] + (1 - controls.rho**2).sqrt() * z[..., 1]
    return path(formulation, controls.mean + controls.std * z, begin, DT, wheelbase=wheelbase)


def spread(drawn: torch.Tensor) -> torch.Tensor:
    """Covariances at each time."""
    off = (drawn - drawn.mean(0)).transpose(0, 1)
    return off.mT @ off / (drawn.shape[0] - 1)


# ---- the path itself


def test_an_acceleration_first_shows_in_the_second_position():
    push = torch.zeros(3, 2, dtype=torch.float64)
    push[0, 0] = 1.0
    moved = path("acceleration", push, start(0.0), DT)[:, 0] - 1.0
    assert_close(moved, number([0.0, 0.01, 0.02]))


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_means_are_the_path_of_the_mean_controls(formulation):
    mean = 0.1 * double(4, 3, 20, 2) + (number([8.0, 0.3]) if formulation == "speed_heading" else 0.0)
    begin = Start(double(4, 1, 2), double(4, 1, 2, seed=1), double(4, 1, seed=2))
    found = propagate(formulation, Controls(mean, torch.zeros_like(mean)), begin, DT)
    assert_close(found.mean, path(formulation, mean, begin, DT), rtol=1e-12, atol=1e-12)
    assert float(found.covariance.abs().max()) < 1e-14


def test_a_bicycle_circles():
    """Constant curvature 0.05 /m: radius 20 m, up to the step."""
    steps, dt = 4000, 0.001
    controls = torch.stack((torch.zeros(steps), torch.full((steps,), math.atan(2.8 * 0.05))), -1).double()
    end = path("bicycle", controls, start(10.0, heading=0.0), dt)[-1] - number([1.0, -2.0])
    turn = 0.05 * 10 * steps * dt
    assert_close(end, 20 * number([math.sin(turn), 1 - math.cos(turn)]), atol=0.02, rtol=0)


# ---- Monte Carlo

CASES = {
    "velocity": (constant((5.0, 1.0), (1.0, 0.5), rho=torch.full((STEPS,), 0.4, dtype=torch.float64)), start()),
    "acceleration": (constant((0.2, 0.1), (1.0, 0.5), rho=torch.full((STEPS,), -0.6, dtype=torch.float64)), start()),
    "bicycle": (constant((0.3, 0.03), (0.8, 0.05)), start(heading=0.6)),
    "unicycle": (constant((0.3, 0.1), (0.8, 0.1), rho=torch.full((STEPS,), 0.5, dtype=torch.float64)), start(heading=-0.4)),
    "velocity that persists": (constant((5.0, 1.0), (1.0, 0.5), persistence=0.8, rho=torch.full((STEPS,), 0.4, dtype=torch.float64)), start()),
    "acceleration that persists": (constant((0.2, 0.1), (0.5, 0.3), persistence=0.7), start()),
    "bicycle that persists": (constant((0.3, 0.02), (0.3, 0.01), persistence=0.7), start(heading=0.6)),
}


@pytest.mark.parametrize("name", CASES)
def test_standard_deviations_agree_with_monte_carlo(name):
    """Within 3 % along the axes of the ellipse, accumulated heading noise 0.2 rad at most; 20 000 samples have 0.5 % themselves."""
    controls, begin = CASES[name]
    found = propagate(name.split()[0], controls, begin, DT, wheelbase=3.0)
    drawn = spread(monte_carlo(name.split()[0], controls, begin))
    for t in (9, STEPS - 1):
        assert_close(torch.linalg.eigvalsh(found.covariance[t]).sqrt(), torch.linalg.eigvalsh(drawn[t]).sqrt(), rtol=0.03, atol=0)
        scale = drawn[t].diagonal().prod().sqrt()
        assert abs(float(found.covariance[t, 0, 1] - drawn[t, 0, 1]) / float(scale)) < 0.03


@pytest.mark.parametrize("noise", [0.1, 0.4, 0.8])
def test_exact_moments_of_an_uncertain_heading(noise):
    """Quadrature over the heading (exact for a trigonometric function of a Gaussian): 1e-9, where the linear ones are off by up to 37 %."""
    t = torch.arange(STEPS).double()
    mean = torch.stack((10 + 0 * t, 0.1 * DT * t), -1)
    controls = Controls(mean, number([0.5, noise]).expand(STEPS, 2))
    exact = propagate("speed_heading", controls, start(), DT)
    linear = propagate("speed_heading", controls, start(), DT, moments="linear")
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    weight = torch.exp(-z.square() / 2) / torch.exp(-z.square() / 2).sum()
    heading = mean[:, 1:] + noise * z
    way = torch.stack((heading.cos(), heading.sin()), -1)
    first = (weight[:, None] * way).sum(1)
    second = (weight[:, None, None] * way.unsqueeze(-1) * way.unsqueeze(-2)).sum(1)
    steps = 10 * first
    assert_close(exact.mean, (steps * DT).cumsum(0) + start().position, rtol=1e-9, atol=1e-9)
    each = (100 + 0.25) * second - steps.unsqueeze(-1) * steps.unsqueeze(-2)
    assert_close(exact.covariance, (each * DT**2).cumsum(0), rtol=1e-9, atol=1e-9)
    off = float((linear.mean - exact.mean)[-1].norm())
    assert 0.9 * STEPS * DT * 10 * (1 - math.exp(-(noise**2) / 2)) < off <= STEPS * DT * 10 * noise**2 / 2
    excess = float(linear.covariance[-1].trace() / exact.covariance[-1].trace()) - 1
    assert abs(excess - {0.1: 0.005, 0.4: 0.08, 0.8: 0.37}[noise]) < 0.02


def test_exact_moments_agree_with_monte_carlo():
    t = torch.arange(STEPS).double()
    controls = Controls(torch.stack((10 + 0 * t, 0.01 * t), -1), number([0.5, 0.4]).expand(STEPS, 2))
    found, drawn = propagate("speed_heading", controls, start(), DT), monte_carlo("speed_heading", controls, start())
    assert_close(found.mean[-1], drawn.mean(0)[-1], atol=0.1, rtol=0)
    assert_close(found.covariance[-1].trace().sqrt(), spread(drawn)[-1].trace().sqrt(), rtol=0.01, atol=0)


def test_marginal_propagation_is_too_narrow():
    """By 1.5 / T of the variance: what the published form leaves out."""
    controls = constant((0.0, 0.0), (1.0, 1.0))
    joint = propagate("acceleration", controls, start(), DT).covariance[-1, 0, 0]
    marginal = propagate("acceleration", controls, start(), DT, propagation="marginal").covariance[-1, 0, 0]
    assert float(joint) == pytest.approx(DT**4 * sum(k**2 for k in range(STEPS)), rel=1e-12)
    assert float(marginal / joint) == pytest.approx(0.0189, abs=2e-4)


# ---- the recursion


def recursion(step: Step, begin: torch.Tensor) -> torch.Tensor:
    """``P <- F P F^T + G Q G^T``, a loop."""
    p, found = begin, []
    for t in range(step.speed_noise.shape[-1]):
        f = torch.eye(4, dtype=torch.float64).expand_as(p).clone()
        f[..., 0, 2], f[..., 0, 3] = step.x_heading[..., t], step.x_speed[..., t]
        f[..., 1, 2], f[..., 1, 3] = step.y_heading[..., t], step.y_speed[..., t]
        f[..., 2, 3] = step.heading_speed[..., t]
        q = torch.zeros_like(p)
        q[..., 2, 2], q[..., 3, 3] = step.heading_noise[..., t], step.speed_noise[..., t]
        q[..., 2, 3] = q[..., 3, 2] = step.cross_noise[..., t]
        p = f @ p @ f.mT + q
        found.append(p)
    return torch.stack(found, -3)


def random_step(batch: int = 5) -> tuple[Step, torch.Tensor]:
    parts = [0.3 * double(batch, STEPS, seed=k) for k in range(5)]
    w, q = double(batch, STEPS, seed=5).square(), double(batch, STEPS, seed=6).square()
    root = double(batch, 4, 4, seed=7)
    return Step(*parts, w, q, 0.7 * (w * q).sqrt()), root @ root.mT


def test_sums_are_the_kalman_recursion():
    step, begin = random_step()
    wanted = recursion(step, begin)
    scale = wanted.diagonal(dim1=-2, dim2=-1).sqrt()
    relative = lambda found, n: float(((found - wanted[..., :n, :n]) / (scale[..., :n, None] * scale[..., None, :n])).abs().max())  # noqa: E731
    assert relative(joint_covariance(step, begin), 2) < 1e-9
    assert relative(joint_prefix(step, begin), 4) < 1e-9
    assert_close(joint_covariance(step), recursion(step, torch.zeros_like(begin))[..., :2, :2], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("formulation", ["bicycle", "unicycle"])
def test_propagation_is_the_kalman_recursion_of_its_derivatives(formulation):
    """Derivatives by differences of the one-step map, so that the algebra of the steps is checked too."""
    steps, wheelbase = 30, 3.0
    mean, std = 0.2 * double(steps, 2), 0.1 + 0.3 * torch.rand(steps, 2, dtype=torch.float64)
    rho, root = 0.5 * torch.ones(steps).double(), 0.1 * double(4, 4, seed=3)
    begin = start(8.0 * math.cos(0.7), 8.0 * math.sin(0.7), 0.7, root @ root.T)

    def move(z: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        x, y, th, v = z
        rate = u[1] if formulation == "unicycle" else v * u[1].tan() / wheelbase
        return torch.stack((x + DT * v * th.cos(), y + DT * v * th.sin(), th + DT * rate, v + DT * u[0]))

    z, p, wanted = number([1.0, -2.0, 0.7, 8.0]), begin.covariance, []
    for u, s, r in zip(mean, std, rho, strict=True):
        f, g = torch.autograd.functional.jacobian(move, (z, u))
        q = number([[s[0] ** 2, r * s[0] * s[1]], [r * s[0] * s[1], s[1] ** 2]])
        z, p = move(z, u), f @ p @ f.T + g @ q @ g.T
        wanted.append(p[:2, :2])
    found = propagate(formulation, Controls(mean, std, rho), begin, DT, wheelbase=wheelbase)
    assert_close(found.covariance, torch.stack(wanted), rtol=1e-9, atol=1e-12)
    assert_close(found.mean[-1], z[:2], rtol=1e-12, atol=1e-12)


def test_noise_that_persists_is_the_recursion():
    """``var <- var + 2 dt s g + dt^2 s^2, g <- r (g + dt s)``; inflation 1 + 2 sum (1 - k/T) r^k, 2.95 at r = 0.5."""
    std, r = 0.5 + torch.rand(STEPS, dtype=torch.float64), 0.7
    var, g, wanted = 0.0, 0.0, []
    for s in std.tolist():
        var, g = var + 2 * DT * s * g + DT**2 * s**2, r * (g + DT * s)
        wanted.append(var)
    found = propagate("velocity", Controls(torch.zeros(STEPS, 2).double(), torch.stack((std, std), -1), persistence=r), start(), DT)
    assert_close(found.covariance[:, 0, 0], number(wanted), rtol=1e-12, atol=0)
    inflated = propagate("velocity", constant((0.0, 0.0), (1.0, 1.0), persistence=0.5), start(), DT).covariance[-1, 0, 0]
    assert float(inflated) / (STEPS * DT**2) == pytest.approx(2.95, abs=0.005)


@pytest.mark.parametrize("formulation", ["velocity", "acceleration", "bicycle", "unicycle"])
def test_noise_that_does_not_persist_is_independent(formulation):
    controls, root = 0.1 * double(2, 20, 2), 0.1 * double(4, 4, seed=3)
    begin = start(heading=0.3, covariance=root @ root.T)
    tiny = propagate(formulation, Controls(controls, controls.abs(), persistence=1e-12), begin, DT)
    none = propagate(formulation, Controls(controls, controls.abs()), begin, DT)
    assert_close(tiny.covariance, none.covariance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("formulation", ["velocity", "acceleration", "bicycle", "unicycle"])
@pytest.mark.parametrize("persistence", [0.0, 0.5])
def test_an_uncertain_start_adds_what_it_should(formulation, persistence):
    """Without control noise the covariance is ``J P J^T`` with the derivative of the path by the start."""
    controls = 0.1 * double(20, 2)
    root = 0.3 * double(4, 4, seed=3)
    begin = start(6.0 * math.cos(0.4), 6.0 * math.sin(0.4), 0.4, root @ root.T)

    def moved(z: torch.Tensor) -> torch.Tensor:
        if formulation in ("velocity", "acceleration"):
            return path(formulation, controls, Start(z[:2], z[2:]), DT)
        return path(formulation, controls, Start(z[:2], torch.stack((z[3] * z[2].cos(), z[3] * z[2].sin())), z[2]), DT)

    at = torch.cat((begin.position, begin.velocity if formulation in ("velocity", "acceleration") else number([0.4, 6.0])))
    j = torch.autograd.functional.jacobian(moved, at)
    found = propagate(formulation, Controls(controls, torch.zeros_like(controls), persistence=persistence), begin, DT)
    assert_close(found.covariance, j @ begin.covariance @ j.mT, rtol=1e-8, atol=1e-10)


# ---- turning, floors, gradients


def test_turning_the_world_turns_the_answer():
    controls, angle = CASES["bicycle"][0], 1.1
    level = propagate("bicycle", controls, Start(torch.zeros(2).double(), number([10.0, 0.0]), number(0.0)), DT)
    turned = propagate("bicycle", controls, Start(number([3.0, 4.0]), 10 * number([math.cos(angle), math.sin(angle)]),
                                                  number(angle)), DT)
    back = level.rotated(number(angle), number([3.0, 4.0]))
    assert_close(back.mean, turned.mean, rtol=1e-10, atol=1e-10)
    assert_close(back.covariance, turned.covariance, rtol=1e-9, atol=1e-11)
    assert float(turned.covariance[-1, 0, 1].abs()) > 0.1  # there is something to turn
    assert_close(level.with_floor(0.5).covariance - level.covariance, 0.25 * torch.eye(2).double().expand_as(level.covariance))


@pytest.mark.parametrize("propagation", ["joint", "marginal"])
@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_gradients(formulation, propagation):
    mean = (0.1 * double(2, 6, 2) + 1.0).requires_grad_()
    std = (0.1 + 0.1 * double(2, 6, 2, seed=1).abs()).requires_grad_()
    begin = Start(torch.zeros(2).double(), number([3.0, 0.5]), number(0.1))

    def said(mean: torch.Tensor, std: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = propagate(formulation, Controls(mean, std), begin, DT, propagation=propagation)
        return found.mean, found.covariance

    assert torch.autograd.gradcheck(said, (mean, std))


def test_modes_and_agents_are_independent():
    controls, begin = 0.2 * double(3, 2, 10, 2), Start(double(3, 1, 2), double(3, 1, 2, seed=1), double(3, 1, seed=2))
    together = propagate("bicycle", Controls(controls, controls.abs()), begin, DT, wheelbase=number([[2.0], [3.0], [4.0]]))
    one = Start(begin.position[1, 0], begin.velocity[1, 0], begin.heading[1, 0])
    alone = propagate("bicycle", Controls(controls[1, 0], controls[1, 0].abs()), one, DT, wheelbase=3.0)
    assert_close(together.covariance[1, 0], alone.covariance)


# ---- bad input


@pytest.mark.parametrize(("change", "match"), [
    ({"formulation": "bycicle"}, "did you mean 'bicycle'"), ({"propagation": "joined"}, "did you mean 'joint'"),
    ({"moments": "exakt"}, "did you mean 'exact'"), ({"dt": 0.0}, "longer than 0 s"), ({"wheelbase": -1.0}, "positive length"),
])
def test_bad_settings_are_told(change, match):
    settings = {"formulation": "bicycle", "controls": CASES["bicycle"][0], "start": start(), "dt": DT} | change
    with pytest.raises(ValueError, match=match):
        propagate(**settings)


@pytest.mark.parametrize(("formulation", "controls", "match"), [
    ("velocity", constant((0.0, 0.0), (1.0, 1.0), persistence=1.0), "within \\(-1, 1\\)"),
    ("velocity", constant((0.0, 0.0), (1.0, 1.0), persistence=0.5), "marginal propagation knows no noise that persists"),
    ("speed_heading", constant((1.0, 0.0), (1.0, 1.0), rho=torch.zeros(STEPS).double()), "leave out rho"),
])
def test_bad_controls_are_told(formulation, controls, match):
    with pytest.raises(ValueError, match=match):
        propagate(formulation, controls, start(), DT, propagation="marginal")


def test_a_correlation_that_changes_cannot_persist():
    controls = constant((0.0, 0.0), (1.0, 1.0), persistence=0.5, rho=torch.linspace(0, 0.5, STEPS).double())
    with pytest.raises(ValueError, match="same for all steps"):
        propagate("velocity", controls, start(), DT)
    with pytest.raises(ValueError, match="did you mean 'unicycle'"):
        path("unicycl", controls.mean, start(), DT)
