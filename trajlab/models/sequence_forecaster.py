"""SequenceForecaster: a recurrent net, a causal transformer or a state-space model that continues series."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from trajlab.models.sequence_forecaster_config import SequenceConfig
from trajlab.models.sequence_forecaster_fit import fitted
from trajlab.models.sequence_forecaster_module import SequenceModule
from trajlab.models.series_forecaster import SeriesForecaster
from trajlab.types import Trajectories

__all__ = ["SequenceConfig", "SequenceForecaster", "gru", "state_space", "transformer"]


class SequenceForecaster(SeriesForecaster):
    """Predicts increments of standardised series by a learned sequence backbone, one frame after another.

    Without `fit`, each context trains its own net on its first part, judged on its tail. After `fit` on many series the net is taken as it is,
    or trained for ``finetune`` more steps on each context; the series must then have the channels, units and frame spacing of those.

    Args:
        config: see `SequenceConfig`.
    """

    def __init__(self, config: SequenceConfig | None = None) -> None:
        self.config = SequenceConfig() if config is None else config
        self.name = self.config.backbone
        self.shortest = self.config.lags + 12
        self.module: SequenceModule | None = None

    def _fit(self, trajectories: Trajectories | None) -> None:
        if trajectories is None:
            self.module = None
            return
        self.check(trajectories)
        self.module = self._trained(list(trajectories.x.detach().double().cpu()), self.config.steps, self.config.seed)

    def _trained(self, series: list[torch.Tensor], steps: int, seed: int, start: SequenceModule | None = None) -> SequenceModule:
        module = copy.deepcopy(start).float().requires_grad_(True) if start is not None else self._fresh(series[0].shape[1], seed)
        if start is None:
            module.measure(series)
        return fitted(module, series, self.config, steps, seed)

    def _fresh(self, dim: int, seed: int) -> SequenceModule:
        with torch.random.fork_rng(devices=[]):  # initialisers draw from the global generator, which is put back
            torch.manual_seed(seed)
            return SequenceModule(self.config, dim)

    @torch.no_grad()
    def continuation(self, context: Float[np.ndarray, "time dim"], steps: int, draws: int, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        module, series = self.module, torch.as_tensor(context, dtype=torch.float64)
        if module is not None and module.dim != series.shape[1]:
            raise ValueError(f"{self.name} was fitted on series of {module.dim} channels, and this one has {series.shape[1]}; fit it on such series")
        if module is None or self.config.finetune:
            with torch.enable_grad():
                steps_ = self.config.steps if module is None else self.config.finetune
                module = self._trained([series], steps_, int(rng.integers(2**31)), module)
        _, path = module(module.standard(series)[None], steps)
        return (path * module.std + module.mean).numpy()


def _of(backbone: str, defaults: dict[str, Any], settings: dict[str, Any]) -> SequenceForecaster:
    return SequenceForecaster(replace(SequenceConfig(backbone=backbone, **defaults), **settings))


def gru(**settings: Any) -> SequenceForecaster:
    """A gated recurrent unit (Cho et al. 2014); ``settings`` of `SequenceConfig`."""
    return _of("gru", {}, settings)


def transformer(**settings: Any) -> SequenceForecaster:
    """A causal transformer with rotary positions; ``settings`` of `SequenceConfig`."""
    return _of("transformer", {"options": {"reach": 8, "norm": False}}, settings)


def state_space(**settings: Any) -> SequenceForecaster:
    """A diagonal state-space model (Gu et al. 2022, S4D); ``settings`` of `SequenceConfig`."""
    return _of("state_space", {"options": {"steps": (0.1, 3.0), "norm": False}}, settings)
