"""``make demo`` in small."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_demo_prints_its_tables_and_names_the_report(tmp_path, capsys):
    if not (ROOT / "data" / "ethanol_pairs.zarr.zip").is_file():
        pytest.skip("needs the sample in data/, which lies in the repository")
    demo = runpy.run_path(str(ROOT / "benchmarks" / "demo.py"))
    page = demo["main"](["--minutes", "0.01", "--picoseconds", "0.2", "--out", str(tmp_path / "r.html")])
    out = capsys.readouterr().out
    for piece in ("quadratic ridge", "linear ridge", "ballistic", "reference", "TrajCast", str(page)):
        assert piece in out
    html = page.read_text()
    assert "GFN2-xTB" in html
    assert html.count("reference, replica") == 6  # three replicas, each a title and an option
