"""Agents as oriented boxes: which overlap, by the separating axis theorem."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.metrics.forecasts import pairs_within

__all__ = ["box_collisions", "boxes_overlap"]


def boxes_overlap(
    centre: Float[Tensor, "*pair 2 2"], heading: Float[Tensor, "*pair 2"], size: Float[Tensor, "*pair 2 2"],
) -> Bool[Tensor, "*pair"]:
    """Whether two rectangles overlap. Convex shapes are apart if, and only if, their shadows are apart on the normal of some side: four axes here.

    Boxes that just touch do not overlap.

    Args:
        centre: of the two boxes, ``[... box xy]``.
        heading: of their long sides, rad.
        size: length and width of each, ``[... box 2]``.
    """
    c, s = heading.cos(), heading.sin()
    axis = torch.stack((torch.stack((c, s), -1), torch.stack((-s, c), -1)), -2)  # [... box side xy]
    between = centre[..., 1, :] - centre[..., 0, :]
    normals = axis.flatten(-3, -2)  # [... 4 xy]
    gap = (normals @ between[..., None])[..., 0].abs()
    along = (normals @ axis.flatten(-3, -2).mT).abs()  # how much of each side's direction falls on each normal
    reach = (along * (size / 2).flatten(-2).unsqueeze(-2)).sum(-1)
    return (gap < reach).all(-1)


def box_collisions(
    x: Float[Tensor, "node time 2"], heading: Float[Tensor, "node time"], size: Float[Tensor, "node 2"], scene: Int[Tensor, "node"],
    mask: Bool[Tensor, "node time"], others: tuple[Tensor, Tensor] | None = None,
) -> Bool[Tensor, "node"]:
    """Which agents overlap another of their scene at some frame where both were seen.

    Args:
        x, heading: centres and directions.
        size: length and width.
        scene: of each node, sorted.
        mask: True where an agent was seen.
        others: positions and headings of what may be hit, for instance the true ones, if not ``x`` and ``heading`` themselves.

    Raises:
        ValueError: sizes are not positive.
    """
    if not bool((size > 0).all()):
        node = int((~(size > 0)).any(-1).nonzero()[0])
        raise ValueError(f"node {node} has length and width {size[node].tolist()}; positive ones were wanted, in m")
    pair = pairs_within(scene)
    pair = pair if others is None else torch.cat((pair, pair.flip(0)), 1)
    x_other, heading_other = (x, heading) if others is None else others
    one, two = pair
    reach = size.norm(dim=-1) / 2
    far = (x[one] - x_other[two]).norm(dim=-1)
    close = (far < (reach[one] + reach[two])[:, None]) & mask[one] & mask[two]  # circles around the boxes: few pairs are left to look at
    which, frame = close.nonzero(as_tuple=True)
    a, b = one[which], two[which]
    centre = torch.stack((x[a, frame], x_other[b, frame]), -2)
    turned = torch.stack((heading[a, frame], heading_other[b, frame]), -1)
    hit = boxes_overlap(centre.double(), turned.double(), torch.stack((size[a], size[b]), -2).double())
    struck = torch.zeros(len(scene), dtype=torch.bool, device=x.device)
    struck[a[hit]] = True
    if others is None:
        struck[b[hit]] = True
    return struck
