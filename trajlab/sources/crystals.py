"""Crystals: fcc metals with effective medium theory, alpha-quartz with the potential of Vashishta and others."""

from __future__ import annotations

from pathlib import Path

from trajlab.catalog import unknown
from trajlab.dynamics.particles import Particles
from trajlab.sources.calculator import from_atoms
from trajlab.sources.emt import EMT
from trajlab.sources.recipes import MDRecipe

#: The highest modes lie at 260 and 267 per cm, so that strides of 30 fs do not alias.
COPPER = MDRecipe("copper", "emt", dt=2.0, stride=30.0, pairs=1536, replicas=24, friction=0.01, decorrelate=500.0)
ALUMINIUM = MDRecipe("aluminium", "emt", dt=2.0, stride=30.0, pairs=1536, replicas=24, friction=0.01, decorrelate=500.0)

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
