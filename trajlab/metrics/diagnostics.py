"""Signs that a sample was made up: the hallucination score of Aithal et al. 2024 (mode interpolation), its window and its threshold.

Where a smooth net bridges two modes of the data, the clean sample that it predicts keeps changing while the noise runs out. The score of a
sample is the variance of that prediction along a window of its path,

    Hal = mean over coordinates of Var_k x0(lam_k),      lam_k in the window

for every node and frame, pooled. There is no window that is right for all nets and data: `tune` finds one, on samples known to be good or bad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.catalog import unknown

POOLS = ("max", "mean")


@dataclass(frozen=True)
class Window:
    """A stretch of log-SNR, both ends within; ``auc`` says how well it told bad from good where it was tuned."""

    start: float
    stop: float
    auc: float = math.nan


@dataclass(frozen=True)
class Threshold:
    """What a calibrated score may be.

    Attributes:
        value: samples that score above it are rejected.
        loss: the share of good samples that may be lost; on fresh good samples the expected loss is at most this.
        samples: how many good samples it was calibrated on.
    """

    value: float
    loss: float
    samples: int

    def keep(self, scores: Float[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """True where a sample is kept; a score that is not a number is not."""
        return scores <= self.value


class Trace:
    """The predicted clean samples of a run, summed up so that any window is had at once.

    Args:
        x0: one ``[batch ...]`` a node of the run, in order (``[step.prediction.x0 for step in samples.trace]``).
        lam: the log-SNR at which each was predicted, rising (``step.prediction.level.lam``).
        mask: ``[batch ...]``, the first axes of x0, True = there.

    Raises:
        ValueError: no two predictions, numbers or shapes that disagree, or log-SNRs that do not rise.
    """

    def __init__(self, x0: Sequence[Tensor] | Tensor, lam: Sequence[float] | Tensor, mask: Tensor | None = None) -> None:
        self.lam = torch.as_tensor(lam, dtype=torch.float64)
        if len(x0) != len(self.lam) or len(x0) < 2:
            raise ValueError(f"{len(x0)} predictions and {len(self.lam)} log-SNRs came; the same number, at least 2, was wanted")
        if not bool((self.lam.diff() > 0).all()):
            raise ValueError("the log-SNRs of a trace must rise; pass them in the order of the run")
        if mask is not None and mask.shape != x0[0].shape[: mask.ndim]:
            raise ValueError(f"the mask has shape {tuple(mask.shape)} and a prediction {tuple(x0[0].shape)}; the mask's axes must be the first ones")
        self.mask, origin = mask, x0[-1].double()
        # Running sums of departures from the last prediction: the variance does not cancel where the data are far from zero.
        off = torch.stack([x.double() - origin for x in x0])
        zero = torch.zeros_like(off[:1])
        self._sum, self._square = torch.cat([zero, off.cumsum(0)]), torch.cat([zero, off.square().cumsum(0)])

    def variance(self, window: Window | None = None) -> Float[Tensor, "batch *part"]:
        """Population variance over a window (the whole trace by default), mean over coordinates (the last axis, if there is more than the batch).

        Raises:
            ValueError: fewer than two predictions in the window.
        """
        first, last = self.bounds(window)
        n = last - first
        mean = (self._sum[last] - self._sum[first]) / n
        found = ((self._square[last] - self._square[first]) / n - mean.square()).clamp(min=0)
        return found.mean(-1) if found.ndim > 1 else found

    def bounds(self, window: Window | None) -> tuple[int, int]:
        """The predictions of a window, as indices [first, last)."""
        if window is None:
            return 0, len(self.lam)
        inside = ((self.lam >= window.start) & (self.lam <= window.stop)).nonzero()[:, 0]
        if len(inside) < 2:
            raise ValueError(f"the window from lam = {window.start:g} to {window.stop:g} holds {len(inside)} of the trace's predictions, which "
                             f"are at {float(self.lam[0]):g} to {float(self.lam[-1]):g}; at least 2 are needed")
        return int(inside[0]), int(inside[-1]) + 1

    def score(self, window: Window | None = None, pool: str = "max") -> Float[Tensor, " batch"]:
        """The variance pooled over nodes and frames: ``max`` (one bad node is a bad sample) or ``mean``.

        Raises:
            ValueError: an unknown pool, or too small a window.
        """
        if pool not in POOLS:
            raise ValueError(unknown("pool", pool, POOLS))
        found = self.variance(window)
        if found.ndim == 1:
            return found
        there = torch.ones_like(found, dtype=torch.bool) if self.mask is None else _widened(self.mask, found)
        if pool == "max":
            return torch.where(there, found, torch.zeros_like(found)).flatten(1).amax(1)
        return torch.where(there, found, torch.zeros_like(found)).flatten(1).sum(1) / there.flatten(1).sum(1).clamp(min=1)


def _widened(mask: Tensor, like: Tensor) -> Tensor:
    mask = mask.any(-1) if mask.ndim > like.ndim else mask
    return mask.reshape(*mask.shape, *[1] * (like.ndim - mask.ndim)).expand_as(like)


def hallucination_score(x0: Sequence[Tensor] | Tensor, lam: Sequence[float] | Tensor, window: Window | None = None, *, pool: str = "max",
                        mask: Tensor | None = None) -> Float[Tensor, " batch"]:
    """The score of every sample of a run, larger = more likely made up.

    Args:
        x0: predicted clean samples, one ``[batch ...]`` a node of the run; the last axis are coordinates.
        lam: their log-SNRs, rising.
        window: from `tune`; the whole trace if None, which is seldom good.
        pool: over nodes and frames, ``max`` or ``mean``.
        mask: True = there.

    Raises:
        ValueError: what `Trace` and `Trace.score` refuse.
    """
    return Trace(x0, lam, mask).score(window, pool)


def auc(scores: Float[Tensor, " batch"], bad: Bool[Tensor, " batch"]) -> float:
    """Probability that a bad sample scores above a good one, ties half (area under the ROC curve).

    Raises:
        ValueError: all samples are good, or all bad.
    """
    n_bad, n_good = int(bad.sum()), int((~bad).sum())
    if n_bad == 0 or n_good == 0:
        raise ValueError(f"{n_bad} bad and {n_good} good samples came; both sorts are needed")
    values, which = torch.unique(scores, return_inverse=True)
    count = torch.bincount(which, minlength=len(values)).double()
    rank = (count.cumsum(0) - 0.5 * (count - 1))[which]
    return float((rank[bad].sum() - n_bad * (n_bad + 1) / 2) / (n_bad * n_good))


def tune(trace: Trace, bad: Bool[Tensor, " batch"], candidates: int = 24, pool: str = "max") -> Window:
    """The window with the largest `auc` on samples known to be good or bad.

    Args:
        trace: of these samples.
        bad: ``[batch]``.
        candidates: number of places, even in the run's steps and in their distance to its end, between which windows are tried.
        pool: as in `Trace.score`.

    Raises:
        ValueError: all samples are good, or all bad.
    """
    steps = len(trace.lam)
    even = torch.linspace(0, steps - 1, candidates).round().long()
    near = steps - 1 - torch.logspace(0, math.log10(max(steps - 1, 1)), candidates).round().long()
    places = torch.unique(torch.cat([even, near])).tolist()
    best: Window | None = None
    for i, first in enumerate(places):
        for last in places[i + 1 :]:
            window = Window(float(trace.lam[first]), float(trace.lam[last]))
            found = auc(trace.score(window, pool), bad)
            if best is None or found > best.auc:
                best = Window(window.start, window.stop, found)
    return best or Window(float(trace.lam[0]), float(trace.lam[-1]))


def calibrate(scores: Float[Tensor, " batch"], loss: float = 0.02) -> Threshold:
    """The threshold that loses at most the share ``loss`` of good samples: the (n + 1)(1 - loss)-th smallest score of n validated ones, whose
    expected loss on fresh samples is at most ``loss`` whatever their law (split conformal, Vovk et al. 2005).

    Raises:
        ValueError: a loss outside (0, 1), scores that are not finite, or too few samples for so small a loss.
    """
    if not 0 < loss < 1:
        raise ValueError(f"loss={loss:g} came; a share between 0 and 1 was wanted")
    if not bool(torch.isfinite(scores).all()):
        raise ValueError(f"{int((~torch.isfinite(scores)).sum())} scores are not finite; drop these samples")
    n = len(scores)
    place = math.ceil((n + 1) * (1 - loss) - 1e-9)
    if place > n:
        raise ValueError(f"{n} samples cannot vouch for a loss of {loss:g}; at least {math.ceil(1 / loss - 1)} are needed")
    return Threshold(float(scores.sort().values[place - 1]), loss, n)


def recall(scores: Float[Tensor, " batch"], bad: Bool[Tensor, " batch"], threshold: Threshold) -> float:
    """The share of bad samples that a threshold rejects."""
    return float((~threshold.keep(scores))[bad].double().mean())
