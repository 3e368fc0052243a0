"""Compiled loops over particles: flow maps with their gradients and what is averaged along the way, by the classical Runge-Kutta method.

The velocity is a first-class function of one type, so each loop is compiled once for all flows and kept on disk.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from trajlab.dynamics.compiled import only
from trajlab.dynamics.dop853 import RHS

__all__ = ["JOINT", "augmented", "carry_driver", "pullback_driver"]

#: type of a velocity with its gradient: (t, x[dim], parameters, u[dim], g[dim dim]), g[i, j] = du_i/dx_j
JOINT = nb.void(nb.float64, nb.float64[::1], nb.float64[::1], nb.float64[::1], nb.float64[:, ::1])


@nb.njit(nogil=True, inline="always")
def _slopes(joint, t, z, p, u, g, out, dim):  # type: ignore[no-untyped-def]
    """Rates of z = (x, DF row by row, integral of the vorticity)."""
    joint(t, z[:dim], p, u, g)
    for i in range(dim):
        out[i] = u[i]
        for j in range(dim):
            total = 0.0
            for k in range(dim):
                total += g[i, k] * z[dim + k * dim + j]
            out[dim + i * dim + j] = total
    out[dim + dim * dim] = g[1, 0] - g[0, 1] if dim == 2 else 0.0


@nb.njit(nogil=True, inline="always")
def _step(joint, t, h, z, p, u, g, slope, total, y, dim):  # type: ignore[no-untyped-def]
    """One step of the classical Runge-Kutta method, in place; slope, total and y are work spaces of the size of z."""
    size = dim + dim * dim + 1
    _slopes(joint, t, z, p, u, g, slope, dim)
    for i in range(size):
        total[i] = slope[i]
        y[i] = z[i] + 0.5 * h * slope[i]
    _slopes(joint, t + 0.5 * h, y, p, u, g, slope, dim)
    for i in range(size):
        total[i] += 2.0 * slope[i]
        y[i] = z[i] + 0.5 * h * slope[i]
    _slopes(joint, t + 0.5 * h, y, p, u, g, slope, dim)
    for i in range(size):
        total[i] += 2.0 * slope[i]
        y[i] = z[i] + h * slope[i]
    _slopes(joint, t + h, y, p, u, g, slope, dim)
    for i in range(size):
        z[i] += h / 6.0 * (total[i] + slope[i])


@nb.njit(nogil=True, inline="always")
def _carry(joint, starts, t0, duration, steps, p, first, last, x, gradient, vorticity, dim):  # type: ignore[no-untyped-def]
    """Flow map, its gradient and the averaged vorticity of the particles first <= i < last.

    Args:
        joint: of type `JOINT`; what is not finite ends a particle.
        starts: ``[particle dim]``.
        x, gradient, vorticity: ``[particle dim]``, ``[particle dim dim]``, ``[particle]``, filled; NaN for particles that ended.
        dim: a constant where the caller has it, so that the loops over components are unrolled.
    """
    size = dim + dim * dim + 1
    u, g, z, slope, total, y = np.empty(dim), np.empty((dim, dim)), np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    h = duration / steps
    for i in range(first, last):
        z[:] = 0.0
        for a in range(dim):
            z[a] = starts[i, a]
            z[dim + a * dim + a] = 1.0
        for s in range(steps):
            _step(joint, t0 + s * h, h, z, p, u, g, slope, total, y, dim)
            if not np.isfinite(z[0]):
                z[:] = np.nan
                break
        for a in range(dim):
            x[i, a] = z[a]
            for b in range(dim):
                gradient[i, a, b] = z[dim + a * dim + b]
        vorticity[i] = z[dim + dim * dim] / duration if dim == 2 else np.nan


@nb.njit(cache=True, nogil=True)
def carry_2(joint, starts, t0, duration, steps, p, first, last, x, gradient, vorticity):  # type: ignore[no-untyped-def]
    """`_carry` in two dimensions."""
    _carry(joint, starts, t0, duration, steps, p, first, last, x, gradient, vorticity, 2)


@nb.njit(cache=True, nogil=True)
def carry_3(joint, starts, t0, duration, steps, p, first, last, x, gradient, vorticity):  # type: ignore[no-untyped-def]
    """`_carry` in three dimensions."""
    _carry(joint, starts, t0, duration, steps, p, first, last, x, gradient, vorticity, 3)


@nb.njit(cache=True, nogil=True)
def carry_n(joint, starts, t0, duration, steps, p, first, last, x, gradient, vorticity):  # type: ignore[no-untyped-def]
    """`_carry` in any dimension."""
    _carry(joint, starts, t0, duration, steps, p, first, last, x, gradient, vorticity, starts.shape[1])


@nb.njit(cache=True, nogil=True)
def _solved(m, b, dim, out):  # type: ignore[no-untyped-def]
    """out = M^-1 b for a matrix of 2 or 3 rows, row by row in the vector m, by cofactors."""
    if dim == 2:
        det = m[0] * m[3] - m[1] * m[2]
        out[0] = (m[3] * b[0] - m[1] * b[1]) / det
        out[1] = (m[0] * b[1] - m[2] * b[0]) / det
        return
    c0, c1, c2 = m[4] * m[8] - m[5] * m[7], m[5] * m[6] - m[3] * m[8], m[3] * m[7] - m[4] * m[6]
    det = m[0] * c0 + m[1] * c1 + m[2] * c2
    out[0] = (c0 * b[0] + (m[2] * m[7] - m[1] * m[8]) * b[1] + (m[1] * m[5] - m[2] * m[4]) * b[2]) / det
    out[1] = (c1 * b[0] + (m[0] * m[8] - m[2] * m[6]) * b[1] + (m[2] * m[3] - m[0] * m[5]) * b[2]) / det
    out[2] = (c2 * b[0] + (m[1] * m[6] - m[0] * m[7]) * b[1] + (m[0] * m[4] - m[1] * m[3]) * b[2]) / det


@nb.njit(cache=True, nogil=True)
def pullback(joint, force, starts, t0, duration, steps, p, q, first, last, out):  # type: ignore[no-untyped-def]
    """Average of DF^-1 b(F(x0, t), t) over the duration by Simpson's rule over pairs of steps; ``steps`` must be even.

    Args:
        force: b, of type `RHS`, with parameters q.
        out: ``[particle dim]``, filled.
    """
    dim = starts.shape[1]
    size = dim + dim * dim + 1
    u, g, z, slope, total, y = np.empty(dim), np.empty((dim, dim)), np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    b, back = np.empty(dim), np.empty(dim)
    h = duration / steps
    for i in range(first, last):
        z[:] = 0.0
        out[i, :] = 0.0
        for a in range(dim):
            z[a] = starts[i, a]
            z[dim + a * dim + a] = 1.0
        for s in range(steps + 1):
            force(t0 + s * h, z[:dim], q, b)
            _solved(z[dim : dim + dim * dim], b, dim, back)
            weight = 1.0 if s == 0 or s == steps else 4.0 if s % 2 == 1 else 2.0
            for a in range(dim):
                out[i, a] += weight * back[a] / (3.0 * steps)
            if s < steps:
                _step(joint, t0 + s * h, h, z, p, u, g, slope, total, y, dim)


def carry_driver(dim: int):  # type: ignore[no-untyped-def]
    """`_carry`, compiled once for every flow of a dimension."""
    f8, i8, two, three = nb.float64, nb.int64, nb.float64[:, ::1], nb.float64[:, :, ::1]
    driver = {2: carry_2, 3: carry_3}.get(dim, carry_n)
    return only(driver, nb.types.FunctionType(JOINT), two, f8, f8, i8, nb.float64[::1], i8, i8, two, three, nb.float64[::1])


def pullback_driver():  # type: ignore[no-untyped-def]
    """`pullback`, compiled once for every flow and force."""
    f8, i8, one, two = nb.float64, nb.int64, nb.float64[::1], nb.float64[:, ::1]
    return only(pullback, nb.types.FunctionType(JOINT), nb.types.FunctionType(RHS), two, f8, f8, i8, one, one, i8, i8, two)


def augmented(joint, dim: int):  # type: ignore[no-untyped-def]
    """The right-hand side, of type `trajlab.dynamics.dop853.RHS`, of (x, DF, integral of the vorticity), for methods with error control."""

    @nb.njit(RHS, nogil=True)
    def rates(t, z, p, out):  # type: ignore[no-untyped-def]
        _slopes(joint, t, z, p, np.empty(dim), np.empty((dim, dim)), out, dim)

    return rates
