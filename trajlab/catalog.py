"""What there is: the names of the front door, and the methods and sources with their tables, without importing any of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any

FRONT_DOOR = {
    "Trajectories": "trajlab.types:Trajectories",
    "Snapshots": "trajlab.types:Snapshots",
    "JumpPaths": "trajlab.types:JumpPaths",
    "Graph": "trajlab.types:Graph",
    "Forecast": "trajlab.types:Forecast",
    "Units": "trajlab.units:Units",
}


def load(target: str) -> Any:
    """Import ``"package.module:name"`` and return the name."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a mistyped name: what it might have been, or all that there is."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(sorted(known))}"
    return f"no {what} {name!r}; {hint}"


def need(module: str, extra: str, use: str) -> ModuleType:
    """Import an optional package where it is used; its absence is told with the command that installs it.

    Raises:
        ImportError: the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise ImportError(f"{use} needs the package {module.partition('.')[0]}: pip install 'trajlab[{extra}]'") from error
