"""Looks at paths as the diagnostics need them: states at times, pairs of looks, and other labels drawn from a generator at the same times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numba as nb
import numpy as np
from scipy.stats import chi2, norm

from trajlab.dynamics.jumps.elimination import stack
from trajlab.dynamics.jumps.generator import stationary, transition
from trajlab.types import JumpPaths

__all__ = ["Looks", "PairsOfLooks", "chi_square", "copies_of", "lag_classes", "looks_of", "numbers", "simulated", "single", "tail"]

BUDGET = 5e6  #: labels that are drawn for one p-value
ENOUGH_COPIES, FEW_COPIES = 99, 39  #: sets of labels, above which a p-value is counted; and that are drawn at least where labels may be wrong
MOST_CLASSES = 256  #: lags beyond this number are put into classes one per cent wide


@dataclass(frozen=True, eq=False)
class Looks:
    """States seen, one after the other: ``label``, ``time`` since the first look of the path, ``path``, each ``[look]``.

    Attributes:
        alive: states that a look can see, ``[state]``; those entered at known dates are left out with the entries, and every probability is
            conditional on not being there, as a look tells.
        step: spacing of the grid that exactly known paths were read off on; None where looks are as observed.
        confusion: probability of each label given the state, ``[state label]``; None where labels are the states.
    """

    label: np.ndarray
    time: np.ndarray
    path: np.ndarray
    n_states: int
    alive: np.ndarray
    step: float | None = None
    confusion: np.ndarray | None = None

    @property
    def position(self) -> np.ndarray:
        """Number of each look within its path."""
        first = np.flatnonzero(np.diff(self.path, prepend=-1))
        return np.arange(len(self.path)) - np.repeat(first, np.diff(first, append=len(self.path)))

    def pairs(self, apart: int = 1, q: np.ndarray | None = None) -> PairsOfLooks:
        """Pairs of looks 0 and k, k and 2 k, ... of each path, with their lags in classes."""
        chosen = np.flatnonzero(self.position % apart == 0)
        here, there = chosen[:-1], chosen[1:]
        same = self.path[here] == self.path[there]
        here, there = here[same], there[same]
        lag = self.time[there] - self.time[here]
        centres, which = lag_classes(lag)
        table = np.zeros((0, self.n_states, self.n_states)) if q is None else self.transitions(q, centres)
        return PairsOfLooks(here, there, self.label[here], self.label[there], lag, which, table)

    def transitions(self, q: np.ndarray, lag: np.ndarray) -> np.ndarray:
        """Probability of each label a lag after each label, ``[lag state state]``, conditional on a look being possible.

        Where labels may be wrong the state behind the first is guessed from it and the stationary distribution.
        """
        p = self.between(q, lag)
        return p if self.confusion is None else self.behind(q) @ p @ self.confusion

    def between(self, q: np.ndarray, lag: np.ndarray) -> np.ndarray:
        """Transition matrices of the states themselves, conditional on a look being possible, ``[lag state state]``."""
        p = transition(q, lag) * self.alive
        return p / np.maximum(p.sum(-1, keepdims=True), 1e-300)

    def behind(self, q: np.ndarray) -> np.ndarray:
        """Probability of each state given a label, ``[label state]``."""
        joint = stationary(q)[:, None] * (np.eye(self.n_states) if self.confusion is None else self.confusion) + 1e-300 * np.eye(self.n_states)
        return (joint / joint.sum(0)).T

    def redrawn(self, q: np.ndarray, copies: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Other labels for the same looks, ``[look]`` each, from the generator and the first label of each path."""
        at = np.flatnonzero(np.diff(self.path) == 0)
        centres, which = lag_classes(self.time[at + 1] - self.time[at])
        ends = np.full(len(self.label), -1)
        ends[at + 1] = which
        table = self.between(q, centres).cumsum(-1)
        for _ in range(copies):
            first = self.label if self.confusion is None else _picked(self.behind(q), self.label, rng)
            state = _walk(first, ends, table, rng.random(len(first)))
            yield state if self.confusion is None else _picked(self.confusion, state, rng)


@dataclass(frozen=True, eq=False)
class PairsOfLooks:
    """Two looks at one path: their numbers, states, lag, class of the lag, and the transition matrix of each class."""

    here: np.ndarray
    there: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    lag: np.ndarray
    lag_class: np.ndarray
    table: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Probability of each state at the second look, ``[pair state]``."""
        return self.table[self.lag_class, self.start]


def _picked(chance: np.ndarray, given: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One draw from row ``given`` of a table of probabilities for each entry."""
    cumulative = chance.cumsum(-1)[given]
    return (cumulative[:, :-1] <= rng.random(len(given))[:, None] * cumulative[:, -1:]).sum(-1)


@nb.njit(cache=True, nogil=True)
def _walk(first, ends, cumulative, uniform):
    """Labels one after the other: as they are where no pair ends, else drawn from the label before."""
    out = np.empty_like(first)
    n = cumulative.shape[-1]
    for k in range(len(first)):
        if ends[k] < 0:
            out[k] = first[k]
            continue
        row = cumulative[ends[k], out[k - 1]]
        j = 0
        while j < n - 1 and row[j] <= uniform[k] * row[n - 1]:
            j += 1
        out[k] = j
    return out


def lag_classes(lag: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct lags (in classes one per cent wide, where there are many) and the class of each."""
    if not len(lag):
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    logs = np.log(lag)
    keys, which = np.unique(np.round(logs / 1e-8), return_inverse=True)
    if len(keys) > MOST_CLASSES:
        keys, which = np.unique(np.floor(logs / 0.01), return_inverse=True)
    which = which.reshape(-1)
    return np.bincount(which, weights=lag) / np.bincount(which), which


def looks_of(paths: JumpPaths, step: float | None = None, noise: float | np.ndarray | None = None) -> Looks:
    """Looks that name a state.

    Paths with jumps at known times are read off on an even grid, since a look at a jump is no look at a random time: its ``step`` is the mean time
    between jumps where left out. Entries at known dates are left out for the same reason. ``noise`` is the probability that a label is replaced by
    one that is uniform over all states, or the probability of each label given the state, ``[state label]``.

    Raises:
        ValueError: there are no two looks at one path, or the noise is no probability.
    """
    label, time, path, kind = (np.asarray(v.cpu()) for v in (paths.label, paths.time, paths.path, paths.observed))
    first = np.flatnonzero(np.diff(path, prepend=-1))
    time = time - np.repeat(time[first], np.diff(first, append=len(path)))
    alive = np.ones(paths.n_states, dtype=bool)
    if (kind == JumpPaths.EXACT).any():
        label, time, path, step = _on_grid(label, time, path, kind, step)
    else:
        alive[np.unique(label[kind == JumpPaths.ENTRY])] = False
        kept = (label >= 0) & (kind != JumpPaths.ENTRY)
        kept[kept] = alive[label[kept]]
        label, time, path, step = label[kept], time[kept], path[kept], None
    fresh = np.ones(len(label), dtype=bool)
    fresh[1:] = (np.diff(path) != 0) | (np.diff(time) > 0)  # a second look at one time tells nothing new
    label, time, path = label[fresh], time[fresh], path[fresh]
    if not (np.diff(path) == 0).any():
        raise ValueError(f"none of the {paths.n_paths} paths has two looks that name a state; diagnostics need pairs of looks")
    return Looks(label, time, path, paths.n_states, alive, step, _confusion(noise, paths.n_states))


def _confusion(noise: float | np.ndarray | None, n: int) -> np.ndarray | None:
    """Probability of each label given the state; None where labels are right."""
    if noise is None or (np.ndim(noise) == 0 and not noise):
        return None
    e = np.asarray(noise, dtype=np.float64)
    e = (1 - e) * np.eye(n) + e / n if e.ndim == 0 else e
    if e.shape != (n, n) or not (e >= 0).all() or not np.allclose(e.sum(1), 1.0, atol=1e-6):
        raise ValueError(f"the noise has shape {np.shape(noise)}; a probability, or those of labels [{n} {n}] with rows of sum 1, were wanted")
    return e


def _on_grid(label: np.ndarray, time: np.ndarray, path: np.ndarray, kind: np.ndarray, step: float | None):
    """Exactly known paths at even times from their origin on; times at which the state is not known are left out."""
    same = path[1:] == path[:-1]
    jumps = int((same & (kind[1:] == JumpPaths.EXACT) & (label[1:] != label[:-1])).sum())
    last = np.flatnonzero(np.diff(path, append=path[-1] + 1))
    step = step or float(time[last].sum() / max(jumps, 1))
    if not 0 < step < np.inf:
        raise ValueError(f"the step of the grid is {step:g}; a positive time was wanted")
    count = np.floor(time[last] / step * (1 + 1e-12)).astype(np.int64) + 1
    owner = np.repeat(path[last], count)
    at = (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)) * step
    wide = 2.0 * float(time.max()) + step
    found = np.searchsorted(path * wide + time, owner * wide + at + 1e-9 * step, side="right") - 1
    after = np.minimum(found + 1, len(path) - 1)
    known = (np.abs(at - time[found]) <= 2e-9 * step) | ((path[after] == owner) & (after > found) & (kind[after] == JumpPaths.EXACT))
    known &= label[found] >= 0
    return label[found][known], at[known], owner[known], step


def chi_square(observed: np.ndarray, expected: np.ndarray, least: float = 5.0) -> tuple[float, int]:
    """Pearson's statistic summed over rows ``[row cell]`` and its degrees of freedom; cells with small expectation are pooled within their row."""
    total, freedom = 0.0, 0
    for o, e in zip(observed, expected, strict=True):
        order = np.argsort(e)
        o, e = o[order], e[order]
        pooled = int(np.searchsorted(e, least))
        while 0 < pooled < len(e) and e[:pooled].sum() < least:
            pooled += 1
        o, e = np.append(o[:pooled].sum(), o[pooled:]), np.append(e[:pooled].sum(), e[pooled:])
        o, e = o[e > 0], e[e > 0]
        if len(e) > 1 and e.min() >= least:
            total, freedom = total + float(((o - e) ** 2 / e).sum()), freedom + len(e) - 1
    return total, freedom


def tail(statistic: float, freedom: int) -> float:
    """Probability of a chi-square as large; 1 without degrees of freedom."""
    return float(chi2.sf(statistic, freedom)) if freedom > 0 else 1.0


def copies_of(looks: Looks, simulations: int) -> int:
    """How many sets of labels are drawn: none where chi-square tails will do (many looks, right labels)."""
    most = min(simulations, int(BUDGET / len(looks.label)))
    if looks.confusion is not None:
        return min(simulations, max(most, FEW_COPIES))
    return most if most >= ENOUGH_COPIES else 0


def simulated(value: float, drawn: list[float]) -> float:
    """p-value of a statistic among those of the labels drawn; by a normal tail where these are few."""
    if len(drawn) >= ENOUGH_COPIES:
        return float((1 + sum(d >= value for d in drawn)) / (1 + len(drawn)))
    return float(norm.sf((value - np.mean(drawn)) / max(float(np.std(drawn, ddof=1)), 1e-300)))


def numbers(values: Iterable, most: int = 6) -> str:
    """A short list in words."""
    values = list(values)
    return ", ".join(str(v) for v in values[:most]) + (f" and {len(values) - most} more" if len(values) > most else "")


def single(q: np.ndarray, paths: JumpPaths | None = None) -> np.ndarray:
    """One generator, checked, with as many states as the paths."""
    q = stack(q)
    if q.ndim != 2 or (paths is not None and len(q) != paths.n_states):
        wanted = "[state state]" if paths is None else f"[{paths.n_states} {paths.n_states}], as the paths have {paths.n_states} states,"
        raise ValueError(f"the generator has shape {q.shape}; {wanted} was wanted")
    return q
