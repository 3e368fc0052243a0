"""Correlation dimension of a set of states by the correlation sum (Grassberger & Procaccia 1983) with Theiler's window (1986)."""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
from jaxtyping import Float

__all__ = ["Dimension", "correlation_dimension", "correlation_time", "delay_vectors"]

BINS = 8  #: bins of the distance per factor of two
OCTAVES = 60
LEAST_PAIRS = 200  #: a correlation sum from fewer pairs is too noisy to be fitted
LARGEST = 0.1  #: correlation sums above feel the size of the set
NARROWEST = 2.0  #: octaves of a scaling region


@dataclass(frozen=True, eq=False)
class Dimension:
    """A correlation dimension and where it was read off.

    Attributes:
        value: slope of log C(r) against log r; NaN where there is no scaling region.
        error: standard deviation of the local slopes within the region.
        low, high: ends of the region, in units of the largest standard deviation.
        radii, sums: r and C(r).
    """

    value: float
    error: float
    low: float
    high: float
    radii: np.ndarray
    sums: np.ndarray


def delay_vectors(x: Float[np.ndarray, "time dim"], count: int, lag: int = 1) -> Float[np.ndarray, "vector wide"]:
    """States rebuilt from ``count`` values ``lag`` frames apart, channels side by side (Takens 1981).

    Raises:
        ValueError: the series is too short.
    """
    reach = (count - 1) * lag
    if count < 1 or lag < 1 or len(x) <= reach:
        raise ValueError(f"{count} values {lag} frames apart from {len(x)} frames; at least {max(reach, 0) + 1} frames were wanted")
    return np.concatenate([x[k * lag : len(x) - reach + k * lag] for k in range(count)], 1)


def correlation_time(x: Float[np.ndarray, "time dim"]) -> int:
    """Frames after which the autocorrelation, mean over standardised channels, is first below 1/e; a tenth of the series at most."""
    z = (x - x.mean(0)) / np.maximum(x.std(0), 1e-300)
    power = (np.abs(np.fft.rfft(z, 2 * len(z), axis=0)) ** 2).sum(1)
    correlation = np.fft.irfft(power)[: max(2, len(z) // 10)]
    below = np.flatnonzero(correlation < correlation[0] / np.e)
    return int(below[0]) if len(below) else max(1, len(z) // 10)


@nb.njit(cache=True, nogil=True)
def _histogram(x, stride, theiler, counts):  # type: ignore[no-untyped-def]
    """Count pairs (i, j > i + theiler) by the logarithm of their distance; i takes every stride-th value."""
    n, dim = x.shape
    bins = len(counts)
    pairs = 0
    for i in range(0, n, stride):
        for j in range(i + theiler + 1, n):
            square = 0.0
            for k in range(dim):
                d = x[i, k] - x[j, k]
                square += d * d
            pairs += 1
            place = bins - 1 if square <= 0.0 else int(np.floor(-0.5 * np.log2(square) * BINS)) + 3 * BINS
            counts[min(max(place, 0), bins - 1)] += 1
    return pairs


def correlation_dimension(x: Float[np.ndarray, "time dim"], theiler: int | None = None, references: int = 4000) -> Dimension:
    """Slope of log C(r) over log r, C(r) the share of pairs of states, further apart in time than ``theiler``, that are nearer than r.

    The slope is fitted over the range of at least two octaves, between 200 pairs and a share of 0.1, over which the local slopes scatter least for
    the growth of C (so that a plateau, which repeated states give, is never chosen). A short series gives a wrong value: of 1000 frames the
    dimension of Lorenz' attractor is off by 0.2.

    Args:
        theiler: frames; by default three correlation times.
        references: states that are compared with all later ones, at most.

    Raises:
        ValueError: fewer than 50 frames, values that are not finite, or a constant series.
    """
    x = _states(x)
    window = 3 * correlation_time(x) if theiler is None else theiler
    z = np.ascontiguousarray((x - x.mean(0)) / x.std(0).max())
    counts = np.zeros(BINS * (OCTAVES + 3), np.int64)
    pairs = _histogram(z, max(1, len(z) // references), window, counts)
    within = np.cumsum(counts[::-1])[::-1]  # number of pairs nearer than the outer radius of each bin
    radii, sums = 2.0 ** (3.0 - np.arange(len(counts)) / BINS)[::-1], within[::-1] / max(pairs, 1)
    use = np.flatnonzero((within[::-1] >= LEAST_PAIRS) & (sums <= LARGEST))
    value, error, low, high = _scaling_region(np.log2(radii[use]), np.log2(sums[use]))
    return Dimension(value, error, 2.0**low, 2.0**high, radii, sums)


def _states(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 50:
        raise ValueError(f"states of shape {x.shape}; [time dim] with at least 50 frames was wanted")
    if not np.isfinite(x).all() or not x.std(0).max() > 0:
        raise ValueError("the states are not finite, or constant; cut the series where it has failed")
    return x


def _scaling_region(log_r: np.ndarray, log_c: np.ndarray) -> tuple[float, float, float, float]:
    """Slope, scatter of the local slopes and ends of the range where the local slopes, over an octave each, scatter least for its width."""
    count = len(log_r)
    if count < NARROWEST * BINS + 1:
        return np.nan, np.inf, np.nan, np.nan
    local = log_c[BINS:] - log_c[:-BINS]
    best = (np.inf, 0, count)
    for first in range(0, count, BINS // 2):
        for end in range(first + int(NARROWEST * BINS) + 1, count + 1, BINS // 2):
            inside = local[first : end - BINS]
            best = min(best, ((inside.std() + 0.02) / max(log_c[end - 1] - log_c[first], 1e-9), first, end))
    _, first, end = best
    slope = float(np.polyfit(log_r[first:end], log_c[first:end], 1)[0])
    return slope, float(local[first : end - BINS].std()), float(log_r[first]), float(log_r[end - 1])
