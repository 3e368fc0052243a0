"""The page is complete in itself, small, and written atomically."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import trajlab.report
from trajlab.evaluate.results import Evaluation, Scene3D
from trajlab.report import report


def test_page_has_everything_and_loads_nothing(evaluation):
    html = report(evaluation).html
    for piece in (
        "Ethanol &amp; friends", "1.834", "103.5", "&lt;RMS&gt;", "trajlab report &lt;here&gt;", "<li>b</li>", "wavenumber / cm⁻¹", "3Dmol",
    ):
        assert piece in html
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html.replace(trajlab.report.page._asset("3Dmol-min.js"), ""))
    assert "default-src 'none'" in html


def test_page_of_500_frames_of_20_atoms_is_below_3_mb():
    frames = np.random.default_rng(0).normal(size=(500, 20, 3))
    scenes = [Scene3D(f"draw {i}", np.full(20, 6), frames, 7.0) for i in range(2)]
    assert len(report(Evaluation("big", scenes=scenes)).html.encode()) < 3e6


def test_page_without_scenes_has_no_player():
    html = report(Evaluation("numbers only")).html
    assert "3Dmol" not in html
    assert "<h2>" not in html


def test_title_cannot_break_out():
    html = report(Evaluation("</title><script>alert(1)</script>", scenes=[Scene3D("</script><b>", np.array([1]), np.zeros((1, 1, 3)), 1.0)])).html
    assert "<script>alert" not in html
    assert "</script><b>" not in html


def test_save_is_atomic(evaluation, tmp_path, monkeypatch):
    path = report(evaluation).save(tmp_path / "deep" / "report.html")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        report(Evaluation("other")).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_room_can_be_called(evaluation):
    assert trajlab.report(evaluation).evaluation is evaluation


def test_wrong_arguments_are_told():
    with pytest.raises(TypeError, match="already holds its reference"):
        report(Evaluation("a"), reference=object())
    with pytest.raises(TypeError, match="got int"):
        report(3)


def test_making_a_page_imports_no_torch():
    code = ("import sys; from trajlab.report import report; from trajlab.evaluate.results import Evaluation; report(Evaluation('x'));"
            "bad = {'torch', 'matplotlib', 'ase'} & set(sys.modules); assert not bad, bad")
    subprocess.run([sys.executable, "-c", code], check=True)
