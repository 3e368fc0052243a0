"""What all scores of forecasts share: draws beside the truth, hidden entries out of the way, means over frames, agents and scenes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.types import Forecast, Trajectories

__all__ = ["Aligned", "aligned", "by_agent", "by_scene", "first_agents", "pairs_within", "scored"]


class Aligned(NamedTuple):
    """A forecast beside what came: draws and truth at the same frames, and where both can be compared."""

    draws: Float[Tensor, "draw node time dim"]
    truth: Float[Tensor, "node time dim"]
    scene: Int[Tensor, "node"]
    mask: Bool[Tensor, "node time"]


def aligned(forecast: Forecast, truth: Trajectories, stopped: str = "refuse") -> Aligned:
    """The draws of a forecast and the true frames at its times.

    Args:
        forecast: what was said.
        truth: what came, with the same nodes; it may have more frames (the whole window), of which those of the forecast are taken.
        stopped: ``refuse`` a forecast that ended early, or ``skip`` the frames that any draw lacks. A model that may skip where it fails
            looks better than it is.

    Raises:
        TypeError: not a `Forecast` and `Trajectories`.
        ValueError: the nodes or times differ, draws are weighted unevenly, or the forecast ended early and ``stopped`` is ``refuse``.
    """
    if not isinstance(forecast, Forecast) or not isinstance(truth, Trajectories):
        raise TypeError(f"a Forecast and the true Trajectories were wanted; {type(forecast).__name__} and {type(truth).__name__} came")
    if stopped not in ("refuse", "skip"):
        raise ValueError(f"stopped={stopped!r}: 'refuse' or 'skip' was wanted")
    if not torch.equal(forecast.past.scene, truth.scene):
        raise ValueError(f"the forecast has {forecast.past.n_nodes} nodes in {forecast.past.n_scenes} scenes, the truth {truth.n_nodes} in "
                         f"{truth.n_scenes}, or they are shared out differently; score a forecast against the windows it was made for")
    _even(forecast)
    frames = _matching(forecast.time, truth)
    there = forecast.mask.all(0)
    if stopped == "refuse" and bool((~there & frames.mask).any()):
        node, time = (~there & frames.mask).nonzero()[0].tolist()
        raise ValueError(f"the forecast has no value for node {node} at frame {time}, where the truth has one ({_reason(forecast, node)}). Pass "
                         "stopped='skip' to leave such frames out, and say so beside the score")
    return Aligned(forecast.draws, frames.x, truth.scene, frames.mask & there)


def _reason(forecast: Forecast, node: int) -> str:
    return forecast.stopped[int(forecast.past.scene[node])] or "no reason was given"


def _even(forecast: Forecast) -> None:
    weight = forecast.log_weight
    if weight is not None and float((weight - weight.mean(0)).abs().max()) > 1e-6:
        raise ValueError("the draws of this forecast are weighted unevenly, and these scores count every draw once; resample the draws by weight")


def _matching(time: Tensor, truth: Trajectories) -> Trajectories:
    """The frames of the truth at these times."""
    steps = time.shape[1]
    spacing = float(truth.time.diff(dim=1).abs().min()) if truth.n_frames > 1 else 1.0
    for first in range(truth.n_frames - steps, -1, -1):
        if float((truth.time[:, first:first + steps] - time).abs().max()) <= 1e-3 * spacing:
            return truth if steps == truth.n_frames else truth.frames(slice(first, first + steps))
    raise ValueError(f"the forecast has {steps} frames from {float(time[0, 0]):g} to {float(time[0, -1]):g}, which are not among the "
                     f"{truth.n_frames} of the truth, from {float(truth.time[0, 0]):g} to {float(truth.time[0, -1]):g} (first scene); pass the true "
                     "future")


def scored(draws: Tensor, truth: Tensor, scene: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Draws, truth and mask, checked, with zeros for what is not scored.

    Raises:
        ValueError: shapes that do not fit each other, no draw, or a value that is not finite where it is scored.
    """
    if draws.ndim != 4 or draws.shape[1:] != truth.shape or len(draws) == 0:
        raise ValueError(f"draws{tuple(draws.shape)} and truth{tuple(truth.shape)}: draws[draw node time dim] and truth[node time dim] were wanted, "
                         "with at least 1 draw")
    mask = torch.ones(truth.shape[:2], dtype=torch.bool, device=truth.device) if mask is None else mask
    if mask.shape != truth.shape[:2]:
        raise ValueError(f"mask{tuple(mask.shape)}: one value for each of the {tuple(truth.shape[:2])} nodes and frames was wanted")
    if scene is not None and (len(scene) != len(truth) or bool((scene.diff() < 0).any())):
        raise ValueError(f"scene{tuple(scene.shape)}: a sorted scene for each of the {len(truth)} nodes was wanted")
    seen = mask[..., None]
    draws, truth = torch.where(seen, draws, 0.0), torch.where(seen, truth, 0.0)
    for name, value in (("draws", draws), ("truth", truth)):
        if not bool(torch.isfinite(value).all()):
            place = (~torch.isfinite(value)).nonzero()[0].tolist()
            raise ValueError(f"{name}{place} is not finite, and it is scored; a forecast that blew up has no score, and what is missing is masked")
    return draws, truth, mask


def by_agent(value: Float[Tensor, "*draw node time"], mask: Bool[Tensor, "node time"]) -> Float[Tensor, "*draw node"]:
    """The mean over the seen frames of each agent; NaN where there are none."""
    return torch.where(mask, value, 0.0).sum(-1) / mask.sum(-1)


def by_scene(value: Float[Tensor, "*draw node"], scene: Int[Tensor, "node"], scenes: int | None = None) -> Float[Tensor, "*draw scene"]:
    """The mean over the agents of each scene that have a value; NaN where none has."""
    scenes = (int(scene.max()) + 1 if len(scene) else 0) if scenes is None else scenes
    zero, seen = value.new_zeros(*value.shape[:-1], scenes), ~value.isnan()
    total = zero.index_add(-1, scene, torch.where(seen, value, 0.0))
    return total / zero.index_add(-1, scene, seen.to(value.dtype))


def first_agents(scene: Int[Tensor, "node"]) -> Int[Tensor, "some"]:
    """The first node of every scene: the focal agent."""
    start = torch.ones_like(scene, dtype=torch.bool)
    start[1:] = scene[1:] != scene[:-1]
    return start.nonzero()[:, 0]


def pairs_within(scene: Int[Tensor, "node"]) -> Int[Tensor, "2 pair"]:
    """All pairs i < j of nodes of the same scene."""
    nodes = torch.arange(len(scene), device=scene.device)
    after = torch.searchsorted(scene.contiguous(), scene.contiguous(), right=True) - nodes - 1
    one = nodes.repeat_interleave(after)
    begin = after.cumsum(0) - after
    return torch.stack([one, one + 1 + torch.arange(len(one), device=scene.device) - begin[one]])
