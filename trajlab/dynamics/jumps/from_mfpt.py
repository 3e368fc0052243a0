"""The generator that belongs to a matrix of mean first-passage times, if there is one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.generator import from_rates

__all__ = ["generator_from_mfpt"]

NONE = "these mean first-passage times belong to no Markov jump process"


def generator_from_mfpt(mfpt: Float[np.ndarray, "..."], tolerance: float = 1e-9) -> Float[np.ndarray, "state state"]:
    """The generator whose mean first-passage times from i to j are ``mfpt[i, j]``.

    For an irreducible process ``Q M = diag(1 / pi) - 1 1^T`` (first-step equations and Kac's return times; Kemeny and Snell 1960), hence
    ``pi`` is proportional to ``M^-1 1`` and ``Q = (diag(1 / pi) - 1 1^T) M^-1``. Times that were measured or estimated one by one need not
    belong to any process: then some rate or stationary probability comes out negative, which is told.

    Args:
        mfpt: in any unit of time, zero on the diagonal, ``[state state]``.
        tolerance: rates that are negative by less than this share of the largest rate of leaving are taken for zero.

    Raises:
        ValueError: no matrix of times, or one that belongs to no Markov jump process.
    """
    m = np.array(mfpt, dtype=np.float64)
    if m.ndim != 2 or m.shape[0] != m.shape[1] or len(m) < 2:
        raise ValueError(f"the mean first-passage times have shape {m.shape}; [state state] of at least two states was wanted")
    off = ~np.eye(len(m), dtype=bool)
    if np.diag(m).any() or not np.isfinite(m).all() or not (m[off] > 0).all():
        raise ValueError("mean first-passage times must be finite, zero on the diagonal (return times are no passages) and positive elsewhere")
    if np.linalg.cond(m) > 1e13:
        raise ValueError(f"{NONE}: their matrix cannot be inverted")
    inverse = np.linalg.inv(m)
    weight = inverse.sum(1)
    pi = weight / weight.sum()
    if not (pi > 0).all():
        raise ValueError(f"{NONE}: they imply the stationary distribution {pi.round(4).tolist()}")
    q = (np.diag(1 / pi) - 1.0) @ inverse
    lowest = np.where(off, q, 0.0)
    if lowest.min() < -tolerance * np.abs(np.diag(q)).max():
        i, j = np.unravel_index(np.argmin(lowest), q.shape)
        raise ValueError(
            f"{NONE}: they imply a rate of {q[i, j]:.3g} from {i} to {j}. "
            "Times that were estimated one by one need not be consistent; infer the generator from the paths instead"
        )
    return from_rates(np.maximum(q, 0.0))
