"""``trajlab forecast --data``: a user's table of tracks from the file to the page, fitted models on it, and what is refused."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

import trajlab as tl
from trajlab.cli.main import main
from trajlab.cli.track_windows import frames_of
from trajlab.data.adapters.tracks import from_tracks
from trajlab.evaluate.motion_page import MotionPage, is_motion, judge_motion, judge_windows
from trajlab.models.motion.kalman import KalmanVelocity


def table(cars: int = 6, frames: int = 90, step: float = 0.1, accelerate: float = 0.0) -> pd.DataFrame:
    """Cars side by side at 5 to 10 m/s along x that may speed up; each enters half a second after the one before."""
    rows = []
    for k in range(cars):
        t = step * np.arange(frames)
        x = (5 + k) * t + accelerate * t**2 / 2
        rows += [{"time": round(0.5 * k + s, 6), "id": f"car{k}", "x": px, "y": 4.0 * k} for s, px in zip(t, x)]
    return pd.DataFrame(rows)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments) -> int:
    return main(["forecast", *map(str, arguments)])


def test_a_table_is_forecast_judged_and_drawn(here, capsys):
    table(accelerate=1.0).to_csv("scene.csv", index=False)
    assert run("--data", "scene.csv", "--given", "1s", "--seconds", "2", "--windows", "2", "--report", "out.html", "--out", "out.csv",
               "--debug") == 0
    said = capsys.readouterr().out
    # constant velocity lags behind by a s(s+1)/2 dt^2 after s steps: 2.1 m after 20, and 0.77 m on average
    assert "ADE 0.77 m, FDE 2.1 m" in said
    assert "constant-velocity" in said
    page = (here / "out.html").read_text()
    for word in ("Seen from above", "Error against the horizon", "What was read", "turn rate", "id: id"):
        assert word in page
    rows = list(csv.DictReader((here / "out.csv").open()))
    assert set(rows[0]) == {"window", "id", "draw", "time", "x", "y"}
    first = [r for r in rows if r["window"] == "0" and r["id"] == "car0"]
    assert len(first) == 20
    assert float(first[0]["time"]) == pytest.approx(1.0)
    assert float(first[0]["x"]) == pytest.approx(4.905 + 0.585)  # where it was after 0.9 s, and its last step again


def test_a_table_too_short_to_judge_is_continued(here, capsys):
    table(cars=2, frames=15).to_csv("scene.csv", index=False)
    assert run("--data", "scene.csv", "--given", "8", "--steps", "12", "--out", "next.csv", "--debug") == 0
    assert "Nobody knows yet" in capsys.readouterr().out
    rows = list(csv.DictReader((here / "next.csv").open()))
    assert {r["id"] for r in rows} == {"car1"}  # the other has left
    assert float(rows[-1]["x"]) == pytest.approx(6 * (14 + 12) * 0.1)
    assert float(rows[-1]["time"]) == pytest.approx(0.5 + 2.6)


def test_kalman_says_how_sure_it_is(here, capsys):
    data = table(cars=8, frames=60)
    data["x"] += np.random.default_rng(0).normal(0, 0.05, len(data))
    data.to_csv("scene.csv", index=False)
    assert run("--data", "scene.csv", "--method", "kalman", "--given", "10", "--steps", "10", "--windows", "3", "--report", "k.html",
               "--out", "k.csv", "--debug") == 0
    said = capsys.readouterr().out
    assert "three numbers, was fitted on the recording itself" in said
    assert re.search(r"Of the true positions \d+% lie in the 68 % region", said)
    rows = list(csv.DictReader((here / "k.csv").open()))
    assert set(rows[0]) == {"window", "id", "mode", "probability", "time", "x", "y", "var_x", "cov_xy", "var_y"}
    assert float(rows[9]["var_x"]) > float(rows[0]["var_x"]) > 0
    page = (here / "k.html").read_text()
    assert "Reliability" in page
    assert "1 and 2 std" in page


def test_other_columns_and_units(here, capsys):
    plain = table()
    odd = pd.DataFrame({"when": (1000 * plain.time).round(3), "who": plain.id, "east": 100 * plain.x, "north": 100 * plain.y})
    plain.to_csv("scene.csv", index=False)
    odd.to_csv("odd.csv", index=False)
    run("--data", "scene.csv", "--given", "10", "--steps", "10", "--method", "stand_still", "--out", "a.csv", "--debug")
    first = capsys.readouterr().out
    columns = ("--time", "when", "--id", "who", "--x", "east", "--y", "north", "--time-unit", "ms", "--position-unit", "cm")
    run("--data", "odd.csv", *columns, "--given", "10", "--steps", "10", "--method", "stand_still", "--out", "b.csv", "--debug")
    assert capsys.readouterr().out.replace("b.csv", "a.csv") == first
    assert (here / "a.csv").read_text() == (here / "b.csv").read_text()


def test_doubts_about_units_are_said_on_the_page(here, capsys):
    data = table()
    data["speed"] = 3.6 * np.repeat(5.0 + np.arange(6), 90)
    data.to_csv("scene.csv", index=False)
    assert run("--data", "scene.csv", "--given", "10", "--steps", "10", "--windows", "1", "--report", "out.html", "--debug") == 0
    assert "km/h" in (here / "out.html").read_text()
    assert "Doubt about the data" in capsys.readouterr().out


def test_a_fitted_model_on_a_table_and_on_windows(here, capsys):
    data = table(cars=12, frames=60, accelerate=0.5)
    data.to_csv("scene.csv", index=False)
    windows = tl.windows(from_tracks(data), 20, hop=5, whole="node")
    model = tl.Motion(tl.MotionConfig(width=16, layers=1, head="acceleration", modes=2)).fit(windows, 10, train=tl.TrainConfig(steps=20, batch=16))
    model.save("run")
    assert run("run", "--data", "scene.csv", "--windows", "3", "--debug") == 0
    said = capsys.readouterr().out
    assert "2 Gaussian paths" in said
    assert "acceleration head" in said
    assert "over 1 s (10 frames)" in said  # what it was fitted with
    tl.save(windows, "windows.zarr")
    assert run("run", "--start", "windows.zarr", "--windows", "2", "--draws", "5", "--report", "windows.html", "--quiet", "--debug") == 0
    assert "Seen from above" in (here / "windows.html").read_text()
    assert run("run", "--data", "scene.csv", "--given", "8") == 2
    assert "fitted on 10" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "words"), [
    (["--method", "kalmann"], "did you mean"), (["--past", "later"], "no past"), (["--steps", "0"], "positive"),
    (["--steps", "3", "--seconds", "2"], "not both"), (["--report", "x.pdf"], "html"), (["--out", "x.json"], ".csv"),
    (["--given", "1.5"], "3.2s"), (["--given", "4000", "--past", "first"], "longest track has 90"), (["--x", "nope"], "no such column"),
    (["--lanes", "scene.csv"], "lanelet2"), (["--position-unit", "yard"], "position"), (["--data", "none.csv"], "does not exist"),
    (["--seconds", "0.01"], "less than one frame"), (["--wheels", "4"], "no option"),
])
def test_what_is_refused(here, capsys, arguments, words):
    table(cars=2).to_csv("scene.csv", index=False)
    assert run("--data", "scene.csv", *arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1


def test_a_file_of_traffic_reads_itself_and_brings_its_lanes(reference, here, capsys):
    scene = reference / "traffic" / "commonroad" / "USA_Peach-4_8_T-1.xml"
    assert run("--data", scene, "--given", "1s", "--seconds", "2", "--windows", "2", "--report", "out.html", "--debug") == 0
    assert "2 windows" in capsys.readouterr().out
    assert "off the road" in (here / "out.html").read_text()
    assert run("--data", scene, "--x", "east") == 2
    assert "CommonRoad" in capsys.readouterr().err


def test_nothing_that_exists_is_written_over(here, capsys):
    table(cars=2).to_csv("scene.csv", index=False)
    (here / "out.csv").write_text("mine")
    assert run("--data", "scene.csv", "--out", "out.csv") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run("--data", "scene.csv", "--out", "out.csv", "--overwrite") == 0
    assert (here / "out.csv").read_text() != "mine"


def test_frames_and_seconds():
    assert frames_of("8", 0.4) == 8
    assert frames_of("3.2s", 0.4) == 8
    with pytest.raises(ValueError, match="less than one frame"):
        frames_of("0.1s", 0.4)


def arcs(n: int = 40) -> tl.Trajectories:
    """Agents that drive with random accelerations, in twenty runs."""
    generator = torch.Generator().manual_seed(0)
    v = 8 + torch.randn(n, 40, 2, generator=generator, dtype=torch.float64).cumsum(1) * 0.1
    clock = (0.1 * torch.arange(40, dtype=torch.float64)).expand(n, 40)
    return tl.Trajectories(x=(0.1 * v).cumsum(1), time=clock, scene=torch.arange(n), context={"run": torch.arange(n) // 2}, units=tl.Units.si())


def test_what_the_page_of_a_forecast_says_is_true():
    windows = arcs()
    forecast = KalmanVelocity().fit(windows, 10).forecast(windows.frames(slice(0, 10)), draws=5, generator=torch.Generator().manual_seed(0))
    assert is_motion(forecast)
    page = judge_windows(forecast, windows)
    errors = next(t for t in page.tables if t.title == "Errors of the forecast")
    far = (forecast.mixture["mean"][:, 0] - windows.x[:, 10:]).norm(dim=-1)
    assert errors.rows[0][1] == pytest.approx(float(far.mean()))
    assert errors.rows[0][2] == pytest.approx(float(far[:, -1].mean()))
    assert any("against the others" in t.title for t in page.tables)  # twenty runs are enough for intervals
    assert {f.title for f in page.figures} >= {"Reliability", "Error against the horizon", "Where the truth lies in the forecast"}
    one = page.motion[0]
    assert one.paths.shape == (1, 1, 30, 2)
    assert one.truth is not None
    k = int(re.match(r"Window (\d+)", one.title)[1])
    assert np.allclose(one.truth[0], windows.x[k, 10:])
    assert json.dumps([list(map(str, t.columns)) for t in page.tables])
    short = judge_motion(forecast, windows.frames(slice(0, 20)), {}, page=MotionPage(vehicles=True))
    assert "10 of the 30" in short.summary or "10 frames" in short.summary


def test_motion_is_judged_in_metres_on_a_plane():
    windows = arcs(4)
    forecast = KalmanVelocity().fit(windows, 10).forecast(windows.frames(slice(0, 10)), generator=torch.Generator().manual_seed(0))
    feet = forecast.replace(past=forecast.past.replace(units=tl.Units()))
    assert not is_motion(feet)
    with pytest.raises(ValueError, match="in m and s"):
        judge_motion(feet, windows)
    with pytest.raises(TypeError, match="Forecast"):
        judge_motion(windows)
