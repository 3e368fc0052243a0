"""Whether drawn molecules are molecules: bond lengths, bond angles and energies of the draws beside those that came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.metrics.forecasts import aligned
from trajlab.metrics.generation import marginal
from trajlab.metrics.structure import bond_angles, bonds, by_elements
from trajlab.types import Forecast, Trajectories

__all__ = ["DrawnStatistic", "is_molecular", "molecule_draws"]

Energy = Callable[[Float[Tensor, "node dim"]], Float[Tensor, "scene"]]
FRAMES = 4  #: frames at which energies are taken, spread over the forecast


@dataclass(frozen=True)
class DrawnStatistic:
    """One quantity in the draws and in what came.

    Attributes:
        name: such as ``C-H bond``, ``angle at C`` or ``energy``.
        unit: Angstrom, degrees or eV.
        mean, drawn_mean: true and drawn.
        std, drawn_std: standard deviations, true and drawn.
        difference: integral over the true range, in 50 bins, of the absolute difference of the densities: 0 for equal distributions, 1 where no
            draw lies in that range.
    """

    name: str
    unit: str
    mean: float
    drawn_mean: float
    std: float
    drawn_std: float
    difference: float

    @classmethod
    def of(cls, name: str, unit: str, true: Tensor, drawn: Tensor) -> DrawnStatistic:
        true, drawn = true.flatten().double(), drawn.flatten().double()
        span = float(true.max() - true.min())
        off = marginal(true, drawn) * span if span > 0 else float("nan")
        return cls(name, unit, float(true.mean()), float(drawn.mean()), float(true.std()), float(drawn.std()), off)


def is_molecular(truth: Trajectories) -> bool:
    """Whether these are atoms in open space: three dimensions, Angstrom, atomic numbers, and some of them bonded in the first frame."""
    atoms = truth.dim == 3 and truth.units.length == "angstrom" and truth.cell is None and bool((truth.kind > 0).all())
    return atoms and bool(truth.mask[:, 0].all()) and bonds(truth).shape[1] > 0


def molecule_draws(forecast: Forecast, truth: Trajectories, energy: Energy | None = None) -> list[DrawnStatistic]:
    """Statistics of the bonds (closer than 1.25 covalent radii in the first true frame), of the angles between them, and of energies.

    Args:
        forecast: draws.
        truth: the same windows; it may hold the given frames too.
        energy: of all scenes at positions ``[node 3]``, in eV; taken at some frames of every draw.

    Raises:
        ValueError: no atoms are bonded, or the forecast does not fit the truth.
    """
    draws, true, _, mask = aligned(forecast, truth, "skip")
    pairs = bonds(truth)
    if not pairs.shape[1]:
        raise ValueError("no atoms are bonded in the first frame of the truth; this needs molecules with atomic numbers in `kind`, in Angstrom")
    whole = mask.all(1)  # atoms that were followed throughout
    pairs = pairs[:, whole[pairs].all(0)]
    found = []
    for name, chosen in by_elements(pairs, truth.kind).items():
        found.append(DrawnStatistic.of(f"{name} bond", "angstrom", _lengths(true, pairs[:, chosen]), _lengths(draws, pairs[:, chosen])))
    found += _angles(draws, true, bond_angles(pairs), truth)
    return found if energy is None else [*found, _energies(draws, true, energy)]


def _lengths(x: Float[Tensor, "*draw node time dim"], pairs: Tensor) -> Tensor:
    return (x[..., pairs[0], :, :] - x[..., pairs[1], :, :]).double().norm(dim=-1)


def _angles(draws: Tensor, true: Tensor, angles: Tensor, truth: Trajectories) -> list[DrawnStatistic]:
    from ase.data import chemical_symbols

    found = []
    for kind in truth.kind[angles[1]].unique().tolist():
        some = angles[:, truth.kind[angles[1]] == kind]
        found.append(DrawnStatistic.of(f"angle at {chemical_symbols[kind]}", "degrees", _degrees(true, some), _degrees(draws, some)))
    return found


def _degrees(x: Float[Tensor, "*draw node time dim"], angles: Tensor) -> Tensor:
    arms = [(x[..., angles[k], :, :] - x[..., angles[1], :, :]).double() for k in (0, 2)]
    return torch.rad2deg(torch.nn.functional.cosine_similarity(*arms, dim=-1).clamp(-1, 1).acos())


def _energies(draws: Tensor, true: Tensor, energy: Energy) -> DrawnStatistic:
    frames = torch.linspace(0, true.shape[1] - 1, min(FRAMES, true.shape[1])).round().long().tolist()
    at = torch.stack([energy(true[:, f].double()) for f in frames])
    drawn = torch.stack([energy(draw[:, f].double()) for draw in draws for f in frames])
    return DrawnStatistic.of("potential energy", "eV", at, drawn)
