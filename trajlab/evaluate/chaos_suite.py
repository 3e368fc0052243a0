"""What the forecasting benchmark of chaotic systems does, as data: protocols, systems, forecasters and the claim."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from trajlab.catalog import unknown
from trajlab.evaluate.chaos_names import SCORES

__all__ = ["ChaosSuite", "Protocol", "shipped"]

PLANS = ("quick", "full")
CLOCKS = ("period", "lyapunov")
JUDGING = [name for name, score in SCORES.items() if score.worst is not None and not score.needs]


@dataclass(frozen=True)
class Protocol:
    """How series are sampled and how far they are continued.

    Attributes:
        name: a letter.
        title: for the report.
        clock: whether ``per_period`` points are taken a ``period``, or a time 1/(largest exponent) (``lyapunov``).
        per_period: points in that time.
        context: points to learn from.
        horizon: points that errors are averaged over.
        free: points that are forecast: the cap of valid prediction times, and what long-term figures are made of.

    Raises:
        ValueError: the clock is unknown, or the lengths make no sense.
    """

    name: str
    title: str
    clock: str
    per_period: int
    context: int
    horizon: int
    free: int

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise ValueError(unknown("clock", self.clock, CLOCKS))
        if self.per_period < 2 or self.context < 2 or not 1 <= self.horizon <= self.free:
            raise ValueError(f"protocol {self.name}: per_period={self.per_period}, context={self.context}, horizon={self.horizon}, free={self.free}; "
                             "at least 2 points a period and of context, and 1 <= horizon <= free were wanted")


@dataclass(frozen=True)
class ChaosSuite:
    """A forecasting benchmark on chaotic systems.

    Attributes:
        protocols: by name.
        systems: names of `trajlab.sources.chaos`; none means all that have a continuous time.
        forecasters: names of `trajlab.models.FORECASTERS`, or ``module:name`` of a `SeriesForecaster`.
        noise: standard deviations of the noise on the context, over those of its channels.
        starts: series of each system.
        seed: of starts and noise.
        rtol: tolerance of the truth, relative and absolute.
        transient: periods before the first point: starts are far from each other after it.
        draws: of forecasters that draw.
        bar: the cheap forecasters to be beaten.
        judged: the forecaster that the claim is made for.
        claim: the score of the claim, one that failed forecasts have too.
        also: a second score that is told beside it.
        level: of the paired bootstrap intervals over systems.
        title: for the report.

    Raises:
        ValueError: a setting is out of range, or the bar holds the judged forecaster.
    """

    protocols: Mapping[str, Protocol]
    systems: tuple[str, ...]
    forecasters: tuple[str, ...]
    noise: tuple[float, ...] = (0.0, 0.01)
    starts: int = 4
    seed: int = 20
    rtol: float = 1e-10
    transient: float = 50.0
    draws: int = 8
    bar: tuple[str, ...] = ("nvar", "esn", "parrot")
    judged: str = "portfolio"
    claim: str = "smape"
    also: str = "vpt30_clock"
    level: float = 0.95
    title: str = "Forecasting chaotic systems"
    plan: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.starts < 1 or self.draws < 1 or not 0 < self.level < 1 or not self.rtol > 0:
            raise ValueError(f"starts={self.starts}, draws={self.draws}, level={self.level}, rtol={self.rtol}; at least 1 start and draw, a level "
                             "between 0 and 1 and a positive tolerance were wanted")
        if not self.noise or any(not (math.isfinite(n) and n >= 0) for n in self.noise):
            raise ValueError(f"noise={self.noise}; one or more standard deviations from 0 were wanted, over those of the channels")
        for name in (self.claim, self.also):
            if name not in JUDGING:
                raise ValueError(unknown("score that every forecast has", name, JUDGING))
        if self.judged in self.bar:
            raise ValueError(f"{self.judged!r} is of the bar {', '.join(self.bar)} and cannot be judged against it; choose another --judged")

    @classmethod
    def of(cls, record: Mapping[str, Any], plan: str = "", **changes: Any) -> Self:
        """From a TOML record, with the changes of its table ``plan`` and those given; ``protocols=("A",)`` chooses among those of the record.

        Raises:
            ValueError: an entry, a plan or a protocol is unknown, or a setting is refused.
        """
        if plan and plan not in PLANS:
            raise ValueError(unknown("plan", plan, PLANS))
        values = {k: v for k, v in record.items() if k not in PLANS} | (dict(record.get(plan, {})) if plan else {})
        chosen = changes.pop("protocols", None) or tuple(values["protocols"])
        values |= {k: v for k, v in changes.items() if v is not None}
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(unknown("entry of a suite", name, known))
        for name in chosen:
            if name not in values["protocols"]:
                raise ValueError(unknown("protocol", name, values["protocols"]))
        values["protocols"] = {name: Protocol(name=name, **values["protocols"][name]) for name in chosen}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()} | {"plan": plan})


def shipped(plan: str = "", path: Path | None = None, **changes: Any) -> ChaosSuite:
    """The suite that comes with the package, or that of a file of the same form; ``plan`` is ``quick``, ``full`` or nothing.

    Raises:
        ValueError: as `ChaosSuite.of`.
        FileNotFoundError: the file is not there.
    """
    text = (files("trajlab.evaluate") / "suites" / "chaos.toml").read_text(encoding="utf-8") if path is None else path.read_text(encoding="utf-8")
    return ChaosSuite.of(tomllib.loads(text), plan, **changes)
