"""Marginal scores of generated trajectories: how far histograms of generated and real values are apart, without training anything.

A score between two finite samples of one law is not zero: read it beside that of two halves of the real data of the same size.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.metrics.forecasts import pairs_within
from trajlab.types import Trajectories

__all__ = ["bond_marginal", "density", "marginal", "marginal_score", "pair_marginal"]


def density(values: Float[Tensor, "item"], low: float, high: float, bins: int) -> Float[Tensor, "bin"]:
    """Density in equal bins, float64; what lies outside counts in the total, so that it integrates to less than 1."""
    if not values.numel():
        raise ValueError("there are no values to make a histogram of")
    where = ((values.double() - low) / (high - low) * bins).floor().long()
    where = torch.where(values.double() == high, bins - 1, where)  # the last bin is closed
    inside = where[(where >= 0) & (where < bins)]
    return torch.bincount(inside, minlength=bins).double() * bins / (values.numel() * (high - low))


def marginal(real: Float[Tensor, "item"], generated: Float[Tensor, "other"], bins: int = 50) -> float:
    """Mean over equal bins of the range of the real values of the absolute difference of the two densities, in 1/unit of the values.

    Raises:
        ValueError: there are no values, or all real values are equal.
    """
    if bins < 1 or not real.numel():
        raise ValueError(f"{real.numel()} real values in {bins} bins: at least 1 of both was wanted")
    low, high = float(real.min()), float(real.max())
    if not high > low:
        raise ValueError(f"all {real.numel()} real values are {low:g}, which has no density; this needs values that vary")
    return float((density(real, low, high, bins) - density(generated, low, high, bins)).abs().mean())


def marginal_score(
    real: Trajectories, generated: Trajectories, bins: int = 50, per: Literal["axis", "frame"] = "axis", centre: bool = True
) -> float:
    """`marginal` of the coordinates, averaged over axes. It depends on the axes: turned data of an isotropic law score alike only on average.

    Args:
        real, generated: with the same number of dimensions.
        bins: over the range of the real coordinates.
        per: ``axis``: all nodes and frames of an axis are one sample; ``frame``: each frame and axis is one, and they are averaged.
        centre: take the mean over nodes and frames out of every scene: generators without given frames know no place.

    Raises:
        ValueError: dimensions, or with ``frame`` the numbers of frames, differ, a name is unknown, or nothing was seen.
    """
    _alike(real, generated)
    if per not in ("axis", "frame"):
        raise ValueError(f"per={per!r}: 'axis' or 'frame' was wanted")
    if per == "frame" and real.n_frames != generated.n_frames:
        raise ValueError(f"the real trajectories have {real.n_frames} frames and the generated {generated.n_frames}; cut them "
                         "to the same, or per='axis'")
    frames = [slice(None)] if per == "axis" else [slice(f, f + 1) for f in range(real.n_frames)]
    one, two = (_centred(t) if centre else t.x for t in (real, generated))
    scores = [
        marginal(one[:, f, axis][real.mask[:, f]], two[:, f, axis][generated.mask[:, f]], bins) for f in frames for axis in range(real.dim)
    ]
    return sum(scores) / len(scores)


def pair_marginal(real: Trajectories, generated: Trajectories, bins: int = 50) -> float:
    """`marginal` of the distances of all pairs of nodes of a scene at all frames: invariant to turns, reflections, shifts and order of the nodes.

    Raises:
        ValueError: dimensions differ, a scene is periodic, or there are no pairs.
    """
    _alike(real, generated)
    return marginal(_distances(real), _distances(generated), bins)


def bond_marginal(
    real: Trajectories, generated: Trajectories, bonds: Int[Tensor, "2 bond"] | None = None, cutoff: float = 1.6, bins: int = 50
) -> float:
    """`marginal` of the length of each bond of a molecule, averaged over its bonds.

    Args:
        real, generated: scenes of one molecule, atoms in the same order.
        bonds: pairs of atoms; by default those closer than ``cutoff`` in the first frame of the first real scene, which is right for light
            elements in a structure that is not torn: pass those of the reference geometry where there is one.
        cutoff: in the unit of length, Angstrom for molecules.
        bins: over the range of each real bond length.

    Raises:
        ValueError: the scenes are not of one molecule, frames are missing, or there are no bonds.
    """
    _alike(real, generated)
    one, two = _molecules(real), _molecules(generated)
    if one.shape[1] != two.shape[1] or not torch.equal(real.kind[: one.shape[1]], generated.kind[: one.shape[1]]):
        raise ValueError(f"the real molecule has {one.shape[1]} atoms and the generated {two.shape[1]}, or other elements or another order; bond "
                         "lengths are compared atom by atom")
    if bonds is None:
        pairs = pairs_within(real.scene[: one.shape[1]])
        bonds = pairs[:, (one[0, pairs[0], 0] - one[0, pairs[1], 0]).norm(dim=-1) < cutoff]
    if not bonds.shape[1]:
        raise ValueError(f"no two atoms are closer than {cutoff:g} in the first frame, so there are no bonds to compare; pass bonds or "
                         "a larger cutoff")
    length = lambda x: (x[:, bonds[0]] - x[:, bonds[1]]).double().norm(dim=-1).transpose(0, 1).flatten(1)  # noqa: E731  # [bond item]
    return sum(marginal(a, b, bins) for a, b in zip(length(one), length(two))) / bonds.shape[1]


def _alike(real: Trajectories, generated: Trajectories) -> None:
    if real.dim != generated.dim:
        raise ValueError(f"the real trajectories have {real.dim} dimensions and the generated {generated.dim}")


def _centred(trajectories: Trajectories) -> Float[Tensor, "node time dim"]:
    """Positions minus the mean over the seen nodes and frames of the scene."""
    x = torch.where(trajectories.mask[..., None], trajectories.x.double(), 0.0)
    total = x.new_zeros(trajectories.n_scenes, trajectories.dim).index_add_(0, trajectories.scene, x.sum(1))
    count = x.new_zeros(trajectories.n_scenes).index_add_(0, trajectories.scene, trajectories.mask.sum(1).double())
    return x - (total / count.clamp(min=1)[:, None])[trajectories.scene, None]


def _distances(trajectories: Trajectories) -> Float[Tensor, "item"]:
    if trajectories.cell is not None:
        raise ValueError("pair distances are taken in open space here; trajlab.metrics.structure.pair_distances knows periodic cells")
    pairs = pairs_within(trajectories.scene)
    seen = trajectories.mask[pairs[0]] & trajectories.mask[pairs[1]]
    if not bool(seen.any()):
        raise ValueError("there are no pairs of nodes that are seen at the same frame, so there are no distances to compare")
    x = trajectories.x.double()
    return torch.cat([(x[i] - x[j]).norm(dim=-1)[s] for i, j, s in zip(*(p.split(100_000) for p in (pairs[0], pairs[1])), seen.split(100_000))])


def _molecules(trajectories: Trajectories) -> Float[Tensor, "scene node time dim"]:
    sizes = trajectories.sizes
    if int(sizes.min()) != int(sizes.max()) or not bool(trajectories.mask.all()):
        raise ValueError(f"scenes of {int(sizes.min())} to {int(sizes.max())} atoms, {int((~trajectories.mask).sum())} frames not seen: bond "
                         "by bond, all scenes must be whole and of the same molecule")
    if not bool((trajectories.kind.reshape(trajectories.n_scenes, -1) == trajectories.kind[: int(sizes[0])]).all()):
        raise ValueError("the scenes are of different molecules, or list their atoms in different order; bond by bond, all must be alike")
    return trajectories.x.reshape(trajectories.n_scenes, int(sizes[0]), *trajectories.x.shape[1:])

