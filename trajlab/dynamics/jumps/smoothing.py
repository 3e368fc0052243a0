"""Hidden states of jump processes: forward-backward sums in continuous time, and the expected counts that the likelihood needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trajlab.dynamics.jumps.kernels import transition_blocks
from trajlab.dynamics.jumps.pair_counts import MOST_LAGS, PairCounts, _classes
from trajlab.dynamics.jumps.smoothing_kernels import JUMP, SOFT, STAY, Law, Looks, Steps, sweep
from trajlab.types import JumpPaths

__all__ = ["Intervals", "Likelihood", "Smoothed", "smooth"]

WORK = 200_000  #: observations times squared states from which on paths are split into blocks
BLOCKS = 4  #: always as many, whatever the number of threads, so that sums do not depend on it
MOST_TABLE = 20_000_000  #: numbers that the tables of all blocks may hold


@dataclass(frozen=True)
class Likelihood:
    """How likely what was seen is in each state: ``rows[index[l]]`` at observation l, all together times ``exp(log_scale)``.

    Attributes:
        rows: ``[row state]``, not negative.
        index: the row of each observation, ``[obs]``.
        log_scale: logarithm of what was taken out of the rows of all observations to keep them within the range of numbers.
    """

    rows: np.ndarray
    index: np.ndarray
    log_scale: float = 0.0

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.rows[self.index], dtype=dtype)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Intervals:
    """What lies between the observations of all paths, made once for a data set.

    With exact observations and labels that may be wrong, the labels say whether there was a jump: an `EXACT` look at the label seen last in its path
    tells that the state stayed, one at another label that it changed just then. (Deciding this by the hidden states would add the probability of a
    stay to the density of a jump, which depends on the unit of time.)

    Attributes:
        n_states: number of states.
        steps: where paths begin, and the kind, step matrix, covariate group and lag of the interval that ends at each observation.
        lag, entry, group: of each step matrix, sorted by group and lag, ``[kernel]``. Lags are classed as those of `PairCounts`.
        covariates: the values of each group.
    """

    n_states: int
    steps: Steps
    lag: np.ndarray
    entry: np.ndarray
    group: np.ndarray
    covariates: tuple[Mapping[str, float], ...]

    @classmethod
    def from_paths(cls, paths: JumpPaths, covariates: Sequence[str] = (), most_lags: int | None = MOST_LAGS) -> Intervals:
        """The intervals of these paths; covariates hold from an observation to the next.

        Raises:
            ValueError: no path has two observations, or a covariate is not there.
        """
        label, time, path, seen = (np.asarray(v.cpu()) for v in (paths.label, paths.time, paths.path, paths.observed))
        ends = np.flatnonzero(path[1:] == path[:-1]) + 1
        if not len(ends):
            raise ValueError(f"none of the {paths.n_paths} paths has two observations, so nothing is known of rates; two of one path were wanted")
        values, group = _groups(paths, tuple(covariates), ends)
        lag = np.zeros(len(label))
        lag[ends] = time[ends] - time[ends - 1]
        kind, entry = np.full(len(label), SOFT, dtype=np.int8), seen == JumpPaths.ENTRY
        exact = seen == JumpPaths.EXACT
        stays = exact & (_last_label(label, path) == label)
        kind[exact] = JUMP
        kind[stays] = STAY
        # without time in between nothing happens but what is said to have happened
        kind[(lag == 0) & ~exact] = STAY
        kind[(lag == 0) & entry] = JUMP
        soft = ends[kind[ends] == SOFT]
        kernel = np.full(len(label), -1, dtype=np.int64)
        kernel[soft], tables = _tables(lag[soft], group[soft], entry[soft], most_lags)
        first = np.searchsorted(path, np.arange(paths.n_paths + 1)).astype(np.int64)
        return cls(paths.n_states, Steps(first, kind, kernel, group, lag), *tables, values)

    @property
    def n_obs(self) -> int:
        return len(self.steps.kind)

    @property
    def n_paths(self) -> int:
        return len(self.steps.first) - 1

    @property
    def n_groups(self) -> int:
        return len(self.covariates)

    @property
    def n_intervals(self) -> int:
        return self.n_obs - self.n_paths

    @property
    def total_time(self) -> float:
        """Time that all paths are followed for."""
        return float(self.steps.lag.sum())

    def table(self, generators: np.ndarray) -> np.ndarray:
        """The step matrices under one generator a group, ``[kernel state state]``."""
        out = np.empty((len(self.lag), self.n_states, self.n_states))
        for g, q in enumerate(generators):
            mine = slice(*np.searchsorted(self.group, [g, g + 1]))
            lags, inverse = np.unique(self.lag[mine], return_inverse=True)
            out[mine] = transition_blocks(q, lags)[inverse]
            entries = np.flatnonzero(self.entry[mine]) + mine.start
            out[entries] = out[entries] @ (q - np.diag(np.diag(q)))
        return out


@dataclass(frozen=True)
class Smoothed:
    """What the observations say of the hidden states under one generator.

    Attributes:
        loglik: log-likelihood of all observations; minus infinity where one is impossible.
        counts: expected pairs of states at the ends of intervals by lag, expected jumps and times of the exact ones; one a covariate group.
        first: expected number of paths that start in each state, ``[state]``.
        posterior: probability of each state at each observation given all observations of its path, ``[obs state]``.
        impossible: the first observation that the generator, the emission and the initial probabilities do not allow, or None.
    """

    loglik: float
    counts: list[PairCounts]
    first: np.ndarray
    posterior: np.ndarray
    impossible: int | None = None


def smooth(q: np.ndarray | Sequence[np.ndarray], intervals: Intervals, emission: Likelihood | np.ndarray, initial: np.ndarray,
           threads: int = 2) -> Smoothed:
    """Forward-backward sums over the hidden states at all observations (Baum et al. 1970; in continuous time Liu et al. 2015).

    By Fisher's identity the derivative of ``loglik`` by the rates is that of `likelihood.evaluate` at the expected ``counts``, summed over groups; by
    the parameters of the emission it is their score under the ``posterior``.

    Args:
        q: the generator, ``[state state]``, or one for each covariate group.
        intervals: of the paths.
        emission: how likely what was seen is in each state, ``[obs state]`` (`emissions` make it).
        initial: probability of each state at the first observation of a path, ``[state]`` or ``[path state]``; ones where the first states are seen
            give the likelihood of what follows them.
        threads: over blocks of paths; the result does not depend on it.

    Raises:
        ValueError: the sizes of the generators, the emission or the initial probabilities do not fit the intervals, or something is NaN.
    """
    n = intervals.n_states
    generators = checked_generators(q, intervals)
    looks, log_scale = checked_emission(emission, intervals)
    initial = checked_initial(initial, intervals)
    table = intervals.table(generators)
    law = Law(table, np.ascontiguousarray(table.transpose(0, 2, 1)), generators, initial)
    posterior = np.empty((intervals.n_obs, n))
    blocks = _blocks(intervals)
    pull, known = np.zeros((len(blocks), *table.shape)), np.zeros((len(blocks), *generators.shape))

    def work(b: int) -> tuple[float, int]:
        return sweep(intervals.steps, *blocks[b], law, looks, posterior, pull[b], known[b])

    found = _in_threads(work, len(blocks), threads)
    bad = [at for _, at in found if at >= 0]
    if bad:
        posterior[:] = 0.0
        pull[:], known[:] = 0.0, 0.0
    counts = _expected(intervals, pull.sum(0) * table, known.sum(0))
    loglik = -np.inf if bad else float(sum(value for value, _ in found)) + log_scale
    begins = intervals.steps.first[:-1]
    return Smoothed(loglik, counts, posterior[begins].sum(0), posterior, min(bad) if bad else None)


def _in_threads(work, count: int, threads: int) -> list:
    if threads < 2 or count < 2:
        return [work(b) for b in range(count)]
    with ThreadPoolExecutor(min(threads, count)) as pool:
        return list(pool.map(work, range(count)))


def _blocks(intervals: Intervals) -> list[tuple[int, int]]:
    """Ranges of paths with about as many observations each; a function of the data alone."""
    n = intervals.n_states
    wanted = BLOCKS if intervals.n_obs * n * n > WORK else 1
    wanted = max(1, min(wanted, intervals.n_paths, MOST_TABLE // max(1, len(intervals.lag) * n * n)))
    cuts = np.searchsorted(intervals.steps.first, np.linspace(0, intervals.n_obs, wanted + 1)[1:-1])
    edges = np.unique(np.concatenate([[0], cuts, [intervals.n_paths]])).tolist()
    return list(pairwise(edges))


def _expected(intervals: Intervals, pairs: np.ndarray, known: np.ndarray) -> list[PairCounts]:
    """Expected counts of each group, from those of each step matrix and those of the exact intervals."""
    n = intervals.n_states
    found = []
    for g, values in enumerate(intervals.covariates):
        lo, hi = np.searchsorted(intervals.group, [g, g + 1])
        lag, first = np.unique(intervals.lag[lo:hi], return_index=True)
        _, start, stop = (a.ravel() for a in np.indices((hi - lo, n, n)))
        time = np.diag(known[g]).copy()
        jumps = known[g] - np.diag(time)
        found.append(PairCounts(n, lag, np.append(first, hi - lo) * n * n, start, stop, pairs[lo:hi].ravel(),
                                np.repeat(intervals.entry[lo:hi], n * n), jumps, time, values))
    return found


def checked_initial(initial: np.ndarray, intervals: Intervals) -> np.ndarray:
    """Initial weights, ``[1 state]`` or ``[path state]``, or an error that says what is wrong with them."""
    initial = np.ascontiguousarray(np.atleast_2d(np.asarray(initial, dtype=np.float64)))
    n = intervals.n_states
    if initial.shape not in ((1, n), (intervals.n_paths, n)) or not (initial >= 0).all():
        raise ValueError(f"initial has shape {initial.shape} and minimum {initial.min():g}; {n} weights of at least 0 were wanted, or a row a path")
    return initial


def checked_generators(q: np.ndarray | Sequence[np.ndarray], intervals: Intervals) -> np.ndarray:
    """One generator a group, ``[group state state]``, or an error that says what is wrong."""
    n, groups = intervals.n_states, intervals.n_groups
    q = np.asarray(q, dtype=np.float64)
    if q.ndim == 2:
        q = np.broadcast_to(q, (groups, *q.shape))
    if q.shape != (groups, n, n):
        raise ValueError(f"the generators have shape {q.shape}; [{n} {n}] was wanted, or one for each of the {groups} groups of covariates")
    if not np.isfinite(q).all():
        raise ValueError(f"{int((~np.isfinite(q)).sum())} entries of the generator are not finite")
    return np.ascontiguousarray(q)


def checked_emission(emission: Likelihood | np.ndarray, intervals: Intervals) -> tuple[Looks, float]:
    """Rows of likelihoods and the row of each observation, and the logarithm of what was taken out of them; or an error that says what is wrong."""
    if not isinstance(emission, Likelihood):
        emission = Likelihood(np.asarray(emission, dtype=np.float64), np.arange(intervals.n_obs))
    rows = np.ascontiguousarray(emission.rows, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != intervals.n_states or len(emission.index) != intervals.n_obs or len(rows) <= emission.index.max(initial=-1):
        raise ValueError(f"the emission has rows {rows.shape} for {len(emission.index)} observations; "
                         f"[{intervals.n_obs} {intervals.n_states}] was wanted")
    if not (rows >= 0).all():
        raise ValueError(f"the likelihood of a state is {rows[~(rows >= 0)][0]:g}; values of at least 0 were wanted")
    return Looks(rows, np.ascontiguousarray(emission.index, dtype=np.int64)), emission.log_scale


def _groups(paths: JumpPaths, names: tuple[str, ...], ends: np.ndarray) -> tuple[tuple[dict[str, float], ...], np.ndarray]:
    """Distinct values of the covariates at the beginning of intervals, and the group of the interval that ends at each observation."""
    group = np.zeros(len(paths.label), dtype=np.int64)
    for name in names:
        if name not in paths.covariates:
            raise ValueError(f"there is no covariate {name!r}; the paths have {', '.join(paths.covariates) or 'none'}")
    if not names:
        return ({},), group
    values = np.stack([np.asarray(paths.covariates[c].cpu(), dtype=np.float64) for c in names], 1)
    rows, number = np.unique(values[ends - 1], axis=0, return_inverse=True)
    group[ends] = number.reshape(-1)
    return tuple(dict(zip(names, row.tolist(), strict=True)) for row in rows), group


def _last_label(label: np.ndarray, path: np.ndarray) -> np.ndarray:
    """The label seen last before each observation of its path, -1 where there is none, ``[obs]``."""
    at = np.where(label >= 0, np.arange(len(label)), -1)
    last = np.concatenate([[-1], np.maximum.accumulate(at)[:-1]])
    begin = np.searchsorted(path, path, "left")
    return np.where(last >= begin, label[np.maximum(last, 0)], -1)


def _tables(lag: np.ndarray, group: np.ndarray, entry: np.ndarray, most_lags: int | None) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The step matrix of each interval, and lag, entry and group of each step matrix."""
    centre = np.empty_like(lag)
    for g in np.unique(group):
        mine = group == g
        number, centres = _classes(lag[mine], np.ones(int(mine.sum())), most_lags)
        centre[mine] = centres[number]
    order = np.lexsort((entry, centre, group))
    changed = np.ones(len(lag), dtype=bool)
    changed[1:] = (np.diff(group[order]) != 0) | (np.diff(centre[order]) != 0) | (np.diff(entry[order].astype(np.int8)) != 0)
    number = np.empty(len(lag), dtype=np.int64)
    number[order] = np.cumsum(changed) - 1
    distinct = order[changed]
    return number, (centre[distinct], entry[distinct], group[distinct])
