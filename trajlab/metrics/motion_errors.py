"""Errors of the best of K paths with probabilities: minADE, minFDE, misses, Brier-weighted errors; for each agent and for whole scenes.

With d_k(t) the distance of path k from the truth at the frames where the truth was seen, ADE_k its mean and FDE_k its last value:

| name | definition |
|---|---|
| ``min_ade``, ``min_fde`` | least ADE_k and least FDE_k of the K likeliest paths; ``select="fde"`` takes the ADE of the path with the least FDE |
| ``miss`` | by one of three rules, `MISSES` |
| ``brier_min_fde`` | FDE_k* + (1 - p_k*)^2 of the path k* with the least FDE; ``brier="least"``: the least FDE_k + (1 - p_k)^2 |
| ``brier_min_ade`` | the same with the ADE, and the path with the least ADE |
| ``point_ade``, ``point_fde`` | of the likeliest path, or of the mean of equally likely ones |
| ``mean_ade``, ``mean_fde`` | of the mean path |
| ``expected_ade``, ``expected_fde`` | means of ADE_k and FDE_k by probability |
| ``joint_min_ade``, ``joint_min_fde``, ``joint_miss`` | of scenes: the mean over agents of each path before the least over paths |

Of more than K equally likely paths (draws) no one is first: then the best of K is the mean over all ways to choose K of them. A joint score is never
below the mean of those that choose for each agent. The definitions are those of the benchmarks Argoverse (Wilson et al. 2021), nuScenes (Caesar et
al. 2020) and Waymo Open Motion (Ettinger et al. 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.metrics.displacement import expected_best, final_of
from trajlab.metrics.forecasts import by_agent, by_scene
from trajlab.metrics.motion_hypotheses import Hypotheses

__all__ = ["BOX", "MISSES", "MotionErrorConfig", "box_miss", "path_distances", "path_errors", "speed_scale"]

#: A miss is: a least final error beyond the radius (``argoverse``, strictly); a path that leaves the radius at any frame (``nuscenes``, at it or
#: beyond), for all K paths.
MISSES = ("argoverse", "nuscenes")
CHOICES = {"miss": MISSES, "select": ("independent", "fde"), "final": ("last_seen", "last_frame"), "brier": ("best", "least")}

#: Half widths (m) across and along the true heading of the box of Waymo Open Motion, by the time ahead (s).
BOX = {3.0: (1.0, 2.0), 5.0: (1.8, 3.6), 8.0: (3.0, 6.0)}
SLOW, FAST = 1.4, 11.0  #: m/s, between which the box grows from half to full size


@dataclass(frozen=True)
class MotionErrorConfig:
    """How paths with probabilities are scored.

    Attributes:
        best_of: K; all by default.
        select: ``independent`` takes the least ADE and the least FDE each from its own path, ``fde`` both from the path with the least FDE.
        miss: ``argoverse`` or ``nuscenes``, see `MISSES`; the box of Waymo Open Motion is `box_miss`.
        miss_radius: in the unit of length.
        final: where the final error is taken: at the frame an agent was ``last_seen``, or at the ``last_frame``, where an agent that isn't seen
            has no final error.
        brier: ``best`` or ``least``, see this module's table.

    Raises:
        ValueError: a name is unknown, or a number is not positive.
    """

    best_of: int | None = None
    select: str = "independent"
    miss: str = "argoverse"
    miss_radius: float = 2.0
    final: str = "last_seen"
    brier: str = "best"

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name in CHOICES and getattr(self, field.name) not in CHOICES[field.name]:
                raise ValueError(f"MotionErrorConfig: {unknown(field.name, str(getattr(self, field.name)), CHOICES[field.name])}")
        if (self.best_of is not None and self.best_of < 1) or not self.miss_radius > 0:
            raise ValueError(f"MotionErrorConfig: best_of={self.best_of} and miss_radius={self.miss_radius} must be positive")


class PathErrors(NamedTuple):
    """Scores by the names of this module's table: of agents ``[node]`` and of scenes ``[scene]``; NaN where nothing was seen."""

    agents: dict[str, Tensor]
    scenes: dict[str, Tensor]


def path_distances(said: Hypotheses, truth: Float[Tensor, "node time dim"], mask: Bool[Tensor, "node time"]) -> Float[Tensor, "mode node time"]:
    """Distances of the paths from the truth, 0 where it was not seen; float64.

    Raises:
        ValueError: shapes do not fit, or a scored value is not finite.
    """
    nodes, _, frames, dim = said.path.shape
    if truth.shape != (nodes, frames, dim) or mask.shape != (nodes, frames):
        raise ValueError(f"path{tuple(said.path.shape)}, truth{tuple(truth.shape)} and mask{tuple(mask.shape)}: path[node mode time dim], "
                         "truth[node time dim] and mask[node time] were wanted")
    far = torch.stack([(said.path[:, k].double() - truth.double()).norm(dim=-1) for k in range(said.n_modes)])
    far = torch.where(mask, far, 0.0)
    if not bool(torch.isfinite(far).all()):
        mode, node, frame = (~torch.isfinite(far)).nonzero()[0].tolist()
        raise ValueError(f"path {mode} or the truth of node {node} is not finite at frame {frame}, and it is scored; a forecast that blew up has no "
                         "score, and what is missing is masked")
    return far


def path_errors(
    said: Hypotheses, truth: Float[Tensor, "node time dim"], scene: Int[Tensor, "node"], mask: Bool[Tensor, "node time"] | None = None,
    config: MotionErrorConfig | None = None,
) -> PathErrors:
    """Scores of paths with probabilities, in the unit of length.

    Joint scores are there only where an index means one future of the whole scene (`Hypotheses.joint`).

    Args:
        said: the paths.
        truth: what came.
        scene: of each node, sorted.
        mask: True where the truth was seen; hidden values are not looked at.
        config: the choices.

    Raises:
        ValueError: shapes do not fit, a scored value is not finite, or there are fewer paths than ``best_of``.
    """
    config = config or MotionErrorConfig()
    mask = torch.ones(truth.shape[:2], dtype=torch.bool, device=truth.device) if mask is None else mask
    best_of = said.n_modes if config.best_of is None else config.best_of
    joint = said.joint(scene)
    if joint and len(scene):  # rounding must not rank the modes of one scene in two ways
        said = Hypotheses(said.path, said.probability[torch.searchsorted(scene.contiguous(), scene.contiguous())], said.covariance)
    kept = said.top(best_of) if not said.equal or best_of > said.n_modes else said
    far = path_distances(kept, truth, mask)
    ade, fde = by_agent(far, mask), final_of(far, mask, config.final)
    weight = kept.probability.T.double() if not said.equal else torch.full_like(ade, 1 / best_of)
    agents = _best(ade, fde, _missed(far, fde, mask, config), best_of, config)
    agents |= {name: expected_best(key + (1 - weight).square(), key + (1 - weight).square() if config.brier == "least" else key, best_of)
               for name, key in (("brier_min_ade", ade), ("brier_min_fde", fde))}
    agents |= _single(said, truth, mask, config)
    if not joint:
        return PathErrors(agents, {})
    return PathErrors(agents, _joint((far, ade, fde), scene, mask, best_of, config))


def _missed(far: Tensor, fde: Tensor, mask: Tensor, config: MotionErrorConfig) -> Float[Tensor, "mode node"]:
    if config.miss == "argoverse":
        return torch.where(fde.isnan(), fde, (fde > config.miss_radius).to(fde))
    worst = torch.where(mask, far, -math.inf).amax(-1)
    return torch.where(mask.any(-1), (worst >= config.miss_radius).to(far), math.nan)


def _best(ade: Tensor, fde: Tensor, missed: Tensor, best_of: int, config: MotionErrorConfig) -> dict[str, Tensor]:
    key = fde if config.select == "fde" else ade
    return {"min_ade": expected_best(ade, key, best_of), "min_fde": expected_best(fde, fde, best_of), "miss": expected_best(missed, missed, best_of)}


def _joint(scores: tuple[Tensor, Tensor, Tensor], scene: Tensor, mask: Tensor, best_of: int, config: MotionErrorConfig) -> dict[str, Tensor]:
    """Means over agents before the best of K; a scene is missed by a path whose mean final error (greatest distance) over agents is."""
    far, ade, fde = scores
    ade, fde = by_scene(ade, scene), by_scene(fde, scene)
    if config.miss == "argoverse":
        missed = torch.where(fde.isnan(), fde, (fde > config.miss_radius).to(fde))
    else:
        worst = by_scene(torch.where(mask.any(-1), torch.where(mask, far, 0.0).amax(-1), math.nan), scene)
        missed = torch.where(worst.isnan(), worst, (worst >= config.miss_radius).to(worst))
    return {f"joint_{name}": value for name, value in _best(ade, fde, missed, best_of, config).items()}


def _single(said: Hypotheses, truth: Tensor, mask: Tensor, config: MotionErrorConfig) -> dict[str, Tensor]:
    found = {}
    for name, path in (("point", said.point), ("mean", said.mean)):
        off = torch.where(mask, (path - truth.double()).norm(dim=-1), 0.0)
        found |= {f"{name}_ade": by_agent(off, mask), f"{name}_fde": final_of(off, mask, config.final)}
    every = path_distances(said, truth, mask)
    weight = said.probability.T.double()
    for name, value in (("ade", by_agent(every, mask)), ("fde", final_of(every, mask, config.final))):
        found[f"expected_{name}"] = (weight * value).sum(0)
    return found


def speed_scale(speed: Float[Tensor, "node"]) -> Float[Tensor, "node"]:
    """Of the box: 0.5 up to 1.4 m/s, 1 from 11 m/s, linear between."""
    return (0.5 + 0.5 * (speed - SLOW) / (FAST - SLOW)).clamp(0.5, 1.0)


def box_miss(
    offset: Float[Tensor, "mode node horizon 2"], speed: Float[Tensor, "node"], horizon: Float[Tensor, "horizon"],
) -> Float[Tensor, "node horizon"]:
    """1 where no path is inside the box of Waymo Open Motion at 3, 5 or 8 s, 0 where one is, NaN where there is no offset.

    Args:
        offset: of each path from the truth, along and across the true heading (`trajlab.metrics.motion_axes.along_across`), m.
        speed: of each agent at the last given frame, m/s.
        horizon: time ahead of each offset, s; those of `BOX`.

    Raises:
        ValueError: another horizon.
    """
    limits = []
    for ahead in horizon.tolist():
        near = min(BOX, key=lambda known, ahead=ahead: abs(known - ahead))
        if abs(near - ahead) > 1e-6:
            raise ValueError(f"there is no box for {ahead:g} s ahead; there are those for {', '.join(f'{known:g}' for known in BOX)} s")
        limits.append(BOX[near][::-1])
    limit = offset.new_tensor(limits).reshape(-1, 2) * speed_scale(speed.to(offset))[:, None, None]  # [node horizon 2]
    inside = (offset.abs() <= limit).all(-1).any(0)
    return torch.where(offset.isnan().any(-1).any(0), math.nan, 1.0 - inside.to(offset))
