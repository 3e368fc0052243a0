"""trajlab: fit, sample, forecast and judge trajectory models, from atoms to traffic to cells.

The front door is light: names are looked up when they are first used, so ``import trajlab`` imports neither torch nor any method.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from trajlab.catalog import FRONT_DOOR, ROOMS
from trajlab.catalog import load as _load

__version__ = "0.1.0"
__all__ = [*FRONT_DOOR, "__version__"]


def __getattr__(name: str) -> Any:
    if f"trajlab.{name}" in ROOMS.values():
        return import_module(f"trajlab.{name}")
    if name not in FRONT_DOOR:
        from trajlab.catalog import unknown

        raise AttributeError(unknown("name in trajlab", name, FRONT_DOOR))
    return _load(FRONT_DOOR[name])


def __dir__() -> list[str]:
    return sorted(__all__)
