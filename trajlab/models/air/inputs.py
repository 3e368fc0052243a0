"""From series of sensors to the tensors that nets are shown: transformed, standardised by the training part, averaged over steps, with flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.models.air.airphynet_config import AirPhyNetConfig
from trajlab.models.air.baselines import day_hour, statistic
from trajlab.models.air.calendar import calendar
from trajlab.models.air.station_forecaster import by_scene
from trajlab.types import Trajectories

__all__ = ["Batch", "Shown", "StationScale"]

GROUPS = ("pollutants", "weather", "wind")  #: what is read from ``extra`` where it is there
LOGARITHMIC = ("pollutants",)
WIND_HOURS = 24


@dataclass(frozen=True)
class Batch:
    """What a net is shown of some windows, and what came.

    Attributes:
        past: features at the steps of the past, ``[window node step feature]``.
        ahead: calendar at the ends of the steps of the horizon, ``[window knot calendar]``.
        last: the last seen value, transformed, ``[window node]``.
        wind: last seen, ``[window node 2]``, and expected_wind: mean of the hour or what is given, ``[window knot node 2]``; m/s.
        target, seen: ``[window node time]``, in training.
    """

    past: Float[Tensor, "window node step feature"]
    ahead: Float[Tensor, "window knot calendar"]
    last: Float[Tensor, "window node"]
    wind: Float[Tensor, "window node 2"]
    expected_wind: Float[Tensor, "window knot node 2"]
    target: Tensor | None = None
    seen: Tensor | None = None

    def __len__(self) -> int:
        return len(self.past)

    def to(self, device: torch.device | str) -> Batch:
        """On another device."""
        return Batch(*(None if v is None else v.to(device) for v in vars(self).values()))  # type: ignore[arg-type]


@dataclass(frozen=True)
class StationScale:
    """Statistics of a training series.

    Attributes:
        mean, deviation: of every channel after its transformation, ``[channel]``, the forecast quantity first.
        level: median of every sensor, transformed, ``[node]``.
        wind_hour: mean wind of the hour, ``[24 node 2]``.
        groups: which of `GROUPS` the series has.
    """

    mean: Float[Tensor, "channel"]
    deviation: Float[Tensor, "channel"]
    level: Float[Tensor, "node"]
    wind_hour: Float[Tensor, "hour node 2"]
    groups: tuple[str, ...]

    @classmethod
    def fit(cls, series: Trajectories, config: AirPhyNetConfig) -> Self:
        """From the seen values of a series.

        Raises:
            ValueError: the quantity is negative where a square root was wanted, or nothing was seen.
        """
        groups = tuple(g for g in GROUPS if g in series.extra)
        if config.transform == "sqrt" and bool((series.x[series.mask] < 0).any()):
            raise ValueError(f"the smallest value is {float(series.x[series.mask].min()):g}; transform='sqrt' wants none below 0. Mask them, "
                             "or use transform='none'")
        value, seen = raw(series, groups, config.transform)
        flat, there = value.flatten(0, 1), seen.flatten(0, 1)
        count = there.sum(0).clamp(min=1)
        mean = (flat * there).sum(0) / count
        deviation = (((flat - mean) * there).square().sum(0) / count).sqrt().clamp(min=1e-6)
        level = forward(statistic(series, "median"), config.transform)
        return cls(mean, deviation, level, _wind_hour(series), groups)

    def features(self, config: AirPhyNetConfig) -> int:
        """Of a step: the channels, the mean of the quantity over sensors, the share of it that is missing, and the calendar."""
        return len(self.mean) + 2 + config.calendar


class Shown:
    """A series as nets see it, and batches of windows of it, for `trajlab.train.loop.train`.

    Args:
        series: with the channels of the scale.
        scale: of the training series.
        config: lengths.
        origins: last given frames of windows; all that have a whole past and a horizon by default.
        wind: known wind over the horizon, ``[node horizon 2]``, for a single window a scene at the end of the series.
    """

    def __init__(self, series: Trajectories, scale: StationScale, config: AirPhyNetConfig, origins: Int[Tensor, "window"] | None = None,
                 wind: Tensor | None = None) -> None:
        self.scale, self.config, scenes = scale, config, series.n_scenes
        value, seen = raw(series, scale.groups, config.transform)
        value = torch.where(seen, (value - scale.mean) / scale.deviation, 0.0)
        mean, missing = trailing(value, seen, config.step)
        area = by_scene(mean[..., :1], scenes).mean(1, keepdim=True).expand(-1, len(scale.level), -1, -1).flatten(0, 1)
        self.clock = calendar(series.time, series.units.time, config.clocks)
        dates = self.clock[:, None].expand(-1, len(scale.level), -1, -1).flatten(0, 1)
        self.features = by_scene(torch.cat([mean, area, missing[..., :1], dates], -1), scenes)
        self.time, self.unit, self.spacing = series.time, series.units.time, series.spacing if series.n_frames > 1 else 1.0
        self.seen = by_scene(series.mask, scenes)
        self.x = torch.where(self.seen, by_scene(series.x[..., 0].float(), scenes), 0.0)  # what is hidden may be anything
        self.filled = _filled(forward(self.x.clamp(min=0) if config.transform == "sqrt" else self.x, config.transform), self.seen, scale.level)
        self.wind = _last_wind(series, scale)
        self.given = None if wind is None else by_scene(wind, scenes)
        rows = torch.arange(config.past - 1, series.n_frames - config.horizon) if origins is None else origins
        self.rows = torch.stack([torch.arange(scenes).repeat_interleave(len(rows)), rows.repeat(scenes)], 1)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Tensor) -> Batch:
        """Some windows; with targets where the series goes on."""
        scene, origin = self.rows[indices].unbind(1)
        c = self.config
        back = origin[:, None] - c.step * torch.arange(c.past // c.step - 1, -1, -1)
        past = self.features[scene[:, None], :, back].transpose(1, 2)
        knots = c.step * torch.arange(1, c.knots + 1)
        time = self.time[scene, origin][:, None] + self.spacing * knots
        target = seen = None
        if int(origin.max()) + c.horizon < self.x.shape[2]:
            ahead = origin[:, None] + torch.arange(1, c.horizon + 1)
            target, seen = (v[scene[:, None], :, ahead].transpose(1, 2) for v in (self.x, self.seen))
        return Batch(past, calendar(time, self.unit, c.clocks), self.filled[scene, :, origin], self.wind[scene, :, origin],
                     self._ahead(scene, origin, time), target, seen)

    def _ahead(self, scene: Tensor, origin: Tensor, time: Tensor) -> Float[Tensor, "window knot node 2"]:
        """Wind of every step of the horizon: the mean of its hour, or the mean over the step of what is given or came."""
        c = self.config
        if c.wind == "expected":
            return self.scale.wind_hour[day_hour(time, self.unit)]
        if self.given is not None:
            ahead = self.given[scene]
        else:
            frames = origin[:, None] + torch.arange(1, c.horizon + 1)
            ahead = self.wind[scene[:, None], :, frames].transpose(1, 2)
        return ahead.unflatten(2, (c.knots, c.step)).mean(3).transpose(1, 2)


def forward(x: Tensor, transform: str) -> Tensor:
    """The transformation of the quantity."""
    return x.sqrt() if transform == "sqrt" else x


def inverse(q: Tensor, transform: str) -> Tensor:
    """Back to the quantity; what is below zero in roots is zero."""
    return q.clamp(min=0).square() if transform == "sqrt" else q


def raw(series: Trajectories, groups: tuple[str, ...], transform: str) -> tuple[Tensor, Tensor]:
    """Transformed channels, ``[node time channel]``, and where they were seen.

    Raises:
        ValueError: a group that the fit had is not there.
    """
    x = series.x.float()
    values, flags = [forward(x.clamp(min=0) if transform == "sqrt" else x, transform)], [series.mask[..., None]]
    for group in groups:
        if group not in series.extra:
            raise ValueError(f"the series have no extra[{group!r}], which those of the fit had; they have {', '.join(series.extra) or 'none'}")
        value = series.extra[group].float()
        seen = series.extra.get(f"{group}_seen", series.mask)
        values.append(torch.log1p(value.clamp(min=0)) if group in LOGARITHMIC else value)
        flags.append(seen[..., None].expand_as(value) if seen.ndim == 2 else seen)
    value, seen = torch.cat(values, -1), torch.cat(flags, -1)
    return torch.where(seen, value, 0.0), seen


def trailing(value: Tensor, seen: Tensor, step: int) -> tuple[Float[Tensor, "node time channel"], Float[Tensor, "node time channel"]]:
    """Mean of what was seen over the ``step`` frames that end here (0 where nothing was), and the share that was missing."""
    pad = lambda v: torch.nn.functional.pad(v.double().cumsum(1), (0, 0, step, 0))  # noqa: E731
    total, count = (p[:, step:] - p[:, :-step] for p in (pad(value * seen), pad(seen)))
    return (total / count.clamp(min=1)).float(), (1 - count / step).float()


def _filled(q: Tensor, seen: Tensor, level: Tensor) -> Float[Tensor, "scene node time"]:
    """The last seen value at every frame; the level before the first."""
    number = torch.where(seen, torch.arange(q.shape[-1]), -1).cummax(-1).values
    return torch.where(number >= 0, q.gather(-1, number.clamp(min=0)), level[:, None])


def _wind_hour(series: Trajectories) -> Float[Tensor, "hour node 2"]:
    nodes = series.n_nodes // series.n_scenes
    if "wind" not in series.extra:
        return torch.zeros(WIND_HOURS, nodes, 2)
    wind = by_scene(series.extra["wind"].float(), series.n_scenes)
    seen = by_scene(series.extra.get("wind_seen", series.mask), series.n_scenes)
    hour = day_hour(series.time, series.units.time)
    total, count = torch.zeros(WIND_HOURS, nodes, 2), torch.zeros(WIND_HOURS, nodes, 1)
    for s in range(series.n_scenes):
        total.index_add_(0, hour[s], (wind[s] * seen[s][..., None]).transpose(0, 1))
        count.index_add_(0, hour[s], seen[s][..., None].float().transpose(0, 1))
    return total / count.clamp(min=1)


def _last_wind(series: Trajectories, scale: StationScale) -> Float[Tensor, "scene node time 2"]:
    nodes = len(scale.level)
    if "wind" not in series.extra:
        return torch.zeros(series.n_scenes, nodes, series.n_frames, 2)
    seen = by_scene(series.extra.get("wind_seen", series.mask), series.n_scenes)
    level = scale.wind_hour.mean(0)
    return torch.stack([_filled(by_scene(series.extra["wind"][..., k].float(), series.n_scenes), seen, level[:, k]) for k in range(2)], -1)
