"""Crystals: fcc metals with effective medium theory, alpha-quartz with the potential of Vashishta and others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trajlab.catalog import unknown
from trajlab.dynamics.particles import Particles, Potential
from trajlab.sources.calculator import from_atoms
from trajlab.sources.emt import EMT
from trajlab.sources.recipes import MDRecipe
from trajlab.sources.vashishta import Vashishta

#: The highest modes lie at 260 and 267 per cm, so that strides of 30 fs do not alias.
COPPER = MDRecipe("copper", "emt", dt=2.0, stride=30.0, pairs=1536, replicas=24, friction=0.01, decorrelate=500.0)
ALUMINIUM = MDRecipe("aluminium", "emt", dt=2.0, stride=30.0, pairs=1536, replicas=24, friction=0.01, decorrelate=500.0)
#: Modes reach 1 300 per cm, so that more than half of them are folded at this stride.
QUARTZ = MDRecipe("quartz", "vashishta", dt=1.0, stride=20.0, pairs=1000, replicas=20, friction=0.01, decorrelate=300.0)

METALS = {"copper": ("Cu", 3.63), "aluminium": ("Al", 4.02)}  #: element and lattice constant at 300 K, Angstrom


def emt(system: str, folder: str | Path | None = None) -> tuple[EMT, Particles]:  # noqa: ARG001
    """Effective medium theory and a perfect fcc crystal of 108 atoms (3x3x3 cubic cells) at rest.

    Raises:
        ValueError: no such metal.
    """
    from ase.build import bulk

    if system not in METALS:
        raise ValueError(unknown("metal", system, METALS))
    symbol, constant = METALS[system]
    return EMT(), from_atoms(bulk(symbol, "fcc", a=constant, cubic=True).repeat(3))


#: alpha-quartz, space group 154: a, c in Angstrom, fractional coordinates of Si (u, 0, 2/3) and O (x, y, z); experimental
QUARTZ_START = (4.916, 5.4054, 0.4697, 0.4133, 0.2672, 0.7855)


def vashishta(system: str, folder: str | Path | None = None) -> tuple[Vashishta, Particles]:
    """The Vashishta potential and alpha-quartz of 243 atoms (3x3x3 cells) at rest, relaxed at zero pressure.

    Args:
        system: ``quartz`` for the values of 1994, or the name of a parameter file in the format of LAMMPS.
        folder: of the parameter file.

    Raises:
        ValueError: neither, or a damaged file.
    """
    file = Path(folder or ".") / system
    if system != "quartz" and not file.is_file():
        raise ValueError(unknown("crystal or parameter file for the Vashishta potential", system, ["quartz"]))
    potential = Vashishta(None if system == "quartz" else file)
    return potential, from_atoms(quartz(relax_quartz(potential)).repeat(3))


def quartz(parameters: Sequence[float] = QUARTZ_START) -> Any:
    """The 9-atom cell as ASE ``Atoms``, from a, c, u, x, y, z as in `QUARTZ_START`."""
    from ase.spacegroup import crystal

    a, c, u, x, y, z = parameters
    return crystal(["Si", "O"], basis=[(u, 0, 2 / 3), (x, y, z)], spacegroup=154, cellpar=[a, a, c, 90, 90, 120])


def relax_quartz(potential: Potential, start: Sequence[float] = QUARTZ_START) -> tuple[float, ...]:
    """The six numbers of `QUARTZ_START` at the least energy: no symmetry is broken, nothing else can relax.

    Raises:
        RuntimeError: the minimisation did not converge.
    """
    from scipy.optimize import minimize

    found = minimize(lambda values: float(potential(from_atoms(quartz(tuple(values))))[0]), start, method="BFGS", options={"gtol": 1e-4})
    if found.jac is None or float(abs(found.jac).max()) > 1e-2:
        raise RuntimeError(f"the cell of quartz did not relax with this potential: {found.message}")
    return tuple(float(v) for v in found.x)
