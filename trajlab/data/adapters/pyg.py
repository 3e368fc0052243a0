"""PyTorch Geometric ``Data`` to and from `Trajectories`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from trajlab.data.fields import flatten, rebuild
from trajlab.types import Graph, Trajectories
from trajlab.units import Units

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["from_pyg", "to_pyg"]

# PyG's names for what the nouns call otherwise; all other fields keep their names, groups joined by an underscore.
NAMES = {"x": "pos", "scene": "batch", "kind": "z", "extra/velocity": "vel", "static/mass": "mass"}


def to_pyg(trajectories: Trajectories, graph: Graph | None = None) -> Data:
    """All scenes as one ``Data``: ``pos[node time dim]``, ``batch[node]``, ``z``, ``vel``, ``mass``, ``mask``, ``time[scene time]``,
    ``cell``, ``pbc``; other fields as ``extra_name``, ``static_name`` and ``context_name``; a graph as
    ``edge_index``, ``edge_shift``, ``edge_weight``.

    Raises:
        ValueError: the graph has another number of nodes.
    """
    from torch_geometric.data import Data

    arrays, plain = flatten(trajectories)
    data = Data(**{NAMES.get(name, name.replace("/", "_")): value for name, value in arrays.items()})
    data.num_nodes, data.units, data.source = trajectories.n_nodes, plain["units"], plain["source"]
    if graph is not None:
        if graph.n_nodes != trajectories.n_nodes:
            raise ValueError(f"the graph has {graph.n_nodes} nodes, the trajectories {trajectories.n_nodes}")
        data.edge_index, data.edge_shift, data.edge_weight = graph.edges, graph.shift, graph.weight
    return data


def from_pyg(data: Data, *, units: Units | None = None) -> Trajectories:
    """Trajectories from a ``Data`` or ``Batch`` with positions ``pos`` of shape ``[node dim]`` (one frame) or ``[node time dim]``.

    ``batch``, ``z``, ``vel``, ``mass``, ``time``, ``mask``, ``cell`` and ``pbc`` are read where they are there, and so is what `to_pyg` wrote.

    Raises:
        ValueError: there is no ``pos``, or shapes disagree.
    """
    if getattr(data, "pos", None) is None:
        raise ValueError(f"this Data has no positions 'pos', only {sorted(data.keys())}")
    own = {v: k for k, v in NAMES.items()} | {k: k for k in ("mask", "time", "cell", "pbc")}
    arrays: dict[str, torch.Tensor] = {}
    for key in data.keys():  # noqa: SIM118  # Data is no mapping
        value, (group, _, rest) = data[key], key.partition("_")
        if isinstance(value, torch.Tensor) and (key in own or (group in ("extra", "static", "context") and rest)):
            arrays[own.get(key, f"{group}/{rest}")] = value
    single = arrays["x"].ndim == 2
    for name in ("x", "extra/velocity"):
        if single and name in arrays:
            arrays[name] = arrays[name][:, None]
    nodes, frames = arrays["x"].shape[:2]
    arrays.setdefault("scene", torch.zeros(nodes, dtype=torch.long, device=arrays["x"].device))
    scenes = int(arrays["scene"].max()) + 1 if nodes else 0
    arrays["time"] = _clock(arrays.get("time"), scenes, frames, arrays["x"].device)
    if "cell" in arrays:
        arrays["cell"] = arrays["cell"].reshape(-1, 3, 3)
    if "pbc" in arrays:
        arrays["pbc"] = arrays["pbc"].reshape(-1, 3)
    return _noun(arrays, data, units)


def _noun(arrays: dict[str, torch.Tensor], data: Any, units: Units | None) -> Trajectories:
    stored = getattr(data, "units", None)
    plain = {"noun": "Trajectories", "source": getattr(data, "source", None) or {"reader": "pyg"}}
    result = rebuild(arrays, plain | ({"units": stored} if isinstance(stored, dict) else {}))
    return result if units is None else result.replace(units=units)


def _clock(time: torch.Tensor | None, scenes: int, frames: int, device: torch.device) -> torch.Tensor:
    if time is None:
        return torch.arange(frames, dtype=torch.float64, device=device).expand(scenes, frames)
    if time.numel() not in (frames, scenes * frames):
        raise ValueError(f"time has shape {tuple(time.shape)}; [{frames}] or [{scenes} {frames}] was wanted")
    return time.reshape(-1, frames).expand(scenes, frames)
