"""What the nets for windows of trajectories share: the check of a call, who is there, and what a level is told as."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["anchors", "check", "linked", "presence", "sinusoid"]


def check(net: str, given: Tensor, future: Tensor, clock: Tensor, node: Tensor, pair: Tensor, mask: Tensor | None, adjacent: Tensor | None,
          sizes: tuple[int | None, int | None, int, int]) -> None:
    """Whether a call fits a net whose ``sizes`` are given and future frames (None: any number), node features and pair features.

    Raises:
        ValueError: a shape that does not, with what came and what was wanted.
    """
    if future.ndim != 4 or given.ndim != 4:
        raise ValueError(f"{net}: given has shape {tuple(given.shape)} and future {tuple(future.shape)}; [batch node time dim] was wanted")
    batch, nodes, _, dim = future.shape
    frames = [(size, came) for size, came in zip(sizes[:2], (given.shape[2], future.shape[2]), strict=True)]
    if any(size is not None and size != came for size, came in frames):
        raise ValueError(f"{net} was built for {sizes[0]} given and {sizes[1]} future frames; {given.shape[2]} and {future.shape[2]} came. "
                         "Cut the window, hide frames with mask, or build the net for these numbers")
    wanted = {"given": (batch, nodes, given.shape[2], dim), "clock": (batch,), "node": (batch, nodes, sizes[2]),
              "pair": (batch, nodes, nodes, sizes[3]), "mask": (batch, nodes, given.shape[2] + future.shape[2]), "adjacent": (batch, nodes, nodes)}
    for name, value in {"given": given, "clock": clock, "node": node, "pair": pair, "mask": mask, "adjacent": adjacent}.items():
        if value is not None and tuple(value.shape) != wanted[name]:
            raise ValueError(f"{net}: {name} has shape {tuple(value.shape)}; {wanted[name]} was wanted, for a future of {tuple(future.shape)}")


def presence(mask: Bool[Tensor, "batch node time"] | None) -> Bool[Tensor, "batch node"] | None:
    """The nodes that are seen at some frame; None where nothing is hidden."""
    return None if mask is None else mask.any(-1)


def linked(there: Bool[Tensor, "batch node"] | None, adjacent: Bool[Tensor, "batch node node"] | None) -> Bool[Tensor, "batch node node"] | None:
    """True at [i, j] where j talks to i: adjacent, both there and not the same; None where all talk to all."""
    if there is None and adjacent is None:
        return None
    one: Tensor = there if there is not None else adjacent.any(-1)  # type: ignore[union-attr]  # one of the two is there
    apart = ~torch.eye(one.shape[1], dtype=torch.bool, device=one.device)
    both = apart.expand(len(one), -1, -1) if there is None else there[:, :, None] & there[:, None] & apart
    return both if adjacent is None else both & adjacent


def anchors(
    given: Float[Tensor, "batch node past dim"], future: Float[Tensor, "batch node time dim"], mask: Bool[Tensor, "batch node frame"] | None
) -> Float[Tensor, "batch node 1 dim"]:
    """Where a node stands: its last seen given frame; without one, the mean of its seen future frames."""
    frames = given.shape[2]
    if mask is None:
        return given[:, :, -1:] if frames else future.mean(2, keepdim=True)
    past, ahead = mask[:, :, :frames], mask[:, :, frames:, None].to(future.dtype)
    mean = (future * ahead).sum(2, keepdim=True) / ahead.sum(2, keepdim=True).clamp(min=1)
    if not frames:
        return mean
    order = torch.arange(1, frames + 1, device=mask.device)
    last = (past * order).amax(-1)
    picked = given.gather(2, (last - 1).clamp(min=0)[..., None, None].expand(-1, -1, 1, given.shape[-1]))
    return torch.where(last[..., None, None] > 0, picked, mean)


def sinusoid(value: Float[Tensor, "..."], size: int = 32, top: float = 10000.0) -> Float[Tensor, "... size"]:
    """sin and cos of value w_k, w_k = top^(-k/(n-1)), k = 0..n-1, n = size/2; all sines first (Vaswani et al. 2017)."""
    half = size // 2
    rate = top ** (-torch.arange(half, device=value.device, dtype=torch.float64) / (half - 1))
    angle = value[..., None] * rate.to(value.dtype)
    return torch.cat([angle.sin(), angle.cos()], -1)
