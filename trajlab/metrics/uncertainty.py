"""Error bars: blocking for correlated series, bootstrap over independent runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Estimate(NamedTuple):
    """A number and its standard error, NaN where there is none."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4g}" if math.isnan(self.error) else f"{self.value:.4g} ± {self.error:.2g}"


def blocked_mean(series: Float[Tensor, "run time"], alive: Bool[Tensor, "run time"] | None = None) -> Estimate:
    """The mean of correlated series and its standard error by blocking, pooled over independent runs.

    Neighbouring values are averaged into ever longer blocks (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461, 1989); the length is the
    smallest B with ``B^3 > 2 n (s_B/s_1)^4`` (Lee et al., Phys. Rev. E 83, 066706, 2011), s_B being the standard error from
    blocks of B and n the number of values. Where no length satisfies this, the series is too short for its correlation time and the
    largest error that was seen is returned.

    Raises:
        ValueError: nothing is alive.
    """
    alive = torch.ones_like(series, dtype=torch.bool) if alive is None else alive
    n = int(alive.sum())
    if n == 0:
        raise ValueError("there is nothing to average: no value is alive (every run was stopped before its first frame, or all were dropped)")
    mean = float(series.double()[alive].mean())
    errors = _standard_errors(series.double(), alive, mean)
    if not errors:
        return Estimate(mean, math.nan)
    first = max(errors[1], 1e-300) if 1 in errors else math.inf
    good = [error for length, error in errors.items() if length**3 > 2 * n * (error / first) ** 4]
    return Estimate(mean, good[0] if good else max(errors.values()))


def _standard_errors(series: Tensor, alive: Tensor, mean: float) -> dict[int, float]:
    """Standard error of the mean from blocks of 1, 2, 4, ... values, while at least 4 blocks are whole."""
    errors, length = {}, 1
    while True:
        count = int(alive.sum())
        if count < 4:
            return errors
        errors[length] = math.sqrt(float((series[alive] - mean).square().sum()) / (count * (count - 1)))
        even = series.shape[1] // 2 * 2
        if not even:
            return errors
        series = torch.where(alive, series, 0.0)[:, :even].unflatten(1, (-1, 2)).mean(2)
        alive = alive[:, :even].unflatten(1, (-1, 2)).all(2)
        length *= 2


def bootstrap(
    statistic: Callable[[Tensor], Tensor], n_runs: int, generator: torch.Generator | None = None, draws: int = 200
) -> Float[Tensor, "draw ..."]:
    """``statistic(count)`` for runs drawn with replacement, ``count[run]`` saying how often each was drawn.

    Raises:
        ValueError: there are no runs.
    """
    if n_runs < 1:
        raise ValueError("a bootstrap needs at least 1 run")
    generator = generator or torch.Generator().manual_seed(0)
    chosen = torch.randint(n_runs, (draws, n_runs), generator=generator, device=generator.device)
    ones = torch.ones_like(chosen, dtype=torch.float64)
    counts = torch.zeros_like(ones).scatter_add_(1, chosen, ones)
    return torch.stack([statistic(count) for count in counts])
