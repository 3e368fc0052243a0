"""Calibration of draws: coverage of central intervals, PIT histogram, spread against skill."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.metrics.forecasts import scored

__all__ = ["SpreadSkill", "coverage", "pit_histogram", "spread_skill"]


def _pit(draws: Tensor, truth: Tensor, at: Tensor, mask: Tensor | None) -> Float[Tensor, "edge"]:
    """Mean over seen coordinates of the distribution function of the PIT at some values. With r of M draws below the truth, and ties counted either
    way, the PIT is uniform between r/(M+1) and (r' + 1)/(M+1) (Czado, Gneiting and Held 2009): exactly uniform for draws from the true law."""
    draws, truth, mask = scored(draws, truth, None, mask)
    below, upto = (draws < truth).sum(0)[mask], (draws <= truth).sum(0)[mask]
    if not below.numel():
        raise ValueError("there is nothing to score: the mask is False everywhere")
    width = len(draws) + 1
    low, high = below.flatten().double() / width, (upto.flatten().double() + 1) / width
    return torch.stack([((edge - low) / (high - low)).clamp(0, 1).mean() for edge in at])


def pit_histogram(
    draws: Float[Tensor, "draw node time dim"], truth: Float[Tensor, "_node _time _dim"], mask: Bool[Tensor, "_node _time"] | None = None,
    bins: int = 10
) -> Float[Tensor, "bin"]:
    """Density of the probability integral transform over [0, 1]: 1 everywhere for calibrated draws, a bowl where they are too narrow, a hill where
    they are too wide, a slope where they are to one side. Along the axes, so meaningful where these are alike.

    Raises:
        ValueError: shapes do not fit, a scored value is not finite, there are no bins, or nothing is seen.
    """
    if bins < 1:
        raise ValueError(f"bins={bins}: at least 1 was wanted")
    return _pit(draws, truth, torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=truth.device), mask).diff() * bins


def coverage(
    draws: Float[Tensor, "draw node time dim"], truth: Float[Tensor, "_node _time _dim"], levels: Sequence[float] = (0.5, 0.8),
    mask: Bool[Tensor, "_node _time"] | None = None,
) -> Float[Tensor, "level"]:
    """Share of seen coordinates inside the central intervals of the draws: equal to the levels, for any number of draws, if these are calibrated.

    An end between two order statistics counts the share of the gap that is inside. M draws have central intervals up to (M - 1)/(M + 1).

    Raises:
        ValueError: a level that so many draws do not have, shapes do not fit, a scored value is not finite, or nothing is seen.
    """
    most = (len(draws) - 1) / (len(draws) + 1)
    for level in levels:
        if not 0 < level <= most + 1e-12:
            need = "" if not 0 < level < 1 else f"; {level:g} needs at least {math.ceil((1 + level) / (1 - level) - 1e-9)}"
            raise ValueError(f"{len(draws)} draws have central intervals of levels up to {most:.3g}, and {level:g} was asked for{need}")
    ends = torch.tensor([[(1 - p) / 2, (1 + p) / 2] for p in levels], dtype=torch.float64, device=truth.device)
    return _pit(draws, truth, ends.flatten(), mask).reshape(-1, 2).diff(dim=1)[:, 0]


@dataclass(frozen=True, eq=False)
class SpreadSkill:
    """Spread of the draws against the error of their mean.

    Attributes:
        spread: root mean variance of the draws (unbiased), over all seen coordinates.
        error: root mean square error of the mean of the draws.
        ratio: sqrt(1 + 1/M) spread/error: 1 for draws from the true law (Fortin et al. 2014), below where they are too narrow.
        spread_by, error_by: the same in bins of equally many coordinates from small spread to large, ``[bin]``: equal up to that factor if the
            spread knows which forecasts are good.
    """

    spread: float
    error: float
    ratio: float
    spread_by: Float[Tensor, "bin"]
    error_by: Float[Tensor, "bin"]


def spread_skill(
    draws: Float[Tensor, "draw node time dim"], truth: Float[Tensor, "_node _time _dim"], mask: Bool[Tensor, "_node _time"] | None = None,
    bins: int = 5
) -> SpreadSkill:
    """Spread against skill; see `SpreadSkill`.

    Raises:
        ValueError: fewer than 2 draws, shapes do not fit, a scored value is not finite, or fewer seen coordinates than bins.
    """
    draws, truth, mask = scored(draws, truth, None, mask)
    count = len(draws)
    x = draws.transpose(0, 1).transpose(1, 2)[mask].double() - truth[mask].double()[:, None]  # [seen draw dim]
    if count < 2 or not 1 <= bins <= len(x):
        raise ValueError(f"{count} draws and {len(x)} seen frames of agents, for {bins} bins: at least 2 draws and a frame for each bin are needed")
    variance, square = x.var(1).mean(-1), x.mean(1).square().mean(-1)  # over coordinates: invariant to turns
    order = variance.argsort(stable=True).tensor_split(bins)
    spread, error = float(variance.mean().sqrt()), float(square.mean().sqrt())
    ratio = math.sqrt(1 + 1 / count) * spread / error if error > 0 else math.nan
    return SpreadSkill(spread, error, ratio, *(torch.stack([v[rows].mean() for rows in order]).sqrt() for v in (variance, square)))
