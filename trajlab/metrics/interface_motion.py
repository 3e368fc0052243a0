"""The frame that moves with an interface: its mean motion from what it looks like at successive times, and patterns brought back by it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

__all__ = ["Motion", "mean_motion", "mean_shift", "moved", "persistence"]


class Motion(NamedTuple):
    """``along[time]`` the stream and ``across[time]`` it, how far the interface has come on average since the first of ``times[time]``."""

    times: Float[np.ndarray, "time"]
    along: Float[np.ndarray, "time"]
    across: Float[np.ndarray, "time"]

    @property
    def velocity(self) -> tuple[float, float]:
        """Over the whole time, along and across the stream."""
        span = float(self.times[-1] - self.times[0])
        return float(self.along[-1]) / span, float(self.across[-1]) / span


def mean_motion(patterns: Any, heights: Any, times: Any, period: float) -> Motion:
    """The mean motion of an interface.

    Args:
        patterns: ``[time x y]``, something that is different on both sides of the interface, such as the signed distance cut at some width; the shift
            between successive times must be less than half of what is between similar parts of the pattern.
        heights: ``[time]``, mean place of the interface across the stream.
        period: of x.

    Raises:
        ValueError: shapes disagree.
    """
    patterns, clock = np.asarray(patterns, dtype=float), np.asarray(times, dtype=float)
    if patterns.ndim != 3 or len(patterns) != len(clock) or np.shape(heights) != clock.shape or len(clock) < 2:
        raise ValueError(f"patterns of shape {patterns.shape}, heights of shape {np.shape(heights)} and times of shape {clock.shape}; [time x y], "
                         "[time] and [time], at least 2, were wanted")
    steps = [mean_shift(a, b, period) for a, b in itertools.pairwise(patterns)]
    return Motion(clock, np.concatenate([[0.0], np.cumsum(steps)]), np.asarray(heights, dtype=float) - heights[0])


def mean_shift(before: Any, after: Any, period: float) -> float:
    """The shift along x by which a pattern ``[x y]`` that repeats is to be moved to be most like another: where their correlation is highest.

    The trigonometric interpolant of the correlation is looked at on a grid that is 16 times as fine, with a parabola through the highest values.

    Raises:
        ValueError: shapes disagree.
    """
    a, b = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if a.shape != b.shape or a.ndim != 2 or len(a) < 4:
        raise ValueError(f"patterns of shapes {a.shape} and {b.shape}; two of shape [x y] were wanted")
    cross = (np.conj(np.fft.rfft(a - a.mean(), axis=0)) * np.fft.rfft(b - b.mean(), axis=0)).sum(1)
    fine = np.fft.irfft(cross, 16 * len(a))
    k = int(fine.argmax())
    low, top, high = fine[k - 1], fine[k], fine[(k + 1) % len(fine)]
    bend = low - 2.0 * top + high
    shift = (k + (0.5 * (low - high) / bend if bend < 0 else 0.0)) / len(fine)
    return float(period * (shift - np.round(shift)))


def moved(pattern: Any, shift: Sequence[float], periods: Sequence[float]) -> Float[np.ndarray, "x y"]:
    """A pattern ``[x y]`` that repeats along both axes, moved by a shift ``(x, y)``: its trigonometric interpolant at x - shift.

    Raises:
        ValueError: no pattern of two axes, or other than two shifts and periods.
    """
    values = np.asarray(pattern, dtype=float)
    if values.ndim != 2 or len(shift) != 2 or len(periods) != 2:
        raise ValueError(f"pattern of shape {values.shape}, shift {tuple(shift)}, periods {tuple(periods)}; [x y] and two of each were wanted")
    kx, ky = (2.0 * np.pi * f * n / p for f, n, p in zip((np.fft.fftfreq(values.shape[0]), np.fft.rfftfreq(values.shape[1])), values.shape, periods))
    turn = np.exp(-1j * (kx[:, None] * shift[0] + ky[None] * shift[1]))
    return np.fft.irfft2(np.fft.rfft2(values) * turn, s=values.shape)


def persistence(patterns: Any, motion: Motion, periods: Sequence[float], part: Any) -> Float[np.ndarray, "time"]:
    """Correlation of each pattern, brought back by the mean motion, with the first one, over a part ``[x y]`` of the grid."""
    part, first = np.asarray(part, dtype=bool), np.asarray(patterns[0], dtype=float)
    back = [moved(p, (-dx, -dy), periods) for p, dx, dy in zip(patterns, motion.along, motion.across)]
    return np.array([np.corrcoef(first[part], b[part])[0, 1] for b in back])
