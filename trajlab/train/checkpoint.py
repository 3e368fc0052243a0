"""Checkpoints: named tensors as safetensors and one JSON file, written as a whole or not at all.

Layout of a run's folder::

    metrics.jsonl
    checkpoints/step-000001200/state.json, model.safetensors, optimiser.safetensors, ema.safetensors[, best.safetensors]
    checkpoints/latest          the name of the newest complete checkpoint

A checkpoint is written into a temporary folder, flushed to the disk, renamed, and only then named in ``latest``, itself replaced by a
rename. A process killed at any point leaves the previous checkpoint in place and in force; leftovers are removed by the next run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

LATEST = "latest"


def save(folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
    """Write checkpoint number ``step`` below ``folder/checkpoints`` and make it the latest; older ones are removed.

    Args:
        folder: of the run.
        step: names the checkpoint.
        tensors: one safetensors file for each entry.
        state: what goes into ``state.json``.

    Raises:
        OSError: the disk is full or not writable; names the path and the free space. The previous checkpoint is intact.
    """
    root = folder / "checkpoints"
    name = f"step-{step:09d}"
    while (root / name).exists():  # saved again at the same step, as after the last validation; the one in force is never touched
        name += "+"
    part = root / f".{name}.{os.getpid()}.part"
    try:
        part.mkdir(parents=True, exist_ok=True)
        for entry, named in tensors.items():
            write(part / f"{entry}.safetensors", _packed(named))
        write(part / "state.json", json.dumps(state, indent=1).encode())
        os.rename(part, root / name)
        pointer = root / f".{LATEST}.{os.getpid()}.part"
        write(pointer, name.encode())
        os.replace(pointer, root / LATEST)
        _flush_folder(root)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise OSError(error.errno, _failure(error, root, step, tensors)) from error
    sweep(folder)
    return root / name


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run, or None where there is none."""
    pointer = folder / "checkpoints" / LATEST
    if not pointer.is_file():
        return None
    found = pointer.parent / pointer.read_text().strip()
    if not (found / "state.json").is_file():
        raise ValueError(f"{pointer} names {found.name}, which is not there; remove {pointer.parent} to start afresh")
    return found


def load(checkpoint: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The tensors and the state of a checkpoint.

    Raises:
        ValueError: a file is truncated or is not what its name says.
    """
    try:
        state = json.loads((checkpoint / "state.json").read_text())
        tensors = {path.stem: safetensors.torch.load(path.read_bytes()) for path in sorted(checkpoint.glob("*.safetensors"))}
    except (json.JSONDecodeError, SafetensorError) as error:
        raise ValueError(f"{checkpoint} is damaged ({error}); remove {checkpoint.parent} to start afresh") from error
    return tensors, state


def sweep(folder: Path) -> None:
    """Remove what is not the latest checkpoint: older ones, and what a killed process left half-written."""
    keep = latest(folder)
    for path in (folder / "checkpoints").glob("*"):
        if path.is_dir() and path != keep and (path.name.startswith("step-") or path.suffix == ".part"):
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix == ".part":
            path.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _packed(named: Mapping[str, Tensor]) -> bytes:
    # Clones, because safetensors refuses tied weights, which share memory.
    return safetensors.torch.save({k: v.detach().cpu().contiguous().clone() for k, v in named.items()})


def _flush_folder(folder: Path) -> None:
    """Make renames durable; not every system can open a folder."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _failure(error: OSError, root: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]]) -> str:
    there = root if root.exists() else next(p for p in root.parents if p.exists())
    free = shutil.disk_usage(there).free / 1e6
    size = sum(v.numel() * v.element_size() for named in tensors.values() for v in named.values()) / 1e6
    return (
        f"the checkpoint of step {step} ({size:.1f} MB) could not be written to {root}: {error.strerror}; {free:.1f} MB are free. "
        "The previous checkpoint is intact: make room and run again with the same folder to go on from there"
    )
