"""What panel likelihoods need of the data: how often a look at one state was followed, after which lag, by a look at another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from trajlab.types import JumpPaths

__all__ = ["PairCounts", "pair_counts"]

TOLERANCE = 1e-9  #: lags that differ by less than this, relative to the longest, are one
MOST_LAGS = 1024  #: distinct lags beyond which they are put into classes
CLASS_WIDTH = 0.01  #: relative width of such a class


@dataclass(frozen=True)
class PairCounts:
    """Weighted pairs of looks, sorted by lag, and what is known exactly.

    Attributes:
        n_states: number of states.
        lag: distinct lags, increasing, ``[lag]``.
        first: pairs ``first[m] .. first[m + 1]`` have lag m, ``[lag + 1]``.
        start, stop, weight: the pairs, ``[pair]``.
        entry: whether the state ``stop`` was entered just at the end of the lag, from a state not known, ``[pair]``.
        jumps: jumps seen as they happened, ``[state state]``.
        time: time for which a state was seen without a break, ``[state]``.
        covariates: values of the covariates that hold for these pairs.
    """

    n_states: int
    lag: np.ndarray
    first: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    weight: np.ndarray
    entry: np.ndarray
    jumps: np.ndarray
    time: np.ndarray
    covariates: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_pairs(cls, lag: np.ndarray, start: np.ndarray, stop: np.ndarray, n_states: int, weight: np.ndarray | None = None,
                   entry: np.ndarray | None = None, most_lags: int | None = MOST_LAGS) -> PairCounts:
        """Count pairs, given one by one.

        Where there are more than ``most_lags`` distinct lags, those within one per cent of each other share their weighted mean; since the mean is
        kept, the log-likelihood of a pair changes by about the square of that, 1e-5. ``most_lags=None`` keeps every lag.

        Raises:
            ValueError: a lag is negative or not finite, or two looks at one time disagree.
        """
        lag = np.asarray(lag, dtype=np.float64)
        weight = np.ones(len(lag)) if weight is None else np.asarray(weight, dtype=np.float64)
        entry = np.zeros(len(lag), dtype=bool) if entry is None else np.asarray(entry, dtype=bool)
        if len(lag) and not (lag >= 0).all():
            raise ValueError(f"the lag of pair {int(np.argmax(~(lag >= 0)))} is {lag[~(lag >= 0)][0]:g}; lags of at least 0 were wanted")
        clash = (lag == 0) & ((start != stop) | entry) & (weight > 0)
        if clash.any():
            at = int(np.argmax(clash))
            raise ValueError(f"two looks at one time see states {start[at]} and {stop[at]}; drop one, or allow for wrong labels (noise='flip')")
        kept = (lag > 0) & (weight > 0)
        lag, start, stop, weight, entry = lag[kept], np.asarray(start)[kept], np.asarray(stop)[kept], weight[kept], entry[kept]
        group, centres = _classes(lag, weight, most_lags)
        key = ((group * 2 + entry) * n_states + start) * n_states + stop
        pairs, inverse = np.unique(key, return_inverse=True)
        total = np.bincount(inverse, weights=weight, minlength=len(pairs))
        rest, stop = np.divmod(pairs, n_states)
        rest, start = np.divmod(rest, n_states)
        group, entry = np.divmod(rest, 2)
        return cls(n_states, centres, np.searchsorted(group, np.arange(len(centres) + 1)), start, stop, total, entry.astype(bool),
                   np.zeros((n_states, n_states)), np.zeros(n_states))

    @classmethod
    def from_matrices(cls, lag: np.ndarray, counts: np.ndarray) -> PairCounts:
        """From distinct lags, ``[lag]``, and a matrix of (expected) counts for each, ``[lag state state]``."""
        lags, n, _ = counts.shape
        m, start, stop = (a.ravel() for a in np.indices(counts.shape))
        return cls(n, np.asarray(lag, dtype=np.float64), np.arange(lags + 1) * n * n, start, stop, np.ascontiguousarray(counts.reshape(-1)),
                   np.zeros(len(m), dtype=bool), np.zeros((n, n)), np.zeros(n))

    @property
    def matrix(self) -> np.ndarray:
        """Counts over all lags, certain jumps included, ``[state state]``."""
        flat = np.bincount(self.start * self.n_states + self.stop, weights=self.weight, minlength=self.n_states**2)
        return flat.reshape(self.n_states, self.n_states) + self.jumps

    @property
    def lag_of_pair(self) -> np.ndarray:
        return np.repeat(self.lag, np.diff(self.first))

    @property
    def total_time(self) -> float:
        """Observed time of all paths together."""
        return float((self.weight * self.lag_of_pair).sum() + self.time.sum())

    @property
    def exposure(self) -> np.ndarray:
        """Time that followed a look at each state, until the next look, ``[state]``."""
        return np.bincount(self.start, weights=self.weight * self.lag_of_pair, minlength=self.n_states) + self.time

    @property
    def changes(self) -> float:
        """Pairs of looks that saw two different states."""
        return float(self.matrix.sum() - np.trace(self.matrix))


def pair_counts(paths: JumpPaths, covariates: tuple[str, ...] = (), most_lags: int | None = MOST_LAGS) -> list[PairCounts]:
    """Pairs of consecutive looks of paths whose states are seen as they are; one `PairCounts` for each distinct value of the covariates.

    Observations that name no state are allowed at the ends of paths only, where they say nothing (a path that is followed without a look).

    Raises:
        ValueError: no path has two looks, or an observation in between names no state (then the states are hidden: see `smoothing`).
    """
    label, time, path, kind = (np.asarray(v.cpu()) for v in (paths.label, paths.time, paths.path, paths.observed))
    seen = label >= 0
    values = np.stack([np.asarray(paths.covariates[c].cpu(), dtype=np.float64) for c in covariates], 1) if covariates else np.zeros((len(label), 0))
    same = path[1:] == path[:-1]
    pairs = same & seen[1:] & seen[:-1]
    hidden = _between(seen, path)
    if hidden is not None:
        raise ValueError(f"observation {hidden} names no state, but looks follow it; such paths need forward-backward sums")
    if not pairs.any():
        raise ValueError(f"none of the {paths.n_paths} paths has two looks, so nothing is known of rates; at least two of one path were wanted")
    at = np.flatnonzero(pairs)
    lag, start, stop, what = time[at + 1] - time[at], label[at], label[at + 1], kind[at + 1]
    groups, number = np.unique(values[at], axis=0, return_inverse=True)
    number = number.reshape(-1)
    found = []
    for g, row in enumerate(groups):
        mine = number == g
        # an entry at the time of a look elsewhere is a jump from there
        exact = mine & ((what == JumpPaths.EXACT) | ((what == JumpPaths.ENTRY) & (lag == 0) & (start != stop)))
        soft = mine & ~exact
        counts = PairCounts.from_pairs(lag[soft], start[soft], stop[soft], paths.n_states, entry=what[soft] == JumpPaths.ENTRY, most_lags=most_lags)
        np.add.at(counts.jumps, (start[exact & (start != stop)], stop[exact & (start != stop)]), 1.0)
        np.add.at(counts.time, start[exact], lag[exact])
        object.__setattr__(counts, "covariates", dict(zip(covariates, row.tolist(), strict=True)))
        found.append(counts)
    return found


def _between(seen: np.ndarray, path: np.ndarray) -> int | None:
    """The first observation without a state that has looks before and after it in its path."""
    blind = np.flatnonzero(~seen)
    if not len(blind):
        return None
    count = np.concatenate([[0], np.cumsum(seen)])
    begin, end = np.searchsorted(path, path[blind], "left"), np.searchsorted(path, path[blind], "right")
    inside = (count[blind] > count[begin]) & (count[end] > count[blind + 1])
    return int(blind[np.argmax(inside)]) if inside.any() else None


def _classes(lag: np.ndarray, weight: np.ndarray, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The class of each lag, and the weighted mean lag of each class."""
    if not len(lag):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    order = np.argsort(lag, kind="stable")
    steps = np.diff(lag[order]) > TOLERANCE * lag[order[-1]]
    group = np.empty(len(lag), dtype=np.int64)
    group[order] = np.concatenate([[0], np.cumsum(steps)])
    if most is not None and group.max() + 1 > most:
        width = CLASS_WIDTH
        logs = np.log(lag) - np.log(lag.min())
        classes = np.floor(logs / width).astype(np.int64)
        _, group = np.unique(classes, return_inverse=True)
        group = group.reshape(-1)
    total = np.bincount(group, weights=weight)
    return group, np.bincount(group, weights=weight * lag) / total
