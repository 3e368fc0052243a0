"""Reference trajectories from a potential: many short energy-conserving segments for training, long runs for judging.

Training pairs come from NVE segments started at decorrelated canonical frames; pairs cut from a thermostatted run would teach the
noise of the thermostat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from trajlab.dynamics.kinetics import remove_momentum
from trajlab.dynamics.langevin import baoab
from trajlab.dynamics.particles import Particles, Potential
from trajlab.dynamics.streams import Streams
from trajlab.dynamics.thermostats import Thermostat
from trajlab.dynamics.verlet import verlet
from trajlab.sources.recipes import MDRecipe
from trajlab.sources.watch import BondWatch, collect, progress
from trajlab.types import Trajectories
from trajlab.units import Units


def replicate(p: Particles, copies: int) -> Particles:
    """``copies`` of a batch one after another: independent replicas once they have had their own noise."""
    scene = torch.cat([p.scene + k * p.n_scenes for k in range(copies)])
    tile = lambda value: None if value is None else value.repeat(copies, *[1] * (value.ndim - 1))  # noqa: E731
    return Particles(tile(p.x), tile(p.v), tile(p.mass), tile(p.kind), scene, p.n_scenes * copies, tile(p.cell), tile(p.pbc))


def equilibrated(potential: Potential, start: Particles, recipe: MDRecipe, generator: torch.Generator, *, quiet: bool = True) -> Particles:
    """``recipe.replicas`` canonical replicas of one system, from rest at ``start``, by strong Langevin friction.

    Raises:
        RuntimeError: a bond became longer than 1.5 times its length in ``start``.
    """
    _accept(potential, start)
    p = replicate(start, recipe.replicas)
    watch, forces = BondWatch(p), None
    chunks = _chunks(round(recipe.equilibrate / recipe.dt), recipe.steps)
    for steps in progress(chunks, f"equilibration of {recipe.system}", quiet):
        p, forces, _ = baoab(p, potential, recipe.dt, steps, temperature=recipe.temperature, friction=recipe.friction,
                             generator=generator, forces=forces)
        watch(p, "equilibration")
    return p


def nve_pairs(potential: Potential, start: Particles, recipe: MDRecipe, *, quiet: bool = False) -> Trajectories:
    """Decorrelated NVE segments: Langevin, a snapshot without total momentum (and, in open space, angular momentum), a segment, and again.

    Args:
        potential: the forces.
        start: one system; it is copied to ``recipe.replicas`` replicas, started at rest and equilibrated.
        recipe: all settings. ``recipe.pairs`` is rounded up to whole rounds of the replicas.
        quiet: no progress bar.

    An interrupt (Ctrl-C) ends the simulation early; what was completed is returned.

    Returns:
        One scene a segment, ``recipe.frames`` frames ``recipe.stride`` fs apart, sorted by run and time: ``extra["velocity"]``,
        ``static["mass"]``, ``context["run"]`` (the replica) and ``context["temperature"]`` (of the thermostat, K).

    Raises:
        ValueError: ``start`` is more than one system, or not one that the potential is made for.
        RuntimeError: a bond became longer than 1.5 times its length in ``start``.
    """
    if start.n_scenes != 1:
        raise ValueError(f"nve_pairs starts from one system, got {start.n_scenes}; the replicas are made from it")
    generator = torch.Generator(device=start.x.device).manual_seed(recipe.seed)
    found = collect(_rounds(potential, start, recipe, generator, quiet))
    source = _provenance(potential, recipe)
    return _segments(start, recipe, torch.stack([state for state, _ in found], 1), torch.tensor([clock for _, clock in found]), source)


def _rounds(potential: Potential, start: Particles, recipe: MDRecipe, generator: torch.Generator, quiet: bool) -> Iterator[tuple[Tensor, float]]:
    """A segment of every replica, and when it began."""
    watch = BondWatch(replicate(start, recipe.replicas))
    rounds, wait, clock = -(-recipe.pairs // recipe.replicas), round(recipe.decorrelate / recipe.dt), recipe.equilibrate
    p, forces = equilibrated(potential, start, recipe, generator, quiet=quiet), None
    for k in progress(range(rounds), f"NVE segments of {recipe.system}", quiet):
        p, forces, _ = baoab(p, potential, recipe.dt, wait, temperature=recipe.temperature, friction=recipe.friction,
                             generator=generator, forces=forces)
        p = remove_momentum(p)
        frames = [p]
        for _ in range(recipe.frames - 1):
            p, forces, _ = verlet(p, potential, recipe.dt, recipe.steps, forces)
            frames.append(p)
        watch(p, f"round {k + 1}")
        clock += wait * recipe.dt
        yield _stack(frames), clock
        clock += (recipe.frames - 1) * recipe.stride


def nvt_trajectory(potential: Potential, start: Particles, thermostat: Thermostat, recipe: MDRecipe, length: int, *,
                   quiet: bool = False) -> Trajectories:
    """A long run of all systems of ``start``, recorded every stride, with the thermostat acting once per stride.

    The protocol is that of a surrogate's roll-out: ``thermostat.before``, one stride of velocity Verlet, ``thermostat.after``.
    With `trajlab.dynamics.thermostats.NVE` it is an energy-conserving run.

    Args:
        potential: the forces.
        start: the systems, with velocities, for example from `equilibrated`.
        thermostat: acts before and after each stride.
        recipe: ``dt``, ``stride``, ``temperature`` and ``seed`` are used.
        length: number of strides; the answer has one frame more.
        quiet: no progress bar.

    An interrupt (Ctrl-C) ends the run early; the frames so far are returned.

    Raises:
        RuntimeError: a bond became longer than 1.5 times its length at the start.
    """
    _accept(potential, start)
    frames = collect(_strides(potential, remove_momentum(start), thermostat, recipe, length, quiet))
    state = _stack(frames)
    source = _provenance(potential, recipe) | {"thermostat": repr(thermostat), "pairs": None}
    time = torch.arange(len(frames), dtype=torch.float64) * recipe.stride
    scenes = torch.arange(start.n_scenes)
    context = {"run": scenes, "temperature": torch.full((len(scenes),), recipe.temperature, dtype=torch.float64)}
    return Trajectories(x=state[0], time=time.expand(len(scenes), -1), scene=start.scene, kind=start.kind, extra={"velocity": state[1]},
                        static={"mass": start.mass}, context=context, cell=start.cell, pbc=start.pbc, units=Units.md(), source=source)


def _strides(potential: Potential, p: Particles, thermostat: Thermostat, recipe: MDRecipe, length: int, quiet: bool) -> Iterator[Particles]:
    """The start, and the systems after each stride."""
    streams = Streams.seeded(recipe.seed, p.n_scenes)  # one a system: a batch is so many single runs
    forces, watch = None, BondWatch(p)
    yield p
    for k in progress(range(length), f"trajectory of {recipe.system}", quiet):
        p = thermostat.before(p, recipe.stride, streams, k)
        p, forces, _ = verlet(p, potential, recipe.dt, recipe.steps, forces)
        p = thermostat.after(p, recipe.stride, streams, k)
        watch(p, f"{(k + 1) * recipe.stride:g} fs")
        yield p


def _accept(potential: Potential, start: Particles) -> None:
    """Some potentials know where they are not to be trusted, and say so before a run is begun."""
    check = getattr(potential, "check", None)
    if check is not None:
        check(start)


def _stack(frames: list[Particles]) -> Tensor:
    """Positions and velocities, ``[2 node time 3]``."""
    return torch.stack([torch.stack([f.x for f in frames], 1), torch.stack([f.v for f in frames], 1)])


def _segments(start: Particles, recipe: MDRecipe, record: Tensor, clock: Tensor, source: Mapping[str, Any]) -> Trajectories:
    """``record`` is ``[2 round node time 3]`` with the nodes of all replicas; the answer is sorted by replica, then round."""
    rounds, atoms, runs = record.shape[1], len(start.x), recipe.replicas
    state = record.view(2, rounds, runs, atoms, recipe.frames, 3).transpose(1, 2).reshape(2, -1, recipe.frames, 3)
    scenes = rounds * runs
    time = clock.double()[:, None] + recipe.stride * torch.arange(recipe.frames, dtype=torch.float64)
    tile = lambda value: None if value is None else value.repeat(scenes, *[1] * (value.ndim - 1))  # noqa: E731
    return Trajectories(
        x=state[0], time=time.repeat(runs, 1), scene=torch.arange(scenes).repeat_interleave(atoms), kind=tile(start.kind),
        extra={"velocity": state[1]}, static={"mass": tile(start.mass)},
        context={"run": torch.arange(runs).repeat_interleave(rounds), "temperature": torch.full((scenes,), recipe.temperature, dtype=torch.float64)},
        cell=tile(start.cell), pbc=tile(start.pbc), units=Units.md(), source=source)


def _provenance(potential: Potential, recipe: MDRecipe) -> dict[str, Any]:
    from trajlab import __version__

    return {"what": "reference molecular dynamics", "recipe": asdict(recipe), "trajlab": __version__, **getattr(potential, "provenance", {})}


def _chunks(total: int, size: int) -> Iterator[int]:
    while total > 0:
        yield min(size, total)
        total -= size
