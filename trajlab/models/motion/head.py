"""A head that turns features of any forecaster into a mixture of Gaussian paths, through uncertain controls of a kinematic model.

Outputs have the scale of the task: they are multiplied by what would carry an agent as far from constant velocity as the training data go (see
`KinematicHead.measure`), so all formulations start from the same forecast: constant velocity, with the spread that constant velocity has.
After "Deep Stochastic Kinematic Models", arXiv 2406.01431; parametrisation, initialisation and bounds are ours (docs/methods/motion.md).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trajlab.dynamics.kinematics import Controls, Positions, Start, propagate
from trajlab.models.motion.controls import Scales, controls_of
from trajlab.models.motion.head_settings import HEADS, TURNINGS, HeadSettings
from trajlab.models.motion.mixture import PathMixture

__all__ = ["HEADS", "TURNINGS", "HeadSettings", "KinematicHead"]

UNIT = math.log(math.e - 1)  #: softplus of it is 1
SMALLEST = 1e-3  #: of a standard deviation, in its scale


class KinematicHead(nn.Module):
    """Features in, a mixture of paths in the agent's frame out.

    Args:
        features: numbers of each agent (and mode).
        steps: to predict.
        dt: length of a step, s.
        settings: what kind of head.
        own: each mode has its own output layer, and features are ``[*agent 1 feature]``; else modes share one and differ by their features.
    """

    def __init__(self, features: int, steps: int, dt: float, settings: HeadSettings | None = None, own: bool = True) -> None:
        super().__init__()
        self.settings = settings = settings or HeadSettings()
        if steps < 1 or not dt > 0:
            raise ValueError(f"steps={steps}, dt={dt}; at least 1 step of a positive length was wanted")
        self.steps, self.dt, self.own = steps, dt, own
        self.knots = steps if settings.knots is None else min(settings.knots, steps)
        self.slips = settings.slip > 0 and settings.formulation in ("bicycle", "unicycle")
        self.per_mode = (5 + self.slips) * self.knots + 2  # two means, two standard deviations, a correlation, the slip a knot; the start's two
        copies = settings.modes if own else 1
        self.out, self.choice = nn.Linear(features, copies * self.per_mode), nn.Linear(features, copies)
        for layer in (self.out, self.choice):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.anchor = nn.Parameter(torch.randn(settings.modes, 2) * (settings.modes > 1))  # modes that start alike would stay alike
        self.log_floor = nn.Parameter(torch.tensor(math.log(settings.floor)), requires_grad=settings.learn_floor)
        self.register_buffer("between", _interpolation(self.knots, steps))
        self.register_buffer("spread", dt * torch.arange(1, steps + 1)[:, None].expand(steps, 2).clone())
        self.register_buffer("speed", torch.tensor(1.0))

    @torch.no_grad()
    def measure(self, spread: Float[Tensor, "time 2"], speed: float) -> None:
        """Set the scales of the outputs.

        Args:
            spread: root mean square error of constant velocity after each step, along and across, m.
            speed: typical speed, m/s.

        Raises:
            ValueError: another number of steps.
        """
        if spread.shape != self.spread.shape:
            raise ValueError(f"spread{tuple(spread.shape)}: [{self.steps} 2] was wanted")
        self.spread.copy_(spread.clamp(min=1e-2))
        self.speed.fill_(max(speed, 0.1))

    @property
    def floor(self) -> Float[Tensor, ""]:
        """Standard deviation of an observation, m."""
        return self.log_floor.exp()

    def logits(self, features: Float[Tensor, "*agent mode feature"]) -> Float[Tensor, "*agent k"]:
        """Of the modes."""
        return self.choice(features).flatten(-2)

    def outputs(self, features: Float[Tensor, "*agent mode feature"]) -> tuple[Tensor, Tensor]:
        """Raw outputs ``[*agent k 5 time]`` (6 where it slips) and those of the start ``[*agent k 2]``."""
        raw = self.out(features)
        raw = raw.squeeze(-2).unflatten(-1, (self.settings.modes, self.per_mode)) if self.own else raw
        at, start = raw[..., :-2].unflatten(-1, (5 + self.slips, self.knots)), raw[..., -2:]
        at = at @ self.between if self.settings.knots is not None else at
        shift = torch.cat((self.anchor, self.anchor.new_zeros(self.settings.modes, 3 + self.slips)), -1).unsqueeze(-1)
        return at + shift, start

    def scales(self) -> Scales:
        """Of means and standard deviations of the controls."""
        return Scales(self.spread, float(self.speed), self.dt, self.steps)

    def controls(self, features: Float[Tensor, "*agent mode feature"], start: Start, wheelbase: Float[Tensor, "*agent"] | None = None,
                 ) -> tuple[Controls, Start]:
        """Controls of every mode and step, and the start with an axis for modes; not for the ``position`` head.

        Raises:
            ValueError: the head has no controls.
        """
        if self.settings.formulation == "position":
            raise ValueError("the position head has no controls; take its mixture")
        raw, uncertain = self.outputs(features)
        begin = _with_modes(start)
        mean, spread, rho = raw[..., :2, :], nn.functional.softplus(raw[..., 2:4, :] + UNIT) + SMALLEST, 0.95 * torch.tanh(raw[..., 4, :])
        if self.settings.uncertain_start:
            begin = replace(begin, covariance=self._start_covariance(uncertain))
        length = None if wheelbase is None else wheelbase.unsqueeze(-1)
        return controls_of(self.settings, self.scales(), (mean, spread, rho), begin, length), begin

    def forward(self, features: Float[Tensor, "*agent mode feature"], start: Start, wheelbase: Float[Tensor, "*agent"] | None = None) -> PathMixture:
        """The mixture.

        Args:
            features: of every agent, and mode where modes share an output layer.
            start: position (usually zero), velocity and heading in the agent's frame, ``[*agent ...]``.
            wheelbase: of bicycles, m, ``[*agent]``; 2.8 where it is left out.
        """
        if self.settings.formulation == "position":
            at = self._positions(features, start)
        else:
            controls, begin = self.controls(features, start, wheelbase)
            at = propagate(self.settings.formulation, controls, begin, self.dt, propagation=self.settings.propagation, moments=self.settings.moments,
                           wheelbase=2.8 if wheelbase is None else wheelbase.unsqueeze(-1))
        noise = self.noise(features)[..., None, None] * torch.eye(2, dtype=at.mean.dtype, device=at.mean.device)
        return PathMixture(self.logits(features), at.mean, at.covariance + noise)

    def noise(self, features: Float[Tensor, "*agent mode feature"]) -> Float[Tensor, "*agent k time"] | Float[Tensor, "1"]:
        """Variance that no control makes, in both directions: of an observation, and of slip up to each step."""
        if not self.slips:
            return self.floor.square().reshape(1)
        each = nn.functional.softplus(self.outputs(features)[0][..., 5, :] + UNIT) + SMALLEST
        scale = self.settings.slip * self.spread[-1, 1] / math.sqrt(self.steps)
        return self.floor.square() + torch.cumsum((scale * each).square(), -1)

    def _positions(self, features: Tensor, start: Start) -> Positions:
        """Residuals on constant velocity, in units of what constant velocity errs after as many steps."""
        raw, _ = self.outputs(features)
        t = self.dt * torch.arange(1, self.steps + 1, dtype=raw.dtype, device=raw.device)[:, None]
        straight = start.position.unsqueeze(-2) + t * start.velocity.unsqueeze(-2)
        mean = straight.unsqueeze(-3) + self.spread * raw[..., :2, :].mT
        first, second = ((nn.functional.softplus(raw[..., 2:4, :].mT + UNIT) + SMALLEST) * self.spread).unbind(-1)
        cross = 0.95 * torch.tanh(raw[..., 4, :]) * first * second
        return Positions(mean, torch.stack((first.square(), cross, cross, second.square()), -1).unflatten(-1, (2, 2)))

    def _start_covariance(self, raw: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 4 4"]:
        """Of the velocity, or of heading and speed, at time zero."""
        steered = self.settings.formulation in ("bicycle", "unicycle")
        scale = torch.tensor([0.02, 0.1] if steered else [0.1, 0.1], dtype=raw.dtype, device=raw.device)
        var = (scale * nn.functional.softplus(raw + UNIT)).square()
        return torch.diag_embed(torch.cat((torch.zeros_like(var), var), -1))


def _with_modes(start: Start) -> Start:
    covariance = None if start.covariance is None else start.covariance.unsqueeze(-3)
    heading = None if start.heading is None else start.heading.unsqueeze(-1)
    return Start(start.position.unsqueeze(-2), start.velocity.unsqueeze(-2), heading, covariance)


def _interpolation(knots: int, steps: int) -> Float[Tensor, "knot time"]:
    """Linear between evenly spaced knots, the first and last at the first and last step."""
    if knots == 1:
        return torch.ones(1, steps)
    at = torch.linspace(0, knots - 1, steps)
    return (1 - (at - torch.arange(knots)[:, None]).abs()).clamp(min=0)
