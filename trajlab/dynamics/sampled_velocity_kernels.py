"""Cubic B-splines on even grids in space and time, with their exact gradients, as velocity fields for compiled loops.

Everything a velocity needs lies in one flat vector, so that data on a grid are a vector field like any other:
``p = (frames, first time, time step, [points, first place, step, periodic] for each axis, coefficients[component frame axis ...])``.
Along an axis with n cells there are n + 3 coefficients; cell i is ruled by coefficients i to i + 3. Outside of the data the velocity is NaN.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from trajlab.dynamics.dop853 import RHS, TANGENT
from trajlab.dynamics.flow_kernels import JOINT

__all__ = ["head_size", "sampled_2", "sampled_3", "stream_2", "rates_of", "tangent_of"]

SLACK = 1e-9  #: of the length of an axis: what counts as rounding at its ends


def head_size(dim: int) -> int:
    """Numbers in front of the coefficients."""
    return 3 + 4 * dim


@nb.njit(cache=True, nogil=True)
def _cell(place, low, step, cells, periodic):  # type: ignore[no-untyped-def]
    """Cell and place within it, from 0 to 1; cell -1 outside of the data."""
    s = (place - low) / step
    if not np.isfinite(s):
        return -1, 0.0
    if periodic:
        s -= cells * np.floor(s / cells)
    elif s < -SLACK * cells or s > cells * (1.0 + SLACK):
        return -1, 0.0
    i = min(max(int(s), 0), cells - 1)
    return i, min(max(s - i, 0.0), 1.0)


@nb.njit(cache=True, nogil=True)
def _values(s):  # type: ignore[no-untyped-def]
    """The four basis functions at s within a cell."""
    r = 1.0 - s
    return r * r * r / 6.0, (4.0 + s * s * (3.0 * s - 6.0)) / 6.0, (4.0 + r * r * (3.0 * r - 6.0)) / 6.0, s * s * s / 6.0


@nb.njit(cache=True, nogil=True)
def _slopes(s, step):  # type: ignore[no-untyped-def]
    """Their first derivatives."""
    r = 1.0 - s
    return -0.5 * r * r / step, s * (1.5 * s - 2.0) / step, -r * (1.5 * r - 2.0) / step, 0.5 * s * s / step


@nb.njit(cache=True, nogil=True)
def _bends(s, step):  # type: ignore[no-untyped-def]
    """Their second derivatives."""
    q = 1.0 / (step * step)
    return (1.0 - s) * q, (3.0 * s - 2.0) * q, (1.0 - 3.0 * s) * q, s * q


@nb.njit(cache=True, nogil=True)
def _dot(p, k, stride, w):  # type: ignore[no-untyped-def]
    return w[0] * p[k] + w[1] * p[k + stride] + w[2] * p[k + 2 * stride] + w[3] * p[k + 3 * stride]


@nb.njit(cache=True, nogil=True)
def _row(p, k, w, d):  # type: ignore[no-untyped-def]
    """Value and derivative along the last axis."""
    return _dot(p, k, 1, w), _dot(p, k, 1, d)


@nb.njit(cache=True, nogil=True)
def _plane(p, k, stride, wx, dx, wy, dy):  # type: ignore[no-untyped-def]
    """Value and both derivatives over the last two axes."""
    a, b, c, d = _row(p, k, wy, dy), _row(p, k + stride, wy, dy), _row(p, k + 2 * stride, wy, dy), _row(p, k + 3 * stride, wy, dy)
    value = wx[0] * a[0] + wx[1] * b[0] + wx[2] * c[0] + wx[3] * d[0]
    along = dx[0] * a[0] + dx[1] * b[0] + dx[2] * c[0] + dx[3] * d[0]
    across = wx[0] * a[1] + wx[1] * b[1] + wx[2] * c[1] + wx[3] * d[1]
    return value, along, across


@nb.njit(cache=True, nogil=True)
def _volume(p, k, sx, sy, wx, dx, wy, dy, wz, dz):  # type: ignore[no-untyped-def]
    """Value and all derivatives over three axes."""
    a, b = _plane(p, k, sy, wy, dy, wz, dz), _plane(p, k + sx, sy, wy, dy, wz, dz)
    c, d = _plane(p, k + 2 * sx, sy, wy, dy, wz, dz), _plane(p, k + 3 * sx, sy, wy, dy, wz, dz)
    value = wx[0] * a[0] + wx[1] * b[0] + wx[2] * c[0] + wx[3] * d[0]
    along = dx[0] * a[0] + dx[1] * b[0] + dx[2] * c[0] + dx[3] * d[0]
    across = wx[0] * a[1] + wx[1] * b[1] + wx[2] * c[1] + wx[3] * d[1]
    up = wx[0] * a[2] + wx[1] * b[2] + wx[2] * c[2] + wx[3] * d[2]
    return value, along, across, up


@nb.njit(cache=True, nogil=True)
def _second(p, k, stride, wx, dx, bx, wy, dy, by):  # type: ignore[no-untyped-def]
    """First and second derivatives over two axes: f_x, f_y, f_xx, f_xy, f_yy."""
    fx, fy, fxx, fxy, fyy = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(4):
        value, slope, bend = _dot(p, k + i * stride, 1, wy), _dot(p, k + i * stride, 1, dy), _dot(p, k + i * stride, 1, by)
        w, d, b = wx[i], dx[i], bx[i]
        fx += d * value
        fy += w * slope
        fxx += b * value
        fxy += d * slope
        fyy += w * bend
    return fx, fy, fxx, fxy, fyy


@nb.njit(cache=True, nogil=True)
def _when(t, p):  # type: ignore[no-untyped-def]
    """Cell and weights in time; a single frame is a steady field."""
    if p[0] == 1.0:
        return 0, (1.0, 0.0, 0.0, 0.0)
    i, s = _cell(t, p[1], p[2], int(p[0]) - 3, False)
    return i, _values(s)


@nb.njit(JOINT, cache=True, nogil=True)
def sampled_2(t, x, p, u, g):  # type: ignore[no-untyped-def]
    """Velocity and gradient in the plane."""
    nx, ny = int(p[3]) + 3, int(p[7]) + 3
    frame, wt = _when(t, p)
    i, sx = _cell(x[0], p[4], p[5], nx - 3, p[6] > 0.0)
    j, sy = _cell(x[1], p[8], p[9], ny - 3, p[10] > 0.0)
    if frame < 0 or i < 0 or j < 0:
        u[:] = np.nan
        g[:, :] = np.nan
        return
    wx, dx, wy, dy = _values(sx), _slopes(sx, p[5]), _values(sy), _slopes(sy, p[9])
    size, frames = nx * ny, int(p[0])
    for c in range(2):
        k = 11 + ((c * frames + frame) * nx + i) * ny + j
        v, a, b = _plane(p, k, ny, wx, dx, wy, dy)
        if frames > 1:
            v, a, b = wt[0] * v, wt[0] * a, wt[0] * b
            v1, a1, b1 = _plane(p, k + size, ny, wx, dx, wy, dy)
            v2, a2, b2 = _plane(p, k + 2 * size, ny, wx, dx, wy, dy)
            v3, a3, b3 = _plane(p, k + 3 * size, ny, wx, dx, wy, dy)
            v += wt[1] * v1 + wt[2] * v2 + wt[3] * v3
            a += wt[1] * a1 + wt[2] * a2 + wt[3] * a3
            b += wt[1] * b1 + wt[2] * b2 + wt[3] * b3
        u[c], g[c, 0], g[c, 1] = v, a, b


@nb.njit(JOINT, cache=True, nogil=True)
def sampled_3(t, x, p, u, g):  # type: ignore[no-untyped-def]
    """Velocity and gradient in space."""
    nx, ny, nz = int(p[3]) + 3, int(p[7]) + 3, int(p[11]) + 3
    frame, wt = _when(t, p)
    i, sx = _cell(x[0], p[4], p[5], nx - 3, p[6] > 0.0)
    j, sy = _cell(x[1], p[8], p[9], ny - 3, p[10] > 0.0)
    q, sz = _cell(x[2], p[12], p[13], nz - 3, p[14] > 0.0)
    if frame < 0 or i < 0 or j < 0 or q < 0:
        u[:] = np.nan
        g[:, :] = np.nan
        return
    wx, dx, wy, dy, wz, dz = _values(sx), _slopes(sx, p[5]), _values(sy), _slopes(sy, p[9]), _values(sz), _slopes(sz, p[13])
    frames = int(p[0])
    for c in range(3):
        u[c], g[c, 0], g[c, 1], g[c, 2] = 0.0, 0.0, 0.0, 0.0
        for f in range(min(frames, 4)):
            k = 15 + (((c * frames + frame + f) * nx + i) * ny + j) * nz + q
            v, a, b, d = _volume(p, k, ny * nz, nz, wx, dx, wy, dy, wz, dz)
            w = wt[f]
            u[c] += w * v
            g[c, 0] += w * a
            g[c, 1] += w * b
            g[c, 2] += w * d


@nb.njit(JOINT, cache=True, nogil=True)
def stream_2(t, x, p, u, g):  # type: ignore[no-untyped-def]
    """u = (-psi_y, psi_x) from the spline of a stream function: free of divergence everywhere, not only at the grid points."""
    nx, ny = int(p[3]) + 3, int(p[7]) + 3
    frame, wt = _when(t, p)
    i, sx = _cell(x[0], p[4], p[5], nx - 3, p[6] > 0.0)
    j, sy = _cell(x[1], p[8], p[9], ny - 3, p[10] > 0.0)
    if frame < 0 or i < 0 or j < 0:
        u[:] = np.nan
        g[:, :] = np.nan
        return
    wx, dx, bx = _values(sx), _slopes(sx, p[5]), _bends(sx, p[5])
    wy, dy, by = _values(sy), _slopes(sy, p[9]), _bends(sy, p[9])
    u[:] = 0.0
    g[:, :] = 0.0
    for f in range(min(int(p[0]), 4)):
        fx, fy, fxx, fxy, fyy = _second(p, 11 + ((frame + f) * nx + i) * ny + j, ny, wx, dx, bx, wy, dy, by)
        w = wt[f]
        u[0] -= w * fy
        u[1] += w * fx
        g[0, 0] -= w * fxy
        g[0, 1] -= w * fyy
        g[1, 0] += w * fxx
        g[1, 1] += w * fxy


def rates_of(joint, dim: int):  # type: ignore[no-untyped-def]
    """The velocity alone, of type `trajlab.dynamics.dop853.RHS`."""

    @nb.njit(RHS, nogil=True)
    def rates(t, x, p, out):  # type: ignore[no-untyped-def]
        joint(t, x, p, out, np.empty((dim, dim)))

    return rates


def tangent_of(joint, dim: int):  # type: ignore[no-untyped-def]
    """Derivatives of the velocity along vectors, of type `trajlab.dynamics.dop853.TANGENT`."""

    @nb.njit(TANGENT, nogil=True)
    def along(t, x, v, p, out):  # type: ignore[no-untyped-def]
        g = np.empty((dim, dim))
        joint(t, x, p, np.empty(dim), g)
        for k in range(v.shape[0]):
            for i in range(dim):
                total = 0.0
                for j in range(dim):
                    total += g[i, j] * v[k, j]
                out[k, i] = total

    return along
