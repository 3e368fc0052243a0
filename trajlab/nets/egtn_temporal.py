"""The temporal layer of EGTN: equivariant attention of a node over its own frames, with relative times (Han et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from trajlab.nets.egtn_spatial import mlp2
from trajlab.nets.windows import sinusoid

__all__ = ["Clockwork", "TemporalLayer", "clockwork"]

TIMES = 32


@dataclass(frozen=True)
class Clockwork:
    """Sines and cosines of the times of the frames, and which frames are seen.

    Attributes:
        sine, cosine: ``[frame 16]``, or ``[row frame 16]`` where scenes have their own times.
        hidden: ``[row 1 frame]``, True where a frame is hidden; None if none is.
    """

    sine: Tensor
    cosine: Tensor
    hidden: Tensor | None

    def against(self, p: Tensor) -> Tensor:
        """c with c . [sin s, cos s] = p . [sin(t - s), cos(t - s)], for p of every time t."""
        sine, cosine = p.chunk(2, -1)
        return torch.cat([cosine * self.sine - sine * self.cosine, sine * self.sine + cosine * self.cosine], -1)

    def since(self, mean: Tensor) -> Tensor:
        """sum_s a_ts [sin(t - s), cos(t - s)] from ``mean`` = sum_s a_ts [sin s, cos s]."""
        sine, cosine = mean.chunk(2, -1)
        return torch.cat([self.sine * cosine - self.cosine * sine, self.cosine * cosine + self.sine * sine], -1)


def clockwork(time: Float[Tensor, "*row frame"], seen: Float[Tensor, "row frame 1"] | None) -> Clockwork:
    """Of frames at these times, in units of which neighbouring frames are about 1 apart."""
    sine, cosine = sinusoid(time, TIMES).chunk(2, -1)
    return Clockwork(sine, cosine, None if seen is None else (seen == 0).transpose(1, 2))


class TemporalLayer(nn.Module):
    r"""Attention of every node over all its frames, both ways in time:

        q, k, v = MLP2(h),   R(t-s) = Linear(sinusoid_32(t-s)),   a_ts = softmax_s q_t . (k_s + R(t-s))
        h_t <- h_t + sum_s a_ts (v_s + R(t-s)),   x_t <- x_t + sum_s a_ts MLP2(v_s) (x_t - x_s)

    One head, no 1/sqrt(width). As sin(t-s) and cos(t-s) are products of those of t and of s, R costs 32 more columns in the two products of
    attention, and nothing of the size frame x frame x width is built; the constant of R drops out of the softmax.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(width, 3 * width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.move = mlp2(width, width, 1)
        self.relative = nn.Linear(TIMES, width)

    def forward(
        self, h: Float[Tensor, "row frame width"], x: Float[Tensor, "row frame dim"], clock: Clockwork
    ) -> tuple[Float[Tensor, "row frame width"], Float[Tensor, "row frame dim"]]:
        """New scalars and positions."""
        one, two, three = silu(self.first(h)).split(self.width, -1)
        q, k, v = self.query(one), self.key(two), self.value(three)
        push = self.move(v)
        wave = torch.cat([clock.sine, clock.cosine], -1).expand(len(h), -1, -1)
        logits = torch.cat([q, clock.against(q @ self.relative.weight)], -1) @ torch.cat([k, wave], -1).transpose(1, 2)
        if clock.hidden is not None:
            logits = logits.masked_fill(clock.hidden, torch.finfo(logits.dtype).min)
        carried = logits.softmax(-1) @ torch.cat([v, wave, push, push * x], -1)
        value, mean, pushed, pulled = carried.split([self.width, TIMES, 1, x.shape[-1]], -1)
        moved = linear(clock.since(mean), self.relative.weight, self.relative.bias)
        return h + value + moved, x + pushed * x - pulled
