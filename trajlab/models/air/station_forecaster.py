"""What all forecasters of sensor series share: the checks, the stations and the clock of the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import trajlab
from trajlab.models.window_forecaster import continued
from trajlab.types import Forecast, Trajectories

__all__ = ["StationForecaster", "by_scene", "last_seen"]


def by_scene(value: Tensor, scenes: int) -> Tensor:
    """``[node ...]`` of scenes with equally many nodes as ``[scene node ...]``."""
    return value.reshape(scenes, -1, *value.shape[1:])


def last_seen(x: Float[Tensor, "*batch time"], mask: Bool[Tensor, "*batch time"]) -> tuple[Float[Tensor, "*batch"], Bool[Tensor, "*batch"]]:
    """The last value that was seen, forward-filled to the end, and whether there is one; 0 where there is none."""
    number = torch.arange(x.shape[-1], device=x.device)
    at = torch.where(mask, number, -1).max(-1).values
    value = x.gather(-1, at.clamp(min=0)[..., None])[..., 0]
    return torch.where(at >= 0, value, torch.zeros_like(value)), at >= 0


class StationForecaster(ABC):
    """A forecaster of one quantity at sensors that stay where they are.

    `fit` takes long series (scenes with the same sensors, ``x [node time 1]``); `forecast` continues any number of scenes at once. Values that were
    not seen are masked out of the past, and never looked at.
    """

    name = "station-forecaster"  #: in provenance and error messages
    horizon: int | None = None  #: the most frames that can be forecast, where there is a limit
    past = 1  #: given frames that are looked at

    def __init__(self) -> None:
        self.stations, self.spacing, self.clock = 0, 0.0, ""

    def fit(self, series: Trajectories, validation: Trajectories | None = None) -> Self:
        """Fit on long series.

        Args:
            series: what is learned from; statistics come from it alone.
            validation: later series that choose settings and stop the training; nothing else is learned from them.

        Raises:
            ValueError: more than one quantity, scenes with different numbers of sensors, uneven frames, or too few of them.
            TypeError: not trajectories.
        """
        for part in (series, validation):
            if part is not None:
                self._check(part)
        self.stations, self.spacing, self.clock = series.n_nodes // series.n_scenes, series.spacing, series.units.time
        if validation is not None:
            self._agrees(validation)
        self._fit(series, validation)
        return self

    def forecast(self, past: Trajectories, steps: int | None = None, draws: int = 1, generator: torch.Generator | None = None) -> Forecast:
        """Continue every scene of ``past``.

        Args:
            past: scenes with the sensors of the fit, at least the frames that the method looks at.
            steps: frames; as many as the method was made for by default.
            draws: a deterministic method gives the same in each.
            generator: of random numbers, for methods that draw.

        Raises:
            ValueError: not fitted, other sensors, another spacing, too few frames, or more steps than the method was made for.
        """
        if not self.stations:
            raise ValueError(f"this {type(self).__name__} was not fitted; call fit(series) first")
        self._check(past)
        self._agrees(past)
        steps = self.horizon if steps is None else steps
        if steps is None or steps < 1 or draws < 1 or (self.horizon is not None and steps > self.horizon):
            raise ValueError(f"{type(self).__name__} was asked for steps={steps}, draws={draws}; at least 1 of each were wanted"
                             + (f", and at most {self.horizon} steps" if self.horizon else ""))
        if past.n_frames < self.past:
            raise ValueError(f"{type(self).__name__} looks at {self.past} frames, and the past has {past.n_frames}; give it as many")
        with torch.no_grad():
            answer = self._answer(past, steps, draws, generator)
        out = answer.reshape(len(answer), past.n_nodes, steps, 1).to(past.x.dtype)
        out = out.expand(draws, *out.shape[1:]) if len(out) == 1 else out
        return Forecast(out, past, continued(past.time, steps, self.spacing), provenance=self.provenance())

    def provenance(self) -> dict[str, Any]:
        """What goes into `Forecast.provenance`."""
        return {"method": self.name, "version": trajlab.__version__}

    def _check(self, series: Trajectories) -> None:
        if not isinstance(series, Trajectories):
            raise TypeError(f"{type(self).__name__} got a {type(series).__name__}; Trajectories whose nodes are sensors were wanted")
        if series.dim != 1 or not series.n_nodes or len(set(series.sizes.tolist())) != 1:
            raise ValueError(f"{type(self).__name__} got {series.dim} quantities and scenes of {sorted(set(series.sizes.tolist()))} sensors; one "
                             "quantity (others go into extra) and the same sensors in every scene were wanted")

    def _agrees(self, other: Trajectories) -> None:
        count = other.n_nodes // other.n_scenes
        if count != self.stations:
            raise ValueError(f"{type(self).__name__} was fitted on {self.stations} sensors and got {count}; give the same ones in the same order")
        if other.units.time != self.clock or (other.n_frames > 1 and abs(other.spacing - self.spacing) > 1e-6 * self.spacing):
            raise ValueError(f"frames are {other.spacing:g} {other.units.time} apart where the fit had {self.spacing:g} {self.clock}; resample them")

    def _fit(self, series: Trajectories, validation: Trajectories | None) -> None:  # noqa: B027
        """Learn; nothing by default."""

    @abstractmethod
    def _answer(self, past: Trajectories, steps: int, draws: int, generator: torch.Generator | None) -> Float[Tensor, "draw scene node time"]:
        """The future."""
