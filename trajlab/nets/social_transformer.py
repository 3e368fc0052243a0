"""Attention over time and among agents in turn, and learned seeds of modes that ask what was found (after AutoBots, Girgis et al. 2022).

Every agent is seen in its own frame. What an agent knows of another is a vector of their relative pose, which shifts the attention and is part of
what is attended to; so nothing depends on where the scene lies or how it is turned, nor on the order of agents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = ["SocialSettings", "SocialTransformer"]


@dataclass(frozen=True)
class SocialSettings:
    """Sizes.

    Attributes:
        width, heads: of the attention.
        encoder, decoder: blocks of each.
        modes: seeds.
        frames: most frames of the past.
        dropout: of attention blocks and perceptrons.

    Raises:
        ValueError: the width is no multiple of the heads.
    """

    width: int = 64
    heads: int = 4
    encoder: int = 2
    decoder: int = 2
    modes: int = 6
    frames: int = 64
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads or min(self.width, self.heads, self.modes, self.frames) < 1 or min(self.encoder, self.decoder) < 0:
            raise ValueError(f"{self}: positive numbers were wanted, and a width that is a multiple of the heads")


class Attention(nn.Module):
    """Multi-head attention ``[*batch query width]`` over ``[*batch key width]``; rows that may look at nothing give zero.

    With ``pair`` a vector of each query and key is projected to a shift of the logits and added to the values.
    """

    def __init__(self, width: int, heads: int, pair: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.ask, self.tell, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.shift = nn.Linear(pair, heads) if pair else None
        self.worth = nn.Linear(pair, width) if pair else None

    def forward(self, query: Tensor, key: Tensor, allowed: Tensor, pair: Tensor | None = None) -> Tensor:
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)  # noqa: E731  # [*batch head item depth]
        q, k, v = split(self.ask(query)), *(split(part) for part in self.tell(key).chunk(2, -1))
        logits = q @ k.mT / math.sqrt(q.shape[-1])
        if pair is not None:
            logits = logits + self.shift(pair).movedim(-1, -3)
        open_ = allowed.unsqueeze(-3)
        weight = torch.softmax(logits.masked_fill(~open_, -1e9), -1) * open_
        found = weight @ v
        if pair is not None:
            worth = self.worth(pair).unflatten(-1, (self.heads, -1)).movedim(-2, -4)  # [*batch head query key depth]
            found = found + (weight.unsqueeze(-2) @ worth).squeeze(-2)
        return self.out(found.transpose(-3, -2).flatten(-2))


class Block(nn.Module):
    """Pre-norm attention and perceptron, each added to what was there."""

    def __init__(self, width: int, heads: int, dropout: float, pair: int = 0) -> None:
        super().__init__()
        self.norm, self.other, self.after = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, pair)
        self.mix = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, key: Tensor | None, allowed: Tensor, pair: Tensor | None = None) -> Tensor:
        normed = self.norm(x)
        x = x + self.drop(self.attention(normed, normed if key is None else self.other(key), allowed, pair))
        return x + self.drop(self.mix(self.after(x)))


class SocialTransformer(nn.Module):
    """Features of every agent and mode.

    Args:
        told: numbers of each agent and frame.
        static: numbers of each agent.
        pair: numbers of each two agents.
        settings: sizes.
        context: numbers of each further token of an agent (polylines of a map in its frame); 0 for none.
    """

    def __init__(self, told: int, static: int, pair: int, settings: SocialSettings | None = None, context: int = 0) -> None:
        super().__init__()
        self.settings = s = settings or SocialSettings()
        self.sizes = told, static, pair
        self.embed = nn.Sequential(nn.Linear(told + static, s.width), nn.GELU(), nn.Linear(s.width, s.width))
        self.pairs = nn.Sequential(nn.Linear(pair, s.width // 2), nn.GELU(), nn.Linear(s.width // 2, s.width // 2))
        self.context = nn.Sequential(nn.Linear(context, s.width), nn.GELU(), nn.Linear(s.width, s.width)) if context else None
        self.when, self.seeds = nn.Parameter(0.1 * torch.randn(s.frames, s.width)), nn.Parameter(torch.randn(s.modes, s.width))
        block = lambda pair=0: Block(s.width, s.heads, s.dropout, pair)  # noqa: E731
        self.over_time = nn.ModuleList([block() for _ in range(s.encoder)])
        self.among = nn.ModuleList([block(s.width // 2) for _ in range(s.encoder)])
        self.asked = nn.ModuleList([block() for _ in range(s.decoder)])
        self.agreed = nn.ModuleList([block(s.width // 2) for _ in range(s.decoder)])
        self.last = nn.LayerNorm(s.width)

    def forward(self, told: Float[Tensor, "scene node time told"], static: Float[Tensor, "scene node static"],
                pair: Float[Tensor, "scene node node pair"], seen: Bool[Tensor, "scene node time"],
                context: tuple[Tensor, Tensor] | None = None) -> Float[Tensor, "scene node mode width"]:
        """Features; what is under the mask is not looked at.

        Args:
            told: the past of every agent in its own frame.
            static: sizes, classes.
            pair: ``pair[s i j]``: agent j as agent i sees it.
            seen: frames that were observed; an agent without any is not looked at by others.
            context: tokens ``[scene node token context]`` and which of them are there.

        Raises:
            ValueError: other sizes than those of the net, or more frames than it knows.
        """
        came = told.shape[-1], static.shape[-1], pair.shape[-1]
        if came != self.sizes or told.shape[2] > self.settings.frames:
            raise ValueError(f"SocialTransformer: {came} numbers of frames, agents and pairs and {told.shape[2]} frames came; {self.sizes} and at "
                             f"most {self.settings.frames} were wanted")
        frames, there = told.shape[2], seen.any(-1)
        told = torch.where(seen.unsqueeze(-1), told, 0.0)
        both = torch.cat((told, static.unsqueeze(2).expand(*told.shape[:3], static.shape[-1])), -1)
        h = self.embed(both) + self.when[-frames:]
        met = there.unsqueeze(1) & there.unsqueeze(2) & ~torch.eye(there.shape[1], dtype=torch.bool, device=there.device)
        pose = self.pairs(torch.where(met.unsqueeze(-1), pair, 0.0))
        for time, among in zip(self.over_time, self.among, strict=True):
            h = time(h, None, seen.unsqueeze(-2) & seen.unsqueeze(-1))
            at = seen.mT  # agents see each other where both were observed
            h = among(h.transpose(1, 2), None, met.unsqueeze(1) & at.unsqueeze(-1) & at.unsqueeze(-2), pose.unsqueeze(1)).transpose(1, 2)
        return self._decode(h, (seen, met), pose, context)

    def _decode(self, h: Tensor, masks: tuple[Tensor, Tensor], pose: Tensor, context: tuple[Tensor, Tensor] | None) -> Tensor:
        """Seeds look at their agent's frames (and its further tokens), then the agents of a mode at each other."""
        seen, met = masks
        memory, open_ = h, seen
        if self.context is not None and context is not None:
            memory = torch.cat((memory, self.context(torch.where(context[1].unsqueeze(-1), context[0], 0.0))), 2)
            open_ = torch.cat((open_, context[1]), 2)
        modes = self.settings.modes
        z = self.seeds.expand(*h.shape[:2], *self.seeds.shape)
        for asked, agreed in zip(self.asked, self.agreed, strict=True):
            z = asked(z, memory, open_.unsqueeze(-2).expand(*open_.shape[:2], modes, open_.shape[2]))
            z = agreed(z.transpose(1, 2), None, met.unsqueeze(1).expand(met.shape[0], modes, *met.shape[1:]), pose.unsqueeze(1)).transpose(1, 2)
        return self.last(z)
