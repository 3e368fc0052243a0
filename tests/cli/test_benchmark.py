"""``trajlab benchmark chaos`` from the command line: what it writes, its exit status, and misuse in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trajlab.cli.benchmark import separated
from trajlab.cli.main import main

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))
from chaos_runs import SEVEN, stand_in

SUITE = """
systems = {systems}
forecasters = ["persistence", "parrot", "mean"]
noise = [0.0]
starts = 2
bar = ["{bar}"]
judged = "{judged}"

[protocols.A]
title = "short"
clock = "period"
per_period = 20
context = 60
horizon = 20
free = 60

[quick]
starts = 1

[full]
starts = 3
"""


@pytest.fixture(autouse=True)
def made_up(monkeypatch, tmp_path):
    stand_in(monkeypatch.setattr)
    monkeypatch.chdir(tmp_path)
    Path("suite.toml").write_text(SUITE.format(systems=list(SEVEN), judged="parrot", bar="mean"))


def call(*more: str) -> int:
    try:
        return main(["benchmark", "chaos", "--suite", "suite.toml", "--workers", "1", "--out", "out", *more])
    except SystemExit as end:
        return int(end.code or 0)


def test_a_claim_that_holds_ends_with_0(capsys):
    assert call("--quick") == 0
    captured = capsys.readouterr()
    assert "The claim holds" in captured.out
    assert "A, no noise, by sMAPE: parrot is ahead of mean" in captured.out
    assert "21 forecasts; 0 of them are there already" in captured.err
    assert "rank against chaos" in Path("out/report.html").read_text()
    assert len(json.loads(Path("out/results.json").read_text())["records"]) == 21
    assert main(["report", "out", "--out", "again.html"]) == 0
    assert call() == 0
    assert "42 forecasts; 21 of them are there already" in capsys.readouterr().err


def test_a_claim_that_does_not_hold_ends_with_1(capsys):
    Path("suite.toml").write_text(SUITE.format(systems=list(SEVEN), judged="mean", bar="parrot"))
    assert call() == 1
    out = capsys.readouterr().out
    assert "The claim does NOT hold" in out
    assert "mean is NOT ahead of parrot" in out


def test_what_cannot_be_judged_ends_with_0(capsys):
    assert call("--systems", "Lorenz,Chen", "--forecasters", "parrot", "mean", "--noise", "0.05") == 0
    out = capsys.readouterr().out
    assert "No claim is judged" in out
    assert "2 systems are too few" in out
    assert "A, 5 % noise" in out


@pytest.mark.parametrize(("arguments", "words"), [
    (["benchmark"], "needs a benchmark first: one of chaos"),
    (["benchmark", "kaos"], "did you mean 'chaos'?"),
    (["benchmark", "chaos", "--quik"], "did you mean '--quick'"),
    (["benchmark", "chaos", "--quick", "--full"], "exclude each other"),
    (["benchmark", "chaos", "--forecasters", "nvr"], "did you mean 'nvar'"),
    (["benchmark", "chaos", "--systems", "Lorentz"], "did you mean 'Lorenz'"),
    (["benchmark", "chaos", "--protocols", "C"], "no protocol 'C'"),
    (["benchmark", "chaos", "--noise", "-1"], "noise"),
    (["benchmark", "chaos", "--judged", "nvar"], "cannot be judged against it"),
    (["benchmark", "chaos", "--suite", "nowhere.toml"], "nowhere.toml does not exist"),
    (["benchmark", "chaos", "--workers", "0"], "workers=0"),
])
def test_misuse_is_told_in_one_line(capsys, arguments, words):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err.splitlines()[-1]
    assert captured.out == ""


def test_lists_with_commas():
    given = ["--systems", "Lorenz,Chen", "Thomas", "--cluster", "slurm:jobs=2,cores=1", "--noise", "0,0.01", "--out", "a,b"]
    assert separated(given) == ["--systems", "Lorenz", "Chen", "Thomas", "--cluster", "slurm:jobs=2,cores=1", "--noise", "0", "0.01", "--out", "a,b"]


def test_help_is_light():
    code = ("import sys; from trajlab.cli.main import main\n"
            "try: main(['benchmark', 'chaos', '--help'])\nexcept SystemExit as end: assert not end.code\n"
            "bad = {'torch', 'numpy', 'joblib', 'pandas'} & set(sys.modules); assert not bad, bad")
    assert "--cluster" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
