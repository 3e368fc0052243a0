"""Likelihood of what came under a Gaussian mixture of paths, or under a density estimated from draws."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.metrics.forecasts import by_agent, scored

__all__ = ["gaussian_log_density", "kde_nll", "mahalanobis_squared", "nll_joint", "nll_marginal", "regular"]

CHUNK = 4_000_000  #: numbers held at a time
NARROW = 1e-6  #: of the product of the variances, below which a determinant is rounding


def gaussian_log_density(off: Float[Tensor, "*batch 2"], covariance: Float[Tensor, "*_batch 2 2"]) -> Float[Tensor, "*batch"]:
    """log N(off; 0, covariance) in the plane, nats, float64.

    Raises:
        ValueError: a covariance is not positive definite.
    """
    distance, det = mahalanobis_squared(off, covariance)
    return -0.5 * distance - 0.5 * det.log() - math.log(2 * math.pi)


def regular(covariance: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch 2 2"]:
    """In float64, with 1e-6 of its trace added where an ellipse is so narrow that single precision loses its short axis.

    Raises:
        ValueError: a covariance that is not positive definite by more than rounding.
    """
    covariance = covariance.double()
    xx, xy, yy = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    det = xx * yy - xy.square()
    bad = ~((xx > 0) & (yy > 0) & (det >= -NARROW * 10 * xx * yy))
    if bool(bad.any()):
        place = bad.nonzero()[0].tolist()
        raise ValueError(f"covariance{place} = {covariance[tuple(place)].tolist()} is not positive definite; add the variance of an observation to "
                         "its diagonal")
    added = torch.where(det < NARROW * xx * yy, NARROW * (xx + yy), 0.0)
    return covariance + added[..., None, None] * torch.eye(2, dtype=torch.float64, device=covariance.device)


def mahalanobis_squared(off: Float[Tensor, "*batch 2"], covariance: Float[Tensor, "*_batch 2 2"]) -> tuple[Tensor, Tensor]:
    """``off^T covariance^-1 off`` and the determinant of the covariance; errors as `regular`."""
    off, covariance = off.double(), regular(covariance)
    xx, xy, yy = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    det = xx * yy - xy.square()
    x, y = off.unbind(-1)
    return (yy * x.square() - 2 * xy * x * y + xx * y.square()) / det, det


def _component_logs(mean: Tensor, covariance: Tensor, truth: Tensor, mask: Tensor) -> Float[Tensor, "node mode time"]:
    """log N_kt at the truth, 0 where it was not seen."""
    seen = mask[:, None, :, None]
    off = torch.where(seen, truth.double()[:, None] - mean.double(), 0.0)
    if not bool(torch.isfinite(off).all()):
        raise ValueError(f"the path or truth of node {int((~torch.isfinite(off)).nonzero()[0, 0])} is not finite where it is scored")
    safe = torch.where(seen[..., None], covariance.double(), torch.eye(2, dtype=torch.float64, device=mean.device))
    return torch.where(mask[:, None], gaussian_log_density(off, safe), 0.0)


def nll_joint(
    probability: Float[Tensor, "node mode"], mean: Float[Tensor, "node mode time 2"], covariance: Float[Tensor, "node mode time 2 2"],
    truth: Float[Tensor, "node time 2"], mask: Bool[Tensor, "node time"],
) -> Float[Tensor, "node"]:
    """``-log sum_k p_k prod_t N_kt`` over the seen frames, nats for the whole path: a path keeps its mode. NaN where nothing was seen.

    Times are independent given the mode: that is what the mixture of positions says, and what a loss of this kind was trained on.

    Raises:
        ValueError: a covariance that is not positive definite, or a value that is not finite, where it is scored.
    """
    logs = _component_logs(mean, covariance, truth, mask).sum(-1)
    return torch.where(mask.any(-1), -torch.logsumexp(probability.double().log() + logs, -1), math.nan)


def nll_marginal(
    probability: Float[Tensor, "node mode"], mean: Float[Tensor, "node mode time 2"], covariance: Float[Tensor, "node mode time 2 2"],
    truth: Float[Tensor, "node time 2"], mask: Bool[Tensor, "node time"],
) -> Float[Tensor, "node"]:
    """``-(1/T) sum_t log sum_k p_k N_kt`` over the seen frames, nats a frame: every frame may choose its mode anew. NaN where nothing was seen.

    Far from `nll_joint`, whose unit is a path: compare like with like. Errors as there.
    """
    logs = _component_logs(mean, covariance, truth, mask)
    return by_agent(-torch.logsumexp(probability.double().log()[..., None] + logs, 1), mask)


def kde_nll(
    draws: Float[Tensor, "draw node time 2"], truth: Float[Tensor, "node time 2"], mask: Bool[Tensor, "node time"] | None = None,
    floor: float = -20.0, least_std: float = 1e-4,
) -> Float[Tensor, "node"]:
    """Negative log-density of the truth under a Gaussian kernel estimate from the draws at each frame, averaged over seen frames, nats a frame.

    Kernels have the covariance of the draws (unbiased) times M^(-1/3), the rule of Scott (1992) in two dimensions, and log-densities are clipped from
    below, as is customary for forecasts of pedestrians (Ivanovic and Pavone 2019; Kothari et al. 2021). The estimate widens the law of the draws,
    more so for few: compare forecasts with the same number of draws.

    Args:
        draws, truth, mask: as everywhere.
        floor: of the log-density.
        least_std: added in quadrature to the kernels, in the unit of length; draws that coincide have a density only with it.

    Raises:
        ValueError: fewer than 3 draws, shapes do not fit, or a scored value is not finite.
    """
    draws, truth, mask = scored(draws, truth, None, mask)
    count = len(draws)
    if count < 3:
        raise ValueError(f"{count} draws: a density needs at least 3; draw more, or score the path by its distance")
    x, y = draws.double().flatten(1, 2), truth.double().flatten(0, 1)
    parts, step = [], max(1, CHUNK // count)
    for begin in range(0, len(y), step):
        part = x[:, begin:begin + step]
        off = part - part.mean(0)
        covariance = torch.einsum("dni,dnj->nij", off, off) / (count - 1) * count ** (-1 / 3)
        covariance = covariance + least_std**2 * torch.eye(2, dtype=torch.float64, device=x.device)
        logs = gaussian_log_density(y[begin:begin + step] - part, covariance.expand(count, -1, -1, -1))
        parts.append(torch.logsumexp(logs, 0) - math.log(count))
    density = torch.cat(parts).reshape(mask.shape) if parts else truth.new_zeros(mask.shape)
    return by_agent(-density.clamp(min=floor), mask)
