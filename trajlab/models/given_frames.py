"""The given frames of a window with nothing hidden left in them: what is missing is filled from the node's own seen frames."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.data.dense import Dense

__all__ = ["filled", "scene_mean", "seen_nodes"]


def seen_nodes(block: Dense, given: int) -> Bool[Tensor, "scene node"]:
    """Nodes that were seen in at least one of the given frames."""
    return block.mask[:, :, :given].any(2) & block.there


def scene_mean(x: Float[Tensor, "scene node ..."], there: Bool[Tensor, "scene node"]) -> Float[Tensor, "scene 1 ..."]:
    """Mean over the nodes that are there; 0 where there is none."""
    weight = there.reshape(*there.shape, *[1] * (x.ndim - 2)).to(x.dtype)
    return (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)


def filled(block: Dense, given: int) -> Float[Tensor, "scene node past dim"]:
    """Positions at the first ``given`` frames, hidden ones filled in.

    Between two seen frames of a node its hidden ones are interpolated linearly in time; before its first and after its last they are
    extrapolated linearly from the nearest two seen frames; a node that was seen once stands still. A node that was never seen is put at the
    mean of the seen nodes of its scene (at 0 where there are none). Padding is 0. Every filled position is an affine combination of seen ones,
    so it turns, reflects and shifts with them.

    Raises:
        ValueError: the block has fewer than ``given`` frames.
    """
    if not 1 <= given <= block.x.shape[2]:
        raise ValueError(f"{given} given frames were wanted, but the block has {block.x.shape[2]}; give at least 1 and at most these")
    x, seen = block.x[:, :, :given], block.mask[:, :, :given]
    if bool((seen | ~block.there[..., None]).all()):
        return x
    first, second = _supports(seen)
    at = block.time[:, None, :given].expand(seen.shape)
    start, end = at.gather(2, first), at.gather(2, second)
    share = torch.where(second > first, (at - start) / torch.where(second > first, end - start, 1.0), 0.0).to(x.dtype)[..., None]
    from_, to = _take(x, first), _take(x, second)
    out = torch.where(seen[..., None], x, from_ + (to - from_) * share)
    known = seen.any(2) & block.there
    out = torch.where(known[..., None, None], out, scene_mean(out, known))
    return out * block.there[..., None, None]


def _take(x: Tensor, frame: Tensor) -> Tensor:
    return x.gather(2, frame[..., None].expand(*frame.shape, x.shape[-1]))


def _supports(seen: Bool[Tensor, "scene node past"]) -> tuple[Int[Tensor, "scene node past"], Int[Tensor, "scene node past"]]:
    """For every frame the two seen frames it is filled from, the earlier first; the same twice where only one was seen."""
    frames = seen.shape[2]
    number = torch.arange(frames, device=seen.device).expand(seen.shape)
    before = torch.where(seen, number, -1).cummax(2).values  # the last seen frame up to here, -1: none
    after = torch.where(seen, number, frames).flip(2).cummin(2).values.flip(2)  # the first seen frame from here, frames: none
    none_before = torch.full_like(before[..., :1], -1)
    none_after = torch.full_like(after[..., :1], frames)
    earlier = torch.cat([none_before, before], 2).gather(2, before.clamp(min=0))  # the seen frame before that
    later = torch.cat([after, none_after], 2).gather(2, (after + 1).clamp(max=frames))
    low = torch.where(before >= 0, before, after)
    high = torch.where(before >= 0, after, later)
    late = after >= frames  # nothing seen from here on: extrapolate from the last two
    low, high = torch.where(late, torch.where(earlier >= 0, earlier, before), low), torch.where(late, before, high)
    high = torch.where(high >= frames, low, high)
    return low.clamp(0, frames - 1), high.clamp(0, frames - 1)
