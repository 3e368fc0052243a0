"""Paths of states put together and taken apart: `concat_jumps`, `cut_jumps` at shared observations, `jump_windows`, `select_paths`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from trajlab.types import JumpPaths

__all__ = ["concat_jumps", "cut_jumps", "jump_windows", "select_paths"]


def cut_jumps(paths: JumpPaths, at: Sequence[int]) -> JumpPaths:
    """Paths cut in two at some observations, which both pieces keep: as the end of one and the start of the other.

    Given the state at the cut, what follows does not depend on what was before, so that no likelihood of rates changes.

    Args:
        paths: to be cut.
        at: numbers of observations, counted over all paths; at the first or last observation of a path nothing is to be cut.

    Raises:
        ValueError: no such observation, or one that names no state, where a cut would lose what links the pieces.
    """
    at = np.unique(np.asarray(at, dtype=np.int64))
    count = len(paths.label)
    outside = (at < 0) | (at >= count)
    if outside.any():
        raise ValueError(f"observation {at[outside][0]} is none of the {count}; 0 to {count - 1} were wanted")
    blind = paths.label.cpu().numpy()[at] < 0
    if blind.any():
        raise ValueError(f"observation {at[blind][0]} names no state; a cut there loses what links the pieces. Cut where a state was seen")
    path = paths.path.cpu().numpy()
    inner = at[(at > 0) & (at < count - 1)]
    inner = inner[(path[inner - 1] == path[inner]) & (path[inner + 1] == path[inner])]
    repeats = np.ones(count, dtype=np.int64)
    repeats[inner] = 2
    take = np.repeat(np.arange(count), repeats)
    starts = np.concatenate([[False], (np.diff(path[take]) != 0) | (np.diff(take) == 0)])
    return _taken(paths, take, np.cumsum(starts))


def jump_windows(paths: JumpPaths, intervals: int) -> JumpPaths:
    """All paths cut into windows of so many intervals (the last of a path may be shorter); neighbours share an observation.

    Raises:
        ValueError: fewer than one interval, or as `cut_jumps`.
    """
    if intervals < 1:
        raise ValueError(f"windows of {intervals} intervals; at least 1 was wanted")
    path = paths.path.cpu().numpy()
    place = np.arange(len(path)) - np.searchsorted(path, path)
    return cut_jumps(paths, np.flatnonzero((place > 0) & (place % intervals == 0)).tolist())


def select_paths(paths: JumpPaths, which: Sequence[int]) -> JumpPaths:
    """Some paths, in the order asked for; a path may be taken more than once.

    Raises:
        ValueError: there is no such path, or none is asked for.
    """
    which = np.asarray(which, dtype=np.int64)
    if not len(which) or which.min() < 0 or which.max() >= paths.n_paths:
        raise ValueError(f"paths {which[:6].tolist()} of {paths.n_paths}; at least one of 0 to {paths.n_paths - 1} was wanted")
    first = np.searchsorted(paths.path.cpu().numpy(), np.arange(paths.n_paths + 1))
    size = np.diff(first)[which]
    number = np.repeat(np.arange(len(which)), size)
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    chosen = _taken(paths, first[which][number] + within, number)
    subjects = paths.source.get("subjects")
    return chosen if subjects is None else chosen.replace(source={**chosen.source, "subjects": [subjects[k] for k in which]})


def concat_jumps(parts: Sequence[JumpPaths]) -> JumpPaths:
    """The paths of several sets as one, in their order.

    Raises:
        ValueError: no set; sets that differ in number or names of states, in the unit of time, in covariates or in the dimension of the signal.
    """
    if not parts:
        raise ValueError("no paths to put together; at least one set was wanted")
    one = parts[0]
    for k, part in enumerate(parts):
        for what, mine, first in (("number of states", part.n_states, one.n_states), ("names of states", part.names, one.names),
                                  ("unit of time", part.units.time, one.units.time), ("covariates", set(part.covariates), set(one.covariates))):
            if mine != first:
                raise ValueError(f"set {k} and set 0 differ in the {what}: {mine!r} and {first!r}")
    offset = np.cumsum([0, *(p.n_paths for p in parts[:-1])])
    return one.replace(
        label=torch.cat([p.label for p in parts]), time=torch.cat([p.time for p in parts]),
        path=torch.cat([p.path + int(o) for p, o in zip(parts, offset)]), observed=torch.cat([p.observed for p in parts]),
        allowed=_together(parts, "allowed", True), signal=_together(parts, "signal", 0.0),
        covariates={name: torch.cat([p.covariates[name] for p in parts]) for name in one.covariates},
        source={"reader": "concat", "parts": [dict(p.source) for p in parts]},
    )


def _together(parts: Sequence[JumpPaths], name: str, fill: Any) -> torch.Tensor | None:
    """An optional field of all sets; sets without it are filled."""
    values = [getattr(p, name) for p in parts]
    model = next((v for v in values if v is not None), None)
    if model is None:
        return None
    wide = [torch.full((len(p.label), model.shape[1]), fill, dtype=model.dtype) if v is None else v for p, v in zip(parts, values)]
    if len({v.shape[1] for v in wide}) > 1:
        raise ValueError(f"sets differ in the width of {name}: {sorted({v.shape[1] for v in wide})}")
    return torch.cat(wide)


def _taken(paths: JumpPaths, take: np.ndarray, path: np.ndarray) -> JumpPaths:
    """Observations by number, with new numbers of paths."""
    index = torch.from_numpy(take)
    pick = lambda value: None if value is None else value[index]  # noqa: E731
    source = {k: v for k, v in paths.source.items() if k != "subjects"}
    return paths.replace(label=paths.label[index], time=paths.time[index], path=torch.from_numpy(path.astype(np.int64)),
                         observed=paths.observed[index], allowed=pick(paths.allowed), signal=pick(paths.signal),
                         covariates={k: v[index] for k, v in paths.covariates.items()}, source=source)
