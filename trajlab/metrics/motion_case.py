"""A forecast of motion beside what came, in the forms that its scores need: paths with probabilities, headings, speeds, sizes, times ahead."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.metrics.forecasts import aligned
from trajlab.metrics.motion_axes import headings
from trajlab.metrics.motion_collisions import Futures
from trajlab.metrics.motion_hypotheses import Hypotheses, hypotheses
from trajlab.metrics.motion_record import MotionScoresConfig
from trajlab.types import Forecast, Trajectories

__all__ = ["MotionCase", "motion_case"]


@dataclass(frozen=True, eq=False)
class MotionCase:
    """A forecast beside what came.

    Attributes:
        said: paths with probabilities.
        futures: draws and truth.
        predicted: where all draws have a value, ``[node time]``.
        even: whether the draws are equally likely.
        ahead: time of each frame since the last given one, ``[node time]``, s.
        steps: time from each frame to the next, from the last given one on, ``[node time]``, s.
        started: whether an agent was seen at the last given frame, ``[node]``.
        speed: there, m/s, ``[node]``; NaN where it is not known.
        config: the choices.
    """

    said: Hypotheses
    futures: Futures
    predicted: Bool[Tensor, "node time"]
    even: bool
    ahead: Float[Tensor, "node time"]
    steps: Float[Tensor, "node time"]
    started: Bool[Tensor, "node"]
    speed: Float[Tensor, "node"]
    config: MotionScoresConfig

    @property
    def mask(self) -> Tensor:
        return self.futures.mask


def motion_case(forecast: Forecast, truth: Trajectories, config: MotionScoresConfig, stopped: str) -> MotionCase:
    """A forecast beside what came; errors as `trajlab.metrics.motion_scores.motion_scores`."""
    plain = forecast.replace(log_weight=None) if isinstance(forecast, Forecast) else forecast
    draws, true, scene, mask = aligned(plain, truth, stopped)
    if true.shape[-1] != 2:
        raise ValueError(f"positions have {true.shape[-1]} dimensions, and motion in the plane was wanted; take two of them")
    weight = forecast.log_weight
    even = weight is None or float((weight - weight.mean(0)).abs().max()) <= 1e-6
    past = forecast.past
    angles, now = headings(past), (forecast.time - past.time[:, -1:])[scene]
    frames = torch.arange(past.n_frames, device=mask.device)
    last = torch.where(past.mask, frames, -1).amax(-1).clamp(min=0)
    pick = lambda value: value[torch.arange(len(last), device=last.device), last]  # noqa: E731
    started = past.mask[:, -1]
    start = torch.where(past.mask.any(-1, keepdim=True), pick(past.x).double(), 0.0)
    angle = torch.where(past.mask.any(-1), pick(angles), 0.0)
    futures = Futures(draws, true, scene, mask, _true_headings(truth, forecast, start), start, angle, _sizes(past, truth))
    steps = torch.cat((now[:, :1], now.diff(dim=1)), 1)
    return MotionCase(hypotheses(forecast, config.paths), futures, forecast.mask.all(0), even, now, steps, started, _speed(past), config)


def _true_headings(truth: Trajectories, forecast: Forecast, start: Tensor) -> Float[Tensor, "node time"]:
    """At the frames of the forecast; the first takes the direction of the step into it, from the truth or the last given position."""
    steps, spacing = forecast.time.shape[1], float(truth.time.diff(dim=1).abs().min()) if truth.n_frames > 1 else 1.0
    first = next(k for k in range(truth.n_frames - steps, -1, -1)
                 if float((truth.time[:, k:k + steps] - forecast.time).abs().max()) <= 1e-3 * spacing)
    return headings(truth, None if first else start)[:, first:first + steps]


def _sizes(past: Trajectories, truth: Trajectories) -> Tensor | None:
    for noun in (past, truth):
        if "length" in noun.static and "width" in noun.static:
            return torch.stack((noun.static["length"], noun.static["width"]), -1).double()
    return None


def _speed(past: Trajectories) -> Float[Tensor, "node"]:
    """At the last given frame, recorded or by a difference; NaN where neither is there."""
    if "velocity" in past.extra:
        return torch.where(past.mask[:, -1], past.extra["velocity"][:, -1].double().norm(dim=-1), math.nan)
    if past.n_frames < 2:
        return past.x.new_full((past.n_nodes,), math.nan, dtype=torch.float64)
    step = (past.time[:, -1] - past.time[:, -2])[past.scene]
    return torch.where(past.mask[:, -2:].all(-1), (past.x[:, -1] - past.x[:, -2]).double().norm(dim=-1) / step, math.nan)
