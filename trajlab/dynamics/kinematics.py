"""How uncertain controls move an agent: mean and covariance of its position over the horizon, in closed form and differentiable.

Controls are independent from step to step (or AR(1)), ``mean + std * noise``. Explicit Euler: x and y move with the speed and heading before the
step, then heading and speed change; an acceleration of the first step first shows in the second position. Angles are radians, counter-clockwise
from x; everything vectorises over leading axes (agents, modes) and no function loops over time.

Formulations (the first four are those of "Deep Stochastic Kinematic Models", arXiv 2406.01431):

- ``velocity``: components of the velocity,
- ``acceleration``: components of the acceleration,
- ``speed_heading``: speed and heading,
- ``bicycle``: acceleration along the heading and steering angle, ``heading' = v tan(steering) / L``,
- ``unicycle``: acceleration along the heading and heading rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.dynamics.kinematics_joint import Step, before, joint_covariance

__all__ = ["FORMULATIONS", "Controls", "Positions", "Start", "propagate"]

PROPAGATIONS = ("joint", "marginal")
MOMENTS = ("exact", "linear")


@dataclass(frozen=True)
class Controls:
    """Two control variables of each step.

    Attributes:
        mean: ``[*batch time 2]``: (vx, vy) m/s, (ax, ay) m/s^2, (speed, heading), (acceleration, steering) or (acceleration, heading rate).
        std: their standard deviations, ``[*batch time 2]``.
        rho: correlation of the two within a step, ``[*batch time]``; zero where it is left out.
        persistence: correlation r of the noise of neighbouring steps, AR(1); zero for independent steps.
    """

    mean: Float[Tensor, "*batch time 2"]
    std: Float[Tensor, "*batch time 2"]
    rho: Float[Tensor, "*batch time"] | None = None
    persistence: float = 0.0


@dataclass(frozen=True)
class Start:
    """What is known at time zero.

    Attributes:
        position: ``[*batch 2]``, m.
        velocity: ``[*batch 2]``, m/s.
        heading: ``[*batch]``, rad; the direction of the velocity where it is left out.
        covariance: of (x, y, heading, speed), or of (x, y, vx, vy) for ``velocity`` and ``acceleration``, ``[*batch 4 4]``, broadcast; zero where
            it is left out.
    """

    position: Float[Tensor, "*batch 2"]
    velocity: Float[Tensor, "*batch 2"]
    heading: Float[Tensor, "*batch"] | None = None
    covariance: Float[Tensor, "*_known 4 4"] | None = None

    @property
    def direction(self) -> Float[Tensor, "*batch"]:
        """The heading."""
        return torch.atan2(self.velocity[..., 1], self.velocity[..., 0]) if self.heading is None else self.heading

    @property
    def speed(self) -> Float[Tensor, "*batch"]:
        """The velocity along the heading; negative in reverse."""
        if self.heading is None:
            return self.velocity.norm(dim=-1)
        return self.velocity[..., 0] * self.heading.cos() + self.velocity[..., 1] * self.heading.sin()


@dataclass(frozen=True)
class Positions:
    """Gaussian positions.

    Attributes:
        mean: ``[*batch time 2]``.
        covariance: ``[*batch time 2 2]``.
    """

    mean: Float[Tensor, "*batch time 2"]
    covariance: Float[Tensor, "*batch time 2 2"]

    def rotated(self, angle: Float[Tensor, "*batch"], origin: Float[Tensor, "*batch 2"]) -> Positions:
        """From the agent's frame (x along ``angle``, zero at ``origin``) to the world: ``R mean + origin``, ``R cov R^T``."""
        c, s = angle.cos(), angle.sin()
        turn = torch.stack((torch.stack((c, -s), -1), torch.stack((s, c), -1)), -2).unsqueeze(-3)
        return Positions((turn @ self.mean.unsqueeze(-1)).squeeze(-1) + origin.unsqueeze(-2), turn @ self.covariance @ turn.mT)

    def with_floor(self, std: float) -> Positions:
        """With the noise of an observation added: ``cov + std^2``."""
        return Positions(self.mean, self.covariance + std**2 * torch.eye(2, dtype=self.mean.dtype, device=self.mean.device))


@dataclass(frozen=True)
class How:
    """Length of a step in s, and what is kept: joint covariances, exact moments; the wheelbase in m, a number or ``[*batch]``."""

    dt: float
    joint: bool = True
    exact: bool = True
    wheelbase: Tensor | float = 2.8


def propagate(formulation: str, controls: Controls, start: Start, dt: float, *, propagation: str = "joint", moments: str = "exact",
              wheelbase: Tensor | float = 2.8, floor: float = 0.0) -> Positions:
    """Mean and covariance of the position after each step.

    Args:
        formulation: a name of `FORMULATIONS`.
        controls: with mean, std, correlation within and between steps.
        start: position, velocity, heading and their covariance.
        dt: length of a step, s.
        propagation: ``joint`` keeps the covariances of position, velocity and heading; ``marginal`` adds up variances as if each step's state were
            independent of the last (the published form for accelerations and the bicycle, where it misses a factor of about ``1.5 / steps``).
        moments: of sine and cosine of an uncertain heading, for ``speed_heading``: ``exact`` or ``linear`` in the heading noise. The other
            formulations are linear in velocity components, or linearised about their mean path (bicycle, unicycle).
        wheelbase: of the bicycle, m, a number or ``[*batch]``.
        floor: standard deviation of an observation, m, added to every position.

    Raises:
        ValueError: an unknown name, a step that is not positive, shapes that disagree, or AR(1) noise with marginal propagation.
    """
    if formulation not in FORMULATIONS:
        raise ValueError(unknown("kinematic formulation", formulation, FORMULATIONS))
    if propagation not in PROPAGATIONS:
        raise ValueError(unknown("propagation", propagation, PROPAGATIONS))
    if moments not in MOMENTS:
        raise ValueError(unknown("moments", moments, MOMENTS))
    if not dt > 0:
        raise ValueError(f"dt={dt}; a step longer than 0 s was wanted")
    if controls.mean.shape != controls.std.shape or controls.mean.shape[-1] != 2:
        raise ValueError(f"controls have mean {tuple(controls.mean.shape)} and std {tuple(controls.std.shape)}; [*batch time 2] was wanted for both")
    if not -1 < controls.persistence < 1:
        raise ValueError(f"persistence={controls.persistence}; a correlation of neighbouring steps within (-1, 1) was wanted")
    if controls.persistence and propagation == "marginal":
        raise ValueError("marginal propagation knows no noise that persists; take propagation='joint'")
    found = FORMULATIONS[formulation](controls, start, How(dt, propagation == "joint", moments == "exact", wheelbase))
    return found.with_floor(floor) if floor else found


def _velocity(controls: Controls, start: Start, how: How) -> Positions:
    """``x' = vx, y' = vy``: exact."""
    mean = _sum(controls.mean * how.dt) + start.position.unsqueeze(-2)
    if controls.persistence:
        from trajlab.dynamics.kinematics_persistent import components

        return Positions(mean, _plus(components(controls, how.dt, order=1), start))
    return Positions(mean, _plus(_matrices(torch.cumsum(_noise(controls) * how.dt**2, -1)), start))


def _sum(rates: Float[Tensor, "*batch time 2"]) -> Float[Tensor, "*batch time 2"]:
    return torch.cumsum(rates.mT.contiguous(), -1).mT  # sums along the last axis are several times faster


def _noise(controls: Controls) -> Float[Tensor, "*batch 3 time"]:
    """Covariance of the two controls of each step as (xx, xy, yy), time last."""
    first, second = controls.std.unbind(-1)
    cross = torch.zeros_like(first) if controls.rho is None else controls.rho * first * second
    return torch.stack((first.square(), cross, second.square()), -2)


def _matrices(entries: Float[Tensor, "*batch 3 time"]) -> Float[Tensor, "*batch time 2 2"]:
    xx, xy, yy = entries.unbind(-2)
    return torch.stack((xx, xy, xy, yy), -1).unflatten(-1, (2, 2))


def _entries(matrix: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch 3 1"]:
    """Of a symmetric matrix."""
    return torch.stack((matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]), -1).unsqueeze(-1)


def _plus(covariance: Float[Tensor, "*batch time 2 2"], start: Start) -> Float[Tensor, "*batch time 2 2"]:
    return covariance if start.covariance is None else covariance + start.covariance[..., None, :2, :2]


def _acceleration(controls: Controls, start: Start, how: How) -> Positions:
    """``v' = a, x' = v``. Nested sums, exclusive (E) and inclusive (I): ``vv = E[q]``, ``xv = E[dt vv]``, ``xx = I[2 dt xv + dt^2 vv]``."""
    dt, known = how.dt, start.covariance
    steps = controls.mean.mT.contiguous() * dt
    velocity = torch.cumsum(steps, -1) - steps + start.velocity.unsqueeze(-1)
    mean = torch.cumsum(velocity * dt, -1).mT + start.position.unsqueeze(-2)
    if controls.persistence:
        from trajlab.dynamics.kinematics_persistent import components

        covariance = components(controls, dt, order=2)
        return Positions(mean, covariance if known is None else covariance + _coasting(known, dt, mean.shape[-2]))
    noise = _noise(controls) * dt**2
    vv = torch.cumsum(noise, -1) - noise + (0.0 if known is None else _entries(known[..., 2:, 2:]))
    added = vv * dt**2
    if how.joint:
        twice = 2 * dt * vv  # increments of xv and its transpose together
        added = added + dt * (torch.cumsum(twice, -1) - twice + (0.0 if known is None else _entries(known[..., :2, 2:] + known[..., 2:, :2])))
    return Positions(mean, _plus(_matrices(torch.cumsum(added, -1)), start))


def _coasting(covariance: Tensor, dt: float, steps: int) -> Tensor:
    """What an uncertain start adds to the position where the velocity is kept: ``xx + t (xv + vx) + t^2 vv``."""
    t = dt * torch.arange(1, steps + 1, dtype=covariance.dtype, device=covariance.device)[:, None, None]
    xx, xv, vv = (covariance[..., None, i, j] for i, j in ((slice(0, 2), slice(0, 2)), (slice(0, 2), slice(2, 4)), (slice(2, 4), slice(2, 4))))
    return xx + t * (xv + xv.mT) + t**2 * vv


def _speed_heading(controls: Controls, start: Start, how: How) -> Positions:
    """``x' = s cos(heading), y' = s sin(heading)`` with independent steps; exact moments of a Gaussian heading, or linear ones."""
    if controls.persistence:
        raise ValueError("noise that persists is not there for speed and heading; take another formulation")
    if controls.rho is not None:
        raise ValueError("speed and heading of a step are taken as independent; leave out rho")
    speed, heading = controls.mean.unbind(-1)
    var_speed, var_heading = controls.std.square().unbind(-1)
    cos, sin = heading.cos(), heading.sin()
    if how.exact:
        damp = torch.exp(-var_heading / 2)
        square, damp4 = speed.square() + var_speed, torch.exp(-2 * var_heading)
        cos2, sin2 = cos.square() - sin.square(), 2 * sin * cos
        mean = speed * damp * cos, speed * damp * sin
        xx, yy = square * (1 + damp4 * cos2) / 2 - mean[0].square(), square * (1 - damp4 * cos2) / 2 - mean[1].square()
        xy = square * damp4 * sin2 / 2 - mean[0] * mean[1]
    else:
        mean = speed * cos, speed * sin
        turn, both = speed.square() * var_heading, var_speed * var_heading
        xx = cos.square() * var_speed + sin.square() * (turn + both)
        yy = sin.square() * var_speed + cos.square() * (turn + both)
        xy = sin * cos * (var_speed - turn - both)
    covariance = _matrices(torch.cumsum(torch.stack((xx, xy, yy), -2) * how.dt**2, -1))
    return Positions(torch.cumsum(torch.stack(mean, -2) * how.dt, -1).mT + start.position.unsqueeze(-2), _plus(covariance, start))


def _bicycle(controls: Controls, start: Start, how: How) -> Positions:
    return _steered(controls, start, how, how.wheelbase)


def _unicycle(controls: Controls, start: Start, how: How) -> Positions:
    return _steered(controls, start, how, None)


def _steered(controls: Controls, start: Start, how: How, wheelbase: Tensor | float | None) -> Positions:
    """``x' = v cos, y' = v sin, heading' = v tan(steering) / L (bicycle) or the rate itself (unicycle), v' = a``, linearised about the mean."""
    if wheelbase is not None and bool((torch.as_tensor(wheelbase) <= 0).any()):
        raise ValueError(f"wheelbase={wheelbase}; a positive length was wanted")
    dt = how.dt
    acceleration, turn = controls.mean.unbind(-1)
    var_a, var_turn = controls.std.square().unbind(-1)
    speed = before(acceleration * dt, start.speed)
    if wheelbase is None:
        gain, by_turn, rate = torch.zeros_like(turn), torch.full_like(turn, dt), turn * dt
    else:
        length = wheelbase.unsqueeze(-1) if isinstance(wheelbase, Tensor) else wheelbase
        tan = turn.tan()
        gain = tan * dt / length
        by_turn, rate = speed * (1 + tan.square()) * dt / length, speed * gain
    heading = before(rate, start.direction)
    cos, sin = heading.cos(), heading.sin()
    mean = torch.cumsum(torch.stack((speed * cos, speed * sin), -2) * dt, -1).mT + start.position.unsqueeze(-2)
    cross = 0.0 if controls.rho is None else controls.rho * controls.std[..., 0] * controls.std[..., 1] * by_turn * dt
    step = Step(-speed * sin * dt, cos * dt, speed * cos * dt, sin * dt, gain, by_turn.square() * var_turn, var_a * dt**2, cross)
    if controls.persistence:
        from trajlab.dynamics.kinematics_persistent import steered

        return Positions(mean, steered(controls, step, by_turn, dt, start.covariance))
    if how.joint:
        return Positions(mean, joint_covariance(step, start.covariance))
    return Positions(mean, _marginal(controls, start, step, dt, wheelbase))


def _marginal(controls: Controls, start: Start, step: Step, dt: float, wheelbase: Tensor | float | None) -> Tensor:
    """Variances of heading and speed added up, then those of the position, each as if independent of what came before (published form).

    tan of the steering to first order: variance ``sec^4 var``; products of independent variables: ``m_u^2 var_v + m_v^2 var_u + var_u var_v``.
    """
    known = start.covariance
    var_speed = before(step.speed_noise, 0.0 if known is None else known[..., 3, 3])
    speed_cos, speed_sin = step.y_heading / dt, -step.x_heading / dt
    cos, sin = step.x_speed / dt, step.y_speed / dt
    if wheelbase is None:
        added = step.heading_noise
    else:
        length = wheelbase.unsqueeze(-1) if isinstance(wheelbase, Tensor) else wheelbase
        tan = controls.mean[..., 1].tan()
        var_tan = (1 + tan.square()).square() * controls.std[..., 1].square()
        added = step.heading_noise + (dt / length) ** 2 * (var_speed * tan.square() + var_speed * var_tan)
    var_heading = before(added, 0.0 if known is None else known[..., 2, 2])
    both = var_speed * var_heading
    xx = cos.square() * var_speed + speed_sin.square() * var_heading + sin.square() * both
    yy = sin.square() * var_speed + speed_cos.square() * var_heading + cos.square() * both
    xy = sin * cos * (var_speed - both) - speed_sin * speed_cos * var_heading
    return _plus(_matrices(torch.cumsum(torch.stack((xx, xy, yy), -2) * dt**2, -1)), start)


#: name -> (controls, start, how) -> `Positions`.
FORMULATIONS: dict[str, Callable[[Controls, Start, How], Positions]] = {
    "velocity": _velocity,
    "acceleration": _acceleration,
    "speed_heading": _speed_heading,
    "bicycle": _bicycle,
    "unicycle": _unicycle,
}
