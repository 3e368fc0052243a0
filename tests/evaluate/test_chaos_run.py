"""Whole runs on made-up series: files, resuming after a kill, results that do not depend on workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chaos_runs import SEVEN, stand_in, suite

from trajlab.evaluate.chaos import Where, run
from trajlab.evaluate.chaos_verdict import judge, write
from trajlab.report.page import report

HERE = Path(__file__).parent
SLOW = """
import os, time
from trajlab.models.series_forecaster import SeriesForecaster

class Slow(SeriesForecaster):
    name = "slow"

    def continuation(self, context, steps, draws, rng):
        with open("calls", "a") as file:
            file.write(".")
        time.sleep(float(os.environ["SLEEP"]))
        return context[-1:].repeat(steps, 0)[None] + 0.01 * rng.normal(size=(1, steps, context.shape[1]))
"""
RUN = """
import json, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from chaos_runs import stand_in, suite
from trajlab.evaluate.chaos import Where, run
stand_in(setattr)
done = run(suite(forecasters=("slow_entry:Slow",), judged="slow_entry:Slow"), Path("out"), Where(workers=1, say=lambda line: None))
print(json.dumps([done.computed, done.records]))
"""


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    stand_in(monkeypatch.setattr)


def quiet(workers=1) -> Where:
    return Where(workers, say=lambda line: None)


def test_a_run_is_kept_and_comes_out_the_same(tmp_path):
    first = run(suite(), tmp_path, quiet())
    assert (first.computed, len(first.records)) == (42, 42)
    again = run(suite(), tmp_path, quiet())
    assert (again.computed, again.records) == (0, first.records)
    more = run(suite(starts=3), tmp_path, quiet())  # starts that are there already are not forecast again
    assert (more.computed, len(more.records)) == (21, 63)
    shutil.copytree(tmp_path / "series", tmp_path / "other" / "series")  # other processes know nothing of the stand-ins
    two = run(suite(), tmp_path / "other", quiet(2))
    timeless = [[{k: v for k, v in record.items() if k != "seconds"} for record in one.records] for one in (first, two)]
    assert timeless[0] == timeless[1]


def test_files_and_page_of_a_run(tmp_path):
    outcome = judge(run(suite(), tmp_path, quiet()))
    files = write(outcome, tmp_path)
    content = json.loads(files["json"].read_text())
    assert content["verdict"] == outcome.verdict == "ahead"
    assert len(content["records"]) == 42
    about = content["provenance"]
    assert about["suite"]["seed"] == 20
    assert about["systems"]["Lorenz"]["exponent"] == 0.1
    assert about["packages"]["numpy"]
    assert about["forecasters"]["parrot"]["method"] == "parrot"
    page = report(outcome.evaluation).html
    assert "rank against chaos" in page
    assert "parrot against the cheap bar" in page
    assert "The claim holds" in outcome.text
    assert "No forecast failed." in outcome.text
    if "parquet" in files:
        import pandas as pd

        assert pd.read_parquet(files["parquet"]).smape.tolist() == [r["smape"] for r in content["records"]]


def test_a_failing_forecaster_is_counted_not_dropped(tmp_path, monkeypatch):
    (tmp_path / "own_failing.py").write_text(
        "from trajlab.models.series_forecaster import SeriesForecaster\n\nclass Fails(SeriesForecaster):\n"
        "    def continuation(self, context, steps, draws, rng):\n        raise ValueError('never')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    outcome = judge(run(suite(forecasters=("own_failing:Fails", "mean"), judged="own_failing:Fails"), tmp_path, quiet()))
    assert "own_failing:Fails 14 of 14" in outcome.text
    assert outcome.verdict == "behind"
    assert "The claim does NOT hold" in outcome.text


@pytest.mark.parametrize(("changes", "words"), [({"systems": ("Lorentz",)}, "did you mean 'Lorenz'"), ({"systems": ("Henon",)}, "Henon is a map"),
                                               ({"forecasters": ("parot",)}, "did you mean 'parrot'")])
def test_unknown_names_end_a_run_before_it_begins(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        run(suite(**changes), tmp_path / "none", quiet())
    assert not (tmp_path / "none").exists()


def test_a_system_without_series_is_told_and_left_out(tmp_path, monkeypatch):
    from chaos_runs import waves

    from trajlab.evaluate import chaos_data

    def broken(recipe):
        if recipe.system == "Chen":
            raise ValueError("it blew up")
        return waves(recipe)

    monkeypatch.setattr(chaos_data, "_integrated", broken)
    outcome = judge(run(suite(), tmp_path, quiet()))
    assert outcome.run.left_out == [("Chen", "A", "it blew up")]
    assert "Left out for all: Chen (protocol A: it blew up)" in outcome.text
    assert outcome.frame.system.nunique() == len(SEVEN) - 1


def test_a_killed_run_goes_on(tmp_path):
    (tmp_path / "slow_entry.py").write_text(SLOW)
    code = RUN.format(here=str(HERE))
    start = lambda sleep, **more: subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True,  # noqa: E731
                                                   env={**os.environ, "SLEEP": sleep}, **more)
    calls, out = tmp_path / "calls", tmp_path / "out"
    killed = start("0.3", stdout=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while (len(calls.read_text()) if calls.exists() else 0) < 4 and killed.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    begun, finished = len(calls.read_text()), len(list(out.rglob("forecasts/**/*.json")))
    assert 3 <= finished < 14
    assert begun - finished in (0, 1)  # what was on its way is all that is lost
    done = start("0", stdout=subprocess.PIPE)
    computed, records = json.loads(done.communicate()[0])
    assert computed == 14 - finished
    assert len(calls.read_text()) == begun + computed
    unbroken = tmp_path / "unbroken"
    unbroken.mkdir()
    (unbroken / "slow_entry.py").write_text(SLOW)
    command, env = [sys.executable, "-c", code], {**os.environ, "SLEEP": "0"}
    fresh = subprocess.run(command, cwd=unbroken, text=True, env=env, stdout=subprocess.PIPE, check=True)
    timeless = [[{k: v for k, v in record.items() if k != "seconds"} for record in some] for some in (records, json.loads(fresh.stdout)[1])]
    assert timeless[0] == timeless[1]
