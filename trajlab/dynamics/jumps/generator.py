"""Generators of Markov jump processes: checks, transition matrices, the stationary distribution."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.kernels import transition_blocks

__all__ = ["checked", "from_rates", "mean_jump_rate", "stationary", "transition"]


def from_rates(rates: Float[np.ndarray, "... state state"]) -> Float[np.ndarray, "... state state"]:
    """The generator with these off-diagonal rates; what stands on the diagonal is replaced by minus the sum of its row."""
    q = np.array(rates, dtype=np.float64)
    index = np.arange(q.shape[-1])
    q[..., index, index] = 0.0
    q[..., index, index] = -q.sum(-1)
    return q


def checked(q: np.ndarray, name: str = "generator") -> Float[np.ndarray, "state state"]:
    """The generator as float64, or an error that says what is wrong with it.

    Raises:
        ValueError: not square, not finite, a negative rate, or rows that do not sum to zero.
    """
    q = np.array(q, dtype=np.float64)
    if q.ndim != 2 or q.shape[0] != q.shape[1] or not len(q):
        raise ValueError(f"the {name} has shape {q.shape}; [state state] was wanted")
    if not np.isfinite(q).all():
        i, j = np.argwhere(~np.isfinite(q))[0]
        raise ValueError(f"the {name} is not finite at ({i}, {j})")
    off = q - np.diag(np.diag(q))
    if (off < 0).any():
        i, j = np.argwhere(off < 0)[0]
        raise ValueError(f"the rate from {i} to {j} of the {name} is {q[i, j]:g}; rates are not negative (a transition matrix is no generator)")
    wrong = np.abs(q.sum(1)) > 1e-8 * np.maximum(np.abs(np.diag(q)), np.abs(q).max() * 1e-8)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(f"row {i} of the {name} sums to {q[i].sum():g}; zero was wanted (generator.from_rates sets the diagonal)")
    return from_rates(q)


def transition(q: Float[np.ndarray, "state state"], lag: Float[np.ndarray, "*lag"]) -> Float[np.ndarray, "*lag state state"]:
    """Transition matrices ``P(lag) = exp(q lag)``.

    Scaling and squaring of the non-negative matrix ``q + max_i |q_ii|``: no term is negative, so that small probabilities keep their relative
    accuracy (as uniformisation does), whether or not the generator can be diagonalised.

    Raises:
        ValueError: a negative lag.
    """
    lag = np.asarray(lag, dtype=np.float64)
    if (lag < 0).any() or not np.isfinite(lag).all():
        raise ValueError(f"lags must be finite and not negative, but the smallest is {lag.min():g}")
    return transition_blocks(np.ascontiguousarray(q, dtype=np.float64), lag.reshape(-1)).reshape(*lag.shape, *q.shape)


def stationary(q: Float[np.ndarray, "state state"]) -> Float[np.ndarray, "state"]:
    """The stationary distribution ``pi q = 0``, by elimination without subtraction (Grassmann, Taksar and Heyman 1985).

    Where several classes are closed it is not unique: the one is returned that is reached from a uniform start.
    """
    n = len(q)
    a = q - np.diag(np.diag(q))
    for k in range(n - 1, 0, -1):
        total = a[k, :k].sum()
        if total <= 0:
            return _from_uniform(q)
        a[:k, k] /= total
        a[:k, :k] += np.outer(a[:k, k], a[k, :k])
    pi = np.ones(n)
    for k in range(1, n):
        pi[k] = pi[:k] @ a[:k, k]
    return pi / pi.sum() if np.isfinite(pi).all() else _from_uniform(q)


def _from_uniform(q: np.ndarray) -> np.ndarray:
    """The limit of a uniform start: transitions over longer and longer times until nothing moves."""
    scale = max(np.abs(np.diag(q)).max(), 1e-300)
    step = transition(q, np.array(64.0 / scale))
    for _ in range(60):
        step = step @ step
        step /= step.sum(1, keepdims=True)
    pi = step.mean(0)
    return pi / pi.sum()


def mean_jump_rate(q: Float[np.ndarray, "state state"]) -> float:
    """Jumps a unit of time in the stationary state, ``sum_i pi_i |q_ii|``."""
    return float(-(stationary(q) * np.diag(q)).sum())
