"""A molecule of springs: its potential, exact runs, and pairs."""

from __future__ import annotations

import pytest
import torch

from trajlab.dynamics.kinetics import maxwell_boltzmann
from trajlab.dynamics.particles import Particles
from trajlab.dynamics.thermostats import Langevin
from trajlab.models.baselines import LargeStepVerlet
from trajlab.models.rollout import RolloutConfig, rollout

REST = torch.tensor([[0.0, 0, 0], [1.0, 0.2, 0], [-0.3, 1.0, 0.3], [-0.6, -0.8, 0.9]], dtype=torch.float64)


def springs(p: Particles):
    """Springs between all atoms of each molecule: energies, eV, and forces, eV/A."""
    x = p.x.reshape(p.n_scenes, -1, 3)
    between = x[:, :, None] - x[:, None]
    length = between.norm(dim=-1) + torch.eye(4)
    stretch = (length - (REST[:, None] - REST[None]).norm(dim=-1)) * (1 - torch.eye(4))
    return 5.0 * stretch.square().sum((1, 2)), (-(20.0 * stretch / length)[..., None] * between).sum(2).reshape(-1, 3)


def molecules(count: int) -> Particles:
    mass = torch.tensor([16.0, 1.0, 1.0, 12.0], dtype=torch.float64)
    kind = torch.tensor([8, 1, 1, 6])
    return Particles(REST.repeat(count, 1), torch.zeros(4 * count, 3, dtype=torch.float64), mass.repeat(count), kind.repeat(count),
                     torch.arange(count).repeat_interleave(4), count)


def run(count: int, steps: int, seed: int, thermostat="langevin", substeps: int = 8):
    start = maxwell_boltzmann(molecules(count), 300.0, torch.Generator().manual_seed(seed))
    if thermostat == "langevin":
        thermostat = Langevin(300.0, 50.0)
    return rollout(LargeStepVerlet(springs, 4.0, substeps), start, steps, RolloutConfig(thermostat=thermostat, seed=seed, progress=False))


@pytest.fixture(scope="session")
def potential():
    return springs


@pytest.fixture(scope="session")
def forecast():
    """8 molecules, 1.6 ps under Langevin."""
    return run(8, 400, 1)


@pytest.fixture(scope="session")
def reference():
    """Hides the reference data: these tests need none. 8 molecules, 1.6 ps under Langevin with other random numbers."""
    return run(8, 400, 2).trajectories()


@pytest.fixture(scope="session")
def isolated():
    """4 molecules without thermostat from warm starts."""
    return run(4, 64, 3, "nve")
