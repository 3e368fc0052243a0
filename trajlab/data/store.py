"""The zarr store: nouns in a folder (or one ``.zarr.zip`` file), chunked along nodes and time, read and extended in pieces.

Layout: one zarr array for each tensor field (``x``, ``extra/velocity``, ...), so that any zarr reader can open it, and in the
attributes of the root the units, the provenance and, under ``committed``, how many scenes, nodes and frames are valid. An append
writes behind what is committed and then replaces the attributes, by renaming one file: until that instant every reader sees the old
content, so a full disk or a killed process loses the append and nothing else. One process writes at a time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from torch import Tensor
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore, ZipStore

from trajlab.data.fields import AXES, NOUNS, axes, checksum, flatten, rebuild
from trajlab.types import Trajectories

__all__ = ["append", "info", "load", "pieces", "save", "verify"]

VERSION = 1
CHUNK_BYTES = 1 << 20
CHUNK_FRAMES = 128


def save(noun: Any, path: str | Path, *, overwrite: bool = False, chunk_frames: int | None = None) -> Path:
    """Write a noun to a new ``.zarr`` folder, or to one file if the name ends in ``.zip``.

    Everything is written beside the target first and then renamed, so that the target is either complete or not there.

    Args:
        noun: `Trajectories`, `Snapshots`, `JumpPaths` or `Forecast`. Use ``noun.to(dtype=torch.float32)`` for a compact store.
        path: where to.
        overwrite: replace what is there.
        chunk_frames: frames a chunk; by default as many as there are, at most 128. Choose it when a short beginning is saved
            that is to grow by `append`.

    Returns:
        The path.

    Raises:
        TypeError: not a noun.
        ValueError: something is there and ``overwrite`` is False, or a field cannot be stored.
        OSError: the disk is full; nothing is left behind.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists; pass overwrite=True to replace it, or extend it with append()")
    arrays, plain = flatten(noun)
    with _beside(path) as folder:
        root = zarr.open_group(LocalStore(folder), mode="w")
        for name, value in arrays.items():
            _create(root, name, _numpy(value, name), chunk_frames)
        about = {"format": "trajlab", "version": VERSION, **plain, "arrays": sorted(arrays), "checksum": checksum(noun)}
        root.attrs.put({**about, "committed": _lengths(noun)})
        if path.suffix == ".zip":
            folder = _zipped(folder)
        _replace(folder, path)
    return path


def load(path: str | Path, scenes: slice | int | Sequence[int] | None = None, frames: slice | None = None) -> Any:
    """Read a noun, or some scenes and frames of stored `Trajectories` without reading the rest.

    Args:
        path: a ``.zarr`` folder or ``.zarr.zip`` file written by `save`.
        scenes: which scenes, in the order asked for.
        frames: which frames; a slice with a positive step.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is no store of this package, it was written by a newer version, a chunk is damaged, or scenes and frames
            are asked of a noun that has none.
    """
    with _opened(path) as (root, attributes):
        if attributes["noun"] != "Trajectories":
            if scenes is not None or frames is not None:
                raise ValueError(f"{path} holds {attributes['noun']}; only Trajectories are read by scenes and frames")
            return rebuild({k: _read(a, k, path) for k, a in _arrays(root)}, attributes)
        return _load_part(root, attributes, path, scenes, frames)


def pieces(path: str | Path, n_frames: int = 1000, n_scenes: int | None = None) -> Iterator[Trajectories]:
    """Stored trajectories block by block: all frames of the first ``n_scenes`` scenes, ``n_frames`` at a time, then the next scenes.

    Raises:
        ValueError: as `load`.
    """
    held = info(path)["committed"]
    step = max(1, held["scene"] if n_scenes is None else n_scenes)
    for first in range(0, held["scene"], step):
        for begin in range(0, held["time"], n_frames):
            yield load(path, slice(first, first + step), slice(begin, begin + n_frames))


def info(path: str | Path) -> dict[str, Any]:
    """What a store says of itself, without reading its arrays: noun, units, provenance, ``committed`` lengths, checksum.

    Raises:
        FileNotFoundError, ValueError: as `load`.
    """
    with _opened(path) as (_, attributes):
        return attributes


def verify(path: str | Path) -> None:
    """Read everything and compare with the checksum of `save`; of a store that was extended since, only that it can be read.

    Raises:
        ValueError: a chunk is damaged or the content is not what was saved.
    """
    wanted, found = info(path)["checksum"], checksum(load(path))
    if wanted is not None and wanted != found:
        raise ValueError(f"the content of {path} has checksum {found[:12]}..., but {wanted[:12]}... was saved: it was changed; get a fresh copy")


def append(path: str | Path, trajectories: Trajectories, along: str = "time") -> None:
    """Extend stored trajectories by later frames of the same scenes (``along="time"``) or by further scenes (``along="scene"``).

    Values are converted to the types of the store. If the append fails or is killed, the store still holds what it held before,
    and the next append works.

    Raises:
        TypeError: not `Trajectories`.
        ValueError: the store is a zip file, scenes, kinds, names or units disagree, or the clock does not continue.
        OSError: the disk is full; the store still holds what it held before.
    """
    path = Path(path)
    if not isinstance(trajectories, Trajectories):
        raise TypeError(f"a {type(trajectories).__name__} cannot be appended; only Trajectories grow")
    if along not in ("time", "scene"):
        raise ValueError(f"along={along!r}; 'time' (later frames) or 'scene' (further scenes) was wanted")
    if path.is_file():
        raise ValueError(f"{path} is a zip file, which cannot grow; load it, save it as a .zarr folder and append to that")
    with _opened(path, write=True) as (root, attributes):
        _agrees(root, attributes, trajectories, along, path)
        _sweep(path)
        mark = _mark(path)
        mark.touch()
        _extend(root, attributes["committed"], trajectories, along)
        old, new = attributes["committed"], _lengths(trajectories)
        grown = ("time",) if along == "time" else ("scene", "node")
        committed = {k: old[k] + new[k] if k in grown else old[k] for k in old}
        root.attrs.put({**attributes, "checksum": None, "committed": committed})  # one rename: the append has happened
        mark.unlink()


def _extend(root: zarr.Group, old: Mapping[str, int], trajectories: Trajectories, along: str) -> None:
    values, _ = flatten(trajectories)
    if along == "scene":
        values["scene"] = values["scene"] + old["scene"]
    for name, array in _arrays(root):
        where = axes(name)
        if along not in where and not (along == "scene" and "node" in where):
            continue
        grows = where.index("time") if along == "time" else 0
        begin, value = old[where[grows]], _numpy(values[name], name).astype(array.dtype)
        # Shrinking to what is committed drops the leftovers of an append that failed.
        for length in (begin, begin + value.shape[grows]):
            shape = tuple(length if k == grows else old[a] for k, a in enumerate(where)) + array.shape[len(where):]
            if shape != array.shape:
                array.resize(shape)
        array[(slice(None),) * grows + (slice(begin, None),)] = value


def _agrees(root: zarr.Group, attributes: Mapping[str, Any], new: Trajectories, along: str, path: Path) -> None:
    """Refuse what does not continue the store."""
    values, plain = flatten(new)
    held = dict(_arrays(root))
    stored = set(held)
    if attributes["noun"] != "Trajectories":
        raise ValueError(f"{path} holds {attributes['noun']}, to which Trajectories cannot be appended")
    if stored != set(values):
        lacks, extra = sorted(stored - set(values)), sorted(set(values) - stored)
        raise ValueError(f"the fields differ from those of {path}: missing {lacks or 'none'}, not in the store {extra or 'none'}")
    if plain["units"] != attributes["units"]:
        raise ValueError(f"the units are {plain['units']}, those of {path} {attributes['units']}; convert first")
    for name, array in held.items():
        tail = len(axes(name))
        if values[name].shape[tail:] != array.shape[tail:]:
            raise ValueError(f"{name} has shape {tuple(values[name].shape)}, in {path} {array.shape}; all axes after {axes(name)} must agree")
    old = attributes["committed"]
    if along == "scene":
        if new.n_frames != old["time"]:
            raise ValueError(f"the new scenes have {new.n_frames} frames, those of {path} {old['time']}; scenes of a store have equal length")
        return
    for name in ("scene", "kind", *sorted(n for n in stored if n.startswith(("static/", "context/")) or n in ("cell", "pbc"))):
        there = _read(held[name], name, path, slice(0, old[axes(name)[0]]))
        if there.shape != values[name].shape or not torch.equal(there, values[name].cpu().to(there.dtype)):
            raise ValueError(f"{name} differs from that of {path}; frames can only be appended to the same nodes and scenes")
    last = _read(held["time"], "time", path, (slice(0, old["scene"]), slice(max(0, old["time"] - 1), old["time"])))
    late = (new.time[:, :1].cpu() <= last).flatten().nonzero().flatten()
    if old["time"] and new.n_frames and len(late):
        s = int(late[0])
        raise ValueError(
            f"scene {s} of {path} ends at time {float(last[s]):g}, but the appended frames begin at {float(new.time[s, 0]):g}; "
            "the clock must continue"
        )


def _load_part(root: zarr.Group, attributes: Mapping[str, Any], path: Any, scenes: Any, frames: slice | None) -> Trajectories:
    held = attributes["committed"]
    wanted = slice(None) if scenes is None else slice(scenes, scenes + 1 or None) if isinstance(scenes, int) else scenes
    chosen = np.arange(held["scene"])[wanted if isinstance(wanted, slice) else np.asarray(wanted, dtype=int)]
    step = slice(*(frames or slice(None)).indices(held["time"]))
    if step.step < 1:
        raise ValueError(f"frames={frames} runs backwards; frames are read in rising order")
    scene = _read(root["scene"], "scene", path, slice(0, held["node"])).numpy()
    count = np.bincount(scene, minlength=held["scene"])
    first = np.concatenate([[0], count.cumsum()])[chosen]
    nodes = np.concatenate([np.arange(b, b + n) for b, n in zip(first, count[chosen], strict=True)] or [np.arange(0)]).astype(int)
    pick = {"time": step, "scene": _as_slice(chosen), "node": _as_slice(nodes)}
    arrays = {k: _read(a, k, path, tuple(pick[w] for w in axes(k))) for k, a in _arrays(root) if k != "scene"}
    arrays["scene"] = torch.as_tensor(np.repeat(np.arange(len(chosen)), count[chosen]).astype(scene.dtype))
    return rebuild(arrays, attributes)


def _as_slice(index: np.ndarray) -> slice | np.ndarray:
    if not len(index):
        return slice(0, 0)
    return slice(int(index[0]), int(index[-1]) + 1) if bool((np.diff(index) == 1).all()) else index


def _lengths(noun: Any) -> dict[str, int]:
    return {"scene": noun.n_scenes, "node": noun.n_nodes, "time": noun.n_frames} if isinstance(noun, Trajectories) else {}


def _numpy(value: Tensor, name: str) -> np.ndarray:
    if value.dtype == torch.bfloat16 or value.is_complex():
        raise ValueError(f"{name} has type {value.dtype}, which a store does not hold; convert it to float32 first")
    return value.detach().cpu().numpy()


def _create(root: zarr.Group, name: str, value: np.ndarray, chunk_frames: int | None) -> None:
    """One array. Floating-point holes are NaN, so that a lost chunk is found when the noun checks itself, and never read as zero."""
    chunks = _chunks(name, value, chunk_frames)
    codecs = (BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=value.itemsize), Crc32cCodec())
    array = root.create_array(
        name, shape=value.shape, dtype=value.dtype, chunks=chunks or "auto", compressors=codecs,
        fill_value=float("nan") if value.dtype.kind == "f" else None, config={"write_empty_chunks": True},
    )
    array[...] = value


def _chunks(name: str, value: np.ndarray, chunk_frames: int | None) -> tuple[int, ...]:
    """At most a megabyte a chunk: along time as asked for, then the longest of the other axes is halved until it fits."""
    chunks = [max(1, n) for n in value.shape]
    timed = name.partition("/")[0] in AXES and "time" in axes(name) and value.ndim > 1
    if timed:
        chunks[1] = chunk_frames or min(chunks[1], CHUNK_FRAMES)
    while int(np.prod(chunks)) * value.itemsize > CHUNK_BYTES:
        free = [k for k in range(len(chunks)) if not (timed and k == 1) and chunks[k] > 1] or [1]
        longest = max(free, key=lambda k: chunks[k])
        chunks[longest] = -(-chunks[longest] // 2)
    return tuple(chunks)


def _read(array: Any, name: str, path: Any, which: Any = ...) -> Tensor:
    fancy = isinstance(which, tuple) and any(isinstance(w, np.ndarray) for w in which)
    try:
        value = array.oindex[which] if fancy else array[which]
    except (ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"array {name!r} of {path} is damaged and cannot be read ({error}); get a fresh copy, or read other scenes and frames"
        ) from error
    return torch.from_numpy(np.array(value))


def _arrays(root: zarr.Group) -> list[tuple[str, Any]]:
    try:
        return [(name, root[name]) for name in root.attrs["arrays"]]
    except KeyError as error:
        raise ValueError(f"the store lacks the array {error}, which it was saved with; get a fresh copy") from error


@contextlib.contextmanager
def _opened(path: str | Path, write: bool = False) -> Iterator[tuple[zarr.Group, dict[str, Any]]]:
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no store at {path}")
    try:
        store = ZipStore(path, mode="r") if path.is_file() else LocalStore(path, read_only=not write)
        root = zarr.open_group(store, mode="r+" if write else "r")
    except (zipfile.BadZipFile, FileNotFoundError, KeyError) as error:
        raise ValueError(f"{path} is not a zarr store, or is cut short ({error})") from error
    try:
        attributes = dict(root.attrs)
        if attributes.get("format") != "trajlab" or attributes.get("noun") not in NOUNS:
            raise ValueError(f"{path} is a zarr store, but not one of trajlab: its attributes are {sorted(attributes)}")
        if attributes["version"] > VERSION:
            raise ValueError(f"{path} has store version {attributes['version']}; this trajlab reads up to {VERSION}: update it")
        yield root, attributes
    finally:
        store.close()


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary folder next to the target, gone afterwards whatever happens."""
    folder = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".zip").unlink(missing_ok=True)


def _zipped(folder: Path) -> Path:
    """The folder as one file with fixed dates and order, so that the same content is the same file. Chunks are compressed already."""
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            archive.writestr(zipfile.ZipInfo(file.relative_to(folder).as_posix()), file.read_bytes())
    return target


def _replace(new: Path, path: Path) -> None:
    """Rename onto the target; a folder in the way is moved aside first, since folders cannot be replaced in one step."""
    old = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.old"
    if path.is_dir():
        path.rename(old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)


def _sweep(path: Path) -> None:
    """After an append that was killed, remove the half-written files it may have left."""
    if _mark(path).exists():
        for file in path.rglob("*.partial"):
            file.unlink(missing_ok=True)


def _mark(path: Path) -> Path:
    """A file beside the store that is there while an append is under way."""
    return path.parent / f".{path.name}.appending"
