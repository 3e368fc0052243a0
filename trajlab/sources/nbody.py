"""Charged particles, springs and gravitating bodies in three dimensions: the N-body benchmarks of equivariant trajectory models.

``recipe="published"`` is the data set of the literature to the letter, its numerical artefacts included. Under ``"charged"`` these are
large: close encounters are integrated with a step that is too long and a force that is cut off, so that about 39 % of the trajectories
change their energy by more than 0.1 within 30 frames. ``recipe="accurate"`` starts from the same states and integrates them with error
control and without a cut-off; it is the better choice wherever no published number is to be compared.

Sources: Kipf, Fetaya, Wang, Welling and Zemel (2018) (charged, springs), Satorras, Hoogeboom and Welling (2021) (three dimensions),
Brandstetter, Hesselink, van der Pol, Bekkers and Welling (2022) (gravity), Han, Xu, Lou, Ye and Ermon, "Geometric Trajectory Diffusion
Models" (2024) (windows of 10 + 20 frames).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import load, unknown
from trajlab.sources import NBODY
from trajlab.sources.watch import progress
from trajlab.types import Trajectories

CHUNK = 250  #: trajectories between two looks at the progress bar
RECIPES = ("published", "accurate")
WALL = 5.0  #: starts beyond are reflected, once


@dataclass(frozen=True)
class NBodySystem:
    """One of the benchmarks; all bodies have unit mass, and frames are 0.1 time units apart.

    Attributes:
        what: the bodies, in words.
        forces: their law, in words.
        law: and by number, see `trajlab.sources.nbody_kernels`.
        bodies: how many.
        spread: standard deviation of the starting positions, at 5 bodies where ``grows``.
        grows: whether the spread grows with the cube root of the number of bodies.
        speed: norm of the starting velocities; None for unit normal components with the mean removed.
        cap: of each component of a force (published recipe).
        frames: in a published trajectory.
        first: time of the first of them.
    """

    what: str
    forces: str
    law: int = 0
    bodies: int = 5
    spread: float = 1.0
    grows: bool = False
    speed: float | None = 0.5
    cap: float = float("inf")
    frames: int = 49
    first: float = 0.1

    dt = 1e-3
    every = 100


CHARGED = NBodySystem("5 charged particles", "Coulomb's law", law=0, grows=True, cap=100.0)
SPRINGS = NBodySystem("5 particles, half of the pairs joined by springs", "Hooke's law", law=1, spread=0.5, cap=100.0)
GRAVITY = NBodySystem("10 gravitating bodies", "Newton's law, softened", law=2, bodies=10, speed=None, frames=50, first=0.0)


class Invariants(NamedTuple):
    """What a closed system keeps: ``energy [scene time]``, ``momentum [scene time 3]``, ``angular [scene time 3]`` (about the origin)."""

    energy: Float[Tensor, "scene time"]
    momentum: Float[Tensor, "scene time 3"]
    angular: Float[Tensor, "scene time 3"]


class _Start(NamedTuple):
    """``x, v [scene body 3]``, signs of charges ``[scene body]`` and couplings ``[scene body body]`` (see `nbody_kernels`)."""

    x: np.ndarray
    v: np.ndarray
    sign: np.ndarray
    coupling: np.ndarray


def find(name: str) -> NBodySystem:
    """The system of a name of `trajlab.sources.NBODY`.

    Raises:
        ValueError: there is none (with the nearest that there is).
    """
    if name not in NBODY:
        raise ValueError(unknown("N-body system", name, NBODY))
    system: NBodySystem = load(NBODY[name])
    return system


def nbody(system: str, n: int, recipe: str = "published", *, seed: int = 0, frames: int = 30, bodies: int | None = None,
          tolerance: float = 1e-10, quiet: bool = True) -> Trajectories:
    """Independent trajectories of charged particles, springs or gravitating bodies.

    Args:
        system: ``"charged"``, ``"springs"`` or ``"gravity"``.
        n: number of trajectories; the first ones do not depend on it.
        recipe: ``"published"`` (symplectic Euler with capped forces; velocity Verlet for gravity; steps of 1e-3) or ``"accurate"`` (the same
            starts and frames, Dormand-Prince steps with error control, no cap).
        seed: of the starts.
        frames: 0.1 time units apart, the first at 0.1 (gravity: 0); the published sets have 49 (gravity: 50) and use the first 30.
        bodies: another number of them than published.
        tolerance: relative error a step, of the accurate recipe.
        quiet: no progress bar.

    Returns:
        One scene and one ``context["run"]`` a trajectory, without units: ``extra["velocity"]`` (symplectic Euler leaves it half a step behind
        the positions, as published), ``static["mass"]``, ``static["charge"]`` (charged; ``kind`` is 1 where it is positive),
        ``static["spring"]`` (springs: the row of the matrix of springs, ``[node body]``), and ``context["energy_change"]``, the largest change
        of the total energy since the start.

    Raises:
        ValueError: no such system or recipe, a number is out of range, or more frames than published were asked of the published recipe.
        RuntimeError: two bodies came so close that the accurate recipe found no step.
    """
    what = find(system)
    if recipe not in RECIPES:
        raise ValueError(unknown("recipe", recipe, RECIPES))
    if n < 1 or frames < 1 or (bodies is not None and bodies < 2) or not 1e-14 < tolerance < 1e-2:
        raise ValueError(f"n={n}, frames={frames}, bodies={bodies}, tolerance={tolerance:g}: at least 1, 1 and 2, and 1e-14 to 1e-2, were wanted")
    if recipe == "published" and frames > what.frames:
        raise ValueError(f"frames={frames} of the published {system}, which has {what.frames}; choose fewer, or recipe='accurate'")
    start = starts(what, n, seed, bodies or what.bodies)
    time = what.first + what.every * what.dt * np.arange(frames)
    parts = []
    for at in progress(range(0, n, CHUNK), f"{recipe} {system}", quiet):
        some = _Start(*(value[at : at + CHUNK] for value in start))
        parts.append(_published(what, some, frames) if recipe == "published" else _accurate(what, some, time, tolerance, at))
    source = {"what": "N-body simulation", "system": system, "recipe": recipe, "seed": seed, "lag": _lag(what, recipe), "trajlab": _version()}
    if recipe == "accurate":
        source["tolerance"] = tolerance
    return _packed(what, start, time, [np.concatenate(values) for values in zip(*parts)], source)


def starts(what: NBodySystem, n: int, seed: int, bodies: int) -> _Start:
    """The first ``n`` starting states of a seed."""
    pairs = np.triu_indices(bodies, 1)
    draws = np.random.default_rng(seed).standard_normal((n, 6 * bodies + bodies + len(pairs[0])))  # a row a trajectory: independent of n
    x, v, sign, joined = np.split(draws, np.cumsum([3 * bodies, 3 * bodies, bodies]), axis=1)
    x, v = x.reshape(n, bodies, 3) * what.spread * ((bodies / 5) ** (1 / 3) if what.grows else 1.0), v.reshape(n, bodies, 3)
    v = v - v.mean(1, keepdims=True) if what.speed is None else what.speed * v / np.linalg.norm(v, axis=-1, keepdims=True)
    if np.isfinite(what.cap):
        x, v = np.where(np.abs(x) > WALL, np.sign(x) * 2 * WALL - x, x), np.where(np.abs(x) > WALL, -np.sign(x) * np.abs(v), v)
    sign, coupling = np.where(sign > 0, 1.0, -1.0), np.ones((n, bodies, bodies))
    if what.law == 0:
        coupling = sign[:, :, None] * sign[:, None]
    if what.law == 1:
        coupling = np.zeros((n, bodies, bodies))
        coupling[:, pairs[0], pairs[1]] = coupling[:, pairs[1], pairs[0]] = joined > 0
    return _Start(x, v, sign, coupling)


def invariants(trajectories: Trajectories) -> Invariants:
    """Energy, momentum and angular momentum of trajectories made by `nbody`, frame by frame, in float64.

    Raises:
        ValueError: the trajectories do not say by `nbody` that they come from it.
    """
    from trajlab.sources import nbody_kernels as kernels

    name = trajectories.source.get("system")
    if name not in NBODY or "lag" not in trajectories.source:
        raise ValueError("these trajectories were not made by trajlab.sources.nbody.nbody: their source names no N-body system")
    what, lag, scenes = find(name), float(trajectories.source["lag"]), trajectories.n_scenes
    split = lambda value: value.double().cpu().reshape(scenes, -1, *value.shape[1:])  # noqa: E731
    x, v = split(trajectories.x).transpose(1, 2).contiguous(), split(trajectories.velocity).transpose(1, 2).contiguous()
    c = _coupling(what, trajectories, scenes)
    energy = torch.from_numpy(kernels.energies(what.law, x.numpy(), v.numpy(), c, lag, what.cap))
    v = torch.from_numpy(kernels.led(what.law, x.numpy(), v.numpy(), c, lag, what.cap))
    return Invariants(energy, v.sum(2), torch.linalg.cross(x, v).sum(2))


def _coupling(what: NBodySystem, trajectories: Trajectories, scenes: int) -> np.ndarray:
    if what.law == 1:
        spring = trajectories.static["spring"].double().cpu()
        return np.ascontiguousarray(spring.reshape(scenes, -1, spring.shape[1]).numpy())
    charge = trajectories.static["charge" if what.law == 0 else "mass"].double().cpu().reshape(scenes, -1)
    return np.ascontiguousarray((charge[:, :, None] * charge[:, None]).numpy())


def _published(what: NBodySystem, start: _Start, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions and velocities ``[scene time body 3]``, and the largest change of energy ``[scene]``."""
    from trajlab.sources import nbody_kernels as kernels

    if what.law == kernels.NEWTON:
        x, v = kernels.verlet(what.law, start.x, start.v, start.coupling, what.dt, what.every, frames)
    else:
        x, v = kernels.euler(what.law, start.x, start.v, start.coupling, what.dt, what.every, frames, what.cap)
    return x, v, _change(what, start, x, v, _lag(what, "published"))


def _accurate(what: NBodySystem, start: _Start, time: np.ndarray, tolerance: float, offset: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from trajlab.sources import nbody_kernels as kernels

    x, v, steps = kernels.dormand_prince(what.law, start.x, start.v, start.coupling, time, tolerance, 2_000_000)
    if (steps < 0).any():
        raise RuntimeError(f"trajectory {offset + int(np.argmin(steps))} has an encounter closer than float64 resolves; choose another seed")
    return x, v, _change(what, start, x, v, 0.0)


def _change(what: NBodySystem, start: _Start, x: np.ndarray, v: np.ndarray, lag: float) -> np.ndarray:
    from trajlab.sources.nbody_kernels import energies

    cap = what.cap if lag else np.inf
    before = energies(what.law, start.x[:, None], start.v[:, None], start.coupling, lag, cap)
    return np.abs(energies(what.law, x, v, start.coupling, lag, cap) - before).max(1)


def _lag(what: NBodySystem, recipe: str) -> float:
    """How far velocities are behind positions: under symplectic Euler half a step."""
    return 0.5 * what.dt if recipe == "published" and np.isfinite(what.cap) else 0.0


def _packed(what: NBodySystem, start: _Start, time: np.ndarray, record: list[np.ndarray], source: dict) -> Trajectories:
    x, v, change = record
    n, frames, bodies, _ = x.shape
    nodes = lambda value: torch.from_numpy(np.ascontiguousarray(value.swapaxes(1, 2)).reshape(n * bodies, frames, 3))  # noqa: E731
    static = {"mass": torch.ones(n * bodies, dtype=torch.float64)}
    kind = torch.zeros(n * bodies, dtype=torch.long)
    if what.law == 0:
        static["charge"] = torch.from_numpy(start.sign.reshape(-1))
        kind = (static["charge"] > 0).long()
    if what.law == 1:
        static["spring"] = torch.from_numpy(start.coupling.reshape(n * bodies, bodies))
    return Trajectories(
        x=nodes(x), time=torch.from_numpy(time).repeat(n, 1), scene=torch.arange(n).repeat_interleave(bodies), kind=kind,
        extra={"velocity": nodes(v)}, static=static, context={"run": torch.arange(n), "energy_change": torch.from_numpy(change)}, source=source)


def _version() -> str:
    from trajlab import __version__

    return __version__
