"""The largest Lyapunov exponent of a series from the growth of the distance between neighbours (Rosenstein, Collins & De Luca 1993)."""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
from jaxtyping import Float

from trajlab.metrics.chaotic_dimension import _states, correlation_time

__all__ = ["Exponent", "largest_exponent"]

SATURATION = 1.5  #: the growth is fitted up to this many factors of e below the distance of unrelated states
BLOCKS = 8  #: parts of the series whose scatter gives the error


@dataclass(frozen=True, eq=False)
class Exponent:
    """A largest exponent and where it was read off.

    Attributes:
        value: in inverse units of the spacing's time; NaN where the distance saturates at once (noise, or frames too far apart).
        error: standard error from parts of the series, and half the scatter of the local slopes within the range, in quadrature.
        first, last: steps between which the line was fitted.
        curve: mean logarithm of the distance, ``[step]``, distances in units of the largest standard deviation.
    """

    value: float
    error: float
    first: int
    last: int
    curve: np.ndarray


@nb.njit(cache=True, nogil=True)
def _neighbours(x, stride, theiler, ahead, least, found):  # type: ignore[no-untyped-def]
    """The nearest state of every stride-th one that is further away in time than theiler and no nearer than ``least``; -1 where there is none."""
    n, dim = x.shape
    last = n - ahead
    for r in range(len(found)):
        i = r * stride
        nearest, which = np.inf, -1
        for j in range(last):
            if abs(i - j) <= theiler:
                continue
            square = 0.0
            for k in range(dim):
                d = x[i, k] - x[j, k]
                square += d * d
            if least < square < nearest:
                nearest, which = square, j
        found[r] = which


def largest_exponent(
    x: Float[np.ndarray, "time dim"], spacing: float = 1.0, theiler: int | None = None, ahead: int | None = None, references: int = 3000
) -> Exponent:
    """Slope of the mean logarithm of the distance between each state and what was its nearest neighbour.

    The line is fitted where the curve is straightest, before it comes within a factor of e^1.5 of the distance of unrelated states. Regular
    motion gives 0 within its error; noise has no exponent and gives NaN. Of a thousand frames of a flow the value is up to twice too large,
    because the nearest neighbours are not near: compare such values of two series of equal length, and do not quote them.

    Args:
        x: states; of a single channel make some by `trajlab.metrics.chaotic_dimension.delay_vectors`.
        spacing: time between frames.
        theiler: frames that neighbours must be apart; by default three correlation times.
        ahead: frames that they are followed for; by default a quarter of the series or thirty times ``theiler``, whichever is less.
        references: states that are followed, at most.

    Raises:
        ValueError: fewer than 50 frames, values that are not finite, a constant series, or a spacing that is not positive.
    """
    x = _states(x)
    if not spacing > 0:
        raise ValueError(f"spacing={spacing}; the time between frames must be positive")
    window = 3 * correlation_time(x) if theiler is None else theiler
    reach = min(len(x) // 4, max(30 * window, 20)) if ahead is None else ahead
    z = np.ascontiguousarray((x - x.mean(0)) / x.std(0).max())
    stride = max(1, (len(z) - reach) // references)
    found = np.full(-(-(len(z) - reach) // stride), -1)
    _neighbours(z, stride, window, reach, 1e-26, found)
    start = np.flatnonzero(found >= 0)
    if len(start) < 2 * BLOCKS:
        return Exponent(np.nan, np.inf, 0, 0, np.full(reach + 1, np.nan))
    return _fitted(_growth(z, start * stride, found[start], reach), _unrelated(z), spacing)


def _growth(z: np.ndarray, one: np.ndarray, two: np.ndarray, reach: int) -> Float[np.ndarray, "block step"]:
    """Mean logarithm of the distance of the pairs, in blocks along the series."""
    growth = np.empty((BLOCKS, reach + 1))
    for block, pairs in enumerate(np.array_split(np.arange(len(one)), BLOCKS)):
        for n in range(reach + 1):
            square = ((z[one[pairs] + n] - z[two[pairs] + n]) ** 2).sum(1)
            growth[block, n] = 0.5 * np.log(np.maximum(square, 1e-30)).mean()
    return growth


def _unrelated(z: np.ndarray) -> float:
    """Mean logarithm of the distance of states half the series apart."""
    half = len(z) // 2
    square = ((z[:half] - z[half : 2 * half][np.random.default_rng(0).permutation(half)]) ** 2).sum(1)
    return float(0.5 * np.log(np.maximum(square, 1e-30)).mean())


def _fitted(growth: np.ndarray, unrelated: float, spacing: float) -> Exponent:
    curve = growth.mean(0)
    high = np.flatnonzero(curve >= unrelated - SATURATION)
    end = int(high[0]) if len(high) else len(curve) - 1
    if end < 4:
        return Exponent(np.nan, np.inf, 0, end, curve)
    first, last, scatter = _straightest(curve[: end + 1])
    slope = lambda y: float(np.polyfit(np.arange(last + 1 - first) * spacing, y[first : last + 1], 1)[0])  # noqa: E731
    parts = np.array([slope(block) for block in growth])
    return Exponent(slope(curve), float(np.hypot(parts.std(ddof=1) / np.sqrt(BLOCKS), scatter / spacing)), first, last, curve)


def _straightest(curve: np.ndarray) -> tuple[int, int, float]:
    """Ends of the range, of at least 0.4 of the curve, whose local slopes scatter least for its width; and half that scatter, per step."""
    count = len(curve)
    span = max(1, count // 10)
    local = (curve[span:] - curve[:-span]) / span
    rise = max(float(np.abs(curve[-1] - curve[0])) / count, 1e-9)
    least = max(3, int(0.4 * count))
    best = (np.inf, 0, count - 1)
    for first in range(0, count - least, max(1, count // 20)):
        for last in range(first + least, count, max(1, count // 20)):
            inside = local[first : max(first + 1, last - span + 1)]
            best = min(best, ((inside.std() + 0.05 * rise) / (last - first), first, last))
    _, first, last = best
    return first, last, float(local[first : max(first + 1, last - span + 1)].std()) / 2
