"""Shape checking for all tests, the reference data, and one thread for tests that time or compare."""

from __future__ import annotations

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Every annotated shape in trajlab is checked while tests run; users pay nothing for it.
install_import_hook("trajlab", "beartype.beartype")

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
