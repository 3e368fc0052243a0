"""How cells are distributed between two snapshots: null models and displacement interpolation, all asked in the same way.

    method.left_out(snapshots, index, generator)     the snapshot with this index, from the others
    method.at(snapshots, time, generator)            a population at a time between two of the snapshots
    method.between(x0, t0, x1, t1, time, generator)  the same for two populations

A method never sees what it is asked for: `left_out` takes the snapshot out before anything is fitted.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.couplings.exact import emd
from trajlab.couplings.populations import drawn, two, weights
from trajlab.types import Snapshots

__all__ = ["CopyNext", "CopyPrevious", "ExactInterpolation", "Gap", "PairMethod", "Pooled", "RandomPairs", "SnapshotMethod", "gap", "without"]


class Gap(NamedTuple):
    """Two populations and a time between them.

    Attributes:
        x0, x1: ``[cell dim]`` and ``[other dim]``, float64.
        a, b: their weights, each summing to 1.
        duration: from the first to the second.
        s: where the time is, 0 at the first, 1 at the second.
        index: of the first among the snapshots.
    """

    x0: Tensor
    x1: Tensor
    a: Tensor
    b: Tensor
    duration: float
    s: float
    index: int

    @property
    def size(self) -> int:
        """Cells of the larger population: how many are predicted."""
        return max(len(self.x0), len(self.x1))


class SnapshotMethod(ABC):
    """What predicts a population between snapshots."""

    @abstractmethod
    def at(self, snapshots: Snapshots, time: float, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        """Cells at a time within the snapshots, float64, all of one weight.

        Args:
            snapshots: all that may be seen, two at least.
            time: between the first and the last, in their unit.
            generator: of everything that is drawn.

        Raises:
            ValueError: fewer than two snapshots, or a time outside of them.
            TypeError: no `Snapshots`.
        """

    def between(self, x0: Any, t0: float, x1: Any, t1: float, time: float, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        """Cells at a time between two populations seen at t0 and t1; `at` of these two snapshots.

        Raises:
            ValueError: a value that is not finite, an empty population, different dimensions, or times that do not rise.
        """
        x0, x1 = two(x0, x1)
        label = torch.tensor([0] * len(x0) + [1] * len(x1))
        return self.at(Snapshots(torch.cat([x0, x1]), label, torch.tensor([t0, t1], dtype=torch.float64)), time, generator)

    def left_out(self, snapshots: Snapshots, index: int, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        """Cells at the time of a snapshot that is taken out first.

        Raises:
            ValueError: it is the first or the last one, or not there.
        """
        return self.at(without(snapshots, index), float(snapshots.time[index]), generator)


def without(snapshots: Snapshots, index: int) -> Snapshots:
    """All snapshots but one that has neighbours on both sides.

    Raises:
        ValueError: it has not.
    """
    last = snapshots.n_snapshots - 1
    if not 0 < index < last:
        raise ValueError(f"snapshot {index} of {last + 1} was to be left out; one with neighbours on both sides was wanted" +
                         (f": 1 to {last - 1}" if last > 1 else ", and there is none: three snapshots are needed"))
    keep, times = snapshots.snapshot != index, torch.arange(last + 1) != index
    label = snapshots.snapshot[keep]
    return snapshots.replace(x=snapshots.x[keep], snapshot=label - (label > index).to(label.dtype), time=snapshots.time[times],
                             weight=snapshots.weight[keep])


def gap(snapshots: Snapshots, time: float) -> Gap:
    """The two snapshots around a time.

    Raises:
        ValueError: fewer than two snapshots, or the time is outside of them.
        TypeError: no `Snapshots`.
    """
    if not isinstance(snapshots, Snapshots):
        raise TypeError(f"a {type(snapshots).__name__} came; Snapshots were wanted, whose cells are not followed")
    clock = snapshots.time.tolist()
    if len(clock) < 2 or not clock[0] <= time <= clock[-1]:
        raise ValueError(f"time {time:g} was asked for and there are snapshots at {', '.join(f'{t:g}' for t in clock)}; a time between two snapshots "
                         "was wanted")
    k = min(sum(t <= time for t in clock), len(clock) - 1) - 1
    (x0, a), (x1, b) = (_population(snapshots, i) for i in (k, k + 1))
    duration = clock[k + 1] - clock[k]
    return Gap(x0, x1, a, b, duration, (time - clock[k]) / duration, k)


def _population(snapshots: Snapshots, index: int) -> tuple[Tensor, Tensor]:
    here = snapshots.snapshot == index
    w = weights(f"snapshot {index}", snapshots.weight[here], int(here.sum()))
    kept = w > 0
    return snapshots.x[here][kept].double().cpu(), w[kept]


class PairMethod(SnapshotMethod):
    """What looks at the two neighbours alone."""

    def at(self, snapshots: Snapshots, time: float, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        return self.inside(gap(snapshots, time), generator)

    @abstractmethod
    def inside(self, gap: Gap, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        """Cells of one weight at the time of the gap."""


def even(x: Tensor, w: Tensor, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
    """As many cells of one weight; as they are where the weights are equal."""
    return x[drawn(w, len(x), generator)]


class CopyPrevious(PairMethod):
    """The snapshot before."""

    name: ClassVar[str] = "copy previous"

    def inside(self, gap: Gap, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        return even(gap.x0, gap.a, generator)


class CopyNext(PairMethod):
    """The snapshot after."""

    name: ClassVar[str] = "copy next"

    def inside(self, gap: Gap, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        return even(gap.x1, gap.b, generator)


class Pooled(PairMethod):
    """The cells of both neighbours together, whatever the time."""

    name: ClassVar[str] = "pooled neighbours"

    def inside(self, gap: Gap, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        return torch.cat([even(gap.x0, gap.a, generator), even(gap.x1, gap.b, generator)])


def between_pairs(x: Tensor, y: Tensor, s: float) -> Float[Tensor, "pair dim"]:
    """The points that lie the fraction s of the way from x to y."""
    return torch.lerp(x, y, s)


class RandomPairs(PairMethod):
    """Cells of both neighbours paired at random, at the fraction of the way that the clock says: the independent coupling."""

    name: ClassVar[str] = "random pairs"

    def inside(self, gap: Gap, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        x, y = gap.x0[drawn(gap.a, gap.size, generator)], gap.x1[drawn(gap.b, gap.size, generator)]
        return between_pairs(x, y[torch.randperm(len(y), generator=generator)], gap.s)


class ExactInterpolation(PairMethod):
    """Displacement interpolation (McCann 1997): cells paired by exact optimal transport of the squared distance, at the fraction s of the way,

        x_s = (1 - s) x_0 + s x_1,   s = (time - t_0) / (t_1 - t_0).

    Args:
        warp: s is replaced by s^warp: above 1 the population stays near the first snapshot for longer. 1 is the clock.

    Raises:
        ValueError: a warp that is not positive.
    """

    name: ClassVar[str] = "exact transport"

    def __init__(self, warp: float = 1.0) -> None:
        if not (warp > 0 and math.isfinite(warp)):
            raise ValueError(f"warp={warp} came; a positive number was wanted")
        self.warp = warp

    def inside(self, gap: Gap, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        source, target = emd(gap.x0, gap.x1, gap.a, gap.b).pairs(gap.size, generator)
        return between_pairs(gap.x0[source], gap.x1[target], gap.s**self.warp)
