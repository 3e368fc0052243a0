"""A fitted TrajCast on disk: weights as safetensors, everything else as JSON beside them."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors.torch import load_file, save_file

import trajlab
from trajlab.catalog import unknown
from trajlab.models.trajcast_config import TrajCastConfig
from trajlab.models.trajcast_step import TrajCastStep

if TYPE_CHECKING:
    from trajlab.models.trajcast import TrajCast

Model = TypeVar("Model", bound=Any)  # TrajCast or a subclass, which cannot be imported here


def save(model: TrajCast, folder: str | Path) -> Path:
    """See `TrajCast.save`."""
    step = model.fitted
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "method": "trajcast", "version": trajlab.__version__, "config": asdict(model.config), "elements": list(step.elements),
        "strides": list(step.strides), "neighbours": step.neighbours, "stride": model.stride,
        "limits": model.limits.to_dict() if model.limits is not None else None,
        "about": model.about,
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in step.state_dict().items()}
    save_file(weights, str(folder / "model.safetensors.tmp"))
    (folder / "model.json.tmp").write_text(json.dumps(record, indent=1, default=str))
    for name in ("model.safetensors", "model.json"):
        os.replace(folder / f"{name}.tmp", folder / name)
    return folder


def load(cls: type[Model], folder: str | Path, device: torch.device | str) -> Model:
    """See `TrajCast.load`."""
    from trajlab.models.limits import Limits

    folder = Path(folder)
    if not (folder / "model.json").is_file():
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) if folder.is_dir() else "nothing: there is no such folder"
        raise ValueError(f"{folder} holds no model (model.json and model.safetensors were wanted; it holds {held})")
    record = json.loads((folder / "model.json").read_text())
    if record.get("method") != "trajcast":
        raise ValueError(f"{folder} holds a model of method {record.get('method')!r}, not 'trajcast'")
    if record["version"] != trajlab.__version__:
        warnings.warn(f"the model in {folder} was trained by trajlab {record['version']}; this is {trajlab.__version__}", stacklevel=3)
    known = set(TrajCastConfig.__dataclass_fields__)
    strange = [name for name in record["config"] if name not in known]
    if strange:
        raise ValueError(unknown(f"setting of TrajCast (in {folder}/model.json)", strange[0], known))
    raw = {k: tuple(v) if isinstance(v, list) else v for k, v in record["config"].items()}
    model = cls(TrajCastConfig(**raw))
    step = TrajCastStep(model.config, tuple(record["elements"]), tuple(record["strides"]), record["neighbours"])
    step.load_state_dict(load_file(str(folder / "model.safetensors")))
    model.step = step.to(device).eval().requires_grad_(False)
    model.stride, model.about = record["stride"], record["about"]
    model.limits = None if record["limits"] is None else Limits.from_dict(record["limits"])
    return model
