"""Shape checking for all tests, the reference data, and one thread for tests that time or compare."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import jaxtyping._import_hook as hook
import pytest
from beartype import BeartypeConf, BeartypeHintOverrides, beartype
from jaxtyping import install_import_hook

# Small tensors on few cores: a second thread costs more than it gives.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every annotated shape in trajlab is checked while tests run; users pay nothing for it.
# The hook decorates methods one by one, where beartype cannot know what Self is; it is read as Any.
# numba compiles bare functions only, so that what is decorated with njit, vectorize and the like stays as it is.
checker = ModuleType("trajlab_shape_checker_but_numba")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=BeartypeHintOverrides({Self: Any})))  # type: ignore[attr-defined]
sys.modules[checker.__name__] = checker
marked = hook._is_no_type_check


def bare(decorator: ast.AST) -> bool:
    """Whether a function with this decorator is left unchecked."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in ("njit", "jit", "vectorize", "guvectorize", "stencil", "cfunc", "register_jitable") or marked(decorator)


hook._is_no_type_check = bare
install_import_hook("trajlab", f"{checker.__name__}.check")

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference data, which is not part of the project."""
    if not REFERENCE.is_dir():
        pytest.skip(f"needs the reference data in {REFERENCE}, which is not part of the project")
    return REFERENCE


@pytest.fixture
def generator():
    import torch

    return torch.Generator().manual_seed(0)
