"""``trajlab prepare`` of vehicles and sensors, and where they are listed."""

from __future__ import annotations

import numpy as np
import pytest

import trajlab
from trajlab.cli.main import main


def test_vehicles_and_sensors_are_listed(capsys):
    assert main(["list", "sources", "baselines"]) == 0
    out = capsys.readouterr().out
    for words in ("sumo_lc3", "ngsim", "prsa", "metr_la_week", "kalman", "heading_noise", "damped_persistence"):
        assert words in out
    assert max(map(len, out.splitlines())) < 240


def test_vehicles_are_prepared(capsys, reference, tmp_path):
    arguments = ["prepare", "ngsim", "--folder", str(reference / "traffic/commonroad"), "--out", str(tmp_path), "--neighbours", "2", "--hop", "20"]
    assert main(arguments) == 0
    parts = {part: trajlab.load(tmp_path / f"{part}.zarr") for part in ("train", "validation", "test")}
    assert all(part.n_frames == 31 and part.spacing == pytest.approx(0.1) and part.n_nodes > part.n_scenes for part in parts.values())
    assert parts["train"].n_scenes > parts["test"].n_scenes > parts["validation"].n_scenes
    capsys.readouterr()
    assert main(arguments) == 2
    assert "exists; pass --overwrite" in capsys.readouterr().err


def test_sensors_are_prepared(reference, tmp_path):
    assert main(["prepare", "metr_la_week", str(reference / "traffic/sensors"), "--out", str(tmp_path)]) == 0
    parts = [trajlab.load(tmp_path / f"{part}.zarr") for part in ("train", "validation", "test")]
    assert sum(part.n_frames for part in parts) == 2016
    assert np.load(tmp_path / "adjacency.npy").shape == (207, 207)


@pytest.mark.parametrize(("arguments", "words"), [
    (["prepare", "ngsin"], "did you mean 'ngsim'?"),
    (["prepare", "ngsim", "--given", "0"], "at least 1"),
    (["prepare", "prsa", "nowhere"], "nowhere"),
    (["prepare", "sumo", "--folder", "nowhere"], "leave folder= away"),
])
def test_misuse_is_told(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
