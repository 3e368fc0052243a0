"""A diffusion transformer for trajectories without built-in symmetry (after Peebles and Xie 2023): the baseline of the equivariant nets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from trajlab.nets.windows import anchors, check, linked, presence, sinusoid

__all__ = ["DiffusionTransformer", "TransformerSettings"]


@dataclass(frozen=True)
class TransformerSettings:
    """Sizes.

    Attributes:
        width, layers, heads: of the transformer.
        tokens: ``node``: a node with its whole window is a token; ``frame``: every frame of every node is, attended to over its node's frames
            and over its frame's nodes in turn (dearer by the number of frames).
        clock_scale: the clock is multiplied by it before its sinusoid, whose fastest sine is sin(clock).

    Raises:
        ValueError: sizes below 1, a width that the heads do not divide, or other tokens.
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    tokens: str = "node"
    clock_scale: float = 10.0

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads) < 1 or self.width % self.heads:
            raise ValueError(f"TransformerSettings(width={self.width}, layers={self.layers}, heads={self.heads}): "
                             "all must be at least 1, and width a multiple of heads")
        if self.tokens not in ("node", "frame"):
            raise ValueError(f"tokens={self.tokens!r}; 'node' or 'frame' was wanted")


class Attention(nn.Module):
    """Self-attention over the last axis but one of ``[... token width]``, with a bias ``[... head token token]`` of the logits."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in self.inward(x).chunk(3, -1))
        return self.outward(scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(-2, -3).flatten(-2))


class Modulated(nn.Module):
    """x + g (f(LayerNorm(x) (1 + a) + b)) with a, b, g from the level, 0 at the start (adaLN-zero)."""

    def __init__(self, inside: nn.Module, width: int) -> None:
        super().__init__()
        self.inside = inside
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.told = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, x: Tensor, level: Tensor, *bias: Tensor | None) -> Tensor:
        scale, shift, gate = self.told(level).reshape(len(x), *[1] * (x.ndim - 2), -1).chunk(3, -1)
        return x + gate * self.inside(self.norm(x) * (1 + scale) + shift, *bias)


class Block(nn.Module):
    """Attention over nodes, over frames where frames are tokens, and a perceptron."""

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        width = settings.width
        self.nodes = Modulated(Attention(width, settings.heads), width)
        self.frames = Modulated(Attention(width, settings.heads), width) if settings.tokens == "frame" else None
        self.each = Modulated(nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)), width)

    def forward(self, x: Tensor, level: Tensor, between: Tensor, along: Tensor | None) -> Tensor:
        if self.frames is None:
            return self.each(self.nodes(x, level, between), level)
        x = self.frames(x, level, along)  # [batch node frame width]
        x = self.nodes(x.transpose(1, 2), level, between).transpose(1, 2)
        return self.each(x, level)


class DiffusionTransformer(nn.Module):
    """Transformer on windows of trajectories: permutes with its nodes and is blind to a common shift, but must learn rotations from data.

    Coordinates are taken relative to the scene's mean anchor (an anchor is a node's last seen given position), pair features bias the
    logits between nodes, the noise level modulates every layer norm.

    Args:
        given, future: numbers of frames.
        node, pair: numbers of node and pair features.
        dim: of the positions.
        settings: sizes.

    Raises:
        ValueError: no future frame, or negative sizes.
    """

    def __init__(self, given: int, future: int, node: int, pair: int, dim: int = 3, settings: TransformerSettings | None = None) -> None:
        super().__init__()
        if min(given, node, pair) < 0 or min(future, dim) < 1:
            raise ValueError(f"DiffusionTransformer(given={given}, future={future}, node={node}, pair={pair}, dim={dim}): future and dim must be "
                             "at least 1, the others at least 0")
        self.settings = settings = settings or TransformerSettings()
        self.sizes, self.dim, width = (given, future, node, pair), dim, settings.width
        frames = given + future
        each = frames if settings.tokens == "node" else 1
        self.embed = nn.Linear(each * (dim + 1) + dim + node, width)
        self.frame = nn.Parameter(torch.randn(frames, width) * 0.02) if settings.tokens == "frame" else None
        self.level = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.bias = nn.Linear(pair, settings.heads, bias=False) if pair else None
        self.blocks = nn.ModuleList([Block(settings) for _ in range(settings.layers)])
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, (future if settings.tokens == "node" else 1) * dim)

    def _tokens(self, x: Tensor, mask: Tensor, node: Tensor, anchor: Tensor) -> Tensor:
        """``[batch node width]`` or ``[batch node frame width]`` from positions relative to the anchors, what is seen, and the anchors."""
        rows = torch.cat([x, mask[..., None].to(x.dtype)], -1)
        fixed = torch.cat([anchor, node], -1)
        if self.frame is None:
            return self.embed(torch.cat([rows.flatten(2), fixed], -1))
        return self.embed(torch.cat([rows, fixed[:, :, None].expand(-1, -1, x.shape[2], -1)], -1)) + self.frame

    def _between(self, pair: Tensor, mask: Tensor | None, adjacent: Tensor | None) -> Tensor:
        """Bias of the logits between nodes ``[batch (1) head node node]``; a node always attends to itself."""
        batch, nodes = pair.shape[:2]
        bias = pair.new_zeros(batch, 1, nodes, nodes) if self.bias is None else self.bias(pair).permute(0, 3, 1, 2)
        links = linked(presence(mask), adjacent)
        if links is not None:
            shut = ~(links | torch.eye(nodes, dtype=torch.bool, device=pair.device))
            bias = bias.masked_fill(shut[:, None], torch.finfo(pair.dtype).min)
        return bias if self.frame is None else bias[:, None]

    def _along(self, mask: Tensor | None, like: Tensor) -> Tensor | None:
        """Bias of the logits between the frames of a node ``[batch node 1 1 frame]``: hidden frames are not attended to."""
        if mask is None:
            return None
        return like.new_zeros(mask.shape).masked_fill(~mask, torch.finfo(like.dtype).min)[:, :, None, None]

    def forward(
        self, given: Float[Tensor, "batch node past dim"], future: Float[Tensor, "batch node time dim"], clock: Float[Tensor, "_"],
        node: Float[Tensor, "_ _ a"], pair: Float[Tensor, "_ _ _ b"], mask: Bool[Tensor, "_ _ _"] | None = None,
        adjacent: Bool[Tensor, "_ _ _"] | None = None,
    ) -> Float[Tensor, "batch node time dim"]:
        """A field at the future frames; arguments as those of `FrameChannels`.

        Raises:
            ValueError: shapes that do not fit each other or the net.
        """
        check("DiffusionTransformer", given, future, clock, node, pair, mask, adjacent, self.sizes)
        if future.shape[-1] != self.dim:
            raise ValueError(f"DiffusionTransformer was built for positions of dimension {self.dim}, and {future.shape[-1]} came; build it with dim=")
        if mask is not None:
            given, future = (torch.where(m[..., None], x, 0.0) for m, x in zip(mask.split(self.sizes[:2], 2), (given, future), strict=True))
        seen = torch.ones(*future.shape[:2], sum(self.sizes[:2]), dtype=torch.bool, device=future.device) if mask is None else mask
        anchor, there = anchors(given, future, mask), seen.any(-1)[..., None].to(future.dtype)
        x = (torch.cat([given, future], 2) - anchor) * seen[..., None]
        stand = anchor[:, :, 0]
        stand = (stand - (stand * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)) * there
        tokens, level = self._tokens(x, seen, node, stand), self.level(sinusoid(clock * self.settings.clock_scale))
        between, along = self._between(pair, mask, adjacent), self._along(mask, x)
        for block in self.blocks:
            tokens = block(tokens, level, between, along)
        out = self.out(self.norm(tokens if self.frame is None else tokens[:, :, self.sizes[0]:])).reshape(future.shape)
        return out if mask is None else out * mask[:, :, self.sizes[0]:, None]
