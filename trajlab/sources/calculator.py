"""Any ASE calculator as a reference potential."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.particles import Particles


class CalculatorPotential:
    """Energies in eV and forces in eV/Angstrom from an ASE calculator, one system after another.

    Args:
        calculator: an ASE calculator with energy and forces.
    """

    def __init__(self, calculator: Any) -> None:
        if not hasattr(calculator, "get_property"):
            raise TypeError(f"an ASE calculator was wanted, got a {type(calculator).__name__}; ase.calculators has them")
        self.calculator = calculator
        self.provenance = {"potential": f"ase calculator {type(calculator).__name__}"}

    def __call__(self, p: Particles) -> tuple[Float[Tensor, "scene"], Float[Tensor, "node 3"]]:
        """Energies ``[scene]`` in eV and forces ``[node 3]`` in eV/Angstrom; errors of the calculator pass through."""
        energies, forces = [], []
        for atoms in to_atoms(p):
            atoms.calc = self.calculator
            energies.append(atoms.get_potential_energy())
            forces.append(torch.as_tensor(atoms.get_forces()))
        return torch.tensor(energies, dtype=p.x.dtype, device=p.x.device), torch.cat(forces).to(p.x)


def to_atoms(p: Particles) -> list[Any]:
    """One ASE ``Atoms`` a system: numbers, positions, masses, cell and periodic directions."""
    from ase import Atoms

    found, offset = [], 0
    for scene, size in enumerate(p.sizes.tolist()):
        nodes = slice(offset, offset + size)
        cell = None if p.cell is None else p.cell[scene].cpu().numpy()
        pbc = False if p.pbc is None else p.pbc[scene].cpu().numpy()
        found.append(Atoms(p.kind[nodes].cpu().numpy(), p.x[nodes].detach().cpu().numpy(), masses=p.mass[nodes].cpu().numpy(), cell=cell, pbc=pbc))
        offset += size
    return found


def from_atoms(atoms: Any) -> Particles:
    """One system at rest from ASE ``Atoms``, float64; the masses of the atoms, its cell where it is periodic."""
    n = len(atoms)
    periodic = bool(atoms.pbc.any())
    return Particles(
        x=torch.tensor(atoms.get_positions(), dtype=torch.float64), v=torch.zeros(n, 3, dtype=torch.float64),
        mass=torch.tensor(atoms.get_masses(), dtype=torch.float64), kind=torch.tensor(atoms.get_atomic_numbers(), dtype=torch.long),
        scene=torch.zeros(n, dtype=torch.long), n_scenes=1,
        cell=torch.tensor(atoms.cell.array, dtype=torch.float64)[None] if periodic else None,
        pbc=torch.tensor(atoms.pbc)[None] if periodic else None,
    )
