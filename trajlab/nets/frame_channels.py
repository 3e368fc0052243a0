"""FrameChannels: the frames of a window are vector channels of each node, mixed linearly over time; scalars say how."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import silu

from trajlab.nets.windows import anchors, check, linked, presence

__all__ = ["FrameChannels"]

# Inside, nodes come first and the batch late: vectors are [node dim batch channel] and scalars [node batch width], so that a node is one block
# of memory, a gather over edges copies blocks, and every mixing of channels is one matrix product over all rows.


@dataclass(frozen=True)
class _Edges:
    """Who listens to whom, the same slots for every scene of the batch.

    Attributes:
        sender: of every receiver's slots, ``[node * slot]``.
        slots: of each receiver.
        one, two: the ends of the unordered pairs, ``[pair]``.
        pair: which unordered pair a slot is, ``[node * slot]``.
        weight: 1 where the scene has this edge, else 0, ``[node * slot, batch, 1]``; None if all have all.
        share: 1/sqrt(1 + neighbours), ``[node, batch, 1]`` or one number.
    """

    sender: Tensor
    slots: int
    one: Tensor
    two: Tensor
    pair: Tensor
    weight: Tensor | None
    share: Tensor | float


def _slots(union: Tensor) -> tuple[Tensor, int, Tensor, Tensor, Tensor]:
    """Senders, slots a receiver, ends of the unordered pairs and pair of a slot, from the graph that holds every scene's ``[node node]``."""
    slots = int(union.sum(1).max()) if len(union) else 0
    sender = union.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :slots]
    one, two = (union | union.T).triu(1).nonzero().unbind(1)
    number = torch.zeros_like(union, dtype=torch.long)
    number[one, two] = number[two, one] = torch.arange(len(one), device=union.device)
    return sender.flatten(), slots, one, two, number.gather(1, sender).flatten()


@lru_cache(maxsize=64)
def _everyone(nodes: int, device: torch.device) -> _Edges:
    with torch.inference_mode(False):  # kept, so it must be an ordinary tensor
        return _Edges(*_slots(~torch.eye(nodes, dtype=torch.bool, device=device)), weight=None, share=nodes**-0.5)


def _edges(links: Bool[Tensor, "batch node node"] | None, like: Tensor) -> _Edges:
    """The slots of a batch; ``like`` gives the dtype, and its second axis is the node."""
    if links is None:
        return _everyone(like.shape[1], like.device)
    nodes = links.shape[1]
    table = _slots(links.any(0))
    receiver = torch.arange(nodes, device=links.device).repeat_interleave(table[1])
    weight = links[:, receiver, table[0]].T[..., None].to(like.dtype)
    return _Edges(*table, weight=weight, share=(1 + links.sum(-1)).to(like.dtype).rsqrt().T[..., None])


class VectorLinear(nn.Module):
    """Mixes vector channels, without a constant: ``[... in] -> [... out]``, weights of variance 1/in times ``gain`` squared."""

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * gain / max(inputs, 1) ** 0.5)

    def forward(self, v: Tensor) -> Tensor:
        return nn.functional.linear(v, self.weight)


def _rows(x: Tensor, which: Tensor) -> Tensor:
    """``x[which]`` along the first axis. As an embedding, whose backward adds whole rows; that of an index adds numbers one by one."""
    return nn.functional.embedding(which, x.flatten(1)).view(len(which), *x.shape[1:])


def _lengths(v: Tensor, axis: int) -> Tensor:
    """Smooth lengths of vectors, their components along ``axis``."""
    return (v * v).sum(axis).add(1e-6).sqrt()


def _tamed(v: Tensor) -> Tensor:
    """Vectors over sqrt(1 + mean squared length of the node's channels): small ones stay, large ones become of length one."""
    return v * (v * v).sum(1, keepdim=True).mean(-1, keepdim=True).add(1).rsqrt()


class FrameLayer(nn.Module):
    """One round: messages over pairs from invariants of both nodes' channels, vectors moved by gated differences, scalars by a perceptron.

    With u = W v the tamed vector channels of a node, U = u_i - u_j and D the direction between anchors, the message of j to i is
    ``m = phi(h_i, h_j, |U|, U.D, |x_ij|, e_ij)``; vectors change by ``W sum_j (b(m) D - a(m) U)`` and by ``g(h) W v``.
    """

    def __init__(self, channels: int, width: int, pair: int) -> None:
        super().__init__()
        self.channels = channels
        self.mix = VectorLinear(channels, channels)
        self.ends = nn.Linear(width, 2 * width)
        self.invariants = nn.Linear(2 * channels + 3, width, bias=False)
        self.pair = nn.Linear(pair, width, bias=False) if pair else None
        self.edge = nn.Linear(width, width)
        self.gate = nn.Linear(width, 2 * channels)
        self.node = nn.Sequential(nn.Linear(2 * width + channels, width), nn.SiLU(), nn.Linear(width, width))
        self.message, self.own = VectorLinear(channels, channels), VectorLinear(channels, channels)
        self.self_gate = nn.Linear(width, channels)
        self.norm = nn.LayerNorm(width)

    def messages(self, h: Tensor, u: Tensor, geometry: tuple[Tensor, ...], edges: _Edges) -> Tensor:
        """Hidden features of every slot ``[node * slot, batch, width]``."""
        _, along, apart, features = geometry
        difference = _rows(u, edges.one) - _rows(u, edges.two)
        symmetric = self.invariants(torch.cat([_lengths(difference, 1), (difference * along).sum(1), apart], -1))
        to, of = self.ends(h).chunk(2, -1)
        nodes, batch, width = h.shape
        raw = (_rows(symmetric, edges.pair) + _rows(of, edges.sender)).view(nodes, edges.slots, batch, width) + to[:, None]
        raw = raw.view(nodes * edges.slots, batch, width)
        if self.pair is not None:
            raw = torch.addmm(raw.view(features.shape[0], width), features, self.pair.weight.T).view(raw.shape)
        m = silu(self.edge(silu(raw)))
        return m if edges.weight is None else m * edges.weight

    def moved(self, m: Tensor, u: Tensor, direction: Tensor, edges: _Edges) -> Tensor:
        """sum_j (a (u_j - u_i) + b D_ij), as sum_j (a u_j + b D_ij) - (sum_j a) u_i."""
        nodes, dim, batch, channels = u.shape
        gates = self.gate(m)
        if edges.weight is not None:
            gates = gates * edges.weight
        a, b = (g.view(nodes * edges.slots, 1, batch, channels) for g in gates.split(channels, -1))
        pushed = torch.addcmul(b * direction, a, _rows(u, edges.sender)).view(nodes, edges.slots, dim, batch, channels).sum(1)
        return torch.addcmul(pushed, a.view(nodes, edges.slots, 1, batch, channels).sum(1), u, value=-1)

    def forward(self, h: Tensor, v: Tensor, geometry: tuple[Tensor, ...], edges: _Edges) -> tuple[Tensor, Tensor]:
        seen, u = self.norm(h), self.mix(_tamed(v))
        m = self.messages(seen, u, geometry, edges)
        share = edges.share
        v = v + self.message(self.moved(m, u, geometry[0], edges) * (share if isinstance(share, float) else share[:, None]))
        own = self.own(_tamed(v))
        gathered = m.view(len(h), edges.slots, *h.shape[1:]).sum(1) * share
        h = h + self.node(torch.cat([seen, gathered, _lengths(own, 1)], -1))
        return h, v + self.self_gate(h)[:, None] * own


class FrameChannels(nn.Module):
    """Equivariant net of a window whose frames are vector channels.

    Each node holds ``channels`` vectors, linear mixes over time of its positions relative to its anchor (its last given position), and
    ``width`` scalars. It never builds anything of the size nodes x frames x width, so it costs a fraction of a net that attends over frames;
    in exchange the numbers of frames are fixed when it is built. Turns, reflects and permutes with its input in any number of dimensions, and is
    blind to a common shift. It wants positions of about unit scale: the caller scales. Smooth everywhere, at coincident nodes too.

    Args:
        given, future: numbers of frames; ``given`` may be 0.
        node, pair: numbers of node and pair features; may be 0.
        channels, width, layers: sizes.

    Raises:
        ValueError: sizes that are not positive, or no future frame.
    """

    def __init__(self, given: int, future: int, node: int, pair: int, channels: int = 32, width: int = 64, layers: int = 4) -> None:
        super().__init__()
        if min(given, node, pair) < 0 or min(future, channels, width, layers) < 1:
            raise ValueError(f"FrameChannels(given={given}, future={future}, node={node}, pair={pair}, channels={channels}, width={width}, "
                             f"layers={layers}): future, channels, width and layers must be at least 1, the others at least 0")
        self.sizes = (given, future, node, pair)
        self.past, self.ahead = VectorLinear(given, channels), VectorLinear(future, channels)
        self.level = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, channels + width))
        self.embed = nn.Linear(node + channels, width)
        self.hidden = nn.Linear(given + future, width, bias=False)
        self.layers = nn.ModuleList([FrameLayer(channels, width, pair) for _ in range(layers)])
        self.out, self.out_gate = VectorLinear(channels, future, gain=0.1), nn.Linear(width, channels)

    def _told(self, clock: Tensor) -> tuple[Tensor, Tensor]:
        """Gates of the noisy frames and shifts of the scalars from the level: sines of 16 rates between 0.22 and 12."""
        rate = torch.linspace(-1.5, 2.5, 16, device=clock.device, dtype=torch.float64).exp().to(clock.dtype)
        angle = clock[:, None] * rate
        told = self.level(torch.cat([angle.sin(), angle.cos()], -1))
        channels = self.out_gate.out_features
        return told[:, :channels], told[:, channels:]

    def _geometry(self, anchor: Tensor, pair: Tensor, edges: _Edges) -> tuple[Tensor, ...]:
        """Directions of slots and of pairs ``[., dim, batch, 1]``, functions of the distance ``[pair batch 3]``, features ``[slot * batch, .]``."""
        x = anchor[:, :, 0].permute(1, 2, 0)
        apart = x[edges.one] - x[edges.two]
        length = ((apart * apart).sum(1) + 1e-4).sqrt()
        along = (apart / length[:, None])[..., None]
        receiver = torch.arange(len(x), device=x.device).repeat_interleave(edges.slots)
        sign = torch.where(receiver < edges.sender, 1.0, -1.0).to(x.dtype)
        features = pair[:, receiver, edges.sender].transpose(0, 1).flatten(0, 1)
        apart = torch.stack([length, 1 / (length + 0.1), torch.log(length + 0.05)], -1)
        return along[edges.pair] * sign[:, None, None, None], along, apart, features

    def forward(
        self, given: Float[Tensor, "batch node past dim"], future: Float[Tensor, "batch node time dim"], clock: Float[Tensor, "_"],
        node: Float[Tensor, "_ _ a"], pair: Float[Tensor, "_ _ _ b"], mask: Bool[Tensor, "_ _ _"] | None = None,
        adjacent: Bool[Tensor, "_ _ _"] | None = None,
    ) -> Float[Tensor, "batch node time dim"]:
        """A displacement-like field at the future frames.

        Args:
            given, future: positions in one frame of reference.
            clock: ``[batch]``, the noise level, any real number of order one such as ln(sigma)/4.
            node, pair: features ``[batch node a]`` and ``[batch node node b]``; pair[i, j] of receiver i and sender j.
            mask: ``[batch node frame]``, True where something is, over given and future frames; what is hidden changes nothing, and its output is 0.
            adjacent: ``[batch node node]``, True at [i, j] where j talks to i; None: everyone there.

        Raises:
            ValueError: shapes that do not fit each other or the net.
        """
        check("FrameChannels", given, future, clock, node, pair, mask, adjacent, self.sizes)
        if mask is not None:
            given, future = (torch.where(m[..., None], x, 0.0) for m, x in zip(mask.split(self.sizes[:2], 2), (given, future), strict=True))
        edges = _edges(linked(presence(mask), adjacent), future)
        anchor = anchors(given, future, mask)
        relative = torch.cat([given, future], 2) - anchor
        if mask is not None:
            relative = relative * mask[..., None]
        past, ahead = relative.permute(1, 3, 0, 2).split(self.sizes[:2], -1)
        gate, shift = self._told(clock)
        v = self.past(past) + (1 + gate) * self.ahead(ahead)
        h = self.embed(torch.cat([node.transpose(0, 1), _lengths(v, 1)], -1)) + shift
        if mask is not None:
            h = h + self.hidden((~mask).to(h.dtype)).transpose(0, 1)
        geometry = self._geometry(anchor, pair, edges)
        for layer in self.layers:
            h, v = layer(h, v, geometry, edges)
        out = self.out(v * (1 + self.out_gate(h))[:, None]).permute(2, 0, 3, 1)
        return out if mask is None else out * mask[:, :, self.sizes[0]:, None]
