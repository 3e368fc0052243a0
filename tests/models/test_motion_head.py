"""Mixtures of paths, frames of agents, and kinematic heads."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from trajlab.dynamics.kinematics import FORMULATIONS, Start
from trajlab.models.motion.controls import forward_speed
from trajlab.models.motion.frames import AgentFrames
from trajlab.models.motion.head import HEADS, TURNINGS, HeadSettings, KinematicHead
from trajlab.models.motion.mixture import PathMixture

STEPS, DT = 30, 0.1


def random_mixture(agents: int = 4, modes: int = 3, steps: int = 5) -> PathMixture:
    g = torch.Generator().manual_seed(0)
    r = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    root = r(agents, modes, steps, 2, 2)
    return PathMixture(r(agents, modes), 3 * r(agents, modes, steps, 2), root @ root.mT + 0.1 * torch.eye(2).double())


# ---- mixture


def test_likelihoods_are_those_of_torch():
    mix = random_mixture()
    truth = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    at = torch.distributions.MultivariateNormal(mix.mean, mix.covariance).log_prob(truth.unsqueeze(1))
    weight = mix.logits.log_softmax(-1)
    assert_close(mix.log_density(truth), at)
    assert_close(mix.nll_joint(truth), -torch.logsumexp(weight + at.sum(-1), -1))
    assert_close(mix.nll_marginal(truth), -torch.logsumexp(weight.unsqueeze(-1) + at, 1).mean(-1))
    mask = torch.tensor([[True] * 5, [True, True, False, False, False], [False] * 4 + [True], [False] * 5])
    assert_close(mix.nll_joint(truth, mask), -torch.logsumexp(weight + (at * mask[:, None]).sum(-1), -1))
    assert float(mix.nll_joint(truth, mask)[3].abs()) < 1e-12
    assert float(mix.nll_marginal(truth, mask)[3]) == 0
    assert_close(mix.nll_marginal(truth, mask)[1], mix.first(2).nll_marginal(truth[:, :2])[1])


def test_samples_have_its_moments():
    mix = random_mixture(agents=2, modes=2, steps=3)
    drawn = mix.sample(40_000, torch.Generator().manual_seed(0))
    weight = mix.probability[..., None, None]
    mean = (weight * mix.mean).sum(1)
    off = mix.mean - mean.unsqueeze(1)
    wanted = (weight.unsqueeze(-1) * (mix.covariance + off.unsqueeze(-1) * off.unsqueeze(-2))).sum(1)
    assert_close(drawn.mean(0), mean, atol=0.06, rtol=0)
    centred = drawn - drawn.mean(0)
    assert_close((centred.unsqueeze(-1) * centred.unsqueeze(-2)).mean(0), wanted, atol=0.1, rtol=0.05)


def test_turning_keeps_the_likelihood():
    mix, truth = random_mixture(), torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    frames = AgentFrames(10 * torch.ones(4, 2).double(), torch.tensor([0.3, -2.0, 3.0, 0.0]).double())
    world = mix.rotated(frames.angle, frames.origin)
    assert_close(world.nll_joint(frames.to_world(truth)), mix.nll_joint(truth))
    assert_close(frames.to_agent(frames.to_world(truth)), truth)
    assert_close(world.covariance[:, 0], frames.covariance_to_world(mix.covariance[:, 0]))
    assert not torch.allclose(world.nll_joint(truth), mix.nll_joint(truth))


# ---- head


def spread() -> torch.Tensor:
    t = DT * torch.arange(1, STEPS + 1)
    return torch.stack((0.5 * t**2, 0.2 * t**2), -1)


def head(modes: int = 1, own: bool = True, **settings) -> KinematicHead:
    torch.manual_seed(0)
    made = KinematicHead(8, STEPS, DT, HeadSettings(modes=modes, **settings), own)
    made.measure(spread(), 10.0)
    return made


def begin(speeds: list[float]) -> Start:
    velocity = torch.tensor([[v, 0.0] for v in speeds])
    return Start(torch.zeros_like(velocity), velocity, torch.zeros(len(speeds)))


@pytest.mark.parametrize("propagation", ["joint", "marginal"])
@pytest.mark.parametrize("formulation", HEADS)
def test_all_heads_start_from_constant_velocity(formulation, propagation):
    """With one mode, the mean is constant velocity (but for an uncertain heading, which makes it shorter), at rest too."""
    said = head(formulation=formulation, propagation=propagation)(torch.randn(3, 1, 8), begin([0.0, 3.0, 14.0]), torch.full((3,), 2.8))
    straight = DT * torch.arange(1, STEPS + 1) * torch.tensor([0.0, 3.0, 14.0])[:, None]
    away = (said.mean[:, 0, :, 0] - straight).abs().amax(1)
    assert (away <= (0.03 * straight[:, -1] if formulation == "speed_heading" else 1e-4)).all()
    assert said.mean[..., 1].abs().max() < 1e-5
    along = said.covariance[1:, 0, -1, 0, 0].sqrt()
    assert (along > 0.9 * spread()[-1, 0]).all()
    assert (along < 1.4 * spread()[-1, 0]).all()
    assert torch.linalg.eigvalsh(said.covariance).min() >= 0.999 * 0.05**2


@pytest.mark.parametrize(("own", "knots", "uncertain"), [(True, None, False), (False, 5, True)])
@pytest.mark.parametrize("formulation", HEADS)
def test_every_weight_gets_a_gradient(formulation, own, knots, uncertain):
    made = head(3, own, formulation=formulation, knots=knots, uncertain_start=uncertain)
    features = torch.randn(6, 1 if own else 3, 8, requires_grad=True)
    torch.nn.init.normal_(made.out.weight, std=0.1)
    said = made(features, begin([0.0, 0.0, 1.0, 3.0, 10.0, 14.0]))
    said.nll_joint(torch.randn(6, STEPS, 2)).mean().backward()
    assert torch.isfinite(features.grad).all()
    assert features.grad.abs().sum() > 0
    for name, weight in made.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name
    assert not torch.allclose(said.mean[:, 0], said.mean[:, 1])  # modes do not start alike


@pytest.mark.parametrize("turning", TURNINGS)
def test_mean_paths_can_be_driven(turning):
    """Whatever the net says, a bicycle does not reverse, and keeps to the bounds of acceleration and curvature."""
    made = head(formulation="bicycle", turning=turning, slip=0.0)
    torch.nn.init.normal_(made.out.weight, std=10.0)
    controls, start = made.controls(torch.randn(50, 1, 8), begin([0.0, 0.5, 3.0, 10.0, 20.0] * 10), torch.full((50,), 2.8))
    acceleration, steering = controls.mean.unbind(-1)
    speed = start.speed.unsqueeze(-1) + torch.cumsum(acceleration, -1) * DT
    assert speed.min() > -1e-4
    assert acceleration.abs().max() <= 8.0 + 1e-3
    assert (steering.tan() / 2.8).abs().max() <= 0.3 + 1e-6


def test_who_stands_can_learn_to_move_off():
    push = torch.zeros(1, 5, requires_grad=True)
    for first in (0.0, -1.0):
        _, speed = forward_speed(push + first, torch.zeros(1), DT)
        assert (speed >= 0).all()
        assert torch.autograd.grad(speed.sum(), push)[0].abs().min(1).values == 0  # the last acceleration moves nothing any more
        assert torch.autograd.grad(forward_speed(push + first, torch.zeros(1), DT)[1].sum(), push)[0][0, 0] > 0


def test_who_brakes_stops_and_moves_off_again():
    braking = torch.tensor([[-5.0] * 10 + [5.0] * 4])
    acceleration, speed = forward_speed(braking, torch.tensor([2.0]), DT)
    assert_close(speed[0], torch.tensor([2.0, 1.5, 1.0, 0.5] + [0.0] * 7 + [0.5, 1.0, 1.5]), atol=1e-5, rtol=0)
    assert_close(speed[0, 0] + DT * acceleration[0].sum(), torch.tensor(2.0), atol=1e-5, rtol=0)


def test_formulations_are_those_of_the_dynamics():
    assert ("position", *FORMULATIONS) == HEADS


def test_modes_with_an_output_layer_of_their_own_and_shared_ones():
    own, shared = head(4)(torch.randn(2, 1, 8), begin([1.0, 2.0])), head(4, own=False)(torch.randn(2, 4, 8), begin([1.0, 2.0]))
    assert own.mean.shape == shared.mean.shape == (2, 4, STEPS, 2)
    assert own.logits.shape == shared.logits.shape == (2, 4)


@pytest.mark.parametrize(("settings", "match"), [
    ({"formulation": "bycicle"}, "did you mean 'bicycle'"), ({"propagation": "both"}, "no propagation"), ({"turning": "yaw"}, "yaw_rate"),
    ({"modes": 0}, "at least 1 mode"), ({"knots": 1}, "2 knots"), ({"floor": 0.0}, "positive numbers"), ({"slip": -1.0}, "share of at least 0"),
    ({"persistence": 1.0}, "within"), ({"persistence": 0.5, "propagation": "marginal"}, "joint propagation"),
])
def test_bad_settings_are_told(settings, match):
    with pytest.raises(ValueError, match=match):
        HeadSettings(**settings)


def test_bad_sizes_are_told():
    with pytest.raises(ValueError, match="at least 1 step"):
        KinematicHead(8, 0, DT)
    with pytest.raises(ValueError, match="was wanted"):
        head().measure(torch.ones(3, 2), 1.0)
    with pytest.raises(ValueError, match="no controls"):
        head(formulation="position").controls(torch.randn(2, 1, 8), begin([1.0, 2.0]))
    assert math.isclose(float(head().floor), 0.05, rel_tol=1e-6)


def test_settings_of_head_and_forecaster_have_the_same_defaults():
    from dataclasses import fields

    from trajlab.models.motion.motion_config import MotionConfig

    own = HeadSettings()
    for f in fields(HeadSettings):
        if f.name != "formulation":
            assert getattr(MotionConfig(), f.name) == getattr(own, f.name), f.name
