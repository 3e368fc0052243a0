"""Tables of drawn molecules: bonds, angles and, where the reference potential is there, energies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trajlab.dynamics.particles import Particles
from trajlab.evaluate.results import Table
from trajlab.metrics.molecule_draws import Energy, is_molecular, molecule_draws
from trajlab.types import Forecast, Trajectories

if TYPE_CHECKING:
    from trajlab.evaluate.geotdm_task import Task

__all__ = ["molecule_tables", "potential_of"]


def molecule_tables(forecasts: Mapping[str, Forecast], truth: Trajectories, potential: Any = None) -> list[Table]:
    """One table of all forecasts, the judged one first; none where the truth is no molecules.

    Args:
        forecasts: by name.
        truth: what came.
        potential: a `trajlab.dynamics.particles.Potential` of the molecules, for their energies.
    """
    if not forecasts or not is_molecular(truth):
        return []
    energy = None if potential is None else energies_by(potential, truth)
    rows: list[list[Any]] = []
    for who, forecast in forecasts.items():
        for s in molecule_draws(forecast, truth, energy):
            rows.append([who, f"{s.name}, {s.unit}", s.mean, s.drawn_mean, s.std, s.drawn_std, s.difference])
    columns = ["method", "of", "true mean", "drawn mean", "true deviation", "drawn deviation", "difference of densities"]
    note = ("Over all predicted frames and draws (energies: some frames). Difference of densities: integral over the true range of the absolute "
            "difference, 0 for equal distributions, 1 where no draw lies in that range.")
    return [Table("Molecules in the draws", columns, rows, note)]


def energies_by(potential: Any, truth: Trajectories) -> Energy:
    """Energies of all scenes at given positions."""
    like = truth.static["mass"].double() if "mass" in truth.static else torch.ones(truth.n_nodes, dtype=torch.float64)

    def energy(x: Tensor) -> Tensor:
        return potential(Particles(x, torch.zeros_like(x), like, truth.kind, truth.scene, truth.n_scenes))[0]

    return energy


def potential_of(task: Task, data: Path | None) -> Any:
    """The reference potential of a task on a molecule; None for other tasks."""
    if task.source.get("kind") != "molecule":
        return None
    from trajlab.sources.molecules import sgdml

    return sgdml(task.source["name"], None if data is None else data / "md" / "sgdml_models")[0]
