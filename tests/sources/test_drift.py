"""Energy is conserved by every reference potential, at the order of the integrator: forces belong to their energies."""

from __future__ import annotations

import pytest
import torch

from trajlab.dynamics.kinetics import kinetic_energy, maxwell_boltzmann
from trajlab.dynamics.verlet import verlet
from trajlab.sources.sampling import replicate
from trajlab.sources.simulate import build


def largest_change(name, dt, duration, folder=None):
    """The largest change of the total energy in eV/atom at ten times of an NVE run of two replicas started at 300 K."""
    potential, start = build(name, folder)
    p = maxwell_boltzmann(replicate(start, 2), 300.0, torch.Generator().manual_seed(1))
    energy, forces = potential(p)
    first, worst = energy + kinetic_energy(p), 0.0
    for _ in range(10):
        p, forces, energy = verlet(p, potential, dt, round(duration / dt / 10), forces)
        worst = max(worst, float((energy + kinetic_energy(p) - first).abs().max()) / len(start.x))
    return worst


def test_copper():
    coarse, fine = largest_change("copper", 8.0, 160.0), largest_change("copper", 4.0, 160.0)
    assert fine < 3e-4
    assert 2.5 < coarse / fine < 6


@pytest.mark.parametrize("name", ["uracil", "malonaldehyde"])
def test_molecules(reference, name):
    coarse, fine = (largest_change(name, dt, 60.0, reference / "md/sgdml_models") for dt in (0.5, 0.25))
    assert fine < 5e-4
    assert 2.5 < coarse / fine < 6
