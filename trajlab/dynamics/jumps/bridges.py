"""Paths of a Markov jump process with both ends known, by uniformisation (Hobolth and Stone 2009; Bladt and Sorensen 2005).

With ``mu >= max |q_ii|`` and ``R = 1 + q / mu`` the number of events between two looks has
``P(N | a, b) = e^{-mu h} (mu h)^N / N! (R^N)_ab / P_ab(h)``; given N the states form a chain with matrix R pinned at both ends, and the events are
uniform in time. Long lags are halved first: the state in the middle has the weights ``P_ac(h / 2) P_cb(h / 2)``. Nothing is approximated.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from jaxtyping import Float, Int

from trajlab.dynamics.jumps.generator import checked
from trajlab.dynamics.jumps.pair_counts import PairCounts

__all__ = ["bridge", "bridge_statistics"]

LEAF = 8.0  #: mean number of events of the uniformised chain, above which a lag is halved


@nb.njit(cache=True, nogil=True)
def choose(weights, total, rng):
    """An index with these weights, which sum to ``total``; what is not positive (the diagonal of a generator) is passed over."""
    left = rng.random() * total
    last = 0
    for c in range(len(weights)):
        if weights[c] > 0.0:
            last = c
            left -= weights[c]
            if left < 0.0:
                return c
    return last


@nb.njit(cache=True, nogil=True)
def _draw(weights, rng):
    """An index with these weights, none of them negative."""
    return choose(weights, weights.sum(), rng)


@nb.njit(cache=True, nogil=True)
def uniformised(q, lag):
    """Powers of the uniformised chain, chances of event numbers in the shortest step, and ``P`` at that step and its doublings."""
    n = q.shape[0]
    mu = 0.0
    for i in range(n):
        mu = max(mu, -q[i, i])
    depth, h = 0, lag
    while mu * h > LEAF:
        h *= 0.5
        depth += 1
    mean = mu * h
    most = int(mean + 9.0 * np.sqrt(mean) + 18.0)
    r = np.eye(n)
    if mu > 0.0:
        r += q / mu
    table = np.zeros((most + 1, n, n))
    chance = np.zeros(most + 1)
    table[0] = np.eye(n)
    chance[0] = np.exp(-mean)
    doubled = np.zeros((depth + 1, n, n))
    doubled[0] = chance[0] * table[0]
    for k in range(1, most + 1):
        table[k] = np.dot(table[k - 1], r)
        chance[k] = chance[k - 1] * mean / k
        doubled[0] += chance[k] * table[k]
    for d in range(depth):
        doubled[d + 1] = np.dot(doubled[d], doubled[d])
    return table, chance, doubled, h


@nb.njit(cache=True, nogil=True)
def _step(a, b, table, chance, h, rng, state, length):
    """Segments of a path from a to b within one short step, events without a jump included; returns how many."""
    left = 0.0
    for k in range(len(chance)):
        left += chance[k] * table[k, a, b]
    left *= rng.random()
    events = 0
    for k in range(len(chance)):
        weight = chance[k] * table[k, a, b]
        if weight > 0.0:
            events = k
            left -= weight
            if left < 0.0:
                break
    n = table.shape[1]
    weights = np.zeros(n)
    state[0] = a
    for k in range(events):
        for c in range(n):
            weights[c] = table[1, state[k], c] * table[events - k - 1, c, b]
        state[k + 1] = _draw(weights, rng)
    total = 0.0
    for k in range(events + 1):
        length[k] = rng.standard_exponential()
        total += length[k]
    for k in range(events + 1):
        length[k] *= h / total
    return events + 1


@nb.njit(cache=True, nogil=True)
def _nodes(a, b, doubled, rng, node):
    """States at the ends of all short steps of a lag, from the middle outwards."""
    n = doubled.shape[1]
    depth = doubled.shape[0] - 1
    node[0], node[2**depth] = a, b
    weights = np.zeros(n)
    for d in range(depth - 1, -1, -1):
        width = 2**d
        for at in range(width, 2**depth, 2 * width):
            for c in range(n):
                weights[c] = doubled[d, node[at - width], c] * doubled[d, c, node[at + width]]
            node[at] = _draw(weights, rng)


@nb.njit(cache=True, nogil=True)
def add_statistics(q, lag, first, start, stop, weight, entry, rng, jumps, time):
    """Add the jumps and sojourn times of one drawn path for every pair of looks; returns the first pair that cannot be, or -1."""
    n = q.shape[0]
    ends = np.zeros(n)
    for m in range(len(lag)):
        table, chance, doubled, h = uniformised(q, lag[m])
        steps = 2 ** (doubled.shape[0] - 1)
        node = np.zeros(steps + 1, dtype=np.int64)
        state = np.zeros(len(chance), dtype=np.int64)
        length = np.zeros(len(chance))
        for e in range(first[m], first[m + 1]):
            a, b = start[e], stop[e]
            if entry[e]:
                for c in range(n):
                    ends[c] = doubled[-1, a, c] * q[c, stop[e]] if c != stop[e] else 0.0
            if not (ends.sum() > 0.0 if entry[e] else doubled[-1, a, b] > 0.0):
                return e
            for _ in range(int(np.round(weight[e]))):
                if entry[e]:
                    b = _draw(ends, rng)
                    jumps[b, stop[e]] += 1.0
                _nodes(a, b, doubled, rng, node)
                for s in range(steps):
                    parts = _step(node[s], node[s + 1], table, chance, h, rng, state, length)
                    for k in range(parts):
                        time[state[k]] += length[k]
                        if k and state[k] != state[k - 1]:
                            jumps[state[k - 1], state[k]] += 1.0
    return -1


@nb.njit(cache=True, nogil=True)
def _one(q, lag, a, b, rng):
    """States and durations of one path from a to b, events without a jump merged."""
    table, chance, doubled, h = uniformised(q, lag)
    steps = 2 ** (doubled.shape[0] - 1)
    node = np.zeros(steps + 1, dtype=np.int64)
    state = np.zeros(len(chance), dtype=np.int64)
    length = np.zeros(len(chance))
    _nodes(a, b, doubled, rng, node)
    states, lengths = [a], [0.0]
    for s in range(steps):
        for k in range(_step(node[s], node[s + 1], table, chance, h, rng, state, length)):
            if state[k] == states[-1]:
                lengths[-1] += length[k]
            else:
                states.append(state[k])
                lengths.append(length[k])
    return np.array(states), np.array(lengths)


def bridge(q: np.ndarray, start: int, stop: int, lag: float, seed: int | np.random.Generator = 0) -> tuple[
        Int[np.ndarray, "segment"], Float[np.ndarray, "segment"]]:
    """One path that is in ``start`` at time 0 and in ``stop`` at time ``lag``: its states and how long each is held.

    Raises:
        ValueError: a state that is not there, a lag that is not positive, or ends that the generator does not connect.
    """
    q = checked(q)
    for name, state in (("start", start), ("stop", stop)):
        if not 0 <= state < len(q):
            raise ValueError(f"{name} is {state}, but the generator has states 0 .. {len(q) - 1}")
    if not (np.isfinite(lag) and lag > 0):
        raise ValueError(f"the lag is {lag}; a finite one above 0 was wanted")
    _short_enough(q, np.array([lag]))
    if not uniformised(q, float(lag))[2][-1, start, stop] > 0:
        raise ValueError(f"a path from {start} cannot be in {stop} after {lag:g}: the generator has no way there")
    return _one(q, float(lag), int(start), int(stop), np.random.default_rng(seed))


def bridge_statistics(q: np.ndarray, counts: PairCounts, seed: int | np.random.Generator = 0) -> tuple[
        Float[np.ndarray, "state state"], Float[np.ndarray, "state"]]:
    """Jumps and sojourn times of paths drawn between all pairs of looks, what was seen exactly included.

    Their means over draws are `Evaluation.jumps` and `Evaluation.time`. Weights of pairs are rounded to whole numbers of paths.

    Raises:
        ValueError: a pair that the generator does not allow.
    """
    q = checked(q)
    _short_enough(q, counts.lag)
    jumps, time = counts.jumps.astype(np.float64), counts.time.astype(np.float64)
    rng = np.random.default_rng(seed)
    bad = add_statistics(q, counts.lag, counts.first, counts.start, counts.stop, counts.weight, counts.entry, rng, jumps, time)
    if bad >= 0:
        raise ValueError(f"a path from {counts.start[bad]} to {counts.stop[bad]} was seen, which the generator does not allow")
    return jumps, time


def _short_enough(q: np.ndarray, lag: np.ndarray) -> None:
    """A lag of more than about 1e7 jumps would take forever."""
    longest = np.abs(np.diag(q)).max() * lag.max(initial=0.0)
    if longest > 1e7:
        raise ValueError(f"{longest:.2g} jumps are expected within the longest lag; at most 1e7 can be drawn, and such looks are independent")
