"""New paths seen as given ones were: the same dates, kinds of observation and gaps, with states drawn from a generator."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import torch

from trajlab.dynamics.jumps.bridges import choose
from trajlab.types import JumpPaths

__all__ = ["resample_paths", "resimulate"]

EXACT, ENTRY, MOST = JumpPaths.EXACT, JumpPaths.ENTRY, 10_000_000


@nb.njit(cache=True, nogil=True)
def _walk(q, group, path, time, kind, start, entered, rng):
    """State, time, kind and pattern (which observation is imitated) of new observations; ``entered`` marks states whose entries are dated."""
    n = q.shape[1]
    states, times, kinds, pattern = [0], [0.0], [0], [0]
    states.clear()
    times.clear()
    kinds.clear()
    pattern.clear()
    weights = np.zeros(n)
    state, over = 0, False
    for k in range(len(path)):
        if k == 0 or path[k] != path[k - 1]:
            state, over = start[path[k]], False
            states.append(state)
            times.append(time[k])
            kinds.append(kind[k])
            pattern.append(k)
            continue
        if over:
            continue
        now, rates = time[k - 1], q[group[k - 1]]
        while -rates[state, state] > 0.0 and len(states) < MOST:
            now += rng.standard_exponential() / -rates[state, state]
            if now > time[k]:
                break
            for c in range(n):
                weights[c] = rates[state, c] if c != state else 0.0
            state = choose(weights, -rates[state, state], rng)
            if kind[k] == EXACT or entered[state]:
                states.append(state)
                times.append(now)
                kinds.append(EXACT if kind[k] == EXACT else ENTRY)
                pattern.append(k)
            if kind[k] != EXACT and entered[state] and rates[state, state] == 0.0:
                over = True
                break
        if not over:
            states.append(state)
            times.append(time[k])
            kinds.append(0 if kind[k] == ENTRY else kind[k])
            pattern.append(k)
    return np.array(states), np.array(times), np.array(kinds), np.array(pattern)


def resimulate(paths: JumpPaths, q: np.ndarray, initial: np.ndarray | None = None, group: np.ndarray | None = None, noise: Any = None,
               seed: int = 0) -> JumpPaths:
    """Paths drawn from a generator and looked at as the given ones were.

    A path starts in the state of its first observation (likelihoods are conditional on it), or in a state drawn from `initial` where it names none or
    labels may be wrong. Where jumps were seen as they happened, all jumps are; where entries into a state are dated (a death), a path that enters it
    ends with its date, and one that does not is looked at when the old one ended. A censored look keeps its set of states where the new state is in
    it, and otherwise tells the rest.

    Args:
        paths: whose dates, kinds and covariates are kept.
        q: ``[state state]``, or one for each group, ``[group state state]``.
        initial: distribution of first states; uniform where it is None.
        group: which generator holds from an observation to the next, ``[obs]``.
        noise: of labels: the probability that one is replaced by one drawn evenly from all, or a matrix ``[state label]``; what has
            ``draw(state, rng) -> [obs dim]`` for signals.
        seed: of all draws.

    Raises:
        ValueError: signals without noise that draws them, or a path with more than ten million jumps.
    """
    rng = np.random.default_rng(seed)
    q = np.ascontiguousarray(np.asarray(q, dtype=np.float64).reshape(-1, *np.shape(q)[-2:]))
    label, time, path, kind = (np.asarray(v.cpu()) for v in (paths.label, paths.time, paths.path, paths.observed))
    first = np.flatnonzero(np.diff(path, prepend=-1))
    known = label[first] >= 0
    if noise is not None:
        known &= kind[first] != JumpPaths.PANEL
    law = np.full(paths.n_states, 1 / paths.n_states) if initial is None else np.asarray(initial, dtype=np.float64)
    start = np.where(known, label[first], rng.choice(paths.n_states, size=len(first), p=law / law.sum()))
    entered = np.isin(np.arange(paths.n_states), label[kind == ENTRY])
    group = np.zeros(len(label), dtype=np.int64) if group is None else np.asarray(group)
    state, clock, seen, pattern = _walk(q, group, path, time, kind, start, entered, rng)
    if len(state) >= MOST:
        raise ValueError(f"more than {MOST} jumps in {paths.n_paths} paths; a rate is far too high for looks this far apart")
    return _observed(paths, state, clock, seen, pattern, noise, rng)


def _observed(paths: JumpPaths, state: np.ndarray, clock: np.ndarray, kind: np.ndarray, pattern: np.ndarray, noise: Any,
              rng: np.random.Generator) -> JumpPaths:
    """What is seen of the new states."""
    label = np.where(np.isin(kind, (JumpPaths.PANEL, EXACT, ENTRY)), state, -1)
    panel, signals = np.flatnonzero(kind == JumpPaths.PANEL), np.flatnonzero(kind == JumpPaths.SIGNAL)
    if hasattr(noise, "draw"):
        signal = np.full((len(state), noise.draw(state[:1], rng).shape[1]), np.nan)
        signal[signals] = noise.draw(state[signals], rng)
    elif len(signals):
        raise ValueError("signals were seen, but the noise does not say how they come about; give what has draw(state, rng)")
    elif noise is not None:
        label[panel] = _misread(label[panel], noise, paths.n_states, rng)
    allowed = None
    if paths.allowed is not None:
        allowed = np.asarray(paths.allowed.cpu())[pattern]
        other = ~allowed[np.arange(len(state)), state] & (kind == JumpPaths.CENSORED)
        allowed[other] = ~allowed[other]
    keep = torch.from_numpy(pattern)
    return JumpPaths(torch.from_numpy(label.astype(np.int64)), torch.from_numpy(clock), paths.path.cpu()[keep], paths.n_states,
                     torch.from_numpy(kind.astype(np.int64)), paths.units, {"source": "resimulated"},
                     None if allowed is None else torch.from_numpy(allowed),
                     torch.from_numpy(signal) if hasattr(noise, "draw") else None,
                     {name: value.cpu()[keep] for name, value in paths.covariates.items()}, paths.names)


def _misread(label: np.ndarray, noise: Any, n: int, rng: np.random.Generator) -> np.ndarray:
    if np.ndim(noise) == 0:
        return np.where(rng.random(len(label)) < noise, rng.integers(n, size=len(label)), label)
    total = np.cumsum(np.asarray(noise)[label], 1)
    return np.minimum((rng.random((len(label), 1)) * total[:, -1:] >= total).sum(1), n - 1)


def resample_paths(paths: JumpPaths, seed: int = 0) -> JumpPaths:
    """As many whole paths, drawn with replacement."""
    path = np.asarray(paths.path.cpu())
    first = np.flatnonzero(np.diff(path, prepend=-1))
    length = np.diff(np.append(first, len(path)))
    chosen = np.random.default_rng(seed).integers(len(first), size=len(first))
    offset = np.repeat(first[chosen] - np.concatenate([[0], np.cumsum(length[chosen])[:-1]]), length[chosen])
    at = torch.from_numpy(np.arange(length[chosen].sum()) + offset)
    names = {name: value.cpu()[at] for name, value in paths.covariates.items()}
    return JumpPaths(paths.label.cpu()[at], paths.time.cpu()[at], torch.from_numpy(np.repeat(np.arange(len(chosen)), length[chosen])), paths.n_states,
                     paths.observed.cpu()[at], paths.units, {"source": "resampled"}, None if paths.allowed is None else paths.allowed.cpu()[at],
                     None if paths.signal is None else paths.signal.cpu()[at], names, paths.names)
