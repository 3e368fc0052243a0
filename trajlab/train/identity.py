"""Is this the run that the checkpoint belongs to? What must agree before a run is resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trajlab.train.config import TrainConfig

# What may change between the parts of a run: where it computes and how often it reports, not what it computes.
FREE = {"accelerator", "devices", "num_nodes", "strategy", "compile", "save_every_seconds", "log_every"}


def identity(module: nn.Module, batches: Any, config: TrainConfig) -> dict[str, Any]:
    """The config, the shapes of the model and a checksum of the data, in plain values.

    The data's checksum is its ``fingerprint`` attribute where it has one, else that of a batch of its first, middle and last sample.
    """
    size = len(batches)
    sample = getattr(batches, "fingerprint", None)
    if sample is None:
        digest = hashlib.blake2b(digest_size=16)
        _feed(digest, batches.batch(torch.tensor([0, size // 2, size - 1])))
        sample = digest.hexdigest()
    shapes = {name: f"{list(p.shape)} {str(p.dtype).removeprefix('torch.')}" for name, p in module.named_parameters()}
    return {"config": config.to_dict(), "model": shapes, "data": {"samples": size, "fingerprint": str(sample)}}


def differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What keeps a run from going on, each as ``"config.lr was 0.004 and is 0.01"``. A longer budget is welcome at constant rate."""
    free = set(FREE)
    if now["config"]["schedule"] == "constant":
        free |= {"steps", "minutes"}
    found = []
    for part in ("config", "model", "data"):
        for key in {**stored[part], **now[part]}:
            before, after = stored[part].get(key, "absent"), now[part].get(key, "absent")
            if before != after and not (part == "config" and key in free):
                found.append(f"{part}.{key} was {before} and is {after}")
    return found


def _feed(digest: Any, value: Any) -> None:
    """Add a structure of tensors and plain values to a checksum."""
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
    elif isinstance(value, Mapping):
        for key in value:
            digest.update(repr(key).encode())
            _feed(digest, value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            _feed(digest, item)
    elif is_dataclass(value):
        for f in fields(value):
            _feed(digest, getattr(value, f.name))
    elif isinstance(value, (str, int, float, bool, type(None))):
        digest.update(repr(value).encode())
    elif hasattr(value, "__dict__"):
        _feed(digest, vars(value))
