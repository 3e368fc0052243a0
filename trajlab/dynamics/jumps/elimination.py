"""Linear equations of Markov jump processes without a subtraction, over any leading axes, and who can reach whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["closed_classes", "eliminate", "off_diagonal", "reachable", "some_states", "stack"]


def stack(q: np.ndarray, name: str = "generator") -> Float[np.ndarray, "... state state"]:
    """One generator, or many on leading axes, as float64.

    Raises:
        ValueError: not square, not finite, a negative rate, or rows that do not sum to zero.
    """
    q = np.array(q, dtype=np.float64)
    if q.ndim < 2 or q.shape[-1] != q.shape[-2] or not q.shape[-1]:
        raise ValueError(f"the {name} has shape {q.shape}; [state state], or [draw state state] for many, was wanted")
    if not np.isfinite(q).all():
        raise ValueError(f"the {name} is not finite at {_first(~np.isfinite(q))}")
    off = off_diagonal(q)
    if (off < 0).any():
        where = _first(off < 0)
        raise ValueError(f"the rate at {where} of the {name} is {off[where]:g}; rates are not negative (a transition matrix is no generator)")
    total = off.sum(-1)
    wrong = np.abs(q.sum(-1)) > 1e-8 * np.maximum(total, total.max(-1, keepdims=True) * 1e-8)
    if wrong.any():
        where = _first(wrong)
        raise ValueError(f"row {where} of the {name} sums to {q.sum(-1)[where]:g}; zero was wanted (generator.from_rates sets the diagonal)")
    index = np.arange(q.shape[-1])
    q[..., index, index] = -total
    return q


def _first(wrong: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(wrong)[0])


def off_diagonal(a: np.ndarray) -> np.ndarray:
    """A copy with zeros on the diagonal."""
    return np.where(np.eye(a.shape[-1], dtype=bool), 0.0, a)


def some_states(which: int | Sequence[int] | np.ndarray, n: int, what: str) -> np.ndarray:
    """A set of states as a sorted array of indices.

    Raises:
        ValueError: empty, or a state that there is not.
    """
    states = np.unique(np.atleast_1d(np.asarray(which)))
    if not len(states):
        raise ValueError(f"the set of states {what!r} is empty; at least one of 0 to {n - 1} was wanted")
    if not np.issubdtype(states.dtype, np.integer) or states[0] < 0 or states[-1] >= n:
        raise ValueError(f"the set of states {what!r} is {states.tolist()}; indices from 0 to {n - 1} were wanted")
    return states


def reachable(links: Bool[np.ndarray, "... state state"]) -> Bool[np.ndarray, "... state state"]:
    """Whether there is a way from i to j, along any number of links (none included)."""
    found = links | np.eye(links.shape[-1], dtype=bool)
    for _ in range(max(1, int(np.ceil(np.log2(links.shape[-1] + 1))))):
        found = (found.astype(np.float64) @ found) > 0
    return found


def closed_classes(q: Float[np.ndarray, "... state state"]) -> tuple[Bool[np.ndarray, "... state"], np.ndarray]:
    """Which states are recurrent, and the number of closed classes."""
    way = reachable(off_diagonal(q) > 0)
    recurrent = (~way | way.swapaxes(-1, -2)).all(-1)
    size = (way & way.swapaxes(-1, -2)).sum(-1)
    return recurrent, np.asarray(np.rint((recurrent / size).sum(-1)).astype(int))


def eliminate(a: Float[np.ndarray, "... state state"], exit: Float[np.ndarray, "... state"],
              reward: Float[np.ndarray, "... state column"]) -> Float[np.ndarray, "... state column"]:
    """Solve ``(diag(sum_j a_ij + exit_i) - a) x = reward`` for rates a, rates of exit and rewards that are none of them negative.

    States are taken out one after the other, their rates handed on to those that lead to them; what a state loses in total is summed anew instead
    of subtracted (as Grassmann, Taksar and Heyman 1985 do for stationary distributions). Every entry of x has a small relative error then, however
    stiff the rates are. In a class without exit x is counted from its first state on, where it is 0; where such a class is entered, x stops.
    """
    a, exit, reward = off_diagonal(a), exit.copy(), reward.copy()
    n = a.shape[-1]
    total = np.zeros(exit.shape)
    for k in range(n - 1, -1, -1):
        total[..., k] = a[..., k, :k].sum(-1) + exit[..., k]
        lost = total[..., k] <= 0
        share = a[..., :k, k] / np.where(lost, 1.0, total[..., k])[..., None] * ~lost[..., None]
        exit[..., :k] += np.where(lost[..., None], a[..., :k, k], share * exit[..., k, None])
        a[..., :k, :k] += off_diagonal(share[..., :, None] * a[..., None, k, :k])
        reward[..., :k, :] += share[..., None] * reward[..., None, k, :]
    x = np.zeros(reward.shape)
    for k in range(n):
        inflow = reward[..., k, :] + (a[..., None, k, :k] @ x[..., :k, :])[..., 0, :]
        lost = total[..., k] <= 0
        x[..., k, :] = inflow / np.where(lost, 1.0, total[..., k])[..., None] * ~lost[..., None]
    return x
