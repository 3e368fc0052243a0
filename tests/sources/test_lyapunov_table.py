"""The shipped table of Lyapunov spectra, its reader, and the command that makes and checks it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tests.benchmark_files import load
from trajlab.sources import lyapunov_table
from trajlab.sources.chaos_names import names
from trajlab.sources.lyapunov_table import LyapunovRecord, tabulated, tabulated_names

table = load("lyapunov_table")


def test_lorenz():
    record = tabulated("Lorenz")
    assert abs(record.largest - 0.906) < 4 * record.error[0] < 0.1
    assert record.chaotic
    assert record.lyapunov_time == pytest.approx(1 / record.largest)
    assert record.per_period[0] == pytest.approx(record.largest * 1.5008)
    assert abs(record.sum + 10 + 1 + 2.667) < 1e-5
    assert record.flags == ()


def test_every_flow_is_there_and_every_sum_is_its_divergence():
    records = [tabulated(name) for name in tabulated_names()]
    assert {r.name for r in records if r.kind == "ode"} == set(names("ode"))
    assert not [r.name for r in records if r.kind == "ode" and not (r.failed or r.mismatch <= 1e-3)]
    assert sum(bool(r.failed) for r in records) <= 2
    assert all(len(r.error) == len(r.exponents) == len(r.windows[0]) for r in records if not r.failed)


def test_provenance():
    told = lyapunov_table.provenance()
    assert {"date", "settings", "versions"} <= set(told)


def test_unknown_system():
    with pytest.raises(ValueError, match="did you mean 'Lorenz'"):
        tabulated("Lorentz")


def test_records_survive_the_file():
    record = tabulated("Lorenz")
    assert LyapunovRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    broken = LyapunovRecord("x", "ode", 3, 1.0, failed="why")
    again = LyapunovRecord.from_json(json.loads(json.dumps(broken.to_json())))
    assert again.failed == "why"
    assert math.isnan(again.largest)
    assert again.lyapunov_time == math.inf


@pytest.fixture
def shipped(tmp_path):
    """A small table of two systems."""
    path = tmp_path / "lyapunov.json"
    table.write(path, {}, {name: tabulated(name).to_json() for name in ("Lorenz", "Rossler")})
    return path


def test_check_agrees_with_itself_and_not_with_another(shipped, monkeypatch, capsys):
    monkeypatch.setattr(table, "measure", lambda name, *rest: tabulated(name))
    assert table.main(["--check", "Lorenz", "Rossler", "--out", str(shipped)]) == 0
    other = replace(tabulated("Lorenz"), exponents=tuple(np.add(tabulated("Lorenz").exponents, [0.2, 0.0, -0.2])))
    monkeypatch.setattr(table, "measure", lambda name, *rest: other)
    assert table.main(["--check", "Lorenz", "--out", str(shipped)]) == 1
    assert "errors from the table" in capsys.readouterr().out


def test_check_looks_at_every_sum(shipped, monkeypatch, capsys):
    monkeypatch.setattr(table, "measure", lambda name, *rest: tabulated(name))
    wrong = replace(tabulated("Rossler"), mismatch=0.002)
    table.write(shipped, {}, {"Lorenz": tabulated("Lorenz").to_json(), "Rossler": wrong.to_json()})
    assert table.main(["--check", "Lorenz", "--out", str(shipped)]) == 1
    assert "Rossler: sum" in capsys.readouterr().out


def test_a_killed_run_goes_on(tmp_path, monkeypatch, capsys):
    out, made = tmp_path / "lyapunov.json", []

    def measure(name, *rest):
        if len(made) == 1:
            made.append("killed")
            raise KeyboardInterrupt
        made.append(name)
        return tabulated(name)

    monkeypatch.setattr(table, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        table.main(["Lorenz", "Rossler", "--out", str(out)])
    assert not out.exists()
    assert table.main(["Lorenz", "Rossler", "--out", str(out)]) == 0
    assert made == ["Lorenz", "killed", "Rossler"]
    assert list(table.read(out)["systems"]) == ["Lorenz", "Rossler"]
    assert not out.with_suffix(".part.json").exists()


def test_compare_names_the_wrong_columns(shipped, capsys):
    assert table.main(["--compare", "--out", str(shipped)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "spectrum[0]" in lines["Lorenz"]
    assert "largest" in lines["Rossler"]


def test_unknown_names_are_told_at_once(tmp_path):
    with pytest.raises(ValueError, match="did you mean"):
        table.main(["Lorentz", "--out", str(tmp_path / "x.json")])


def test_measure_keeps_the_reason_of_a_failure(monkeypatch):
    def fails(*given):
        raise ValueError("it diverged")

    monkeypatch.setattr(table, "of_flow", fails)
    record = table.measure("Lorenz", 1.0, 0)
    assert record.failed == "ValueError: it diverged"
    assert record.dim == 3


def test_no_table(monkeypatch, tmp_path):
    monkeypatch.setattr(lyapunov_table, "FILE", "nowhere.json")
    with pytest.raises(FileNotFoundError, match=r"benchmarks/lyapunov_table.py"):
        lyapunov_table.find()
