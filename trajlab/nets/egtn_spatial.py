"""The spatial layer of EGTN: an E(n)-equivariant convolution within every frame (Satorras et al. 2021; Han et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, silu

from trajlab.nets.windows import linked

__all__ = ["SceneGraph", "SpatialLayer", "mlp2", "scene_graph"]


def mlp2(inputs: int, width: int, outputs: int | None = None) -> nn.Sequential:
    """Linear, SiLU, Linear."""
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width if outputs is None else outputs))


@dataclass(frozen=True)
class SceneGraph:
    """The nodes of a batch of scenes as rows, and the edges between them, sorted by receiver.

    Attributes:
        row: of every row, its place in ``[batch * node]``.
        receiver, sender: rows, ``[edge]``.
        features: ``[edge b]``, the same at every frame.
        invariants: ``[edge frame c]``, scalars that change with the frame; None if there are none.
        seen: ``[row frame 1]``, 1 where the row is seen; None if nothing is hidden.
        both: ``[edge frame 1]``, 1 where both ends are seen; None if nothing is hidden.
        count: edges of a row, at least 1, ``[row frame 1]`` or ``[row 1 1]``.
    """

    row: Tensor
    receiver: Tensor
    sender: Tensor
    features: Tensor
    invariants: Tensor | None
    seen: Tensor | None
    both: Tensor | None
    count: Tensor

    def sum(self, value: Float[Tensor, "edge frame c"]) -> Float[Tensor, "row frame c"]:
        """Over the edges of every receiver."""
        flat = value.new_zeros(len(self.row), value.shape[1] * value.shape[2]).index_add(0, self.receiver, value.flatten(1))
        return flat.view(len(self.row), *value.shape[1:])


def rows_of(x: Tensor, which: Tensor) -> Tensor:
    """``x[which]`` along the first axis; as an embedding, whose backward adds whole rows."""
    return embedding(which, x.flatten(1)).view(len(which), *x.shape[1:])


def scene_graph(
    pair: Float[Tensor, "batch node other b"], frames: int, mask: Bool[Tensor, "batch node frame"] | None,
    adjacent: Bool[Tensor, "batch node other"] | None,
) -> SceneGraph:
    """Rows of the nodes that are there, and the edges between them; everyone talks to everyone there if ``adjacent`` is None."""
    batch, nodes = pair.shape[:2]
    there = torch.ones(batch, nodes, dtype=torch.bool, device=pair.device) if mask is None else mask.any(-1)
    links = linked(there, adjacent)
    scene, to, of = links.nonzero().unbind(1)  # type: ignore[union-attr]  # nodes that are there were given
    number = there.flatten().cumsum(0) - 1
    row = there.flatten().nonzero()[:, 0]
    receiver, sender = number[scene * nodes + to], number[scene * nodes + of]
    if mask is None:
        count = torch.bincount(receiver, minlength=len(row)).to(pair.dtype).clamp(min=1)[:, None, None]
        return SceneGraph(row, receiver, sender, pair[scene, to, of], None, None, None, count)
    seen = mask.flatten(0, 1)[row][..., None].to(pair.dtype)
    both = seen[receiver] * seen[sender]
    count = seen.new_zeros(len(row), frames, 1).index_add_(0, receiver, both).clamp(min=1)
    return SceneGraph(row, receiver, sender, pair[scene, to, of], None, seen, both, count)


class SpatialLayer(nn.Module):
    r"""Messages within a frame; scalars are replaced, positions move along the edges:

        m_ij = SiLU(MLP2[h_i, h_j, |x_ij|^2, e_ij]),   h_i <- MLP2[h_i, sum_j m_ij]
        x_i <- x_i + mean_j MLP2(m_ij) / (1 + sqrt(|x_ij|^2 + 1e-8)) x_ij,   x_ij = x_i - x_j

    With ``prenorm`` the feature is |x_ij| and nothing is divided. The first linear map is applied to the nodes before it is gathered to the
    edges.

    Args:
        width: of h.
        edge: number of edge features, those that change with the frame included (they come first).
        prenorm: the variant for pedestrians.
    """

    def __init__(self, width: int, edge: int, prenorm: bool = False) -> None:
        super().__init__()
        self.width, self.prenorm = width, prenorm
        self.edge = mlp2(2 * width + 1 + edge, width)
        self.node = mlp2(2 * width, width)
        self.move = mlp2(width, width, 1)

    def messages(self, h: Tensor, square: Tensor, graph: SceneGraph) -> Tensor:
        """m_ij, ``[edge frame width]``."""
        weight, bias = self.edge[0].weight, self.edge[0].bias
        own, other, rest = weight.split([self.width, self.width, weight.shape[1] - 2 * self.width], 1)
        feature = (square + 1e-8).sqrt() if self.prenorm else square
        constant = graph.features[:, None].expand(-1, h.shape[1], -1)
        features = torch.cat([feature, constant] if graph.invariants is None else [feature, graph.invariants, constant], -1)
        # in place, but never on a view: the backward of that would copy the whole gradient
        raw = embedding(graph.receiver, linear(h, own, bias).flatten(1)).add_(embedding(graph.sender, linear(h, other).flatten(1)))
        raw = torch.addmm(raw.view(len(raw) * h.shape[1], self.width), features.flatten(0, 1), rest.T)
        raw = raw.view(*features.shape[:2], self.width)
        return silu(self.edge[2](silu(raw)))

    def forward(
        self, h: Float[Tensor, "row frame width"], x: Float[Tensor, "row frame dim"], graph: SceneGraph
    ) -> tuple[Float[Tensor, "row frame width"], Float[Tensor, "row frame dim"]]:
        """New scalars and positions."""
        apart = rows_of(x, graph.receiver) - rows_of(x, graph.sender)
        square = (apart * apart).sum(-1, keepdim=True)
        m = self.messages(h, square, graph)
        push = self.move(m)
        if not self.prenorm:
            push = push / (1 + (square + 1e-8).sqrt())
        if graph.both is not None:
            m, push = m * graph.both, push * graph.both
        first = self.node[0]
        hidden = linear(h, first.weight[:, : self.width], first.bias) + linear(graph.sum(m), first.weight[:, self.width:])
        return self.node[2](silu(hidden)), x + graph.sum(push * apart) / graph.count
