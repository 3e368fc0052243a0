"""The path that known controls make, by the exact Euler step: what noise is drawn through, and what linearised moments are checked against."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.dynamics.kinematics import FORMULATIONS, Start
from trajlab.dynamics.kinematics_joint import before

__all__ = ["path"]


def path(formulation: str, controls: Float[Tensor, "*batch time 2"], start: Start, dt: float, *, wheelbase: Tensor | float = 2.8,
         ) -> Float[Tensor, "*batch time 2"]:
    """Positions after each step, m: ``x += dt v cos(heading)`` and so on, then heading and speed change.

    Args:
        formulation: a name of `trajlab.dynamics.kinematics.FORMULATIONS`.
        controls: of every step, as `trajlab.dynamics.kinematics.Controls.mean`.
        start: its covariance is not looked at.
        dt: length of a step, s.
        wheelbase: of the bicycle, m, a number or ``[*batch]``.

    Raises:
        ValueError: an unknown name.
    """
    if formulation not in FORMULATIONS:
        raise ValueError(unknown("kinematic formulation", formulation, FORMULATIONS))
    first, second = controls.unbind(-1)
    if formulation == "velocity":
        moves = first, second
    elif formulation == "acceleration":
        moves = before(first * dt, start.velocity[..., 0]), before(second * dt, start.velocity[..., 1])
    elif formulation == "speed_heading":
        moves = first * second.cos(), first * second.sin()
    else:
        speed = before(first * dt, start.speed)
        length = wheelbase.unsqueeze(-1) if isinstance(wheelbase, Tensor) else wheelbase
        rate = second if formulation == "unicycle" else speed * second.tan() / length
        heading = before(rate * dt, start.direction)
        moves = speed * heading.cos(), speed * heading.sin()
    return torch.cumsum(torch.stack(moves, -2) * dt, -1).mT + start.position.unsqueeze(-2)
