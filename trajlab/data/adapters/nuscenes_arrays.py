"""Arrays of states, ``[agent frame column]`` with a mask: nuScenes-like ``.npz`` scenes, and arrays whose columns a format string names.

Sources: Caesar et al., nuScenes, CVPR (2020); the format strings are those of trajdata (Ivanovic et al., NeurIPS Datasets and Benchmarks, 2023).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.data.adapters.sightings import wrapped
from trajlab.types import Trajectories
from trajlab.units import Units

__all__ = ["FORMAT", "KINDS", "from_states", "read_nuscenes_arrays", "to_states"]

FORMAT = "x,y,z,h,xd,yd,length,width,height"  #: of the npz scenes
KINDS = ("VEHICLE", "PEDESTRIAN", "CYCLIST", "TRAFFIC_CONE", "TRAFFIC_BARRIER", "OTHER")
COLUMNS = {"x": "east", "y": "north", "z": "up", "xd": "velocity", "yd": "velocity", "zd": "velocity upwards", "xdd": "acceleration",
           "ydd": "acceleration", "zdd": "acceleration upwards", "h": "heading", "c": "cosine of the heading", "s": "sine of the heading",
           "length": "extent", "width": "extent", "height": "extent"}
NEEDED = ("states", "valid", "types", "ts")


def from_states(
    states: Any, format: str, time: Any, valid: Any = None, *, kinds: Sequence[str] | None = None, focal: Sequence[int] = (),
    source: Mapping[str, Any] | None = None,
) -> Trajectories:
    """One scene from an array of states.

    Args:
        states: ``[agent frame column]`` in metres, seconds and radians counter-clockwise from x.
        format: names of the columns, such as ``"x,y,xd,yd,xdd,ydd,h"``: positions ``x, y, z``, their derivatives ``xd, ...`` and ``xdd, ...``,
            heading ``h`` (or its cosine and sine ``c, s``), ``length, width, height``.
        time: the clock ``[frame]``, s, or one number: the time between frames.
        valid: True where an agent was seen, ``[agent frame]``; without it, wherever all columns are finite (padding with NaN).
        kinds: class of each agent, ``[agent]``; numbered in ``source["kinds"]`` (`KINDS`, then others in order of their names).
        focal: numbers of the agents to predict.

    Returns:
        Positions x, y; ``extra`` ``"velocity"``, ``"acceleration"``, ``"heading"`` as far as the columns go; ``static`` ``"length"``, ``"width"``,
        ``"height"`` (the median over the frames seen), ``"focal"``, ``"id"`` (number of the agent in the array); ``context["run"]`` (0). Heights over
        ground and their derivatives are left out. ``source["dropped"]`` counts agents that were never seen, and sightings that are not finite.

    Raises:
        ValueError: the format has an unknown or repeated column or no x, y; shapes disagree; no agent was ever seen; a focal agent is not there.
    """
    names = [name.strip() for name in format.split(",")]
    for name in names:
        if name not in COLUMNS:
            raise ValueError(f"format {format!r}: {unknown('column', name, COLUMNS)}")
    if len(set(names)) != len(names) or not {"x", "y"} <= set(names):
        raise ValueError(f"format {format!r} names a column twice or lacks x or y")
    states = np.asarray(states, dtype=np.float64)
    if states.ndim != 3 or states.shape[2] != len(names):
        raise ValueError(f"states have shape {states.shape}; [agent frame {len(names)}] was wanted for the format {format!r}")
    finite = np.isfinite(states).all(-1)
    told = np.asarray(finite if valid is None else valid).astype(bool)
    clock = np.asarray(time, dtype=np.float64)
    clock = clock * np.arange(states.shape[1]) if clock.ndim == 0 else clock
    if told.shape != finite.shape or clock.shape != finite.shape[1:]:
        raise ValueError(f"states of shape {states.shape} came with valid {told.shape} and time {clock.shape}; {finite.shape} and "
                         f"{finite.shape[1:]} were wanted")
    mask = told & finite
    there = np.flatnonzero(mask.any(1))
    if not len(there):
        raise ValueError(f"none of the {len(states)} agents was ever seen (valid is False, or the states are not finite)")
    for one in focal:
        if one not in there:
            raise ValueError(f"focal agent {one} is not among the {len(there)} agents that were seen (numbers 0 to {len(states) - 1})")
    dropped = {"rows": int(told.sum()), "not finite": int((told & ~finite).sum()), "agents never seen": len(states) - len(there)}
    column = dict(zip(names, np.moveaxis(np.where(mask[..., None], states, 0.0)[there], -1, 0)))
    numbered, said = _numbered(kinds, there, len(states))
    mask = mask[there]
    static = {name: torch.from_numpy(_typical(column[name], mask)) for name in ("length", "width", "height") if name in column}
    return Trajectories(
        x=torch.from_numpy(np.stack([column["x"], column["y"]], axis=-1)), time=torch.from_numpy(clock)[None],
        scene=torch.zeros(len(there), dtype=torch.long), mask=torch.from_numpy(mask), kind=torch.from_numpy(numbered), extra=_motion(column),
        static={**static, "focal": torch.from_numpy(np.isin(there, np.asarray(focal, dtype=np.int64))), "id": torch.from_numpy(there)},
        context={"run": torch.zeros(1, dtype=torch.long)}, units=Units.si(),
        source={"reader": "states", "format": format, "dropped": dropped, **said, **(source or {})})


def _motion(column: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    extra = {}
    for name, parts in {"velocity": ("xd", "yd"), "acceleration": ("xdd", "ydd")}.items():
        if set(parts) <= set(column):
            extra[name] = torch.from_numpy(np.stack([column[p] for p in parts], axis=-1))
    if "h" in column:
        extra["heading"] = torch.from_numpy(wrapped(column["h"]))
    elif {"c", "s"} <= set(column):
        extra["heading"] = torch.from_numpy(np.arctan2(column["s"], column["c"]))
    return extra


def _typical(value: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The median over the frames seen, ``[agent]``."""
    return np.nanmedian(np.where(mask, value, np.nan), axis=1)


def _numbered(kinds: Sequence[str] | None, there: np.ndarray, count: int) -> tuple[np.ndarray, dict[str, list[str]]]:
    if kinds is None:
        return np.zeros(len(there), dtype=np.int64), {}
    if len(kinds) != count:
        raise ValueError(f"{len(kinds)} kinds for {count} agents; one each was wanted")
    names = [*KINDS, *sorted({str(k) for k in kinds} - set(KINDS))]
    return np.array([names.index(str(kinds[k])) for k in there], dtype=np.int64), {"kinds": names}


def to_states(trajectories: Trajectories, format: str = "x,y,xd,yd,h") -> tuple[np.ndarray, np.ndarray]:
    """Every node as rows of a format: ``(states[node frame column], valid[node frame])``, NaN where not seen.

    Raises:
        ValueError: a column is unknown, or the trajectories don't have it.
    """
    extra, static = trajectories.extra, trajectories.static
    have = {"x": trajectories.x[..., 0], "y": trajectories.x[..., 1]}
    for name, parts in {"velocity": ("xd", "yd"), "acceleration": ("xdd", "ydd")}.items():
        if name in extra:
            have |= {parts[0]: extra[name][..., 0], parts[1]: extra[name][..., 1]}
    if "heading" in extra:
        have |= {"h": extra["heading"], "c": extra["heading"].cos(), "s": extra["heading"].sin()}
    have |= {name: static[name][:, None].expand(-1, trajectories.n_frames) for name in ("length", "width", "height") if name in static}
    names = [name.strip() for name in format.split(",")]
    for name in names:
        if name not in have:
            raise ValueError(f"format {format!r}: {unknown('column', name, have)}")
    valid = trajectories.mask.cpu().numpy()
    states = torch.stack([have[name].double() for name in names], dim=-1).cpu().numpy()
    return np.where(valid[..., None], states, np.nan), valid


def read_nuscenes_arrays(path: str | Path) -> Trajectories:
    """A scene of states in an ``.npz`` file.

    Args:
        path: arrays ``states[agent frame 9]`` (`FORMAT`), ``valid[agent frame]``, ``types[agent]``, ``ts[frame]`` (s) and, where there are,
            ``focal`` (numbers of the agents to predict), ``ids``, ``scenario_id``, ``map``.

    Returns:
        As `from_states`; ``source`` has ``"id"`` (name of each node), ``"focal"`` (names), ``"scenario"`` and ``"city"`` where the file has them.
        Where the arrays were made from 2 Hz annotations, frames between those are interpolated, and accelerations from them mean little.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no npz file, lacks an array, or holds pickled objects; or as `from_states`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read as npz arrays ({error}); it may be cut short, or hold pickled objects (refused)") from error
    for name in NEEDED:
        if name not in content:
            raise ValueError(f"{path} is no scene of states: {unknown('array', name, content)}")
    focal = [int(one) for one in np.ravel(content.get("focal", ()))]
    ids = [str(one) for one in content.get("ids", np.arange(len(content["states"])))]
    more = {name: str(content[key]) for name, key in {"scenario": "scenario_id", "city": "map"}.items() if key in content}
    clock = content["ts"].astype(np.float64).round(6)
    result = from_states(content["states"], FORMAT, clock, content["valid"], kinds=[str(k) for k in content["types"]], focal=focal,
                         source={"reader": "nuscenes arrays", "file": path.name, **more})
    names = {"id": [ids[k] for k in result.static["id"].tolist()], "focal": [ids[k] for k in focal]}
    return result.replace(source={**result.source, **names})
