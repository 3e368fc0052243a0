"""Compiled simulation of Markov jump processes: jump by jump (Gillespie), and from look to look by transition matrices.

Every path has random numbers of its own: the k-th is a hash of the path's key and k (splitmix64; Steele, Lea and Flood 2014). Paths therefore depend
neither on the number of threads nor on each other, and `trajlab.dynamics.jumps.simulate_plain` draws the same ones without a compiler.

What several functions take:

- ``process``: the rate of leaving each state, ``[state]``, and `picking` of the rates, ``[state state]``;
- ``begun``: of each path its first state, when it has it (no look may be earlier) and its key, each ``[path]``;
- ``looks``: of each path ``begin, end, first``, ``[path 3]``: it looks at ``time[begin:end]``, and what it sees stands in ``out`` from ``first`` on,
  so that paths may share a grid;
- ``low, high``: the paths to make, ``low .. high - 1``.
"""

from __future__ import annotations

import numba as nb
import numpy as np

__all__ = ["chain", "count_jumps", "flip", "mixed", "picking", "streams", "walk", "write_jumps"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  #: step of the counter, the odd number nearest to 2^64 / golden ratio
ONE, TWO = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
A, B, C, D = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@nb.njit(cache=True, nogil=True)
def mixed(z):
    """The finaliser of splitmix64: 64 bits to 64 bits, one to one; for one number or (as ``mixed.py_func``) an array."""
    z = (z ^ (z >> A)) * ONE
    z = (z ^ (z >> B)) * TWO
    return z ^ (z >> C)


@nb.njit(cache=True, nogil=True)
def uniform(key):
    """A number in (0, 1), never 0 or 1, from a key."""
    return (np.float64(mixed(key) >> D) + 0.5) * 1.1102230246251565e-16


def streams(seed: int, what: int, count: int, offset: int = 0) -> np.ndarray:
    """Keys of paths ``offset .. offset + count - 1`` for one purpose, uint64 ``[path]``."""
    root = mixed.py_func(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64) + GOLDEN)
    root = mixed.py_func(root + np.array([what + 1], dtype=np.uint64) * GOLDEN)
    return mixed.py_func(root + np.arange(offset + 1, offset + count + 1, dtype=np.uint64) * ONE)


def picking(weight: np.ndarray) -> np.ndarray:
    """Tables to draw from: ``state j if table[j - 1] <= u < table[j]``, for weights along the last axis. What has no weight is never drawn."""
    weight = np.asarray(weight, dtype=np.float64)
    table = np.cumsum(weight, -1)
    total = table[..., -1:]
    table = table / np.where(total > 0, total, 1.0)
    n = weight.shape[-1]
    last = n - 1 - np.argmax(weight[..., ::-1] > 0, axis=-1)  # rounding may leave the last sum below one: from there on all is accepted
    return np.ascontiguousarray(np.where(np.arange(n) >= last[..., None], 2.0, table))


@nb.njit(cache=True, nogil=True)
def _pick(table, u):
    n = len(table)
    if n <= 12:
        for j in range(n):
            if u < table[j]:
                return j
        return n - 1
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        if u < table[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@nb.njit(cache=True, nogil=True)
def _wait(key, rate):
    return -np.log(uniform(key)) / rate if rate > 0.0 else np.inf


@nb.njit(cache=True, nogil=True)
def walk(process, begun, time, looks, out, low, high):
    """Paths jump by jump, and what is seen of them; ``out`` is filled in."""
    rate, table = process
    start, origin, stream = begun
    for p in range(low, high):
        key, state, at = stream[p], start[p], looks[p, 2]
        key += GOLDEN
        jump = origin[p] + _wait(key, rate[state])
        for i in range(looks[p, 0], looks[p, 1]):
            while jump <= time[i]:
                key += GOLDEN
                state = _pick(table[state], uniform(key))
                key += GOLDEN
                jump += _wait(key, rate[state])
            out[at] = state
            at += 1


@nb.njit(cache=True, nogil=True)
def chain(table, which, begun, looks, out, low, high):
    """Paths from look to look.

    Args:
        table: `picking` of the transition matrix of each distinct lag, ``[lag state state]``.
        which: the lag that ends at each time, as a number of the table; -1 where no time has passed.
        begun, looks, out, low, high: see the head of the file.
    """
    start, _, stream = begun
    for p in range(low, high):
        key, state, at = stream[p], start[p], looks[p, 2]
        for i in range(looks[p, 0], looks[p, 1]):
            if which[i] >= 0:
                key += GOLDEN
                state = _pick(table[which[i], state], uniform(key))
            out[at] = state
            at += 1


@nb.njit(cache=True, nogil=True)
def count_jumps(process, begun, end, count, low, high):
    """How often each path jumps up to its end, ``[path]``; the same jumps as `walk` makes."""
    rate, table = process
    start, origin, stream = begun
    for p in range(low, high):
        key, state, jumps = stream[p], start[p], 0
        key += GOLDEN
        jump = origin[p] + _wait(key, rate[state])
        while jump <= end[p]:
            key += GOLDEN
            state = _pick(table[state], uniform(key))
            key += GOLDEN
            jump += _wait(key, rate[state])
            jumps += 1
        count[p] = jumps


@nb.njit(cache=True, nogil=True)
def write_jumps(process, begun, end, first, state_of, time_of, low, high):
    """States entered and when, from ``first[p]`` on for path p."""
    rate, table = process
    start, origin, stream = begun
    for p in range(low, high):
        key, state, at = stream[p], start[p], first[p]
        key += GOLDEN
        jump = origin[p] + _wait(key, rate[state])
        while jump <= end[p]:
            key += GOLDEN
            state = _pick(table[state], uniform(key))
            state_of[at], time_of[at] = state, jump
            at += 1
            key += GOLDEN
            jump += _wait(key, rate[state])


@nb.njit(cache=True, nogil=True)
def flip(label, eps, n_states, key, low, high):
    """With probability ``eps`` a label is replaced, in place, by one that is uniform over all states."""
    for i in range(low, high):
        u = uniform(key + np.uint64(i + 1) * GOLDEN)
        if u < eps:
            label[i] = min(n_states - 1, int(u / eps * n_states))
