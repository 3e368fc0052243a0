"""Headings of paths, errors along and across them, and values at whole seconds."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.types import Trajectories

__all__ = ["along_across", "at_horizons", "headings", "horizons", "path_headings"]

MOVED = 0.02  #: m; a step shorter than this has no direction


def path_headings(
    path: Float[Tensor, "*batch time 2"], start: Float[Tensor, "*_batch 2"], heading: Float[Tensor, "*_batch"] | float = 0.0, moved: float = MOVED,
) -> Float[Tensor, "*batch time"]:
    """Direction of the step into each frame, rad counter-clockwise from x; a step shorter than ``moved`` keeps the direction before it.

    Args:
        path: positions.
        start: the position before the first.
        heading: the direction before the first.
        moved: in the unit of length.
    """
    step = torch.cat((start.unsqueeze(-2), path), -2).diff(dim=-2)
    angle = torch.atan2(step[..., 1], step[..., 0])
    angle = torch.cat((torch.as_tensor(heading, dtype=angle.dtype, device=angle.device).expand(angle.shape[:-1]).unsqueeze(-1), angle), -1)
    frames = torch.arange(angle.shape[-1], device=angle.device)
    moving = torch.nn.functional.pad(step.norm(dim=-1) >= moved, (1, 0), value=True)
    return angle.gather(-1, torch.where(moving, frames, 0).cummax(-1).values)[..., 1:]


def headings(truth: Trajectories, start: Float[Tensor, "node 2"] | None = None) -> Float[Tensor, "node time"]:
    """The recorded headings, or those of the steps between frames that were seen; 0 until an agent has moved, rad.

    Args:
        truth: in the plane.
        start: the position before the first frame; without it the first frame takes the direction of the second.

    Raises:
        ValueError: positions that have not two dimensions.
    """
    if truth.dim != 2:
        raise ValueError(f"positions have {truth.dim} dimensions, and directions in the plane were wanted; take two of them")
    if "heading" in truth.extra:
        return truth.extra["heading"].double()
    x = truth.x.double()
    frames = torch.arange(truth.n_frames, device=x.device)
    last = torch.where(truth.mask, frames, -1).cummax(-1).values  # hidden positions repeat the last seen one: no step, so no direction
    first = torch.where(truth.mask, frames, truth.n_frames).amin(-1).clamp(max=truth.n_frames - 1)
    index = torch.where(last < 0, first[:, None], last)
    x = torch.where(truth.mask.any(-1)[:, None, None], x.gather(1, index[..., None].expand_as(x)), 0.0)
    if start is not None:
        return path_headings(x, start.double())
    angle = path_headings(x, x[:, 0])
    moved = (x.diff(dim=1).norm(dim=-1) >= MOVED).to(torch.long)
    if not moved.shape[1]:
        return angle
    begins = moved.argmax(1) + 1  # frames before the first step look where it goes
    ahead = angle.gather(1, begins[:, None])
    return torch.where((frames < begins[:, None]) & moved.any(1, keepdim=True), ahead, angle)


def along_across(error: Float[Tensor, "*batch node time 2"], heading: Float[Tensor, "node time"]) -> Float[Tensor, "*batch node time 2"]:
    """Vectors in the frame of a heading: along it (ahead is positive) and across it (left is positive)."""
    c, s = heading.cos(), heading.sin()
    x, y = error.unbind(-1)
    return torch.stack((c * x + s * y, c * y - s * x), -1)


def horizons(ahead: Float[Tensor, "scene time"], step: float = 1.0) -> Float[Tensor, "horizon"]:
    """The multiples of ``step``, rounded up to whole frames, to the end of the shortest forecast; its end alone where that is before the first.

    Args:
        ahead: time of each frame since the last given one.
        step: in the same unit; 1 s of frames every 0.4 s becomes 1.2 s.

    Raises:
        ValueError: the step is not positive.
    """
    if not 0 < step < math.inf:
        raise ValueError(f"step={step}: a positive time between horizons was wanted")
    if not ahead.numel():
        return ahead.new_zeros(0)
    end, frame = float(ahead[:, -1].min()), float(ahead[:, 0].min())
    step = round(frame * math.ceil(step / frame - 1e-6), 6)
    count = int(end / step + 1e-6)
    whole = (step * torch.arange(1, count + 1, dtype=torch.float64, device=ahead.device)).round(decimals=6)
    return whole if count else whole.new_tensor([end])


def at_horizons(
    value: Float[Tensor, "*batch node time"], mask: Bool[Tensor, "node time"], ahead: Float[Tensor, "node time"], horizon: Float[Tensor, "horizon"],
) -> Float[Tensor, "*batch node horizon"]:
    """Values at the frames nearest to the horizons, NaN where that frame was not seen or lies more than half a frame away.

    Args:
        value: of each frame.
        mask: True where it was seen.
        ahead: time of each frame since the last given one, for each node.
        horizon: times ahead.
    """
    off = (ahead[:, None] - horizon[:, None]).abs()  # [node horizon time]
    gap, frame = off.min(-1)
    spacing = ahead.diff(dim=-1).amax(-1) if ahead.shape[1] > 1 else ahead[:, -1]
    there = mask.gather(-1, frame) & (gap <= 0.5 * spacing[:, None] + 1e-6)
    picked = value.gather(-1, frame.expand(*value.shape[:-1], frame.shape[-1]))
    return torch.where(there, picked, math.nan)
