"""Semi-discrete optimal transport: a continuous source onto a bank of points (An et al. 2020; DPM-OT, Li et al. 2023).

The map sends x to the atom y_i with the largest  <x, y_i> + h_i. The heights h maximise the dual of the squared-distance cost,

    minimise  E_x max_i (<x, y_i> + h_i) - sum_i w_i h_i,      gradient  mass(cell_i) - w_i,

so that every cell holds the mass w_i of the source *it was trained on*: heights found on another source leave cells empty.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: ``draw(n, generator)`` gives ``[n *event]`` of the source.
Draw = Callable[[int, torch.Generator], Tensor]

HELD = 1 << 22  #: scores held in memory at once


def standard_normal(event: Sequence[int], scale: float = 1.0) -> Draw:
    """The source N(0, scale^2 I) over events of this shape."""
    return lambda n, generator: scale * torch.randn(n, *event, generator=generator, device=generator.device)


@dataclass(frozen=True)
class Cells:
    """A bank of points, each with its cell of the source.

    Attributes:
        atoms: ``[atom *event]``.
        height: ``[atom]``, float64, centred.
        weight: ``[atom]``, the mass that each cell should have.
        mass: ``[atom]``, the mass that it has, by fresh draws of the source.
        converged: whether no cell is empty and the total variation is within the tolerance.
        history: total variation in the course of the fit, by single batches.
    """

    atoms: Tensor
    height: Tensor
    weight: Tensor
    mass: Tensor
    converged: bool
    history: list[float] = field(default_factory=list, repr=False)

    @property
    def total_variation(self) -> float:
        """Half the summed difference between the masses that are and those that were wanted."""
        return float((self.mass - self.weight).abs().sum() / 2)

    @property
    def empty(self) -> int:
        """Cells that no draw fell into."""
        return int((self.mass == 0).sum())

    def nearest(self, x: Float[Tensor, "batch *event"], k: int = 1) -> Int[Tensor, "batch k"]:
        """The ``k`` atoms of highest <x, y_i> + h_i, best first.

        Raises:
            ValueError: x has another event shape than the atoms, or the bank has fewer than k atoms.
        """
        if x.shape[1:] != self.atoms.shape[1:]:
            raise ValueError(f"x has shape {tuple(x.shape)} and the atoms {tuple(self.atoms.shape)}; events must have the same shape")
        if not 1 <= k <= len(self.atoms):
            raise ValueError(f"k={k} atoms were asked for, and the bank has {len(self.atoms)}")
        atoms = self.atoms.to(x).flatten(1)
        rows = max(1, HELD // len(atoms))
        found = [_scores(part, atoms, self.height.to(x.device)).topk(k).indices for part in x.flatten(1).split(rows)]
        return torch.cat(found) if found else torch.empty(0, k, dtype=torch.long, device=x.device)

    def assign(self, x: Float[Tensor, "batch *event"]) -> Int[Tensor, " batch"]:
        """The atom of every source point; several points may share one, for this is a map onto the bank and no permutation."""
        return self.nearest(x)[:, 0]

    def masses(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, " atom"]:
        """Shares of ``x`` in the cells."""
        return torch.bincount(self.assign(x), minlength=len(self.atoms)).double() / len(x)


@dataclass(frozen=True)
class SemiDiscrete:
    """Settings of the fit: Adam (0.9, 0.999) on the heights, with a rate that falls linearly to zero, each step on a fresh batch of the source.

    Attributes:
        iterations: steps.
        rate: first step size, on atoms scaled to unit root mean square.
        batch: source draws a step.
        tolerance: largest total variation that counts as converged.
        check: draws an atom for the final masses; 400 measure a total variation down to about 0.02.

    Raises:
        ValueError: a setting that is not positive.
    """

    iterations: int = 1500
    rate: float = 0.1
    batch: int = 4000
    tolerance: float = 0.05
    check: int = 400

    def __post_init__(self) -> None:
        for name in ("iterations", "rate", "batch", "tolerance", "check"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} came; a positive number was wanted")

    def fit(self, atoms: Float[Tensor, "atom *event"], draw: Draw, generator: torch.Generator, weight: Tensor | None = None) -> Cells:
        """The cells of ``atoms`` under the source that ``draw`` draws from, which must be the source that the map will be used on.

        Args:
            atoms: the bank.
            draw: ``draw(n, generator)`` gives ``[n *event]``; `standard_normal` for noise.
            generator: the source of all draws.
            weight: ``[atom]``, masses wanted; equal by default.

        Raises:
            ValueError: fewer than two atoms, a value that is not finite, weights that are not positive, or draws of another shape.
        """
        weight = _weights(atoms, weight)
        flat = atoms.flatten(1).double()
        flat = flat - flat.mean(0)  # <x, y> changes by the same number for all atoms
        scale = float(flat.square().mean().sqrt()) or 1.0
        height, history = self._descend((flat / scale).float(), weight, lambda n: _drawn(draw, n, generator, atoms))
        cells = Cells(atoms, scale * height, weight, weight, True, history)
        mass = self._mass(cells, lambda n: _drawn(draw, n, generator, atoms))
        off = float((mass - weight).abs().sum() / 2)
        converged = off <= self.tolerance and bool((mass > 0).all())
        if not converged:
            warnings.warn(f"semi-discrete transport has not converged: total variation {off:.3f} (tolerance {self.tolerance:g}), "
                          f"{int((mass == 0).sum())} of {len(mass)} cells empty; raise iterations or batch", stacklevel=2)
        return Cells(atoms, cells.height, weight, mass, converged, history)

    def _descend(self, atoms: Tensor, weight: Tensor, draw: Callable[[int], Tensor]) -> tuple[Tensor, list[float]]:
        height = torch.zeros_like(weight)
        first, second, history = torch.zeros_like(height), torch.zeros_like(height), []
        for k in range(self.iterations):
            cell = _scores(draw(self.batch).float(), atoms, height).argmax(1)
            slope = torch.bincount(cell, minlength=len(atoms)).double() / self.batch - weight
            history.append(float(slope.abs().sum() / 2))
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
            step = first / (1 - 0.9 ** (k + 1)) / ((second / (1 - 0.999 ** (k + 1))).sqrt() + 1e-8)
            height = height - self.rate * (1 - k / self.iterations) * step
            height = height - height.mean()
        return height, history

    def _mass(self, cells: Cells, draw: Callable[[int], Tensor]) -> Tensor:
        rounds = max(1, -(-self.check * len(cells.atoms) // self.batch))
        shape = (self.batch, *cells.atoms.shape[1:])
        return torch.stack([cells.masses(draw(self.batch).to(cells.atoms).reshape(shape)) for _ in range(rounds)]).mean(0)


def _scores(x: Tensor, atoms: Tensor, height: Tensor) -> Tensor:
    return torch.addmm(height.to(x.dtype), x, atoms.T)


def _drawn(draw: Draw, n: int, generator: torch.Generator, atoms: Tensor) -> Tensor:
    x = draw(n, generator).to(atoms.device)
    if x.shape != (n, *atoms.shape[1:]):
        raise ValueError(f"the source gave {tuple(x.shape)}; {(n, *atoms.shape[1:])} was wanted, as the atoms have events {tuple(atoms.shape[1:])}")
    return x.flatten(1)


def _weights(atoms: Tensor, weight: Tensor | None) -> Tensor:
    if len(atoms) < 2 or not bool(torch.isfinite(atoms).all()):
        raise ValueError(f"atoms of shape {tuple(atoms.shape)} came; two or more were wanted, all of them finite")
    if weight is None:
        return torch.full((len(atoms),), 1 / len(atoms), dtype=torch.float64, device=atoms.device)
    if weight.shape != (len(atoms),) or not bool((weight > 0).all()):
        raise ValueError(f"weights of shape {tuple(weight.shape)} came; {len(atoms)} positive numbers were wanted")
    return weight.double() / weight.double().sum()
