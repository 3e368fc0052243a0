"""ASE atoms and every file that ASE reads, to and from `Trajectories`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trajlab.data.adapters._atoms import clock, one_cell, speed_factor, trajectories
from trajlab.data.batches import concat
from trajlab.data.velocities import check_velocities
from trajlab.types import Trajectories
from trajlab.units import ASE_TIME

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["from_ase", "read_ase", "to_ase"]


@dataclass(frozen=True)
class _How:
    """The options of `from_ase`, and the name that errors use."""

    spacing: float | None
    velocity_unit: str
    frames: str
    unwrap: bool
    check: bool
    where: str = "these atoms"

    def options(self, atoms: Atoms, source: dict[str, Any], check: bool) -> dict[str, Any]:
        return {"mass": atoms.get_masses(), "cell": atoms.cell.array, "pbc": atoms.pbc, "source": source, "unwrap": self.unwrap, "check": check}


def from_ase(
    atoms: Atoms | Iterable[Atoms], *, spacing: float | None = None, velocity_unit: str = "angstrom/fs", frames: str = "auto",
    unwrap: bool = True, check: bool = True,
) -> Trajectories:
    """Trajectories in Angstrom, femtoseconds and amu from ASE atoms.

    Velocities come from momenta (ASE's units, converted), or else from an array ``velocities`` in ``velocity_unit``. Images that carry
    arrays ``displacements`` (and ``velocities``, ``update_velocities``) are pairs: each becomes a scene of two frames,
    ``info["timestep"]`` femtoseconds apart, all of run 0 and in the order given.

    Args:
        atoms: one frame or several.
        spacing: femtoseconds between frames; by default ``info["time_fs"]`` of each image is the clock.
        velocity_unit: of an array ``velocities``: ``"angstrom/fs"``, ``"angstrom/ps"``, ``"nm/ps"``, ``"ase"``, ...
        frames: ``"trajectory"``: the images are frames of one scene. ``"scenes"``: each is a scene of its own. ``"auto"``: a
            trajectory if all have the same elements.
        unwrap: undo jumps across periodic faces.
        check: compare velocities with displacements and temperatures.

    Raises:
        ValueError: there are no atoms, an element is unknown, a value is not finite, elements or cells differ between frames of one
            scene, the clock is missing, a step is too long to unwrap, or velocities disagree with displacements.
    """
    images = [atoms] if hasattr(atoms, "get_positions") else list(atoms)
    return _convert(images, _How(spacing, velocity_unit, frames, unwrap, check))


def read_ase(path: str | Path, *, index: str | slice = ":", file_format: str | None = None, **options: Any) -> Trajectories:
    """Trajectories from a file in any format that ASE reads; further options are those of `from_ase`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut short or cannot be read, or as `from_ase`.
    """
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if file_format in (None, "extxyz", "xyz") and path.suffix in (".xyz", ".extxyz"):
        _refuse_truncated(path)
    try:
        images = read(path, index=index, format=file_format)
    except UnknownFileTypeError as error:
        raise ValueError(f"{path} is of no format that ASE knows ({error}); pass file_format=, see ase.io.formats") from error
    except KeyError as error:
        raise ValueError(f"{path} has an unknown element or field {error}; correct it, or say what it stands for") from error
    except (ValueError, IndexError, OSError, EOFError, StopIteration) as error:
        raise ValueError(f"{path} cannot be read by ASE ({error}); it may be cut short, damaged or of another format") from error
    how = {"spacing": None, "velocity_unit": "angstrom/fs", "frames": "auto", "unwrap": True, "check": True, **options}
    result = _convert(images if isinstance(images, list) else [images], _How(**how, where=str(path)))
    return result.replace(source={"file": path.name, **result.source})


def to_ase(trajectories: Trajectories, scene: int = 0, frames: slice | None = None) -> list[Atoms]:
    """Frames of one scene as ASE atoms, with momenta, masses, cell, ``info["time_fs"]`` and ``info["run"]``.

    Raises:
        ValueError: the units are not those of molecular dynamics, a node has no element, or an atom was not observed.
    """
    from ase import Atoms

    units = trajectories.units
    if (units.length, units.time) != ("angstrom", "fs"):
        raise ValueError(f"ASE atoms are made from angstrom and fs, but these trajectories are in {units}; convert them first")
    one = trajectories.scenes([range(trajectories.n_scenes)[scene]])
    one = one if frames is None else one.frames(frames)
    if bool(((one.kind < 1) | (one.kind > 118)).any()):
        raise ValueError(f"kinds {sorted(set(one.kind.tolist()))} are not all atomic numbers (1 to 118)")
    if not bool(one.mask.all()):
        node, frame = (~one.mask).nonzero()[0].tolist()
        raise ValueError(f"atom {node} was not observed at frame {frame}; choose frames in which all were")
    number, cell = one.kind.cpu().numpy(), None if one.cell is None else one.cell[0].double().cpu().numpy()
    mass = one.static["mass"].double().cpu().numpy() if "mass" in one.static else None
    x, time = one.x.double().cpu().numpy(), one.time[0].cpu().numpy()
    info = {"run": int(one.context["run"][0])} if "run" in one.context else {}
    images = []
    for k in range(one.n_frames):
        image = Atoms(number, x[:, k], masses=mass, cell=cell, pbc=False if one.pbc is None else one.pbc[0].cpu().numpy())
        if "velocity" in one.extra:
            image.set_velocities(one.velocity[:, k].double().cpu().numpy() * ASE_TIME)
        image.info.update({"time_fs": float(time[k]), **info})
        images.append(image)
    return images


def _convert(images: list[Atoms], how: _How) -> Trajectories:
    if not images or not len(images[0]):
        raise ValueError(f"there are no atoms in {how.where}")
    if how.frames not in ("auto", "trajectory", "scenes"):
        raise ValueError(f"frames={how.frames!r}; 'auto', 'trajectory' or 'scenes' was wanted")
    if all("displacements" in image.arrays for image in images):
        return _pairs(images, how)
    alike = [bool(np.array_equal(image.numbers, images[0].numbers)) for image in images]
    if how.frames == "scenes" or (how.frames == "auto" and not all(alike)):
        scenes = concat(_one(image, np.zeros(1), how, {"check": False}) for image in images)
        return _checked(scenes, how)
    if not all(alike):
        k = alike.index(False)
        raise ValueError(
            f"the elements of frame {k} in {how.where} ({len(images[k])} atoms) differ from those of frame 0 ({len(images[0])}); "
            "a trajectory follows the same atoms. Pass frames='scenes'"
        )
    return _one(images, _times(images, how), how, {})


def _one(images: Atoms | list[Atoms], time: np.ndarray, how: _How, other: dict[str, Any]) -> Trajectories:
    """Images as the frames of one scene."""
    images = images if isinstance(images, list) else [images]
    first = images[0]
    if any(not np.array_equal(image.pbc, first.pbc) for image in images):
        raise ValueError(f"the periodic directions change in {how.where}; a trajectory has one set")
    if first.pbc.any():
        one_cell([image.cell.array[image.pbc] for image in images], how.where)
    velocity = [_velocity(image, how) for image in images]
    lacking = [k for k, v in enumerate(velocity) if v is None]
    if lacking and len(lacking) < len(images):
        raise ValueError(f"frame {lacking[0]} in {how.where} has no velocities, though others have ({len(lacking)} of {len(images)} lack them)")
    return trajectories(
        first.numbers, np.stack([image.positions for image in images]), time, how.where,
        velocity=None if lacking else np.stack(velocity), options={**how.options(first, {"reader": "ase"}, how.check), **other},  # type: ignore[arg-type]
    )


def _velocity(image: Atoms, how: _How) -> np.ndarray | None:
    if image.has("momenta"):
        return image.get_velocities() / ASE_TIME
    return image.arrays["velocities"] * speed_factor(how.velocity_unit) if "velocities" in image.arrays else None


def _times(images: Sequence[Atoms], how: _How) -> np.ndarray:
    times = [image.info.get("time_fs") for image in images]
    hint = "; read images that are no trajectory with frames='scenes'"
    if len(images) > 1 and how.spacing is None and None in times and all(_velocity(image, how) is not None for image in images[:2]):
        # Not taken silently: a wrong unit of velocities would give a wrong clock.
        v = (_velocity(images[0], how) + _velocity(images[1], how)) / 2  # type: ignore[operator]
        moved = images[1].positions - images[0].positions
        hint = f"; the velocities suggest {float((moved * v).sum() / max((v * v).sum(), 1e-300)):.4g} fs" + hint
    return clock(len(images), None if None in times else times, how.spacing, how.where, hint)


def _pairs(images: list[Atoms], how: _How) -> Trajectories:
    """Images with displacements, each a scene of two frames."""
    steps = [how.spacing or image.info.get("timestep") for image in images]
    if None in steps:
        raise ValueError(f"image {steps.index(None)} in {how.where} has displacements but no info['timestep']; pass spacing= (femtoseconds)")
    scale, parts = speed_factor(how.velocity_unit), []
    for k, (image, step) in enumerate(zip(images, steps, strict=True)):
        velocity = None
        if "velocities" in image.arrays and "update_velocities" in image.arrays:
            velocity = scale * np.stack([image.arrays["velocities"], image.arrays["update_velocities"]])
        x = np.stack([image.positions, image.positions + image.arrays["displacements"]])
        options = {**how.options(image, {"reader": "ase", "pairs": "in the order of the file"}, False), "unwrap": False}
        parts.append(trajectories(image.numbers, x, float(step) * (k + np.arange(2)), how.where, velocity=velocity, options=options))
    result = concat(parts)
    return _checked(result.replace(context={"run": torch.zeros(len(parts), dtype=torch.long)}), how)


def _checked(result: Trajectories, how: _How) -> Trajectories:
    if how.check and "velocity" in result.extra:
        check_velocities(result)
    return result


def _refuse_truncated(path: Path) -> None:
    """Count the lines of an xyz file: ASE leaves out a last frame that is cut short without a word."""
    with path.open() as file:
        frame = 0
        for line in file:
            if not line.strip():
                continue
            try:
                atoms = int(line)
            except ValueError:
                return  # no xyz file after all; ASE will say what it thinks of it
            got = sum(1 for _ in zip(range(atoms + 1), file, strict=False))
            if got < atoms + 1:
                raise ValueError(f"{path} is cut short: frame {frame} announces {atoms} atoms, but the file ends after {max(0, got - 1)}")
            frame += 1
