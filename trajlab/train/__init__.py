"""Training: `train(module, loss, batches, TrainConfig(minutes=20), folder)`, checkpoints, moving averages, devices and processes.

Names are looked up when they are first used, so that the config can be read without torch.
"""

from __future__ import annotations

from typing import Any

from trajlab.catalog import load, unknown

NAMES = {
    "TrainConfig": "trajlab.train.config:TrainConfig",
    "TrainResult": "trajlab.train.loop:TrainResult",
    "train": "trajlab.train.loop:train",
    "EMA": "trajlab.train.ema:EMA",
}
__all__ = list(NAMES)


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(unknown("name in trajlab.train", name, NAMES))
    return load(NAMES[name])
