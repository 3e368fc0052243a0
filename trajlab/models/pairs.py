"""Training pairs: what TrajCast is shown. One sample is a frame of a scene and the frame a stride later."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trajlab.data.fields import checksum
from trajlab.data.graphs import neighbours
from trajlab.dynamics.particles import Particles
from trajlab.nets.neighbourhood import Slots
from trajlab.types import Trajectories

SKIN = 0.6  #: Angstrom beyond the cutoff within which neighbours are kept, so that they serve until an atom has moved half of it


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Some samples: the state before, its slots, and the truth after. ``stride`` and ``which`` (index of the stride) are a scene each.

    ``then`` is the truth a second stride later, displacement from the start and velocity, where it is asked for.
    """

    before: Particles
    slots: Slots
    displacement: Tensor
    velocity: Tensor
    stride: Tensor
    which: Tensor
    then: tuple[Tensor, Tensor] | None = None


class Pairs:
    """Samples from trajectories, their neighbour slots found once.

    Sample ``k < n`` is a scene at its first frame; with ``reversed_too``, sample ``n + k`` is the same pair run backwards: from the
    second frame with velocities turned round. With several target frames each scene gives one sample a frame.

    Args:
        trajectories: scenes of at least two frames in MD units.
        frames: which later frames are targets of frame 0, e.g. ``(1,)``.
        cutoff: of the graph, Angstrom.
        reversed_too: whether each pair is also shown reversed in time.
        then: the frame two strides after frame 0, for a loss over two steps; only with a single target frame.
    """

    def __init__(self, trajectories: Trajectories, frames: tuple[int, ...], cutoff: float, reversed_too: bool = False, then: int | None = None,
                 device: torch.device | str = "cpu") -> None:
        self.frames, self.cutoff, self.then = frames, cutoff, then
        self.fingerprint = checksum(trajectories)  # a run is resumed on the same data only
        data = trajectories.to(device=device)
        self.ptr, self.sizes = data.ptr, data.sizes
        self.states = [Particles.of(data, frame) for frame in range(data.n_frames)]
        self.time = data.time
        # (start, target, what follows) of each kind of sample; a pair of the opposite order is a reversed one
        self.kinds = [(0, frame, then) for frame in frames]
        if reversed_too:
            self.kinds += [(frame, 0, None) if then is None else (then, frame, 0) for frame in frames]
        self.slots = {start: self._slots(start) for start in {kind[0] for kind in self.kinds}}

    def _slots(self, frame: int) -> Slots:
        p = self.states[frame]
        reach = self.cutoff if self.then is None else self.cutoff + SKIN  # a second step starts where the first one ends
        slots = Slots.of(neighbours(p.x, p.scene, p.n_scenes, reach, p.cell, p.pbc))
        local = slots.sender - self.ptr[p.scene][:, None]
        return Slots(torch.where(slots.mask > 0, local, torch.zeros_like(local)), slots.mask, slots.shift)

    def __len__(self) -> int:
        return len(self.kinds) * len(self.sizes)

    def batch(self, indices: Tensor) -> PairBatch:
        """The samples with these numbers. All of one kind are taken together, so the samples of a batch come sorted by kind."""
        scenes = len(self.sizes)
        kind, scene = indices // scenes, indices % scenes
        parts = [self._part(number, scene[kind == number]) for number in torch.unique(kind).tolist()]
        return parts[0] if len(parts) == 1 else _join(parts)

    def _part(self, number: int, chosen: Tensor) -> PairBatch:
        one, two, three = self.kinds[number]
        size, first = self.sizes[chosen], self.ptr[chosen]
        scene = torch.repeat_interleave(torch.arange(len(chosen), device=size.device), size)
        start = (size.cumsum(0) - size)[scene]
        node = torch.arange(len(scene), device=size.device) - start + first[scene]
        here, there = self.states[one], self.states[two]
        sign = -1.0 if two < one else 1.0
        before = Particles(
            here.x[node], here.v[node] * sign, here.mass[node], here.kind[node], scene, len(chosen),
            None if here.cell is None else here.cell[chosen], None if here.pbc is None else here.pbc[chosen],
        )
        stored = self.slots[one]
        slots = Slots(stored.sender[node] + start[:, None], stored.mask[node], None if stored.shift is None else stored.shift[node])
        stride = (self.time[chosen, two] - self.time[chosen, one]).abs().to(before.x.dtype)
        which = torch.full((len(chosen),), self.frames.index(max(one, two)) if three is None else 0, device=size.device)
        later = None if three is None else self.states[three]
        then = None if later is None else (later.x[node] - here.x[node], later.v[node] * sign)
        return PairBatch(before, slots, there.x[node] - here.x[node], there.v[node] * sign, stride, which, then)

    @property
    def forward_samples(self) -> Tensor:
        """Numbers of the samples that run forwards in time."""
        scenes = len(self.sizes)
        return torch.cat([torch.arange(k * scenes, (k + 1) * scenes) for k, kind in enumerate(self.kinds) if kind[1] > kind[0]])


def _join(parts: list[PairBatch]) -> PairBatch:
    """Batches one after another; slots are widened to the widest."""
    width = max(part.slots.sender.shape[1] for part in parts)
    nodes = scenes = 0
    senders, masks, shifts, indices = [], [], [], []
    for part in parts:
        grow = (0, width - part.slots.sender.shape[1])
        senders.append(torch.nn.functional.pad(part.slots.sender, grow) + nodes)
        masks.append(torch.nn.functional.pad(part.slots.mask, grow))
        if part.slots.shift is not None:
            shifts.append(torch.nn.functional.pad(part.slots.shift, (0, 0, *grow)))
        indices.append(part.before.scene + scenes)
        nodes, scenes = nodes + len(part.before.x), scenes + part.before.n_scenes
    states = [part.before for part in parts]
    stack = lambda name: torch.cat([getattr(state, name) for state in states])  # noqa: E731
    before = Particles(
        stack("x"), stack("v"), stack("mass"), stack("kind"), torch.cat(indices), scenes,
        None if states[0].cell is None else stack("cell"), None if states[0].pbc is None else stack("pbc"),
    )
    slots = Slots(torch.cat(senders), torch.cat(masks), torch.cat(shifts) if shifts else None)
    flat = [torch.cat([getattr(part, name) for part in parts]) for name in ("displacement", "velocity", "stride", "which")]
    then = None
    if all(part.then is not None for part in parts):
        then = tuple(torch.cat([part.then[k] for part in parts if part.then is not None]) for k in (0, 1))
    return PairBatch(before, slots, *flat, then)  # type: ignore[arg-type]
