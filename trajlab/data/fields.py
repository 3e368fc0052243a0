"""Nouns taken apart into named arrays and plain values, put together again, and their checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajlab.types import Forecast, JumpPaths, Snapshots, Trajectories
from trajlab.units import Units

__all__ = ["AXES", "NOUNS", "axes", "checksum", "flatten", "rebuild"]

NOUNS: dict[str, type] = {noun.__name__: noun for noun in (Trajectories, Snapshots, JumpPaths, Forecast)}
# The leading axes of the arrays of `Trajectories`; named extras, statics and contexts have those of their group.
AXES: dict[str, tuple[str, ...]] = {
    "x": ("node", "time"), "time": ("scene", "time"), "scene": ("node",), "mask": ("node", "time"), "kind": ("node",),
    "extra": ("node", "time"), "static": ("node",), "context": ("scene",), "cell": ("scene",), "pbc": ("scene",),
}
_PROVENANCE = ("source", "provenance")


def axes(name: str) -> tuple[str, ...]:
    """The leading axes of one array of `Trajectories`, such as ``"x"`` or ``"extra/velocity"``."""
    return AXES[name.partition("/")[0]]


def flatten(noun: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a noun by name (``"x"``, ``"extra/velocity"``, ``"past/x"``), and the rest as values that JSON can hold.

    Raises:
        TypeError: it is not one of the nouns that can be kept.
        ValueError: a name contains a slash, or provenance holds something that JSON cannot.
    """
    if type(noun).__name__ not in NOUNS:
        raise TypeError(f"a {type(noun).__name__} was given; {', '.join(NOUNS)} can be stored")
    arrays: dict[str, Tensor] = {}
    plain: dict[str, Any] = {"noun": type(noun).__name__}
    for f in fields(noun):
        value = getattr(noun, f.name)
        if isinstance(value, Tensor):
            arrays[f.name] = value
        elif isinstance(value, Trajectories):
            inner, plain[f.name] = flatten(value)
            arrays |= {f"{f.name}/{k}": v for k, v in inner.items()}
        elif isinstance(value, Mapping) and f.name not in _PROVENANCE:
            arrays |= {f"{f.name}/{_safe(k)}": v for k, v in value.items()}
        elif value is not None:
            plain[f.name] = asdict(value) if isinstance(value, Units) else _plain(value, f.name)
    return arrays, plain


def rebuild(arrays: Mapping[str, Tensor], plain: Mapping[str, Any]) -> Any:
    """The noun whose `flatten` gave these; it checks itself again."""
    noun = NOUNS[plain["noun"]]
    values: dict[str, Any] = {}
    for f in fields(noun):
        below = {k.removeprefix(f"{f.name}/"): v for k, v in arrays.items() if k.startswith(f"{f.name}/")}
        if f.name in arrays:
            values[f.name] = arrays[f.name]
        elif f.name == "past":
            values[f.name] = rebuild(below, plain[f.name])
        elif f.name == "units" and f.name in plain:
            values[f.name] = Units(**plain[f.name])
        elif below or f.name in plain:
            values[f.name] = below or plain[f.name]
        if isinstance(values.get(f.name), list):
            values[f.name] = tuple(values[f.name])
    return noun(**values)


def checksum(noun: Any) -> str:
    """SHA-256 of what a noun says: its arrays (names, types, shapes, values), units and other plain fields.

    Provenance does not enter, so that the same numbers have the same checksum wherever they came from; nor do values that are
    masked out.
    """
    arrays, plain = flatten(noun)
    digest = hashlib.sha256(json.dumps(_without_provenance(plain), sort_keys=True).encode())
    for name in sorted(arrays):
        value = _observed(arrays[name], name, arrays)
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()


def _observed(value: Tensor, name: str, arrays: Mapping[str, Tensor]) -> Tensor:
    parent, _, own = name.rpartition("past/")
    mask = arrays.get(f"{parent}past/mask" if "past/" in name else "mask")
    if mask is None or own.partition("/")[0] not in ("x", "draws", "extra") or bool(mask.all()):
        return value
    return torch.where(mask.reshape(*mask.shape, *[1] * (value.ndim - mask.ndim)), value, torch.zeros((), dtype=value.dtype, device=value.device))


def _without_provenance(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _without_provenance(v) if isinstance(v, Mapping) else v for k, v in plain.items() if k not in _PROVENANCE}


def _safe(name: str) -> str:
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"the name {name!r} cannot be stored; use a name without slashes that does not begin with a dot")
    return name


def _plain(value: Any, where: str) -> Any:
    """Mappings, sequences, numbers and strings in the form in which JSON gives them back."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, where) for v in value]
    if isinstance(value, (np.generic, Tensor)) and value.ndim == 0:
        return value.item()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"{where} holds a {type(value).__name__}, which cannot be stored; provenance takes numbers, text, lists and dicts")
