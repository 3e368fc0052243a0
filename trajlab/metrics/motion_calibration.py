"""Calibration of predicted positions in the plane: the level at which a region of the forecast just reaches the truth, and what follows from it.

The level u of a truth y is the probability of the smallest region of the forecast that holds it. For a calibrated forecast u is uniform over [0, 1]:
the share of truths inside the region of level p is the share of u <= p. Regions are

- of one Gaussian: ellipses, u = 1 - exp(-m^2 / 2) with m the Mahalanobis distance (chi-square with 2 degrees of freedom);
- of a mixture: ``highest_density``, {y: f(y) >= c} (Hyndman 1996), u by Monte Carlo as the share of draws from the mixture with a higher density;
  or ``nearest_mode``, the ellipse of the mode with the least Mahalanobis distance, as if it had probability 1: never less generous, not calibrated
  for a true mixture, and easy to draw;
- of draws: ellipses about their mean, with Hotelling's T^2 and the F distribution for the unknown mean and covariance: exact for M Gaussian draws.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.metrics.forecasts import by_agent
from trajlab.metrics.motion_density import denser
from trajlab.metrics.motion_likelihood import mahalanobis_squared, regular

__all__ = ["REGIONS", "coverage_of", "draw_levels", "mixture_levels", "mixture_pit", "mixture_spread", "draw_spread", "reliability"]

REGIONS = ("highest_density", "nearest_mode")
CHUNK = 4_000_000  #: numbers held at a time


def mixture_levels(
    probability: Float[Tensor, "node mode"], mean: Float[Tensor, "node mode time 2"], covariance: Float[Tensor, "node mode time 2 2"],
    truth: Float[Tensor, "node time 2"], mask: Bool[Tensor, "node time"], region: str = "highest_density", samples: int = 99,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "node time"]:
    """The level of every truth, NaN where it was not seen.

    Args:
        probability, mean, covariance: of the mixture.
        truth, mask: what came, and where it was seen.
        region: ``highest_density`` or ``nearest_mode``; the same for one mode, where both are exact.
        samples: drawn at each position for more than one mode; the standard error of a level is sqrt(u (1 - u) / samples).
        generator: of these; seeded with 0 if none is given.

    Raises:
        ValueError: an unknown region, no samples, or a covariance that is not positive definite where the truth was seen.
    """
    if region not in REGIONS:
        raise ValueError(unknown("region", region, REGIONS))
    if samples < 1:
        raise ValueError(f"samples={samples}: at least 1 was wanted")
    node, time = mask.nonzero(as_tuple=True)
    y, weight = truth[node, time].double(), probability[node].double()
    centre, spread = mean[node, :, time].double(), covariance[node, :, time].double()  # [item mode ...]
    if region == "nearest_mode" or weight.shape[1] == 1:
        nearest = mahalanobis_squared(y[:, None] - centre, spread)[0].amin(1)
        level = -torch.expm1(-nearest / 2)
    else:
        level = _highest_density(weight, centre, spread, y, samples, generator or torch.Generator().manual_seed(0))
    found = torch.full(mask.shape, math.nan, dtype=torch.float64, device=mask.device)
    found[node, time] = level
    return found


def _highest_density(weight: Tensor, centre: Tensor, spread: Tensor, y: Tensor, samples: int, generator: torch.Generator) -> Float[Tensor, "item"]:
    """Share of samples whose density is above that of the truth; ranks as (r + 1/2) / (M + 1) keep it off 0 and 1."""
    factor, parts = torch.linalg.cholesky(regular(spread)), []
    step = max(1, CHUNK // (3 * samples))
    for begin in range(0, len(y), step):
        w, m, root, t = (value[begin:begin + step] for value in (weight, centre, factor, y))
        uniform = torch.rand(len(t), samples, generator=generator, dtype=torch.float64)
        normal = torch.randn(len(t), samples, 2, generator=generator, dtype=torch.float64)
        above = denser(*(value.detach().cpu().contiguous().numpy() for value in (w.cumsum(-1), m, root, t, uniform, normal)))
        parts.append((torch.from_numpy(above).to(y) + 0.5) / (samples + 1))
    return torch.cat(parts) if parts else y.new_zeros(0)


def draw_levels(
    draws: Float[Tensor, "draw node time 2"], truth: Float[Tensor, "node time 2"], mask: Bool[Tensor, "node time"], least_std: float = 1e-4,
) -> Float[Tensor, "node time"]:
    """The level of every truth among ellipses about M equally likely draws, NaN where it was not seen: with S the unbiased covariance of the draws,
    T^2 = M/(M+1) (y - mean)^T S^-1 (y - mean) and (M-2)/(2(M-1)) T^2 ~ F(2, M-2) for Gaussian draws, u = 1 - (1 + T^2/(M-1))^(-(M-2)/2).

    Args:
        draws, truth, mask: as everywhere.
        least_std: added in quadrature, in the unit of length, for draws that coincide.

    Raises:
        ValueError: fewer than 3 draws.
    """
    count = len(draws)
    if count < 3:
        raise ValueError(f"{count} draws: an ellipse needs at least 3; draw more")
    x = draws.double()
    off = x - x.mean(0)
    spread = torch.einsum("dnti,dntj->ntij", off, off) / (count - 1) + least_std**2 * torch.eye(2, dtype=torch.float64, device=x.device)
    seen = mask[..., None]
    square = mahalanobis_squared(torch.where(seen, truth.double() - x.mean(0), 0.0), spread)[0] * count / (count + 1)
    level = -torch.expm1(-(count - 2) / 2 * torch.log1p(square / (count - 1)))
    return torch.where(mask, level, math.nan)


def coverage_of(level: Float[Tensor, "node time"], p: float) -> Float[Tensor, "node"]:
    """Share of the seen frames of each agent inside the region of level ``p``; NaN where there are none.

    Raises:
        ValueError: the level is not between 0 and 1.
    """
    if not 0 < p < 1:
        raise ValueError(f"level {p:g}: a probability between 0 and 1 was wanted")
    return by_agent((level <= p).double(), ~level.isnan())


def reliability(level: Float[Tensor, "node time"], at: Float[Tensor, "level"]) -> Float[Tensor, "level"]:
    """Share of all seen truths inside the regions of these levels: the diagonal for a calibrated forecast, below it for one too sure.

    Raises:
        ValueError: nothing was seen.
    """
    seen = level[~level.isnan()]
    if not len(seen):
        raise ValueError("there is nothing to score: no frame was seen")
    return torch.searchsorted(seen.sort().values, at.to(seen), right=True).double() / len(seen)


def mixture_pit(
    probability: Float[Tensor, "node mode"], mean: Float[Tensor, "node mode time 2"], covariance: Float[Tensor, "node mode time 2 2"],
    truth: Float[Tensor, "node time 2"], heading: Float[Tensor, "node time"],
) -> Float[Tensor, "node time 2"]:
    """Probability integral transform along and across a heading, sum_k p_k Phi((y - mean_k) / std_k): uniform for a calibrated forecast."""
    c, s = heading.double().cos(), heading.double().sin()
    found = []
    for axis in (torch.stack((c, s), -1), torch.stack((-s, c), -1)):
        off = torch.einsum("nktd,ntd->nkt", truth.double()[:, None] - mean.double(), axis)
        variance = torch.einsum("nti,nktij,ntj->nkt", axis, covariance.double(), axis).clamp(min=1e-12)
        found.append(torch.einsum("nk,nkt->nt", probability.double(), torch.special.ndtr(off / variance.sqrt())))
    return torch.stack(found, -1)


def mixture_spread(
    probability: Float[Tensor, "node mode"], mean: Float[Tensor, "node mode time 2"], covariance: Float[Tensor, "node mode time 2 2"],
) -> Float[Tensor, "node time"]:
    """Sharpness: standard deviation an axis, sqrt(trace / 2) of the whole covariance, that within modes and that between them."""
    weight, mean = probability.double(), mean.double()
    within = torch.einsum("nk,nktii->nt", weight, covariance.double())
    centre = torch.einsum("nk,nktd->ntd", weight, mean)
    between = torch.einsum("nk,nkt->nt", weight, (mean - centre[:, None]).square().sum(-1))
    return ((within + between) / 2).sqrt()


def draw_spread(draws: Float[Tensor, "draw node time 2"]) -> Float[Tensor, "node time"]:
    """Sharpness of draws: standard deviation (unbiased) an axis; a ValueError for fewer than 2."""
    if len(draws) < 2:
        raise ValueError("a single draw has no spread; draw more")
    return (draws.double().var(0).sum(-1) / 2).sqrt()
