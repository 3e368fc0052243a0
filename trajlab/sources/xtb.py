"""GFN2-xTB forces for any molecule, through tblite: semi-empirical quantum chemistry at about a millisecond for ten atoms.

Source: Bannwarth, Ehlert and Grimme, J. Chem. Theory Comput. 15, 1652 (2019). Needs the package tblite (``trajlab[md]``).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import need
from trajlab.dynamics.particles import Particles


class XTB:
    """Energies in eV and forces in eV/Angstrom, one molecule after another; each starts from its own last density.

    Args:
        method: ``GFN2-xTB``, ``GFN1-xTB`` or ``IPEA1-xTB``.
        accuracy: tblite's factor on the convergence thresholds; smaller is tighter.
        charge: of each molecule, elementary charges.

    Raises:
        ImportError: tblite is not installed.
    """

    def __init__(self, method: str = "GFN2-xTB", accuracy: float = 0.1, charge: float = 0.0) -> None:
        self._tblite = need("tblite.interface", "md", "the GFN2-xTB potential")
        self.method, self.accuracy, self.charge = method, accuracy, charge
        self._kept: dict[int, tuple[list[int], Any, Any]] = {}  # scene: its elements, calculator, last result
        self.provenance = {"potential": method, "citation": "Bannwarth et al., J. Chem. Theory Comput. 15, 1652 (2019)"}

    def __call__(self, p: Particles) -> tuple[Float[Tensor, "scene"], Float[Tensor, "node 3"]]:
        """Energies ``[scene]`` in eV and forces ``[node 3]`` in eV/Angstrom.

        Raises:
            ValueError: a system is periodic.
            RuntimeError: the self-consistent field did not converge.
        """
        from ase.units import Bohr, Hartree

        if not bool(p.isolated.all()):
            raise ValueError("the xTB potential is for molecules in open space, and this system is periodic. "
                             "Use CalculatorPotential with tblite.ase.TBLite for crystals")
        energies, forces, offset = [], [], 0
        positions = p.x.detach().cpu().double().numpy() / Bohr
        for scene, size in enumerate(p.sizes.tolist()):
            energy, gradient = self._one(scene, p.kind[offset : offset + size].tolist(), positions[offset : offset + size])
            energies.append(energy * Hartree)
            forces.append(torch.from_numpy(gradient * (-Hartree / Bohr)))
            offset += size
        return torch.tensor(energies, dtype=p.x.dtype, device=p.x.device), torch.cat(forces).to(p.x)

    def _one(self, scene: int, numbers: list[int], positions: Any) -> tuple[float, Any]:
        kept = self._kept.get(scene)
        if kept is None or kept[0] != numbers:
            calculator = self._tblite.Calculator(self.method, numbers, positions, charge=self.charge)
            calculator.set("verbosity", 0)
            calculator.set("accuracy", self.accuracy)
            kept = (numbers, calculator, None)
        kept[1].update(positions)
        result = kept[1].singlepoint(kept[2])
        self._kept[scene] = (numbers, kept[1], result)
        return float(result.get("energy")), result.get("gradient")
