"""Benchmarks as modules, without leaving their folder on the path, where their names would hide those of the tests' folders."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


def load(name: str) -> ModuleType:
    """The program ``benchmarks/NAME.py``, imported as ``benchmark_NAME``; once."""
    known = f"benchmark_{name}"
    if known in sys.modules:
        return sys.modules[known]
    spec = importlib.util.spec_from_file_location(known, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    sys.path.insert(0, str(FOLDER))
    sys.modules[known] = module
    try:
        for sibling in FOLDER.glob(f"{name}_*.py"):  # what the program imports only when it needs it
            importlib.import_module(sibling.stem)
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = path
    return module
