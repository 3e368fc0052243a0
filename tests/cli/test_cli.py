"""The command line answers at once, and errors are one line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trajlab.cli import TABLE
from trajlab.cli.main import main


def fails(capsys, *arguments: str) -> str:
    """Run a command that must fail; return its one line."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["fit", "--help"], ["fit", "trajcast", "--help"], ["simulate", "md", "--help"],
                                       ["forecast", "--help"], ["report", "--help"], ["--version"]])
def test_answers_at_once_without_torch(arguments):
    code = ("import sys, time; from trajlab.cli.main import main\n"
            "try: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
            "bad = {'torch', 'numpy', 'ase', 'matplotlib'} & set(sys.modules); assert not bad, bad\n"
            "print('CPU', time.process_time(), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"})
    assert done.stdout.strip()
    if arguments in (["--help"], ["list"]):
        assert float(done.stderr.split("CPU")[1]) < 0.3


def test_overview_names_every_command(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in TABLE)


def test_list_names_methods_and_sources(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "trajcast" in out
    assert "uracil" in out
    assert main(["list", "methods"]) == 0
    assert "uracil" not in capsys.readouterr().out


def test_card_is_printed(capsys):
    assert main(["card", "trajcast"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# TrajCast")
    assert "2503.23794" in out


@pytest.mark.parametrize(("arguments", "words"), [
    (["fti"], "no command 'fti'; did you mean 'fit'?"),
    (["fit", "trajkast", "d"], "did you mean 'trajcast'?"),
    (["fit"], "needs a method first: one of "),
    (["fit", "trajcast", "d", "--minuts", "3"], "no option '--minuts'; did you mean '--minutes'"),
    (["fit", "trajcast", "d", "--minutes=soon"], "--minutes"),
    (["fit", "trajcast", "d", "--preset", "papr"], "no preset 'papr'; did you mean 'paper'?"),
    (["fit", "trajcast", "d", "--channels", "0"], "channels must be positive"),
    (["fit", "trajcast", "d", "--minutes", "3", "--steps", "3"], "exactly one"),
    (["fit", "trajcast"], "Missing"),
    (["fit", "trajcast", "no_such_file.zarr"], "no_such_file.zarr"),
    (["simulate", "md", "urcil"], "did you mean 'uracil'?"),
    (["simulate", "dm"], "did you mean 'md'?"),
    (["simulate", "md", "uracil", "--pars", "3"], "did you mean '--pairs'"),
    (["forecast", "no_such_run", "--steps", "3", "--start", __file__], "no_such_run does not exist"),
    (["forecast", "r", "--steps", "3", "--start", __file__, "--thermostat", "langevn"], "did you mean 'langevin'?"),
    (["forecast", "r", "--steps", "3", "--start", __file__, "--out", "a.dcd"], "'.dcd'"),
    (["forecast", "r", "--steps", "3"], "--start"),
    (["report", "no_such_forecast.zarr"], "no_such_forecast.zarr does not exist"),
    (["list", "method"], "did you mean 'methods'?"),
    (["card", "trajcst"], "did you mean 'trajcast'?"),
])
def test_misuse_is_told_in_one_line(capsys, arguments, words):
    assert words in fails(capsys, *arguments)


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="did you mean"):
        main(["fti", "--debug"])


def test_interrupt_is_no_error(capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("trajlab.cli.main.dispatch", interrupted)
    assert main(["list"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_presets_change_the_defaults():
    from trajlab.cli.fit import options
    from trajlab.cli.options import parse
    from trajlab.models.trajcast_config import TrajCastConfig

    given = parse(options("trajcast", "paper"), ["d", "--preset", "paper", "--blocks", "2"], "fit trajcast")
    assert TrajCastConfig(**vars(given.config)) == TrajCastConfig(**{**vars(TrajCastConfig.paper()), "blocks": 2})


def test_report_of_a_saved_evaluation(capsys, tmp_path):
    from trajlab.evaluate.results import Evaluation, Table

    Evaluation("Saved", tables=[Table("T", ["a"], [[1.25]])]).save(tmp_path / "run")
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "r.html")]) == 0
    assert "r.html" in capsys.readouterr().out
    assert "1.25" in (tmp_path / "r.html").read_text()
    assert "leave --reference out" in fails(capsys, "report", str(tmp_path / "run"), "--reference", "x")
