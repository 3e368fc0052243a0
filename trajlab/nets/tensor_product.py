r"""Depthwise (uvu) tensor products with spherical harmonics, contracted densely for each (l1, l2, l3).

Features of rotation order l are held as one tensor ``h[l]`` of shape ``[node, 2l+1, channel]`` whose channels are first the C of
natural parity, (-1)^l (those of a spherical harmonic), then, if there are any, the C of the other. A product with a harmonic Y_l2
keeps this flag when l1 + l2 + l3 is even and flips it when it is odd; so both parities share one coupling block

    G[m1, m3] = sqrt(2 l3 + 1) sum_m2 w3j(l1 l2 l3)[m1, m2, m3] Y_l2[m2]          (component normalisation)

and 30 paths at l_max = 2 are 15 contractions. Sums over neighbours are part of the contraction: for each node one matrix product
of G, ``[2 l3 + 1, (2 l1 + 1) slot]``, with weighted features, ``[(2 l1 + 1) slot, channel]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

Features = list[Tensor]  #: per l: [node, 2l+1, channel]


@dataclass(frozen=True)
class Path:
    """One contraction (l1, l2, l3) for ``parities`` 1 (natural only) or 2; ``flip`` where natural and unnatural change places."""

    l1: int
    l2: int
    l3: int
    parities: int

    @property
    def flip(self) -> bool:
        return (self.l1 + self.l2 + self.l3) % 2 == 1


def paths(parities: tuple[int, ...], l_max: int) -> tuple[Path, ...]:
    """All paths from features with ``parities[l]`` (0: absent, 1: natural only, 2: both) and harmonics up to ``l_max``, l3 <= l_max."""
    return tuple(
        Path(l1, l2, l3, parities[l1])
        for l1 in range(len(parities))
        if parities[l1]
        for l2 in range(l_max + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, l_max) + 1)
    )


def reached(table: tuple[Path, ...], l_max: int) -> tuple[int, ...]:
    """Which parities of each l the paths can reach: 1 natural only, 2 both."""
    reach = [0] * (l_max + 1)
    for path in table:
        reach[path.l3] = max(reach[path.l3], 2 if path.flip or path.parities == 2 else 1)
    return tuple(reach)


@cache
def coupling(l1: int, l2: int, l3: int) -> Tensor:
    """sqrt(2 l3 + 1) times e3nn's Wigner 3j symbol, ``[2l1+1, 2l2+1, 2l3+1]``, float64."""
    from e3nn.o3 import wigner_3j

    return wigner_3j(l1, l2, l3, dtype=torch.float64) * (2 * l3 + 1) ** 0.5


def harmonics(direction: Tensor, l_max: int, normalise: bool = True) -> list[Tensor]:
    """Real spherical harmonics with component normalisation, per l ``[..., 2l+1]``; a zero vector gives zeros for l > 0."""
    if l_max <= 1:
        if normalise:
            direction = torch.nn.functional.normalize(direction, dim=-1)
        return [torch.ones_like(direction[..., :1]), direction * 3**0.5][: l_max + 1]
    from e3nn.o3 import spherical_harmonics

    stacked = spherical_harmonics(list(range(l_max + 1)), direction, normalise, "component")
    return list(stacked.split([2 * l + 1 for l in range(l_max + 1)], dim=-1))  # noqa: E741


def blocks(table: tuple[Path, ...], sphere: list[Tensor], couplings: dict[tuple[int, int, int], Tensor]) -> dict[tuple[int, int, int], Tensor]:
    """Coupling blocks for every path, from harmonics of the edges ``[node slot 2l2+1]``: ``[node 2l3+1 (2l1+1)*slot]``.

    They depend on geometry alone, so all blocks of a net share them. Harmonics of nodes are passed with one slot.
    """
    made: dict[tuple[int, int, int], Tensor] = {}
    for path in table:
        key = (path.l1, path.l2, path.l3)
        if key not in made and path.l2 > 0:
            d1, d2, d3 = (2 * l + 1 for l in key)  # noqa: E741
            y = sphere[path.l2]
            flat = couplings[key].permute(2, 0, 1).reshape(d3 * d1, d2)
            made[key] = torch.matmul(flat, y.transpose(1, 2)).view(len(y), d3, d1 * y.shape[1])
    return made


def pool(weighted: Tensor, block: Tensor | None) -> Tensor:
    """Sum over components and slots: weighted ``[node d1 slot channel]``, block ``[node d3 d1*slot]`` -> ``[node d3 channel]``.

    Without a block (the harmonic is l = 0, and the coupling the identity) it is the plain sum over slots.
    """
    if block is None:
        return weighted.sum(2)
    nodes, components, slots, channels = weighted.shape
    return torch.bmm(block, weighted.reshape(nodes, components * slots, channels))


class _Messages(torch.autograd.Function):
    """pool(weight * sender, block) for several paths, with a backward pass that adds up in place: on a CPU the passes through memory are
    what messages cost, and autograd's own would take about twice as many.
    """

    @staticmethod
    def forward(ctx: Any, which: tuple[int, ...], n_senders: int, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        senders, weights, blocks_ = _three(tensors, n_senders, len(which))
        ctx.which, ctx.n_senders = which, n_senders
        ctx.save_for_backward(*tensors)
        return tuple(pool(weight[:, None] * senders[k], block) for k, weight, block in zip(which, weights, blocks_, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        senders, weights, blocks_ = _three(ctx.saved_tensors, ctx.n_senders, len(ctx.which))
        to_senders: list[Tensor | None] = [None] * ctx.n_senders
        to_weights, to_blocks = [], []
        for k, weight, block, grad in zip(ctx.which, weights, blocks_, grads, strict=True):
            sender = senders[k]
            inner = grad[:, :, None].expand_as(sender) if block is None else torch.bmm(block.transpose(1, 2), grad).view_as(sender)
            to_weight = inner[:, 0] * sender[:, 0]
            for component in range(1, sender.shape[1]):
                to_weight.addcmul_(inner[:, component], sender[:, component])
            to_weights.append(to_weight)
            so_far = to_senders[k]
            to_senders[k] = inner * weight[:, None] if so_far is None else so_far.addcmul_(inner, weight[:, None])
            wanted = block is not None and ctx.needs_input_grad[2 + ctx.n_senders + len(weights) + len(to_blocks)]
            to_blocks.append(torch.bmm(grad, (weight[:, None] * sender).flatten(1, 2).transpose(1, 2)) if wanted else None)
        return None, None, *to_senders, *to_weights, *to_blocks


def _three(tensors: Sequence[Any], first: int, second: int) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    return tensors[:first], tensors[first : first + second], tensors[first + second :]


def messages(senders: Sequence[Tensor], which: tuple[int, ...], weights: Sequence[Tensor], blocks_: Sequence[Tensor | None]) -> list[Tensor]:
    """For each path p the sum over components and slots of ``weights[p] * senders[which[p]]`` under ``blocks_[p]`` (see `pool`).

    Args:
        senders: features at the neighbours, ``[node d1 slot channel]``.
        which: for each path the number of its sender.
        weights: for each path ``[node slot channel]``.
        blocks_: for each path ``[node d3 d1*slot]``, or None for the plain sum over slots.

    Returns:
        For each path ``[node d3 channel]``. Differentiable once, in all tensors.
    """
    return list(_Messages.apply(which, len(senders), *senders, *weights, *blocks_))
