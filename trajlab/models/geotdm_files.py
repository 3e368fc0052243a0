"""A fitted GeoTDM on disk: weights and the linear reference as safetensors, everything else as JSON beside them."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors.torch import load_file, save_file

import trajlab
from trajlab.catalog import unknown
from trajlab.models.features import Features
from trajlab.models.geotdm_config import GeoTDMConfig
from trajlab.models.geotdm_module import GeoTDMModule, feature_config, reference_of
from trajlab.units import Units

if TYPE_CHECKING:
    from trajlab.models.geotdm import GeoTDM

Model = TypeVar("Model", bound=Any)  # GeoTDM or a subclass, which cannot be imported here
REFERENCE = "reference forecast/"


def save(model: GeoTDM, folder: str | Path) -> Path:
    """See `GeoTDM.save`."""
    module, folder = model.fitted, Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "method": "geotdm", "version": trajlab.__version__, "config": asdict(model.config), "kinds": list(module.features.kinds),
        "slots": module.features.slots, "spacing": model.spacing, "units": asdict(model.units), "about": model.about,
    }
    tensors = dict(module.state_dict())
    if module.reference is not None:
        tensors |= {REFERENCE + name: value for name, value in module.reference.state().items()}
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, str(folder / "model.safetensors.tmp"))
    (folder / "model.json.tmp").write_text(json.dumps(record, indent=1, default=str))
    for name in ("model.safetensors", "model.json"):
        os.replace(folder / f"{name}.tmp", folder / name)
    return folder


def load(cls: type[Model], folder: str | Path, device: torch.device | str) -> Model:
    """See `GeoTDM.load`."""
    folder = Path(folder)
    if not (folder / "model.json").is_file():
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) if folder.is_dir() else "nothing: there is no such folder"
        raise ValueError(f"{folder} holds no model (model.json and model.safetensors were wanted; it holds {held})")
    record = json.loads((folder / "model.json").read_text())
    if record.get("method") != "geotdm":
        raise ValueError(f"{folder} holds a model of method {record.get('method')!r}, not 'geotdm'")
    if record["version"] != trajlab.__version__:
        warnings.warn(f"the model in {folder} was trained by trajlab {record['version']}; this is {trajlab.__version__}", stacklevel=3)
    known = [f.name for f in fields(GeoTDMConfig)]
    strange = [name for name in record["config"] if name not in known]
    if strange:
        raise ValueError(unknown(f"setting of GeoTDM (in {folder}/model.json)", strange[0], known))
    config = GeoTDMConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in record["config"].items()})
    tensors = load_file(str(folder / "model.safetensors"))
    reference = reference_of(config, {name.removeprefix(REFERENCE): value for name, value in tensors.items() if name.startswith(REFERENCE)})
    module = GeoTDMModule(config, Features(feature_config(config), tuple(record["kinds"]), record["slots"]), reference)
    module = module.to(getattr(torch, config.dtype))
    module.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(REFERENCE)})
    model = cls(config)
    model.module = module.to(device).eval().requires_grad_(False)
    model.spacing, model.units, model.about = record["spacing"], Units(**record["units"]), record["about"]
    return model
