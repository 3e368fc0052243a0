"""Joint covariance of kinematic states by nested cumulative sums: the extended Kalman recursion without a loop over time.

The step ``z' = F z + G noise`` of (x, y, heading, speed) has ``F = 1 + (a, b; a', b'; k)``: position moves with heading and speed, heading with
speed. F is unipotent and triangular, so no entry of ``P <- F P F^T + G Q G^T`` has itself in its increment: each is a cumulative sum of others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Step", "before", "joint_covariance", "joint_prefix"]


def before(q: Float[Tensor, "*batch time"], start: Tensor | float = 0.0) -> Float[Tensor, "*batch time"]:
    """Exclusive cumulative sum along time: the value before each step, from ``start``."""
    total = torch.cumsum(q, -1)
    return total - q + (start.unsqueeze(-1) if isinstance(start, Tensor) else start)


@dataclass(frozen=True)
class Step:
    """Derivatives and noise of every step, each ``[*batch time]``.

    Attributes:
        x_heading, x_speed: a, b: of the step in x, by heading and speed; likewise for y.
        heading_speed: k: of the step in heading, by speed; zero for the unicycle.
        heading_noise, speed_noise: variances w, q that a step adds to heading and speed.
        cross_noise: r, their covariance.
    """

    x_heading: Tensor
    x_speed: Tensor
    y_heading: Tensor
    y_speed: Tensor
    heading_speed: Tensor
    heading_noise: Tensor
    speed_noise: Tensor
    cross_noise: Tensor | float = 0.0


def joint_covariance(step: Step, start: Float[Tensor, "*_start 4 4"] | None = None) -> Float[Tensor, "*batch time 2 2"]:
    """Covariance of the position after each step, with all correlations of position, heading and speed.

    Args:
        step: derivatives and noise.
        start: covariance of (x, y, heading, speed) before the first step, broadcast; zero where it is left out.
    """
    a, b, c, d, k = step.x_heading, step.x_speed, step.y_heading, step.y_speed, step.heading_speed
    w, q, r = step.heading_noise, step.speed_noise, step.cross_noise
    known = torch.zeros(4, 4, dtype=q.dtype, device=q.device) if start is None else start
    vv = before(q, known[..., 3, 3])
    kv = k * vv
    tv = before(kv + r, known[..., 2, 3])
    ktv = k * tv
    tt = before(2 * ktv + k * kv + w, known[..., 2, 2])
    to_t, to_v = tt + ktv, tv + kv  # covariance of the state before with the heading after the step
    pair = torch.stack((a, c)), torch.stack((b, d))
    position_v = _before2(pair[0] * tv + pair[1] * vv, start, 3)
    position_t = _before2(k * position_v + pair[0] * to_t + pair[1] * to_v, start, 2)
    (xv, yv), (xt, yt) = position_v, position_t
    xx = 2 * (a * xt + b * xv) + a * a * tt + 2 * a * b * tv + b * b * vv
    yy = 2 * (c * yt + d * yv) + c * c * tt + 2 * c * d * tv + d * d * vv
    xy = c * xt + d * xv + a * yt + b * yv + a * c * tt + (a * d + c * b) * tv + b * d * vv
    xx, xy, yy = torch.cumsum(torch.stack((xx, xy, yy), -2), -1).unbind(-2)
    total = torch.stack((xx, xy, xy, yy), -1).unflatten(-1, (2, 2))
    return total if start is None else total + start[..., None, :2, :2]


def _before2(increments: Tensor, start: Tensor | None, column: int) -> Tensor:
    """Exclusive sums of an (x, y) pair, stacked in front."""
    found = torch.cumsum(increments, -1) - increments
    return found if start is None else found + torch.stack((start[..., 0, column], start[..., 1, column])).unsqueeze(-1)


def joint_prefix(step: Step, start: Float[Tensor, "*_start 4 4"] | None = None) -> Float[Tensor, "*batch time 4 4"]:
    """The full 4x4 covariance after each step, ``Phi_t Lambda_t Phi_t^T`` with prefix sums alone.

    ``Phi_t`` is the product of the steps up to t, ``Lambda_t = P_0 + sum_s Phi_s^-1 G_s Q_s G_s^T Phi_s^-T``; the covariance between two times is
    ``Phi_t Lambda_min(t,u) Phi_u^T``. Loses digits to cancellation where `joint_covariance` does not: for checks, and for densities of whole paths.
    """
    transition = _transition(step)
    inverse = _inverse(transition)
    zero = torch.zeros_like(step.speed_noise)
    cross = zero + step.cross_noise
    noise = torch.stack((torch.stack((zero + step.heading_noise, cross), -1), torch.stack((cross, step.speed_noise), -1)), -2)
    columns = inverse[..., :, 2:]
    total = torch.cumsum(columns @ noise @ columns.mT, -3)
    if start is not None:
        total = total + start.unsqueeze(-3)
    return transition @ total @ transition.mT


def _transition(step: Step) -> Float[Tensor, "*batch time 4 4"]:
    """Products of the steps ``F_t ... F_1`` by cumulative sums, since F is unipotent and triangular."""
    a, b, c, d, k = step.x_heading, step.x_speed, step.y_heading, step.y_speed, step.heading_speed
    k_before = before(k)
    rows = {(0, 2): torch.cumsum(a, -1), (0, 3): torch.cumsum(a * k_before + b, -1), (1, 2): torch.cumsum(c, -1),
            (1, 3): torch.cumsum(c * k_before + d, -1), (2, 3): torch.cumsum(k, -1)}
    found = torch.eye(4, dtype=a.dtype, device=a.device).expand(*torch.broadcast_shapes(a.shape, b.shape, k.shape), 4, 4).clone()
    for (i, j), value in rows.items():
        found[..., i, j] = value
    return found


def _inverse(transition: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Inverse of ``1 + N`` with ``N^3 = 0``: ``1 - N + N^2``."""
    one = torch.eye(4, dtype=transition.dtype, device=transition.device)
    nilpotent = transition - one
    return one - nilpotent + nilpotent @ nilpotent
