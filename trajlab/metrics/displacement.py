"""Displacement errors of forecasts: of the draws, of their mean and median, of the best of K; for each agent and for whole scenes.

With the distance d_k(n, f) = |draw_k - truth| of draw k, node n and frame f, over the frames at which the truth was seen:

| name | definition for an agent; the score of a scene is the mean over its agents |
|---|---|
| ``ade``, ``fde`` | mean over draws of the mean over frames of d, and of d at the last frame |
| ``ade_of_mean``, ``fde_of_mean`` | the same of the mean of the draws, one forecast |
| ``ade_of_median``, ``fde_of_median`` | the same of their geometric median at each frame, the point forecast that a distance asks for |
| ``best_ade``, ``best_fde`` | the least of K draws, chosen for each agent (minADE, minFDE) |
| ``joint_best_ade``, ``joint_best_fde`` | the least of K draws of the scene's mean, one draw for all its agents (minSADE, minSFDE) |
| ``miss``, ``joint_miss`` | share of agents, or of scenes, whose ``best_fde`` (``joint_best_fde``) is beyond the miss radius |

A joint score is never below the one that chooses for each agent, where a scene has all its agents: say which one it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.metrics.forecasts import aligned, by_agent, by_scene, first_agents, scored
from trajlab.metrics.geometric_median import geometric_median
from trajlab.types import Forecast, Trajectories

__all__ = ["Displacement", "DisplacementConfig", "displacement", "displacement_of", "expected_best", "final_of"]

CHOICES = {"agents": ("all", "first"), "final": ("last_seen", "last_frame"), "select": ("independent", "fde"), "choice": ("expected", "first")}


@dataclass(frozen=True)
class DisplacementConfig:
    """How displacement is scored.

    Attributes:
        best_of: K of the best of K; all draws by default.
        miss_radius: in the unit of length; strictly beyond it is a miss.
        agents: ``all``, or the ``first`` of each scene only (the focal agent of a window of pedestrians).
        final: where the final error of an agent is taken: at the frame it was ``last_seen``, or at the ``last_frame``; with the latter an agent
            that is not seen there has no final error.
        select: ``independent`` takes the least average and the least final error each from its own draw; ``fde`` takes both from the draw with the
            least final error.
        choice: which K of more draws: ``expected`` is the mean over all ways to choose K of them (they are exchangeable), ``first`` takes the
            first K (they are ranked).

    Raises:
        ValueError: a name is unknown, or a number is not positive.
    """

    best_of: int | None = None
    miss_radius: float = 2.0
    agents: Literal["all", "first"] = "all"
    final: Literal["last_seen", "last_frame"] = "last_seen"
    select: Literal["independent", "fde"] = "independent"
    choice: Literal["expected", "first"] = "expected"

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name in CHOICES and getattr(self, field.name) not in CHOICES[field.name]:
                raise ValueError(f"DisplacementConfig: {unknown(field.name, str(getattr(self, field.name)), CHOICES[field.name])}")
        if (self.best_of is not None and self.best_of < 1) or not self.miss_radius > 0:
            raise ValueError(f"DisplacementConfig: best_of={self.best_of} and miss_radius={self.miss_radius} must be positive")


@dataclass(frozen=True, eq=False)
class Displacement:
    """Scores by the names of this module's table, float64, NaN for an agent or scene that was never seen.

    Attributes:
        per_agent: name to ``[node]`` (of the scored agents; no joint scores).
        per_scene: name to ``[scene]``; what a paired comparison takes.
        scene: the scene of each scored agent, ``[node]``.
        best_of: the K of the best of K.
    """

    per_agent: Mapping[str, Tensor]
    per_scene: Mapping[str, Tensor]
    scene: Int[Tensor, "node"]
    best_of: int

    def mean(self, name: str, by: str = "scene") -> float:
        """A score over all scenes (each counts once), or over all agents (each counts once).

        Raises:
            ValueError: the name is unknown.
        """
        if by not in ("scene", "agent"):
            raise ValueError(f"by={by!r}: 'scene' or 'agent' was wanted")
        table = self.per_scene if by == "scene" else self.per_agent
        if name not in table:
            raise ValueError(unknown("displacement score", name, list(table)))
        return float(table[name].nanmean())

    def table(self, by: str = "scene") -> dict[str, float]:
        """All scores by name."""
        return {name: self.mean(name, by) for name in (self.per_scene if by == "scene" else self.per_agent)}


def displacement(
    draws: Float[Tensor, "draw node time dim"], truth: Float[Tensor, "_node _time _dim"], scene: Int[Tensor, "_node"],
    mask: Bool[Tensor, "_node _time"] | None = None, config: DisplacementConfig | None = None,
) -> Displacement:
    """Displacement errors, in the unit of length of the draws.

    Args:
        draws: sampled futures.
        truth: what came.
        scene: scene of each node, sorted.
        mask: True where the truth was seen; what is hidden is not looked at.
        config: the choices of protocol.

    Raises:
        ValueError: shapes do not fit, a scored value is not finite, or there are fewer draws than ``best_of``.
    """
    config = config or DisplacementConfig()
    draws, truth, mask = scored(draws, truth, scene, mask)
    best_of = len(draws) if config.best_of is None else config.best_of
    if best_of > len(draws):
        raise ValueError(f"the best of {best_of} was asked for, and there are {len(draws)} draws; draw more, or lower best_of")
    scenes = int(scene.max()) + 1 if len(scene) else 0
    if config.agents == "first":
        keep = first_agents(scene)
        draws, truth, mask, scene = draws[:, keep], truth[keep], mask[keep], scene[keep]
    agents, joint = _scores(draws, truth, scene, mask, scenes, best_of, config)
    return Displacement(agents, {**{k: by_scene(v, scene, scenes) for k, v in agents.items()}, **joint}, scene, best_of)


def displacement_of(forecast: Forecast, truth: Trajectories, config: DisplacementConfig | None = None, stopped: str = "refuse") -> Displacement:
    """`displacement` of a forecast; ``truth`` may hold the whole window. See `trajlab.metrics.forecasts.aligned` for the errors raised."""
    return displacement(*aligned(forecast, truth, stopped), config)


def _scores(
    draws: Tensor, truth: Tensor, scene: Tensor, mask: Tensor, scenes: int, best_of: int, config: DisplacementConfig
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Scores of agents ``[node]``, and the joint ones ``[scene]``."""
    truth = truth.double()
    far = torch.stack([(draw.double() - truth).norm(dim=-1) for draw in draws])  # one draw at a time: half the memory
    ade, fde = by_agent(far, mask), final_of(far, mask, config.final)
    agents = {"ade": ade.mean(0), "fde": fde.mean(0)}
    for name, point in (("mean", draws.mean(0, dtype=torch.float64)), ("median", geometric_median(draws))):
        off = (point - truth).norm(dim=-1)
        agents |= {f"ade_of_{name}": by_agent(off, mask), f"fde_of_{name}": final_of(off, mask, config.final)}
    joint_ade, joint_fde = by_scene(ade, scene, scenes), by_scene(fde, scene, scenes)
    joint = {f"joint_{k}": v for k, v in _best(joint_ade, joint_fde, best_of, config).items()}
    return agents | _best(ade, fde, best_of, config), joint


def final_of(far: Float[Tensor, "*draw node time"], mask: Bool[Tensor, "node time"], final: str) -> Float[Tensor, "*draw node"]:
    """Values at the frame each agent was ``last_seen``, or at the ``last_frame``; NaN where there is none."""
    frames = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    last = (mask * frames).amax(-1) if final == "last_seen" else mask[:, -1] * mask.shape[1]
    picked = far.gather(-1, (last - 1).clamp(min=0).expand(far.shape[:-1])[..., None])[..., 0]
    return torch.where(last > 0, picked, math.nan)


def _best(ade: Tensor, fde: Tensor, best_of: int, config: DisplacementConfig) -> dict[str, Tensor]:
    """The best of K of ``[draw item]``."""
    if config.choice == "first":
        ade, fde = ade[:best_of], fde[:best_of]
    miss = torch.where(fde.isnan(), fde, (fde > config.miss_radius).to(fde))
    chosen = {"best_ade": (ade, fde if config.select == "fde" else ade), "best_fde": (fde, fde), "miss": (miss, miss)}
    return {name: expected_best(value, key, best_of) for name, (value, key) in chosen.items()}


def expected_best(value: Float[Tensor, "draw item"], key: Float[Tensor, "draw item"], best_of: int) -> Float[Tensor, "item"]:
    """Mean, over all ways to choose K of the M draws, of ``value`` where ``key`` is least: the i-th in order is it in C(M-i, K-1) of C(M, K) ways."""
    draws = len(value)
    ways = [math.comb(draws - i, best_of - 1) / math.comb(draws, best_of) for i in range(1, draws + 1)]
    ranked = value.gather(0, key.argsort(dim=0, stable=True))
    return (ranked * ranked.new_tensor(ways)[:, None]).sum(0)
