"""What a set of labelled paths says about every ordered pair of states, as numbers without a unit: the input of the count network.

The clock of the data is ``unit = observed time / (label changes + 1/2)``, the time an observed jump takes on average. Durations are divided by it, so
that another unit of time, and another origin of any path's clock, change nothing; numbering the states otherwise permutes rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
from jaxtyping import Float, Int

from trajlab.dynamics.jumps.kernels import panel_gradient
from trajlab.types import JumpPaths

__all__ = ["FEATURES", "LagFeatures", "features_of_arrays", "lag_features", "looks"]

GAPS = (1, 2, 4, 8, 16)  #: how many looks ahead pairs are counted
CLASSES = 8  #: of durations of consecutive looks: below 1/16 unit, doubling, above 4 units
SHORTEST = 1.0 / 16.0
ITERATIONS = 3  #: of expectation-maximisation with a Gamma prior, whose state is handed on
PER_GAP = 5
SUPPOSED = 0.05  #: level of label noise under which rates are estimated a second time
OWN = 17  #: features that are neither by gap nor by class of duration
FEATURES = PER_GAP * len(GAPS) + 3 * CLASSES + OWN
_GAPS = np.array(GAPS)


@dataclass(frozen=True)
class LagFeatures:
    """What is known of the pairs of states of one data set.

    Attributes:
        pairs: features of the ordered pairs, float32, ``[state state feature]``.
        unit: observed time per label change, in the unit of the data's clock.
        base: logarithm of a first estimate of each rate times the unit, ``[state state]``; zero on the diagonal.
        changes: label changes between consecutive looks.
        n_looks: observations used.
    """

    pairs: Float[np.ndarray, "state state feature"]
    unit: float
    base: Float[np.ndarray, "state state"]
    changes: float
    n_looks: int


@nb.njit(cache=True, nogil=True)
def _consecutive(label, time, first, counts, lasted, returns, stays, starts):
    """Counts, total durations of consecutive pairs, and what followed a change: a return, or another look at the new state."""
    for k in range(len(first) - 1):
        begin, end = first[k], first[k + 1]
        if end > begin:
            starts[label[begin]] += 1.0
        for a in range(begin, end - 1):
            i, j = label[a], label[a + 1]
            counts[i, j] += 1.0
            lasted[i, j] += time[a + 1] - time[a]
            if a + 2 < end and i != j:
                returns[i, j] += label[a + 2] == i
                stays[i, j] += label[a + 2] == j


@nb.njit(cache=True, nogil=True)
def _apart(label, time, first, gap, counts, lasted):
    """Counts and durations of pairs that are ``gap`` looks apart."""
    for k in range(len(first) - 1):
        for a in range(first[k], first[k + 1] - gap):
            counts[label[a], label[a + gap]] += 1.0
            lasted[label[a], label[a + gap]] += time[a + gap] - time[a]


@nb.njit(cache=True, nogil=True)
def _by_duration(label, time, first, unit, counts, lasted):
    """Counts and mean durations of consecutive pairs by class of duration."""
    for k in range(len(first) - 1):
        for a in range(first[k], first[k + 1] - 1):
            duration = time[a + 1] - time[a]
            edge, c = SHORTEST * unit, 0
            while c < CLASSES - 1 and duration >= edge:
                edge *= 2.0
                c += 1
            counts[c, label[a], label[a + 1]] += 1.0
            lasted[c] += duration


@nb.njit(cache=True, nogil=True)
def _cleaned(counts, eps):
    """Counts of pairs before a share ``eps`` of the labels was replaced by uniform ones: ``M^-T C M^-1`` with ``M = (1 - eps) 1 + eps / n``, negative
    ones raised to zero, the total kept."""
    out, e = np.zeros_like(counts), eps / counts.shape[1]
    for c in range(len(counts)):
        total = counts[c].sum()
        if total > 0.0:
            row, column = counts[c].sum(1), counts[c].sum(0)
            for i in range(len(row)):
                for j in range(len(row)):
                    out[c, i, j] = max(counts[c, i, j] - e * (row[i] + column[j]) + e * e * total, 0.0)
            out[c] *= total / out[c].sum()
    return out


@nb.njit(cache=True, nogil=True)
def _first_rates(counts, exposure, rate):
    """A generator from counts alone."""
    n = len(counts)
    q = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if j != i:
                q[i, j] = (counts[i, j] + 1.0) / (exposure[i] + 1.0 / rate)
        q[i, i] = -q[i].sum()
    return q


@nb.njit(cache=True, nogil=True)
def _expectation(counts, lasted, rate, q):
    """Some iterations ``q <- (E[n] + 1) / (E[tau] + 1 / rate)``; the last but one generator, and the expected jumps and times given it."""
    n = q.shape[0]
    used = np.zeros(CLASSES, dtype=np.int64)
    m = 0
    for c in range(CLASSES):
        if lasted[c] > 0.0:
            used[m] = c
            m += 1
    lag, ptr = np.zeros(m), np.arange(m + 1) * n * n
    start, stop = np.zeros(m * n * n, dtype=np.int64), np.zeros(m * n * n, dtype=np.int64)
    weight, entry = np.zeros(m * n * n), np.zeros(m * n * n, dtype=np.bool_)
    for k in range(m):
        lag[k] = lasted[used[k]] / counts[used[k]].sum()
        for i in range(n):
            for j in range(n):
                at = (k * n + i) * n + j
                start[at], stop[at], weight[at] = i, j, counts[used[k], i, j]
    jumps, spent, before = np.zeros((n, n)), np.zeros(n), q.copy()
    for _ in range(ITERATIONS):
        _, free, bad = panel_gradient(q, lag, ptr, start, stop, weight, entry)
        if bad >= 0:
            break
        before[:] = q
        for i in range(n):
            spent[i] = free[i, i]
            q[i, i] = 0.0
            for j in range(n):
                if j != i:
                    jumps[i, j] = before[i, j] * free[i, j]
                    q[i, j] = (jumps[i, j] + 1.0) / (spent[i] + 1.0 / rate)
            q[i, i] = -q[i].sum()
    return before, jumps, spent


@nb.njit(cache=True, nogil=True)
def _filled(label, time, first, n):
    """All features, the unit, the logarithm of the first estimate, and the number of changes."""
    counts, lasted, returns, stays = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    starts, out, base = np.zeros(n), np.zeros((n, n, FEATURES), dtype=np.float32), np.zeros((n, n))
    _consecutive(label, time, first, counts, lasted, returns, stays, starts)
    pairs, total, changes = counts.sum(), lasted.sum(), 0.0
    for i in range(n):
        changes += counts[i].sum() - counts[i, i]
    unit = total / (changes + 0.5)
    many, mean = starts.sum(), total / pairs
    at = 0
    far, long = counts, lasted
    for g in range(len(_GAPS)):
        if g > 0:
            far, long = np.zeros((n, n)), np.zeros((n, n))
            _apart(label, time, first, _GAPS[g], far, long)
        seen = far.sum()
        typical = long.sum() / max(seen, 1.0)
        for i in range(n):
            row = far[i].sum()
            for j in range(n):
                out[i, j, at] = np.log1p(far[i, j])
                out[i, j, at + 1] = far[i, j] / (row + 1.0)
                out[i, j, at + 2] = np.log1p(row)
                if typical > 0.0:
                    out[i, j, at + 3] = np.log(typical / unit)
                if long[i, j] > 0.0:
                    out[i, j, at + 4] = np.log(long[i, j] / far[i, j] / typical)
        at += PER_GAP
    classes, spans = np.zeros((CLASSES, n, n)), np.zeros(CLASSES)
    _by_duration(label, time, first, unit, classes, spans)
    for c in range(CLASSES):
        for i in range(n):
            row = classes[c, i].sum()
            for j in range(n):
                out[i, j, at] = np.log1p(classes[c, i, j])
                out[i, j, at + 1] = classes[c, i, j] / (row + 1.0)
                out[i, j, at + 2] = np.log1p(row)
        at += 3
    rate = 1.0 / (unit * (n - 1))
    q, jumps, spent = _expectation(classes, spans, rate, _first_rates(counts, lasted.sum(1), rate))
    cleaned = _cleaned(classes, SUPPOSED)
    _, fewer, other = _expectation(cleaned, spans, rate, _first_rates(cleaned.sum(0), lasted.sum(1), rate))
    for i in range(n):
        row, exposure = counts[i].sum(), lasted[i].sum()
        for j in range(n):
            own = out[i, j, at:]
            if i != j:
                found = (jumps[i, j] + 1.0) / (spent[i] + 1.0 / rate)
                base[i, j] = np.log(found * unit)
                own[0] = base[i, j]
                own[1] = np.log((counts[i, j] + 0.25 / n) / (exposure + mean) * unit)
                own[2] = np.log(found / q[i, j])
                own[3] = np.log1p(jumps[i, j])
                own[4] = returns[i, j] / (counts[i, j] + 1.0)
                own[14] = np.log((fewer[i, j] + 1.0) / (other[i] + 1.0 / rate) / found)
                own[15] = np.log1p(fewer[i, j])
                own[5] = stays[i, j] / (counts[i, j] + 1.0)
            else:
                own[6] = 1.0
            own[7] = np.log((exposure + mean) / unit)
            own[8] = np.log((spent[i] + 1.0 / rate) / unit)
            own[16] = np.log((other[i] + 1.0 / rate) / (spent[i] + 1.0 / rate))
            own[9] = starts[i] / many
            own[10] = np.log(many)
            own[11] = np.log(pairs / many)
            own[12] = np.log(changes + 1.0)
            own[13] = np.log(float(n))
    return out, unit, base, changes


def looks(paths: JumpPaths) -> tuple[Int[np.ndarray, "look"], Float[np.ndarray, "look"], Int[np.ndarray, "first"]]:
    """Labels, times and where each path begins, ``[path + 1]``; looks that gave nothing are left out.

    Raises:
        ValueError: something other than looks at a state was observed.
    """
    label, time, path, kind = (np.asarray(v.cpu()) for v in (paths.label, paths.time, paths.path, paths.observed))
    strange = (kind != JumpPaths.PANEL) & (kind != JumpPaths.MISSING)
    if strange.any():
        at = int(np.argmax(strange))
        names = {JumpPaths.EXACT: "exact", JumpPaths.CENSORED: "censored", JumpPaths.ENTRY: "entry", JumpPaths.SIGNAL: "signal"}
        raise ValueError(f"observation {at} is of kind {names.get(int(kind[at]), int(kind[at]))!r}; the network reads looks at states (panel) and "
                         "missing looks alone; use a method that has the exact likelihood, such as 'map'")
    seen = label >= 0
    first = np.searchsorted(path[seen], np.arange(paths.n_paths + 1))
    return np.ascontiguousarray(label[seen]), np.ascontiguousarray(time[seen]), first


def features_of_arrays(label: np.ndarray, time: np.ndarray, first: np.ndarray, n_states: int) -> LagFeatures:
    """The features of plain arrays: ``label[look]``, ``time[look]`` and ``first[path + 1]``, the looks of path k being ``first[k] .. first[k + 1]``.

    Raises:
        ValueError: there are fewer than two states, no two looks of one path, or no time passes between them.
    """
    if n_states < 2:
        raise ValueError(f"{n_states} state has no rates; at least 2 were wanted")
    if not (np.diff(first) > 1).any():
        raise ValueError(f"none of the {len(first) - 1} paths has two looks, so nothing is known of rates; at least two of one path were wanted")
    first = np.ascontiguousarray(first, dtype=np.int64)
    many = np.flatnonzero(np.diff(first) > 1)
    if not (time[first[many + 1] - 1] > time[first[many]]).any():
        raise ValueError("no time passes between the looks of any path; times in the second column, or another unit, were probably meant")
    label, time = np.ascontiguousarray(label, dtype=np.int64), np.ascontiguousarray(time, dtype=np.float64)
    pairs, unit, base, changes = _filled(label, time, first, n_states)
    return LagFeatures(pairs, float(unit), base, float(changes), len(label))


def lag_features(paths: JumpPaths) -> LagFeatures:
    """What a set of paths says about every ordered pair of states, free of the unit and the origin of time.

    By gap g = 1, 2, 4, 8, 16 looks: counts of (i, j), their share of the row, size of the row, mean duration in units, and the mean duration of the
    pair against it. By class of duration (below 1/16 unit, doubling, above 4): counts of consecutive pairs, share and row, so that irregular and
    per-path grids are used as they are. The state of three iterations of expectation-maximisation under a Gamma prior with shape 2 and the mean rate
    of the data (expected jumps, times and rates), how often a change was undone or kept by the next look (a mark of wrong labels), where paths start,
    how many there are, how long, of how many states.

    Raises:
        ValueError: something other than looks at states was observed, or nothing is known of rates.
    """
    label, time, first = looks(paths)
    return features_of_arrays(label, time, first, paths.n_states)
