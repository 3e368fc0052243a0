"""``trajlab infer`` from the command line: what it reads, says and writes, and misuse in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trajlab.cli.main import main
from trajlab.data.adapters.jump_tables import jumps_to_table
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.simulate import simulate

Q = from_rates(np.array([[0, 1.0, 0.2], [0.5, 0, 0.8], [0.1, 0.6, 0]]))


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def write(name="visits.csv", paths=60, seed=0, **changes):
    table = jumps_to_table(simulate(Q, paths, (5.0, 21), seed=seed)).drop(columns="obstype")
    table.assign(**changes).to_csv(name, index=False)
    return name


def call(*arguments):
    return main(["infer", *map(str, arguments)])


def test_a_table_becomes_a_page_and_a_generator(capsys):
    assert call(write(), "--method", "map", "--noise", "none", "--checks", 4, "--out", "q.json") == 0
    said = capsys.readouterr()
    assert "60 paths, 1260 observations, 3 states" in said.out
    assert "columns: subject from 'subject', time from 'time', state from 'state'" in said.out
    assert "1 → 2" in said.out
    assert "Relaxation times" in said.out
    page = Path("report.html").read_text()
    for part in ("Generator", "Chapman-Kolmogorov", "Implied timescales", "Dwell times", "Occupancy over time", "Cycles", "Checks"):
        assert part in page, part
    q = np.array(json.loads(Path("q.json").read_text())["generator"])
    assert np.abs(q - Q)[~np.eye(3, dtype=bool)].max() < 0.5


def test_links_death_and_csv(capsys):
    table = pd.read_csv(write())
    ends = table.groupby("subject").tail(1).assign(state=4, time=lambda t: t.time + 0.3)
    pd.concat([table, ends[::2]]).to_csv("deaths.csv", index=False)
    assert call("deaths.csv", "--death", 4, "--links", "1:2", "2:1", "2:3", "3:2", "3:4", "1:4", "--noise", "none", "--method", "mle", "--checks", 0,
                "--out", "q.csv", "--report", "page.html") == 0
    said = capsys.readouterr()
    assert "rows were not sorted" in said.out
    q = pd.read_csv("q.csv", index_col="from")
    assert list(q.columns) == ["1", "2", "3", "4"]
    assert q.loc[2, "4"] == 0
    assert q.loc[3, "4"] > 0
    assert (q.loc[4] == 0).all()
    assert "Model and data" not in Path("page.html").read_text()


def test_discrete_trajectories_and_signals(capsys):
    np.save("dtraj.npy", simulate(Q, 8, (30.0, 101), seed=1).label.reshape(8, 101).numpy())
    assert call("dtraj.npy", "--lag", 0.3, "--method", "map", "--noise", "none", "--checks", 0) == 0
    assert "8 paths, 808 observations" in capsys.readouterr().out
    table = pd.read_csv(write(paths=15))
    rng = np.random.default_rng(0)
    table.assign(current=3.0 * table.state + 0.3 * rng.standard_normal(len(table))).drop(columns="state").to_csv("current.csv", index=False)
    assert call("current.csv", "--signal", "current", "--states", 3, "--method", "map", "--checks", 3) == 0
    said = capsys.readouterr().out
    assert "hidden behind a signal" in said
    assert "Signal given states" in said


@pytest.mark.parametrize(("arguments", "told"), [
    (["none.csv"], "does not exist"),
    (["visits.csv", "--out", "q.txt"], "written as .json or .csv"),
    (["visits.csv", "--links", "1-2"], "a pair of states is written FROM:TO"),
    (["visits.csv", "--links", "1:9"], "--links: no state '9'"),
    (["visits.csv", "--death", "9"], "death: no state '9'"),
    (["visits.csv", "--state", "stat"], "did you mean 'state'"),
    (["visits.csv", "--method", "maximum"], "no method 'maximum'"),
    (["visits.csv", "--intervals", "laplas"], "did you mean 'laplace'"),
    (["visits.csv", "--signal", "state"], "--signal needs --states N"),
    (["visits.csv", "--nose", "flip"], "did you mean '--noise'"),
    (["visits.dat"], "need --lag"),
])
def test_misuse_is_one_line(capsys, arguments, told):
    write(paths=3)
    Path("visits.dat").write_text("0\n1\n")
    assert call(*arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert told in said[-1]
    assert not Path("report.html").exists()


def test_data_that_say_nothing_of_rates(capsys):
    for name, rows, told in (("alone", {"subject": [1, 2], "time": [0.0, 1.0], "state": [1, 2]}, "each of the 2 paths has one observation"),
                             ("empty", {"subject": [], "time": [], "state": []}, "no rows"),
                             ("nan", {"subject": [1, 1], "time": [0.0, None], "state": [1, 2]}, "row 1 has the time 'nan'")):
        pd.DataFrame(rows).to_csv(f"{name}.csv", index=False)
        assert call(f"{name}.csv") == 2
        assert told in capsys.readouterr().err


def test_covariates_have_a_table_of_effects(capsys):
    table = pd.read_csv(write(paths=40))
    table.assign(dose=np.where(table.subject % 2, "low", "high")).to_csv("doses.csv", index=False)
    assert call("doses.csv", "--covariates", "dose", "--method", "map", "--noise", "none", "--checks", 3) == 0
    said = capsys.readouterr().out
    assert "Effects of covariates" in said
    assert "dose=low" in said
