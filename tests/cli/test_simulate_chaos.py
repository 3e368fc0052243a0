"""``trajlab simulate chaos`` and ``trajlab list chaos``."""

from __future__ import annotations

import trajlab
from trajlab.cli.main import main


def fails(capsys, *arguments):
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_an_ensemble_is_simulated_and_stored(capsys, tmp_path):
    out = tmp_path / "lorenz.zarr"
    arguments = ["simulate", "chaos", "Lorenz", "--n", "3", "--points", "40", "--noise", "0.01", "--set", "rho=30", "--out", str(out)]
    assert main(arguments) == 0
    assert "3 scenes" in capsys.readouterr().out
    stored = trajlab.load(out)
    assert (stored.n_scenes, stored.n_frames, stored.dim) == (3, 40, 3)
    assert (stored.source["parameters"]["rho"], stored.source["noise"], stored.source["seed"]) == (30.0, 0.01, 0)
    assert "clean" in stored.extra
    assert "exists; pass --overwrite" in fails(capsys, *arguments)


def test_mistakes_are_told_in_a_line(capsys, tmp_path):
    out = str(tmp_path / "none.zarr")
    assert "did you mean 'Lorenz'" in fails(capsys, "simulate", "chaos", "Lorentz", "--out", out)
    assert "did you mean 'rho'" in fails(capsys, "simulate", "chaos", "Lorenz", "--set", "roh=3", "--out", out)
    assert "name=number" in fails(capsys, "simulate", "chaos", "Lorenz", "--set", "rho=many", "--out", out)
    assert "no clock 'yard'" in fails(capsys, "simulate", "chaos", "Lorenz", "--clock", "yard", "--out", out)


def test_systems_are_listed_when_asked_for(capsys):
    assert main(["list", "chaos"]) == 0
    listed = capsys.readouterr().out
    assert "Lorenz84" in listed
    assert "delay equation" in listed
    assert main(["list"]) == 0
    everything = capsys.readouterr().out
    assert "158 chaotic systems" in everything
    assert "Lorenz84" not in everything
