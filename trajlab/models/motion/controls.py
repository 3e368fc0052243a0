"""From the outputs of a net to the controls of a kinematic model: scales, bounds, and a speed that stays positive.

The mean path of bicycle, unicycle, and speed + heading keeps to what a vehicle can do: ``|acceleration|`` and ``|curvature|`` are bounded by
tanh, the speed stops at zero. A turn is said as a lateral acceleration by default: divided by
``speed^2 + SLOW^2`` it is the curvature of the path, so an output of one moves an agent as far at 14 m/s as at 3, and nothing happens at rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.kinematics import Controls, Start
from trajlab.models.motion.head_settings import HeadSettings

__all__ = ["Outputs", "Scales", "controls_of", "forward_speed"]

LEAK = 0.1  #: share of the gradient that passes where a speed is held at zero
SLOW = 2.0  #: m/s, below which a lateral acceleration turns no tighter
STEERING = 0.03  #: rad, scale of an output that is a steering angle
Outputs = tuple[Tensor, Tensor, Tensor]  #: means ``[*batch 2 time]``, standard deviations ``[*batch 2 time]``, correlation ``[*batch time]``


@dataclass(frozen=True)
class Scales:
    """What an output of one means: it carries an agent as far from constant velocity as the data go.

    Attributes:
        spread: of positions about constant velocity, after each step, along and across, m, ``[time 2]``.
        speed: typical, m/s.
        dt, steps: of the horizon.
    """

    spread: Float[Tensor, "time 2"]
    speed: float
    dt: float
    steps: int

    @property
    def velocity(self) -> Float[Tensor, "2 1"]:
        """Kept for the whole horizon, m/s."""
        return self.spread[-1, :, None] / (self.steps * self.dt)

    @property
    def acceleration(self) -> Float[Tensor, "2 1"]:
        """Kept for the whole horizon, m/s^2."""
        return 2 * self.spread[-1, :, None] / (self.steps * self.dt) ** 2

    @property
    def velocity_noise(self) -> Float[Tensor, "2 1"]:
        """Independent from step to step, ``spread = noise dt sqrt(T)``."""
        return self.spread[-1, :, None] / (self.dt * math.sqrt(self.steps))

    def acceleration_noise(self, joint: bool) -> Float[Tensor, "2 1"]:
        """Independent from step to step, ``spread = noise dt^2 sqrt(T^3 / 3)``; marginal propagation says ``sqrt(T^2 / 2)``."""
        count = float(self.steps)
        return self.spread[-1, :, None] / (self.dt**2 * math.sqrt(max(1.0, count**3 / 3 if joint else count**2 / 2)))


def controls_of(settings: HeadSettings, scales: Scales, outputs: Outputs, start: Start, wheelbase: Tensor | None) -> Controls:
    """Controls of a formulation from the outputs of a net, ``start`` with an axis for modes."""
    mean, std, rho = outputs
    kind, joint = settings.formulation, settings.propagation == "joint"
    if kind == "velocity":
        found = start.velocity.unsqueeze(-1) + scales.velocity * mean, scales.velocity_noise * std
    elif kind == "acceleration":
        found = scales.acceleration * mean, scales.acceleration_noise(joint) * std
    else:
        found = _steered(settings, scales, (mean, std), start, wheelbase)
    correlation = rho if kind != "speed_heading" else None
    if settings.persistence and correlation is not None:
        correlation = correlation.mean(-1, keepdim=True).expand_as(correlation)
    return Controls(found[0].mT, found[1].mT, correlation, settings.persistence)


def bounded(value: Tensor, bound: float) -> Tensor:
    """``bound tanh(value / bound)``."""
    return bound * torch.tanh(value / bound)


def forward_speed(acceleration: Float[Tensor, "*batch time"], start: Float[Tensor, "*_start"], dt: float,
                  ) -> tuple[Float[Tensor, "*batch time"], Float[Tensor, "*batch time"]]:
    """Accelerations that never make an agent go backwards, and the speed before each step.

    With ``u`` the running sum of the given accelerations from ``start``, ``speed = u - min(0, least u so far)``: who brakes comes to rest and stays
    until it accelerates. A share `LEAK` of the gradient passes where the speed is held at zero, so that a net can learn to move off. Who rolls
    backwards at the start is brought to a stand in the first step.
    """
    sums = start.clamp(min=0).unsqueeze(-1) + torch.cumsum(acceleration, -1) * dt
    least = torch.cummin(sums, -1).values.clamp(max=0)
    after = sums - least + LEAK * (least - least.detach())
    speed = torch.cat((start.unsqueeze(-1).expand(*after.shape[:-1], 1), after[..., :-1]), -1)
    return (after - speed) / dt, speed


def _steered(settings: HeadSettings, scales: Scales, outputs: tuple[Tensor, Tensor], start: Start, wheelbase: Tensor | None) -> tuple[Tensor, Tensor]:
    """Means and standard deviations ``[*batch 2 time]``."""
    (along, turn), (noise, turn_noise) = (pair.unbind(-2) for pair in outputs)
    joint = settings.propagation == "joint"
    steady, random = scales.acceleration, scales.acceleration_noise(joint)
    acceleration, speed = forward_speed(bounded(steady[0] * along, settings.hardest), start.speed, scales.dt)
    speed = speed.clamp(min=0)
    if settings.formulation == "speed_heading":
        rate = _rate(settings, steady[1] * turn, speed)
        heading = start.direction.unsqueeze(-1) + torch.cumsum(rate, -1) * scales.dt - rate * scales.dt
        spread = scales.velocity_noise[1] / (speed.square() + SLOW**2).sqrt()
        return torch.stack((speed, heading), -2), torch.stack((scales.velocity_noise[0] * noise, spread.clamp(max=0.2) * turn_noise), -2)
    if settings.formulation == "unicycle":
        fast = (speed.square() + SLOW**2).sqrt()
        rate, random_rate = _rate(settings, steady[1] * turn, speed), random[1] / fast
        return torch.stack((acceleration, rate), -2), torch.stack((random[0] * noise, random_rate * turn_noise), -2)
    curvature, per_output = _curvature(settings, scales, turn, speed, wheelbase)
    length = 2.8 if wheelbase is None else wheelbase.unsqueeze(-1)
    steering = torch.atan(length * curvature)
    ratio = random[1] / steady[1]  # of the noise of an output to its mean
    by_steering = length / (1 + (length * curvature).square())
    return torch.stack((acceleration, steering), -2), torch.stack((random[0] * noise, ratio * per_output * by_steering * turn_noise), -2)


def _rate(settings: HeadSettings, lateral: Tensor, speed: Tensor) -> Tensor:
    """A bounded rate of turning by a lateral acceleration."""
    fast = (speed.square() + SLOW**2).sqrt()
    return fast * bounded(lateral / fast.square(), settings.tightest)


def _curvature(settings: HeadSettings, scales: Scales, turn: Tensor, speed: Tensor, wheelbase: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of the path, and what an output of one means."""
    lateral = scales.acceleration[1]
    if settings.turning == "lateral":
        scale = lateral / (speed.square() + SLOW**2)
    elif settings.turning == "curvature":
        scale = (lateral / (scales.speed**2 + SLOW**2)).expand_as(speed)
    elif settings.turning == "yaw_rate":
        scale = lateral / scales.speed / (speed.square() + SLOW**2).sqrt()
    else:
        length = 2.8 if wheelbase is None else wheelbase.unsqueeze(-1)
        scale = (STEERING / length) * torch.ones_like(speed)
    return bounded(scale * turn, settings.tightest), scale
