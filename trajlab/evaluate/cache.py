"""Results kept under the hash of what they were made from, so that an interrupted benchmark goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def key_of(**inputs: Any) -> str:
    """Twelve hexadecimal digits that change whenever an input does; inputs are plain values, or things with a stable ``repr``."""
    text = json.dumps(inputs, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Cache:
    """A folder of nouns and numbers by name and content key."""

    folder: Path

    def path(self, name: str, key: str, suffix: str = "") -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{name}-{key}{suffix}"

    def noun(self, name: str, key: str, make: Callable[[], Any]) -> Any:
        """A noun from the store, or made and stored."""
        from trajlab.data import store

        path = self.path(name, key, ".zarr")
        if not path.exists():
            store.save(make(), path)
        return store.load(path)

    def numbers(self, name: str, key: str, make: Callable[[], Any]) -> Any:
        """Plain values from a JSON file, or made and written."""
        path = self.path(name, key, ".json")
        if not path.exists():
            write_json(path, make())
        return json.loads(path.read_text())


def write_json(path: Path, value: Any) -> Path:
    """Write JSON by a temporary file and a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1, default=str))
    os.replace(temporary, path)
    return path
