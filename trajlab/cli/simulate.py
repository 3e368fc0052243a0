"""``trajlab simulate md|nbody|windows|chaos|jumps SYSTEM``: reference trajectories, to train on or to judge against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import tyro

from trajlab import sources
from trajlab.catalog import unknown
from trajlab.cli.options import chosen, command, copied, parse, subject
from trajlab.sources.chaos_names import kind_of
from trajlab.sources.chaos_recipe import Recipe
from trajlab.sources.recipes import MDRecipe

MD = """Simulate a system with its reference potential. Settings that are not given are those of its recipe.

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
NBODY = """Simulate independent N-body trajectories, one scene each.

Attributes:
    system: one of {systems}.
    out: a .zarr folder or .zarr.zip file.
    n: number of trajectories.
    recipe: published (the data set of the literature, with its numerical artefacts) or accurate (error control, no cut-off of forces).
    frames: 0.1 time units apart.
    bodies: another number of them than published.
    seed: of the starts; take another for each of training, validation and test.
    overwrite: replace what is there.
    quiet: no progress bar.
"""
WINDOWS = """Simulate short energy-conserving windows of a molecule, for models of whole trajectories. Other settings are those of its recipe.

Attributes:
    system: one of {systems}, or xtb:<molecule or file> for any molecule.
    out: a .zarr folder or .zarr.zip file.
    n: number of windows.
    frames: in each.
    spacing: of the frames, fs.
    temperature: K.
    per: windows cut from one NVE segment; they overlap where --hop is below --frames.
    hop: frames between the beginnings of windows of one segment.
    seed: of the random numbers; take another for each of training, validation and test.
    folder: local files instead of downloads.
    overwrite: replace what is there.
    quiet: no progress bar.
"""
CHAOS = """Simulate an ensemble of a chaotic system, one scene a trajectory.

Attributes:
    system: one of `trajlab list chaos`.
    out: a .zarr folder or .zarr.zip file.
    set: parameters other than the tabulated ones, such as rho=30.
    overwrite: replace what is there.
    quiet: no progress bar.
"""
JUMPS = """Simulate paths of a Markov jump process with known rates, as a table that trajlab infer reads: subject, time, state, obstype.

Attributes:
    system: one of {systems}.
    out: a .csv file.
    n: number of paths.
    horizon: length of a path, in the unit of time of the process; the customary one if not given.
    looks: at each path, evenly spaced; the customary number if not given.
    noise: probability that a state is replaced by one that is uniform over all states.
    keep: looks, jumps (with their exact times, obstype 2) or entries (looks, and absorbing states with the time of their entry, obstype 3).
    seed: of the random numbers.
    set: parameters other than the customary ones, such as V=2.
    overwrite: replace what is there.
    quiet: accepted, since there is no progress to show.
"""
STORE = [("out", Path, Path("data.zarr")), ("overwrite", bool, False), ("quiet", bool, False)]


def molecules() -> list[str]:
    return [name for name, target in sources.TABLE.items() if ".molecules:" in target and name != "xtb"]


def options(kind: str = "md") -> type:
    """The options of ``trajlab simulate KIND``."""
    system, folder = ("system", tyro.conf.Positional[str], MISSING), ("folder", Path | None, None)
    if kind == "md":
        own = [system, *STORE[:1], ("duration", float | None, None), ("thermostat", str, "langevin"), ("tau", float | None, None), folder, *STORE[1:]]
        settings = copied(MDRecipe, leave_out=("system", "potential"), unset=True)
        return command("Simulate", MD.format(systems=", ".join(sources.TABLE)), own, recipe=settings)
    if kind == "nbody":
        own = [system, ("n", int, 3000), ("recipe", str, "published"), ("frames", int, 30), ("bodies", int | None, None), ("seed", int, 0), *STORE]
        return command("Simulate", NBODY.format(systems=", ".join(sources.NBODY)), own)
    if kind == "chaos":
        own = [system, ("set", tuple[str, ...], ()), *STORE]
        return command("Simulate", CHAOS, own, recipe=copied(Recipe))
    if kind == "jumps":
        own = [system, ("out", Path, Path("jumps.csv")), ("n", int, 300), ("horizon", float | None, None), ("looks", int | None, None),
               ("noise", float, 0.0), ("keep", str, "looks"), ("seed", int, 0), ("set", tuple[str, ...], ()), *STORE[1:]]
        return command("Simulate", JUMPS.format(systems=", ".join(sources.JUMP_PROCESSES)), own)
    own = [system, ("n", int, 500), ("frames", int, 30), ("spacing", float, 5.0), ("temperature", float, 500.0), ("per", int, 1), ("hop", int, 10),
           ("seed", int, 0), folder, *STORE]
    return command("Simulate", WINDOWS.format(systems=", ".join(molecules())), own)


def run(arguments: Sequence[str]) -> None:
    """Simulate and store."""
    kind, rest = subject(arguments, "kind", list(KINDS), "simulate")
    given: Any = parse(options(kind), rest, f"simulate {kind}")
    _known(kind, given.system)
    if given.out.exists() and not given.overwrite:
        raise ValueError(f"{given.out} exists; pass --overwrite to replace it, or another --out")

    if kind == "jumps":
        print(_jumps(given))
        return
    from trajlab.data import store

    trajectories = KINDS[kind](given)
    print(f"{trajectories}\nsaved in {store.save(trajectories, given.out, overwrite=given.overwrite)}")


def _known(kind: str, name: str) -> None:
    """Refuse a name before anything heavy is imported."""
    if kind == "nbody":
        if name not in sources.NBODY:
            raise ValueError(unknown("N-body system", name, sources.NBODY))
        return
    if kind == "chaos":
        kind_of(name)
        return
    if kind == "jumps":
        if name not in sources.JUMP_PROCESSES:
            raise ValueError(unknown("jump process", name, sources.JUMP_PROCESSES))
        return
    names = [*(sources.TABLE if kind == "md" else molecules()), "xtb"]
    first, _, system = name.partition(":")
    if first not in names or (system and first != "xtb"):
        raise ValueError(unknown("reference system", name, [*names, "xtb:<molecule or file>"]))


def _md(given: Any) -> Any:
    from trajlab.dynamics.thermostats import by_name
    from trajlab.sources import simulate

    changes = chosen(given.recipe)
    if given.duration is None:
        return simulate.simulate(given.system, folder=given.folder, quiet=given.quiet, **changes)
    recipe = simulate.find(given.system)
    temperature, tau = changes.get("temperature", recipe.temperature), given.tau or 50 * changes.get("stride", recipe.stride)
    thermostat = by_name(given.thermostat, temperature, tau)
    return simulate.simulate_long(recipe, 1000 * given.duration, thermostat=thermostat, folder=given.folder, quiet=given.quiet, **changes)


def _nbody(given: Any) -> Any:
    from trajlab.sources.nbody import nbody

    return nbody(given.system, given.n, given.recipe, seed=given.seed, frames=given.frames, bodies=given.bodies, quiet=given.quiet)


def _windows(given: Any) -> Any:
    from trajlab.sources.windows_md import molecule_windows

    return molecule_windows(given.system, given.n, given.frames, given.spacing, given.temperature, seed=given.seed, folder=given.folder,
                            per=given.per, hop=given.hop, quiet=given.quiet)


def _chaos(given: Any) -> Any:
    from trajlab.sources.chaos import chaos

    return chaos(given.system, **dict(map(_parameter, given.set))).trajectories(**vars(given.recipe))


def _jumps(given: Any) -> str:
    """Simulate and write a table; what was made, in words."""
    from trajlab.data.adapters.jump_tables import jumps_to_table
    from trajlab.sources.jump_processes import jump_process

    process = jump_process(given.system, **dict(map(_parameter, given.set)))
    horizon, looks = process.times
    times = (horizon if given.horizon is None else given.horizon, looks if given.looks is None else given.looks)
    paths = process.simulate(given.n, times, noise=given.noise, keep=given.keep, seed=given.seed)
    text = jumps_to_table(paths).to_csv(index=False)
    beside = given.out.with_name(given.out.name + ".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(given.out)
    return f"{process}\n{paths}\nsaved in {given.out}"


def _parameter(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, float(value) if "," not in value else [float(v) for v in value.split(",")]
    except ValueError:
        raise ValueError(f"--set {text}: name=number was wanted, such as --set rho=30") from None


#: what can be simulated
KINDS = {"md": _md, "nbody": _nbody, "windows": _windows, "chaos": _chaos, "jumps": _jumps}
