"""Periodic cells: complete vectors, heights, wrapping and unwrapping."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.types import Trajectories

__all__ = ["complete", "heights", "unwrap", "wrap"]

JUMP = 0.4  # of a cell height between two frames: beyond it nobody can tell which image an atom went to


def complete(cell: Float[Tensor, "scene 3 3"], pbc: Bool[Tensor, "scene 3"]) -> Float[Tensor, "scene 3 3"]:
    """Cells in float64 whose open directions are unit vectors normal to the periodic ones, so that they can be inverted.

    Raises:
        ValueError: the periodic vectors of a scene are linearly dependent.
    """
    periodic = cell.double() * pbc[..., None]
    # With A = U S V^T, the part U V^T over the vanishing S fills the null space and leaves the periodic rows as they are.
    u, s, vh = torch.linalg.svd(periodic)
    missing = s <= 1e-6 * s[:, :1].clamp_min(1e-300)
    wanted, rank = pbc.sum(1), (~missing).sum(1)
    if bool((rank < wanted).any()):
        bad = int((rank < wanted).nonzero()[0])
        raise ValueError(
            f"the cell of scene {bad} is degenerate: its {int(wanted[bad])} periodic vectors {cell[bad].tolist()} span only "
            f"{int(rank[bad])} dimensions; give the cell the file was made with, or set pbc to False along the directions that are open"
        )
    return periodic + u @ (missing.double()[..., None] * vh)


def heights(cell: Float[Tensor, "scene 3 3"]) -> Float[Tensor, "scene 3"]:
    """The distances between opposite faces."""
    return 1 / torch.linalg.inv(cell).norm(dim=1)


def unwrap(trajectories: Trajectories) -> Trajectories:
    """Positions that run on through the faces of the cell instead of jumping: the minimum image of each step in fractional coordinates.

    Steps across frames that were not observed are taken between the observed ones. Trajectories without a periodic direction, or
    that never jump, come back as they were.

    Raises:
        ValueError: a step reaches 0.4 of a cell height, where the minimum image is a guess; the node, frame and length are named.
    """
    cell, pbc, scene = trajectories.cell, trajectories.pbc, trajectories.scene
    if cell is None or pbc is None or not bool(pbc.any()) or trajectories.n_frames < 2 or not trajectories.n_nodes:
        return trajectories
    full = complete(cell, pbc)
    fraction = torch.einsum("nti,nij->ntj", trajectories.x.double(), torch.linalg.inv(full)[scene])
    steps = _held(fraction, trajectories.mask).diff(dim=1) * pbc[scene][:, None]
    images = torch.round(steps)
    left = (steps - images).abs()
    if bool((left >= JUMP).any()):
        node, frame, k = (left >= JUMP).nonzero()[0].tolist()
        height = float(heights(full)[scene[node], k])
        raise ValueError(
            f"node {node} moves by {float(left[node, frame, k]):.2f} of the cell height {height:g} along cell vector {k} between frames {frame} and "
            f"{frame + 1} ({int((left >= JUMP).any(-1).sum())} such steps); beyond {JUMP} it cannot be told which image it went to. Read frames "
            "that lie closer together, or a file with unwrapped positions or image flags; independent frames are scenes of one frame"
        )
    if not bool(images.any()):
        return trajectories
    back = torch.einsum("nti,nij->ntj", images.cumsum(1), full[scene])
    x = trajectories.x.clone()
    x[:, 1:] -= back.to(x.dtype)
    return trajectories.replace(x=x)


def wrap(trajectories: Trajectories) -> Trajectories:
    """Positions moved into the cell along the periodic directions, by any number of cell vectors; open directions are left alone."""
    cell, pbc, scene = trajectories.cell, trajectories.pbc, trajectories.scene
    if cell is None or pbc is None or not bool(pbc.any()):
        return trajectories
    full = complete(cell, pbc)
    fraction = torch.einsum("nti,nij->ntj", trajectories.x.double(), torch.linalg.inv(full)[scene])
    images = torch.floor(torch.nan_to_num(fraction)) * pbc[scene][:, None]
    return trajectories.replace(x=trajectories.x - torch.einsum("nti,nij->ntj", images, full[scene]).to(trajectories.x.dtype))


def _held(value: Tensor, mask: Bool[Tensor, "node time"]) -> Tensor:
    """Unobserved frames filled by the last observed one (before the first, by the first)."""
    if bool(mask.all()):
        return value
    frame = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    last = torch.where(mask, frame, -1).cummax(1).values
    first = mask.int().argmax(1, keepdim=True)
    index = torch.where(last < 0, first, last)
    return torch.nan_to_num(value.gather(1, index[..., None].expand_as(value)))
