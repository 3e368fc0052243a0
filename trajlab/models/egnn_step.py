"""One step of a system by an E(n)-equivariant graph network with velocities (Satorras et al. 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import silu

__all__ = ["EgnnStep"]


def _mlp2(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))


class EgnnLayer(nn.Module):
    """Messages from scalars, squared distance and pair features; positions move along edges and velocities.

    m_ij = phi_e(h_i, h_j, |x_ij|^2, e_ij);  h_i += phi_h(h_i, sum_j m_ij);
    x_i += mean_j phi_x(m_ij) x_ij / (1 + |x_ij|) + sum_k phi_v(h_i)_k v_i^k
    """

    def __init__(self, width: int, pair: int, velocities: int) -> None:
        super().__init__()
        self.receiver, self.sender = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.invariants = nn.Linear(pair + 1, width, bias=False)
        self.edge = nn.Linear(width, width)
        self.node = _mlp2(2 * width, width, width)
        self.along, self.gate = _mlp2(width, width, 1), _mlp2(width, width, velocities)
        with torch.no_grad():  # begin near constant velocity, so that the first roll-outs stay in reach
            self.along[2].weight.mul_(0.1)
            self.gate[2].weight.mul_(0.1)

    def forward(self, h: Tensor, x: Tensor, v: Tensor, pair: Tensor, links: Tensor) -> tuple[Tensor, Tensor]:
        """New scalars and the move ``[batch node dim]``; ``v[batch node k dim]``, ``links[batch node node 1]`` is 1 where j talks to i."""
        apart = x[:, :, None] - x[:, None]
        square = (apart * apart).sum(-1, keepdim=True)
        raw = self.receiver(h)[:, :, None] + self.sender(h)[:, None] + self.invariants(torch.cat([square, pair], -1))
        m = silu(self.edge(silu(raw))) * links
        h = h + self.node(torch.cat([h, m.sum(2)], -1))
        pushed = (self.along(m) * links / (1 + (square + 1e-8).sqrt()) * apart).sum(2) / links.sum(2).clamp(min=1)
        return h, pushed + torch.einsum("bnk,bnkd->bnd", self.gate(h), v)


class EgnnStep(nn.Module):
    """Next position from the last few: x(t+1) = 2 x(t) - x(t-1) + scale * net.

    Positions are taken in units of ``length``, differences of frames in units of ``speed``, and the deviation from constant velocity in units of
    ``bend``: root mean squares of the training data, set before training.

    Args:
        node, pair: numbers of features.
        width, layers: sizes.
        history: frames that are looked at, at least 2.
    """

    length: Tensor
    speed: Tensor
    bend: Tensor

    def __init__(self, node: int, pair: int, width: int, layers: int, history: int) -> None:
        super().__init__()
        self.history = history
        for name in ("length", "speed", "bend"):
            self.register_buffer(name, torch.tensor(1.0))
        self.embed = nn.Linear(node + history - 1, width)
        self.layers = nn.ModuleList([EgnnLayer(width, pair, history - 1) for _ in range(layers)])

    def forward(
        self, frames: Float[Tensor, "batch node past dim"], node: Float[Tensor, "batch node a"], pair: Float[Tensor, "batch node other b"],
        links: Float[Tensor, "batch node other 1"],
    ) -> Float[Tensor, "batch node dim"]:
        """The positions of the next frame; ``frames`` are the last ``history`` ones."""
        here, v = frames[:, :, -1], frames.diff(dim=2) / self.speed
        x, h = here / self.length, self.embed(torch.cat([node, (v * v).sum(-1).add(1e-8).sqrt()], -1))
        total = torch.zeros_like(here)
        for layer in self.layers:
            h, move = layer(h, x + total * (self.bend / self.length), v, pair, links)
            total = total + move
        return here + (here - frames[:, :, -2]) + self.bend * total

    def unroll(
        self, frames: Float[Tensor, "batch node past dim"], steps: int, node: Float[Tensor, "batch node a"],
        pair: Float[Tensor, "batch node other b"], links: Float[Tensor, "batch node other 1"],
    ) -> Float[Tensor, "batch node time dim"]:
        """The next ``steps`` frames, each from the ones before."""
        path = list(frames[:, :, -self.history :].unbind(2))
        for _ in range(steps):
            path.append(self(torch.stack(path[-self.history :], 2), node, pair, links))
        return torch.stack(path[self.history :], 2)


def links(there: Bool[Tensor, "batch node"], adjacent: Bool[Tensor, "batch node other"] | None, like: Tensor) -> Float[Tensor, "batch node other 1"]:
    """1 at [i, j] where j talks to i: both there, not the same, and adjacent."""
    apart = ~torch.eye(there.shape[1], dtype=torch.bool, device=there.device)
    both = there[:, :, None] & there[:, None] & apart
    return (both if adjacent is None else both & adjacent)[..., None].to(like.dtype)
