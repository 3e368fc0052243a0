"""Whether a vehicle could drive a path: speed changes, curvature, and how rough the path is.

Velocities are the steps of the path over their times, the explicit Euler convention: v_t moves x_t to x_{t+1}. A transition is from one velocity to
the next. It is infeasible if |dv/dt| > 10.4 m/s^2 for the speed, or the curvature, change of direction over v dt + a dt^2 / 2, is beyond 0.3 1/m; the
curvature counts as 0 where either speed is below 0.6 m/s, for a path that stands has no direction. The thresholds are those of Gulino et al. 2023
("Waymax", arXiv 2310.08710).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Drivable", "FeasibilityConfig", "drivable", "roughness"]

TOLERANCE = 1e-3  #: by which a limit may be passed


@dataclass(frozen=True)
class FeasibilityConfig:
    """Limits of a vehicle.

    Attributes:
        acceleration: greatest |dv/dt|, m/s^2.
        curvature: greatest, 1/m.
        slow: speed below which there is no curvature, m/s.
        jerk: greatest change of the acceleration of the speed, m/s^3; not looked at by default.

    Raises:
        ValueError: a limit is not positive.
    """

    acceleration: float = 10.4
    curvature: float = 0.3
    slow: float = 0.6
    jerk: float | None = None

    def __post_init__(self) -> None:
        for name in ("acceleration", "curvature", "slow", "jerk"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"FeasibilityConfig: {name}={value} must be positive")


@dataclass(frozen=True, eq=False)
class Drivable:
    """Of each transition ``[*batch time]``, one less than the velocities; NaN (or False) where a frame of it was not there.

    Attributes:
        speed: before it, m/s.
        acceleration: of the speed, m/s^2.
        curvature: 1/m, positive to the left.
        jerk: of the speed, m/s^3; NaN at the first.
        infeasible: any limit is passed.
        there: True where all frames were.
    """

    speed: Float[Tensor, "*batch time"]
    acceleration: Float[Tensor, "*batch time"]
    curvature: Float[Tensor, "*batch time"]
    jerk: Float[Tensor, "*batch time"]
    infeasible: Bool[Tensor, "*batch time"]
    there: Bool[Tensor, "*batch time"]

    @property
    def rate(self) -> Float[Tensor, "*batch"]:
        """Share of infeasible transitions; NaN where there are none."""
        return self.infeasible.double().sum(-1) / self.there.sum(-1)


def drivable(
    path: Float[Tensor, "*batch frame 2"], dt: Float[Tensor, "*_batch step"], mask: Bool[Tensor, "*_batch frame"] | None = None,
    config: FeasibilityConfig | None = None,
) -> Drivable:
    """Judge the transitions of paths of at least 3 frames.

    Args:
        path: positions, m; the last given one first, so that a jump away from it counts.
        dt: time between frames, s, broadcast over the batch; one less than frames.
        mask: True where a position is there, broadcast over the batch.
        config: the limits.

    Raises:
        ValueError: fewer than 3 frames, or shapes that do not fit.
    """
    config = config or FeasibilityConfig()
    frames = path.shape[-2]
    if path.shape[-1] != 2 or frames < 3 or dt.shape[-1] != frames - 1:
        raise ValueError(f"path{tuple(path.shape)} and dt{tuple(dt.shape)}: positions [... frame 2] of at least 3 frames and the {frames - 1} times "
                         "between them were wanted")
    seen = torch.ones(path.shape[:-1], dtype=torch.bool, device=path.device) if mask is None else mask.expand(path.shape[:-1])
    x = torch.where(seen[..., None], path.double(), 0.0)
    velocity = x.diff(dim=-2) / dt.double()[..., None]
    there = seen[..., :-2] & seen[..., 1:-1] & seen[..., 2:]
    speed = velocity.norm(dim=-1)
    step = dt.double()[..., :-1]
    acceleration = speed.diff(dim=-1) / step
    curvature = _curvature(velocity, speed, acceleration, step, config.slow)
    jerk = torch.nn.functional.pad(acceleration.diff(dim=-1) / step[..., 1:], (1, 0), value=math.nan)
    jerk = torch.where(there & torch.nn.functional.pad(there[..., :-1], (1, 0)), jerk, math.nan)
    beyond = (acceleration.abs() > config.acceleration + TOLERANCE) | (curvature.abs() > config.curvature + TOLERANCE)
    beyond = beyond if config.jerk is None else beyond | (jerk.abs() > config.jerk + TOLERANCE)
    hide = lambda value: torch.where(there, value, math.nan)  # noqa: E731
    return Drivable(hide(speed[..., :-1]), hide(acceleration), hide(curvature), jerk, beyond & there, there)


def _curvature(velocity: Tensor, speed: Tensor, acceleration: Tensor, step: Tensor, slow: float) -> Float[Tensor, "*batch time"]:
    angle = torch.atan2(velocity[..., 1], velocity[..., 0]).diff(dim=-1)
    turn = torch.atan2(angle.sin(), angle.cos())
    way = speed[..., :-1] * step + acceleration * step.square() / 2
    moving = (speed[..., :-1] >= slow) & (speed[..., 1:] >= slow)
    return torch.where(moving, turn / torch.where(moving, way, 1.0), 0.0)


def roughness(
    path: Float[Tensor, "*batch frame 2"], dt: Float[Tensor, "*_batch step"], mask: Bool[Tensor, "*_batch frame"] | None = None,
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Root mean square of the acceleration (m/s^2) and jerk (m/s^3) vectors of paths, by differences; NaN where there are too few frames."""
    seen = torch.ones(path.shape[:-1], dtype=torch.bool, device=path.device) if mask is None else mask.expand(path.shape[:-1])
    value, step, found = torch.where(seen[..., None], path.double(), 0.0), dt.double(), []
    for order in range(3):
        value = value.diff(dim=-2) / step[..., None]
        seen = seen[..., 1:] & seen[..., :-1]
        step = (step[..., 1:] + step[..., :-1]) / 2
        if order:
            square = torch.where(seen, value.square().sum(-1), 0.0)
            found.append((square.sum(-1) / seen.sum(-1)).sqrt())
    return found[0], found[1]
