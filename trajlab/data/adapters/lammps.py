"""LAMMPS text dumps (``dump custom``), with their units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from trajlab.catalog import unknown
from trajlab.data.adapters._atoms import clock, element_numbers, one_cell, speed_factor, trajectories
from trajlab.types import Trajectories
from trajlab.units import factor

__all__ = ["read_lammps"]

UNITS = {"real": ("angstrom", "fs"), "metal": ("angstrom", "ps"), "nano": ("nm", "ns"), "electron": ("bohr", "fs")}


def read_lammps(
    path: str | Path, *, units: str | None = None, elements: Sequence[str] | Mapping[int, str] | None = None, timestep: float | None = None,
    spacing: float | None = None, unwrap: bool = True, check: bool = True,
) -> Trajectories:
    """Trajectories from a LAMMPS text dump; atoms are sorted by id.

    Positions may be plain (``x y z``), scaled (``xs ys zs``), or unwrapped (``xu yu zu``), and image flags (``ix iy iz``) are used.

    Args:
        path: the file.
        units: LAMMPS' ``units`` of the run: ``"real"`` (fs), ``"metal"`` (ps), ``"nano"`` or ``"electron"``.
        elements: the element of each atom type, ``["C", "H"]`` for types 1 and 2; not needed if the dump has a column ``element``.
        timestep: LAMMPS' ``timestep`` in the file's unit of time, to turn step numbers into a clock; or
        spacing: femtoseconds between the frames of the dump.
        unwrap: undo jumps across periodic faces where the dump has no unwrapped positions.
        check: compare velocities with displacements.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the units, the elements or the clock are not known, the file is cut short, atoms come and go, or as `from_ase`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if units not in UNITS:
        said = "a LAMMPS dump does not say its units; pass units=" if units is None else f"{unknown('LAMMPS units', units, UNITS)}; pass units="
        raise ValueError(f"{path}: {said}'real' (Angstrom, fs) or 'metal' (Angstrom, ps), as in the LAMMPS input")
    length, time = UNITS[units]
    with path.open() as file:
        frames = list(_frames(file, path))
    if not frames:
        raise ValueError(f"{path} holds no frame")
    steps = np.array([f["step"] for f in frames], dtype=float)
    times = None if timestep is None else steps * timestep * factor("time", time, "fs")
    first, scale = frames[0], factor("length", length, "angstrom")
    if any(not np.array_equal(f["id"], first["id"]) for f in frames):
        raise ValueError(f"{path}: the atoms' ids change between frames; a trajectory follows the same atoms")
    cell = one_cell([f["cell"] for f in frames], str(path)) * scale
    x = np.stack([f["x"] for f in frames]) * scale
    v = np.stack([f["v"] for f in frames]) * speed_factor(f"{length}/{time}") if all("v" in f for f in frames) else None
    options = {"cell": cell, "pbc": first["pbc"], "source": {"reader": "lammps", "file": path.name}, "check": check}
    options["unwrap"] = unwrap and not first["whole"]
    hint = ", or timestep= (LAMMPS' timestep, in the unit of its clock)"
    return trajectories(
        _numbers(first, elements, path), x, clock(len(frames), times, spacing, str(path), hint), str(path), velocity=v, options=options,
    )


def _numbers(frame: dict, elements: Sequence[str] | Mapping[int, str] | None, path: Path) -> np.ndarray:
    if elements is None:
        if "element" not in frame:
            types = sorted(set(frame["type"].tolist()))
            raise ValueError(f"{path} has atom types {types} but no elements; pass elements=['C', 'H', ...], one a type")
        return element_numbers(frame["element"].tolist(), str(path))
    names = dict(elements) if isinstance(elements, Mapping) else dict(enumerate(elements, start=1))
    missing = sorted(set(frame["type"].tolist()) - set(names))
    if missing:
        raise ValueError(f"{path} has atom types {missing}, for which elements={elements} names no element")
    return element_numbers([names[t] for t in frame["type"].tolist()], str(path))


def _frames(file: TextIO, path: Path) -> Iterator[dict]:
    """Each frame as a dict of arrays sorted by id."""
    for line in iter(file.readline, ""):
        if not line.strip():
            continue
        if not line.startswith("ITEM: TIMESTEP"):
            raise ValueError(f"{path}: 'ITEM: TIMESTEP' was wanted, but there is {line.strip()[:60]!r}; is it a LAMMPS text dump?")
        try:
            step = int(file.readline())
            file.readline()
            count = int(file.readline())
            header = file.readline().split()[3:]
            bounds = np.array([[float(v) for v in file.readline().split()] for _ in range(3)])
            columns = file.readline().split()[2:]
            rows = [file.readline().split() for _ in range(count)]
            table = {name: np.array([row[k] for row in rows]) for k, name in enumerate(columns)}
            yield _frame(step, header, bounds, table)
        except (ValueError, IndexError, KeyError) as error:
            raise ValueError(f"{path} is cut short or damaged in or after the frame of {line.strip()!r} ({error})") from error


def _frame(step: int, header: list[str], bounds: np.ndarray, table: dict[str, np.ndarray]) -> dict:
    order = np.argsort(table["id"].astype(int))
    table = {k: v[order] for k, v in table.items()}
    origin, cell = _box(bounds)
    numbers = lambda *names: np.stack([table[n].astype(float) for n in names], 1)  # noqa: E731
    frame = {"step": step, "id": table["id"].astype(int), "cell": cell, "pbc": np.array([h[0] == "p" for h in header[-3:]]), "whole": True}
    if "xu" in table:
        frame["x"] = numbers("xu", "yu", "zu")
    elif "xsu" in table:
        frame["x"] = numbers("xsu", "ysu", "zsu") @ cell + origin
    elif "x" in table or "xs" in table:
        frame["x"] = numbers("x", "y", "z") if "x" in table else numbers("xs", "ys", "zs") @ cell + origin
        frame["whole"] = "ix" in table
        if frame["whole"]:
            frame["x"] = frame["x"] + numbers("ix", "iy", "iz") @ cell
    else:
        raise ValueError(f"the columns {list(table)} hold no positions (x, xs, xu or xsu)")
    if "vx" in table:
        frame["v"] = numbers("vx", "vy", "vz")
    return frame | {k: table[k].astype(int) if k == "type" else table[k] for k in ("type", "element") if k in table}


def _box(bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origin and cell vectors from the bounding box that LAMMPS writes, and the tilts xy, xz, yz of a triclinic one."""
    low, high = bounds[:, 0].copy(), bounds[:, 1].copy()
    xy, xz, yz = bounds[:, 2] if bounds.shape[1] > 2 else (0.0, 0.0, 0.0)
    low -= [min(0, xy, xz, xy + xz), min(0, yz), 0]
    high -= [max(0, xy, xz, xy + xz), max(0, yz), 0]
    lx, ly, lz = high - low
    return low, np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
