"""Warped time between snapshots: how much of an interval's way is gone at a time, learned from the snapshots that may be seen.

A population need not move evenly. With p(t) the way from the first snapshot on, as the sum of the transport distances W2 between neighbours, made
smooth and monotone (Fritsch & Carlson 1980), the fraction of an interval that is gone at a time is

    s(t) = (p(t) - p(t_k)) / (p(t_{k+1}) - p(t_k)),

against  (t - t_k) / (t_{k+1} - t_k)  by the clock. The two differ where neighbouring intervals have different speeds. Which of them is taken is
decided by leaving out, in turn, each inner one of the snapshots that may be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.metrics.distribution import energy_distance, wasserstein
from trajlab.models.snapshot_baselines import ExactInterpolation, SnapshotMethod, gap, without
from trajlab.types import Snapshots

__all__ = ["CLOCKS", "TimeWarp", "by_clock", "by_progress", "chosen_clock"]

#: A warp: from the snapshots that may be seen and a time to the time at which the unwarped method is to be asked.
Warp = Callable[[Snapshots, float], float]


def by_clock(snapshots: Snapshots, time: float) -> float:  # noqa: ARG001
    """The time itself."""
    return time


def by_progress(snapshots: Snapshots, time: float) -> float:
    """The time at which the clock says the fraction s(t) of the interval.

    Raises:
        ValueError: fewer than two snapshots, or a time outside of them.
    """
    from scipy.interpolate import PchipInterpolator

    here = gap(snapshots, time)
    clock = snapshots.time.tolist()
    steps = [wasserstein(snapshots.at(k), snapshots.at(k + 1), 2) for k in range(len(clock) - 1)]
    way = torch.tensor([0.0, *steps], dtype=torch.float64).cumsum(0)
    if not bool((way.diff() > 0).all()):  # nothing moves
        return time
    p = PchipInterpolator(clock, way.numpy())
    start, end = clock[here.index], clock[here.index + 1]
    s = float((p(time) - p(start)) / (p(end) - p(start)))
    return start + min(max(s, 0.0), 1.0) * here.duration


CLOCKS: dict[str, Warp] = {"clock": by_clock, "progress": by_progress}


def chosen_clock(snapshots: Snapshots, method: SnapshotMethod, seed: int = 0) -> tuple[str, dict[str, float]]:
    """The clock with the least energy distance to inner snapshots left out in turn, and the mean of each; ``clock`` where they are equal or where
    nothing can be left out."""
    inner = range(1, snapshots.n_snapshots - 1)
    if not inner:
        return "clock", {}
    scores = dict.fromkeys(CLOCKS, 0.0)
    for index in inner:
        rest, cells, time = without(snapshots, index), snapshots.at(index), float(snapshots.time[index])
        for name, warp in CLOCKS.items():
            drawn = method.at(rest, warp(rest, time), torch.Generator().manual_seed(seed))
            scores[name] += energy_distance(drawn, cells) / len(inner)
    best = min(scores, key=lambda name: scores[name])
    return (best if scores[best] < scores["clock"] - 1e-12 else "clock"), scores


@dataclass(frozen=True)
class TimeWarp(SnapshotMethod):
    """A method that is asked at a warped time.

    Attributes:
        method: what is asked; displacement interpolation by default.
        clock: ``clock``, ``progress``, or ``chosen`` by the snapshots that may be seen.
        seed: of the choice.

    Raises:
        ValueError: an unknown clock.
    """

    name: ClassVar[str] = "exact transport, warped time"
    method: SnapshotMethod = field(default_factory=ExactInterpolation)
    clock: str = "chosen"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clock not in (*CLOCKS, "chosen"):
            raise ValueError(unknown("clock", self.clock, [*CLOCKS, "chosen"]))

    def at(self, snapshots: Snapshots, time: float, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        clock = chosen_clock(snapshots, self.method, self.seed)[0] if self.clock == "chosen" else self.clock
        return self.method.at(snapshots, CLOCKS[clock](snapshots, time), generator)
