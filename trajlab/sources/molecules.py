"""Molecules: sGDML force fields of eight (DFT quality), GFN2-xTB for all others."""

from __future__ import annotations

from pathlib import Path

import torch

from trajlab.dynamics.particles import Particles
from trajlab.sources.calculator import from_atoms
from trajlab.sources.cards import sgdml_card
from trajlab.sources.recipes import MDRecipe
from trajlab.sources.sgdml import SGDML
from trajlab.sources.xtb import XTB

ASPIRIN = MDRecipe("aspirin", "sgdml")
ETHANOL = MDRecipe("ethanol", "sgdml")
MALONALDEHYDE = MDRecipe("malonaldehyde", "sgdml")
NAPHTHALENE = MDRecipe("naphthalene", "sgdml")
PARACETAMOL = MDRecipe("paracetamol", "sgdml")
SALICYLIC_ACID = MDRecipe("salicylic_acid", "sgdml")
TOLUENE = MDRecipe("toluene", "sgdml")
URACIL = MDRecipe("uracil", "sgdml")
#: any molecule, as "xtb:ethanol" or "xtb:molecule.xyz"
XTB_MOLECULE = MDRecipe("ethanol", "GFN2-xTB", pairs=4000, replicas=40)

#: everyday names of molecules in ASE's tables
ALIASES = {"acetone": "CH3COCH3", "ammonia": "NH3", "benzene": "C6H6", "butadiene": "butadiene", "ethane": "C2H6", "ethanol": "CH3CH2OH",
           "formaldehyde": "H2CO", "methane": "CH4", "methanol": "CH3OH", "pyridine": "C5H5N", "water": "H2O"}


def sgdml(system: str, folder: str | Path | None = None) -> tuple[SGDML, Particles]:
    """The sGDML potential of a molecule and the molecule at rest, at a training point rebuilt from its distances.

    Args:
        system: one of the eight names of `trajlab.sources.cards.SGDML_FILES`.
        folder: where ``<system>.npz`` lies; without it the file is downloaded and cached.

    Raises:
        FileNotFoundError, ValueError, ConnectionError: as `Card.fetch`.
    """
    from ase.data import atomic_masses

    potential = SGDML(sgdml_card(system).fetch(folder))
    n = len(potential.z)
    mass = torch.tensor(atomic_masses[potential.z.numpy()], dtype=torch.float64)
    return potential, Particles(potential.geometry(), torch.zeros(n, 3, dtype=torch.float64), mass, potential.z, torch.zeros(n, dtype=torch.long), 1)


def xtb(system: str, folder: str | Path | None = None) -> tuple[XTB, Particles]:
    """The GFN2-xTB potential and a molecule at rest.

    Args:
        system: a name of ASE's table of molecules (``ase.build.molecule``), an everyday name of `ALIASES`, or a file that ASE reads.
        folder: of relative file names.

    Raises:
        ImportError: tblite is not installed.
        ValueError: no such molecule or file.
    """
    from ase.build import molecule
    from ase.io import read

    path = Path(folder or ".") / system
    if path.is_file():
        return XTB(), from_atoms(read(path))
    try:
        return XTB(), from_atoms(molecule(ALIASES.get(system, system)))
    except KeyError as error:
        raise ValueError(
            f"no molecule or file {system!r}; give a structure file (xyz, sdf, ...), a name of ase.build.molecule, or one of {', '.join(ALIASES)}"
        ) from error
