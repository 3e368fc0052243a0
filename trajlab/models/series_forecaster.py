"""What all forecasters of single series share: each continues a context by what it learns from that context, or from others before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float

import trajlab
from trajlab.models.window_forecaster import continued
from trajlab.types import Forecast, Trajectories

__all__ = ["SeriesForecaster"]


class SeriesForecaster(ABC):
    """Continues series, each node of `Trajectories` being one series of ``dim`` channels.

    Local methods learn from the context alone: `fit` has nothing to do and may be left out, and `forecast` fits anew to every context. Methods
    that learn from many series override `_fit`. Nothing after the end of the context is ever seen.
    """

    name = "series-forecaster"  #: in tables, provenance and error messages
    shortest = 2  #: frames of context that are needed at least

    def fit(self, trajectories: Trajectories | None = None) -> Self:
        """Learn from series beforehand, where the method does.

        Raises:
            TypeError: not `Trajectories`.
        """
        if trajectories is not None and not isinstance(trajectories, Trajectories):
            raise TypeError(f"{self.name}.fit got a {type(trajectories).__name__}; Trajectories were wanted (tl.from_numpy makes them)")
        self._fit(trajectories)
        return self

    def _fit(self, trajectories: Trajectories | None) -> None:  # noqa: B027
        """Learn beforehand; local methods have nothing to learn."""

    @abstractmethod
    def continuation(self, context: Float[np.ndarray, "time dim"], steps: int, draws: int, rng: np.random.Generator) -> np.ndarray:
        """``[draw steps dim]`` after one context; all values of the context are finite. Deterministic methods may return one draw."""

    def forecast(self, past: Trajectories, steps: int, draws: int = 1, seed: int = 0) -> Forecast:
        """Continue every series by ``steps`` frames at the spacing of its past.

        Args:
            past: the contexts; evenly spaced and observed throughout.
            steps: frames to predict.
            draws: of methods that draw; deterministic ones give one.
            seed: of the random numbers; each series has its own, so that it does not matter what else is forecast.

        Raises:
            TypeError: not `Trajectories`.
            ValueError: too short a context, missing frames, values that are not finite, or fewer than one step or draw.
        """
        if not isinstance(past, Trajectories):
            raise TypeError(f"{self.name}.forecast got a {type(past).__name__}; Trajectories were wanted (tl.from_numpy makes them)")
        if steps < 1 or draws < 1:
            raise ValueError(f"{self.name}: steps={steps}, draws={draws}; at least 1 was wanted of each")
        spacing = self.check(past)
        x = past.x.detach().double().cpu().numpy()
        made = []
        for node in range(past.n_nodes):
            out = np.asarray(self.continuation(x[node], steps, draws, np.random.default_rng([seed, node])), dtype=np.float64)
            if out.shape[1:] != (steps, past.dim):
                raise ValueError(f"{self.name} returned a continuation of shape {out.shape}; [draw {steps} {past.dim}] was wanted")
            made.append(out)
        finite = np.isfinite(stacked := np.stack(made, 1)).all(-1)
        drawn = torch.as_tensor(np.nan_to_num(stacked)).to(past.x)
        mask = torch.as_tensor(np.logical_and.accumulate(finite, axis=2), device=past.x.device)
        return Forecast(drawn, past, continued(past.time, steps, spacing), mask, provenance=self.provenance(seed))

    def check(self, past: Trajectories) -> float:
        """The spacing of a context that can be continued.

        Raises:
            ValueError: see `forecast`.
        """
        if past.n_frames < self.shortest:
            raise ValueError(f"{self.name} needs a context of at least {self.shortest} frames, got {past.n_frames}; give a longer past")
        gaps = (~past.mask).sum(1)
        if bool(gaps.any()):
            worst = int(gaps.argmax())
            raise ValueError(f"{self.name}: {int((gaps > 0).sum())} of {past.n_nodes} series have missing frames (series {worst}: {int(gaps[worst])} "
                             "of them); fill the gaps first, or cut the context after the last one")
        return past.spacing if past.n_frames > 1 else 1.0

    def provenance(self, seed: int = 0) -> Mapping[str, Any]:
        """Method, settings, seed and version."""
        config = getattr(self, "config", None)
        settings = asdict(config) if is_dataclass(config) and not isinstance(config, type) else {}
        return {"method": self.name, "config": settings, "seed": seed, "version": trajlab.__version__}
