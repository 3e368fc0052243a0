"""Compiled kernels of identified equations: rates from a library that is data, steps of order 8 and the tangents of flow maps.

The equation in scaled states z[dim] is dz_i/dt = N_i(z) / D_i(z), N_i = sum_l num[i, l] phi_l(z), D_i = 1 + sum_l den[i, l] phi_l(z), time in
frames. The features phi_l are monomials of variables u_v(z), each a coordinate or a sine or cosine of one; feature l is feature ``parent[l]`` times
variable ``factor[l]``. As libraries and coefficients are arguments, everything here is compiled once, for all series.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from scipy.integrate import DOP853

from trajlab.dynamics.compiled import only
from trajlab.dynamics.dop853 import RHS

__all__ = ["flow_driver", "packed", "rhs", "tangent_driver"]

FAR = 1e3  #: a scaled state beyond this has left the attractor for good
STAGES = 12
_A, _B = np.ascontiguousarray(DOP853.A[:STAGES, :STAGES]), np.ascontiguousarray(DOP853.B)

one, two = nb.float64[::1], nb.float64[:, ::1]
three, four = nb.float64[:, :, ::1], nb.float64[:, :, :, ::1]
whole, table = nb.int64[::1], nb.int64[:, ::1]
LIBRARY = (table, two, table)  #: variables (kind, source), (shift, slope) of their arguments, features (parent, factor)


@nb.njit(cache=True, nogil=True)
def _features(z, variables, arguments, features, u, phi):  # type: ignore[no-untyped-def]
    for v in range(variables.shape[0]):
        a = arguments[v, 0] + arguments[v, 1] * z[variables[v, 1]]
        u[v] = a if variables[v, 0] == 0 else (np.sin(a) if variables[v, 0] == 1 else np.cos(a))
    phi[0] = 1.0
    for n in range(1, features.shape[0]):
        phi[n] = phi[features[n, 0]] * u[features[n, 1]]


@nb.njit(cache=True, nogil=True)
def _slopes(z, variables, arguments, features, u, phi, slope):  # type: ignore[no-untyped-def]
    """Derivatives ``slope[feature dim]`` of the features; ``u`` and ``phi`` are those of z."""
    dim = z.shape[0]
    for j in range(dim):
        slope[0, j] = 0.0
    for n in range(1, features.shape[0]):
        up, v = features[n, 0], features[n, 1]
        for j in range(dim):
            slope[n, j] = slope[up, j] * u[v]
        source = variables[v, 1]
        a = arguments[v, 0] + arguments[v, 1] * z[source]
        d = 1.0 if variables[v, 0] == 0 else (np.cos(a) if variables[v, 0] == 1 else -np.sin(a))
        slope[n, source] += phi[up] * d * arguments[v, 1]


@nb.njit(cache=True, nogil=True)
def _rates(z, variables, arguments, features, num, den, u, phi, out):  # type: ignore[no-untyped-def]
    _features(z, variables, arguments, features, u, phi)
    for i in range(z.shape[0]):
        top = 0.0
        for n in range(num.shape[1]):
            top += num[i, n] * phi[n]
        bottom = 1.0
        for n in range(den.shape[1]):
            bottom += den[i, n] * phi[n]
        out[i] = top / bottom


@nb.njit(cache=True, nogil=True)
def _matrix(z, variables, arguments, features, num, den, u, phi, slope, bottom, f, jac):  # type: ignore[no-untyped-def]
    """Features, denominators, rates and their Jacobian at z."""
    _rates(z, variables, arguments, features, num, den, u, phi, f)
    _slopes(z, variables, arguments, features, u, phi, slope)
    dim = z.shape[0]
    for i in range(dim):
        bottom[i] = 1.0
        for n in range(den.shape[1]):
            bottom[i] += den[i, n] * phi[n]
        for j in range(dim):
            total = 0.0
            for n in range(num.shape[1]):
                total += num[i, n] * slope[n, j]
            for n in range(den.shape[1]):
                total -= f[i] * den[i, n] * slope[n, j]
            jac[i, j] = total / bottom[i]


@nb.njit(cache=True, nogil=True)
def _step(z, h, variables, arguments, features, num, den, u, phi, slopes, point):  # type: ignore[no-untyped-def]
    """One step of order 8, in place; False where the state has gone far."""
    dim = z.shape[0]
    for s in range(STAGES):
        for i in range(dim):
            total = 0.0
            for r in range(s):
                total += _A[s, r] * slopes[r, i]
            point[i] = z[i] + h * total
        _rates(point, variables, arguments, features, num, den, u, phi, slopes[s])
    good = True
    for i in range(dim):
        total = 0.0
        for s in range(STAGES):
            total += _B[s] * slopes[s, i]
        z[i] += h * total
        good = good and abs(z[i]) < FAR
    return good


@nb.njit(cache=True, nogil=True)
def _flow(starts, frames, substeps, variables, arguments, features, num, den, out):  # type: ignore[no-untyped-def]
    """States ``out[start frame dim]`` one to ``frames`` frames after each start; NaN from where one went far."""
    dim, count = starts.shape[1], features.shape[0]
    u, phi, slopes, point = np.empty(variables.shape[0]), np.empty(count), np.empty((STAGES, dim)), np.empty(dim)
    h = 1.0 / substeps
    for k in range(starts.shape[0]):
        z, good = starts[k].copy(), True
        for m in range(frames):
            for _ in range(substeps):
                good = good and _step(z, h, variables, arguments, features, num, den, u, phi, slopes, point)
            for i in range(dim):
                out[k, m, i] = z[i] if good else np.nan


@nb.njit(cache=True, nogil=True)
def _product(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = 0.0
            for k in range(a.shape[1]):
                total += a[i, k] * b[k, j]
            out[i, j] = total


@nb.njit(cache=True, nogil=True)
def _transition(j0, jm, j1, h, whole_step, half_step, work):  # type: ignore[no-untyped-def]
    """Transition matrices over a step by Runge-Kutta 4 with the Jacobians at its start, middle and end, and over its second half."""
    dim = j0.shape[0]
    k, total, point = work[0], work[1], work[2]
    for i in range(dim):
        for j in range(dim):
            total[i, j] = j0[i, j]
            point[i, j] = 0.5 * h * j0[i, j] + (1.0 if i == j else 0.0)
    for stage in range(3):
        _product(jm if stage < 2 else j1, point, k)
        weight, ahead = (2.0, 0.5 * h if stage == 0 else h) if stage < 2 else (1.0, 0.0)
        for i in range(dim):
            for j in range(dim):
                total[i, j] += weight * k[i, j]
                point[i, j] = ahead * k[i, j] + (1.0 if i == j else 0.0)
    for i in range(dim):
        for j in range(dim):
            whole_step[i, j] = h / 6.0 * total[i, j] + (1.0 if i == j else 0.0)
            point[i, j] = 0.25 * h * (jm[i, j] + j1[i, j])
    _product(point, point, k)
    for i in range(dim):
        for j in range(dim):
            half_step[i, j] = point[i, j] + 0.5 * k[i, j] + (1.0 if i == j else 0.0)


@nb.njit(cache=True, nogil=True)
def _tangents(starts, frames, substeps, variables, arguments, features, num, den, active, out, by_start, by_parameter):  # type: ignore[no-untyped-def]
    """Flow maps with their derivatives by the start and by the active coefficients.

    The states are of order 8. The derivatives, which only steer the iterations, are of order 4: transition matrices by Runge-Kutta 4, and Simpson's
    rule for the integral of (transition) (derivative of the rates by the coefficients).

    Args:
        active: ``[parameter 3]``: component, feature, and 0 for a numerator or 1 for a denominator.
        out: ``[start frame dim]``.
        by_start: ``[start frame dim dim]``.
        by_parameter: ``[start frame dim parameter]``.
    """
    dim, count, free = starts.shape[1], features.shape[0], active.shape[0]
    u, slopes, point = np.empty(variables.shape[0]), np.empty((STAGES, dim)), np.empty(dim)
    slope, phi = np.empty((count, dim)), np.empty((3, count))
    bottom, f, jac = np.empty((3, dim)), np.empty((3, dim)), np.empty((3, dim, dim))
    over, half, work = np.empty((dim, dim)), np.empty((dim, dim)), np.empty((3, dim, dim))
    column, mid, before = np.empty(dim), np.empty(dim), np.empty(dim)
    h = 1.0 / substeps
    for k in range(starts.shape[0]):
        z, good = starts[k].copy(), True
        a, b, held = np.eye(dim), np.zeros((dim, free)), np.empty((dim, dim))
        _matrix(z, variables, arguments, features, num, den, u, phi[2], slope, bottom[2], f[2], jac[2])
        for m in range(frames):
            for _ in range(substeps):
                if not good:
                    break
                phi[0], bottom[0], f[0], jac[0], before[:] = phi[2], bottom[2], f[2], jac[2], z
                good = _step(z, h, variables, arguments, features, num, den, u, phi[1], slopes, point)
                _matrix(z, variables, arguments, features, num, den, u, phi[2], slope, bottom[2], f[2], jac[2])
                for i in range(dim):
                    mid[i] = 0.5 * (before[i] + z[i]) + 0.125 * h * (f[0, i] - f[2, i])
                _matrix(mid, variables, arguments, features, num, den, u, phi[1], slope, bottom[1], f[1], jac[1])
                _transition(jac[0], jac[1], jac[2], h, over, half, work)
                _product(over, a, held)
                a[:] = held
                for c in range(free):
                    i, n, kind = active[c, 0], active[c, 1], active[c, 2]
                    g0, g1, g2 = phi[0, n] / bottom[0, i], phi[1, n] / bottom[1, i], phi[2, n] / bottom[2, i]
                    if kind == 1:
                        g0, g1, g2 = -g0 * f[0, i], -g1 * f[1, i], -g2 * f[2, i]
                    for r in range(dim):
                        total = h / 6.0 * (over[r, i] * g0 + 4.0 * half[r, i] * g1)
                        for s in range(dim):
                            total += over[r, s] * b[s, c]
                        column[r] = total
                    column[i] += h / 6.0 * g2
                    for r in range(dim):
                        b[r, c] = column[r]
            for i in range(dim):
                out[k, m, i] = z[i] if good else np.nan
            by_start[k, m] = a
            by_parameter[k, m] = b


@nb.njit(RHS, cache=True, nogil=True)
def _rhs(t, z, p, out):  # type: ignore[no-untyped-def]  # noqa: ARG001
    dim, count, free, below = z.shape[0], int(p[0]), int(p[1]), int(p[2])
    at = 3
    variables = np.empty((count, 2), np.int64)
    arguments = np.empty((count, 2))
    for v in range(count):
        variables[v, 0], variables[v, 1] = int(p[at]), int(p[at + 1])
        arguments[v, 0], arguments[v, 1] = p[at + 2], p[at + 3]
        at += 4
    features = np.empty((free, 2), np.int64)
    for n in range(free):
        features[n, 0], features[n, 1] = int(p[at]), int(p[at + 1])
        at += 2
    num = p[at : at + dim * free].reshape((dim, free))
    at += dim * free
    den = p[at : at + dim * below].reshape((dim, below))
    _rates(z, variables, arguments, features, num, den, np.empty(count), np.empty(free), out)


def rhs() -> Any:
    """The right-hand side of every identified equation, for `trajlab.dynamics.dop853.row_driver`; its parameters are `packed`."""
    return _rhs


def packed(variables: np.ndarray, arguments: np.ndarray, features: np.ndarray, num: np.ndarray, den: np.ndarray) -> np.ndarray:
    """A library and coefficients as the flat parameters of `rhs`."""
    sizes = [len(variables), len(features), den.shape[1]]
    return np.concatenate([sizes, np.hstack([variables, arguments]).ravel(), features.ravel(), num.ravel(), den.ravel()]).astype(np.float64)


def flow_driver() -> Any:
    """`_flow`, compiled once."""
    return only(_flow, two, nb.int64, nb.int64, *LIBRARY, two, two, three)


def tangent_driver() -> Any:
    """`_tangents`, compiled once."""
    return only(_tangents, two, nb.int64, nb.int64, *LIBRARY, two, two, table, three, four, four)
