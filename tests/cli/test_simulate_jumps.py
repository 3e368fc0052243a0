"""``trajlab simulate jumps``: from the command to a table that can be read again."""

from __future__ import annotations

import pandas as pd
import torch

import trajlab as tl
from trajlab.cli.main import main
from trajlab.types import JumpPaths


def fails(capsys, *arguments):
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_paths_are_simulated_and_written(capsys, tmp_path):
    out = tmp_path / "ratchet.csv"
    arguments = ["simulate", "jumps", "flashing_ratchet", "--n", "30", "--looks", "20", "--set", "V=2", "--seed", "4", "--out", str(out)]
    assert main(arguments) == 0
    assert "V=2.0" in capsys.readouterr().out
    table = pd.read_csv(out)
    assert len(table) == 600
    paths = tl.jump_process("flashing_ratchet", V=2.0).simulate(30, (2.5, 20), seed=4)
    again = tl.jumps_from_table(table, states=list(paths.names))
    assert torch.equal(again.label, paths.label)
    assert torch.allclose(again.time, paths.time)
    assert "exists; pass --overwrite" in fails(capsys, *arguments)


def test_entries_keep_their_kind(capsys, tmp_path):
    out = tmp_path / "deaths.csv"
    assert main(["simulate", "jumps", "illness_death", "--n", "50", "--keep", "entries", "--out", str(out)]) == 0
    again = tl.jumps_from_table(pd.read_csv(out), obstype="obstype")
    deaths = again.observed == JumpPaths.ENTRY
    assert deaths.any()
    assert {again.names[k] for k in again.label[deaths].tolist()} == {"dead"}
    capsys.readouterr()


def test_mistakes_are_told_in_a_line(capsys, tmp_path):
    out = ["--out", str(tmp_path / "none.csv")]
    assert "did you mean 'ring'" in fails(capsys, "simulate", "jumps", "rings", *out)
    assert "no parameter of ring 'm'" in fails(capsys, "simulate", "jumps", "ring", "--set", "m=3", *out)
    assert "a probability was wanted" in fails(capsys, "simulate", "jumps", "ring", "--noise", "2", *out)
    assert "at least one look" in fails(capsys, "simulate", "jumps", "ring", "--looks", "0", *out)
    assert "no way to keep paths" in fails(capsys, "simulate", "jumps", "ring", "--keep", "all", *out)
    assert not (tmp_path / "none.csv").exists()


def test_processes_are_listed(capsys):
    assert main(["list", "sources"]) == 0
    assert "jump process: Discrete flashing ratchet" in capsys.readouterr().out
