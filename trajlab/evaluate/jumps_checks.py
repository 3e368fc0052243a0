"""A fitted jump process beside its data: statistics of looks, of the data and of paths simulated from the fit and looked at in the same way.

What noise, gaps, irregular times and deaths do to a statistic, they do to both, so that any of them can be compared as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from trajlab.data.adapters.jump_pieces import select_paths
from trajlab.dynamics.jumps.resimulate import resimulate
from trajlab.models.jumps.uncertainty_bootstrap import _noise
from trajlab.types import JumpPaths

__all__ = ["Compared", "Looks", "compare", "dwell_survival", "looks", "prevalence", "replicates", "step_counts", "timescales", "transition_shares"]

MOST_PATHS = 2000  #: that are simulated again; more are thinned evenly
BAND = 1.96  #: standard deviations of the replicates on either side


@dataclass(frozen=True)
class Looks:
    """States at looks: ``label``, ``time`` and ``path``, each ``[look]``; ``ended`` tells whether a path ended in a state that is not left."""

    label: np.ndarray
    time: np.ndarray
    path: np.ndarray
    ended: np.ndarray
    n_states: int


@dataclass(frozen=True)
class Compared:
    """A statistic of the data, and its mean and the half-width of its 95 % band over replicates; all of one shape."""

    data: np.ndarray
    model: np.ndarray
    band: np.ndarray


def replicates(fit: Any, count: int = 40, seed: int = 0) -> tuple[Looks, list[Looks]]:
    """Looks of the data, and of so many sets of paths simulated from a fit with its covariates and its noise.

    Where states are seen through a signal, both are the most probable states given the fit.
    """
    paths = fit.paths
    if paths.n_paths > MOST_PATHS:
        paths = select_paths(paths, np.linspace(0, paths.n_paths - 1, MOST_PATHS).astype(int).tolist())
    q, group = _generators(fit, paths)
    made = []
    for k in range(count):
        longer, place = _followed_on(paths, np.random.default_rng((seed, k)))
        made.append(resimulate(longer, q, fit.initial, None if group is None else group[place], _noise(fit), seed + k))
    step = _grid(paths)
    return looks(paths, step, fit), [looks(m, step, fit) for m in made]


def looks(paths: JumpPaths, step: float | None = None, fit: Any = None) -> Looks:
    """Looks that name a state; read off on a grid where jumps were seen as they happened, decoded where there is a signal."""
    label, time, path, kind = (np.asarray(v.cpu()) for v in (paths.label, paths.time, paths.path, paths.observed))
    if (kind == JumpPaths.SIGNAL).any():
        label = np.where(kind == JumpPaths.SIGNAL, _decoded(fit, paths), label)
    keep = label >= 0
    label, time, kind = label[keep], time[keep], kind[keep]
    path = np.unique(path[keep], return_inverse=True)[1]
    first = np.searchsorted(path, np.arange(path[-1] + 2))
    ended = kind[first[1:] - 1] == JumpPaths.ENTRY
    time = time - time[first[:-1]][path]
    if step is not None:
        label, time, path = _on_grid(label, time, path, first, step)
    return Looks(label, time, path, ended, paths.n_states)


def compare(statistic: Callable[[Looks], np.ndarray], data: Looks, made: list[Looks]) -> Compared:
    """A statistic of the data against replicates; NaN where no replicate has it."""
    values = np.stack([statistic(one) for one in made])
    known = np.isfinite(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0)
    mean = np.divide(total.sum(0), count, out=np.full(values.shape[1:], np.nan), where=count > 0)
    spread = np.where(known, values - np.where(count > 0, mean, 0.0), 0.0)
    sd = np.sqrt((spread**2).sum(0) / np.maximum(count - 1, 1))
    return Compared(statistic(data), mean, np.where(count > 1, BAND * sd, 0.0))


def step_counts(seen: Looks, steps: int) -> tuple[Float[np.ndarray, "state state"], float]:
    """Pairs of looks so many looks apart, and their mean time apart (NaN without a pair)."""
    n = seen.n_states
    same = seen.path[steps:] == seen.path[:-steps] if steps < len(seen.path) else np.zeros(0, dtype=bool)
    at = np.flatnonzero(same)
    counts = np.bincount(seen.label[at] * n + seen.label[at + steps], minlength=n * n).reshape(n, n).astype(float)
    return counts, float((seen.time[at + steps] - seen.time[at]).mean()) if len(at) else float("nan")


def transition_shares(seen: Looks, steps: list[int]) -> Float[np.ndarray, "step state state"]:
    """Share of looks at i that were followed, so many looks later, by j; NaN where i was not seen."""
    counts = np.stack([step_counts(seen, k)[0] for k in steps])
    total = counts.sum(-1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def timescales(seen: Looks, steps: list[int], modes: int) -> Float[np.ndarray, "step mode"]:
    """Implied timescales ``-lag / log|lambda|`` of the transition matrices between looks so many looks apart, the slowest first."""
    out = np.full((len(steps), modes), np.nan)
    for row, k in enumerate(steps):
        counts, lag = step_counts(seen, k)
        there = (counts.sum(1) > 0) & (counts.sum(0) > 0)
        if there.sum() < 2:
            continue
        part = counts[np.ix_(there, there)]
        part = part[part.sum(1) > 0] if (part.sum(1) == 0).any() else part
        if part.shape[0] != part.shape[1]:
            continue
        size = np.sort(np.abs(np.linalg.eigvals(part / part.sum(1, keepdims=True))))[::-1][1 : modes + 1]
        good = (size > 1e-6) & (size < 1 - 1e-9)
        out[row, : len(size)] = np.where(good, -lag / np.log(np.where(good, size, 0.5)), np.nan)
    return out


def dwell_survival(seen: Looks, time: Float[np.ndarray, "time"]) -> Float[np.ndarray, "state time"]:
    """Share of stays, from the first look at a state to the first look elsewhere, that last longer than each time; stays at the end of a path count
    as longer than they were followed (Kaplan and Meier 1958). NaN beyond the longest stay, and for states without one."""
    new = np.concatenate([[True], (np.diff(seen.label) != 0) | (np.diff(seen.path) != 0)])
    begin = np.flatnonzero(new)
    end = np.append(begin[1:], len(seen.label))
    left = np.append(seen.path[end[:-1]] == seen.path[begin[:-1]], False)
    last = np.where(left, end, end - 1).clip(max=len(seen.label) - 1)
    stay, state = seen.time[last] - seen.time[begin], seen.label[begin]
    return np.stack([_kaplan_meier(stay[state == s], left[state == s], time) for s in range(seen.n_states)])


def _kaplan_meier(stay: np.ndarray, left: np.ndarray, time: np.ndarray) -> np.ndarray:
    keep = (stay > 0) | left
    stay, left = stay[keep], left[keep]
    if not left.any():
        return np.full(len(time), np.nan)
    order = np.lexsort((~left, stay))
    at_risk = len(stay) - np.arange(len(stay))
    curve = np.cumprod(1.0 - left[order] / at_risk)
    place = np.searchsorted(stay[order], time, side="right")
    value = np.concatenate([[1.0], curve])[place]
    return np.where(time <= stay.max(), value, np.nan)


def prevalence(seen: Looks, time: Float[np.ndarray, "time"]) -> Float[np.ndarray, "state time"]:
    """Share of paths whose last look before each time since their start showed a state, of those still followed or ended for good; NaN where fewer
    than ten are left."""
    first = np.searchsorted(seen.path, np.arange(seen.path[-1] + 2))
    until = np.where(seen.ended, np.inf, seen.time[first[1:] - 1])
    reach = 2 * max(float(seen.time.max()), float(time.max()), 1e-300)
    key = seen.path * reach + seen.time
    out = np.full((seen.n_states, len(time)), np.nan)
    for column, t in enumerate(time):
        there = np.flatnonzero(until >= t)
        if len(there) >= 10:
            place = np.searchsorted(key, there * reach + t, side="right") - 1
            out[:, column] = np.bincount(seen.label[place], minlength=seen.n_states) / len(there)
    return out


def _followed_on(paths: JumpPaths, rng: np.random.Generator) -> tuple[JumpPaths, np.ndarray]:
    """Paths that ended by an entry at a known date (a death) are looked at further, as they would have been had it come later: at the usual interval,
    until the end of following of a path that was followed for longer (drawn with the weights of Kaplan and Meier for these ends). Also tells which
    observation each is made of."""
    label, time, path, kind = (np.asarray(v.cpu()) for v in (paths.label, paths.time, paths.path, paths.observed))
    first = np.searchsorted(path, np.arange(paths.n_paths + 1))
    last = first[1:] - 1
    dead = kind[last] == JumpPaths.ENTRY
    place = np.arange(len(label))
    if not dead.any():
        return paths, place
    long = time[last] - time[first[:-1]]
    usual = float(np.median(np.diff(time)[np.diff(path) == 0]))
    end = _ends_of_following(long, dead, rng)
    more = np.where(dead & (usual > 0), np.minimum(np.floor((end - long) / max(usual, 1e-300)), 1000), 0).astype(int).clip(min=0)
    number = np.repeat(np.arange(len(more)), more)
    step = np.arange(more.sum()) - np.repeat(np.cumsum(more) - more, more) + 1
    place = np.concatenate([place, last[number]])
    clock = np.concatenate([time, time[last[number]] + step * usual])
    order = np.lexsort((clock, path[place]))
    place, clock, added = place[order], clock[order], order >= len(label)
    pick = torch.from_numpy(place)
    take = lambda value: None if value is None else value.cpu()[pick]  # noqa: E731
    kinds = np.where(added, JumpPaths.PANEL, kind[place])
    return paths.replace(label=take(paths.label), time=torch.from_numpy(clock), path=take(paths.path), observed=torch.from_numpy(kinds),
                         allowed=take(paths.allowed), signal=take(paths.signal), covariates={k: take(v) for k, v in paths.covariates.items()},
                         source={}), place


def _ends_of_following(long: np.ndarray, dead: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How long each path that ended by a death would have been followed; the longest that any was, where none was followed for longer."""
    order = np.lexsort((~dead, long))
    at_risk = len(long) - np.arange(len(long))
    left = np.concatenate([[1.0], np.cumprod(1.0 - ~dead[order] / at_risk)])
    weight = np.empty(len(long))
    weight[order] = -np.diff(left)
    out = long.copy()
    for k in np.flatnonzero(dead):
        chance = np.where(long > long[k], weight, 0.0)
        out[k] = long[rng.choice(len(long), p=chance / chance.sum())] if chance.sum() > 0 else long.max()
    return out


def _generators(fit: Any, paths: JumpPaths) -> tuple[np.ndarray, np.ndarray | None]:
    """One generator, or one a value of the covariates with the number of it that holds after each observation."""
    if not fit.config.covariates or fit.problem is None:
        return fit.generator, None
    values = np.stack([np.asarray(paths.covariates[c].cpu(), dtype=np.float64) for c in fit.config.covariates], 1)
    rows, group = np.unique(values, axis=0, return_inverse=True)
    q = [fit.generator_at(**dict(zip(fit.config.covariates, row.tolist(), strict=True))) for row in rows]
    return np.stack(q), group.reshape(-1)


def _grid(paths: JumpPaths) -> float | None:
    """Spacing of the grid for jumps seen as they happened: the mean time between observations."""
    kind, time, path = (np.asarray(v.cpu()) for v in (paths.observed, paths.time, paths.path))
    if not (kind == JumpPaths.EXACT).any():
        return None
    same = np.diff(path) == 0
    return float(np.diff(time)[same].mean())


def _on_grid(label: np.ndarray, time: np.ndarray, path: np.ndarray, first: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = np.floor(time[first[1:] - 1] / step * (1 + 1e-12)).astype(int) + 1
    number = np.repeat(np.arange(len(count)), count)
    clock = (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)) * step
    reach = 2 * float(time.max()) + step
    place = np.searchsorted(path * reach + time, number * reach + clock, side="right") - 1
    return label[place], clock, number


def _decoded(fit: Any, paths: JumpPaths) -> np.ndarray:
    """The most probable states given the fit, ``[obs]``."""
    from trajlab.dynamics.jumps.smoothing import Intervals
    from trajlab.dynamics.jumps.viterbi import viterbi

    q, _ = _generators(fit, paths)
    intervals = Intervals.from_paths(paths, fit.config.covariates if q.ndim == 3 else (), fit.config.most_lags)
    return viterbi(list(q) if q.ndim == 3 else q, intervals, fit.noise.likelihood(paths), fit.initial)[0]
