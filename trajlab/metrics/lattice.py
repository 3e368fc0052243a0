"""Crystals: displacements from lattice sites, the lattice translations of a periodic cell, and one site of each sort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Lattice:
    """The sites of one periodic cell and the translations that map them onto each other.

    Attributes:
        site: positions of the sites, Angstrom, symmetrised over the translations, ``[site 3]``.
        kind: atomic numbers, ``[site]``.
        cell: cell vectors as rows, ``[3 3]``.
        image: ``image[g, i]`` is the site to which translation g takes site i; the first is the identity, ``[translation site]``.
    """

    site: Float[Tensor, "site 3"]
    kind: Int[Tensor, "site"]
    cell: Float[Tensor, "3 3"]
    image: Int[Tensor, "translation site"]

    @classmethod
    def of(cls, site: Float[Tensor, "site 3"], kind: Int[Tensor, "site"], cell: Float[Tensor, "3 3"], tolerance: float = 0.4) -> Self:
        """Find the translations of (noisy) sites: those that take every site to within ``tolerance`` Angstrom of one of the same element.

        A cell without translational symmetry gets the identity alone.
        """
        images = [torch.arange(len(site), device=site.device)]
        for other in range(1, len(site)):
            image = _image(site, kind, cell, site[other] - site[0], tolerance) if kind[other] == kind[0] else None
            if image is not None:
                images.append(image)
        image = torch.stack(images)
        return cls(_symmetrised(site, cell, image), kind, cell, image)

    @property
    def representatives(self) -> Int[Tensor, "orbit"]:
        """One site of each orbit, the lowest index of each: all others are translations of these."""
        return self.image.amin(0).unique()

    def displacement(self, x: Float[Tensor, "frame site 3"], mass: Float[Tensor, "site"]) -> Float[Tensor, "frame site 3"]:
        """Displacements from the sites without the motion of the centre of mass; right for wrapped and unwrapped positions, as long as
        no two atoms are displaced against each other by half a cell."""
        u = nearest((x - x[:, :1]) - (self.site - self.site[:1]), self.cell)
        return u - (u * mass[:, None]).sum(1, keepdim=True) / mass.sum()


def nearest(between: Float[Tensor, "... 3"], cell: Float[Tensor, "3 3"]) -> Float[Tensor, "... 3"]:
    """Vectors reduced by whole cell vectors."""
    return between - (between @ torch.linalg.inv(cell)).round() @ cell


def _image(site: Tensor, kind: Tensor, cell: Tensor, shift: Tensor, tolerance: float) -> Tensor | None:
    between = nearest(site[:, None] + shift - site[None], cell)
    image = torch.where(kind[:, None] == kind[None], between.norm(dim=-1), torch.inf).argmin(1)
    if len(image.unique()) < len(site):
        return None
    # the noise of the two sites that suggested the shift is in all deviations: judge them about their mean
    off = between[torch.arange(len(site), device=site.device), image]
    return image if float((off - off.mean(0)).norm(dim=-1).max()) < tolerance else None


def _symmetrised(site: Tensor, cell: Tensor, image: Tensor) -> Tensor:
    """Sites moved so that the translations hold exactly: deviations from the mean translation are averaged over each orbit."""
    moved = site[image] - site[None]  # [translation site 3], equal over sites but for noise and whole cells
    moved = moved[:, :1] + nearest(moved - moved[:, :1], cell)
    shift = moved.mean(1, keepdim=True)
    # each translated site, taken back, is an estimate of the site itself
    back = site[image] - shift
    return site + nearest(back - site[None], cell).mean(0)
