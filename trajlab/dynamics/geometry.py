"""What kinetics needs to know of the masses and positions of a batch, computed once and kept with the `Particles`.

A thermostat changes velocities several times between two moves, and everything about the inertia stays as it was. `with_velocities`
and `moved` make the next `Particles` and hand on what is still true, which halves the cost of a step of small systems.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.particles import Particles

RTOL = 1e-4  #: eigenvalues of the inertia tensor below this share of the largest count as zero
FLOOR = 1e-6  #: a trace below this, amu A^2, is rounding: a single atom, or atoms on one spot (H2 has 0.6)
_TRACE = torch.eye(3, dtype=torch.float64).flatten()
_TURNED = torch.outer(_TRACE, _TRACE) - torch.eye(9, dtype=torch.float64)  # sum m r r^T, flattened, to the inertia tensor
_CROSS = torch.zeros(3, 9, dtype=torch.float64)  # r to the matrix, flattened, that turns v into r x v
for _i, _j, _k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    _CROSS[_k, 3 * _j + _i], _CROSS[_k, 3 * _i + _j] = 1.0, -1.0


@dataclass(frozen=True, eq=False)
class Masses:
    """What depends on masses and sizes alone.

    ``column[node 1]`` and ``total[scene 1]``, amu; ``isolated[scene]``; ``free[scene]`` = 3N - 3; ``first[scene]``, the first node
    of each system; ``place[node 3]``, the components of each system counted backwards from its last; ``spins``, whether any system
    is isolated, so that L matters, and ``mixed``, whether some are and others are not; ``root[node 1]`` = 1/sqrt(m); ``share[scene 1 n]``
    = m/M where all systems have the same number n of nodes, else None.
    """

    column: Tensor
    total: Tensor
    isolated: Tensor
    free: Tensor
    first: Tensor
    place: Tensor
    spins: bool
    mixed: bool
    root: Tensor
    share: Tensor | None


@dataclass(frozen=True, eq=False)
class Inertia:
    """``r[node 3]`` from the centre of mass; pseudo-``inverse[scene 3 3]`` (zero for periodic systems) and its ``rank[scene]``.

    For systems of equal size, ``lever[scene 3n 3]``, whose transpose turns velocities into -L, and ``turn[scene 3n 3]``, which turns L
    into the velocities -w x r: two matrix products instead of a dozen sums and gathers.
    """

    r: Tensor
    inverse: Tensor
    rank: Tensor
    lever: Tensor | None = None
    turn: Tensor | None = None


def masses(p: Particles) -> Masses:
    """The masses of ``p``, kept with it."""
    kept = p.__dict__.get("_masses")
    if kept is None or kept[0] != p.mass._version:
        kept = p.__dict__["_masses"] = (p.mass._version, _masses(p))
    return kept[1]


def _masses(p: Particles) -> Masses:
    isolated, sizes = p.isolated, p.sizes
    ends = sizes.cumsum(0)
    node = torch.arange(1, len(p.mass) + 1, device=p.mass.device)
    place = 3 * (ends[p.scene] - node)[:, None] + torch.arange(2, -1, -1, device=p.mass.device)
    spins = bool(isolated.any())
    total = p.scene_sum(p.mass)[:, None]
    equal = bool((sizes == sizes[0]).all())
    share = (p.mass / total[p.scene, 0]).view(p.n_scenes, 1, -1) if equal else None
    return Masses(p.mass[:, None], total, isolated, (3 * sizes - 3).to(p.x.dtype), ends - sizes, place.to(p.x.dtype), spins,
                  spins and not bool(isolated.all()), p.mass.rsqrt()[:, None], share)


def inertia_of(p: Particles) -> Inertia:
    """The inertia of ``p`` about its centres of mass, kept with it."""
    kept = p.__dict__.get("_inertia")
    if kept is None or kept[0] != p.x._version:
        kept = p.__dict__["_inertia"] = (p.x._version, _inertia(p))
    return kept[1]


def _inertia(p: Particles) -> Inertia:
    m, r = masses(p), centred(p, p.x)
    if m.share is None:
        inverse, rank = _of_isolated(m, *inverse_inertia(inertia_tensor(p, r)))
        return Inertia(r, inverse, rank)
    arm = torch.mm(r, _CROSS.to(r))
    lever = (arm * m.column).view(p.n_scenes, -1, 3)
    arm = arm.view(p.n_scenes, -1, 3)
    inverse, rank = _of_isolated(m, *inverse_inertia(torch.bmm(arm.mT, lever)))
    return Inertia(r, inverse, rank, lever, torch.bmm(arm, inverse))


def _of_isolated(m: Masses, inverse: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    return (inverse * m.isolated[:, None, None], rank * m.isolated) if m.mixed else (inverse, rank)


def with_velocities(p: Particles, v: Float[Tensor, "node 3"]) -> Particles:
    """``p`` with other velocities; what is known of its inertia stays known."""
    new = object.__new__(type(p))
    new.__dict__.update(p.__dict__)
    new.__dict__["v"] = v
    return new


def moved(p: Particles, x: Float[Tensor, "node 3"], v: Float[Tensor, "node 3"]) -> Particles:
    """``p`` at other positions with other velocities; the masses stay known."""
    new = with_velocities(p, v)
    new.__dict__["x"] = x
    new.__dict__.pop("_inertia", None)
    return new


def centred(p: Particles, value: Float[Tensor, "node 3"]) -> Float[Tensor, "node 3"]:
    """A node vector without its mass-weighted mean in each system."""
    m = masses(p)
    if m.share is None:
        return value - (p.scene_sum(m.column * value) / m.total).index_select(0, p.scene)
    stacked = value.view(p.n_scenes, -1, 3)
    return (stacked - torch.bmm(m.share, stacked)).view(-1, 3)


def inertia_tensor(p: Particles, r: Float[Tensor, "node 3"]) -> Float[Tensor, "scene 3 3"]:
    """sum m (|r|^2 1 - r r^T)."""
    second = p.scene_sum(((masses(p).column * r)[:, :, None] * r[:, None, :]).flatten(1))
    return (second @ _TURNED.to(second)).unflatten(1, (3, 3))


def inverse_inertia(tensor: Float[Tensor, "scene 3 3"]) -> tuple[Float[Tensor, "scene 3 3"], Float[Tensor, "scene"]]:
    """The Hermitian pseudo-inverse of inertia tensors with the relative cutoff `RTOL`, and their ranks; NaN stays NaN.

    Ordinary molecules are simply inverted. The ratio of the smallest eigenvalue to the largest is at least 1/(tr I tr I^-1);
    only where that leaves it open whether an eigenvalue lies below the cutoff, the eigenvalues are looked at.
    """
    inverse = torch.linalg.inv_ex(tensor)[0]
    ones = _TRACE.to(tensor)
    trace = tensor.flatten(1) @ ones
    spread = (inverse.flatten(1) @ ones).mul_(trace)
    rank = torch.full_like(spread, 3.0)
    low, high = torch.aminmax(spread)
    if not (bool(low > 0) and bool(high < 1 / RTOL) and bool(trace.min() > FLOOR)):
        odd = torch.nonzero(~((spread > 0) & (spread < 1 / RTOL) & (trace > FLOOR)))[:, 0]
        inverse[odd], rank[odd] = _pseudo_inverse(tensor[odd])
    return inverse, rank


def _pseudo_inverse(tensor: Tensor) -> tuple[Tensor, Tensor]:
    good = torch.isfinite(tensor).flatten(1).all(1)
    body = tensor.diagonal(dim1=1, dim2=2).sum(1) > FLOOR
    safe = torch.where((good & body)[:, None, None], tensor, 0.0)
    value = torch.linalg.eigvalsh(safe)
    rank = ((value > RTOL * value[:, -1:]) & (value > 0)).sum(1).to(tensor.dtype)
    inverse = torch.linalg.pinv(safe, rtol=RTOL, hermitian=True)
    return torch.where(good[:, None, None], inverse, torch.nan), rank
