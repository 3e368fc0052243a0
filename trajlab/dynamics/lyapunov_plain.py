"""Lyapunov spectra without a compiler: the same state and the same re-orthonormalisation, in numpy with scipy's DOP853; hundreds of times slower."""

from __future__ import annotations

from typing import Any

import numpy as np

from trajlab.dynamics.compiled import EPSILON
from trajlab.dynamics.dop853 import DONE, NOT_FINITE, TOO_SMALL
from trajlab.dynamics.fields import VectorField

__all__ = ["jacobian", "run"]

APART = 6.0  #: of the logarithms of growth, from which vectors are made orthonormal again
BLOCKS, ALIGN = 20, 2


def jacobian(field: VectorField, t: float, x: np.ndarray) -> np.ndarray:
    """J ``[dim dim]`` at a state by central differences, all displaced states in one call."""
    size = EPSILON * np.maximum(1.0, np.abs(x))
    rates = field(t, np.concatenate([x + np.diag(size), x - np.diag(size)]))
    return ((rates[: len(x)] - rates[len(x) :]) / (2.0 * size)[:, None]).T


def run(field: VectorField, start: np.ndarray, vectors: np.ndarray, time: float, duration: float, rtol: float, atol: float) -> tuple[Any, ...]:
    """A window, as `trajlab.dynamics.lyapunov_driver.spectrum` does it.

    Returns:
        (status, blocks, time reached, evaluations, growth ``[block k]``, integrals of the divergence ``[block]``)
    """
    count, dim = vectors.shape
    growth, divergence = np.zeros((ALIGN + BLOCKS, count)), np.zeros(ALIGN + BLOCKS)
    x, v, t, h, calls, span = start, vectors, time, None, 0, duration / BLOCKS

    def whole(t: float, y: np.ndarray) -> np.ndarray:
        j = jacobian(field, t, y[:dim])
        return np.concatenate([field(t, y[:dim]), (y[dim:-1].reshape(count, dim) @ j.T).reshape(-1), [np.trace(j)]])

    for block in range(ALIGN + BLOCKS):
        stop = time + (block + 1) * span
        while t < stop:
            t, y, h, more = _stretch(whole, t, np.concatenate([x, v.reshape(-1), [0.0]]), stop, h, rtol, atol, count, dim)
            calls += more
            if y is None or not np.isfinite(y).all():
                return (TOO_SMALL if y is None else NOT_FINITE), block, t, calls, growth, divergence
            x, (q, r) = y[:dim], np.linalg.qr(y[dim:-1].reshape(count, dim).T)
            v = q.T
            growth[block] += np.log(np.abs(np.diag(r)))
            divergence[block] += y[-1]
    return DONE, ALIGN + BLOCKS, t, calls, growth, divergence


def _stretch(whole: Any, t: float, y: np.ndarray, stop: float, h: float | None, rtol: float, atol: float, count: int, dim: int) -> tuple[Any, ...]:
    """Steps until the vectors' condition number, or ``stop``, is reached: (time, state or None where a step failed, next step, evaluations)."""
    from scipy.integrate import DOP853

    solver = DOP853(whole, t, y, stop, rtol=rtol, atol=atol, first_step=None if h is None else min(h, stop - t))
    while solver.status == "running":
        solver.step()
        if solver.status == "failed":
            return solver.t, None, None, solver.nfev
        if np.log(np.linalg.cond(solver.y[dim:-1].reshape(count, dim))) > APART:
            break
    return solver.t, solver.y, solver.h_abs, solver.nfev
