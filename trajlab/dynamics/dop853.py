"""DOP853, the explicit Runge-Kutta method of order 8 of Dormand and Prince with error control and dense output, compiled by numba.

The driver takes the right-hand side as a first-class function of one type, so it is compiled once and kept on disk; a new right-hand side costs a
fraction of a second. Coefficients are those of `scipy.integrate.DOP853`. Source: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations
I, 2nd ed. (1993), II.5 and II.6; the error estimate blends the embedded formulas of orders 5 and 3 as there.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from scipy.integrate import DOP853

from trajlab.dynamics.compiled import only

__all__ = ["DIVERGED", "DONE", "NOT_FINITE", "RHS", "TANGENT", "TOO_MANY_STEPS", "TOO_SMALL", "advance", "row", "row_driver"]

#: type of a right-hand side: (t, x[dim], parameters, out[dim])
RHS = nb.void(nb.float64, nb.float64[::1], nb.float64[::1], nb.float64[::1])
#: type of its directional derivatives: (t, x[dim], v[direction dim], parameters, out[direction dim])
TANGENT = nb.void(nb.float64, nb.float64[::1], nb.float64[:, ::1], nb.float64[::1], nb.float64[:, ::1])

DONE, TOO_SMALL, TOO_MANY_STEPS, NOT_FINITE, DIVERGED = 0, 1, 2, 3, 4
STAGES, EXTRA = 12, 3
SAFETY, SHRINK, GROW, EXPONENT = 0.9, 0.2, 10.0, 0.125
FAR = 1e12  #: a state beyond this has diverged

_A = np.zeros((STAGES + 1 + EXTRA, STAGES + 1 + EXTRA))
_A[:STAGES, :STAGES] = DOP853.A
_A[STAGES, :STAGES] = DOP853.B
_A[STAGES + 1 :, :] = DOP853.A_EXTRA
_C = np.concatenate([DOP853.C, [1.0], DOP853.C_EXTRA])
_E3, _E5, _D = np.ascontiguousarray(DOP853.E3), np.ascontiguousarray(DOP853.E5), np.ascontiguousarray(DOP853.D)


@nb.njit(nogil=True)
def _stage(rhs, t, x, h, p, slopes, point, s):  # type: ignore[no-untyped-def]
    """Slope number s of a step from (t, x); the point it is taken at stays in ``point``."""
    for i in range(x.shape[0]):  # component by component: a sum stays in a register
        total = 0.0
        for j in range(s):
            total += _A[s, j] * slopes[j, i]
        point[i] = x[i] + h * total
    rhs(t + _C[s] * h, point, p, slopes[s])


@nb.njit(nogil=True)
def _error(x, new, h, slopes, rtol, atol):  # type: ignore[no-untyped-def]
    """Norm of the local error in units of the tolerance; not finite where a slope was not."""
    dim = x.shape[0]
    five, three = 0.0, 0.0
    for i in range(dim):
        e5, e3 = 0.0, 0.0
        for s in range(STAGES + 1):
            e5 += _E5[s] * slopes[s, i]
            e3 += _E3[s] * slopes[s, i]
        scale = atol + rtol * max(abs(x[i]), abs(new[i]))
        five += (e5 / scale) ** 2
        three += (e3 / scale) ** 2
    if five == 0.0 and three == 0.0:
        return 0.0
    return abs(h) * five / np.sqrt((five + 0.01 * three) * dim)


@nb.njit(nogil=True)
def first_step(rhs, t, x, p, sign, span, rtol, atol, slopes, point):  # type: ignore[no-untyped-def]
    """A first step by the size of the slope and of its change (Hairer et al., II.4). ``slopes[0]`` must be the slope at (t, x)."""
    dim = x.shape[0]
    d0, d1, d2 = 0.0, 0.0, 0.0
    for i in range(dim):
        scale = atol + rtol * abs(x[i])
        d0 += (x[i] / scale) ** 2
        d1 += (slopes[0, i] / scale) ** 2
    d0, d1 = np.sqrt(d0 / dim), np.sqrt(d1 / dim)
    h = 1e-6 if d0 < 1e-5 or d1 < 1e-5 or not np.isfinite(d1) else 0.01 * d0 / d1
    h = min(h, span)
    for i in range(dim):
        point[i] = x[i] + sign * h * slopes[0, i]
    rhs(t + sign * h, point, p, slopes[1])
    for i in range(dim):
        scale = atol + rtol * abs(x[i])
        d2 += ((slopes[1, i] - slopes[0, i]) / scale) ** 2
    d2 = np.sqrt(d2 / dim) / h
    if not np.isfinite(d2):
        return h
    top = max(d1, d2)
    better = max(1e-6, h * 1e-3) if top <= 1e-15 else (0.01 / top) ** EXPONENT
    return min(100.0 * h, better, span)


@nb.njit(nogil=True)
def _try(rhs, t, x, h, p, slopes, point, new, rtol, atol):  # type: ignore[no-untyped-def]
    """One step: the new state in ``new``, its slope in ``slopes[12]``; returns the error norm."""
    for s in range(1, STAGES):
        _stage(rhs, t, x, h, p, slopes, point, s)
    _stage(rhs, t, x, h, p, slopes, new, STAGES)
    return _error(x, new, h, slopes, rtol, atol)


@nb.njit(nogil=True)
def _dense(rhs, t, x, h, p, slopes, point, new, table):  # type: ignore[no-untyped-def]
    """Coefficients of the interpolant of order 7 over an accepted step."""
    dim = x.shape[0]
    for s in range(STAGES + 1, STAGES + 1 + EXTRA):
        _stage(rhs, t, x, h, p, slopes, point, s)
    for i in range(dim):
        delta = new[i] - x[i]
        table[0, i] = delta
        table[1, i] = h * slopes[0, i] - delta
        table[2, i] = 2.0 * delta - h * (slopes[STAGES, i] + slopes[0, i])
    for k in range(4):
        for i in range(dim):
            total = 0.0
            for s in range(STAGES + 1 + EXTRA):
                total += _D[k, s] * slopes[s, i]
            table[3 + k, i] = h * total


@nb.njit(nogil=True)
def _at(x, table, place, out):  # type: ignore[no-untyped-def]
    """The interpolant at a place from 0 to 1 within the step."""
    for i in range(x.shape[0]):
        value = 0.0
        for k in range(7):
            value += table[6 - k, i]
            value *= place if k % 2 == 0 else 1.0 - place
        out[i] = x[i] + value


@nb.njit(nogil=True)
def _far(x):  # type: ignore[no-untyped-def]
    far = False
    for i in range(x.shape[0]):
        far = far or not abs(x[i]) < FAR
    return far


@nb.njit(nogil=True)
def advance(rhs, t, stop, x, h, p, rtol, atol, most, slopes, work):  # type: ignore[no-untyped-def]
    """Carry the state x, in place, from t to ``stop``, where the last step ends exactly.

    Args:
        rhs: of type `RHS`.
        x: ``[dim]``, overwritten.
        h: size of the first step to try; 0 to choose it.
        most: number of steps, at most.
        slopes: ``[16 dim]``, work space.
        work: ``[2 dim]``, work space.

    Returns:
        (status, time reached, size of the next step, evaluations)
    """
    dim = x.shape[0]
    point, new = work[0], work[1]
    sign = 1.0 if stop >= t else -1.0
    rhs(t, x, p, slopes[0])
    calls = 1
    if h == 0.0:
        h = first_step(rhs, t, x, p, sign, abs(stop - t), rtol, atol, slopes, point)
        calls += 1
    failed = False
    for _ in range(most):
        left = abs(stop - t)
        if left <= 1e-14 * max(abs(t), abs(stop)):
            return DONE, t, h, calls
        cut = h >= left
        step = left if cut else h
        error = _try(rhs, t, x, sign * step, p, slopes, point, new, rtol, atol)
        calls += STAGES
        if not np.isfinite(error) or error > 1.0:
            h = 0.25 * step if not np.isfinite(error) else step * max(SHRINK, SAFETY * error ** (-EXPONENT))
            failed = True
            if h < 1e-15 * max(abs(t), 1e-3):
                return (TOO_SMALL if np.isfinite(error) else NOT_FINITE), t, h, calls
            continue
        t = stop if cut else t + sign * step
        for i in range(dim):
            x[i] = new[i]
            slopes[0, i] = slopes[STAGES, i]
        if _far(x):
            return DIVERGED, t, h, calls
        factor = GROW if error == 0.0 else min(GROW, SAFETY * error ** (-EXPONENT))
        grown = step * (min(1.0, factor) if failed else max(factor, SHRINK))
        h = max(h, grown) if cut else grown
        failed = False
        if cut:
            return DONE, t, h, calls
    return TOO_MANY_STEPS, t, h, calls


@nb.njit(cache=True, nogil=True)
def row(rhs, x0, times, p, rtol, atol, most, out):  # type: ignore[no-untyped-def]
    """One trajectory on given times (rising or falling) by dense output: the steps are those of the error control alone.

    Args:
        x0: ``[dim]``, the state at ``times[0]``.
        out: ``[time dim]``, filled up to where the integration came.

    Returns:
        (status, frames filled, time reached, steps, evaluations)
    """
    dim, count = x0.shape[0], times.shape[0]
    slopes, work, table = np.empty((STAGES + 1 + EXTRA, dim)), np.empty((2, dim)), np.empty((7, dim))
    point, new, x = work[0], work[1], x0.copy()
    t, stop = times[0], times[count - 1]
    sign = 1.0 if stop >= t else -1.0
    out[0] = x
    filled, calls, steps = 1, 1, 0
    rhs(t, x, p, slopes[0])
    if count == 1:
        return DONE, filled, t, steps, calls
    h = first_step(rhs, t, x, p, sign, abs(stop - t), rtol, atol, slopes, point)
    calls += 1
    failed = False
    while filled < count:
        if steps >= most:
            return TOO_MANY_STEPS, filled, t, steps, calls
        steps += 1
        step = min(h, abs(stop - t))
        error = _try(rhs, t, x, sign * step, p, slopes, point, new, rtol, atol)
        calls += STAGES
        if not np.isfinite(error) or error > 1.0:
            h = 0.25 * step if not np.isfinite(error) else step * max(SHRINK, SAFETY * error ** (-EXPONENT))
            failed = True
            if h < 1e-15 * max(abs(t), 1e-3):
                return (TOO_SMALL if np.isfinite(error) else NOT_FINITE), filled, t, steps, calls
            continue
        after = stop if step >= abs(stop - t) else t + sign * step
        if sign * times[filled] <= sign * after:
            _dense(rhs, t, x, sign * step, p, slopes, point, new, table)
            calls += EXTRA
            while filled < count and sign * times[filled] <= sign * after:
                _at(x, table, (times[filled] - t) / (sign * step), out[filled])
                filled += 1
        t = after
        for i in range(dim):
            x[i] = new[i]
            slopes[0, i] = slopes[STAGES, i]
        if _far(x):
            return DIVERGED, filled, t, steps, calls
        factor = GROW if error == 0.0 else min(GROW, SAFETY * error ** (-EXPONENT))
        h = step * (min(1.0, factor) if failed else max(factor, SHRINK))
        failed = False
    return DONE, filled, t, steps, calls


def row_driver():  # type: ignore[no-untyped-def]
    """`row`, compiled once for every right-hand side."""
    one, f8 = nb.float64[::1], nb.float64
    return only(row, nb.types.FunctionType(RHS), one, one, one, f8, f8, nb.int64, nb.float64[:, ::1])
