"""The compiled method of steps: DOP853 with error control, whose dense output is kept as far back as the longest delay.

The past is a list of pieces, each a polynomial of degree 7 in the form of DOP853's interpolant; a history that was given is in the same form. Steps
are no longer than the shortest delay, so that a step never needs itself, and end where derivatives jump: at the start, and at sums of delays
after it, where one more derivative is continuous each time. Source: Bellen & Zennaro, Numerical Methods for Delay Differential Equations (2003).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from trajlab.dynamics.compiled import only
from trajlab.dynamics.dop853 import (
    _A,
    _C,
    _D,
    DIVERGED,
    DONE,
    EXPONENT,
    EXTRA,
    GROW,
    NOT_FINITE,
    SAFETY,
    SHRINK,
    STAGES,
    TOO_MANY_STEPS,
    TOO_SMALL,
    _at,
    _error,
    _far,
)

__all__ = ["DELAYED", "FULL", "Past", "march", "march_driver"]

#: type of a right-hand side with delays: (t, x[dim], delayed[delay dim], parameters, out[dim])
DELAYED = nb.void(nb.float64, nb.float64[::1], nb.float64[:, ::1], nb.float64[::1], nb.float64[::1])
FULL = -1  #: there is no room for another piece


class Past(NamedTuple):
    """Pieces of a solution, oldest first.

    Attributes:
        begin, size: ``[piece]``, where a piece starts and how long it is.
        base: ``[piece dim]``, its value at the start.
        table: ``[piece 7 dim]``, coefficients.
        place: ``[1 + delay]``, how many pieces there are, and where each delay last looked.
    """

    begin: np.ndarray
    size: np.ndarray
    base: np.ndarray
    table: np.ndarray
    place: np.ndarray


@nb.njit(nogil=True)
def look(past, which, t, out):  # type: ignore[no-untyped-def]
    """The solution at t, in the past; ``which`` remembers the piece."""
    at, count = past.place[which], past.place[0]
    while at + 1 < count and t >= past.begin[at + 1]:
        at += 1
    while at > 0 and t < past.begin[at]:
        at -= 1
    past.place[which] = at
    _at(past.base[at], past.table[at], (t - past.begin[at]) / past.size[at], out)


@nb.njit(nogil=True)
def _slope(rhs, past, delays, t, x, p, delayed, out):  # type: ignore[no-untyped-def]
    for d in range(delays.shape[0]):
        look(past, d + 1, t - delays[d], delayed[d])
    rhs(t, x, delayed, p, out)


@nb.njit(nogil=True)
def _stages(rhs, past, delays, t, x, h, p, delayed, slopes, point, first, last):  # type: ignore[no-untyped-def]
    """Slopes ``first`` to ``last`` of a step; the point of the last stays in ``point``."""
    dim = x.shape[0]
    for s in range(first, last + 1):
        for i in range(dim):
            total = 0.0
            for j in range(s):
                total += _A[s, j] * slopes[j, i]
            point[i] = x[i] + h * total
        _slope(rhs, past, delays, t + _C[s] * h, point, p, delayed, slopes[s])


@nb.njit(nogil=True)
def _keep(past, t, x, h, new, slopes):  # type: ignore[no-untyped-def]
    """Append the interpolant of an accepted step to the past."""
    n = past.place[0]
    past.begin[n], past.size[n] = t, h
    table = past.table[n]
    for i in range(x.shape[0]):
        past.base[n, i] = x[i]
        delta = new[i] - x[i]
        table[0, i] = delta
        table[1, i] = h * slopes[0, i] - delta
        table[2, i] = 2.0 * delta - h * (slopes[STAGES, i] + slopes[0, i])
        for k in range(4):
            total = 0.0
            for s in range(STAGES + 1 + EXTRA):
                total += _D[k, s] * slopes[s, i]
            table[3 + k, i] = h * total
    past.place[0] = n + 1


@nb.njit(nogil=True)
def forget(past, before):  # type: ignore[no-untyped-def]
    """Drop the pieces that end before a time; returns whether that freed a quarter of the room."""
    count, first = past.place[0], 0
    while first + 1 < count and past.begin[first + 1] < before:
        first += 1
    for n in range(first, count):
        past.begin[n - first], past.size[n - first] = past.begin[n], past.size[n]
        past.base[n - first] = past.base[n]
        past.table[n - first] = past.table[n]
    past.place[0] = count - first
    for d in range(1, past.place.shape[0]):
        past.place[d] = max(0, past.place[d] - first)
    return 4 * first >= past.begin.shape[0]


@nb.njit(cache=True, nogil=True)
def march(rhs, past, clock, x, breaks, delays, p, control, times, out, told):  # type: ignore[no-untyped-def]
    """Go on to a time, writing the solution at given times on the way. Called again, it continues where it was.

    Args:
        rhs: of type `DELAYED`.
        past: pieces that reach back from ``clock[0]`` as far as the longest delay.
        clock: ``[2]``, in and out: the time, and the step to try next.
        x: ``[dim]``, in and out: the state.
        breaks: rising times at which steps must end.
        delays: ``[delay]``.
        control: ``[5]``: rtol, atol, size of all steps (0 for error control), most steps, time to stop at.
        out: ``[time dim]``.
        told: ``[3]``, in and out: frames filled, steps, evaluations.

    Returns:
        status; `FULL` where it must be called again with more room.
    """
    dim, count = x.shape[0], times.shape[0]
    rtol, atol, fixed, most, stop = control[0], control[1], control[2], control[3], control[4]
    slopes, delayed = np.empty((STAGES + 1 + EXTRA, dim)), np.empty((delays.shape[0], dim))
    point, new = np.empty(dim), np.empty(dim)
    longest, shortest = delays.max(), delays.min()
    t, h, failed, edge = clock[0], clock[1], False, 0
    if t >= stop:
        return DONE
    _slope(rhs, past, delays, t, x, p, delayed, slopes[0])
    while True:
        if past.place[0] == past.begin.shape[0] and not forget(past, t - longest):
            return FULL
        if told[1] >= most:
            return TOO_MANY_STEPS
        told[1] += 1
        while edge < breaks.shape[0] and breaks[edge] <= t:
            edge += 1
        target = min(stop, breaks[edge]) if edge < breaks.shape[0] else stop
        left = target - t
        step = min(fixed if fixed > 0.0 else h, shortest)
        cut = step >= left * (1.0 - 1e-12)
        step = left if cut else (0.5 * left if fixed == 0.0 and step > 0.5 * left else step)
        _stages(rhs, past, delays, t, x, step, p, delayed, slopes, point, 1, STAGES - 1)
        _stages(rhs, past, delays, t, x, step, p, delayed, slopes, new, STAGES, STAGES)
        error = _error(x, new, step, slopes, rtol, atol)
        told[2] += STAGES
        if not np.isfinite(error) or (error > 1.0 and fixed == 0.0):
            h = 0.25 * step if not np.isfinite(error) else step * max(SHRINK, SAFETY * error ** (-EXPONENT))
            failed = True
            if h < 1e-15 * max(abs(t), 1e-3) or fixed > 0.0:
                clock[0] = t
                return TOO_SMALL if np.isfinite(error) else NOT_FINITE
            continue
        _stages(rhs, past, delays, t, x, step, p, delayed, slopes, point, STAGES + 1, STAGES + EXTRA)
        told[2] += EXTRA
        _keep(past, t, x, step, new, slopes)
        after, last = target if cut else t + step, past.place[0] - 1
        while told[0] < count and times[told[0]] <= after:
            _at(past.base[last], past.table[last], (times[told[0]] - t) / step, out[told[0]])
            told[0] += 1
        t = after
        for i in range(dim):
            x[i] = new[i]
            slopes[0, i] = slopes[STAGES, i]
        factor = GROW if error == 0.0 else min(GROW, max(SHRINK, SAFETY * error ** (-EXPONENT)))
        grown = step * (min(1.0, factor) if failed else factor)
        h = max(h, grown) if cut and not failed else grown
        failed = False
        clock[0], clock[1] = t, h
        if _far(x):
            return DIVERGED
        if t >= stop:
            return DONE


def march_driver() -> Any:
    """`march`, compiled once for every right-hand side."""
    one, two, whole = nb.float64[::1], nb.float64[:, ::1], nb.int64[::1]
    past = nb.types.NamedTuple([one, one, two, nb.float64[:, :, ::1], whole], Past)
    return only(march, nb.types.FunctionType(DELAYED), past, one, one, one, one, one, one, one, two, whole)
