r"""An equivariant net of scalars and polar vectors that sees how neighbours move relative to each other.

A message of rotation order one, w(r_ij) h_j, cannot form sum_j r^ (r^ . v_j), the part of the harmonic response that is linear in
velocities: it would need l = 2. Here each edge carries the relative velocity u_ij = v_j - v_i, its radial part r^ . u enters the
weights, and vector features are differenced along edges and projected on r^ r^T, which is that missing l = 2 -> 1 contraction. All
contractions of one weighted difference share a single batched matrix product per node.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import silu

from trajlab.nets.neighbourhood import Neighbourhood
from trajlab.nets.radial import BesselBasis, polynomial_cutoff
from trajlab.nets.settings import NetSettings
from trajlab.nets.tensor_product import messages


@dataclass(frozen=True, eq=False)
class Edges:
    """What every block reads of the edges: hidden features and the rows that messages are projected on.

    ``features[node slot hidden]``; ``scalar_rows[node 7 slot]``: 1, r^ and u; ``vector_rows[node 8 3*slot]``: r^, u, identity, r^ r^T.
    """

    hood: Neighbourhood
    features: Tensor
    scalar_rows: Tensor
    vector_rows: Tensor


class PolarBlock(nn.Module):
    """One round of messages. Scalars ``s[node channel]``, vectors ``V[node 3 channel]``; both are updated residually."""

    def __init__(self, channels: int, edge_width: int, width: int) -> None:
        super().__init__()
        self.channels = channels
        self.scalar_weights = nn.Linear(edge_width, channels, bias=False)
        self.vector_weights = nn.Linear(edge_width, channels, bias=False)
        self.send = nn.Linear(channels, channels, bias=False)
        self.mix = nn.Linear(5 * channels, 3 * channels, bias=False)
        # Invariants are products of features that are linear in velocities. Normalised, they cannot grow from block to block, so a step
        # from a state faster than any in training stays of its order instead of exploding.
        self.update = nn.Sequential(nn.LayerNorm(7 * channels), nn.Linear(7 * channels, width), nn.SiLU(), nn.Linear(width, 3 * channels))

    def forward(self, s: Tensor, vectors: Tensor, v: Tensor, edge: Edges) -> tuple[Tensor, Tensor]:
        nodes, channels = s.shape
        weights = self.vector_weights(edge.features)
        senders = [edge.hood.gather(self.send(s))[:, None], edge.hood.gather_components(vectors)]
        # rows of the first: 1; r^; u. Of the second: r^; u; identity; r^ r^T
        one, two = messages(senders, (0, 1), [self.scalar_weights(edge.features), weights], [edge.scalar_rows, edge.vector_rows])
        # what is summed is w (V_j - V_i); the second part needs no product a slot, since V_i can be taken out of the sum
        own = torch.bmm(edge.vector_rows.view(nodes, 24, -1), weights).view(nodes, 8, 3, channels)
        two = two - (own * vectors[:, None]).sum(2)
        gathered = torch.cat([vectors, one[:, 1:4], one[:, 4:7], two[:, 2:5], two[:, 5:8]], dim=-1)
        left, right, moved = self.mix(gathered).chunk(3, dim=-1)
        invariants = [s, one[:, 0], two[:, 0], two[:, 1], (left * right).sum(1), (left * v[..., None]).sum(1), (vectors * left).sum(1)]
        change, gate, kick = self.update(torch.cat(invariants, dim=-1)).chunk(3, dim=-1)
        return s + change, vectors + gate[:, None] * moved + kick[:, None] * v[..., None]


class EdgeNet(nn.Module):
    """Hidden features of every edge from its length, both elements and the relative velocity, and the rows that project messages."""

    def __init__(self, settings: NetSettings) -> None:
        super().__init__()
        species, width = settings.species, settings.radial[0]
        self.cutoff, self.scale = settings.cutoff, settings.neighbours**-0.5
        self.basis = BesselBasis(settings.cutoff, settings.bessel)
        self.first = nn.Linear(settings.bessel + 2, width)
        self.receiver = nn.Embedding(species, width)
        self.sender = nn.Embedding(species, width)
        self.second = nn.Linear(width, width)
        for table in (self.receiver, self.sender):
            nn.init.normal_(table.weight, std=0.5)

    def forward(self, species: Tensor, v: Tensor, hood: Neighbourhood) -> Edges:
        nodes, slots = hood.sender.shape
        relative = (hood.gather(v) - v[:, None]) * hood.mask[..., None]
        radial = (relative * hood.unit).sum(-1, keepdim=True)
        envelope = polynomial_cutoff(hood.length / self.cutoff) * hood.mask
        basis = self.basis(hood.length) * self.cutoff
        raw = torch.cat([basis, radial, torch.log1p((relative * relative).sum(-1, keepdim=True))], dim=-1)
        hidden = silu(self.first(raw) + self.receiver(species)[:, None] + hood.gather(self.sender(species)))
        # the envelope makes an edge vanish smoothly at the cutoff, and an empty slot vanish altogether
        features = silu(self.second(hidden)) * envelope[..., None]
        rows = torch.cat([torch.ones_like(radial), hood.unit, relative], dim=-1) * self.scale
        eye = torch.eye(3, device=v.device, dtype=v.dtype).expand(nodes, slots, 3, 3)
        rank_one = hood.unit[..., :, None] * hood.unit[..., None, :]
        stacked = torch.cat([hood.unit[..., None, :], relative[..., None, :], eye, rank_one], dim=2) * (hood.mask * self.scale)[..., None, None]
        return Edges(hood, features, rows.transpose(1, 2).contiguous(), stacked.permute(0, 2, 3, 1).reshape(nodes, 8, 3 * slots))


class PolarNet(nn.Module):
    """Scalars and vectors on a graph of atoms that move, read out as ``outputs`` polar vectors a node.

    Args:
        settings: sizes; ``radial`` must name two layers of the same width.
        outputs: polar vectors to read out.

    Raises:
        ValueError: ``radial`` is something else.
    """

    def __init__(self, settings: NetSettings, outputs: int = 2) -> None:
        super().__init__()
        if len(settings.radial) != 2 or len(set(settings.radial)) != 1:
            raise ValueError(f"radial={settings.radial}: the edges of the polar net have two hidden layers of one width, such as (32, 32)")
        channels, width = settings.channels, settings.width
        self.embed = nn.Embedding(settings.species, channels)
        self.speed = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, channels))
        self.start = nn.Embedding(settings.species, channels)
        self.edges = EdgeNet(settings)
        self.blocks = nn.ModuleList([PolarBlock(channels, settings.radial[0], width) for _ in range(settings.blocks)])
        self.gate = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, channels + outputs))
        self.out = nn.Linear(channels, outputs, bias=False)

    def forward(
        self, species: Int[Tensor, "node"], v: Float[Tensor, "node 3"], hood: Neighbourhood, stride: Float[Tensor, "node"]
    ) -> Float[Tensor, "node output 3"]:
        """``species``: index of the element; ``v``: peculiar velocities in units of their root mean square; ``stride``: relative stride."""
        speed = torch.log1p((v * v).sum(-1))
        s = self.embed(species) + self.speed(torch.stack([speed, stride], dim=-1))
        vectors = self.start(species)[:, None] * v[..., None]
        edge = self.edges(species, v, hood)
        for block in self.blocks:
            s, vectors = block(s, vectors, v, edge)
        gate = self.gate(s)
        channels = vectors.shape[-1]
        read = self.out(vectors * gate[:, None, :channels]) + gate[:, None, channels:] * v[..., None]
        return read.transpose(1, 2)
