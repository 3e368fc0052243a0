"""Discrete states and continuous signals as arrays, to and from `JumpPaths`: rectangular, ragged, or flat."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.types import JumpPaths
from trajlab.units import Units

__all__ = ["jumps_from_dtrajs", "jumps_from_numpy", "jumps_from_signal", "jumps_to_numpy", "refuse_hopeless"]

MISSING = ("skip", "break", "look")


def jumps_from_numpy(label: Any, time: Any, *, path: Any = None, n_states: int | None = None, observed: Any = None, names: Sequence[str] = (),
                     units: Units | None = None) -> JumpPaths:
    """Paths of states from arrays.

    Args:
        label: states ``0 .. n_states - 1``; negative or NaN where a look saw nothing. ``[path obs]``, a list of ``[obs]``, or one ``[obs]``.
        time: ``[obs]`` for all paths, or in the layout of ``label``. NaN pads the ends of the rows of ``[path obs]``; such places are left out.
        path: with ``label[obs]``, the path of each observation, whole numbers in any order.
        n_states: number of states; one more than the largest label by default.
        observed: kinds of observation (`JumpPaths.PANEL`, ...), in the layout of ``label``; panel looks by default.
        names: of the states.
        units: of time; none by default.

    Raises:
        ValueError: nothing is there, no path has two observations, a label is outside the states or no whole number, times go back, are missing
            within a path or don't fit the labels.
    """
    value, clock, which, kept = _flat(label, time, path)
    state = _whole(value)
    count = _count(state, n_states)
    kind = np.zeros(len(state), dtype=np.int64) if observed is None else _flat(observed, time, path)[0].astype(np.int64)
    kind = np.where((state < 0) & (kind != JumpPaths.CENSORED), JumpPaths.MISSING, kind)
    _told(clock, which, kept)
    tensors = [torch.from_numpy(np.ascontiguousarray(v)) for v in (state, clock, which)]
    return JumpPaths(*tensors, count, torch.from_numpy(kind.astype(np.int64)), units or Units(), {"reader": "numpy"}, names=tuple(names))


def jumps_from_signal(signal: Any, time: Any, n_states: int, *, path: Any = None, names: Sequence[str] = (), units: Units | None = None) -> JumpPaths:
    """Paths of a continuous signal whose hidden states are to be found.

    Args:
        signal: ``[path obs]`` or ``[path obs dim]``, a list of ``[obs]`` or ``[obs dim]``, one ``[obs]``, or with ``path`` ``[obs]`` or
            ``[obs dim]``. NaN where nothing was seen.
        time: ``[obs]`` for all paths, or one a value in the layout of ``signal``; NaN pads.
        n_states: number of hidden states.
        path: the path of each observation, where ``signal`` is flat.
        names: of the states.
        units: of time; none by default.

    Raises:
        ValueError: as `jumps_from_numpy`; a signal that is infinite; fewer than one state.
    """
    if n_states < 1:
        raise ValueError(f"{n_states} hidden states; at least one was wanted")
    value, clock, which, kept = _flat(signal, time, path)
    value = value.reshape(len(value), -1)
    if np.isinf(value).any():
        raise ValueError(f"the signal is infinite at observation {int(np.argmax(np.isinf(value).any(1)))}; use NaN where nothing was seen")
    seen = np.isfinite(value).all(1)
    if not seen.any():
        raise ValueError(f"none of the {len(value)} observations has a signal that is finite")
    kind = np.where(seen, JumpPaths.SIGNAL, JumpPaths.MISSING)
    _told(clock, which, kept)
    state, time, path = (torch.from_numpy(np.ascontiguousarray(v)) for v in (np.full(len(value), -1), clock, which))
    return JumpPaths(state, time, path, n_states, torch.from_numpy(kind.astype(np.int64)), units or Units(), {"reader": "numpy"}, None,
                     torch.from_numpy(np.where(seen[:, None], value, 0.0)), names=tuple(names))


def jumps_from_dtrajs(dtrajs: Any, lag: float = 1.0, *, n_states: int | None = None, missing: str = "skip", names: Sequence[str] = (),
                      units: Units | None = None) -> JumpPaths:
    """Discrete trajectories as deeptime and PyEMMA have them: arrays of whole numbers, one frame every ``lag``.

    Args:
        dtrajs: a list of ``[frame]``, or one; negative where the state is not known.
        lag: time between frames.
        n_states: number of states; one more than the largest by default.
        missing: what becomes of frames without a state: ``skip`` leaves them out, so that the looks around them are a pair with a longer lag (which
            is exact where frames are missing whatever the state); ``break`` ends the path before and starts another after them (where the state
            then was none of those listed); ``look`` keeps them as looks that saw nothing.
        names: of the states.
        units: of time.

    Raises:
        ValueError: as `jumps_from_numpy`; a lag that is not positive; an unknown way with missing frames.
    """
    if missing not in MISSING:
        raise ValueError(unknown("way with missing frames", missing, MISSING))
    if not (np.isfinite(lag) and lag > 0):
        raise ValueError(f"the lag is {lag:g}; a positive time between frames was wanted")
    rows = [np.asarray(row) for row in (dtrajs if isinstance(dtrajs, list | tuple) and len(dtrajs) and np.ndim(dtrajs[0]) else [dtrajs])]
    for k, row in enumerate(rows):
        if row.ndim != 1 or row.dtype.kind not in "iuf":
            raise ValueError(f"discrete trajectory {k} has shape {row.shape} and type {row.dtype}; [frame] of whole numbers was wanted")
    pieces = [(row[part], part * lag) for row in rows for part in _parts(row, missing)]
    return jumps_from_numpy([p for p, _ in pieces], [t for _, t in pieces], n_states=n_states, names=names, units=units)


def jumps_to_numpy(paths: JumpPaths) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Labels and times, one array ``[obs]`` a path; -1 where an observation names no state."""
    first = np.searchsorted(paths.path.cpu().numpy(), np.arange(paths.n_paths + 1))[1:-1]
    return np.split(paths.label.cpu().numpy(), first), np.split(paths.time.cpu().numpy(), first)


def refuse_hopeless(time: np.ndarray, path: np.ndarray, names: Sequence[Any] | None = None) -> None:
    """Say what makes paths useless: nothing there, clocks that go back, nowhere two observations of one path.

    Raises:
        ValueError: one of these.
    """
    if not len(time):
        raise ValueError("there is not one observation; at least two of one path were wanted")
    back = (np.diff(time) < 0) & (np.diff(path) == 0)
    if back.any():
        at = int(np.argmax(back))
        who = path[at] if names is None else names[path[at]]
        raise ValueError(f"within path {who} the time goes back from {time[at]:g} to {time[at + 1]:g} ({int(back.sum())} such places); sort by time, "
                         "or give paths with clocks of their own different numbers")
    if not (np.diff(path) == 0).any():
        raise ValueError(f"each of the {len(time)} paths has one observation, which says nothing of rates; at least two of one path were wanted")


def _parts(row: np.ndarray, missing: str) -> list[np.ndarray]:
    """Frames of each path that a discrete trajectory becomes."""
    frame = np.arange(len(row))
    if missing == "look":
        return [frame]
    known = row >= 0
    if missing == "skip":
        return [frame[known]]
    ends = np.flatnonzero(np.diff(known.astype(int))) + 1
    return [part for part in np.split(frame, ends) if len(part) and known[part[0]]]


def _flat(value: Any, time: Any, path: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Values, times and path numbers of all observations one after another, and how many paths there were with empty ones."""
    if path is not None:
        return _by_path(value, time, path)
    ragged = isinstance(value, list | tuple) and len(value) > 0 and np.ndim(value[0]) > 0
    rows = [np.asarray(row, dtype=np.float64) for row in value] if ragged else np.asarray(value, dtype=np.float64)
    if not ragged and rows.ndim < 2:
        rows = [rows.reshape(-1)]
        clocks = [np.asarray(time, dtype=np.float64).reshape(-1)]
    else:
        shared = not len(time) or np.ndim(time[0]) == 0
        clocks = [np.asarray(time, dtype=np.float64)] * len(rows) if shared else [np.asarray(t, dtype=np.float64) for t in time]
    if len(clocks) != len(rows):
        raise ValueError(f"{len(rows)} paths and {len(clocks)} clocks; as many of one as of the other were wanted, or one clock for all")
    kept = [_padded(k, row, clock, isinstance(rows, np.ndarray)) for k, (row, clock) in enumerate(zip(rows, clocks))]
    sizes = [len(clock) for _, clock in kept]
    full = [k for k, size in enumerate(sizes) if size]
    if not full:
        raise ValueError("there is not one observation; at least two of one path were wanted")
    which = np.repeat(np.arange(len(full)), [sizes[k] for k in full])
    return np.concatenate([kept[k][0] for k in full]), np.concatenate([kept[k][1] for k in full]), which, len(rows)


def _by_path(value: Any, time: Any, path: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    value, time, path = np.asarray(value, dtype=np.float64), np.asarray(time, dtype=np.float64), np.asarray(path)
    if not len(value) == len(time) == len(path) or time.ndim != 1 or path.ndim != 1:
        raise ValueError(f"shapes {value.shape} of the values, {time.shape} of the times and {path.shape} of the paths; one of each an observation "
                         "was wanted")
    if not np.isfinite(time).all():
        raise ValueError(f"observation {int(np.argmax(~np.isfinite(time)))} has the time {time[~np.isfinite(time)][0]:g}; a finite one was wanted")
    order = np.argsort(path, kind="stable")
    ids, which = np.unique(path[order], return_inverse=True)
    return value[order], time[order], which, len(ids)


def _padded(number: int, row: np.ndarray, clock: np.ndarray, rectangular: bool) -> tuple[np.ndarray, np.ndarray]:
    """A row without its padding."""
    if len(row) != len(clock) or clock.ndim != 1:
        raise ValueError(f"path {number} has {len(row)} observations and times of shape {clock.shape}; one time an observation was wanted")
    gone = np.isnan(clock)
    end = int(np.flatnonzero(~gone)[-1]) + 1 if not gone.all() else 0
    bad = ~np.isfinite(clock[:end])
    if bad.any() or (end < len(clock) and not rectangular):
        at = int(np.argmax(bad)) if bad.any() else end
        raise ValueError(f"observation {at} of path {number} has the time {clock[at]:g}; a finite one was wanted (NaN pads the ends of rows of an "
                         "array [path obs] alone)")
    return row[:end], clock[:end]


def _whole(value: np.ndarray) -> np.ndarray:
    """Labels as whole numbers, -1 where there is none."""
    if value.ndim != 1:
        raise ValueError(f"a label an observation was wanted, but values have the shape {value.shape[1:]} each; continuous signals are read by "
                         "jumps_from_signal")
    state = np.where(np.isnan(value), -1.0, value)
    broken = ~np.isfinite(state) | (state != np.round(np.where(np.isfinite(state), state, 0)))
    if broken.any():
        at = int(np.argmax(broken))
        raise ValueError(f"label {state[at]:g} of observation {at} is no whole number; continuous signals are read by jumps_from_signal")
    return np.where(state < 0, -1, state).astype(np.int64)


def _count(state: np.ndarray, n_states: int | None) -> int:
    """The number of states, checked against the labels."""
    top = int(state.max())
    if top < 0:
        raise ValueError(f"none of the {len(state)} observations names a state")
    if n_states is not None and top >= n_states:
        raise ValueError(f"label {top} of observation {int(np.argmax(state))} is outside the {n_states} states 0 to {n_states - 1}; states are "
                         "counted from 0 here (tables of patients, which count from 1, are read by jumps_from_table)")
    return top + 1 if n_states is None else n_states


def _told(clock: np.ndarray, which: np.ndarray, given: int) -> None:
    """Refuse what is hopeless, and tell of empty paths."""
    refuse_hopeless(clock, which)
    if given > which[-1] + 1:
        warnings.warn(f"{given - which[-1] - 1} of {given} paths have no observation and are left out", stacklevel=3)
