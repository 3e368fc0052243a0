"""The series of the benchmark: integrated once for context and truth together, and kept."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

import trajlab
from trajlab.evaluate.cache import key_of
from trajlab.evaluate.chaos_keys import source_of
from trajlab.evaluate.chaos_suite import ChaosSuite, Protocol

__all__ = ["Made", "SeriesRecipe", "Series", "make", "noisy"]


@dataclass(frozen=True)
class SeriesRecipe:
    """All that the series of one system under one protocol depend on: a task that can be sent to another process.

    Attributes:
        system: name of `trajlab.sources.chaos`.
        protocol: sampling.
        starts: series.
        seed: of the starts.
        rtol: tolerance, relative and absolute.
        transient: periods before the first point.
        chaos: what is known of the system: ``period``, ``exponent`` (the largest, with its ``error``), ``dimension`` (Kaplan-Yorke), ``chaotic``.
    """

    system: str
    protocol: Protocol
    starts: int
    seed: int
    rtol: float
    transient: float
    chaos: Mapping[str, Any]

    @classmethod
    def of(cls, system: str, protocol: Protocol, suite: ChaosSuite) -> SeriesRecipe:
        return cls(system, protocol, suite.starts, suite.seed, suite.rtol, suite.transient, known(system))

    @property
    def key(self) -> str:
        return key_of(version=trajlab.__version__, source=source_of("trajlab.sources.chaos"), **asdict(self))

    @property
    def refused(self) -> str:
        """Why there can be no such series, or nothing."""
        if self.protocol.clock != "lyapunov" or self.chaos["chaotic"]:
            return ""
        if math.isnan(self.chaos["exponent"]):
            return "its largest exponent is not in the table, and cannot be a clock"
        return f"its largest exponent, {self.chaos['exponent']:.3g} ± {self.chaos['error']:.2g}, is not positive for certain and cannot be a clock"


@dataclass(frozen=True, eq=False)
class Series:
    """One start of one system.

    Attributes:
        system, protocol: names.
        start: its number.
        context: clean, ``[time dim]``.
        truth: what comes after it, ``[step dim]``.
        step: time between points.
        chaos: as in `SeriesRecipe`.
    """

    system: str
    protocol: str
    start: int
    context: Float[np.ndarray, "time dim"]
    truth: Float[np.ndarray, "step dim"]
    step: float
    chaos: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Made:
    """The series of a recipe, or why there are none."""

    recipe: SeriesRecipe
    series: tuple[Series, ...] = ()
    why: str = ""


def known(system: str) -> dict[str, Any]:
    """Period, largest exponent with its error, and Kaplan-Yorke dimension of a system, NaN where they are not known.

    Raises:
        ValueError: there is no such system.
    """
    from trajlab.sources.chaos import chaos

    found = chaos(system)
    table = found.lyapunov
    if table is None:
        return {"period": float(found.period), "exponent": math.nan, "error": math.nan, "dimension": math.nan, "chaotic": False}
    return {"period": float(found.period), "exponent": _first(table.exponents), "error": _first(table.error),
            "dimension": float(table.kaplan_yorke), "chaotic": bool(table.chaotic)}


def _first(values: Any) -> float:
    return float(values[0]) if len(values) else math.nan


def make(task: tuple[SeriesRecipe, str]) -> Made:
    """The series of a recipe, from the folder or integrated and kept there. A system that cannot be integrated says why."""
    recipe, folder = task
    path = Path(folder) / f"{recipe.system}-{recipe.protocol.name}-{recipe.key}.npz"
    if recipe.refused:
        return Made(recipe, why=recipe.refused)
    if not path.exists():
        try:
            _write(path, *_integrated(recipe))
        except ValueError as error:
            return Made(recipe, why=str(error))
    with np.load(path) as stored:
        x, step, cut = stored["x"], float(stored["step"]), recipe.protocol.context
    return Made(recipe, tuple(Series(recipe.system, recipe.protocol.name, k, row[:cut], row[cut:], step, recipe.chaos) for k, row in enumerate(x)))


def _integrated(recipe: SeriesRecipe) -> tuple[np.ndarray, float]:
    """States ``[start time dim]`` and the time between them."""
    from trajlab.sources.chaos import chaos

    p = recipe.protocol
    runs = chaos(recipe.system).trajectories(n=recipe.starts, points=p.context + p.free, per_period=p.per_period, clock=p.clock, seed=recipe.seed,
                                             transient=recipe.transient, rtol=recipe.rtol, atol=recipe.rtol)
    x = runs.x.double().numpy()
    if len(x) < recipe.starts or not bool(runs.mask.all()) or not np.isfinite(x).all():
        raise ValueError(f"only {int(runs.mask.all(1).sum())} of {recipe.starts} series of {recipe.system} could be integrated to their end")
    return x, runs.spacing


def _write(path: Path, x: np.ndarray, step: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, x=x, step=step)
    os.replace(temporary, path)


def noisy(series: Series, noise: float, seed: int) -> Float[np.ndarray, "time dim"]:
    """The context with normal noise of ``noise`` standard deviations of each channel; its random numbers are of this series alone."""
    if not noise:
        return series.context
    name = zlib.crc32(f"{series.system}/{series.protocol}".encode())
    rng = np.random.default_rng([seed, name, series.start])
    return series.context + noise * series.context.std(0) * rng.standard_normal(series.context.shape)
