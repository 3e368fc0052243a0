"""A fitted GeoTDM on disk: weights and the linear reference as safetensors, everything else as JSON beside them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

import trajlab
from trajlab.models.features import Features
from trajlab.models.geotdm_config import GeoTDMConfig
from trajlab.models.geotdm_module import GeoTDMModule, feature_config, reference_of
from trajlab.models.model_files import read, write
from trajlab.units import Units

if TYPE_CHECKING:
    from trajlab.models.geotdm import GeoTDM

Model = TypeVar("Model", bound=Any)  # GeoTDM or a subclass, which cannot be imported here
REFERENCE = "reference forecast/"


def save(model: GeoTDM, folder: str | Path) -> Path:
    """See `GeoTDM.save`."""
    module = model.fitted
    record = {
        "method": "geotdm", "version": trajlab.__version__, "config": asdict(model.config), "kinds": list(module.features.kinds),
        "slots": module.features.slots, "spacing": model.spacing, "units": asdict(model.units), "about": model.about,
    }
    tensors = dict(module.state_dict())
    if module.reference is not None:
        tensors |= {REFERENCE + name: value for name, value in module.reference.state().items()}
    return write(folder, record, tensors)


def load(cls: type[Model], folder: str | Path, device: torch.device | str) -> Model:
    """See `GeoTDM.load`."""
    record, tensors, config = read(folder, "geotdm", GeoTDMConfig)
    reference = reference_of(config, {name.removeprefix(REFERENCE): value for name, value in tensors.items() if name.startswith(REFERENCE)})
    module = GeoTDMModule(config, Features(feature_config(config), tuple(record["kinds"]), record["slots"]), reference)
    module = module.to(getattr(torch, config.dtype))
    module.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(REFERENCE)})
    model = cls(config)
    model.module = module.to(device).eval().requires_grad_(False)
    model.spacing, model.units, model.about = record["spacing"], Units(**record["units"]), record["about"]
    return model
