"""A short run of atoms for the tests of readers."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def run():
    """A short run of ASE itself: copper in a periodic cell, 2 fs a frame, momenta in ASE's units."""
    ase = pytest.importorskip("ase")
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.md.verlet import VelocityVerlet

    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.calc = EMT()
    MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=np.random.default_rng(0))
    dynamics, images = VelocityVerlet(atoms, 2 * ase.units.fs), []
    for k in range(6):
        image = atoms.copy()
        image.info["time_fs"] = 2.0 * k
        images.append(image)
        dynamics.run(1)
    return images
