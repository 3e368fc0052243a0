"""Forecasters that are entered: those of the package by name, and those of users as ``module:name``."""

from __future__ import annotations

import importlib
import os
import sys
from functools import lru_cache
from typing import Any

from trajlab.catalog import load, unknown
from trajlab.evaluate.cache import key_of
from trajlab.evaluate.chaos_keys import source_of
from trajlab.models import FORECASTERS

__all__ = ["check_entries", "entered", "identity"]


@lru_cache(maxsize=64)
def entered(entry: str) -> Any:
    """The forecaster of a name of `trajlab.models.FORECASTERS`, or of ``module:name``, a `SeriesForecaster`, class or instance. Kept for later calls.

    Modules are looked for in the current folder too.

    Raises:
        ValueError: there is no such name, module, or object in it.
        TypeError: it is no forecaster of series.
    """
    if ":" not in entry:
        if entry not in FORECASTERS:
            raise ValueError(unknown("forecaster", entry, FORECASTERS) + "; one's own are entered as module:name")
        return load(FORECASTERS[entry])()
    found = _of_users(entry)
    made = found() if isinstance(found, type) else found
    if not callable(getattr(made, "forecast", None)) or not callable(getattr(made, "provenance", None)):
        raise TypeError(f"{entry} is {type(made).__name__}; a trajlab.models.series_forecaster.SeriesForecaster, class or instance, was wanted")
    return made


def _of_users(entry: str) -> Any:
    module, _, name = entry.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"forecaster {entry!r}: {error}; the module must be in the current folder or be installed") from error
    if not hasattr(found, name):
        raise ValueError(f"forecaster {entry!r}: {unknown(f'object of {module}', name, [n for n in vars(found) if not n.startswith('_')])}")
    return getattr(found, name)


def check_entries(entries: tuple[str, ...]) -> None:
    """Refuse names that are not there before anything is computed.

    Raises:
        ValueError, TypeError: as `entered`.
    """
    for entry in entries:
        if ":" in entry:
            entered(entry)
        elif entry not in FORECASTERS:
            raise ValueError(unknown("forecaster", entry, FORECASTERS) + "; one's own are entered as module:name")


@lru_cache(maxsize=64)
def identity(entry: str) -> str:
    """Changes whenever the settings of a forecaster do, or the code that it runs."""
    made = entered(entry)
    module = FORECASTERS[entry].partition(":")[0] if ":" not in entry else type(made).__module__
    return key_of(entry=entry, about=dict(made.provenance(0)), source=source_of(module), where=source_of(entry.partition(":")[0]))
