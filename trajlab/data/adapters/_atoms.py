"""What all readers of atoms do at the end: elements and masses, unwrapping, and the check of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.data.cells import unwrap as unwrapped
from trajlab.data.velocities import check_velocities
from trajlab.types import Trajectories
from trajlab.units import Units, factor

SPEEDS = {"ase": "angstrom/ase"}


def speed_factor(unit: str) -> float:
    """What turns velocities in ``"angstrom/ps"``, ``"nm/ps"``, ``"ase"``, ... into Angstrom/fs.

    Raises:
        ValueError: the unit is not ``length/time`` in known units.
    """
    length, slash, time = SPEEDS.get(unit, unit).partition("/")
    if not slash:
        raise ValueError(f"the unit of velocities is {unit!r}; something like 'angstrom/fs', 'angstrom/ps', 'nm/ps' or 'ase' was wanted")
    return factor("length", length, "angstrom") / factor("time", time, "fs")


def element_numbers(symbols: Sequence[str], where: str) -> np.ndarray:
    """Atomic numbers of element symbols.

    Raises:
        ValueError: a symbol is no element.
    """
    from ase.data import atomic_numbers

    for index, symbol in enumerate(symbols):
        if not 1 <= atomic_numbers.get(symbol, 0) <= 118:
            known = [s for s in atomic_numbers if s != "X"]
            raise ValueError(f"atom {index} in {where} has an unknown element: {unknown('element', symbol, known)}")
    return np.array([atomic_numbers[s] for s in symbols], dtype=np.int64)


def trajectories(
    numbers: np.ndarray, positions: np.ndarray, time: np.ndarray, where: str, *, velocity: np.ndarray | None = None,
    options: Mapping[str, Any] | None = None,
) -> Trajectories:
    """One scene of atoms in MD units from ``positions[frame node 3]`` and ``velocity[frame node 3]``.

    ``options`` may hold ``mass[node]``, ``cell[3 3]``, ``pbc[3]``, ``source``, ``unwrap`` and ``check`` (both on by default).

    Raises:
        ValueError: an atomic number is no element, a value is not finite, a step is too long to unwrap, or velocities disagree
            with displacements.
    """
    from ase.data import atomic_masses

    given = dict(options or {})
    numbers = np.asarray(numbers, dtype=np.int64)
    strange = np.flatnonzero((numbers < 1) | (numbers > 118))
    if len(strange):
        raise ValueError(
            f"atom {strange[0]} in {where} has atomic number {numbers[strange[0]]}, an unknown element; give the elements, 1 to 118 was wanted"
        )
    mass = given.get("mass")
    pbc = np.zeros(3, dtype=bool) if given.get("pbc") is None else np.asarray(given["pbc"], dtype=bool)
    node_first = lambda value: torch.from_numpy(np.ascontiguousarray(np.swapaxes(value, 0, 1), dtype=np.float64))  # noqa: E731
    result = Trajectories(
        x=node_first(positions), time=torch.as_tensor(np.asarray(time, dtype=np.float64))[None], scene=torch.zeros(len(numbers), dtype=torch.long),
        kind=torch.from_numpy(numbers), extra={} if velocity is None else {"velocity": node_first(velocity)},
        static={"mass": torch.from_numpy(np.array(atomic_masses[numbers] if mass is None else mass, dtype=np.float64))},
        cell=torch.as_tensor(np.array(given["cell"], dtype=np.float64))[None] if pbc.any() else None,
        pbc=torch.from_numpy(pbc)[None] if pbc.any() else None, units=Units.md(), source=given.get("source", {}),
    )
    if given.get("unwrap", True):
        result = unwrapped(result)
    if velocity is not None and given.get("check", True):
        check_velocities(result)
    return result


def one_cell(cells: Sequence[np.ndarray], where: str) -> np.ndarray:
    """The cell of all frames.

    Raises:
        ValueError: it changes.
    """
    off = [k for k, c in enumerate(cells) if not np.allclose(c, cells[0], rtol=1e-5, atol=1e-6)]
    if off:
        raise ValueError(
            f"the cell changes in {where}: frame 0 has {np.asarray(cells[0]).round(4).tolist()}, frame {off[0]} "
            f"{np.asarray(cells[off[0]]).round(4).tolist()}; a trajectory has one cell. "
            "Read runs at constant volume, or the frames as scenes of their own"
        )
    return np.asarray(cells[0], dtype=np.float64)


def clock(count: int, times: Sequence[float] | np.ndarray | None, spacing: float | None, where: str, hint: str = "") -> np.ndarray:
    """The times of frames, in femtoseconds, from what the file says or the user.

    Raises:
        ValueError: neither says.
    """
    if spacing is not None:
        if not spacing > 0:
            raise ValueError(f"spacing={spacing}; a positive number of femtoseconds between frames was wanted")
        return spacing * np.arange(count)
    if times is not None:
        return np.asarray(times, dtype=np.float64)
    if count == 1:
        return np.zeros(1)
    raise ValueError(f"{where} has {count} frames but no clock; pass spacing= (femtoseconds between frames){hint}")
