"""Content keys: a stored result is used again only where the data, the settings and the code that made it are the same."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path

from trajlab.models import FORECASTERS

__all__ = ["source_of"]

#: Rooms whose code can change a result; names, tables and messages elsewhere cannot.
ROOMS = ("dynamics", "nets", "paths", "couplings", "sources", "samplers", "metrics", "guidance", "train", "models", "evaluate")


@lru_cache(maxsize=256)
def source_of(module: str) -> str:
    """Sixteen hexadecimal digits of the source of a module and of all that it imports from its own package, directly or not.

    Packages' ``__init__`` files, which are tables of names here, don't count. Without source (an interactive session) the digits are of the name.
    """
    digest = hashlib.sha256()
    for name in sorted(_closure(module)):
        path = _path(name)
        digest.update(name.encode() + (path.read_bytes() if path else b""))
    return digest.hexdigest()[:16]


def _closure(module: str) -> set[str]:
    """The module and what it imports of its own package, everywhere in the file, also inside functions."""
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        todo += [other for other in _imports(name) if _counts(other, module)]
    return found


def _counts(name: str, module: str) -> bool:
    parts = name.split(".")
    if parts[0] != module.partition(".")[0] or _path(name) is None:
        return False
    return parts[0] != "trajlab" or (len(parts) > 2 and parts[1] in ROOMS)


@lru_cache(maxsize=4096)
def _imports(name: str) -> tuple[str, ...]:
    path = _path(name)
    if path is None:
        return ()
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    if {"trajlab.models.FORECASTERS", "trajlab.models"} & set(found):  # whoever looks others up by name depends on them all
        found += [target.partition(":")[0] for target in FORECASTERS.values()]
    return tuple(found)


@lru_cache(maxsize=4096)
def _path(name: str) -> Path | None:
    """The file of a module that is written in Python and is no package; nothing is imported to find it."""
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    roots = [Path(place).joinpath(*rest).with_suffix(".py") for place in spec.submodule_search_locations or ()] if rest else [Path(spec.origin or "")]
    return next((root for root in roots if root.suffix == ".py" and root.name != "__init__.py" and root.is_file()), None)
