"""Scenes of any size side by side, and the order in which they are visited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from trajlab.types import Trajectories

__all__ = ["BatchOrder", "concat"]


@dataclass(frozen=True)
class BatchOrder:
    """Which scenes make up the batch of each step: every scene once an epoch, in an order that follows from the seed and the epoch alone.

    Nothing is kept between steps, so that a run resumed at any step sees the same batches as one that was never stopped.

    Attributes:
        n_scenes: scenes in the data set.
        batch_size: scenes a batch; the last batch of an epoch may be smaller.
        seed: of the shuffling.
        shuffle: False visits the scenes in their own order.

    Raises:
        ValueError: there are no scenes, or the batch size is below 1.
    """

    n_scenes: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True

    def __post_init__(self) -> None:
        if self.n_scenes < 1 or self.batch_size < 1:
            raise ValueError(f"{self.n_scenes} scenes in batches of {self.batch_size}; at least 1 of each was wanted")

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.n_scenes // self.batch_size)

    def __getitem__(self, step: int) -> Int[Tensor, "batch"]:
        """The scenes of one step, counted from 0 over all epochs."""
        if step < 0:
            raise IndexError(f"step {step}; steps are counted from 0")
        epoch, at = divmod(step, self.steps_per_epoch)
        return self.epoch(epoch)[at * self.batch_size : (at + 1) * self.batch_size]

    def epoch(self, epoch: int) -> Int[Tensor, "scene"]:
        """The order of all scenes in one epoch."""
        if not self.shuffle:
            return torch.arange(self.n_scenes)
        mixed = (self.seed * 0x9E3779B97F4A7C15 + epoch * 0xD1B54A32D192ED03) % (1 << 63)  # neighbouring seeds and epochs lie far apart
        return torch.randperm(self.n_scenes, generator=torch.Generator().manual_seed(mixed))


def concat(parts: Iterable[Trajectories], *, pad: bool = False) -> Trajectories:
    """The scenes of all parts, one after another. Open and periodic scenes mix; provenance is that of the first part.

    Args:
        parts: at least one.
        pad: parts of fewer frames are filled up with unobserved ones, their clocks running on.

    Raises:
        ValueError: no parts, or they differ in dimension, units, named fields, or (without ``pad``) in frames.
    """
    parts = list(parts)
    if not parts:
        raise ValueError("there is nothing to concatenate")
    first = parts[0]
    for k, part in enumerate(parts):
        _alike(first, part, k)
    frames = max(p.n_frames for p in parts)
    if not pad and any(p.n_frames != frames for p in parts):
        raise ValueError(f"the parts have {[p.n_frames for p in parts]} frames; cut them to one length, or pass pad=True to mask the missing ones")
    parts = [_padded(p, frames) for p in parts]
    offsets = [0, *torch.tensor([p.n_scenes for p in parts]).cumsum(0).tolist()]
    periodic = any(p.cell is not None for p in parts)
    cat = lambda values: torch.cat(list(values))  # noqa: E731
    named = lambda field: {k: cat(getattr(p, field)[k] for p in parts) for k in getattr(first, field)}  # noqa: E731
    return first.replace(
        x=cat(p.x for p in parts), time=cat(p.time for p in parts), scene=cat(p.scene + o for p, o in zip(parts, offsets, strict=False)),
        mask=cat(p.mask for p in parts), kind=cat(p.kind for p in parts), extra=named("extra"), static=named("static"), context=named("context"),
        cell=cat(_box(p)[0] for p in parts) if periodic else None, pbc=cat(_box(p)[1] for p in parts) if periodic else None,
    )


def _alike(first: Trajectories, part: Trajectories, index: int) -> None:
    checks: Sequence[tuple[str, Any, Any]] = (
        ("dimension", first.dim, part.dim), ("units", first.units, part.units), ("extra", sorted(first.extra), sorted(part.extra)),
        ("static", sorted(first.static), sorted(part.static)), ("context", sorted(first.context), sorted(part.context)),
    )
    for name, wanted, got in checks:
        if wanted != got:
            raise ValueError(f"part {index} has {name} {got}, the first part {wanted}; only like trajectories can be put side by side")


def _box(part: Trajectories) -> tuple[Tensor, Tensor]:
    if part.cell is not None and part.pbc is not None:
        return part.cell, part.pbc
    cell = torch.eye(3, dtype=part.x.dtype, device=part.x.device).expand(part.n_scenes, 3, 3)
    return cell, torch.zeros(part.n_scenes, 3, dtype=torch.bool, device=part.x.device)


def _padded(part: Trajectories, frames: int) -> Trajectories:
    more = frames - part.n_frames
    if not more:
        return part
    fill = lambda value: torch.cat([value, value.new_zeros(len(value), more, *value.shape[2:])], 1)  # noqa: E731
    step = part.time[:, -1:] - part.time[:, -2:-1] if part.n_frames > 1 else torch.ones_like(part.time[:, :1])
    later = part.time[:, -1:] + step * torch.arange(1, more + 1, device=part.time.device)
    extra = {k: fill(v) for k, v in part.extra.items()}
    return part.replace(x=fill(part.x), time=torch.cat([part.time, later], 1), mask=fill(part.mask), extra=extra)
