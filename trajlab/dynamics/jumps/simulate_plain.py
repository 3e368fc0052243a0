"""What `simulate_kernels` does, in numpy alone: all paths at once, with the same random numbers, hence the same paths."""

from __future__ import annotations

import numpy as np

from trajlab.dynamics.jumps.simulate_kernels import GOLDEN, mixed

__all__ = ["chain", "flip", "jumps", "walk"]

Arrays = tuple[np.ndarray, ...]
CHUNK = 8192  #: paths that are in memory at a time


def uniform(key: np.ndarray) -> np.ndarray:
    """Numbers in (0, 1) from keys."""
    return ((mixed.py_func(key) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _pick(rows: np.ndarray, u: np.ndarray) -> np.ndarray:
    return (rows <= u[:, None]).sum(1)


def _wait(key: np.ndarray, rate: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return -np.log(uniform(key)) / rate


def jumps(process: Arrays, begun: Arrays, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Jumps of all paths up to their ends, path by path: which path, the state entered, and when, each ``[jump]``."""
    rate, table = process
    start, origin, stream = begun
    key, state, path = stream + GOLDEN, start.astype(np.int64), np.arange(len(start))
    time = origin + _wait(key, rate[state])
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [(path[:0], state[:0], time[:0])]
    while True:
        on = time <= end[path]
        key, state, path, time = key[on], state[on], path[on], time[on]
        if not len(path):
            break
        key = key + GOLDEN
        state = _pick(table[state], uniform(key))
        found.append((path, state, time))
        key = key + GOLDEN
        time = time + _wait(key, rate[state])
    path, state, time = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(path, kind="stable")
    return path[order], state[order], time[order]


def walk(process: Arrays, begun: Arrays, time: np.ndarray, looks: np.ndarray, out: np.ndarray) -> None:
    """Jump by jump, and what is seen; arguments as in `simulate_kernels.walk`."""
    for low in range(0, len(looks), CHUNK):
        part = slice(low, low + CHUNK)
        b, e, f = looks[part].T
        start = begun[0][part]
        path, state, at = jumps(process, tuple(value[part] for value in begun), time[e - 1])
        look = _first_look(time, b, e, path, at) + (f - f[0])[path]
        # labels of path p are entries of [start, its jumps...]; the number of jumps up to a look says which
        total = int((e - b).sum())
        passed = np.cumsum(np.bincount(look, minlength=total))
        before = np.concatenate([[0], np.cumsum(np.bincount(path, minlength=len(b)))[:-1]])
        entered = np.insert(state, before, start)
        out[f[0] : f[0] + total] = entered[passed + np.repeat(np.arange(len(b)), e - b)]


def _first_look(time: np.ndarray, begin: np.ndarray, end: np.ndarray, path: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The number, within its path, of the first look that is not before each jump."""
    if (begin == begin[0]).all() and (end == end[0]).all():
        return np.searchsorted(time[begin[0] : end[0]], at)
    looks = end - begin
    own = np.repeat(np.arange(len(begin)), looks)
    start = np.cumsum(looks) - looks
    clock = time[np.arange(len(own)) - start[own] + begin[own]]
    # complex numbers are ordered by their real parts, then by the imaginary ones: by path, then by time
    return np.searchsorted(own + 1j * clock, path + 1j * at) - start[path]


def chain(table: np.ndarray, which: np.ndarray, begun: Arrays, looks: np.ndarray, out: np.ndarray) -> None:
    """From look to look; arguments as in `simulate_kernels.chain`."""
    start, _, stream = begun
    begin, end, first = looks.T
    key, state = stream.copy(), start.astype(np.int64)
    for k in range(int((end - begin).max(initial=0))):
        on = np.flatnonzero(begin + k < end)
        lag = which[begin[on] + k]
        move = on[lag >= 0]
        key[move] += GOLDEN
        state[move] = _pick(table[lag[lag >= 0], state[move]], uniform(key[move]))
        out[first[on] + k] = state[on]


def flip(label: np.ndarray, eps: float, n_states: int, key: np.uint64) -> None:
    """Replace labels in place; as `simulate_kernels.flip`."""
    u = uniform(key + np.arange(1, len(label) + 1, dtype=np.uint64) * GOLDEN)
    hit = u < eps
    label[hit] = np.minimum(n_states - 1, (u[hit] / eps * n_states).astype(np.int64))
