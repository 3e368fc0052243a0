"""One row on one data set, with one share of its training windows and one seed: trained, and scored for every test window. Kept in a cache."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import trajlab
from trajlab.catalog import load
from trajlab.evaluate.cache import key_of
from trajlab.evaluate.traffic_data import MotionSet, share_of_windows
from trajlab.evaluate.traffic_same_noise import marginal_nll
from trajlab.metrics.forecasts import by_agent
from trajlab.metrics.motion_calibration import coverage_of, mixture_levels
from trajlab.metrics.motion_feasibility import drivable, roughness
from trajlab.metrics.motion_likelihood import nll_joint
from trajlab.models import MOTION_BASELINES
from trajlab.models.motion.mixture import PathMixture
from trajlab.models.motion.motion import Motion, MotionConfig
from trajlab.types import Forecast, Trajectories

__all__ = ["BASELINES", "SAME_NOISE", "SCORES", "Cell", "Settings", "measured", "scores_of"]

DRAWS = 20
LEVEL = 0.68
SAME_NOISE = "NLL, same noise propagated marginally"
#: of every agent: errors in m, nats a step, shares, m/s^2
SCORES = ("ADE", "FDE", "minADE", "minFDE", "NLL", "coverage", "infeasible", "rms acceleration", SAME_NOISE)
#: rows that are not trained by gradients, by their names in tables
BASELINES = {"constant velocity": "constant_velocity", "turn rate": "turn_rate", "constant acceleration": "constant_acceleration", "Kalman": "kalman"}


@dataclass(frozen=True)
class Settings:
    """What all cells share.

    Attributes:
        rows: settings of `trajlab.models.motion.motion_config.MotionConfig` of each row that is trained, by name.
        train: ``batch``, ``lr``, ``ema``, and ``width`` and ``layers`` of the net.
        cache: folder of windows and cells.
        data: folder of reference files, or None.
    """

    rows: Mapping[str, Mapping[str, Any]]
    train: Mapping[str, Any]
    cache: str
    data: str | None


@dataclass(frozen=True)
class Cell:
    """A row, a data set, a share of its training windows, and a seed of these, of the weights and of the draws."""

    data: MotionSet
    row: str
    share: float
    seed: int

    @property
    def steps(self) -> int:
        """Of the optimiser."""
        return self.data.steps[self.data.shares.index(self.share)]

    def __str__(self) -> str:
        return f"{self.data.name}, {self.share:.0%}, seed {self.seed}: {self.row}"

    def path(self, settings: Settings) -> Path:
        """Where its scores are kept."""
        own = settings.rows.get(self.row, BASELINES.get(self.row))
        key = key_of(data=repr(self.data.about), most=dict(self.data.most), row=own, train=dict(settings.train), steps=self.steps, share=self.share,
                     seed=self.seed, files=settings.data, version=trajlab.__version__)
        label = "".join(c if c.isalnum() else "-" for c in f"{self.data.name}-{self.row}")
        return Path(settings.cache) / "cells" / f"{label}-{key}.npz"

    def scores(self, settings: Settings) -> dict[str, np.ndarray]:
        """Scores of every test window by name, ``[window]``, and ``seconds`` (of the processor); NaN where a row has none.

        Raises:
            FileNotFoundError, ConnectionError, ImportError: the data set is not here.
        """
        path = self.path(settings)
        if not path.is_file():
            _write(path, self._measured(settings))
        with np.load(path) as stored:
            return dict(stored)

    def _measured(self, settings: Settings) -> dict[str, np.ndarray]:
        torch.set_num_threads(1)
        began = time.process_time()
        train, validation, test = self.data.windows(settings.cache, settings.data)
        some, judge = (share_of_windows(part, self.share, self.seed) for part in (train, validation))
        past, generator = test.frames(slice(0, self.data.given)), torch.Generator().manual_seed(self.seed)
        if self.row in BASELINES:
            plain = load(MOTION_BASELINES[BASELINES[self.row]])().fit(some, self.data.given)
            scores = scores_of(plain.forecast(past, draws=DRAWS if self.row == "Kalman" else 1, generator=generator), test)
        else:
            model = self._trained(settings, some, judge)
            scores = scores_of(model.forecast(past, draws=DRAWS, generator=generator), test)
            other = marginal_nll(model, test)
            scores |= {} if other is None else {SAME_NOISE: other}
        found = {name: value.double().numpy() for name, value in scores.items()}
        return found | {"seconds": np.array(time.process_time() - began)}

    def _trained(self, settings: Settings, train: Trajectories, validation: Trajectories) -> Motion:
        from trajlab.models.motion.motion_fit import default_training

        own = dict(settings.train)
        config = MotionConfig(**{"width": own.pop("width"), "layers": own.pop("layers"), **settings.rows[self.row]})
        own["batch"] = min(own["batch"], train.n_scenes)
        plan = replace(default_training(None, self.seed), steps=self.steps, keep="best", validate_every=max(1, self.steps // 10), **own)
        return Motion(config).fit(train, self.data.given, validation, train=plan)

    def about(self) -> dict[str, Any]:
        """Plain values."""
        return {"data": self.data.name, "row": self.row, "share": self.share, "seed": self.seed, "steps": self.steps}


def scores_of(forecast: Forecast, test: Trajectories) -> dict[str, Tensor]:
    """`SCORES` of every agent; of the mean path, of the best of the draws, and of the mixture (NaN without).

    NLL: of the path, over its steps (times are independent given the mode). Coverage: share of positions inside the region of 68 %. Infeasible: share
    of transitions of the mean path that no vehicle drives (`trajlab.metrics.motion_feasibility`).
    """
    given = forecast.past.n_frames
    truth, mask = test.x[:, given:].double(), test.mask[:, given:]
    draws = forecast.draws.double()
    far = (draws - truth).norm(dim=-1)
    nothing = torch.full(truth.shape[:1], torch.nan, dtype=torch.float64)
    found: dict[str, Tensor] = {}
    if forecast.mixture:
        mixture = PathMixture.of(forecast)
        weight, covariance = mixture.probability.double(), mixture.covariance.double()
        point = torch.einsum("nk,nktd->ntd", weight, mixture.mean.double())
        # Nets work in float32, where a long and narrow ellipse may lose its short axis.
        trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
        parts = (weight, mixture.mean, covariance + 1e-6 * trace[..., None, None] * torch.eye(2, dtype=trace.dtype), truth, mask)
        found["NLL"] = nll_joint(*parts) / mask.sum(-1)
        found["coverage"] = coverage_of(mixture_levels(*parts), LEVEL)
    else:
        point = draws.mean(0)
        found |= {"NLL": nothing, "coverage": nothing}
    off = (point - truth).norm(dim=-1)
    several = len(draws) > 1
    start = forecast.past.x[:, -1:].double()
    path, dt = torch.cat((start, point), 1), torch.cat((forecast.past.time[:, -1:], forecast.time), 1).diff(dim=1)[forecast.past.scene]
    return {"ADE": by_agent(off, mask), "FDE": off[:, -1], "minADE": by_agent(far, mask).amin(0) if several else nothing,
            "minFDE": far[..., -1].amin(0) if several else nothing, **found, "infeasible": drivable(path, dt).rate,
            "rms acceleration": roughness(path, dt)[0], SAME_NOISE: nothing}


def _write(path: Path, values: Mapping[str, np.ndarray]) -> None:
    """By a temporary file and a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    np.savez_compressed(temporary, **values)
    os.replace(temporary, path)


def measured(task: tuple[Cell, Settings]) -> dict[str, Any]:
    """For `trajlab.evaluate.parallel.sweep`: a cell into the cache."""
    cell, settings = task
    seconds = float(cell.scores(settings)["seconds"])
    return {**cell.about(), "seconds": seconds}
