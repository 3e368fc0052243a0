"""Many draws into few by k-means on where they end: the selection of the published pedestrian protocols (60 draws to 20)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["kmeans_draws"]

CHUNK = 2048  #: agents at a time


def kmeans_draws(
    draws: Float[Tensor, "draw node time dim"], clusters: int = 20, *, mask: Bool[Tensor, "node time"] | None = None,
    generator: torch.Generator | None = None, restarts: int = 3, iterations: int = 100,
) -> Float[Tensor, "cluster node time dim"]:
    """For each agent, the draws nearest to the centres of a k-means clustering of the final positions.

    It spreads the kept draws over the modes, which lowers a best-of-K error without a better model: name it beside the score. Agents are
    clustered on their own, so a kept draw joins draws of different agents, and joint scores of the result mean nothing. k-means++ starts
    (Arthur and Vassilvitskii 2007) with the same random numbers for every agent, so the result of one does not depend on the others.

    Args:
        draws: sampled futures.
        clusters: how many to keep.
        mask: True where an agent is scored; the position at its last such frame is clustered.
        generator: of the starts; seeded with 0 if none is given.
        restarts: starts, of which the one with the smallest sum of squares is used.
        iterations: of Lloyd's algorithm, at most.

    Raises:
        ValueError: fewer draws than clusters, or a number below 1.
    """
    if not 1 <= clusters <= len(draws) or restarts < 1 or iterations < 1:
        raise ValueError(f"{clusters} clusters of {len(draws)} draws with {restarts} restarts and {iterations} iterations: at least 1 of each was "
                         "wanted, and no more clusters than draws; draw more")
    generator = generator or torch.Generator().manual_seed(0)
    luck = torch.rand(restarts, clusters, generator=generator, dtype=torch.float64, device=generator.device).to(draws.device)
    points = _ends(draws, mask).transpose(0, 1).double()
    chosen = torch.cat([_representatives(part, luck, iterations) for part in points.split(CHUNK)]) if len(points) else points.new_zeros(0, clusters)
    index = chosen.long().T[..., None, None].expand(-1, -1, *draws.shape[2:])
    return draws.gather(0, index)


def _ends(draws: Tensor, mask: Tensor | None) -> Float[Tensor, "draw node dim"]:
    if mask is None:
        return draws[:, :, -1]
    last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(-1).sub(1).clamp(min=0)
    ends = draws[:, torch.arange(len(mask), device=mask.device), last]
    return torch.where(mask.any(-1)[:, None], ends, 0.0)


def _representatives(points: Float[Tensor, "node draw dim"], luck: Float[Tensor, "restart cluster"], iterations: int) -> Tensor:
    """The draw nearest to each centre, ``[node cluster]``."""
    best, least = None, None
    for row in luck:
        centres = _lloyd(points, _spread_out(points, row), iterations)
        apart = torch.cdist(points, centres)
        inertia = apart.square().amin(-1).sum(-1)
        nearest = apart.argmin(1)
        if best is None or least is None:
            best, least = nearest, inertia
        better = inertia < least
        best, least = torch.where(better[:, None], nearest, best), torch.where(better, inertia, least)
    return best  # type: ignore[return-value]  # there is at least one row


def _spread_out(points: Tensor, luck: Float[Tensor, "cluster"]) -> Tensor:
    """k-means++: each further centre is a point, drawn in proportion to its squared distance to the centres so far."""
    rows, count = torch.arange(len(points), device=points.device), points.shape[1]
    centres = [points[:, int(luck[0] * count)]]
    square = (points - centres[0][:, None]).square().sum(-1)
    for u in luck[1:]:
        total = square.cumsum(-1)
        pick = torch.searchsorted(total, (u * total[:, -1:]).contiguous(), right=True)[:, 0].clamp(max=count - 1)
        centres.append(points[rows, pick])
        square = torch.minimum(square, (points - centres[-1][:, None]).square().sum(-1))
    return torch.stack(centres, 1)


def _lloyd(points: Tensor, centres: Tensor, iterations: int) -> Tensor:
    """Lloyd's algorithm; a cluster that lost its points keeps its centre."""
    before = None
    for _ in range(iterations):
        label = torch.cdist(points, centres).argmin(-1)
        if before is not None and torch.equal(label, before):
            break
        before = label
        total = torch.zeros_like(centres).scatter_add_(1, label[..., None].expand_as(points), points)
        count = points.new_zeros(centres.shape[:2]).scatter_add_(1, label, torch.ones_like(points[..., 0]))[..., None]
        centres = torch.where(count > 0, total / count.clamp(min=1), centres)
    return centres
