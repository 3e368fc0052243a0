"""The single most probable sequence of hidden states."""

from __future__ import annotations

from collections.abc import Sequence

import numba as nb
import numpy as np

from trajlab.dynamics.jumps.smoothing import Intervals, Likelihood, checked_emission, checked_generators, checked_initial
from trajlab.dynamics.jumps.smoothing_kernels import SOFT, STAY

__all__ = ["viterbi"]


@nb.njit(cache=True, nogil=True)
def _best(steps, table, q, looks, initial, state):
    """Fills the most probable states at the observations of all paths; returns their log-probability and the first path that has none (-1)."""
    n = q.shape[1]
    longest = 0
    for p in range(len(steps.first) - 1):
        longest = max(longest, steps.first[p + 1] - steps.first[p])
    origin = np.zeros((longest, n), dtype=np.int64)
    now, before, step = np.zeros(n), np.zeros(n), np.zeros((n, n))
    loglik = 0.0
    for p in range(len(steps.first) - 1):
        begin, end = steps.first[p], steps.first[p + 1]
        now[:] = np.log(initial[p if len(initial) > 1 else 0]) + np.log(looks.rows[looks.index[begin]])
        for t in range(begin + 1, end):
            before[:] = now
            if steps.kind[t] == SOFT:
                step[:] = table[steps.kernel[t]]
            else:
                exact = q[steps.group[t]]
                for i in range(n):
                    stay = exact[i, i] * steps.lag[t]
                    for j in range(n):
                        if steps.kind[t] == STAY:
                            step[i, j] = stay if i == j else -np.inf
                        else:
                            step[i, j] = stay + np.log(exact[i, j]) if i != j else -np.inf
            e = looks.rows[looks.index[t]]
            for j in range(n):
                top, at = -np.inf, 0
                for i in range(n):
                    value = before[i] + step[i, j]
                    if value > top:
                        top, at = value, i
                now[j] = top + np.log(e[j])
                origin[t - begin, j] = at
        last = np.argmax(now)
        if now[last] == -np.inf:
            return -np.inf, p
        loglik += now[last]
        state[end - 1] = last
        for t in range(end - 1, begin, -1):
            state[t - 1] = origin[t - begin, state[t]]
    return loglik, -1


def viterbi(q: np.ndarray | Sequence[np.ndarray], intervals: Intervals, emission: Likelihood | np.ndarray,
            initial: np.ndarray) -> tuple[np.ndarray, float]:
    """The most probable states at all observations, ``[obs]``, and the logarithm of their joint probability with what was seen (Viterbi 1967).

    Arguments as in `smoothing.smooth`; the most probable state at each observation by itself is ``smooth(...).posterior.argmax(1)``.

    Raises:
        ValueError: as `smooth`, or a path is impossible under the generator, the emission and the initial probabilities.
    """
    generators = checked_generators(q, intervals)
    looks, log_scale = checked_emission(emission, intervals)
    with np.errstate(divide="ignore"):
        table = np.log(intervals.table(generators))
    state = np.zeros(intervals.n_obs, dtype=np.int64)
    loglik, bad = _best(intervals.steps, table, generators, looks, checked_initial(initial, intervals), state)
    if bad >= 0:
        raise ValueError(f"path {bad} is impossible under this generator, emission and initial distribution; allow its jumps or wrong labels")
    return state, loglik + log_scale
