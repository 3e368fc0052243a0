"""Collisions and excursions off the road of drawn futures: agents as points or as oriented boxes, that hit each other or the others as they went."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.metrics.collisions import struck
from trajlab.metrics.motion_axes import path_headings
from trajlab.metrics.motion_boxes import box_collisions

__all__ = ["BODIES", "Bodies", "Futures", "future_collisions", "off_road"]

BODIES = ("auto", "boxes", "points", "none")


@dataclass(frozen=True)
class Bodies:
    """What the agents are.

    Attributes:
        shape: ``boxes`` (length and width), ``points`` that collide closer than ``radius``, ``none``, or ``auto``: boxes where sizes are there.
        radius: between centres, m; 0.2 m is twice the 0.1 m of TrajNet++ (Kothari et al. 2021).
        between: of points, see `trajlab.metrics.collisions.nearest_approach`.

    Raises:
        ValueError: an unknown shape or a radius that is not positive.
    """

    shape: str = "auto"
    radius: float = 0.2
    between: bool | str = "midpoints"

    def __post_init__(self) -> None:
        if self.shape not in BODIES:
            raise ValueError(unknown("shape of agents", self.shape, BODIES))
        if not 0 < self.radius < math.inf:
            raise ValueError(f"radius={self.radius}: a positive distance between centres was wanted, in m")


@dataclass(frozen=True, eq=False)
class Futures:
    """Drawn and true futures of agents, and what is needed to turn them into boxes.

    Attributes:
        draws: ``[draw node time 2]``, m.
        truth: ``[node time 2]``, m.
        scene: of each node, sorted.
        mask: True where the truth was seen: only there is anything compared.
        heading: of the truth, ``[node time]``, rad.
        start, start_heading: the last given position ``[node 2]`` and heading ``[node]``, from which drawn paths take their first direction.
        size: length and width ``[node 2]``, m; None for points.
    """

    draws: Float[Tensor, "draw node time 2"]
    truth: Float[Tensor, "node time 2"]
    scene: Int[Tensor, "node"]
    mask: Bool[Tensor, "node time"]
    heading: Float[Tensor, "node time"]
    start: Float[Tensor, "node 2"]
    start_heading: Float[Tensor, "node"]
    size: Float[Tensor, "node 2"] | None = None


def future_collisions(futures: Futures, bodies: Bodies | None = None) -> dict[str, Float[Tensor, "node"]]:
    """Of each agent: ``collision`` the share of draws in which it hits another agent of the same draw, ``collision_with_truth`` in which it hits
    another as that really went, ``collision_of_truth`` whether the truth itself does; NaN for agents never seen. Empty for bodies of shape ``none``.

    Raises:
        ValueError: boxes are asked for and there are no sizes, or these are not positive.
    """
    bodies = bodies or Bodies()
    if bodies.shape == "none":
        return {}
    if bodies.shape == "boxes" and futures.size is None:
        raise ValueError("boxes were asked for, and no lengths and widths are there (static['length'] and static['width'] of the trajectories, m); "
                         "pass Bodies('points')")
    boxes = futures.size is not None and bodies.shape != "points"
    hits = _boxes(futures) if boxes else _points(futures, bodies)
    seen = futures.mask.any(-1)
    drawn = [(hits(draw, False), hits(draw, True)) for draw in futures.draws]
    found = {name: torch.stack(values).mean(0) for name, values in zip(("collision", "collision_with_truth"), zip(*drawn))}
    found["collision_of_truth"] = hits(None, False)
    return {name: torch.where(seen, value, math.nan) for name, value in found.items()}


def _points(futures: Futures, bodies: Bodies) -> Callable[[Tensor | None, bool], Tensor]:
    def hits(draw: Tensor | None, with_truth: bool) -> Tensor:
        x, others = (futures.truth if draw is None else draw), (futures.truth if with_truth else None)
        return struck(x, futures.scene, bodies.radius, futures.mask, bodies.between, others)

    return hits


def _boxes(futures: Futures) -> Callable[[Tensor | None, bool], Tensor]:
    def hits(draw: Tensor | None, with_truth: bool) -> Tensor:
        x = futures.truth.double() if draw is None else draw.double()
        heading = futures.heading if draw is None else path_headings(x, futures.start.double(), futures.start_heading.double())
        others = (futures.truth.double(), futures.heading) if with_truth else None
        return box_collisions(x, heading, futures.size.double(), futures.scene, futures.mask, others).double()

    return hits


def off_road(path: Float[Tensor, "draw node time 2"], mask: Bool[Tensor, "node time"], lanes: Any) -> tuple[Tensor, Tensor]:
    """Shares of predicted positions, and of predicted paths with any position, that lie on no drivable area, ``[node]`` each; NaN where none is seen.

    Args:
        path: drawn centres of agents, m.
        mask: True where a frame is looked at.
        lanes: a map with ``inside(points)``, such as `trajlab.data.lanes.LaneMap`, in the same frame of reference.

    Raises:
        TypeError: the map has no ``inside``.
    """
    if not hasattr(lanes, "inside"):
        raise TypeError(f"a LaneMap was wanted, or anything with inside(points[... 2]) -> bool; {type(lanes).__name__} came")
    points = torch.where(mask[..., None], path, 0.0).detach().cpu().double().numpy()
    outside = torch.from_numpy(~np.asarray(lanes.inside(points), dtype=bool)).to(mask.device) & mask
    seen = mask.any(-1)
    share = outside.double().sum(-1).mean(0) / mask.sum(-1)
    leaves = outside.any(-1).double().mean(0)
    return share, torch.where(seen, leaves, math.nan)
