"""Populations as numpy arrays and as tables, to and from `Snapshots`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.data.adapters.anndata_matrix import refuse_unfinite
from trajlab.data.adapters.anndata_times import clock_of
from trajlab.types import Snapshots
from trajlab.units import Units

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["snapshots_from_numpy", "snapshots_from_table", "snapshots_to_numpy", "snapshots_to_table", "tell"]


def snapshots_from_numpy(x: Any, time: Any, *, weight: Any = None, names: Sequence[str] = (), units: Units | None = None) -> Snapshots:
    """Snapshots from arrays, in float64.

    Args:
        x: a list of arrays ``[cell dim]``, one a snapshot; an array ``[snapshot cell dim]``; or one array ``[cell dim]`` in any order.
        time: one a snapshot, strictly increasing; with one array ``[cell dim]``, one a cell.
        weight: non-negative, in the layout of ``x`` without its last axis.
        names: of the dimensions.
        units: of lengths and times; none by default.

    Raises:
        ValueError: shapes that do not fit, times that do not increase or are not finite, an empty snapshot, or a value that is not finite.
    """
    packed = not isinstance(x, list | tuple) and np.ndim(x) == 2
    time = np.asarray(time, dtype=np.float64).reshape(-1)
    if packed:
        x = np.asarray(x, dtype=np.float64)
        if len(time) != len(x):
            raise ValueError(f"{len(time)} times for an array of {len(x)} cells; one a cell was wanted. Pass a list of arrays to give one a snapshot")
        time, snapshot = np.unique(time, return_inverse=True)
        order = np.argsort(snapshot, kind="stable")
        x, snapshot = x[order], snapshot[order]
        weight = np.ones(len(x)) if weight is None else np.asarray(weight, dtype=np.float64)[order]
    else:
        parts = _parts(x, time)
        order, snapshot = np.arange(sum(map(len, parts))), np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        x = np.concatenate(parts)
        weight = np.ones(len(x)) if weight is None else np.concatenate([np.asarray(part, dtype=np.float64).reshape(-1) for part in weight])
    labels = names or [f"x{k + 1}" for k in range(x.shape[1])]
    refuse_unfinite(x, [f"{row} (of snapshot {k})" for row, k in zip(order.tolist(), snapshot.tolist())], labels, "x")
    tell(np.bincount(snapshot, minlength=len(time)), [f"{t:g}" for t in time], x, labels)
    return Snapshots(torch.from_numpy(x), torch.from_numpy(snapshot.astype(np.int64)), torch.from_numpy(time),
                     torch.from_numpy(weight), tuple(names), units or Units(), {"reader": "numpy", "cell": order})


def _parts(x: Any, time: np.ndarray) -> list[np.ndarray]:
    parts = [np.asarray(part, dtype=np.float64) for part in x]
    if not parts or len(parts) != len(time):
        raise ValueError(f"{len(parts)} snapshots and {len(time)} times; as many of one as of the other were wanted")
    for number, part in enumerate(parts):
        if part.ndim != 2 or not part.size or part.shape[1] != parts[0].shape[1]:
            raise ValueError(f"snapshot {number} has shape {part.shape}; [cell dim] with at least one cell and {parts[0].shape[-1:]} dimensions was "
                             "wanted. Leave empty snapshots out, with their times")
    return parts


def snapshots_to_numpy(snapshots: Snapshots) -> tuple[list[np.ndarray], np.ndarray]:
    """The cells of each snapshot, ``[cell dim]`` each, and the times: what `snapshots_from_numpy` takes."""
    return [snapshots.at(k).cpu().numpy() for k in range(snapshots.n_snapshots)], snapshots.time.cpu().numpy()


def snapshots_from_table(
    table: pd.DataFrame, *, time: str = "time", position: Sequence[str] | None = None, weight: str | None = None,
    times: Mapping[Any, float] | None = None, units: Units | None = None,
) -> Snapshots:
    """Snapshots from rows of one cell each, in any order.

    Args:
        table: one row a cell.
        time: column of the time: numbers, text such as ``"D10"``, timedeltas, categories; see `from_anndata`.
        position: columns of the state; by default all number columns but those of time and weight.
        weight: column of the weight within the snapshot.
        times: the number of each label of the time, where labels don't say it.
        units: the time's unit is as the labels say by default.

    Raises:
        ValueError: a column is missing or holds no numbers, a value is not finite, or times cannot be read.
    """
    chosen = list(position) if position is not None else [c for c in table.select_dtypes("number").columns if c not in (time, weight)]
    for column in [time, *chosen, *([weight] if weight else [])]:
        if column not in table.columns:
            raise ValueError(f"the table has no such column: {unknown('column', str(column), map(str, table.columns))}")
    if not chosen:
        raise ValueError(f"the table has no columns of numbers besides the time; columns are {', '.join(map(str, table.columns))}")
    clock = clock_of(table[time], times, f"column {time!r}")
    x = table[chosen].to_numpy(np.float64)
    refuse_unfinite(x, [str(i) for i in table.index], [str(c) for c in chosen], "the table")
    tell(np.bincount(clock.snapshot), clock.labels, x, chosen)
    order = np.argsort(clock.snapshot, kind="stable")
    source = {"reader": "table", "labels": clock.labels, "cell": order}
    mass = np.ones(len(x)) if weight is None else table[weight].to_numpy(np.float64)
    return Snapshots(torch.from_numpy(x[order]), torch.from_numpy(clock.snapshot[order]), torch.from_numpy(clock.time),
                     torch.from_numpy(mass[order]), tuple(map(str, chosen)), units or Units(time=clock.unit), source)


def snapshots_to_table(snapshots: Snapshots) -> pd.DataFrame:
    """One row a cell: ``time``, the dimensions by name, and ``weight``."""
    import pandas as pd

    names = snapshots.names or tuple(f"x{k + 1}" for k in range(snapshots.x.shape[1]))
    table = pd.DataFrame({"time": snapshots.time[snapshots.snapshot].cpu().numpy()})
    table[list(names)] = snapshots.x.cpu().numpy()
    return table.assign(weight=snapshots.weight.cpu().numpy())


def tell(counts: np.ndarray, labels: Sequence[Any], x: np.ndarray, names: Sequence[str]) -> None:
    """Warn of snapshots of one cell and of dimensions that do not vary."""
    if (alone := [str(labels[k]) for k in np.flatnonzero(counts == 1)]):
        warnings.warn(f"the snapshots {alone[:6]} have one cell each: it stands for a whole population, and every path "
                      "passes through it", stacklevel=3)
    if len(x) > 1 and (flat := [str(names[k]) for k in np.flatnonzero(np.ptp(x, axis=0) == 0)]):
        warnings.warn(f"{len(flat)} dimensions do not vary ({', '.join(flat[:6])}{', ...' if len(flat) > 6 else ''}): they say nothing about the "
                      "process; leave them out unless loadings refer to them", stacklevel=3)
