"""Windows of motion chosen for pictures from above: agents, lanes around them, and how the first of them moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.evaluate.drawn import chosen
from trajlab.evaluate.figures import numbers
from trajlab.evaluate.motion_results import MotionProfile, MotionScene
from trajlab.metrics.forecasts import aligned
from trajlab.metrics.motion_axes import headings
from trajlab.metrics.motion_feasibility import FeasibilityConfig, drivable
from trajlab.metrics.motion_hypotheses import hypotheses
from trajlab.types import Forecast, Trajectories

__all__ = ["motion_scenes"]

MOST_PATHS = 20  #: of an agent
MOST_AGENTS = 10  #: whose forecasts are drawn
NEAR = 5.0  #: m, that agents may be apart in a picture at least
MOVED = 0.5  #: m in the given frames: those who moved less have no path worth a line


def motion_scenes(forecast: Forecast, truth: Trajectories | None = None, most: int = 4, rank: Float[Tensor, "scene"] | None = None,
                  lanes: Any = None, limits: FeasibilityConfig | None = None) -> list[MotionScene]:
    """Some windows of a forecast in the plane, in metres and seconds.

    Args:
        forecast: with a mixture or draws.
        truth: what came, as `trajlab.metrics.motion_scores.motion_scores` takes it.
        most: how many windows.
        rank: an error of each scene: windows are then chosen evenly from small to large, the median first.
        lanes: a `trajlab.data.lanes.LaneMap` in the same frame, or nothing.
        limits: of what a vehicle can do, for the profiles; None for agents that are none.

    Raises:
        ValueError: positions that have not two dimensions.
    """
    past = forecast.past
    if past.dim != 2:
        raise ValueError(f"positions have {past.dim} dimensions, and motion in the plane was wanted; take two of them")
    if not past.n_scenes or not forecast.draws.shape[2] or most < 1:
        return []
    came = None
    if truth is not None:
        _, true, _, mask = aligned(forecast.replace(log_weight=None), truth, "skip")
        came = np.where(numbers(mask)[..., None], numbers(true.double()), np.nan)
    said = hypotheses(forecast, "auto")
    arrays = {"path": numbers(said.path[:, :MOST_PATHS].double()), "probability": numbers(said.probability[:, :MOST_PATHS].double()),
              "covariance": None if said.covariance is None else numbers(said.covariance[:, :MOST_PATHS].double()), "truth": came}
    return [_scene(forecast, arrays, k, words, lanes, limits) for k, words in chosen(past.n_scenes, most, rank)]


def _scene(forecast: Forecast, arrays: dict[str, Any], k: int, words: str, lanes: Any, limits: FeasibilityConfig | None) -> MotionScene:
    past = forecast.past.scenes([k])
    nodes = slice(int(forecast.past.ptr[k]), int(forecast.past.ptr[k + 1]))
    given = np.where(numbers(past.mask)[..., None], numbers(past.x.double()), np.nan)
    ahead = numbers((forecast.time[k] - past.time[0, -1]).double())
    said = {name: None if value is None else value[nodes] for name, value in arrays.items()}
    order = _order(past, given)
    lead = int(order[0])
    focal = np.zeros(len(given), dtype=bool)
    focal[_company(order, given, said["path"])[:MOST_AGENTS]] = True
    take = np.r_[lead, np.delete(np.arange(len(given)), lead)]  # the one whose profiles are shown comes first
    profiles = _profiles(given[lead], numbers(past.time[0] - past.time[0, -1]), said, lead, ahead, limits)
    map_lines, areas = _lanes(lanes, given[focal], said["path"][focal])
    note = _note(float(ahead[-1]), int(focal.sum()), len(given), profiles, said["covariance"] is None, said["probability"].shape[1])
    return MotionScene(
        f"Window {k}" + (f": {words}" if words else ""), given[take], said["path"][take], said["probability"][take], ahead,
        None if said["covariance"] is None else said["covariance"][take], None if said["truth"] is None else said["truth"][take],
        _heading(past)[take], _size(past)[take], focal[take], map_lines, areas, profiles, note)


def _note(horizon: float, drawn: int, agents: int, profiles: list[MotionProfile], draws: bool, paths: int) -> str:
    parts = ["Dots are at whole seconds."] if horizon >= 1 else []
    parts += [f"Forecasts are drawn of {drawn} agent{'s' if drawn > 1 else ''}, others ({agents - drawn}) are grey."] if drawn < agents else []
    if profiles:
        which = "" if paths == 1 else " in the first draw" if draws else " by the likeliest path"
        shaded = "; what no vehicle does is shaded, where it is in sight" if profiles[-1].limit else ""
        parts.append(f"Below: how the first agent (blue) moves{which}{shaded}.")
    return " ".join(parts)


def _order(past: Trajectories, given: np.ndarray) -> np.ndarray:
    """Agents in the order in which they matter: those the window is around, then those seen last that moved most."""
    seen = np.isfinite(given[:, -1]).all(-1)
    first = np.array([row[np.isfinite(row).all(-1)][0] if np.isfinite(row).all(-1).any() else (np.nan, np.nan) for row in given])
    moved = np.nan_to_num(np.linalg.norm(given[:, -1] - first, axis=-1), nan=-1.0)
    around = numbers(past.static["focal"]).astype(float) if "focal" in past.static else np.zeros(len(given))
    order = np.lexsort((-moved, ~seen, -around))
    keep = (around[order] > 0) | ((moved[order] >= MOVED) & (around.max() == 0))
    return order[keep] if keep.any() else order[:1]


def _company(order: np.ndarray, given: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Those of an order who are near its first, by what that one does: the picture has to stay one of a street."""
    lead = order[0]
    whole = np.concatenate([given[lead], path[lead].reshape(-1, 2)])
    whole = whole[np.isfinite(whole).all(-1)]
    reach = max(NEAR, float(np.linalg.norm(np.ptp(whole, axis=0))))
    away = np.linalg.norm(given[order, -1] - given[lead, -1], axis=-1)
    return order[np.nan_to_num(away, nan=0.0 if len(order) == 1 else np.inf) <= reach]


def _heading(past: Trajectories) -> np.ndarray:
    """At the last given frame; not known where none was recorded and the agent hardly moved."""
    angle = numbers(headings(past))[:, -1]
    if "heading" in past.extra:
        return angle
    seen = past.mask.any(-1)
    moved = (past.x - past.x[:, :1]).norm(dim=-1).where(past.mask, torch.zeros(())).amax(-1)
    return np.where(numbers(seen & (moved > MOVED)), angle, np.nan)


def _size(past: Trajectories) -> np.ndarray:
    if not {"length", "width"} <= set(past.static):
        return np.full((past.n_nodes, 2), np.nan)
    return np.stack([numbers(past.static["length"].double()), numbers(past.static["width"].double())], -1)


def _lanes(lanes: Any, given: np.ndarray, path: np.ndarray) -> tuple[dict[str, list[np.ndarray]], list[np.ndarray]]:
    """What of the map lies around the agents that are drawn."""
    if lanes is None:
        return {}, []
    every = np.concatenate([given.reshape(-1, 2), path.reshape(-1, 2)])
    every = every[np.isfinite(every).all(-1)]
    low, high = every.min(0), every.max(0)
    near = lanes.near((low + high) / 2, float((high - low).max()) / 2 + 20.0)
    found = {kind: near.of_kind(kind) for kind in sorted(set(near.kinds))}
    return found, list(near.areas)


def _profiles(given: np.ndarray, clock: np.ndarray, said: dict[str, Any], lead: int, ahead: np.ndarray, limits: FeasibilityConfig | None,
              ) -> list[MotionProfile]:
    """Speed, acceleration and curvature of the likeliest path, after the last given position, and of what was and came."""
    if len(ahead) < 3 or not np.isfinite(given[-1]).all():
        return []
    path = said["path"][lead, said["probability"][lead].argmax()]
    came = np.full((len(ahead), 2), np.nan) if said["truth"] is None else said["truth"][lead]
    time = np.concatenate([clock, ahead])
    rows = np.stack([np.concatenate([np.full((len(given) - 1, 2), np.nan), given[-1:], path]), np.concatenate([given, came])])
    seen = torch.from_numpy(np.isfinite(rows).all(-1))
    moves = drivable(torch.from_numpy(np.nan_to_num(rows)), torch.from_numpy(np.diff(time)), seen, limits)
    at = time[1:-1]
    value = {"speed, m/s": (moves.speed, None), "acceleration, m/s²": (moves.acceleration, limits and limits.acceleration),
             "curvature, 1/m": (moves.curvature, limits and limits.curvature)}
    wanted = list(value) if limits else list(value)[:2]
    return [MotionProfile(name, at, numbers(value[name][0][0]), numbers(value[name][0][1]), value[name][1]) for name in wanted]
