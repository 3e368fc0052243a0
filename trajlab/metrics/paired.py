"""Which of two models is better: paired bootstrap over independent systems."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from scipy.special import ndtr, stdtrit
from torch import Tensor

from trajlab.metrics.uncertainty import Estimate

__all__ = ["Paired", "beats_all", "paired_bootstrap"]

CHUNK = 8_000_000  #: counts held at a time


@dataclass(frozen=True)
class Paired:
    """A comparison of two models on the same systems; smaller scores are better.

    Attributes:
        value: mean of the first minus mean of the second (``difference``), or the first over the second (``ratio``).
        low, high: ends of the interval.
        error: standard deviation over the bootstrap.
        level: of the interval.
        statistic: ``difference`` or ``ratio``.
        runs: independent runs that were resampled.
        first, second: the two means.
    """

    value: float
    low: float
    high: float
    error: float
    level: float
    statistic: str
    runs: int
    first: float
    second: float

    @property
    def beats(self) -> bool:
        """Whether the first model is better: the interval lies below 0 (difference) or 1 (ratio)."""
        return self.high < (0.0 if self.statistic == "difference" else 1.0)

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.value, self.error)

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] ({self.level:.0%}, {self.runs} runs)"


def paired_bootstrap(
    first: Float[Tensor, "system"], second: Float[Tensor, "_system"], run: Int[Tensor, "_system"] | None = None, *,
    statistic: Literal["difference", "ratio"] = "difference", level: float = 0.95, draws: int = 2000, generator: torch.Generator | None = None,
) -> Paired:
    """Compare the mean scores of two models over the same systems, smaller being better.

    Runs are drawn with replacement, both models on the same ones, and the mean is over the systems of the drawn runs: windows of one run
    are not independent, and errors that both models share cancel. The interval is that of percentiles, widened for few runs n to
    Phi(-sqrt(n/(n-1)) t_{n-1}) (Hesterberg 2015, The American Statistician 69, 371), without which it is too short.

    Args:
        first, second: scores of each system, such as `Displacement.per_scene`; NaN in both where a system has no score.
        run: the independent run of each system (``context["run"]``); every system is one by default.
        statistic: difference of the means, or their ratio.
        level: of the interval.
        draws: of the bootstrap.
        generator: seeded with 0 if none is given.

    Raises:
        ValueError: lengths differ, one model has a score where the other has none, or there are too few runs for the level.
    """
    _check(first, second, run, statistic, level, draws)
    keep = ~(first.isnan() & second.isnan())
    number = torch.arange(len(first), device=first.device) if run is None else run
    row = number[keep].unique(return_inverse=True)[1]
    totals = _totals(torch.stack([first[keep], second[keep], torch.ones_like(first[keep])], 1).double(), row)
    _enough(len(totals), level)
    drawn = _resampled(totals, draws, generator or torch.Generator().manual_seed(0))
    return _paired(totals, drawn, statistic, level)


def beats_all(scores: Mapping[str, Tensor], judged: str, run: Tensor | None = None, *, level: float = 0.95, seed: int = 0) -> dict[str, Paired]:
    """One model against every other, on the same bootstrap draws; ``all(p.beats for p in ...values())`` is the verdict.

    Args:
        scores: score of each system ``[system]`` by model, smaller being better.
        judged: name of the model.
        run, level: as for `paired_bootstrap`.
        seed: of the bootstrap.

    Raises:
        ValueError: ``judged`` is not among the models, or as `paired_bootstrap`.
    """
    if judged not in scores:
        raise ValueError(f"there are no scores of {judged!r}; there are those of {', '.join(scores)}")
    seeded = lambda: torch.Generator().manual_seed(seed)  # noqa: E731
    return {name: paired_bootstrap(scores[judged], other, run, level=level, generator=seeded()) for name, other in scores.items() if name != judged}


def _check(first: Tensor, second: Tensor, run: Tensor | None, statistic: str, level: float, draws: int) -> None:
    if len(first) != len(second) or (run is not None and len(run) != len(first)):
        raise ValueError(f"scores of {len(first)} and {len(second)} systems{'' if run is None else f' in {len(run)} runs'}; score both models on the "
                         "same systems, with one run number each")
    if statistic not in ("difference", "ratio") or not 0 < level < 1 or draws < 100:
        raise ValueError(f"statistic={statistic!r}, level={level}, draws={draws}: 'difference' or 'ratio', a level between 0 and 1 and at least 100 "
                         "draws were wanted")
    lacking = first.isnan() ^ second.isnan()
    if bool(lacking.any()):
        raise ValueError(f"{int(lacking.sum())} systems (first: {int(lacking.nonzero()[0])}) have a score for one model only; a model cannot be "
                         "excused from the systems where it failed. Give them a score, or drop them for both and say so")


def _enough(runs: int, level: float) -> None:
    """n signs fall on one side with probability 2^(1-n), whatever the resampling does."""
    least = max(2, math.ceil(1 - math.log2(1 - level)))
    if runs < least:
        raise ValueError(f"{runs} independent runs cannot carry an interval of {level:.0%}; at least {least} are needed. Simulate or record more "
                         "runs (windows of one run count once)")


def _totals(value: Float[Tensor, "system column"], row: Int[Tensor, "system"]) -> Float[Tensor, "run column"]:
    return value.new_zeros(int(row.max()) + 1 if len(row) else 0, value.shape[1]).index_add_(0, row, value)


def _resampled(totals: Tensor, draws: int, generator: torch.Generator) -> Float[Tensor, "draw column"]:
    """Sums over the runs of each draw."""
    runs, parts = len(totals), []
    step = max(1, CHUNK // runs)
    for begin in range(0, draws, step):
        chosen = torch.randint(runs, (min(step, draws - begin), runs), generator=generator, device=generator.device).to(totals.device)
        counts = totals.new_zeros(chosen.shape).scatter_add_(1, chosen, totals.new_ones(chosen.shape))
        parts.append(counts @ totals)
    return torch.cat(parts)


def _paired(totals: Tensor, drawn: Tensor, statistic: str, level: float) -> Paired:
    def of(sums: Tensor) -> Tensor:
        one, two, count = sums.unbind(-1)
        return (one - two) / count if statistic == "difference" else one / two

    runs, values, means = len(totals), of(drawn), totals.sum(0)
    t = float(stdtrit(runs - 1, (1 + level) / 2))
    tail = float(ndtr(-math.sqrt(runs / (runs - 1)) * t))
    low, high = torch.quantile(values, values.new_tensor([tail, 1 - tail])).tolist()
    return Paired(float(of(means)), low, high, float(values.std()), level, statistic, runs, float(means[0] / means[2]), float(means[1] / means[2]))
