"""Whether Markov chains have settled: split R-hat and effective sample size (Gelman et al. 2013, Vehtari et al. 2021)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["effective_size", "split_rhat"]


def _halves(draws: np.ndarray) -> np.ndarray:
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, draws.shape[1] - half:]])


def split_rhat(draws: Float[np.ndarray, "chain draw parameter"]) -> Float[np.ndarray, "parameter"]:
    """Variance over all halves of chains against the variance within them; near 1 where the chains have settled, 1 where nothing moves."""
    halves = _halves(draws)
    within = halves.var(1, ddof=1).mean(0)
    between = halves.mean(1).var(0, ddof=1)
    n = halves.shape[1]
    still = within <= 1e-300
    return np.where(still, np.where(between <= 1e-300, 1.0, np.inf), np.sqrt((n - 1) / n + between / np.where(still, 1.0, within)))


def effective_size(draws: Float[np.ndarray, "chain draw parameter"]) -> Float[np.ndarray, "parameter"]:
    """Number of independent draws that would know the mean as well; autocorrelations of all split chains, cut by Geyer's monotone sequence."""
    halves = _halves(draws)
    m, n, _ = halves.shape
    off = halves - halves.mean(1, keepdims=True)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(off, size, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, size, axis=1)[:, :n].mean(0) / n
    within = covariance[0] * n / (n - 1)
    total = within * (n - 1) / n + halves.mean(1).var(0, ddof=1)
    safe = np.where(total <= 1e-300, 1.0, total)
    rho = 1 - (within - covariance * n / (n - 1)) / safe
    rho[0] = 1.0
    pairs = rho[: n // 2 * 2].reshape(n // 2, 2, -1).sum(1)
    pairs = np.where(np.cumsum(pairs < 0, 0) > 0, 0.0, pairs)
    spread = 2 * np.minimum.accumulate(pairs, 0).sum(0) - 1
    return np.where(total <= 1e-300, 1.0, np.minimum(m * n / np.maximum(spread, 1e-12), m * n * np.log10(m * n)))
