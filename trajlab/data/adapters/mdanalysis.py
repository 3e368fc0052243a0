"""MDAnalysis universes (PDB, XTC, TRR, DCD, ...) to `Trajectories`: needs the extra ``md``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trajlab.catalog import need
from trajlab.data.adapters._atoms import element_numbers, one_cell, speed_factor, trajectories
from trajlab.types import Trajectories
from trajlab.units import factor

__all__ = ["from_mdanalysis", "read_mdanalysis"]


def from_mdanalysis(
    universe: Any, *, frames: slice | None = None, elements: Sequence[str] | None = None, unwrap: bool = True, check: bool = True,
) -> Trajectories:
    """Trajectories in Angstrom, femtoseconds and amu from an MDAnalysis ``Universe`` or ``AtomGroup`` (Angstrom, ps, Angstrom/ps).

    Args:
        universe: the universe, or a selection of its atoms.
        frames: which frames.
        elements: one symbol an atom, where the topology names none.
        unwrap: undo jumps across periodic faces.
        check: compare velocities with displacements.

    Raises:
        ImportError: MDAnalysis is not installed.
        ValueError: there are no elements, the box changes, frames do not move forward in time, or as `from_ase`.
    """
    need("MDAnalysis", "md", "reading MDAnalysis universes")
    from MDAnalysis.exceptions import NoDataError
    from MDAnalysis.lib.mdamath import triclinic_vectors

    atoms = universe.atoms
    try:
        symbols = list(atoms.elements) if elements is None else list(elements)
    except NoDataError as error:
        raise ValueError("this universe has no elements; pass elements=[...], one symbol an atom, or add them: see guess_TopologyAttrs") from error
    if len(symbols) != len(atoms):
        raise ValueError(f"{len(symbols)} elements for {len(atoms)} atoms; one an atom was wanted")
    numbers = element_numbers([s.capitalize() for s in symbols], "this universe")
    x, v, time, boxes = [], [], [], []
    for step in atoms.universe.trajectory[frames or slice(None)]:
        x.append(atoms.positions.astype(np.float64))
        time.append(step.time)
        boxes.append(None if step.dimensions is None else triclinic_vectors(step.dimensions).astype(np.float64))
        if step.has_velocities:
            v.append(atoms.velocities.astype(np.float64))
    if not x:
        raise ValueError(f"frames={frames} of a universe of {len(atoms.universe.trajectory)} frames leaves none")
    options = {"source": {"reader": "MDAnalysis"}, "unwrap": unwrap, "check": check}
    if all(b is not None for b in boxes) and bool(np.abs(boxes[0]).sum() > 0):
        options |= {"cell": one_cell(boxes, "this universe"), "pbc": np.ones(3, dtype=bool)}
    velocity = np.stack(v) * speed_factor("angstrom/ps") if len(v) == len(x) else None
    return trajectories(numbers, np.stack(x), np.array(time) * factor("time", "ps", "fs"), "this universe", velocity=velocity, options=options)


def read_mdanalysis(path: str | Path, *, topology: str | Path | None = None, select: str = "all", **options: Any) -> Trajectories:
    """Trajectories from a file that MDAnalysis reads (XTC, TRR, DCD, ...); further options are those of `from_mdanalysis`.

    Args:
        path: the trajectory.
        topology: the file that names the atoms (PDB, GRO, PSF, TPR, ...), which most trajectory formats need.
        select: MDAnalysis' selection of atoms.

    Raises:
        ImportError: MDAnalysis is not installed.
        FileNotFoundError: there is no such file.
        ValueError: there is no topology, the file is cut short, or as `from_mdanalysis`.
    """
    mda = need("MDAnalysis", "md", f"reading {path}")
    for file in (path, topology):
        if file is not None and not Path(file).is_file():
            raise FileNotFoundError(f"there is no file {file}")
    if topology is None:
        raise ValueError(f"{path} does not name its atoms; pass topology=, the PDB, GRO, PSF or TPR file that goes with it")
    try:
        atoms = mda.Universe(str(topology), str(path)).select_atoms(select)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"MDAnalysis cannot read {path} with topology {topology} ({error}); it may be cut short, or the two do not fit") from error
    result = from_mdanalysis(atoms, **options)
    return result.replace(source={"file": Path(path).name, **result.source})
