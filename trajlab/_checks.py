"""What the nouns check when they are built. Each function raises a ValueError that names what came and what was wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from trajlab.types import Forecast, Graph, JumpPaths, Snapshots, Trajectories


def is_a(name: str, value: Any, wanted: type, why: str) -> None:
    """Refuse a noun of the wrong sort."""
    if not isinstance(value, wanted):
        raise TypeError(f"{name} is a {type(value).__name__}, but a {wanted.__name__} was wanted: {why}")


def rank(noun: str, **values: tuple[Any, int]) -> None:
    """Refuse what is no tensor, or has another number of axes than was wanted."""
    for name, (value, wanted) in values.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{noun}.{name} is a {type(value).__name__}; pass a torch tensor (torch.as_tensor makes one from numpy)")
        if value.ndim != wanted:
            raise ValueError(f"{noun}.{name} has shape {tuple(value.shape)}; {wanted} axes were wanted")


def _same(noun: str, what: str, **sizes: int) -> None:
    if len(set(sizes.values())) > 1:
        raise ValueError(f"{noun}: the number of {what} disagrees: " + ", ".join(f"{k} has {v}" for k, v in sizes.items()))


def _segments(noun: str, name: str, index: Tensor, count: int) -> None:
    """A segment index must be sorted and lie within 0 .. count-1."""
    if not len(index):
        return
    if bool((index.diff() < 0).any()):
        at = int((index.diff() < 0).nonzero()[0])
        raise ValueError(f"{noun}.{name} must be sorted, but entry {at} is {int(index[at])} and entry {at + 1} is {int(index[at + 1])}")
    if int(index[0]) < 0 or int(index[-1]) >= count:
        raise ValueError(f"{noun}.{name} runs from {int(index[0])} to {int(index[-1])}; 0 to {count - 1} was wanted")


def _finite(noun: str, name: str, value: Tensor, mask: Tensor, axes: tuple[str, ...]) -> None:
    """Refuse what is not finite where it was observed, and name the first such place."""
    if not value.is_floating_point():
        return
    good = torch.isfinite(value)
    if bool(good.all()):
        return
    bad = (~good.flatten(mask.ndim).all(-1) if value.ndim > mask.ndim else ~good) & mask
    if bool(bad.any()):
        where = ", ".join(f"{a} {int(i)}" for a, i in zip(axes, bad.nonzero()[0], strict=True))
        raise ValueError(
            f"{noun}.{name} is not finite at {where} ({int(bad.sum())} such places). "
            "If these values are missing, set mask to False there; otherwise the run that made them has failed"
        )


def _clock(noun: str, time: Tensor, strict: bool = True) -> None:
    if not bool(torch.isfinite(time).all()):
        raise ValueError(f"{noun}.time holds values that are not finite; pad the clock of a short scene and mask the frames instead")
    steps = time.diff(dim=-1)
    wrong = steps <= 0 if strict else steps < 0
    if bool(wrong.any()):
        at = wrong.nonzero()[0].tolist()
        here = time[tuple(at)]
        there = time[(*at[:-1], at[-1] + 1)]
        raise ValueError(
            f"{noun}.time must increase, but at index {at} it goes from {float(here):g} to {float(there):g}; sort the frames or drop repeats"
        )


def trajectories(noun: Trajectories) -> None:
    nodes, frames, dim = noun.x.shape
    scenes = len(noun.time)
    _same("Trajectories", "frames", x=frames, time=noun.time.shape[1], **{k: v.shape[1] if v.ndim > 1 else -1 for k, v in noun.extra.items()})
    _same("Trajectories", "nodes", x=nodes, scene=len(noun.scene), kind=len(noun.kind), mask=len(noun.mask),
          **{k: len(v) for k, v in {**noun.extra, **noun.static}.items()})
    _same("Trajectories", "scenes", time=scenes, **{k: len(v) for k, v in noun.context.items()})
    if noun.mask.shape != (nodes, frames) or noun.mask.dtype != torch.bool:
        raise ValueError(f"Trajectories.mask has shape {tuple(noun.mask.shape)} and type {noun.mask.dtype}; bool [{nodes} {frames}] was wanted")
    if not noun.x.is_floating_point():
        raise ValueError(f"Trajectories.x has type {noun.x.dtype}; a floating-point type was wanted (discrete states are JumpPaths)")
    _segments("Trajectories", "scene", noun.scene, scenes)
    _clock("Trajectories", noun.time)
    _finite("Trajectories", "x", noun.x, noun.mask, ("node", "frame"))
    for name, value in noun.extra.items():
        _finite("Trajectories", f"extra[{name!r}]", value, noun.mask, ("node", "frame"))
    if "velocity" in noun.extra and noun.extra["velocity"].shape != noun.x.shape:
        raise ValueError(f"velocity has shape {tuple(noun.extra['velocity'].shape)}, positions {tuple(noun.x.shape)}; they must agree")
    if "mass" in noun.static and bool((noun.static["mass"] <= 0).any()):
        at = int((noun.static["mass"] <= 0).nonzero()[0])
        raise ValueError(f"the mass of node {at} is {float(noun.static['mass'][at]):g}; masses must be positive")
    if noun.cell is not None:
        if noun.cell.shape != (scenes, 3, 3) or noun.pbc is None or noun.pbc.shape != (scenes, 3):
            shape = None if noun.pbc is None else tuple(noun.pbc.shape)
            raise ValueError(f"cell has shape {tuple(noun.cell.shape)} and pbc {shape}; [{scenes} 3 3] and [{scenes} 3] were wanted")
        if dim != 3:
            raise ValueError(f"a cell needs positions in 3 dimensions, but x has {dim}")


def snapshots(noun: Snapshots) -> None:
    _same("Snapshots", "cells", x=len(noun.x), snapshot=len(noun.snapshot), weight=len(noun.weight))
    _segments("Snapshots", "snapshot", noun.snapshot, len(noun.time))
    _clock("Snapshots", noun.time)
    _finite("Snapshots", "x", noun.x, torch.ones_like(noun.snapshot, dtype=torch.bool), ("cell",))
    empty = (torch.bincount(noun.snapshot, minlength=len(noun.time)) == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"snapshots {empty} have no cells; leave their times out")
    if not bool((noun.weight >= 0).all()):
        raise ValueError(f"the smallest weight is {float(noun.weight.min()):g}; weights must not be negative or NaN")
    if noun.names and len(noun.names) != noun.x.shape[1]:
        raise ValueError(f"{len(noun.names)} names for {noun.x.shape[1]} dimensions")


def jump_paths(noun: JumpPaths) -> None:
    _same("JumpPaths", "observations", label=len(noun.label), time=len(noun.time), path=len(noun.path), observed=len(noun.observed))
    _segments("JumpPaths", "path", noun.path, int(noun.path.max()) + 1 if len(noun.path) else 0)
    outside = (noun.label < -1) | (noun.label >= noun.n_states)
    if bool(outside.any()):
        at = int(outside.nonzero()[0])
        raise ValueError(f"label {int(noun.label[at])} of observation {at} is not one of the states 0 to {noun.n_states - 1}, nor -1 for unknown")
    if bool(((noun.observed < 0) | (noun.observed > 5)).any()):
        raise ValueError("JumpPaths.observed must hold JumpPaths.PANEL, EXACT, CENSORED, MISSING, ENTRY or SIGNAL (0 to 5)")
    named = (noun.observed < 2) | (noun.observed == noun.ENTRY)
    blind = (noun.label < 0) & named
    if bool(blind.any()):
        raise ValueError(f"observation {int(blind.nonzero()[0])} is a panel or exact look but has no label; mark it JumpPaths.MISSING or CENSORED")
    _jump_extras(noun)
    if not bool(torch.isfinite(noun.time).all()):
        raise ValueError("JumpPaths.time holds values that are not finite")
    back = (noun.time.diff() < 0) & (noun.path.diff() == 0)
    if bool(back.any()):
        at = int(back.nonzero()[0])
        raise ValueError(f"within path {int(noun.path[at])} the time goes back from {float(noun.time[at]):g} to {float(noun.time[at + 1]):g}")


def _jump_extras(noun: JumpPaths) -> None:
    """What only some kinds of observation need: allowed states, a signal, covariates, names."""
    count = len(noun.label)
    if noun.names and len(noun.names) != noun.n_states:
        raise ValueError(f"{len(noun.names)} names for {noun.n_states} states")
    _same("JumpPaths", "observations", label=count, **{f"covariates[{k!r}]": len(v) for k, v in noun.covariates.items()})
    for name, value in noun.covariates.items():
        if not bool(torch.isfinite(value).all()):
            at = int((~torch.isfinite(value)).nonzero()[0])
            raise ValueError(f"covariate {name!r} is not finite at observation {at}; a value holds until the next one, so fill it from the last")
    if noun.allowed is not None:
        if noun.allowed.shape != (count, noun.n_states):
            raise ValueError(f"JumpPaths.allowed has shape {tuple(noun.allowed.shape)}; [{count} {noun.n_states}] was wanted")
        none = (noun.observed == noun.CENSORED) & ~noun.allowed.any(-1)
        if bool(none.any()):
            raise ValueError(f"censored observation {int(none.nonzero()[0])} allows no state; leave JumpPaths.allowed True where a state is possible")
    hidden = noun.observed == noun.SIGNAL
    if bool(hidden.any()):
        if noun.signal is None or noun.signal.ndim != 2 or len(noun.signal) != count:
            shape = None if noun.signal is None else tuple(noun.signal.shape)
            raise ValueError(f"{int(hidden.sum())} observations are SIGNAL, but JumpPaths.signal has shape {shape}; [{count} dim] was wanted")
        bad = hidden & ~torch.isfinite(noun.signal).all(-1)
        if bool(bad.any()):
            raise ValueError(f"the signal is not finite at observation {int(bad.nonzero()[0])} ({int(bad.sum())} such places); mark them MISSING")


def graph(noun: Graph) -> None:
    if noun.edges.ndim != 2 or noun.edges.shape[0] != 2:
        raise ValueError(f"Graph.edges has shape {tuple(noun.edges.shape)}; [2 edge] was wanted")
    lengths = {k: len(v) for k, v in (("shift", noun.shift), ("weight", noun.weight)) if v is not None}
    _same("Graph", "edges", edges=noun.edges.shape[1], **lengths)
    _segments("Graph", "receiver", noun.edges[1], noun.n_nodes)
    if noun.n_edges and (int(noun.edges[0].min()) < 0 or int(noun.edges[0].max()) >= noun.n_nodes):
        raise ValueError(f"senders run from {int(noun.edges[0].min())} to {int(noun.edges[0].max())}; 0 to {noun.n_nodes - 1} was wanted")


def forecast(noun: Forecast) -> None:
    _, nodes, frames, dim = noun.draws.shape
    _same("Forecast", "nodes", draws=nodes, past=noun.past.n_nodes)
    _same("Forecast", "dimensions", draws=dim, past=noun.past.dim)
    _same("Forecast", "frames", draws=frames, time=noun.time.shape[1])
    _same("Forecast", "scenes", time=len(noun.time), past=noun.past.n_scenes, stopped=len(noun.stopped))
    if noun.mask.shape != noun.draws.shape[:3]:
        raise ValueError(f"Forecast.mask has shape {tuple(noun.mask.shape)}; {tuple(noun.draws.shape[:3])} was wanted")
    _clock("Forecast", noun.time)
    if frames and bool((noun.time[:, 0] <= noun.past.time[:, -1]).any()):
        raise ValueError("the forecast begins before its past ends; its first time must be later than the last of the past")
    _finite("Forecast", "draws", noun.draws, noun.mask, ("draw", "node", "frame"))
