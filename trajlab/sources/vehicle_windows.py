"""Windows of recordings of traffic, and how they are parted so that no vehicle is in two parts.

A window is ``given + predicted`` frames. In a window around one agent, the agent is the first node of its scene and was seen throughout; its
neighbours are those nearest at the last given frame. Its beginnings are counted from the first frame of the agent, every ``hop`` frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.data.batches import concat
from trajlab.sources.pedestrians import WindowRule, pedestrian_windows
from trajlab.types import Trajectories

__all__ = ["VehicleRule", "part_by_vehicle", "share_of", "vehicle_windows"]

AROUND = ("agent", "scene")
CHUNK = 2000  #: windows whose neighbours are looked for in one go


@dataclass(frozen=True)
class VehicleRule:
    """Which windows are cut.

    Attributes:
        given, predicted: frames; 1 s and 8 s at 10 Hz.
        hop: frames between beginnings.
        around: ``"agent"``: a scene for each agent and beginning. ``"scene"``: a scene for each beginning, with all agents who were seen
            throughout (``neighbours`` and ``radius`` are not used).
        neighbours: most neighbours of an agent; 0 for none.
        radius: of the neighbours at the last given frame, m.
        kinds: only agents of these numbers become windows; None for all. They stay as neighbours.
        block: s; ``context["block"]`` numbers the stretches of this length, for error bars that know that windows overlap.
    """

    given: int = 11
    predicted: int = 80
    hop: int = 10
    around: str = "agent"
    neighbours: int = 0
    radius: float = 50.0
    kinds: tuple[int, ...] | None = None
    block: float = 20.0

    def __post_init__(self) -> None:
        if min(self.given, self.predicted, self.hop) < 1 or self.neighbours < 0 or not (self.block > 0 and self.radius >= 0):
            raise ValueError(f"{self}: frames and hop of at least 1, neighbours and radius of at least 0 and a positive block were wanted")
        if self.around not in AROUND:
            raise ValueError(unknown("around", self.around, AROUND))


def vehicle_windows(recording: Trajectories, rule: VehicleRule | None = None) -> Trajectories:
    """Windows of recordings of traffic, each a scene of its own that keeps its clock.

    Args:
        recording: one or several scenes on regular clocks, such as the readers of traffic return.
        rule: which windows.

    Returns:
        ``context["run"]`` (the recording), ``["block"]``; around agents also ``context["agent"]`` (number of the agent, over all recordings) and
        ``static["focal"]``, True for the first node of a scene. Neighbours are masked out where they were not seen. ``source["left_out"]`` counts
        the agents that have no window, as their tracks are too short.

    Raises:
        ValueError: no window fits.
    """
    rule = rule or VehicleRule()
    source = {k: v for k, v in recording.source.items() if k != "id"} | {"rule": repr(rule)}
    if "run" not in recording.context:
        recording = recording.replace(context={**recording.context, "run": torch.arange(recording.n_scenes)})
    if rule.around == "scene":
        plain = WindowRule(rule.given, rule.predicted, hop=rule.hop, block=rule.block)
        parts = [pedestrian_windows(recording.scenes([k]), plain) for k in range(recording.n_scenes)]
        return concat(parts).replace(source=source)
    length = rule.given + rule.predicted
    fits = _beginnings(recording.mask, length, rule.hop)
    wanted = torch.ones(recording.n_nodes, dtype=torch.bool) if rule.kinds is None else torch.isin(recording.kind, torch.tensor(rule.kinds))
    fits &= wanted[:, None]
    if not bool(fits.any()):
        longest = int(recording.mask.sum(1).max()) if recording.mask.numel() else 0
        raise ValueError(f"no window of {length} frames fits: the longest of {int(wanted.sum())} tracks has {longest} frames; choose fewer frames")
    start, node = fits.T.nonzero(as_tuple=True)
    order = torch.argsort(recording.scene[node] * recording.n_frames + start, stable=True)
    left_out = {"too short": int((wanted & ~fits.any(1)).sum())}
    return _cut(recording, node[order], start[order], rule).replace(source={**source, "left_out": left_out})


def _beginnings(mask: Bool[Tensor, "node time"], length: int, hop: int) -> Bool[Tensor, "node time"]:
    """Frames at which a window begins: every ``hop`` frames from the beginning of each unbroken stretch, where it fits."""
    frames = mask.shape[1]
    at = torch.arange(frames).expand_as(mask)
    since = torch.where(mask, -1, at).cummax(1).values  # the last frame that was not seen
    ahead = torch.where(mask, frames, at).flip(1).cummin(1).values.flip(1)  # the next that will not be
    return mask & (ahead - at >= length) & ((at - since - 1) % hop == 0)


def _cut(recording: Trajectories, node: Int[Tensor, "window"], start: Int[Tensor, "window"], rule: VehicleRule) -> Trajectories:
    member, window = _members(recording, node, start + rule.given - 1, rule)
    frame = start[window][:, None] + torch.arange(rule.given + rule.predicted)
    origin = recording.scene[node]
    time = recording.time[origin[:, None], start[:, None] + torch.arange(rule.given + rule.predicted)]
    focal = torch.ones_like(window, dtype=torch.bool)
    focal[1:] = window.diff() != 0
    run = recording.context["run"][origin]
    number = _agents(recording)
    pick = lambda value: value[member[:, None], frame]  # noqa: E731
    context = {**{k: v[origin] for k, v in recording.context.items()}, "run": run, "block": run * 1_000_000 + (time[:, 0] / rule.block).long(),
               "agent": number[node]}
    return recording.replace(
        x=pick(recording.x), time=time, scene=window, mask=pick(recording.mask), kind=recording.kind[member],
        extra={k: pick(v) for k, v in recording.extra.items()},
        static={**{k: v[member] for k, v in recording.static.items()}, "focal": focal, "agent": number[member]}, context=context)


def _agents(recording: Trajectories) -> Int[Tensor, "node"]:
    """Number of the agent of each node, over all recordings; the pieces of a track that was cut share it."""
    ident = recording.static.get("id")
    if ident is None:
        return torch.arange(recording.n_nodes)
    pair = torch.stack([recording.context["run"][recording.scene], ident.long()], 1)
    return torch.unique(pair, dim=0, return_inverse=True)[1]


def _members(recording: Trajectories, node: Int[Tensor, "window"], now: Int[Tensor, "window"], rule: VehicleRule
             ) -> tuple[Int[Tensor, "member"], Int[Tensor, "member"]]:
    """Nodes of each window, the focal agent first and its neighbours by distance, and the window of each."""
    count = len(node)
    if not rule.neighbours:
        return node, torch.arange(count)
    slots = torch.full((count, 1 + rule.neighbours), -1)
    slots[:, 0] = node
    for low in range(0, count, CHUNK):
        own, at = node[low : low + CHUNK], now[low : low + CHUNK]
        far = torch.linalg.norm(recording.x[:, at] - recording.x[own, at], dim=-1).T
        there = recording.mask[:, at].T & (recording.scene == recording.scene[own][:, None])
        there[torch.arange(len(own)), own] = False
        value, which = far.masked_fill(~there, torch.inf).sort(dim=1, stable=True)
        most = min(rule.neighbours, value.shape[1])
        slots[low : low + CHUNK, 1 : 1 + most] = torch.where(value <= rule.radius, which, -1)[:, :most]
    window, slot = (slots >= 0).nonzero(as_tuple=True)
    return slots[window, slot], window


def part_by_vehicle(windows: Trajectories, fractions: Sequence[float] = (0.64, 0.08, 0.28), *, given: int = 11,
                    generator: torch.Generator | None = None) -> tuple[Trajectories, Trajectories, Trajectories]:
    """Training, validation and test windows around disjoint agents.

    Neighbours that belong to another part lose their frames after the given ones, so that no part is fitted to, or judged by, the future of an agent
    of another; their given frames stay, as any vehicle may be seen by any other.

    Args:
        windows: as `vehicle_windows` cuts them around agents.
        fractions: of the agents that have windows, for the three parts.
        given: frames.
        generator: draws which agents are in which part; without it, the agents are dealt out in turn.

    Raises:
        ValueError: the windows are not around agents, the fractions are not three that add up to 1, or a part would be empty.
    """
    if "agent" not in windows.context or "focal" not in windows.static:
        raise ValueError("windows are parted by the agent that they are around, but these are of whole scenes; cut them with around='agent', or "
                         "part them by recordings or time (trajlab.split)")
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions={tuple(fractions)}; three that add up to 1 were wanted")
    agents = torch.unique(windows.context["agent"])
    dealt = _dealt(len(agents)) if generator is None else torch.randperm(len(agents), generator=generator)
    bounds = [0, round(fractions[0] * len(agents)), round((fractions[0] + fractions[1]) * len(agents)), len(agents)]
    parts = []
    for (low, high), fraction, name in zip(pairwise(bounds), fractions, ("train", "validation", "test")):
        if high <= low and fraction > 0:
            raise ValueError(f"{len(agents)} agents are too few for the fractions {tuple(fractions)}: nothing is left for {name}")
        own = agents[dealt[low:high]]
        part = windows.scenes(torch.isin(windows.context["agent"], own).nonzero().flatten())
        mask = part.mask.clone()
        mask[~torch.isin(part.static["agent"], own), given:] = False
        parts.append(part.replace(mask=mask, source={**windows.source, "part": name}))
    return parts[0], parts[1], parts[2]


def _dealt(count: int) -> Int[Tensor, "count"]:
    """An order whose every beginning is spread over the whole: by the fractional parts of multiples of the golden ratio (Weyl)."""
    return torch.argsort((torch.arange(count, dtype=torch.float64) * 0.6180339887498949) % 1.0)


def share_of(windows: Trajectories, share: float, *, by: str = "window", generator: torch.Generator | None = None) -> Trajectories:
    """A share of the training windows; smaller shares are within larger ones where the generator starts from the same seed.

    Args:
        windows: to choose from.
        share: above 0, at most 1.
        by: ``"window"``: single windows at random. ``"agent"``: all windows of some agents, as if fewer had been recorded.
        generator: draws them; without it, they are spread evenly.

    Raises:
        ValueError: the share is out of range, ``by`` is unknown, or the windows are not around agents.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share:g}; above 0 and at most 1 was wanted (0.01 for 1 %)")
    if by not in ("window", "agent"):
        raise ValueError(unknown("by", by, ("window", "agent")))
    if by == "agent" and "agent" not in windows.context:
        raise ValueError("these windows are not around agents; choose by='window', or cut them with around='agent'")
    owner = torch.arange(windows.n_scenes) if by == "window" else torch.unique(windows.context["agent"], return_inverse=True)[1]
    count = int(owner.max()) + 1
    order = _dealt(count) if generator is None else torch.randperm(count, generator=generator)
    kept = torch.isin(owner, order[: max(1, round(share * count))])
    return windows.scenes(kept.nonzero().flatten()).replace(source={**windows.source, "share": f"{share:g} of the windows by {by}"})
