"""Whether a forecast has the statistics of the system after it has lost the orbit: its spectrum and where it spends its time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from trajlab.metrics.chaotic import _pair

__all__ = ["attractor_kl", "hellinger", "spectrum"]

CHUNK = 500_000  #: distances at once


def spectrum(x: Float[np.ndarray, "... time dim"], smoothing: float = 2.0) -> Float[np.ndarray, "... frequency dim"]:
    """One-sided power spectra without the mean, smoothed by a Gaussian of ``smoothing`` bins, each channel of sum 1; 0 where it is constant."""
    x = np.asarray(x, dtype=np.float64)
    centred = x - x.mean(-2, keepdims=True)
    centred = np.where(np.abs(centred).max(-2, keepdims=True) <= 1e-12 * np.abs(x).max(-2, keepdims=True), 0.0, centred)
    size = np.abs(centred).max(-2, keepdims=True)
    power = np.abs(np.fft.rfft(centred / np.where(size > 0, size, 1.0), axis=-2)[..., 1:, :]) ** 2
    if smoothing > 0:
        power = gaussian_filter1d(power, smoothing, axis=-2, mode="reflect")
    total = power.sum(-2, keepdims=True)
    return power / np.where(total > 0, total, 1.0)


def hellinger(pred: Float[np.ndarray, "..."], truth: Float[np.ndarray, "..."], smoothing: float = 2.0) -> np.ndarray | float:
    """Hellinger distance of normalised power spectra, sqrt(1 - sum sqrt(f g)), mean over the channels; from 0 to 1.

    The mean of each channel is taken out and its scale does not matter. A prediction that is constant or not finite has a distance of 1.

    Args:
        smoothing: width of the Gaussian over the spectra, in frequency bins.

    Raises:
        ValueError: shapes differ, fewer than 4 frames, a negative smoothing, or the truth is not finite.
    """
    pred, truth = _pair(pred, truth)
    if truth.shape[-2] < 4 or not smoothing >= 0:
        raise ValueError(f"{truth.shape[-2]} frames and smoothing={smoothing}; at least 4 frames and a width that is not negative were wanted")
    good = np.isfinite(pred).all(-2)
    f, g = spectrum(np.where(good[..., None, :], pred, 0.0), smoothing), spectrum(truth, smoothing)
    one_flat = ~good | ((f.sum(-2) > 0) != (g.sum(-2) > 0))
    return np.where(one_flat, 1.0, np.sqrt(0.5 * ((np.sqrt(f) - np.sqrt(g)) ** 2).sum(-2))).mean(-1)


def attractor_kl(
    pred: Float[np.ndarray, "..."], truth: Float[np.ndarray, "..."], bandwidth: float = 0.3, draws: int = 2000, seed: int = 0
) -> np.ndarray | float:
    """Kullback-Leibler divergence of the occupation of state space by the truth from that by the prediction (D_stsp), in nats.

    Both are mixtures of a Gaussian at every frame (Koppe et al. 2019; Brenner et al. 2022), its width ``bandwidth`` standard deviations of the
    truth; KL(truth || prediction) is a Monte Carlo mean over draws of the first, and its error therefore falls as 1/sqrt(draws). It depends on the
    bandwidth, so values compare at equal bandwidth and lengths only. The lengths may differ. Infinite where a prediction is not finite.

    Raises:
        ValueError: the channels or leading axes differ, the truth is not finite or constant in a channel, or a bandwidth or number of draws that is
            not positive.
    """
    pred, truth = np.asarray(pred, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if pred.ndim < 2 or pred.shape[:-2] != truth.shape[:-2] or pred.shape[-1] != truth.shape[-1] or not truth.size or not pred.size:
        raise ValueError(f"a prediction of shape {pred.shape} and a truth of shape {truth.shape}; [... time dim] with equal channels were wanted")
    if not np.isfinite(truth).all() or not (truth.std(-2) > 0).all():
        raise ValueError("the truth is not finite, or constant in a channel; leave out what does not move")
    if not bandwidth > 0 or draws < 1:
        raise ValueError(f"bandwidth={bandwidth}, draws={draws}; positive numbers were wanted")
    rows = [_kl(p, y, bandwidth, draws, np.random.default_rng(seed))
            for p, y in zip(pred.reshape(-1, *pred.shape[-2:]), truth.reshape(-1, *truth.shape[-2:]))]
    return np.array(rows).reshape(truth.shape[:-2])[()]


def _kl(pred: np.ndarray, truth: np.ndarray, bandwidth: float, draws: int, rng: np.random.Generator) -> float:
    if not np.isfinite(pred).all():
        return np.inf
    mean, width = truth.mean(0), bandwidth * truth.std(0)
    p, q = (truth - mean) / width, (pred - mean) / width
    q = np.clip(q, -1e6, 1e6)
    points = p[rng.permutation(np.arange(draws) % len(p))] + rng.standard_normal((draws, p.shape[1]))
    return float((_log_density(points, p) - _log_density(points, q)).mean())


def _log_density(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Logarithm of a mixture of unit Gaussians, but for a constant that depends on the dimension alone."""
    size = max(1, CHUNK // len(centres))
    squares, found = (centres**2).sum(1), []
    for some in (points[i : i + size] for i in range(0, len(points), size)):
        power = some @ centres.T
        power -= 0.5 * squares
        power -= 0.5 * (some**2).sum(1)[:, None]
        top = power.max(1)
        power -= top[:, None]
        found.append(top + np.log(np.exp(power, out=power).sum(1)))
    return np.concatenate(found) - np.log(len(centres))
