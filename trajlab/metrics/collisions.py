"""Collisions: how often two agents of a scene come closer than a radius, in draws and in the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.metrics.forecasts import aligned, by_scene, pairs_within
from trajlab.types import Forecast, Trajectories

__all__ = ["CollisionRates", "collision_rate", "collisions", "nearest_approach", "struck"]

BETWEEN = (False, True, "midpoints")


def nearest_approach(
    x: Float[Tensor, "node time dim"], pairs: Int[Tensor, "2 pair"], mask: Bool[Tensor, "node time"] | None = None, between: bool | str = False,
    others: Float[Tensor, "node time dim"] | None = None,
) -> Float[Tensor, "pair"]:
    """The smallest distance of each pair over the frames at which both were seen; infinite where there are none.

    Args:
        x: positions.
        pairs: indices of nodes.
        mask: True where a node was seen.
        between: also between neighbouring frames, where both move along straight lines: agents that cross between frames pass through each other.
            ``"midpoints"`` looks half way between frames only, as the first collision measure of TrajNet++ does (Kothari et al. 2021).
        others: where the second of each pair is taken from, for instance the truth; ``x`` by default.

    Raises:
        ValueError: ``between`` is unknown.
    """
    if between not in BETWEEN:
        raise ValueError(f"between={between!r}: False, True or 'midpoints' was wanted")
    seen = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
    both = seen[pairs[0]] & seen[pairs[1]]
    second = x if others is None else others
    apart = torch.where(both[..., None], second[pairs[1]].double() - x[pairs[0]].double(), 0.0)
    nearest = torch.where(both, apart.norm(dim=-1), math.inf).amin(-1)
    if not between or x.shape[1] < 2:
        return nearest
    start, step = apart[:, :-1], apart.diff(dim=1)
    square = step.square().sum(-1)
    share = (-(start * step).sum(-1) / torch.where(square > 0, square, 1.0)).clamp(0, 1) if between is True else torch.full_like(square, 0.5)
    passing = (start + share[..., None] * step).norm(dim=-1)
    return torch.minimum(nearest, torch.where(both[:, :-1] & both[:, 1:], passing, math.inf).amin(-1))


def struck(
    x: Float[Tensor, "node time dim"], scene: Int[Tensor, "node"], radius: float, mask: Bool[Tensor, "node time"] | None = None,
    between: bool | str = False, others: Float[Tensor, "node time dim"] | None = None,
) -> Float[Tensor, "node"]:
    """1 for each agent that comes closer than ``radius`` to another of its scene at some frame, 0 for the rest, NaN for those never seen.

    Args:
        x: positions.
        scene: scene of each node, sorted.
        radius: in the unit of length, between centres (twice that of a body); strictly closer is a collision.
        mask: True where a node was seen.
        between: see `nearest_approach`.
        others: what may be hit, for instance the true paths of the others; the ``x`` of the others by default.

    Raises:
        ValueError: the radius is not positive, or ``between`` is unknown.
    """
    if not 0 < radius < math.inf:
        raise ValueError(f"radius={radius}: a positive distance was wanted, in the unit of the positions")
    pairs = pairs_within(scene)
    pairs = pairs if others is None else torch.cat((pairs, pairs.flip(0)), 1)
    near = pairs[:, nearest_approach(x, pairs, mask, between, others) < radius]
    hit = near.flatten() if others is None else near[0]
    found = torch.zeros(len(scene), dtype=torch.float64, device=x.device).index_fill_(0, hit, 1.0)
    return found if mask is None else torch.where(mask.any(-1), found, math.nan)


def collision_rate(
    x: Float[Tensor, "node time dim"], scene: Int[Tensor, "node"], radius: float, mask: Bool[Tensor, "node time"] | None = None,
    between: bool | str = False,
) -> Float[Tensor, "scene"]:
    """Share of the agents of each scene that come closer than ``radius`` to another of it at some frame; 0 for a single agent.

    Arguments and errors are those of `struck`; an agent that was never seen is not counted.
    """
    return by_scene(struck(x, scene, radius, mask, between), scene)


@dataclass(frozen=True, eq=False)
class CollisionRates:
    """Shares of agents that collide, over the same frames.

    Attributes:
        draws: mean over draws, of each scene ``[scene]``.
        truth: of each scene ``[scene]``: not zero where people walk together, or positions are noisy.
        radius: in the unit of length.
    """

    draws: Float[Tensor, "scene"]
    truth: Float[Tensor, "scene"]
    radius: float

    def table(self) -> dict[str, float]:
        """The two figures by name."""
        return {"collisions": float(self.draws.nanmean()), "collisions of the truth": float(self.truth.nanmean())}


def collisions(forecast: Forecast, truth: Trajectories, radius: float, between: bool | str = False, stopped: str = "refuse") -> CollisionRates:
    """Collision rates of the draws of a forecast and of what came, both where the truth was seen.

    Raises:
        ValueError: a periodic cell (distances here are those of open space), a radius that is not positive, or as
            `trajlab.metrics.forecasts.aligned`.
    """
    if truth.cell is not None:
        raise ValueError("these trajectories have a periodic cell, and collisions are counted in open space; drop cell and pbc if none matters")
    draws, true, scene, mask = aligned(forecast, truth, stopped)
    drawn = torch.stack([collision_rate(draw, scene, radius, mask, between) for draw in draws]).mean(0)
    return CollisionRates(drawn, collision_rate(true, scene, radius, mask, between), radius)
