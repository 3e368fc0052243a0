"""Forecasts that learn next to nothing, which every table of sensor graphs must carry: persistence, plain and damped, and climatologies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.models.air.calendar import hours
from trajlab.models.air.station_forecaster import StationForecaster, by_scene, last_seen
from trajlab.types import Trajectories

__all__ = ["Climatology", "DampedPersistence", "StationPersistence"]

STATISTICS = ("mean", "median", "hour")
E_FOLDS = (6.0, 12.0, 24.0, 36.0, 48.0, 72.0, 96.0, 120.0)


class StationPersistence(StationForecaster):
    """The last value that was seen, for ever; the mean over the fit's frames at a sensor of which nothing was seen."""

    name = "persistence"

    def _fit(self, series: Trajectories, validation: Trajectories | None) -> None:  # noqa: ARG002
        self.mean = statistic(series, "mean")

    def _answer(self, past: Trajectories, steps: int, draws: int, generator: torch.Generator | None) -> Tensor:  # noqa: ARG002
        return self._last(past)[None, ..., None].expand(1, past.n_scenes, self.stations, steps)

    def _last(self, past: Trajectories) -> Float[Tensor, "scene node"]:
        value, there = last_seen(by_scene(past.x[..., 0], past.n_scenes), by_scene(past.mask, past.n_scenes))
        return torch.where(there, value, self.mean)


class DampedPersistence(StationPersistence):
    """m + (last - m) exp(-h/tau) with the mean m of each sensor; with ``roots``, the square of that in square roots, with the median.

    Concentrations are skewed: their median is the better centre under an absolute error, and roots decay to it evenly from above and below.

    Args:
        e_fold: tau, in the unit of the series' clock; None chooses one of `E_FOLDS` on the validation series, by the mean absolute error up to
            ``steps`` frames.
        steps: for that choice.
        every: frames between the forecasts of that choice.
        candidates: to choose from.
        roots: in square roots, to the median; values must not be negative.

    Raises:
        ValueError: an e-folding time that is not positive.
    """

    name = "damped-persistence"

    def __init__(self, e_fold: float | None = 24.0, steps: int = 72, every: int = 7, candidates: Sequence[float] = E_FOLDS,
                 *, roots: bool = False) -> None:
        super().__init__()
        if (e_fold is not None and not e_fold > 0) or steps < 1 or every < 1 or not candidates or min(candidates) <= 0:
            raise ValueError(f"e_fold={e_fold}, steps={steps}, every={every}: positive numbers were wanted")
        self.e_fold, self.choice, self.steps, self.every = 24.0 if e_fold is None else e_fold, e_fold is None, steps, every
        self.candidates, self.roots = tuple(candidates), roots

    def _fit(self, series: Trajectories, validation: Trajectories | None) -> None:
        self.mean = statistic(series, "median" if self.roots else "mean")
        if not self.choice:
            return
        if validation is None or validation.n_frames <= self.steps:
            raise ValueError(f"an e-folding time is chosen on a validation series of more than {self.steps} frames; pass validation=, or e_fold=24")
        self.e_fold = min(self.candidates, key=lambda tau: self._error(validation, tau))

    def _answer(self, past: Trajectories, steps: int, draws: int, generator: torch.Generator | None) -> Tensor:  # noqa: ARG002
        return self._damped(self._last(past), steps, self.e_fold)[None]

    def _damped(self, last: Tensor, steps: int, e_fold: float) -> Float[Tensor, "... node time"]:
        ahead = torch.arange(1, steps + 1, dtype=torch.float64) * self.spacing
        left, mean, last = torch.exp(-ahead / e_fold), self.mean.double()[..., None], last.double()[..., None]
        if self.roots:
            return (mean.sqrt() + (last.clamp(min=0).sqrt() - mean.sqrt()) * left).square()
        return mean + (last - mean) * left

    def _error(self, series: Trajectories, e_fold: float) -> float:
        seen = by_scene(series.mask, series.n_scenes)
        x = torch.where(seen, by_scene(series.x[..., 0], series.n_scenes), 0.0)
        wrong, count = 0.0, 0
        for origin in range(0, series.n_frames - self.steps, self.every):
            value, there = last_seen(x[..., : origin + 1], seen[..., : origin + 1])
            ahead = slice(origin + 1, origin + 1 + self.steps)
            off = (self._damped(torch.where(there, value, self.mean), self.steps, e_fold) - x[..., ahead]).abs() * seen[..., ahead]
            wrong, count = wrong + float(off.sum()), count + int(seen[..., ahead].sum())
        return wrong / max(count, 1) if count else math.inf


class Climatology(StationForecaster):
    """A constant of each sensor: its mean, its median (the better one under an absolute error), or its median of each hour of the day.

    Args:
        what: ``"mean"``, ``"median"`` or ``"hour"``.

    Raises:
        ValueError: another statistic.
    """

    name = "climatology"

    def __init__(self, what: str = "median") -> None:
        super().__init__()
        if what not in STATISTICS:
            raise ValueError(unknown("climatology", what, STATISTICS))
        self.what = what

    def _fit(self, series: Trajectories, validation: Trajectories | None) -> None:  # noqa: ARG002
        self.table = statistic(series, self.what)

    def _answer(self, past: Trajectories, steps: int, draws: int, generator: torch.Generator | None) -> Tensor:  # noqa: ARG002
        if self.what != "hour":
            return self.table[None, None, :, None].expand(1, past.n_scenes, self.stations, steps)
        ahead = past.time[:, -1:] + self.spacing * torch.arange(1, steps + 1, dtype=torch.float64)
        return self.table[:, day_hour(ahead, self.clock)].transpose(0, 1)[None]


def day_hour(time: Tensor, unit: str) -> Tensor:
    """0 to 23."""
    return torch.remainder(torch.floor(hours(time, unit) + 1e-6), 24).long()


def statistic(series: Trajectories, what: str) -> Float[Tensor, "node ..."]:
    """A statistic of each sensor over all its seen frames, ``[node]`` or ``[node 24]``; where a sensor was never seen, that of all.

    Raises:
        ValueError: nothing was seen at all.
    """
    x, seen = (by_scene(v, series.n_scenes).transpose(0, 1).flatten(1) for v in (series.x[..., 0], series.mask))
    if not bool(seen.any()):
        raise ValueError("nothing was seen in these series: the mask is False everywhere; check how missing values were read")
    value = torch.where(seen, x, torch.nan)
    if what == "mean":
        return _whole(value.nanmean(1), value.nanmean())
    middle = _whole(value.nanmedian(1).values, value.nanmedian())
    if what == "median":
        return middle
    hour = day_hour(series.time, series.units.time).flatten()
    by_hour = [torch.where(hour == h, value, torch.nan).nanmedian(1).values for h in range(24)]
    return torch.stack([_whole(v, middle) for v in by_hour], 1)


def _whole(value: Tensor, instead: Tensor) -> Tensor:
    return torch.where(value.isnan(), instead, value)
