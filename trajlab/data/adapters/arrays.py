"""Plain numpy arrays, and the ``.npz`` files of the MD17 family, to and from `Trajectories`."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajlab.data.adapters._atoms import clock, trajectories
from trajlab.data.batches import concat
from trajlab.data.fields import flatten
from trajlab.types import Trajectories
from trajlab.units import Units

__all__ = ["from_numpy", "read_npz", "to_numpy"]


def from_numpy(
    x: Any, time: Any, *, velocity: Any = None, mask: Any = None, kind: Any = None, mass: Any = None, units: Units | None = None,
) -> Trajectories:
    """Trajectories from arrays with time first, as simulations write them.

    Args:
        x: ``[frame dim]`` (the state of one thing), ``[frame node dim]``, or ``[scene frame node dim]`` for scenes of equal size.
        time: the clock ``[frame]`` or ``[scene frame]``, or one number: the time between frames.
        velocity: as ``x``.
        mask: True where observed, as ``x`` without its last axis.
        kind: of each node of one scene, ``[node]``.
        mass: of each node of one scene, ``[node]``.
        units: of everything; none by default.

    Raises:
        ValueError: the shapes do not fit, or a value is not finite where it was observed.
    """
    x = np.asarray(x)
    if x.ndim not in (2, 3, 4):
        raise ValueError(f"x has shape {x.shape}; [frame dim], [frame node dim] or [scene frame node dim] was wanted")
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    full = _full(x, x.ndim)
    scenes, frames, nodes, _ = full.shape
    packed = lambda value, name: _packed(np.asarray(value), x, name)  # noqa: E731
    each = lambda value: torch.as_tensor(np.array(value)).repeat(scenes)  # noqa: E731
    given: dict[str, torch.Tensor] = {}
    if mask is not None:
        given["mask"] = packed(np.asarray(mask)[..., None], "mask")[..., 0].bool()
    if kind is not None:
        given["kind"] = each(kind).long()
    return Trajectories(
        x=packed(x, "x"), time=_clock(time, scenes, frames), scene=torch.arange(scenes).repeat_interleave(nodes),
        extra={} if velocity is None else {"velocity": packed(velocity, "velocity")}, static={} if mass is None else {"mass": each(mass)},
        units=units or Units(), source={"reader": "numpy"}, **given,  # type: ignore[arg-type]
    )


def to_numpy(trajectories: Trajectories) -> dict[str, np.ndarray]:
    """Every array by name, in the layout of `Trajectories`: ``x[node time dim]``, ``extra/velocity``, ``static/mass``, ..."""
    return {name: value.detach().cpu().numpy() for name, value in flatten(trajectories)[0].items()}


def read_npz(
    path: str | Path, *, spacing: float | None = None, numbers: Any = None, frames: slice | None = None, unwrap: bool = True, check: bool = True,
) -> Trajectories:
    """Trajectories from an ``.npz`` file of the MD17 family: ``nuclear_charges, coords`` (rMD17) or ``z, R`` (sGDML), in Angstrom.

    These files have no clock and their frames are shuffled, so each frame becomes a scene of its own, unless ``spacing`` says that they
    follow each other.

    Args:
        path: the file.
        spacing: femtoseconds between frames, where frames follow each other.
        numbers: atomic numbers, where those of the file are missing or wrong.
        frames: which frames.
        unwrap, check: as in `from_ase`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut short, has other arrays, or as many atoms as atomic numbers disagree.
    """
    path = Path(path)
    held = _arrays(path)
    names = next(((z, r) for z, r in (("nuclear_charges", "coords"), ("z", "R")) if r in held), None)
    if names is None or (names[0] not in held and numbers is None):
        raise ValueError(f"{path} holds the arrays {sorted(held)}; nuclear_charges and coords (rMD17), or z and R (sGDML), were wanted")
    x = np.asarray(held[names[1]], dtype=np.float64)[frames or slice(None)]
    z = np.asarray(held[names[0]] if numbers is None else numbers).ravel()
    if x.ndim != 3 or x.shape[1:] != (len(z), 3):
        raise ValueError(
            f"{path}: {names[1]} has shape {x.shape}, but there are {len(z)} atomic numbers ({names[0]}); [frame {len(z)} 3] was wanted. "
            "Pass numbers= if those of the file are wrong"
        )
    options = {"source": {"reader": "npz", "file": path.name}, "unwrap": unwrap, "check": check}
    if spacing is None:
        return concat(trajectories(z, x[k : k + 1], np.zeros(1), str(path), options=options) for k in range(len(x)))
    return trajectories(z, x, clock(len(x), None, spacing, str(path)), str(path), options=options)


def _arrays(path: Path) -> Mapping[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if file[name].dtype != object}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no readable .npz file ({error}); it may be cut short") from error


def _full(value: np.ndarray, ndim: int) -> np.ndarray:
    """With axes for scenes and nodes where ``x`` of ``ndim`` axes had none."""
    value = value[:, None] if ndim == 2 else value
    return value[None] if ndim < 4 else value


def _packed(value: np.ndarray, x: np.ndarray, name: str) -> torch.Tensor:
    if value.shape[:-1] != x.shape[:-1]:
        raise ValueError(f"{name} has shape {value.shape}, x {x.shape}; the axes must agree (a mask has no last axis)")
    full = _full(value, x.ndim)
    scenes, frames, nodes, dim = full.shape
    return torch.from_numpy(np.ascontiguousarray(np.swapaxes(full, 1, 2).reshape(scenes * nodes, frames, dim)))


def _clock(time: Any, scenes: int, frames: int) -> torch.Tensor:
    given = torch.as_tensor(np.asarray(time, dtype=np.float64))
    if given.ndim == 0:
        if not float(given) > 0:
            raise ValueError(f"time={float(given)}; a positive time between frames, or a clock, was wanted")
        given = given * torch.arange(frames, dtype=torch.float64)
    if given.shape not in ((frames,), (scenes, frames)):
        raise ValueError(f"time has shape {tuple(given.shape)}; [{frames}] or [{scenes} {frames}] was wanted")
    return given.expand(scenes, frames)
