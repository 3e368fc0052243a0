"""A network over ordered pairs of states: numbering the states otherwise permutes its answer, and it takes any number of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["CountNetwork", "CountOutputs"]

LOG_VARIANCE = (-7.0, 4.0)  #: limits of the logarithms of variances


class CountOutputs(NamedTuple):
    """What the network says of a batch of data sets; what stands on diagonals means nothing.

    Attributes:
        mean: correction of the logarithm of each rate, ``[batch state state]``.
        log_variance: of that logarithm, ``[batch state state]``.
        link: logit of whether the link is there, ``[batch state state]``.
        rate: correction of the logarithm of the rate as a point estimate, ``[batch state state]``.
        noise: mean and log-variance of the transformed level of label noise, ``[batch 2]``.
        initial: logits of the initial distribution, ``[batch state]``.
    """

    mean: Tensor
    log_variance: Tensor
    link: Tensor
    rate: Tensor
    noise: Tensor
    initial: Tensor


class PairLayer(nn.Module):
    """A residual layer in which each ordered pair sees itself, its reverse, means over the rows and columns of both states, their diagonals, and
    the mean of all.

    The affine map of the concatenation is computed part by part: what depends on one state alone is multiplied for each state, not for each pair.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.pair = nn.Linear(width, 4 * width)
        self.state = nn.Linear(3 * width, 4 * width, bias=False)
        self.all = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(2 * width, width)

    def forward(self, h: Float[Tensor, "batch state state width"]) -> Float[Tensor, "batch state state width"]:
        """The same shape, with what each pair learned from the others."""
        x = self.norm(h)
        row, column, diagonal = x.mean(2), x.mean(1), torch.diagonal(x, dim1=1, dim2=2).transpose(1, 2)
        here, reverse = self.pair(x).chunk(2, -1)
        first, second = self.state(torch.cat([row, column, diagonal], -1)).chunk(2, -1)
        everywhere = self.all(row.mean(1))
        mixed = here + reverse.transpose(1, 2) + (first + everywhere[:, None])[:, :, None] + second[:, None]
        return h + self.out(nn.functional.gelu(mixed))


class CountNetwork(nn.Module):
    """Equivariant layers over the ordered pairs of states.

    Every layer commutes with permutations of the states (the linear maps that do are spanned by the parts of `PairLayer`: Maron et al. 2019,
    Invariant and Equivariant Graph Networks), and no weight depends on their number.

    Args:
        inputs: features of each pair.
        width: of the hidden features of each pair.
        layers: number of `PairLayer`.
    """

    def __init__(self, inputs: int, width: int = 80, layers: int = 4) -> None:
        super().__init__()
        self.inputs, self.width = inputs, width
        self.enter = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(PairLayer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.pair_head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))
        self.state_head = nn.Sequential(nn.Linear(3 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.noise_head = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 2))
        for head in (self.pair_head, self.state_head, self.noise_head):
            nn.init.zeros_(head[-1].weight)
            nn.init.zeros_(head[-1].bias)

    def forward(self, pairs: Float[Tensor, "batch state state feature"]) -> CountOutputs:
        """Rates, links, noise and start of a batch of data sets with equally many states.

        Raises:
            ValueError: another number of features than `inputs`.
        """
        if pairs.shape[-1] != self.inputs:
            raise ValueError(f"the network reads {self.inputs} features of each pair of states, and got {pairs.shape[-1]}")
        h = self.enter(pairs)
        for layer in self.layers:
            h = layer(h)
        h = self.norm(h)
        row, column, diagonal = h.mean(2), h.mean(1), torch.diagonal(h, dim1=1, dim2=2).transpose(1, 2)
        mean, spread, link, rate = self.pair_head(h).unbind(-1)
        noise = self.noise_head(torch.cat([row.mean(1), diagonal.mean(1)], -1))
        initial = self.state_head(torch.cat([row, column, diagonal], -1)).squeeze(-1)
        return CountOutputs(mean, spread.clamp(*LOG_VARIANCE), link, rate, noise, initial)
