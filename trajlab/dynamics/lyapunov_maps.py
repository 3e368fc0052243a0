"""Lyapunov spectra of maps: products of Jacobians, re-orthonormalised at every step."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from trajlab.dynamics import compiled
from trajlab.dynamics.dop853 import DIVERGED, DONE, FAR, NOT_FINITE, RHS, TANGENT
from trajlab.dynamics.lyapunov_driver import orthonormalise
from trajlab.dynamics.lyapunov_result import Lyapunov
from trajlab.dynamics.maps import Map, orbits_from

__all__ = ["map_spectrum"]

BLOCKS, ALIGN = 20, 2


@nb.njit(cache=True, nogil=True)
def products(step, tangent, x0, v, length, p, grown, volume):  # type: ignore[no-untyped-def]
    """Growth of the rows of v ``[k dim]`` and of volume over blocks of ``length`` steps.

    Args:
        step: of type `RHS`; tangent: of type `TANGENT`.
        grown: ``[block k]``, filled; volume: ``[block]``, filled with the sums of log |det J|.

    Returns:
        (status, steps done)
    """
    blocks, count = grown.shape
    dim = x0.shape[0]
    x, new, pushed, logs = x0.copy(), np.empty(dim), np.empty((count, dim)), np.empty(count)
    eye, columns = np.eye(dim), np.empty((dim, dim))
    grown[:] = 0.0
    volume[:] = 0.0
    for k in range(blocks * length):
        tangent(float(k), x, v, p, pushed)
        tangent(float(k), x, eye, p, columns)
        volume[k // length] += np.log(abs(np.linalg.det(columns)))
        v[:] = pushed
        if not orthonormalise(v, logs):
            return NOT_FINITE, k
        for j in range(count):
            grown[k // length, j] += logs[j]
        step(float(k), x, p, new)
        for i in range(dim):
            x[i] = new[i]
            if not abs(x[i]) < FAR:
                return DIVERGED, k
    return DONE, blocks * length


def map_spectrum(system: Map, x0: Any, steps: float, count: int | None, seed: int) -> Lyapunov:
    """Exponents per step of a map; ``divergences`` are means of log |det J|. See `trajlab.dynamics.lyapunov.lyapunov`.

    Raises:
        ValueError: shapes disagree, fewer than 200 steps, an orbit diverged, or a Jacobian is singular, where exponents are minus infinity.
        trajlab.dynamics.compiled.Refused: there is no compiler, or it does not take the map.
    """
    from trajlab.dynamics.lyapunov import first_vectors

    length = int(steps) // BLOCKS
    if length < 10:
        raise ValueError(f"{system.name}: {steps} steps; at least {10 * BLOCKS} were wanted")
    starts = orbits_from(system, x0, int(steps))
    vectors = first_vectors(system.dim, system.dim if count is None else count, seed, system.name)
    one, two = nb.float64[::1], nb.float64[:, ::1]
    drive = compiled.only(products, nb.types.FunctionType(RHS), nb.types.FunctionType(TANGENT), one, two, nb.int64, one, two, one)
    grown, volume = np.zeros((len(starts), ALIGN + BLOCKS, len(vectors))), np.zeros((len(starts), ALIGN + BLOCKS))
    if system.step is None:
        raise compiled.Refused(f"{system.name}: exponents of maps need the compiler")
    for i, start in enumerate(starts):
        status, done = drive(system.step, system.tangent, start, vectors.copy(), length, system.p, grown[i], volume[i])
        if status:
            why = "left the range of numbers" if status == DIVERGED else "met a singular Jacobian"
            raise ValueError(f"{system.name}: the orbit of window {i} {why} after {done} steps; start elsewhere")
    rates = grown[:, ALIGN:] / length
    order = np.argsort(-rates.mean((0, 1)), kind="stable")
    return Lyapunov(np.ascontiguousarray(rates[:, :, order]), None, volume[:, ALIGN:] / length, float(length * BLOCKS), system.dim, system.name, 1.0,
                    (), system.exact, len(starts) * (ALIGN + BLOCKS) * length)
