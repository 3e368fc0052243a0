"""First passages: mean times, probabilities of reaching one set before another (committors), time and visits on the way.

Every function takes one generator ``[state state]`` or many ``[draw state state]``. Where a set may never be reached, the mean time is infinite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from trajlab.dynamics.jumps.elimination import closed_classes, eliminate, off_diagonal, reachable, some_states, stack
from trajlab.dynamics.jumps.observables import initial_law, occupancy, stationary_distribution

__all__ = ["backward_committor", "committor", "first_passage_matrix", "hit_by", "hitting_probability", "mean_first_passage", "time_reversed",
           "time_until", "visits_on_the_way"]

States = int | Sequence[int] | np.ndarray


def _without(q: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The states outside a set, the rates among them and their rates into the set."""
    rest = np.setdiff1d(np.arange(q.shape[-1]), target)
    return rest, off_diagonal(q[..., rest[:, None], rest]), q[..., rest[:, None], target].sum(-1)


def _ways(a: np.ndarray, exit: np.ndarray) -> tuple[Bool[np.ndarray, "... state state"], Bool[np.ndarray, "... state"]]:
    """Who can reach whom without leaving, and who may never leave."""
    way = reachable(a > 0)
    leaves = (way & (exit > 0)[..., None, :]).any(-1)
    return way, (way & ~leaves[..., None, :]).any(-1)


def mean_first_passage(q: Float[np.ndarray, "... state state"], target: States,
                       start: str | States | None = None) -> Float[np.ndarray, "... state"] | Float[np.ndarray, "..."] | float:
    """Mean time until a set of states is reached first: ``sum_j q_ij m_j = -1`` outside the set, 0 within.

    Args:
        q: rates.
        target: a state or several.
        start: a set of states whose stationary weights are averaged over (``"stationary"``: all states); None for the times from each state.

    Raises:
        ValueError: this is no generator, or a set is empty or names a state that there is not.
    """
    q = stack(q)
    n = q.shape[-1]
    rest, a, exit = _without(q, some_states(target, n, "target"))
    time = np.zeros(q.shape[:-1])
    if len(rest):
        never = _ways(a, exit)[1]
        time[..., rest] = np.where(never, np.inf, eliminate(a, exit, np.ones((*exit.shape, 1)))[..., 0])
    if start is None:
        return time
    pi = stationary_distribution(q)
    if not isinstance(start, str):
        chosen = np.isin(np.arange(n), some_states(start, n, "start"))
        if not (pi[..., chosen].sum(-1) > 0).all():
            raise ValueError(f"the states {np.flatnonzero(chosen).tolist()} have no stationary weight; ask for the times from each (start=None)")
        pi = np.where(chosen, pi, 0.0)
    elif start != "stationary":
        raise ValueError(f"the start {start!r} was not understood; 'stationary', a state or several, or None were wanted")
    weight = pi / pi.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.where(weight > 0, weight * time, 0.0).sum(-1)


def first_passage_matrix(q: Float[np.ndarray, "... state state"]) -> Float[np.ndarray, "... state state"]:
    """Mean first-passage times from i (row) to j (column); zero on the diagonal.

    Raises:
        ValueError: this is no generator.
    """
    q = stack(q)
    return np.stack([mean_first_passage(q, j) for j in range(q.shape[-1])], -1)


def hitting_probability(q: Float[np.ndarray, "... state state"], target: States, avoiding: States = ()) -> Float[np.ndarray, "... state"]:
    """Probability from each state that a set is ever reached, before another one where ``avoiding`` names it.

    Raises:
        ValueError: this is no generator, the sets overlap, the target is empty, or there is no such state.
    """
    q = stack(q)
    n = q.shape[-1]
    target = some_states(target, n, "target")
    avoided = some_states(avoiding, n, "avoiding") if np.size(avoiding) else np.zeros(0, dtype=int)
    both = np.intersect1d(target, avoided)
    if len(both):
        raise ValueError(f"states {both.tolist()} are in both sets; sets without a common state were wanted")
    rest, a, exit = _without(q, np.union1d(target, avoided))
    found = np.zeros(q.shape[:-1])
    found[..., target] = 1.0
    if len(rest):
        into = q[..., rest[:, None], target].sum(-1)
        found[..., rest] = np.minimum(eliminate(a, exit, into[..., None])[..., 0], 1.0)
    return found


def committor(q: Float[np.ndarray, "... state state"], a: States, b: States) -> Float[np.ndarray, "... state"]:
    """Forward committor: probability from each state of reaching b before a (Metzner, Schuette and Vanden-Eijnden 2009).

    Raises:
        ValueError: as `hitting_probability`; both sets must have a state.
    """
    return hitting_probability(q, b, some_states(a, np.shape(q)[-1], "a"))


def time_reversed(q: Float[np.ndarray, "... state state"]) -> Float[np.ndarray, "... state state"]:
    """The generator of the stationary process run backwards, ``pi_j q_ji / pi_i``; rows of states without stationary weight are zero.

    Raises:
        ValueError: this is no generator.
    """
    q = stack(q)
    pi = stationary_distribution(q)
    back = off_diagonal(q).swapaxes(-1, -2) * pi[..., None, :] / np.where(pi > 0, pi, 1.0)[..., :, None] * (pi > 0)[..., :, None]
    return back - back.sum(-1)[..., None] * np.eye(q.shape[-1])


def backward_committor(q: Float[np.ndarray, "... state state"], a: States, b: States) -> Float[np.ndarray, "... state"]:
    """Backward committor: probability in the stationary state that, of the two sets, a was left last; ``1 - committor`` under detailed balance.

    Raises:
        ValueError: as `committor`.
    """
    return hitting_probability(time_reversed(q), a, some_states(b, np.shape(q)[-1], "b"))


def time_until(q: Float[np.ndarray, "... state state"], target: States) -> Float[np.ndarray, "... state state"]:
    """Mean time spent in j (column) on the way from i (row) until the target is reached; infinite in a class that never leads there.

    Its rows sum to `mean_first_passage`.

    Raises:
        ValueError: as `mean_first_passage`.
    """
    q = stack(q)
    rest, a, exit = _without(q, some_states(target, q.shape[-1], "target"))
    out = np.zeros(q.shape)
    if len(rest):
        way, _ = _ways(a, exit)
        trapped = closed_classes(a - a.sum(-1)[..., None] * np.eye(len(rest)))[0] & ~(way & (exit > 0)[..., None, :]).any(-1)
        each = np.broadcast_to(np.eye(len(rest)), a.shape)
        out[..., rest[:, None], rest] = np.where(way & trapped[..., None, :], np.inf, eliminate(a, exit, each))
    return out


def visits_on_the_way(q: Float[np.ndarray, "... state state"], target: States) -> Float[np.ndarray, "... state state"]:
    """Mean number of stays in j (column) on the way from i (row) to the target; the first stay counts.

    An absorbing state is stayed in at most once.

    Raises:
        ValueError: as `mean_first_passage`.
    """
    q = stack(q)
    out = -np.diagonal(q, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        visits = time_until(q, target) * out[..., None, :]
    for j in np.argwhere((out == 0).reshape(-1, q.shape[-1]).any(0))[:, 0]:
        if j not in np.atleast_1d(target):
            visits[..., j] = np.where(out[..., None, j] == 0, hitting_probability(q, int(j), target), visits[..., j])
    return visits


def hit_by(q: Float[np.ndarray, "... state state"], target: States, time: Float[np.ndarray, "time"] | Sequence[float],
           start: str | int | Sequence[float] | np.ndarray = "stationary") -> Float[np.ndarray, "... time"]:
    """Probability that the target has been reached by each time: the distribution function of the first passage.

    Raises:
        ValueError: as `mean_first_passage`; a negative time; a start that is no distribution.
    """
    q = stack(q)
    target = some_states(target, q.shape[-1], "target")
    law = initial_law(start, q)
    held = q.copy()
    held[..., target, :] = 0.0
    return np.minimum(occupancy(held, law, time)[..., target].sum(-1), 1.0)
