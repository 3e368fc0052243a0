"""Lyapunov exponents of maps: tangent vectors carried along orbits and made orthogonal at every step (Benettin et al. 1980)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from trajlab.dynamics.compiled import only
from trajlab.dynamics.dop853 import FAR, RHS, TANGENT
from trajlab.dynamics.maps import Map, orbits_from, over

__all__ = ["MapExponents", "map_exponents"]

BLOCKS = 10  #: stretches of an orbit whose exponents are compared


class MapExponents(NamedTuple):
    """Exponents per iteration.

    Attributes:
        exponents: ``[dim]``, falling.
        error: ``[dim]``, standard error of the mean over stretches of orbits.
        log_det: mean of log |det J| along the orbits, which is the sum of the exponents.
        worst: largest difference between the sum of the exponents of a stretch and its mean log |det J|: what rounding and differences do.
    """

    exponents: np.ndarray
    error: np.ndarray
    log_det: float
    worst: float


def map_exponents(map: Map, x0: Any, steps: int = 100_000, transient: int = 1000, *, workers: int | None = None) -> MapExponents:
    """Lyapunov exponents of a map.

    Args:
        map: the map.
        x0: ``[batch dim]`` or ``[dim]``; each orbit is cut into 10 stretches, and the error is the standard error over all stretches.
        steps: iterations of each orbit after the transient; at least 10.
        transient: iterations that are left out, tangents carried along.
        workers: threads.

    Raises:
        ValueError: shapes disagree, too few steps, a start is not finite, or an orbit diverged or reached a point of no derivative.
        trajlab.dynamics.compiled.Refused: there is no compiler, or it does not take the map.
    """
    starts = orbits_from(map, x0, steps)
    if steps < BLOCKS or transient < 0:
        raise ValueError(f"{map.name}: {steps} iterations after {transient}; at least {BLOCKS} and 0 were wanted")
    tangent, step = map.tangent, map.step
    one, two = nb.float64[::1], nb.float64[:, ::1]
    driver = only(stretches, nb.types.FunctionType(RHS), nb.types.FunctionType(TANGENT), one, one, nb.int64, nb.int64, two)
    sums = np.zeros((len(starts), BLOCKS, map.dim + 1))
    ended = np.zeros(len(starts), dtype=int)

    def row(i: int) -> None:
        ended[i] = driver(step, tangent, starts[i], map.p, transient, steps // BLOCKS, sums[i])

    over(row, len(starts), steps * len(starts) * map.dim, workers)
    bad = np.flatnonzero(ended)
    if len(bad):
        raise ValueError(f"{map.name}: {len(bad)} of {len(starts)} orbits left the range of 1e12 or have no derivative (row {bad[0]} at iteration "
                         f"{ended[bad[0]]}); start elsewhere")
    means = sums.reshape(-1, map.dim + 1) / (steps // BLOCKS)
    each, det = means[:, :-1], means[:, -1]
    return MapExponents(each.mean(0), each.std(0, ddof=1) / np.sqrt(len(each)), float(det.mean()), float(np.abs(each.sum(1) - det).max()))


@nb.njit(cache=True, nogil=True)
def stretches(step, tangent, x0, p, transient, length, sums):  # type: ignore[no-untyped-def]
    """Sums of log |R_jj| and of log |det J| over stretches of one orbit.

    Args:
        sums: ``[stretch dim+1]``, added to.

    Returns:
        0, or the iteration at which the orbit ended.
    """
    dim = x0.shape[0]
    x, new, vectors, images, jacobian = x0.copy(), np.empty(dim), np.eye(dim), np.empty((dim, dim)), np.empty((dim, dim))
    eye = np.eye(dim)
    for n in range(transient + sums.shape[0] * length):
        tangent(float(n), x, vectors, p, images)
        count = n >= transient
        block = (n - transient) // length if count else 0
        if count:
            tangent(float(n), x, eye, p, jacobian)
            sums[block, dim] += log_det(jacobian)
        for j in range(dim):  # modified Gram-Schmidt, twice is enough
            for _ in range(2):
                for k in range(j):
                    dot = 0.0
                    for i in range(dim):
                        dot += images[j, i] * vectors[k, i]
                    for i in range(dim):
                        images[j, i] -= dot * vectors[k, i]
            norm = 0.0
            for i in range(dim):
                norm += images[j, i] ** 2
            norm = np.sqrt(norm)
            if not 0.0 < norm < np.inf:
                return n + 1
            for i in range(dim):
                vectors[j, i] = images[j, i] / norm
            if count:
                sums[block, j] += np.log(norm)
        step(float(n), x, p, new)
        for i in range(dim):
            x[i] = new[i]
            if not abs(x[i]) < FAR:
                return n + 1
    return 0


@nb.njit(cache=True, nogil=True)
def log_det(a):  # type: ignore[no-untyped-def]
    """log |det a| by elimination with pivots; a is overwritten."""
    total, dim = 0.0, a.shape[0]
    for k in range(dim):
        best = k
        for i in range(k + 1, dim):
            if abs(a[i, k]) > abs(a[best, k]):
                best = i
        for j in range(dim):
            a[k, j], a[best, j] = a[best, j], a[k, j]
        total += np.log(abs(a[k, k]))
        for i in range(k + 1, dim):
            factor = a[i, k] / a[k, k]
            for j in range(k, dim):
                a[i, j] -= factor * a[k, j]
    return total
