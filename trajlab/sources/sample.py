"""The sample that lies in ``data/`` of the repository: GFN2-xTB ethanol, so that a demonstration needs neither network nor tblite.

``python -m trajlab.sources.sample data`` makes it again (20 minutes on one CPU; needs the extra ``[md]``).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

import trajlab
from trajlab.catalog import unknown
from trajlab.dynamics.particles import Particles, Potential
from trajlab.sources.cards import Card
from trajlab.sources.recipes import MDRecipe
from trajlab.types import Trajectories

FOLDER = Path(trajlab.__file__).parent.parent / "data"
PAIRS, REFERENCE = "ethanol_pairs", "ethanol_reference"
RECIPE = MDRecipe("ethanol", "GFN2-xTB", pairs=4000, replicas=40, equilibrate=1500.0, decorrelate=60.0, seed=20)
DURATION, JUDGES = 5000.0, 8  #: fs and replicas of the reference roll-outs
RUNS = {"train": range(32), "validation": range(32, 36), "test": range(36, 40)}  #: which runs are for what
STEP_X, STEP_V = 2.0**-15, 2.0**-19  #: positions and velocities are rounded to these, Angstrom and Angstrom/fs, to save space


@dataclass(frozen=True)
class Sample:
    """Pairs 7 fs apart by split, from different runs, and reference roll-outs under Langevin to judge against."""

    train: Trajectories
    validation: Trajectories
    test: Trajectories
    reference: Trajectories


def sample(folder: str | Path | None = None) -> Sample:
    """The shipped sample, checked against the checksums of its cards.

    Args:
        folder: where it lies; by default ``data/`` beside the package, as in a checkout.

    Raises:
        FileNotFoundError: it is not there (the package was installed without its repository).
        ValueError: a file is damaged.
    """
    pairs, reference = load(PAIRS, folder), load(REFERENCE, folder)
    run = pairs.context["run"]
    split = {name: pairs.scenes(((run >= runs.start) & (run < runs.stop)).nonzero()[:, 0]) for name, runs in RUNS.items()}
    return Sample(**split, reference=reference)


def path(name: str, folder: str | Path | None = None) -> Path:
    """The checked file ``PAIRS`` or ``REFERENCE`` of the sample; errors as `sample`."""
    folder = Path(folder or FOLDER)
    card = folder / f"{name}.json"
    if not card.is_file():
        raise FileNotFoundError(
            f"the sample is not in {folder}. It lies in data/ of the repository: run from a checkout, pass folder=, "
            "or make it with python -m trajlab.sources.sample FOLDER"
        )
    return Card.load(card).fetch(folder)


def load(name: str, folder: str | Path | None = None) -> Trajectories:
    """The pairs or the reference of the sample, all runs; errors as `sample`."""
    from trajlab.data import store

    found: Trajectories = store.load(path(name, folder))
    return found


def make(folder: str | Path, parts: Sequence[str] = (REFERENCE, PAIRS)) -> None:
    """Simulate the sample, or one part of it, and write it with its card; an existing file is replaced when its part is complete.

    Raises:
        ImportError: tblite is not installed.
        ValueError: no such part.
    """
    from trajlab.sources.molecules import xtb

    makers = {REFERENCE: _reference, PAIRS: _pairs}
    for part in parts:
        if part not in makers:
            raise ValueError(unknown("part of the sample", part, makers))
        potential, start = xtb(RECIPE.system)
        start = start.replace(x=start.x - (start.mass[:, None] * start.x).sum(0) / start.mass.sum())
        _write(*makers[part](potential, start), part, Path(folder))


def _reference(potential: Potential, start: Particles) -> tuple[Trajectories, str]:
    from trajlab.dynamics.thermostats import Langevin
    from trajlab.sources.sampling import equilibrated, nvt_trajectory

    judge = replace(RECIPE, replicas=JUDGES, seed=RECIPE.seed + 1, equilibrate=2000.0)
    p = equilibrated(potential, start, judge, torch.Generator().manual_seed(judge.seed + 1))
    run = nvt_trajectory(potential, p, Langevin(judge.temperature, 50 * judge.stride), judge, round(DURATION / judge.stride))
    return run, f"{JUDGES} runs of {DURATION / 1000:g} ps of ethanol at 300 K, a frame every 7 fs, Langevin tau 350 fs"


def _pairs(potential: Potential, start: Particles) -> tuple[Trajectories, str]:
    from trajlab.sources.sampling import nve_pairs

    pairs = nve_pairs(potential, start, RECIPE)
    return pairs, f"{pairs.n_scenes} pairs of frames 7 fs apart (NVE) of ethanol at 300 K, from {RECIPE.replicas} runs"


def _write(trajectories: Trajectories, what: str, name: str, folder: Path) -> None:
    from trajlab.data import store

    file = store.save(compact(trajectories), folder / f"{name}.zarr.zip", overwrite=True)
    Card(
        name=file.name, what=f"{what}, GFN2-xTB, velocity Verlet 0.5 fs; rounded to {STEP_X:.1e} Angstrom and {STEP_V:.1e} Angstrom/fs",
        licence="CC0-1.0", units="Angstrom, fs, amu, eV; K", size=file.stat().st_size, sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        citation="C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019), for the method",
        command=f"python -m trajlab.sources.sample {folder.name}",
    ).save(folder / f"{name}.json")


def compact(trajectories: Trajectories) -> Trajectories:
    """Single precision and few digits: the last bits become zeros, which compress."""
    rounded = lambda value, step: ((value / step).round() * step).float()  # noqa: E731
    velocity: Tensor = rounded(trajectories.velocity, STEP_V)
    return trajectories.replace(x=rounded(trajectories.x, STEP_X), extra={"velocity": velocity})


if __name__ == "__main__":
    torch.set_num_threads(1)
    make(sys.argv[1] if len(sys.argv) > 1 else FOLDER, sys.argv[2:] or (REFERENCE, PAIRS))
