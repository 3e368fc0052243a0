r"""Momentum, motion of the centre of mass and angular momentum, restored exactly after a predicted step.

Given raw displacements d and velocities v' over a stride D, for each system on its own

    V     = sum m v / M
    v'   += V - sum m v' / M                     linear momentum
    d    += V D - sum m d / M                    the centre of mass moves by P D / M, whatever P is
    r'    = (x - X) + d - V D                    positions about the new centre of mass
    v'   += w x r',   w = pinv(I') (L - L')      angular momentum; isolated systems only

The pseudo-inverse covers linear molecules (rank 2) and single atoms (rank 0, for which the result is v' = v, d = V D). Its relative
cutoff is a trade for nearly linear molecules, where the correction grows like the inverse root of the smallest moment of inertia.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.particles import Particles

RTOL = 1e-4


def spread(value: Tensor, p: Particles) -> Tensor:
    """A value a system, handed to its nodes."""
    return value.index_select(0, p.scene)


def inertia_tensor(r: Tensor, p: Particles) -> Tensor:
    """sum m (|r|^2 1 - r r^T) for positions relative to the centre of mass, ``[scene 3 3]``."""
    second = p.scene_sum((p.mass[:, None] * r)[:, :, None] * r[:, None, :])
    trace = second.diagonal(dim1=1, dim2=2).sum(-1)
    return trace[:, None, None] * torch.eye(3, dtype=r.dtype, device=r.device) - second


def conserve(
    p: Particles, displacement: Float[Tensor, "node 3"], velocity: Float[Tensor, "node 3"], stride: Float[Tensor, "scene"]
) -> tuple[Float[Tensor, "node 3"], Float[Tensor, "node 3"]]:
    """Correct a raw step so that momentum, centre of mass and (isolated systems) angular momentum are those of the input.

    Args:
        p: the state before the step.
        displacement, velocity: the raw prediction, Angstrom and Angstrom/fs, float64.
        stride: D of each system, fs.
    """
    mass = p.mass[:, None]
    total = p.scene_sum(p.mass)[:, None]
    drift = p.scene_sum(mass * p.v) / total
    velocity = velocity + spread(drift - p.scene_sum(mass * velocity) / total, p)
    displacement = displacement + spread(drift * stride[:, None] - p.scene_sum(mass * displacement) / total, p)
    isolated = p.isolated
    if not bool(isolated.any()):
        return displacement, velocity
    r = p.x - spread(p.scene_sum(mass * p.x) / total, p)
    after = r + displacement - spread(drift * stride[:, None], p)
    mine = spread(drift, p)
    lost = p.scene_sum(mass * (torch.linalg.cross(r, p.v - mine) - torch.linalg.cross(after, velocity - mine)))
    # periodic systems get no turn: their inertia about an arbitrary origin means nothing
    keep = isolated.to(r.dtype)[:, None]
    turn = torch.linalg.pinv(inertia_tensor(after, p), rtol=RTOL, hermitian=True) @ (lost * keep)[..., None]
    return displacement, velocity + torch.linalg.cross(spread(turn[..., 0], p), after)
