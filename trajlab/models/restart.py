"""Restart files: one safetensors file with everything else as JSON in its header, replaced as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

FORMAT = "trajlab-restart-1"


def write(path: str | Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
    """Write beside the target, flush, rename.

    Raises:
        OSError: the disk is full; the file that was there is intact.
    """
    path = Path(path)
    content = safetensors.torch.save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
                                     {"format": FORMAT, "state": json.dumps(state)})
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state of a restart file.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is not a restart file, or is cut short.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no restart file {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or no restart file ({error}); use an older one, or start anew") from error
    if about.get("format") != FORMAT:
        raise ValueError(f"{path} is no restart file of a roll-out (its format is {about.get('format')!r}, {FORMAT!r} was wanted)")
    return tensors, json.loads(about["state"])


def flatten(cache: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the plain values of a propagator's cache, nested mappings joined by ``/``.

    Raises:
        TypeError: the cache holds something that a restart file cannot.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for key, value in cache.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            tensors[name] = value
        elif isinstance(value, Mapping):
            inner = flatten(value, f"{name}/")
            tensors |= inner[0]
            plain |= inner[1]
        elif value is None or isinstance(value, bool | int | float | str):
            plain[name] = value
        else:
            raise TypeError(f"the propagator keeps a {type(value).__name__} under {name!r}; a cache holds tensors, numbers and strings only, "
                            "or a restart file could not hold it")
    return tensors, plain


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Undo the joining of `flatten`."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split("/")
        inner = made
        for key in path:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return made


def fingerprint(propagator: Any) -> str:
    """Twelve hexadecimal digits over the weights of a propagator (``state_dict`` of it or of its ``step``), its class and stride.

    A propagator may have a ``fingerprint`` of its own.
    """
    own = getattr(propagator, "fingerprint", None)
    if isinstance(own, str):
        return own
    found = hashlib.sha256(f"{type(propagator).__name__} {propagator.stride!r}".encode())
    for holder in (propagator, getattr(propagator, "step", None)):
        if isinstance(holder, torch.nn.Module):
            for name, value in holder.state_dict().items():
                found.update(name.encode())
                found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            break
    return found.hexdigest()[:12]
