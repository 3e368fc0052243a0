"""The likelihood of a generator given pairs of looks, its gradient, and the expected jumps and sojourn times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from trajlab.catalog import unknown
from trajlab.dynamics.jumps.eigen import eigen_gradient, pays
from trajlab.dynamics.jumps.kernels import panel_gradient
from trajlab.dynamics.jumps.pair_counts import PairCounts

__all__ = ["Evaluation", "evaluate"]

METHODS = ("auto", "eigen", "squaring")


@dataclass(frozen=True)
class Evaluation:
    """A generator judged by data.

    Attributes:
        loglik: the log-likelihood; minus infinity where something was seen that the generator does not allow.
        free: ``D``, its derivative by every entry of the generator, taken as free, ``[state state]``.
        jumps: expected number of jumps given the data, ``q_ij D_ij``, zero on the diagonal.
        time: expected time in each state given the data, ``D_ii``; sums to the observed time.
        impossible: start and stop of the first pair that the generator does not allow, or None.
    """

    loglik: float
    free: np.ndarray
    jumps: np.ndarray
    time: np.ndarray
    impossible: tuple[int, int] | None = None

    @property
    def by_rate(self) -> np.ndarray:
        """Derivative by each rate with the diagonal tied to its row, ``D_ij - D_ii``, zero on the diagonal."""
        return self.free - np.diag(self.free)[:, None]

    def by_log_rate(self, q: np.ndarray) -> np.ndarray:
        """Derivative by the logarithm of each rate, ``q_ij (D_ij - D_ii) = E[n_ij] - q_ij E[tau_i]``."""
        off = q * self.by_rate
        np.fill_diagonal(off, 0.0)
        return off


def evaluate(q: Float[np.ndarray, "state state"], counts: PairCounts, method: str = "auto") -> Evaluation:
    """Log-likelihood of a generator given pairs of looks, and its gradient.

    ``l = sum_m sum_ij C_m,ij log P_ij(dt_m)``, with ``D = sum_m int_0^dt_m exp(q^T s) (C_m / P(dt_m)) exp(q^T (dt_m - s)) ds``
    (Kalbfleisch and Lawless 1985; expected jumps and times as in Bladt and Sorensen 2005 and Hobolth and Jensen 2011). An entry of known date counts
    with the density ``sum_{r != d} P_ir q_rd``, jumps seen as they happened with ``log q_ij``, time seen without a break with ``q_ii``.

    Args:
        q: the generator.
        counts: pairs of looks.
        method: ``squaring`` (`kernels`: every digit of small probabilities, any generator), ``eigen`` (`eigen`: ten digits, and squaring where these
            cannot be had) or ``auto``: eigen where there are many lags.

    Raises:
        ValueError: an unknown method.
    """
    if method not in METHODS:
        raise ValueError(unknown("method", method, METHODS))
    q = np.ascontiguousarray(q, dtype=np.float64)
    by_eigen = method == "eigen" or (method == "auto" and pays(len(counts.lag)))
    sums = eigen_gradient if by_eigen else panel_gradient
    loglik, free, bad = sums(q, counts.lag, counts.first, counts.start, counts.stop, counts.weight, counts.entry)
    impossible = None if bad < 0 else (int(counts.start[bad]), int(counts.stop[bad]))
    seen = counts.jumps > 0
    if seen.any() or counts.time.any():
        if (q[seen] <= 0).any():
            i, j = np.argwhere(seen & (q <= 0))[0]
            loglik, impossible = -np.inf, (int(i), int(j))
        else:
            loglik += float((counts.jumps[seen] * np.log(q[seen])).sum() + (counts.time * np.diag(q)).sum())
            free[seen] += counts.jumps[seen] / q[seen]
            free[np.diag_indices(len(q))] += counts.time
    jumps = q * free
    np.fill_diagonal(jumps, 0.0)
    return Evaluation(float(loglik), free, jumps, np.diag(free).copy(), impossible)
