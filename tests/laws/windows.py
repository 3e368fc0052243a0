"""Nets of windows of trajectories with random weights, and calls of them: what their laws run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trajlab.nets.diffusion_transformer import DiffusionTransformer, TransformerSettings
from trajlab.nets.egtn import EGTN, EgtnSettings
from trajlab.nets.frame_channels import FrameChannels
from trajlab.nets.geometric_prior import GeometricPrior
from trajlab.nets.windows import anchors

GIVEN, FUTURE, NODE, PAIR = 4, 6, 2, 3
SMALL = EgtnSettings(width=16, layers=2, clock_scale=20.0)
FLAGGED = EgtnSettings(width=16, layers=2, prenorm=True, given_flag=True)
TINY = {"width": 16, "layers": 2, "heads": 2}


class PriorAsNet(nn.Module):
    """The prior's displacement from the last given positions, in the call of the other nets."""

    def __init__(self, prior: GeometricPrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, given: Tensor, future: Tensor, clock: Tensor, node: Tensor, pair: Tensor, mask: Tensor | None = None,
                adjacent: Tensor | None = None) -> Tensor:
        past = None if mask is None else mask[:, :, : given.shape[2]]
        out = self.prior(given, future.shape[2], node, pair, past, adjacent) - anchors(given, given[:, :, :0], past)
        return out if mask is None else torch.where(mask[:, :, given.shape[2]:, None], out, 0.0)


#: Name in the table: how to build it for a dimension. The part of a name before the space is that of the table.
NETS: dict[str, Callable[[int], nn.Module]] = {
    "egtn": lambda dim: EGTN(NODE, PAIR, SMALL),
    "egtn flagged": lambda dim: EGTN(NODE, PAIR, FLAGGED),
    "frame_channels": lambda dim: FrameChannels(GIVEN, FUTURE, NODE, PAIR, channels=8, width=16, layers=2),
    "geometric_prior": lambda dim: PriorAsNet(GeometricPrior(NODE, PAIR, FUTURE, SMALL)),
    "geometric_prior any": lambda dim: PriorAsNet(GeometricPrior(NODE, PAIR, None, SMALL)),
    "diffusion_transformer": lambda dim: DiffusionTransformer(GIVEN, FUTURE, NODE, PAIR, dim, TransformerSettings(**TINY)),
    "diffusion_transformer frames": lambda dim: DiffusionTransformer(GIVEN, FUTURE, NODE, PAIR, dim, TransformerSettings(**TINY, tokens="frame")),
}
#: Those that turn and reflect with their input.
EQUIVARIANT = [name for name in NETS if not name.startswith("diffusion")]


def built(name: str, dim: int = 3, seed: int = 0) -> nn.Module:
    """A net in float64 none of whose weights is at a special starting value."""
    torch.manual_seed(seed)
    net = NETS[name](dim).double().eval().requires_grad_(False)
    g = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
    return net


def call(batch: int = 2, nodes: int = 5, dim: int = 3, seed: int = 0) -> dict[str, Any]:
    """Arguments with some hidden frames and some missing edges; every node has a given and a future frame."""
    g = torch.Generator().manual_seed(seed)
    r = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    mask = torch.rand(batch, nodes, GIVEN + FUTURE, generator=g) < 0.8
    mask[:, :, GIVEN - 1: GIVEN + 1] = True
    adjacent = torch.rand(batch, nodes, nodes, generator=g) < 0.7
    return {"given": r(batch, nodes, GIVEN, dim), "future": r(batch, nodes, FUTURE, dim), "clock": r(batch), "node": r(batch, nodes, NODE),
            "pair": r(batch, nodes, nodes, PAIR), "mask": mask, "adjacent": adjacent}


def plain(inputs: dict[str, Any]) -> dict[str, Any]:
    """The same call with nothing hidden and all adjacent."""
    return {k: v for k, v in inputs.items() if k not in ("mask", "adjacent")}


def nodes(inputs: dict[str, Any], which: Tensor) -> dict[str, Any]:
    """Some of the nodes, in some order."""
    both = lambda v: v[:, which][:, :, which]  # noqa: E731
    return {k: v if k == "clock" else both(v) if k in ("pair", "adjacent") else v[:, which] for k, v in inputs.items()}


def turn(dim: int, reflect: bool) -> Tensor:
    """A rotation, or a rotation with a reflection."""
    q, _ = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    q[:, 0] *= torch.sign(torch.det(q)) * (-1 if reflect else 1)
    return q


def scene(inputs: dict[str, Any], which: int) -> dict[str, Any]:
    return {k: v[which: which + 1] for k, v in inputs.items()}


def positions(inputs: dict[str, Any], change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    return {k: change(v) if k in ("given", "future") else v for k, v in inputs.items()}
