"""``trajlab simulate nbody``, ``simulate windows`` and ``prepare``: from the command to a store."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest

import trajlab
from trajlab.cli.main import main
from trajlab.sources.windows_md import molecule_windows


def fails(capsys, *arguments):
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_nbody_is_simulated_and_stored(capsys, tmp_path):
    out = tmp_path / "charged.zarr"
    settings = ["--n", "6", "--frames", "12", "--recipe", "accurate", "--seed", "3"]
    assert main(["simulate", "nbody", "charged", *settings, "--out", str(out), "--quiet"]) == 0
    assert "6 scenes" in capsys.readouterr().out
    stored = trajlab.load(out)
    assert (stored.n_scenes, stored.n_frames) == (6, 12)
    assert (stored.source["seed"], stored.source["recipe"]) == (3, "accurate")
    assert "exists; pass --overwrite" in fails(capsys, "simulate", "nbody", "charged", "--out", str(out))
    assert main(["simulate", "nbody", "springs", "--n", "2", "--out", str(out), "--overwrite", "--quiet"]) == 0
    assert trajlab.load(out).static["spring"].shape == (10, 5)


def test_windows_are_simulated_and_stored(reference, tmp_path, monkeypatch):
    short = partial(molecule_windows, equilibrate=10.0, decorrelate=5.0)
    monkeypatch.setattr("trajlab.sources.windows_md.molecule_windows", short)
    out = tmp_path / "ethanol.zarr"
    folder = str(reference / "md/sgdml_models")
    assert main(["simulate", "windows", "ethanol", "--n", "1", "--frames", "4", "--folder", folder, "--out", str(out), "--quiet"]) == 0
    assert trajlab.load(out).static["hop"].shape == (9, 9)


def test_pedestrians_are_prepared(capsys, reference, tmp_path):
    arguments = ["prepare", "eth_ucy", "zara1", "--folder", str(reference / "traffic/eth_ucy"), "--out", str(tmp_path / "z"), "--hop", "20"]
    assert main([*arguments, "--stretched", "keep"]) == 0
    parts = {part: trajlab.load(tmp_path / "z" / f"{part}.zarr") for part in ("train", "validation", "test")}
    assert all(part.spacing == pytest.approx(0.4) for part in parts.values())
    assert parts["train"].n_scenes > parts["validation"].n_scenes
    capsys.readouterr()
    assert "exists; pass --overwrite" in fails(capsys, *arguments)


def test_everything_is_listed(capsys):
    assert main(["list", "sources"]) == 0
    out = capsys.readouterr().out
    for words in ("charged", "forces from Coulomb's law", "springs", "gravity", "uracil", "eth_ucy", "leaves one scene out"):
        assert words in out


@pytest.mark.parametrize(("arguments", "words"), [
    (["simulate", "nbodi", "charged"], "did you mean 'nbody'?"),
    (["simulate", "nbody", "charge"], "did you mean 'charged'?"),
    (["simulate", "nbody", "charged", "--frame", "3"], "did you mean '--frames'"),
    (["simulate", "nbody", "charged", "--frames", "80"], "which has 49"),
    (["simulate", "windows", "copper"], "no reference system 'copper'"),
    (["simulate", "md", "charged"], "no reference system 'charged'"),
    (["prepare", "eth", "zara1"], "did you mean 'eth_ucy'?"),
    (["prepare", "eth_ucy", "zara4", "--folder", "."], "did you mean 'zara"),
])
def test_misuse_is_told_in_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in fails(capsys, *arguments)


@pytest.mark.parametrize("arguments", [["simulate", "nbody", "--help"], ["simulate", "windows", "--help"], ["prepare", "eth_ucy", "--help"]])
def test_help_without_torch(arguments):
    code = ("import sys; from trajlab.cli.main import main\ntry: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
            "bad = {'torch', 'numpy', 'numba'} & set(sys.modules); assert not bad, bad")
    subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True)
