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
    def path(self) -> np.ndarray:
        """The path of each look, ``[obs]``."""
        return np.repeat(np.arange(len(self.begin)), self.looks)

    @property
    def clock(self) -> np.ndarray:
        """The time of each look, ``[obs]``."""
        if len(self.begin) > 1 and (self.begin == self.begin[0]).all():
            return np.tile(self.time, len(self.begin))
        return self.time

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
        return _own([np.asarray(t, dtype=np.float64) for t in times], n_paths)
    clock = np.asarray(times, dtype=np.float64)
    if clock.ndim == 1:
        return _shared(clock, n_paths)
    if clock.ndim == 2:
        return _own([row[~np.isnan(row)] for row in clock], n_paths)
    raise ValueError(f"times has shape {clock.shape}; (horizon, number of looks), [look], [path look] or a list of one array a path was wanted")


def _is_ragged(times: Any) -> bool:
    return isinstance(times, Sequence) and not isinstance(times, str) and len(times) > 0 and np.ndim(times[0]) == 1


def _regular(horizon: float, looks: int) -> np.ndarray:
    if not (np.isfinite(horizon) and horizon > 0 and looks >= 1):
        raise ValueError(f"times = ({horizon}, {looks}); a positive horizon and at least one look were wanted")
    return np.linspace(0.0, float(horizon), int(looks))


def _shared(clock: np.ndarray, n_paths: int) -> Grid:
    _checked(clock, "")
    zero = np.zeros(n_paths, dtype=np.int64)
    return Grid(clock, zero, zero + len(clock), np.arange(n_paths, dtype=np.int64) * len(clock))


def _own(clocks: list[np.ndarray], n_paths: int) -> Grid:
    if len(clocks) != n_paths:
        raise ValueError(f"times of {len(clocks)} paths for {n_paths} paths; one row or array for each was wanted")
    for number, clock in enumerate(clocks):
        _checked(clock, f" of path {number}")
    looks = np.array([len(clock) for clock in clocks], dtype=np.int64)
    first = np.cumsum(looks) - looks
    return Grid(np.concatenate(clocks), first, first + looks, first)


def _checked(clock: np.ndarray, where: str) -> None:
    if not clock.size:
        raise ValueError(f"there are no times{where}; at least one look was wanted")
    if not np.isfinite(clock).all():
        raise ValueError(f"time {int(np.argmin(np.isfinite(clock)))}{where} is not finite")
    back = np.diff(clock) < 0
    if back.any():
        at = int(np.argmax(back))
        raise ValueError(f"the times{where} go back from {clock[at]:g} to {clock[at + 1]:g}; sort them")
