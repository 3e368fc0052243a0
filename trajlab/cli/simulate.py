"""``trajlab simulate md SYSTEM``: reference molecular dynamics, pairs to train on or runs to judge against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import tyro

from trajlab import sources
from trajlab.catalog import unknown
from trajlab.cli.options import chosen, command, copied, parse, subject
from trajlab.sources.recipes import MDRecipe

DOCUMENT = """Simulate a system with its reference potential. Settings that are not given are those of its recipe.

Without --duration: pairs of frames one stride apart, from decorrelated starts (NVE), to train on.
With --duration: replicas under a thermostat that acts once a stride, recorded every stride, to judge against.

Attributes:
    system: one of {systems}, or xtb:<molecule or file> for any molecule.
    out: a .zarr folder or .zarr.zip file.
    duration: of each replica, ps.
    thermostat: of --duration: langevin, csvr or nve.
    tau: its time constant, fs; 50 strides if not given.
    folder: local files instead of downloads.
    overwrite: replace what is there.
    quiet: no progress bar.
"""


def options() -> type:
    own = [("system", tyro.conf.Positional[str], MISSING), ("out", Path, Path("data.zarr")), ("duration", float | None, None),
           ("thermostat", str, "langevin"), ("tau", float | None, None), ("folder", Path | None, None),
           ("overwrite", bool, False), ("quiet", bool, False)]
    document = DOCUMENT.format(systems=", ".join(sources.TABLE))
    return command("Simulate", document, own, recipe=copied(MDRecipe, leave_out=("system", "potential"), unset=True))


def run(arguments: Sequence[str]) -> None:
    """Simulate and store."""
    _, rest = subject(arguments, "kind", ["md"], "simulate")
    given: Any = parse(options(), rest, "simulate md")
    kind, _, system = given.system.partition(":")
    if kind not in sources.TABLE or (system and kind != "xtb"):
        raise ValueError(unknown("reference system", given.system, [*sources.TABLE, "xtb:<molecule or file>"]))
    if given.out.exists() and not given.overwrite:
        raise ValueError(f"{given.out} exists; pass --overwrite to replace it, or another --out")

    from trajlab.data import store

    trajectories = _simulate(given)
    print(f"{trajectories}\nsaved in {store.save(trajectories, given.out, overwrite=given.overwrite)}")


def _simulate(given: Any) -> Any:
    from trajlab.dynamics.thermostats import by_name
    from trajlab.sources import simulate

    changes = chosen(given.recipe)
    if given.duration is None:
        return simulate.simulate(given.system, folder=given.folder, quiet=given.quiet, **changes)
    recipe = simulate.find(given.system)
    temperature, tau = changes.get("temperature", recipe.temperature), given.tau or 50 * changes.get("stride", recipe.stride)
    thermostat = by_name(given.thermostat, temperature, tau)
    return simulate.simulate_long(recipe, 1000 * given.duration, thermostat=thermostat, folder=given.folder, quiet=given.quiet, **changes)
