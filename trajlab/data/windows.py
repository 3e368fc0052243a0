"""Short windows cut from long trajectories."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from trajlab.types import Trajectories

__all__ = ["windows"]


def windows(trajectories: Trajectories, n_frames: int, *, stride: int = 1, hop: int = 1, whole: str = "scene") -> Trajectories:
    """All windows of ``n_frames`` frames, each a scene of its own that keeps its absolute time, its cell and its context.

    A window never spans frames that were not observed, nor two scenes. ``context["run"]`` says which run a window was cut from
    (the scene, where the trajectories do not say).

    Args:
        trajectories: what to cut.
        n_frames: frames a window.
        stride: frames of the trajectory between neighbouring frames of a window.
        hop: frames of the trajectory between the beginnings of windows.
        whole: ``"scene"``: windows in which any node is unobserved are left out (atoms); ``"node"``: a window holds the nodes that were
            observed throughout, and is left out if there are none (agents that come and go).

    Raises:
        ValueError: a number is below 1, ``whole`` is unknown, or no window fits.
    """
    if min(n_frames, stride, hop) < 1 or whole not in ("scene", "node"):
        raise ValueError(
            f"n_frames={n_frames}, stride={stride}, hop={hop}, whole={whole!r}: numbers of at least 1 and 'scene' or 'node' were wanted"
        )
    span = (n_frames - 1) * stride + 1
    starts = torch.arange(0, max(0, trajectories.n_frames - span + 1), hop, device=trajectories.x.device)
    offsets = torch.arange(n_frames, device=starts.device) * stride
    seen = trajectories.mask[:, (starts[:, None] + offsets).flatten()].reshape(trajectories.n_nodes, len(starts), n_frames).all(-1)
    if whole == "scene":
        missing = torch.zeros(trajectories.n_scenes, len(starts), device=seen.device).index_add_(0, trajectories.scene, (~seen).float())
        seen = (missing == 0)[trajectories.scene]
    if not bool(seen.any()):
        raise ValueError(
            f"no window of {n_frames} frames (stride {stride}, {span} frames long) fits: there are {trajectories.n_frames} frames, "
            f"{float(trajectories.mask.float().mean()) if trajectories.mask.numel() else 0:.0%} of them observed; "
            "choose shorter windows" + ("" if whole == "node" else " or whole='node'")
        )
    return _cut(trajectories, seen, starts, offsets)


def _cut(trajectories: Trajectories, seen: Bool[Tensor, "node start"], starts: Int[Tensor, "start"], offsets: Int[Tensor, "frame"]) -> Trajectories:
    node, start = seen.nonzero(as_tuple=True)
    key = trajectories.scene[node] * len(starts) + start  # windows in order of scene, then time; nodes keep their order within
    order = torch.argsort(key, stable=True)
    node, start = node[order], start[order]
    kept, scene = torch.unique_consecutive(key[order], return_inverse=True)
    origin, begin = kept // len(starts), starts[kept % len(starts)]
    frame = starts[start][:, None] + offsets
    pick = lambda value: None if value is None else value[origin]  # noqa: E731
    run = trajectories.context.get("run", torch.arange(trajectories.n_scenes, device=node.device))
    return trajectories.replace(
        x=trajectories.x[node[:, None], frame], time=trajectories.time[origin[:, None], begin[:, None] + offsets], scene=scene,
        mask=trajectories.mask[node[:, None], frame], kind=trajectories.kind[node],
        extra={k: v[node[:, None], frame] for k, v in trajectories.extra.items()},
        static={k: v[node] for k, v in trajectories.static.items()},
        context={**{k: v[origin] for k, v in trajectories.context.items()}, "run": run[origin]},
        cell=pick(trajectories.cell), pbc=pick(trajectories.pbc),
    )
