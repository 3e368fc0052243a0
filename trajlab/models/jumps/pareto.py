"""Importance weights with a Pareto-smoothed tail, and how far they can be trusted (Vehtari, Simpson, Gelman, Yao and Gabry 2024)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["pareto_fit", "smoothed_weights"]

GOOD = 0.7  #: tail index up to which importance sampling works in practice


def pareto_fit(excess: Float[np.ndarray, "tail"]) -> tuple[float, float]:
    """Tail index and scale of a generalised Pareto law (Zhang and Stephens 2009, with the weak prior of Vehtari et al.)."""
    x = np.sort(excess)
    n = len(x)
    grid = 30 + int(np.sqrt(n))
    j = np.arange(1, grid + 1)
    theta = 1 / x[-1] + (1 - np.sqrt(grid / (j - 0.5))) / (3 * x[max(int(n / 4 + 0.5) - 1, 0)])
    shape = np.log1p(-theta[:, None] * x).mean(1)
    profile = n * (np.log(-theta / shape) - shape - 1)
    weight = 1 / np.exp(profile[None, :] - profile[:, None]).sum(1)
    best = (theta * weight).sum()
    k = np.log1p(-best * x).mean()
    return float((n * k + 10 * 0.5) / (n + 10)), float(-k / best)


def smoothed_weights(log_ratio: Float[np.ndarray, "draw"]) -> tuple[Float[np.ndarray, "draw"], float]:
    """Normalised weights from logarithms of (target / proposal), and the tail index: below 0.7 they can be used, above they must not.

    The largest weights are replaced by expected order statistics of the fitted tail, never above the largest one seen.
    """
    finite = np.isfinite(log_ratio)
    n = len(log_ratio)
    if finite.sum() < 25:
        return np.where(finite, 1.0, 0.0) / max(int(finite.sum()), 1), np.inf
    weight = np.exp(np.where(finite, log_ratio, -np.inf) - log_ratio[finite].max())
    tail = int(min(0.2 * n, 3 * np.sqrt(n)))
    order = np.argsort(weight)
    top, cut = order[-tail:], weight[order[-tail - 1]]
    excess = weight[top] - cut
    if excess[-1] <= 1e-12:  # all the same: the proposal is the target
        return weight / weight.sum(), -np.inf
    k, scale = pareto_fit(np.maximum(excess, 1e-300))
    chance = (np.arange(tail) + 0.5) / tail
    grown = -np.log1p(-chance) if abs(k) < 1e-12 else np.expm1(-k * np.log1p(-chance)) / k
    weight[top] = np.minimum(cut + scale * grown, weight.max())
    return weight / weight.sum(), k
