"""Simulation of Markov jump processes: exact in distribution, whatever the generator, the times of looks and the start."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.dynamics import compiled
from trajlab.dynamics.jumps import simulate_kernels as kernels
from trajlab.dynamics.jumps import simulate_plain as plain
from trajlab.dynamics.jumps.generator import checked, stationary
from trajlab.dynamics.jumps.simulate_grid import Grid, grid_of
from trajlab.dynamics.jumps.simulate_seen import SignalModel, seen
from trajlab.types import JumpPaths, Units

__all__ = ["SignalModel", "simulate"]

METHODS = ("auto", "gillespie", "grid")
KEEP = ("looks", "jumps", "entries")
MOST_JUMPS = 2e10  #: of all paths together, beyond which walking from jump to jump is refused
SHARE = 2048  #: fewest paths that are worth a thread
START, MOVE, SEEN = 0, 1, 2  #: purposes of random numbers


def simulate(
    q: Any, n_paths: int = 1, times: Any = (10.0, 100), *, initial: Any = "stationary", noise: Any = 0.0, method: str = "auto", seed: int = 0,
    keep: str = "looks", workers: int | None = None,
) -> JumpPaths:
    """Paths of the Markov jump process with generator ``q``.

    Args:
        q: generator, ``[state state]``, or a process that has one (``q.q``), with its names and units; states without a way out are absorbing.
        n_paths: number of independent paths.
        times: of looks: ``(horizon, number)`` for regular ones from 0 on, ``[look]`` for all paths, ``[path look]`` (NaN: no look) or a list of one
            array a path. A path starts at its first time.
        initial: distribution at the first look: ``"stationary"``, a state, or probabilities, ``[state]``.
        noise: how states are seen: the probability that a label is replaced by one that is uniform over all states; or the probabilities of labels
            given states, ``[state state]``; or a `SignalModel`. The same seed without noise gives the true states of the same paths.
        method: ``"gillespie"`` draws every jump (Gillespie 1977), ``"grid"`` draws each look from the transition matrix of its lag. Both are exact;
            ``"auto"`` takes the cheaper.
        seed: of everything. Paths do not depend on the number of threads nor, the method being the same, path k on the number of paths.
        keep: ``"looks"`` as panel observations; ``"jumps"`` as they happen: a look at the start, exact jumps, and the state still held at the end of
            the time of the path; ``"entries"``: looks, but entries into absorbing states at their exact time, after which there are no looks.
        workers: threads; by default as many as there are processors.

    Raises:
        ValueError: no generator, no distribution, times that go back, an unknown method, more jumps than can be walked through, or wrong labels where
            jumps are kept.
    """
    about, source = _about(q)
    source |= {"seed": seed, "keep": keep}
    q, grid = checked(np.asarray(getattr(q, "q", q), dtype=np.float64)), grid_of(times, _count(n_paths))
    for what, name, known in (("method", method, METHODS), ("way to keep paths", keep, KEEP)):
        if name not in known:
            raise ValueError(unknown(what, name, known))
    run = _Run(q, grid, _start(q, initial, n_paths, seed), kernels.streams(seed, MOVE, n_paths), workers)
    if keep != "looks":
        _refuse_noise(noise, keep)
        if method == "grid":
            raise ValueError(f"keep={keep!r} needs the times of jumps, which method='grid' does not draw; use 'gillespie'")
        return (_kept_jumps if keep == "jumps" else _kept_entries)(run, about | {"source": source})
    method = run.cheaper() if method == "auto" else method
    label = run.chain() if method == "grid" else run.walk()
    return seen(label, grid, len(q), noise, kernels.streams(seed, SEEN, 1)[0], about | {"source": source | {"method": method}})


@dataclass(frozen=True)
class _Run:
    """One simulation: the process, when it is looked at, where it starts, the random numbers and the threads."""

    q: np.ndarray
    grid: Grid
    start: np.ndarray
    stream: np.ndarray
    workers: int | None

    @property
    def rate(self) -> np.ndarray:
        return -np.diag(self.q)

    @property
    def origin(self) -> np.ndarray:
        return self.grid.time[self.grid.begin]

    @property
    def horizon(self) -> np.ndarray:
        return self.grid.time[self.grid.end - 1]

    @property
    def begun(self) -> tuple[np.ndarray, ...]:
        return self.start, self.origin, self.stream

    def process(self) -> tuple[np.ndarray, np.ndarray]:
        """What jumps are drawn from.

        Raises:
            ValueError: there would be too many.
        """
        most = float(self.rate.max()) * float((self.horizon - self.origin).sum())
        if most > MOST_JUMPS and self.jumps() * len(self.start) > MOST_JUMPS:
            raise ValueError(f"about {self.jumps() * len(self.start):.1e} jumps would have to be drawn; use method='grid', or a shorter time")
        return self.rate, kernels.picking(self.q + np.diag(self.rate))

    def jumps(self) -> float:
        """About how many jumps a path makes."""
        leave = 0.5 * self.rate[self.start].mean() + 0.5 * float(stationary(self.q) @ self.rate)
        return float(leave * (self.horizon - self.origin).mean())

    def cheaper(self) -> str:
        """The cheaper method, by rough costs in ns of a draw, a look and a transition matrix."""
        n, looks, draws = len(self.q), int(self.grid.looks.sum()), self.jumps() * len(self.start)
        if 2 * draws < looks:
            return "gillespie"
        lags = len(self.grid.lags()[0])
        tables = lags * (2000 + 30 * n**3) if lags * n * n < 1e7 else np.inf
        return "grid" if tables + 15 * looks < 35 * draws else "gillespie"

    def walk(self) -> np.ndarray:
        """States at all looks by jumps, ``[obs]``."""
        out = np.empty(int(self.grid.looks.sum()), dtype=np.int64)
        given = (self.process(), self.begun, self.grid.time, self.grid.spans, out)
        self.shared(kernels.walk, given) if compiled.available() else plain.walk(*given)
        return out

    def chain(self) -> np.ndarray:
        """States at all looks by transition matrices, ``[obs]``."""
        out = np.empty(int(self.grid.looks.sum()), dtype=np.int64)
        given = (*self.grid.table(self.q), self.begun, self.grid.spans, out)
        self.shared(kernels.chain, given) if compiled.available() else plain.chain(*given)
        return out

    def all_jumps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which path, the state entered and when, of all jumps, each ``[jump]``."""
        given = (self.process(), self.begun, self.horizon)
        if not compiled.available():
            return plain.jumps(*given)
        count = np.empty(len(self.start), dtype=np.int64)
        self.shared(kernels.count_jumps, (*given, count))
        state, time = np.empty(int(count.sum()), dtype=np.int64), np.empty(int(count.sum()))
        self.shared(kernels.write_jumps, (*given, np.cumsum(count) - count, state, time))
        return np.repeat(np.arange(len(count)), count), state, time

    def shared(self, kernel: Callable[..., None], given: tuple[Any, ...]) -> None:
        """The paths in equal shares on the threads; each has random numbers of its own, so that the shares do not matter."""
        count = len(self.start)
        threads = max(1, min(self.workers or os.cpu_count() or 1, count // SHARE))
        edges = np.linspace(0, count, threads + 1).astype(int).tolist()
        if threads == 1:
            kernel(*given, 0, count)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda k: kernel(*given, edges[k], edges[k + 1]), range(threads)))


def _kept_jumps(run: _Run, about: dict[str, Any]) -> JumpPaths:
    """A look at the start, exact jumps, and the state held at the end, seen without a break."""
    path, state, time = run.all_jumps()
    every = np.arange(len(run.start))
    last = run.start.copy()
    last[path] = state  # of several jumps of a path the last is kept
    kinds = [np.full(len(every), JumpPaths.PANEL), np.full(len(path) + len(every), JumpPaths.EXACT)]
    return _sorted(run, [every, path, every], [run.start, state, last], [run.origin, time, run.horizon], np.concatenate(kinds), about)


def _kept_entries(run: _Run, about: dict[str, Any]) -> JumpPaths:
    """Looks until an absorbing state is entered, and that entry with its time."""
    g = run.grid
    label = run.walk()
    path, state, time = run.all_jumps()
    dead = run.rate[state] <= 0
    path, state, time = path[dead], state[dead], time[dead]
    stop = np.full(len(run.start), np.inf)
    stop[path] = time
    alive = g.clock < stop[g.path]
    kinds = [np.full(int(alive.sum()), JumpPaths.PANEL), np.full(len(path), JumpPaths.ENTRY)]
    return _sorted(run, [g.path[alive], path], [label[alive], state], [g.clock[alive], time], np.concatenate(kinds), about)


def _sorted(run: _Run, paths: list[np.ndarray], labels: list[np.ndarray], times: list[np.ndarray], kind: np.ndarray, about: dict[str, Any]
            ) -> JumpPaths:
    """One noun of several sorts of observations; those of a path that come at one time keep their order."""
    path, label, time = np.concatenate(paths), np.concatenate(labels), np.concatenate(times)
    order = np.lexsort((time, path))
    found = [torch.from_numpy(value[order]) for value in (label, time, path, kind)]
    return JumpPaths(found[0], found[1], found[2], len(run.q), found[3], **about)


def _about(q: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Names and units, and where it comes from, of a process; of a bare generator hardly anything."""
    if not hasattr(q, "q"):
        return {}, {"process": "Markov jump process"}
    about = {"names": getattr(q, "names", ()), "units": getattr(q, "units", Units())}
    return about, {"process": getattr(q, "name", type(q).__name__), "parameters": getattr(q, "parameters", {})}


def _count(n_paths: int) -> int:
    if not n_paths >= 1:
        raise ValueError(f"n_paths = {n_paths}; at least one was wanted")
    return int(n_paths)


def _start(q: np.ndarray, initial: Any, n_paths: int, seed: int) -> np.ndarray:
    """The first state of each path, ``[path]``."""
    n = len(q)
    if isinstance(initial, str):
        if initial != "stationary":
            raise ValueError(unknown("initial distribution", initial, ("stationary",)))
        weight = stationary(q)
    elif np.ndim(initial) == 0:
        if not 0 <= int(initial) < n:
            raise ValueError(f"initial state {initial} is not one of the states 0 to {n - 1}")
        return np.full(n_paths, int(initial), dtype=np.int64)
    else:
        weight = np.asarray(initial, dtype=np.float64)
    if weight.shape != (n,) or not (weight >= 0).all() or abs(weight.sum() - 1) > 1e-6:
        raise ValueError(f"initial = {weight.tolist()}; {n} probabilities that sum to one were wanted")
    return np.searchsorted(kernels.picking(weight), plain.uniform(kernels.streams(seed, START, n_paths)), side="right").astype(np.int64)


def _refuse_noise(noise: Any, keep: str) -> None:
    if isinstance(noise, SignalModel) or np.any(np.asarray(noise) != 0):
        raise ValueError(f"keep={keep!r} gives exact times, at which labels are not wrong; leave noise away, or keep='looks'")
