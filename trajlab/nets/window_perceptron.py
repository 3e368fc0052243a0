"""A perceptron over short windows of a series, told a noise level and a condition."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from trajlab.nets.windows import sinusoid

__all__ = ["WindowPerceptron"]


class WindowPerceptron(nn.Module):
    """Residual layers h += W2 silu(W1 h (1 + a) + b), a and b from the clock; the output is zero before training.

    Args:
        frames, dim: shape of a window.
        told: numbers of the condition.
        width, layers: of the hidden layers.
        clock_scale: what the clock is multiplied with before its sines are taken.
    """

    def __init__(self, frames: int, dim: int, told: int, width: int = 128, layers: int = 2, clock_scale: float = 25.0) -> None:
        super().__init__()
        self.frames, self.dim, self.told, self.clock_scale = frames, dim, told, clock_scale
        self.embed, self.last = nn.Linear(frames * dim + told, width), nn.Linear(width, frames * dim)
        self.clock = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 2 * width * layers))
        self.first = nn.ModuleList([nn.Linear(width, width) for _ in range(layers)])
        self.second = nn.ModuleList([nn.Linear(width, width) for _ in range(layers)])
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(
        self, x: Float[Tensor, "batch frames dim"], clock: Float[Tensor, "batch"], told: Float[Tensor, "batch told"]
    ) -> Float[Tensor, "batch frames dim"]:
        """One value for every number of the windows.

        Raises:
            ValueError: other sizes than those of the net.
        """
        if x.shape[1:] != (self.frames, self.dim) or told.shape != (len(x), self.told):
            raise ValueError(f"WindowPerceptron: windows {tuple(x.shape)} and condition {tuple(told.shape)} came; "
                             f"[batch {self.frames} {self.dim}] and [batch {self.told}] were wanted")
        h = self.embed(torch.cat([x.flatten(1), told], 1))
        turns = self.clock(sinusoid(clock * self.clock_scale)).chunk(2 * len(self.first), 1)
        for k, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            h = h + second(silu(first(h) * (1 + turns[2 * k]) + turns[2 * k + 1]))
        return self.last(silu(h)).reshape(x.shape)
