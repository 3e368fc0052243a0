"""Nets of the velocity and the score of a bridge over all its intervals, and their losses."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trajlab.models.bridge_flow_config import BridgeFlowConfig
from trajlab.models.bridge_flow_exact import Points

__all__ = ["FlowNets", "flow_loss", "flow_nets"]


class Field(nn.Module):
    """A perceptron of standardised states and features of the time, with SiLU units; zero at first."""

    def __init__(self, dim: int, features: int, config: BridgeFlowConfig, generator: torch.Generator) -> None:
        super().__init__()
        sizes = [dim + features, *[config.width] * config.layers, dim]
        self.layers = nn.ModuleList(nn.utils.skip_init(nn.Linear, i, o) for i, o in pairwise(sizes))  # no draw from the global generator
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.uniform_(-1, 1, generator=generator).mul_((3 / layer.in_features) ** 0.5)
                layer.bias.zero_()
            self.layers[-1].weight.zero_()

    def forward(self, h: Float[Tensor, "row feature"]) -> Float[Tensor, "row dim"]:
        for layer in self.layers[:-1]:
            h = nn.functional.silu(layer(h))
        return self.layers[-1](h)


class FlowNets(nn.Module):
    """Velocity without the reference's drift, and score, in the bridge's scaled coordinates and its unit of time.

    Buffers: ``first`` and ``span`` of the time; ``centre`` and ``width`` of the states; ``pace``, the unit of the velocity in each dimension.
    """

    def __init__(self, dim: int, frequencies: int, config: BridgeFlowConfig, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.frequencies = frequencies
        self.velocity, self.score_field = (Field(dim, 1 + 2 * frequencies, config, generator) for _ in range(2))
        for name, value in {"first": torch.zeros(()), "span": torch.ones(()), "centre": torch.zeros(dim), "width": torch.ones(dim),
                            "pace": torch.ones(dim)}.items():
            self.register_buffer(name, value)

    def features(self, x: Float[Tensor, "row dim"], t: Float[Tensor, "row"]) -> Float[Tensor, "row feature"]:
        """Standardised states, the time from -1 to 1, and half waves of it."""
        part = ((t - self.first) / self.span)[:, None]
        waves = torch.pi * part * torch.arange(1, self.frequencies + 1, dtype=x.dtype, device=x.device)
        return torch.cat([(x - self.centre) / self.width, 2 * part - 1, waves.sin(), waves.cos()], 1)

    def forward(self, x: Float[Tensor, "row dim"], t: Float[Tensor, "row"]) -> tuple[Float[Tensor, "row dim"], Float[Tensor, "row dim"]]:
        """Both at once."""
        h = self.features(x, t)
        return self.pace * self.velocity(h), self.score_field(h) / self.width


def flow_nets(points: Points, config: BridgeFlowConfig, span: Float[Tensor, "snapshot"], seed: int) -> FlowNets:
    """Fresh nets with the units of some points.

    Args:
        points: to be trained on.
        config: of the nets.
        span: times of the snapshots.
        seed: of the weights.
    """
    nets = FlowNets(points.x.shape[1], config.frequencies or max(3, len(span) - 1), config, seed)
    nets.first.fill_(float(span[0]))
    nets.span.fill_(float(span[-1] - span[0]))
    nets.centre.copy_(points.x.mean(0))
    nets.width.copy_(positive(points.x.std(0, correction=0)))
    weight = 1 / (1 + points.variance / points.velocity.square().mean(0))[points.site]  # little of the ends, where velocities are large
    nets.pace.copy_(positive(((weight * points.velocity.square()).sum(0) / weight.sum(0)).sqrt()))
    return nets


def positive(scale: Float[Tensor, "dim"]) -> Float[Tensor, "dim"]:
    """Scales, those of constant dimensions replaced by the largest."""
    top = scale.max()
    return torch.where(scale > 1e-6 * top, scale, top if float(top) > 0 else torch.ones(()).to(scale))


def flow_loss(nets: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The sum of two regressions,

        velocity  |v - target|^2 / (1 + its mean variance within a bridge), in units of ``pace``: near the snapshots that grows like 1/s;
        score     |M^T (score - target)|^2, M M^T the mean covariance of the bridges at that time, which is finite at both ends.

    Both are means over the dimensions. The weights depend on the time alone, so that the minimisers are the means given X and t.
    """
    t, x, target, pulled, unit, variance = batch
    pace = (nets.module if hasattr(nets, "module") else nets).pace
    velocity, score = nets(x, t)
    weight = 1 / (1 + (variance / pace**2).mean(1))
    one = (weight * ((velocity - target) / pace).square().mean(1)).mean()
    two = ((unit.mT @ score[..., None])[..., 0] - pulled).square().mean()
    return {"loss": one + two, "velocity": one.detach(), "score": two.detach()}
