"""Tiny data for the pages: an ethanol whose atoms are joined by springs, simulated with the package's own integrator."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from trajlab.data import store
from trajlab.dynamics.kinetics import maxwell_boltzmann
from trajlab.dynamics.particles import Particles
from trajlab.dynamics.verlet import verlet
from trajlab.types import Trajectories
from trajlab.units import Units

X = torch.tensor([
    [1.168, -0.382, 0.0], [0.0, 0.556, 0.0], [-1.190, -0.218, 0.0], [-1.946, 0.381, 0.0], [0.048, 1.199, 0.886],
    [0.048, 1.199, -0.886], [2.100, 0.189, 0.0], [1.158, -1.013, 0.888], [1.158, -1.013, -0.888]], dtype=torch.float64)
KIND = torch.tensor([6, 6, 8, 1, 1, 1, 1, 1, 1])
MASS = torch.tensor([12.011, 12.011, 15.999] + [1.008] * 6, dtype=torch.float64)


class Springs:
    """A spring between every two atoms of a molecule, stiff between near ones."""

    def __call__(self, p: Particles) -> tuple[torch.Tensor, torch.Tensor]:
        x = p.x.reshape(p.n_scenes, -1, 3)
        r = x[:, None] - x[:, :, None]
        rest = torch.cdist(X, X) + torch.eye(9)
        length = r.norm(dim=-1) + torch.eye(9)
        stiff = (20.0 / rest**4) * (1 - torch.eye(9))
        energy = (0.25 * stiff * (length - rest) ** 2).sum((1, 2))
        force = (stiff * (length - rest) / length)[..., None] * r
        return energy, force.sum(2).reshape(-1, 3)


def simulate(runs: int, frames: int, spacing: float, seed: int) -> Trajectories:
    """Runs at 300 K, equilibrated for a little while."""
    scene = torch.arange(runs).repeat_interleave(9)
    still = Particles(X.repeat(runs, 1), torch.zeros(runs * 9, 3, dtype=torch.float64), MASS.repeat(runs), KIND.repeat(runs), scene, runs)
    p = maxwell_boltzmann(still, 600.0, torch.Generator().manual_seed(seed))
    p, forces, _ = verlet(p, Springs(), 0.5, 100)
    record = [p]
    for _ in range(frames - 1):
        p, forces, _ = verlet(p, Springs(), 0.5, round(spacing / 0.5), forces)
        record.append(p)
    clock = (spacing * torch.arange(frames, dtype=torch.float64)).expand(runs, frames)
    return Trajectories(
        x=torch.stack([q.x for q in record], 1), time=clock, scene=scene, kind=p.kind, extra={"velocity": torch.stack([q.v for q in record], 1)},
        static={"mass": p.mass}, context={"run": torch.arange(runs), "temperature": torch.full((runs,), 300.0)}, units=Units.md())


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """``ethanol.extxyz`` (one run, a frame every fs), ``pairs.zarr`` (pairs of many runs) and ``reference.zarr`` (a few longer runs)."""
    from ase.io import write

    from trajlab.data.adapters.ase import to_ase

    folder = tmp_path_factory.mktemp("tiny")
    write(folder / "ethanol.extxyz", to_ase(simulate(1, 120, 1.0, 0)))
    store.save(simulate(40, 2, 5.0, 1), folder / "pairs.zarr")
    store.save(simulate(4, 120, 5.0, 2), folder / "reference.zarr")
    return folder


@pytest.fixture
def workplace(tiny, tmp_path, monkeypatch) -> Path:
    """A folder of one's own with the tiny data in it."""
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
