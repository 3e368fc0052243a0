"""A fitted TrajCast on disk: weights as safetensors, everything else as JSON beside them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

import trajlab
from trajlab.models.model_files import read, write
from trajlab.models.trajcast_config import TrajCastConfig
from trajlab.models.trajcast_step import TrajCastStep

if TYPE_CHECKING:
    from trajlab.models.trajcast import TrajCast

Model = TypeVar("Model", bound=Any)  # TrajCast or a subclass, which cannot be imported here


def save(model: TrajCast, folder: str | Path) -> Path:
    """See `TrajCast.save`."""
    step = model.fitted
    record = {
        "method": "trajcast", "version": trajlab.__version__, "config": asdict(model.config), "elements": list(step.elements),
        "strides": list(step.strides), "neighbours": step.neighbours, "stride": model.stride,
        "limits": model.limits.to_dict() if model.limits is not None else None,
        "about": model.about,
    }
    return write(folder, record, step.state_dict())


def load(cls: type[Model], folder: str | Path, device: torch.device | str) -> Model:
    """See `TrajCast.load`."""
    from trajlab.models.limits import Limits

    record, tensors, config = read(folder, "trajcast", TrajCastConfig)
    model = cls(config)
    step = TrajCastStep(model.config, tuple(record["elements"]), tuple(record["strides"]), record["neighbours"])
    step.load_state_dict(tensors)
    model.step = step.to(device).eval().requires_grad_(False)
    model.stride, model.about = record["stride"], record["about"]
    model.limits = None if record["limits"] is None else Limits.from_dict(record["limits"])
    return model
