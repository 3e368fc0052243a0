"""One call from the name of a system to its reference trajectories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trajlab.catalog import load, unknown
from trajlab.dynamics.particles import Particles, Potential
from trajlab.dynamics.thermostats import Langevin, Thermostat
from trajlab.sources import POTENTIALS, TABLE
from trajlab.sources.recipes import MDRecipe
from trajlab.sources.sampling import equilibrated, nve_pairs, nvt_trajectory
from trajlab.types import Trajectories


def find(name: str) -> MDRecipe:
    """The recipe of a name; ``xtb:<molecule or file>`` takes any molecule.

    Raises:
        ValueError: no such name (with the nearest that there is).
    """
    kind, _, system = name.partition(":")
    if kind not in TABLE or (system and kind != "xtb"):
        raise ValueError(unknown("reference system", name, [*TABLE, "xtb:<molecule or file>"]))
    recipe: MDRecipe = load(TABLE[kind])
    return replace(recipe, system=system) if system else recipe


def build(recipe: MDRecipe | str, folder: str | Path | None = None) -> tuple[Potential, Particles]:
    """The potential of a recipe and one system at rest.

    Args:
        recipe: or its name.
        folder: local files instead of downloads.

    Raises:
        ValueError: no such recipe or potential, or a file is damaged.
        FileNotFoundError, ConnectionError: a file is missing.
    """
    recipe = find(recipe) if isinstance(recipe, str) else recipe
    if recipe.potential not in POTENTIALS:
        raise ValueError(unknown("reference potential", recipe.potential, POTENTIALS))
    pair: tuple[Potential, Particles] = load(POTENTIALS[recipe.potential])(recipe.system, folder)
    return pair


def simulate(recipe: MDRecipe | str, *, folder: str | Path | None = None, quiet: bool = False, **changes: Any) -> Trajectories:
    """Training pairs of a recipe: decorrelated NVE segments (see `trajlab.sources.sampling.nve_pairs`).

    Args:
        recipe: or its name, for example ``"uracil"``, ``"copper"`` or ``"xtb:methanol"``.
        folder: local files instead of downloads.
        quiet: no progress bar.
        changes: settings of the recipe to change, for example ``pairs=2000``.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: as `build`.
        RuntimeError: a bond broke.
    """
    recipe = _changed(recipe, changes)
    return nve_pairs(*build(recipe, folder), recipe, quiet=quiet)


def simulate_long(recipe: MDRecipe | str, duration: float, *, thermostat: Thermostat | None = None, folder: str | Path | None = None,
                  quiet: bool = False, **changes: Any) -> Trajectories:
    """Reference trajectories of ``recipe.replicas`` equilibrated replicas, recorded every stride, to judge a surrogate against.

    Args:
        recipe: or its name.
        duration: of each replica, fs.
        thermostat: acts once a stride as in a surrogate's roll-out; Langevin with tau = 50 strides by default.
        folder: local files instead of downloads.
        quiet: no progress bar.
        changes: settings of the recipe to change, for example ``replicas=8``.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: as `build`.
        RuntimeError: a bond broke.
    """
    recipe = _changed(recipe, changes)
    potential, start = build(recipe, folder)
    thermostat = thermostat or Langevin(recipe.temperature, 50 * recipe.stride)
    p = equilibrated(potential, start, recipe, torch.Generator().manual_seed(recipe.seed + 1), quiet=quiet)
    return nvt_trajectory(potential, p, thermostat, recipe, max(1, round(duration / recipe.stride)), quiet=quiet)


def _changed(recipe: MDRecipe | str, changes: dict[str, Any]) -> MDRecipe:
    return replace(find(recipe) if isinstance(recipe, str) else recipe, **changes)
