"""Neighbours as a rectangle: every node has the same number of slots, so that a sum over neighbours is one batched matrix product.

A ragged edge list needs a gather, a product and a scatter, each a pass through memory. With ``K`` slots a node, messages that are
products of channel weights and geometry are contracted over slots and components at once, and nothing of size ``[edge channel
component]`` is written but the factor that the product reads. Slots beyond a node's own neighbours carry ``mask = 0``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.types import Graph


@dataclass(frozen=True, eq=False)
class Slots:
    """A graph as slots: ``sender[node slot]``, periodic ``shift[node slot 3]`` (or None) and ``mask[node slot]`` (1 or 0)."""

    sender: Int[Tensor, "node slot"]
    mask: Float[Tensor, "node slot"]
    shift: Float[Tensor, "node slot 3"] | None = None

    @classmethod
    def of(cls, graph: Graph) -> Slots:
        """Lay a graph, sorted by receiver, out as slots; the number of slots is the largest number of neighbours (at least one)."""
        device = graph.edges.device
        count = torch.bincount(graph.receiver, minlength=graph.n_nodes)
        width = max(int(count.max()) if graph.n_nodes else 0, 1)
        start = count.cumsum(0) - count
        slot = torch.arange(graph.n_edges, device=device) - start[graph.receiver]
        place = graph.receiver * width + slot
        sender = torch.zeros(graph.n_nodes * width, dtype=torch.long, device=device).index_copy_(0, place, graph.sender)
        mask = torch.zeros(graph.n_nodes * width, device=device).index_fill_(0, place, 1.0)
        shift = None
        if graph.shift is not None:
            shift = graph.shift.new_zeros(graph.n_nodes * width, 3).index_copy_(0, place, graph.shift).view(-1, width, 3)
        return cls(sender.view(-1, width), mask.view(-1, width), shift)


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Everything a net may know of the surroundings of each node.

    Attributes:
        sender: index of the neighbour in each slot, ``[node slot]``.
        mask: 1 where there is a neighbour within the cutoff, else 0, ``[node slot]``.
        unit: unit vectors from the node to the neighbour, ``[node slot 3]``.
        length: distances, ``[node slot]``.
        rows: kept indices of features with so many components.
    """

    sender: Int[Tensor, "node slot"]
    mask: Float[Tensor, "node slot"]
    unit: Float[Tensor, "node slot 3"]
    length: Float[Tensor, "node slot"]
    rows: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, x: Tensor, slots: Slots, cutoff: float, dtype: torch.dtype = torch.float32) -> Neighbourhood:
        """Distances and directions for positions ``[node 3]`` (float64 is best: differences are taken before rounding to ``dtype``)."""
        nodes, width = slots.sender.shape
        vector = x.index_select(0, slots.sender.reshape(-1)).view(nodes, width, 3) - x[:, None]
        if slots.shift is not None:
            vector = vector + slots.shift
        length = torch.linalg.vector_norm(vector, dim=-1)
        mask = slots.mask.to(dtype) * ((length < cutoff) & (length > 0)).to(dtype)
        length = length.to(dtype)
        away = 1 - mask  # an empty slot must not divide by zero: its unit vector is meaningless and its mask 0
        unit = vector.to(dtype) / (length + away)[..., None]
        return cls(slots.sender, mask, unit, length * mask + away * cutoff)

    def gather(self, value: Float[Tensor, "node channel"]) -> Float[Tensor, "node slot channel"]:
        """The value at the neighbour in each slot."""
        return value.index_select(0, self.sender.reshape(-1)).view(*self.sender.shape, value.shape[1])

    def gather_components(self, value: Float[Tensor, "node component channel"]) -> Float[Tensor, "node component slot channel"]:
        """Likewise for features with components, which go before the slots: weights ``[node 1 slot channel]`` then multiply long
        contiguous runs, and components and slots are summed over as one axis.
        """
        nodes, components, channels = value.shape
        if components == 1:
            return self.gather(value[:, 0])[:, None]
        if components not in self.rows:  # the same in every block of a net
            rows = self.sender[:, None] * components + torch.arange(components, device=value.device)[:, None]
            self.rows[components] = rows.reshape(-1)
        picked = value.reshape(nodes * components, channels).index_select(0, self.rows[components])
        return picked.view(nodes, components, -1, channels)
