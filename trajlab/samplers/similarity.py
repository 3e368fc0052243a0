"""The stochastic similarity filter of StreamDiffusion (Kodaira et al. 2023), for trajectories: when little is new, skip the net.

Frames are compared by the cosine of what is new in them: their residual against persistence, centred. (The cosine of two windows of a
trajectory with a large mean is 1 whatever happens.) A frame is skipped with probability

    max(0, 1 - (1 - cos) / (1 - threshold)).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.samplers.noise import RowNoise


@dataclass(frozen=True)
class Seen:
    """What the filter remembers of each stream; it is handed back and never changed in place.

    Attributes:
        residual: ``[stream *event]``, of the frame that was processed last.
        skipped: ``[stream]``, frames skipped, by which the cap counts.
    """

    residual: Float[Tensor, "stream *event"]
    skipped: Int[Tensor, " stream"]


@dataclass(frozen=True)
class SimilarityFilter:
    """Settings of the filter.

    Attributes:
        threshold: cosine from which on frames may be skipped.
        cap: most frames skipped in a row; None: no limit.
        as_published: count as the published code does: the count of skips is not reset by a frame that is processed by chance, and cap + 1
            skips are let through. Of frames that are skipped half of the time it skips (cap + 1)/(cap + 2) of that: 0.458 with a cap of 10.

    Raises:
        ValueError: a threshold outside [-1, 1), or a negative cap.
    """

    threshold: float = 0.98
    cap: int | None = 10
    as_published: bool = False

    def __post_init__(self) -> None:
        if not -1 <= self.threshold < 1 or (self.cap is not None and self.cap < 0):
            raise ValueError(f"threshold={self.threshold:g}, cap={self.cap} came; "
                             "-1 <= threshold < 1 and a cap of zero or more (or None) were wanted")

    def probability(self, cosine: Float[Tensor, " stream"]) -> Float[Tensor, " stream"]:
        """With which a frame of this similarity is skipped."""
        return (1 - (1 - cosine) / (1 - self.threshold)).clamp(min=0)

    def __call__(self, residual: Float[Tensor, "stream *event"], seen: Seen | None,
                 generator: torch.Generator | RowNoise) -> tuple[Bool[Tensor, " stream"], Seen]:
        """Which streams must process this frame, and what to hand in with the next. The first frame (seen = None) is processed.

        Args:
            residual: of this frame, by `residual`.
            seen: what the last call returned.
            generator: of the draw; row k depends on its state and on k alone. One `RowNoise` kept for many ticks is quicker.

        Raises:
            ValueError: the residual has another shape than the last, or is not finite.
        """
        if not bool(torch.isfinite(residual).all()):
            row = int((~torch.isfinite(residual)).flatten(1).any(1).nonzero()[0])
            raise ValueError(f"the residual of stream {row} is not finite; impute or mask the frame")
        if seen is None:
            return torch.ones(len(residual), dtype=torch.bool, device=residual.device), Seen(residual.clone(), _zeros(residual))
        if seen.residual.shape != residual.shape:
            raise ValueError(f"a residual of shape {tuple(residual.shape)} came after one of {tuple(seen.residual.shape)}; start anew with seen=None")
        rows = generator if isinstance(generator, RowNoise) else RowNoise(generator)
        uniform = torch.special.ndtr(rows.normal(_zeros(residual).double()))
        similar = uniform < self.probability(cosine(residual, seen.residual).double())
        over = self._over(seen.skipped)
        process = ~similar | over
        spared = seen.skipped if self.as_published else _zeros(residual)
        skipped = torch.where(similar, torch.where(over, 0, seen.skipped + 1), spared)
        wide = process.reshape(-1, *[1] * (residual.ndim - 1))
        return process, Seen(torch.where(wide, residual, seen.residual), skipped)

    def _over(self, skipped: Tensor) -> Tensor:
        if self.cap is None:
            return torch.zeros_like(skipped, dtype=torch.bool)
        return skipped > self.cap if self.as_published else skipped >= self.cap


def residual(window: Float[Tensor, "stream node time dim"], persistence: Float[Tensor, "stream node #time dim"] | None = None,
             mask: Bool[Tensor, "stream node time"] | None = None) -> Float[Tensor, "stream node time dim"]:
    """What is new in a window: its difference from persistence, less its mean over nodes and time. Hidden entries are zero.

    Args:
        window: observed frames.
        persistence: what persistence said of it, ``[stream node time dim]`` or one held frame ``[stream node 1 dim]``; by default, the window's
            own first frame held.
        mask: True = observed. Where a held first frame is hidden, the whole node is left out.

    Returns:
        It turns and reflects with the window, and does not change if all is moved by a constant.
    """
    held = window[:, :, :1] if persistence is None else persistence
    there = torch.ones(window.shape[:3], dtype=torch.bool, device=window.device) if mask is None else mask
    if persistence is None:
        there = there & there[:, :, :1]
    there = there[..., None]
    new = torch.where(there, window - held, 0)
    mean = new.sum((1, 2), keepdim=True) / there.sum((1, 2), keepdim=True).clamp(min=1)
    return torch.where(there, new - mean, 0)


def cosine(left: Float[Tensor, "stream *event"], right: Float[Tensor, "stream *event"]) -> Float[Tensor, " stream"]:
    """Of the angle between two residuals: 1 where both are zero (nothing new, as before), 0 where one is."""
    left, right = left.flatten(1).double(), right.flatten(1).double()
    lengths = left.norm(dim=1) * right.norm(dim=1)
    still = (left == 0).all(1) & (right == 0).all(1)
    return torch.where(lengths > 0, (left * right).sum(1) / lengths.clamp(min=1e-300), still.double())


def _zeros(residual: Tensor) -> Tensor:
    return torch.zeros(len(residual), dtype=torch.long, device=residual.device)
