"""The published EGTN written plainly from its equations (Han et al. 2024) over torch_geometric: the reference of tests and timings.

It has the weights of the net that it is built from and gives the same numbers; nothing in it is arranged for speed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear, silu
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import scatter

from trajlab.nets.egtn import EGTN
from trajlab.nets.egtn_spatial import SpatialLayer
from trajlab.nets.egtn_temporal import TemporalLayer


def sinusoid(t: Tensor, size: int = 32) -> Tensor:
    """Sines, then cosines, of t 10000^(-k/(n-1))."""
    half = size // 2
    rate = torch.tensor([10000 ** (-k / (half - 1)) for k in range(half)], dtype=t.dtype)
    return torch.cat([torch.sin(t[..., None] * rate), torch.cos(t[..., None] * rate)], -1)


class PlainSpatial(MessagePassing):
    """Messages between nodes ``[node frame channel]`` along the edges, the arguments joined edge by edge."""

    def __init__(self, layer: SpatialLayer) -> None:
        super().__init__(aggr=None, flow="source_to_target", node_dim=0)
        self.layer = layer

    def forward(self, h: Tensor, x: Tensor, edges: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        m, push = self.propagate(edges, h=h, x=x, features=features, size=None)
        return self.layer.node(torch.cat([h, m], -1)), x + push

    def message(self, h_i: Tensor, h_j: Tensor, x_i: Tensor, x_j: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        apart = x_i - x_j
        square = (apart**2).sum(-1, keepdim=True)
        feature = torch.sqrt(square + 1e-8) if self.layer.prenorm else square
        m = silu(self.layer.edge(torch.cat([h_i, h_j, feature, features], -1)))
        scale = self.layer.move(m)
        if not self.layer.prenorm:
            scale = scale / (1 + torch.sqrt(square + 1e-8))
        return m, scale * apart

    def aggregate(self, inputs: tuple[Tensor, Tensor], index: Tensor, dim_size: int | None = None) -> tuple[Tensor, Tensor]:
        return scatter(inputs[0], index, 0, dim_size, "sum"), scatter(inputs[1], index, 0, dim_size, "mean")


def plain_temporal(layer: TemporalLayer, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Attention with keys and values of every pair of frames, ``[node frame frame width]``."""
    width = layer.width
    q, k, v = (last(silu(linear(h, layer.first.weight[a: a + width], layer.first.bias[a: a + width])))
               for a, last in zip((0, width, 2 * width), (layer.query, layer.key, layer.value), strict=True))
    t = torch.arange(h.shape[1], dtype=h.dtype)
    relative = layer.relative(sinusoid(t[:, None] - t[None]))
    keys, values = k[:, None] + relative, v[:, None] + relative
    weight = torch.softmax((q[:, :, None] * keys).sum(-1), -1)
    push = layer.move(v)[:, None]
    return h + (weight[..., None] * values).sum(2), x + (weight[..., None] * push * (x[:, :, None] - x[:, None])).sum(2)


class PlainEGTN(torch.nn.Module):
    """The same call as `EGTN`, without masks."""

    def __init__(self, net: EGTN) -> None:
        super().__init__()
        self.net = net
        self.spatial = torch.nn.ModuleList([PlainSpatial(layer) for layer in net.stack.spatial])

    def forward(self, given: Tensor, future: Tensor, clock: Tensor, node: Tensor, pair: Tensor, adjacent: Tensor | None = None) -> Tensor:
        batch, nodes, past = given.shape[:3]
        links = torch.ones(batch, nodes, nodes, dtype=torch.bool) if adjacent is None else adjacent
        scene, to, of = (links & ~torch.eye(nodes, dtype=torch.bool)).nonzero().T
        x = start = torch.cat([given, future], 2).flatten(0, 1)
        edges = torch.stack([scene * nodes + of, scene * nodes + to])
        features = pair[scene, to, of][:, None].expand(-1, x.shape[1], -1)
        told = sinusoid(clock * self.net.settings.clock_scale)[:, None].expand(-1, nodes, -1)
        h = self.net.embed(torch.cat([node, told], -1)).flatten(0, 1)[:, None].expand(-1, x.shape[1], -1)
        for spatial, temporal in zip(self.spatial, self.net.stack.temporal, strict=True):
            h, x = spatial(h, x, edges, features)
            h, x = plain_temporal(temporal, h, x)
        return (x - start)[:, past:].view(batch, nodes, -1, x.shape[-1])
