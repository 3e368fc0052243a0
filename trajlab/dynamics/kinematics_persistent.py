"""Controls whose noise persists from step to step, ``noise_t = r noise_(t-1) + sqrt(1 - r^2) fresh``: covariance from the sensitivities of a path.

``cov_t = sum_su J_ts std_s r^|s-u| std_u J_tu^T`` with ``J_ts`` the derivative of position t by control s; ``r^|s-u| = C C^T``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.kinematics_joint import Step, before, joint_covariance

if TYPE_CHECKING:
    from trajlab.dynamics.kinematics import Controls

__all__ = ["ar1_factor", "components", "steered"]


def ar1_factor(steps: int, r: float, like: Tensor) -> Float[Tensor, "time time"]:
    """``C`` with ``C C^T = r^|s-u|``, lower triangular: ``C_s0 = r^s``, ``C_su = sqrt(1 - r^2) r^(s-u)``."""
    index = torch.arange(steps, dtype=like.dtype, device=like.device)
    gap = index[:, None] - index
    factor = torch.where(gap >= 0, torch.as_tensor(r, dtype=like.dtype, device=like.device) ** gap.clamp(min=0), 0.0)
    scale = torch.full((steps,), (1 - r**2) ** 0.5, dtype=like.dtype, device=like.device)
    scale[0] = 1.0
    return factor * scale


def components(controls: Controls, dt: float, order: int) -> Float[Tensor, "*batch time 2 2"]:
    """Of velocity components (order 1) or acceleration components (order 2), whose effect does not depend on the path."""
    steps = controls.mean.shape[-2]
    index = torch.arange(steps, dtype=controls.mean.dtype, device=controls.mean.device)
    gap = index[:, None] - index
    effect = torch.where(gap >= 0, torch.full_like(gap, dt), 0.0) if order == 1 else torch.where(gap > 0, gap * dt**2, 0.0)
    factor = ar1_factor(steps, controls.persistence, controls.mean)
    spread = (effect * controls.std.mT.unsqueeze(-2)) @ factor  # [*batch 2 time source]
    return _outer(spread[..., 0, :, :], spread[..., 1, :, :], controls.rho)


def _outer(first: Tensor, second: Tensor, rho: Tensor | None) -> Tensor:
    """Sums over sources; a correlation between the two controls of a step must be the same for all steps, then it is one of the fresh noise."""
    cross = torch.zeros_like(first[..., 0]) if rho is None else _constant(rho) * (first * second).sum(-1)
    return torch.stack((first.square().sum(-1), cross, cross, second.square().sum(-1)), -1).unflatten(-1, (2, 2))


def _constant(rho: Tensor) -> Tensor:
    if not bool(torch.allclose(rho, rho[..., :1])):
        raise ValueError("with noise that persists, rho must be the same for all steps")
    return rho[..., :1]


def steered(controls: Controls, step: Step, by_turn: Tensor, dt: float, start: Tensor | None) -> Float[Tensor, "*batch time 2 2"]:
    """Of bicycle and unicycle, linearised about the mean path.

    A kick of the heading at s moves the position at t by ``(X_h(t) - X_h(s), Y_h(t) - Y_h(s))`` with X_h the sums of the derivatives; one of the
    speed by the same difference of the sums with ``a k_before + b``, less the heading that speed alone had turned by then.
    """
    k_before = before(step.heading_speed)
    k_after = k_before + step.heading_speed
    by_heading = torch.cumsum(torch.stack((step.x_heading, step.y_heading), -2), -1)  # [*batch 2 time]
    by_speed = torch.cumsum(torch.stack((step.x_heading * k_before + step.x_speed, step.y_heading * k_before + step.y_speed), -2), -1)
    steps = by_heading.shape[-1]
    later = torch.ones(steps, steps, dtype=torch.bool, device=by_heading.device).tril(-1)
    heading = torch.where(later, by_heading.unsqueeze(-1) - by_heading.unsqueeze(-2), 0.0)  # [*batch 2 t s]
    speed = torch.where(later, by_speed.unsqueeze(-1) - by_speed.unsqueeze(-2) - k_after[..., None, None, :] * heading, 0.0)
    factor = ar1_factor(steps, controls.persistence, controls.mean)
    acceleration = (speed * (dt * controls.std[..., 0])[..., None, None, :]) @ factor
    turn = (heading * (by_turn * controls.std[..., 1])[..., None, None, :]) @ factor
    total = torch.einsum("...its,...jts->...tij", acceleration, acceleration) + torch.einsum("...its,...jts->...tij", turn, turn)
    if controls.rho is not None:
        cross = _constant(controls.rho)[..., None, None] * torch.einsum("...its,...jts->...tij", acceleration, turn)
        total = total + cross + cross.mT
    if start is None:
        return total
    still = torch.zeros_like(step.speed_noise)
    quiet = Step(step.x_heading, step.x_speed, step.y_heading, step.y_speed, step.heading_speed, still, still)
    return total + joint_covariance(quiet, start)
