"""What every fitted model on disk shares: ``model.safetensors`` beside ``model.json``, written whole or not at all, and read with care."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

import trajlab
from trajlab.catalog import unknown

__all__ = ["read", "write"]


def write(folder: str | Path, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """Write both files, each by a temporary file and a rename."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, str(folder / "model.safetensors.tmp"))
    (folder / "model.json.tmp").write_text(json.dumps(record, indent=1, default=str))
    for name in ("model.safetensors", "model.json"):
        os.replace(folder / f"{name}.tmp", folder / name)
    return folder


def read(folder: str | Path, method: str, config: type) -> tuple[dict[str, Any], dict[str, Tensor], Any]:
    """The record, the tensors and the config of a model. Another version of trajlab than the one that wrote it is told in a warning.

    Raises:
        ValueError: the folder holds no model, one of another method, or a setting that this version does not know.
    """
    folder = Path(folder)
    if not (folder / "model.json").is_file():
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) if folder.is_dir() else "nothing: there is no such folder"
        raise ValueError(f"{folder} holds no model (model.json and model.safetensors were wanted; it holds {held})")
    record = json.loads((folder / "model.json").read_text())
    if record.get("method") != method:
        raise ValueError(f"{folder} holds a model of method {record.get('method')!r}, not {method!r}")
    if record["version"] != trajlab.__version__:
        warnings.warn(f"the model in {folder} was trained by trajlab {record['version']}; this is {trajlab.__version__}", stacklevel=4)
    known = [f.name for f in fields(config)]
    strange = [name for name in record["config"] if name not in known]
    if strange:
        raise ValueError(unknown(f"setting of {config.__name__.removesuffix('Config')} (in {folder}/model.json)", strange[0], known))
    settings = config(**{k: tuple(v) if isinstance(v, list) else v for k, v in record["config"].items()})
    return record, load_file(str(folder / "model.safetensors")), settings
