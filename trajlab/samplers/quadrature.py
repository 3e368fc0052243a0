"""Weights of exponential integrators: Lagrange polynomials times the exact kernel, by Gauss-Legendre in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

POINTS, WEIGHTS = np.polynomial.legendre.leggauss(32)


def lagrange(nodes: Sequence[float], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lagrange polynomials through ``nodes`` at ``q``: ``[node point]``."""
    rows = []
    for j, here in enumerate(nodes):
        row = np.ones_like(q)
        for k, other in enumerate(nodes):
            if k != j:
                row = row * (q - other) / (here - other)
        rows.append(row)
    return np.array(rows)


def integrals(kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]], nodes: Sequence[float], start: float, stop: float) -> list[float]:
    """The integral over q from ``start`` to ``stop`` of kernel(q) l_j(q), for every node j."""
    half = 0.5 * (stop - start)
    q = start + half * (POINTS + 1)
    return [float(w) for w in half * lagrange(nodes, q) @ (WEIGHTS * kernel(q))]
