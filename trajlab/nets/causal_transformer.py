"""A causal transformer with rotary positions and a bounded reach (Vaswani et al. 2017; Su et al. 2021, RoFormer)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from trajlab.nets.sequences import check

__all__ = ["CausalTransformer", "rotary"]

#: Keys and values of the last frames of every layer, and the number of frames so far.
State = tuple[list[tuple[Tensor, Tensor]], int]


def rotary(x: Float[Tensor, "... time size"], first: int, base: float = 1000.0) -> Float[Tensor, "... time size"]:
    """Turn the pairs (x_k, x_{k+n}), n = size/2, by (first + time) base^(-k/n): products of turned vectors depend on their distance in time only.

    Angles are computed in float64, so that far positions are as exact as near ones.
    """
    half = x.shape[-1] // 2
    rate = base ** (-torch.arange(half, dtype=torch.float64, device=x.device) / half)
    angle = torch.arange(first, first + x.shape[-2], dtype=torch.float64, device=x.device)[:, None] * rate
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    one, two = x[..., :half], x[..., half:]
    return torch.cat([one * cos - two * sin, one * sin + two * cos], -1)


def _norm(width: int, there: bool) -> nn.Module:
    return nn.LayerNorm(width) if there else nn.Identity()


class Block(nn.Module):
    """Attention to the last ``reach`` frames, and a perceptron; both after a norm, where there is one, and added to what came in."""

    def __init__(self, width: int, heads: int, reach: int, norm: bool) -> None:
        super().__init__()
        self.heads, self.reach = heads, reach
        self.before, self.between = _norm(width, norm), _norm(width, norm)
        self.ask, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor, kept: tuple[Tensor, Tensor] | None, first: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Features of a piece that begins at frame ``first``; ``kept`` are keys and values ``[batch head time size]`` of frames before it."""
        batch, frames, width = h.shape
        q, k, v = self.ask(self.before(h)).reshape(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = rotary(q, first), rotary(k, first)
        if kept is not None:
            k, v = torch.cat([kept[0], k], 2), torch.cat([kept[1], v], 2)
        seen = None if frames == 1 else self._seen(frames, k.shape[2], h.device)
        told = scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).reshape(batch, frames, width)
        h = h + self.mix(told)
        left = self.reach - 1
        return h + self.perceptron(self.between(h)), (k[:, :, k.shape[2] - min(left, k.shape[2]) :], v[:, :, v.shape[2] - min(left, v.shape[2]) :])

    def _seen(self, frames: int, keys: int, device: torch.device) -> Tensor:
        """True at [i, j] where frame i looks at key j: not later, and less than ``reach`` frames ago."""
        ago = torch.arange(keys - frames, keys, device=device)[:, None] - torch.arange(keys, device=device)
        return (ago >= 0) & (ago < self.reach)


class CausalTransformer(nn.Module):
    """Attention to the last ``reach`` frames in every layer. A sequence may be given at once or in pieces, each with the state of the one before.

    Args:
        inputs: channels in.
        width: features; they come out.
        layers: of attention.
        heads: of each layer; the width of each must be even.
        reach: frames that a layer looks at, the present one among them. What it keeps, and so the cost of a frame, does not grow with time.
        norm: layer norms; without them features are smooth functions of what comes in, which a linear readout can use to many digits.

    Raises:
        ValueError: the width is not an even multiple of the heads, or the reach is below 1.
    """

    def __init__(self, inputs: int, width: int = 64, layers: int = 2, heads: int = 4, reach: int = 64, norm: bool = True) -> None:
        super().__init__()
        if width % (2 * heads) or reach < 1:
            raise ValueError(f"width={width}, heads={heads}, reach={reach}; an even width a head and a reach of at least 1 were wanted")
        self.inputs, self.width = inputs, width
        self.embed, self.last = nn.Linear(inputs, width), _norm(width, norm)
        self.blocks = nn.ModuleList([Block(width, heads, reach, norm) for _ in range(layers)])

    def forward(self, x: Float[Tensor, "batch time inputs"], state: State | None = None) -> tuple[Float[Tensor, "batch time width"], State]:
        """Features of every frame, from it and the ones before, and the state after the last.

        Args:
            x: one piece of the sequences, at least one frame.
            state: what the call on the piece before returned; None at the beginning.

        Raises:
            ValueError: another number of channels, or no frames.
        """
        check("CausalTransformer", x, self.inputs)
        kept, first = state if state is not None else ([None] * len(self.blocks), 0)
        h, keep = self.embed(x), []
        for block, before in zip(self.blocks, kept, strict=True):
            h, after = block(h, before, first)
            keep.append(after)
        return self.last(h), (keep, first + x.shape[1])
