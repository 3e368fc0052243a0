"""When the paths of a simulation are looked at: regular, shared, of each path its own, or ragged times in one layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajlab.dynamics.jumps.generator import transition
from trajlab.dynamics.jumps.simulate_kernels import picking

__all__ = ["Grid", "grid_of"]

SAME = 1e-12  #: lags that differ by less than this, relative to the latest time, are one


@dataclass(frozen=True)
class Grid:
    """Looks of all paths, one path after another.

    Attributes:
        time: of looks, of all paths or of one grid that they share.
        begin, end: path p looks at ``time[begin[p]:end[p]]``, ``[path]``.
        first: number of its first look among those of all paths, ``[path]``.
    """

    time: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    first: np.ndarray

    @property
    def looks(self) -> np.ndarray:
        """Of each path."""
        return self.end - self.begin

    @property
    def spans(self) -> np.ndarray:
        """``begin, end, first`` of each path, ``[path 3]``."""
        return np.stack([self.begin, self.end, self.first], 1)

    @property
    def path(self) -> np.ndarray:
        """The path of each look, ``[obs]``."""
        count = len(self.begin)
        if self._is_shared:  # the same as below, several times as fast
            return np.broadcast_to(np.arange(count)[:, None], (count, len(self.time))).reshape(-1)
        return np.repeat(np.arange(count), self.looks)

    @property
    def clock(self) -> np.ndarray:
        """The time of each look, ``[obs]``."""
        if self._is_shared:
            return np.broadcast_to(self.time, (len(self.begin), len(self.time))).reshape(-1)
        return self.time

    @property
    def _is_shared(self) -> bool:
        return int(self.looks.sum()) != len(self.time)

    def lags(self) -> tuple[np.ndarray, np.ndarray]:
        """Distinct lags, ``[lag]``, and which of them ends at each time; -1 where there is none (a first look, two looks at one time)."""
        step = np.diff(self.time, prepend=self.time[:1])
        step[self.begin] = 0.0
        unit = SAME * np.abs(self.time).max(initial=0.0)
        moved = step > unit
        _, where, which = np.unique(np.rint(step[moved] / unit) if unit else step[moved], return_index=True, return_inverse=True)
        number = np.full(len(step), -1, dtype=np.int64)
        number[moved] = which.reshape(-1)
        return step[moved][where], number

    def table(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tables to draw from for each distinct lag, ``[lag state state]``, and which of them ends at each time.

        Raises:
            ValueError: there are too many distinct lags for the memory.
        """
        lag, which = self.lags()
        if len(lag) * q.size > 2.5e8:
            raise ValueError(f"{len(lag)} distinct lags of {len(q)} states need {8e-9 * len(lag) * q.size:.0f} GB of tables; use method='gillespie'")
        return picking(transition(q, lag)), which


def grid_of(times: Any, n_paths: int) -> Grid:
    """The grid meant by ``(horizon, number of looks)``, an array ``[look]`` or ``[path look]`` (NaN: no look), or one array a path.

    Raises:
        ValueError: times that go back, are not finite, or are not those of so many paths.
    """
    if isinstance(times, tuple) and len(times) == 2 and isinstance(times[1], int | np.integer) and np.ndim(times[0]) == 0:
        return _shared(_regular(*times), n_paths)
    if _is_ragged(times):
        clocks = [np.asarray(t, dtype=np.float64) for t in times]
        return _own(np.concatenate(clocks), np.array([len(clock) for clock in clocks], dtype=np.int64), n_paths)
    clock = np.asarray(times, dtype=np.float64)
    if clock.ndim == 1:
        return _shared(clock, n_paths)
    if clock.ndim == 2:
        there = ~np.isnan(clock)
        return _own(clock[there], there.sum(1), n_paths)
    raise ValueError(f"times has shape {clock.shape}; (horizon, number of looks), [look], [path look] or a list of one array a path was wanted")


def _is_ragged(times: Any) -> bool:
    return isinstance(times, Sequence) and not isinstance(times, str) and len(times) > 0 and np.ndim(times[0]) == 1


def _regular(horizon: float, looks: int) -> np.ndarray:
    if not (np.isfinite(horizon) and horizon > 0 and looks >= 1):
        raise ValueError(f"times = ({horizon}, {looks}); a positive horizon and at least one look were wanted")
    return np.linspace(0.0, float(horizon), int(looks))


def _shared(clock: np.ndarray, n_paths: int) -> Grid:
    if not len(clock):
        raise ValueError("there are no times; at least one look was wanted")
    _checked(clock, np.zeros(len(clock), dtype=np.int64))
    zero = np.zeros(n_paths, dtype=np.int64)
    return Grid(clock, zero, zero + len(clock), np.arange(n_paths, dtype=np.int64) * len(clock))


def _own(time: np.ndarray, looks: np.ndarray, n_paths: int) -> Grid:
    if len(looks) != n_paths:
        raise ValueError(f"times of {len(looks)} paths for {n_paths} paths; one row or array for each was wanted")
    if not looks.all():
        raise ValueError(f"there are no times of path {int(np.argmin(looks))}; at least one look was wanted")
    _checked(time, np.repeat(np.arange(n_paths), looks))
    first = np.cumsum(looks) - looks
    return Grid(time, first, first + looks, first)


def _checked(time: np.ndarray, path: np.ndarray) -> None:
    if not np.isfinite(time).all():
        at = int(np.argmin(np.isfinite(time)))
        raise ValueError(f"time {time[at]} of path {path[at]} is not finite")
    back = (np.diff(time) < 0) & (np.diff(path) == 0)
    if back.any():
        at = int(np.argmax(back))
        raise ValueError(f"the times of path {path[at]} go back from {time[at]:g} to {time[at + 1]:g}; sort them")
