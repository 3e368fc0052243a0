"""The protocol of PRSA: windows of the last fifth of the time, forecasts every 7 h, and what makes a change sudden or data sparse.

A window's past ends one frame before its first target; the first target of the first window is the first test frame. Horizons have as many windows as
fit into the test frames each. Statistics come from the first 70 % of the frames, settings from the next 10 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.metrics.masked import MaskedErrors, masked_scores
from trajlab.models.air.station_forecaster import StationForecaster, by_scene
from trajlab.sources.air_quality import time_parts
from trajlab.types import Trajectories

__all__ = ["Protocol", "Task", "around", "part", "sudden"]

PART = 128  #: windows forecast at a time


@dataclass(frozen=True)
class Protocol:
    """Frames of the windows.

    Attributes:
        horizons: frames, rising.
        past: given frames of a window.
        every: frames between windows.
        shares: of the frames that train, validate and test.

    Raises:
        ValueError: a number is out of range.
    """

    horizons: tuple[int, ...] = (24, 48, 72)
    past: int = 168
    every: int = 7
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)

    def __post_init__(self) -> None:
        if not self.horizons or min(self.horizons) < 1 or list(self.horizons) != sorted(set(self.horizons)) or min(self.past, self.every) < 1:
            raise ValueError(f"{self}: rising horizons and positive numbers of frames were wanted")


class Task:
    """A series and its parts by a protocol: what methods are fitted on, and how their forecasts are scored.

    Args:
        series: one scene.
        protocol: windows.
    """

    def __init__(self, series: Trajectories, protocol: Protocol | None = None) -> None:
        if series.n_scenes != 1:
            raise ValueError(f"a task is one series, got {series.n_scenes} scenes")
        self.series, self.protocol = series, protocol or Protocol()
        self.train, self.validation, self.test = time_parts(series, self.protocol.shares)
        self.first = self.train.n_frames + self.validation.n_frames  #: the first test frame

    @property
    def longest(self) -> int:
        """The longest horizon."""
        return self.protocol.horizons[-1]

    def origins(self, horizon: int | None = None) -> Int[Tensor, "window"]:
        """Last given frames of the test windows that have this horizon (the shortest, that is all of them, by default)."""
        horizon = self.protocol.horizons[0] if horizon is None else horizon
        return torch.arange(self.first - 1, self.series.n_frames - horizon, self.protocol.every)

    def answers(self, method: StationForecaster, origins: Tensor | None = None, *, told_wind: bool = False) -> Float[Tensor, "window node time"]:
        """What a fitted method forecasts from each window, over the longest horizon.

        Args:
            method: fitted.
            origins: all by default.
            told_wind: give it the wind that came (an upper bound, no forecast).
        """
        out = []
        for some in (self.origins() if origins is None else origins).split(PART):
            past = around(self.series, some, self.protocol.past, 0)
            options = {"wind": self._wind(some)} if told_wind else {}
            said = method.forecast(past, self.longest, **options)  # type: ignore[arg-type]
            out.append(by_scene(said.draws.mean(0)[..., 0], len(some)))
        return torch.cat(out)

    def truth(self, origins: Tensor | None = None) -> tuple[Float[Tensor, "window node time"], Bool[Tensor, "window node time"]]:
        """What came and where it was seen; nothing beyond the end of the series."""
        origins = self.origins() if origins is None else origins
        frame = origins[:, None] + torch.arange(1, self.longest + 1)
        inside = frame < self.series.n_frames
        frame = frame.clamp(max=self.series.n_frames - 1)
        value, seen = (v[:, frame].transpose(0, 1) for v in (self.series.x[..., 0], self.series.mask))
        return value, seen & inside[:, None]

    def scores(self, said: Float[Tensor, "window node time"], which: Tensor | None = None, *, at: bool = False) -> Mapping[int, MaskedErrors]:
        """Errors at every horizon, of all windows that have it, or of those chosen by a mask over windows (``which``) or over values.

        Args:
            said: as `answers` gives for all windows.
            which: ``[window]`` or ``[window node]``, what counts.
            at: at the lead time instead of the mean up to it.
        """
        value, seen = self.truth()
        if which is not None:
            seen = seen & which.reshape(*which.shape, *[1] * (3 - which.ndim))
        found = {}
        for h in self.protocol.horizons:
            count = len(self.origins(h))
            scene = torch.arange(count).repeat_interleave(said.shape[1])
            parts = (v[:count].flatten(0, 1) for v in (said.double(), value.double(), seen))
            found[h] = masked_scores(*parts, scene, h, at=at)
        return found

    def _wind(self, origins: Tensor) -> Tensor:
        """The wind that came, the last seen one where none was; the last of all beyond the end."""
        wind, seen = self.series.extra["wind"], self.series.extra["wind_seen"]
        at = torch.where(seen, torch.arange(self.series.n_frames), 0).cummax(1).values
        frame = (origins[:, None] + torch.arange(1, self.longest + 1)).clamp(max=self.series.n_frames - 1)
        nodes = torch.arange(self.series.n_nodes)[:, None, None]
        return wind[nodes, at[:, frame]].transpose(0, 1).flatten(0, 1)


def around(series: Trajectories, origins: Int[Tensor, "window"], past: int, ahead: int) -> Trajectories:
    """Windows of a series as scenes: ``past`` frames up to each origin and ``ahead`` after it, whatever was seen of them.

    Raises:
        ValueError: more than one scene, or a window that is not inside the series.
    """
    if series.n_scenes != 1 or past < 1 or ahead < 0:
        raise ValueError(f"windows of {past} + {ahead} frames from {series.n_scenes} scenes: one scene and at least one given frame were wanted")
    low, high = int(origins.min()), int(origins.max())
    if low - past + 1 < 0 or high + ahead >= series.n_frames:
        raise ValueError(f"windows of {past} + {ahead} frames around frames {low} to {high} are not inside {series.n_frames} frames")
    frame = origins[:, None] + torch.arange(1 - past, ahead + 1)
    cut = lambda v: v[:, frame].transpose(0, 1).flatten(0, 1)  # noqa: E731
    number = len(origins)
    return series.replace(
        x=cut(series.x), time=series.time[0][frame], mask=cut(series.mask), scene=torch.arange(number).repeat_interleave(series.n_nodes),
        kind=series.kind.repeat(number), extra={k: cut(v) for k, v in series.extra.items()},
        static={k: v.repeat(number, *[1] * (v.ndim - 1)) for k, v in series.static.items()},
        context={k: v.repeat(number, *[1] * (v.ndim - 1)) for k, v in series.context.items()})


def part(series: Trajectories, nodes: Sequence[int]) -> Trajectories:
    """Some sensors of a single scene.

    Raises:
        ValueError: more than one scene, or a number that is no sensor's.
    """
    if series.n_scenes != 1 or not nodes or not 0 <= min(nodes) <= max(nodes) < series.n_nodes:
        raise ValueError(f"sensors {list(nodes)} of {series.n_nodes} in {series.n_scenes} scenes: numbers of sensors of one scene were wanted")
    pick = torch.as_tensor(list(nodes))
    names = series.source.get("stations", range(series.n_nodes))
    return series.replace(x=series.x[pick], mask=series.mask[pick], scene=series.scene[pick], kind=series.kind[pick],
                          extra={k: v[pick] for k, v in series.extra.items()}, static={k: v[pick] for k, v in series.static.items()},
                          source={**series.source, "stations": tuple(names[k] for k in nodes)})


def sudden(task: Task, share: float = 0.1, lag: int | None = None) -> Bool[Tensor, "window"]:
    """The windows with the largest absolute change of the mean over sensors, this share of them.

    The change is from the last given frame to ``lag`` frames later, by default the shortest horizon.
    They are chosen by what came, so that scores on them say how a method fares in sudden changes, not that it foresees them.

    Raises:
        ValueError: a share that is not within 0 and 1, or a lag beyond the horizon.
    """
    lag = task.protocol.horizons[0] if lag is None else lag
    if not 0 < share <= 1 or not 1 <= lag <= task.longest:
        raise ValueError(f"share={share:g}, lag={lag}: a share within (0, 1] and a lag of 1 to {task.longest} were wanted")
    origins = task.origins()
    value, seen = task.truth(origins)
    before, there = task.series.x[:, origins, 0].T, task.series.mask[:, origins].T
    both = there & seen[..., lag - 1]
    change = torch.where(both, value[..., lag - 1] - before, 0.0).sum(1).abs() / both.sum(1).clamp(min=1)
    wanted = max(1, round(share * len(origins)))
    return change >= change.topk(wanted).values.min()
