"""One forecast of one series and its scores: the unit of work that is sent to other processes and kept when it is done."""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

import trajlab
from trajlab.evaluate.cache import key_of
from trajlab.evaluate.chaos_data import Series, noisy
from trajlab.evaluate.chaos_entries import entered, identity
from trajlab.evaluate.chaos_keys import source_of
from trajlab.evaluate.chaos_scores import as_plain, failed_scores, failure, scores
from trajlab.evaluate.chaos_suite import Protocol

__all__ = ["Task", "perform"]


@dataclass(frozen=True, eq=False)
class Task:
    """One forecaster on one series.

    Attributes:
        entry: of the forecaster.
        series: what is forecast.
        protocol: how far.
        noise: on the context.
        draws: of forecasters that draw.
        seed: of noise and draws.
    """

    entry: str
    series: Series
    protocol: Protocol
    noise: float
    draws: int
    seed: int

    @cached_property
    def context(self) -> Float[np.ndarray, "time dim"]:
        return noisy(self.series, self.noise, self.seed)

    @property
    def name(self) -> str:
        """Of the file of its record."""
        entry = self.entry.replace(":", ".")
        return f"{entry}/{self.series.system}-{self.protocol.name}-{self.noise:g}-{self.series.start}"

    @property
    def key(self) -> str:
        """Changes with the numbers of the series, the forecaster, its code, and the code that scores."""
        data = hashlib.sha256(np.ascontiguousarray(self.context).tobytes() + np.ascontiguousarray(self.series.truth).tobytes()).hexdigest()
        return key_of(data=data, entry=identity(self.entry), protocol=vars(self.protocol), chaos=dict(self.series.chaos), step=self.series.step,
                      draws=self.draws, seed=self.seed, source=source_of("trajlab.evaluate.chaos_scores"), version=trajlab.__version__)


def perform(task: Task) -> dict[str, Any]:
    """The record of a task: what was forecast, its scores, whether it failed and why, CPU seconds. Errors of a forecaster are part of the record."""
    import torch

    torch.set_num_threads(1)
    begin, why, made = time.process_time(), "", None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            made = _forecast(task)
        except Exception as error:  # whatever a forecaster raises is its failure on this series, and is counted as that
            why = f"{type(error).__name__}: {error}"
        seconds = time.process_time() - begin
        if made is None:
            found = failed_scores(task.series, task.protocol)
        else:
            why, found = failure(made), scores(made, task.series, task.protocol)
    about = {"system": task.series.system, "protocol": task.protocol.name, "noise": task.noise, "forecaster": task.entry, "start": task.series.start}
    return {**about, **as_plain(found), "failed": " ".join(why.split())[:300], "seconds": round(seconds, 4)}


def _forecast(task: Task) -> Float[np.ndarray, "draw step dim"]:
    """Draws, NaN where the forecast is marked as not finite."""
    import torch

    from trajlab.types import Trajectories

    context = torch.as_tensor(task.context)
    clock = task.series.step * torch.arange(len(context), dtype=torch.float64)
    past = Trajectories(x=context[None], time=clock[None], scene=torch.zeros(1, dtype=torch.long))
    answer = entered(task.entry).forecast(past, task.protocol.free, draws=task.draws, seed=task.seed + task.series.start)
    drawn = torch.where(answer.mask[..., None], answer.draws, math.nan)
    return drawn[:, 0].double().numpy()
