"""Observations as rows of a table of likelihoods, which a fit asks for at every step."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numba as nb
import numpy as np

from trajlab.dynamics.jumps.smoothing import Likelihood
from trajlab.types import JumpPaths

__all__ = ["Read", "by_matrix", "read", "seen_by_state"]


class Read(NamedTuple):
    """Observations as rows of a table: labels that may be wrong are rows 0 .. n-1, labels that are right n .. 2n-1, any state 2n, sets after that.

    ``index`` is ``[obs]``, ``sets`` holds the allowed states of the rows from 2n on, ``[set state]``; ``signal`` marks the observations of a signal.
    """

    index: np.ndarray
    sets: np.ndarray
    signal: np.ndarray


_READ: weakref.WeakKeyDictionary[JumpPaths, dict[tuple[int, ...], Read]] = weakref.WeakKeyDictionary()


def read(paths: JumpPaths, noisy: Sequence[int] = (JumpPaths.PANEL,)) -> Read:
    """The row of each observation; kept as long as the paths are, since each step of a fit asks for it."""
    kept = _READ.setdefault(paths, {})
    key = tuple(noisy)
    if key not in kept:
        kept[key] = _read(paths, key)
    return kept[key]


def _read(paths: JumpPaths, noisy: tuple[int, ...]) -> Read:
    n = paths.n_states
    label, kind = np.asarray(paths.label.cpu(), dtype=np.int64), np.asarray(paths.observed.cpu())
    named = np.isin(kind, (JumpPaths.PANEL, JumpPaths.EXACT, JumpPaths.ENTRY))
    index = np.full(len(label), 2 * n, dtype=np.int64)
    index[named] = label[named] + np.where(np.isin(kind[named], noisy), 0, n)
    sets = np.ones((1, n))
    censored = kind == JumpPaths.CENSORED
    if paths.allowed is not None and censored.any():
        distinct, which = np.unique(np.asarray(paths.allowed.cpu())[censored], axis=0, return_inverse=True)
        index[censored] = 2 * n + 1 + which.reshape(-1)
        sets = np.concatenate([sets, distinct.astype(np.float64)])
    return Read(index, sets, kind == JumpPaths.SIGNAL)


@nb.njit(cache=True, nogil=True)
def _row_sums(posterior, index, count):
    total = np.zeros((count, posterior.shape[1]))
    for t in range(len(index)):
        r = index[t]
        if r < count:
            for i in range(posterior.shape[1]):
                total[r, i] += posterior[t, i]
    return total


def seen_by_state(posterior: np.ndarray, paths: JumpPaths, noisy: Sequence[int]) -> np.ndarray:
    """Expected number of times that a state was seen as a label which may be wrong, ``[state label]``."""
    rows = _row_sums(np.ascontiguousarray(posterior, dtype=np.float64), read(paths, noisy).index, paths.n_states)
    return np.ascontiguousarray(rows.T)


def by_matrix(matrix: np.ndarray, paths: JumpPaths, noisy: Sequence[int]) -> Likelihood:
    """The likelihood of states where label s is seen in state i with probability ``matrix[i, s]``."""
    found = read(paths, noisy)
    if found.signal.any():
        raise ValueError(f"{int(found.signal.sum())} observations are of a signal, which labels say nothing of; use a Gaussian or Student emission")
    if len(matrix) != paths.n_states:
        raise ValueError(f"the emission has {len(matrix)} states, the paths {paths.n_states}")
    return Likelihood(np.concatenate([matrix.T, np.eye(paths.n_states), found.sets]), found.index)
