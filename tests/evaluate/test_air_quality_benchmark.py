"""The benchmark of air quality: windows and scores as the protocol has them, verdicts that follow from figures."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
import torch
from benchmark_files import load

from trajlab.evaluate import air_quality as module
from trajlab.evaluate.air_quality import DAMPED, NETS, OURS, PLAIN, Job, Run, error_table, judged, net, plain_methods, run, verdict, work
from trajlab.evaluate.air_quality_extra import few_table, sparse_table, sudden_table
from trajlab.evaluate.air_quality_pictures import station_plume, wind_plume
from trajlab.evaluate.air_quality_protocol import Protocol, Task, around, part, sudden
from trajlab.evaluate.bars import as_text
from trajlab.metrics.masked import MaskedErrors, masked_errors, masked_scores
from trajlab.models.air.airphynet_config import AirPhyNetConfig
from trajlab.models.air.baselines import StationPersistence
from trajlab.types import Trajectories, Units

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = AirPhyNetConfig(horizon=12, past=12, step=3, latent=4, width=8, members=2, steps=2, batch=8, check_every=1)
SHORT = Protocol((4, 12), 24, 1)


def stations(frames: int = 1200, nodes: int = 3) -> Trajectories:
    """Slow noise at three places with an east wind, which blows to the west."""
    g = torch.Generator().manual_seed(0)
    x = torch.zeros(nodes, frames)
    for k in range(1, frames):
        x[:, k] = 0.95 * x[:, k - 1] + torch.randn(nodes, generator=g)
    wind = torch.tensor([-3.0, 0.0]).expand(nodes, frames, 2).clone()
    seen = torch.rand(nodes, frames, generator=g) > 0.05
    grid = torch.arange(nodes, dtype=torch.float64)
    return Trajectories((20 + x.abs())[..., None], torch.arange(frames, dtype=torch.float64)[None], torch.zeros(nodes, dtype=torch.long), seen,
                        extra={"wind": wind, "wind_seen": seen}, static={"lon": 116 + 0.1 * grid, "lat": 40 + 0.0 * grid}, units=Units(time="h"),
                        source={"stations": tuple("abc"[:nodes])})


@pytest.fixture(scope="module")
def task():
    return Task(stations(), SHORT)


@pytest.fixture(scope="module")
def runs(task):
    found = {name: run(name, method, task) for name, method in plain_methods(12).items()}
    found[OURS] = run(OURS, net(OURS, SMALL), task)
    found["neural ODE without physics"] = run("neural ODE without physics", net("neural ODE without physics", SMALL), task)
    return found


def scored(mae: dict[int, float], weeks: int = 20) -> dict[int, MaskedErrors]:
    spread = torch.linspace(0.9, 1.1, 24 * weeks, dtype=torch.float64)
    return {h: MaskedErrors(v, v, math.nan, 1, v * spread, "") for h, v in mae.items()}


# ------------------------------------------------------------------------------------------------------------------- protocol


def test_windows_are_those_of_the_protocol():
    frames = torch.zeros(1, 35064, 1)
    long = Task(Trajectories(frames, torch.arange(35064.0)[None], torch.zeros(1, dtype=torch.long), units=Units(time="h")))
    assert [len(long.origins(h)) for h in (24, 48, 72)] == [999, 996, 992]
    assert int(long.origins()[0]) == 28050  # the first target is the first test frame
    assert long.train.n_frames == 24544
    assert int(long.origins(72)[-1]) + 72 < 35064


def test_windows_hold_what_the_series_holds():
    series = stations(100)
    cut = around(series, torch.tensor([30, 50]), 10, 5)
    assert cut.x.shape == (6, 15, 1)
    assert torch.equal(cut.x[3:, :, 0], series.x[:, 41:56, 0])
    assert torch.equal(cut.mask[:3], series.mask[:, 21:36])
    assert cut.time[1].tolist() == list(range(41, 56))
    assert cut.scene.tolist() == [0, 0, 0, 1, 1, 1]
    for origins, past, ahead in (([5], 10, 0), ([98], 5, 5)):
        with pytest.raises(ValueError, match="not inside"):
            around(series, torch.tensor(origins), past, ahead)


def test_a_forecast_is_the_same_whatever_comes(task):
    """Nothing that comes after the origin is shown to a method."""
    method = StationPersistence().fit(task.train)
    changed = Task(task.series.replace(x=torch.where(torch.arange(1200)[None, :, None] > 1000, 500.0, task.series.x)), SHORT)
    early = task.origins()[:20]
    assert int(early[-1]) <= 1000
    assert torch.equal(task.answers(method, early), changed.answers(method, early))


def test_sudden_changes_are_the_largest(task):
    which = sudden(task, 0.1, 4)
    assert int(which.sum()) == round(0.1 * len(task.origins()))
    value, _ = task.truth()
    change = (value[..., 3] - task.series.x[:, task.origins(), 0].T).mean(1).abs()
    assert float(change[which].mean()) > 2 * float(change[~which].mean())
    with pytest.raises(ValueError, match="share"):
        sudden(task, 0.0)


def test_errors_with_known_answers():
    said = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [5.0, 5.0, 5.0]])
    truth = torch.tensor([[2.0, 2.0, 9.0], [4.0, torch.nan, 0.0], [5.0, 6.0, 1.0]])
    mask = torch.tensor([[True, True, False], [True, False, True], [True, True, True]])
    scene = torch.tensor([0, 0, 1])
    by_window, by_value = (masked_scores(said, truth, mask, scene, over=over) for over in ("windows", "values"))
    assert by_window.per_scene.tolist() == pytest.approx([5 / 4, 5 / 3])
    assert by_window.mae == pytest.approx((5 / 4 + 5 / 3) / 2)
    assert by_window.rmse == pytest.approx(math.sqrt((17 / 4 + 17 / 3) / 2))
    assert by_value.mae == pytest.approx(10 / 7)
    assert by_value.rmse == pytest.approx(math.sqrt(34 / 7))
    assert by_value.count == 7  # a true zero counts, a missing value does not
    assert masked_scores(said, truth, mask, scene, 2, at=True).per_scene.tolist() == [0.0, 1.0]
    assert masked_scores(said, truth, mask, scene, threshold=3.0, over="values").mape == pytest.approx((4 / 4 + 0 / 5 + 1 / 6) / 3)
    for wrong, says in (({"frames": 4}, "frames=4"), ({"over": "all"}, "over='all'")):
        with pytest.raises(ValueError, match=says):
            masked_scores(said, truth, mask, scene, **wrong)
    with pytest.raises(ValueError, match="nothing was seen"):
        masked_scores(said, truth, torch.zeros_like(mask), scene)


def test_errors_of_a_forecast_want_its_own_frames(task):
    origins = torch.tensor([1000, 1050])
    past, truth = around(task.series, origins, 24, 0), around(task.series, origins + 4, 4, 0)
    forecast = StationPersistence().fit(task.train).forecast(past, 4)
    assert masked_errors(forecast, truth).count == int(truth.mask.sum())
    with pytest.raises(ValueError, match="other clocks"):
        masked_errors(forecast, around(task.series, origins + 5, 4, 0))
    with pytest.raises(ValueError, match="give the frames"):
        masked_errors(forecast, around(task.series, origins + 4, 3, 0))


# --------------------------------------------------------------------------------------------------------------------- verdicts


def test_what_is_missed():
    make = lambda ours: {OURS: Run(OURS, torch.zeros(0), scored(ours)), DAMPED: Run(DAMPED, torch.zeros(0), scored({24: 40.0, 72: 52.0}))}  # noqa: E731
    assert judged(make({24: 39.0, 72: 49.3})) == []
    assert len(judged(make({24: 40.0, 72: 49.3}))) == 1
    assert "at most 49.40" in judged(make({24: 39.0, 72: 50.0}))[0]
    assert len(judged(make({24: math.nan, 72: math.nan}))) == 3
    assert judged({}) == [f"{OURS} or {DAMPED} was not run"]


def test_sentences_follow_from_the_figures():
    runs = {name: Run(name, torch.zeros(0), scored({24: v})) for name, v in ((OURS, 40.0), ("GRU", 42.0), ("AirPhyNet, diffusion only", 40.0))}
    said = verdict(runs)
    assert "better than GRU: MAE 0.952" in said[0]
    assert "not told apart from AirPhyNet, diffusion only" in said[1]


def test_runs_and_tables(task, runs):
    assert list(runs) == [*PLAIN, OURS, "neural ODE without physics"]
    ours = runs[OURS]
    assert set(ours.scores) == {4, 12}
    assert len(ours.members[12]) == 2
    assert {"k", "v", "memory"} <= set(ours.physics)
    assert not {"k", "v"} & set(runs["neural ODE without physics"].physics)
    text = as_text(error_table(list(runs.values()), "Title"))
    assert f"{ours.scores[12].mae:.1f}" in text
    assert all(name in text for name in runs)
    table, record = sudden_table(task, runs, 0.2)
    assert record[DAMPED][12] != runs[DAMPED].scores[12].mae
    assert len(table.rows) == len(runs)
    assert "50% dropped" in as_text(sparse_table(task, runs, {0.5: {OURS: ours}}))


def test_fewer_stations(task, runs):
    few = Task(part(task.series, [0, 2]), SHORT)
    assert few.series.source["stations"] == ("a", "c")
    alone = run(OURS, net(OURS, SMALL.but(members=1)), few)
    table, record = few_table(task, [0, 2], alone, runs)
    assert list(record) == ["sees 2 stations", "sees 3 stations", DAMPED]
    assert "a, c" in table.title
    direct = run(DAMPED, plain_methods(12)[DAMPED], few)
    assert record[DAMPED][12] == pytest.approx(direct.scores[12].mae)
    with pytest.raises(ValueError, match="numbers of sensors"):
        part(task.series, [5])


def test_the_row_that_is_told_the_wind(task):
    told = run("AirPhyNet told the wind that came", net("AirPhyNet told the wind that came", SMALL.but(members=1)), task)
    assert told.said.isfinite().all()
    with pytest.raises(ValueError, match="net"):
        net("AirNet", SMALL)


def test_a_job_runs_in_another_process(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "prsa", lambda folder: stations())
    module._task.cache_clear()
    done = work(Job("GRU", tmp_path, SHORT, SMALL.but(members=1), (0, 1)))
    module._task.cache_clear()
    assert done.name == "GRU"
    assert done.said.shape[1:] == (2, 12)


# ------------------------------------------------------------------------------------------------------------------ pictures


def test_plumes_lie_downwind():
    series = stations(48)
    picture = wind_plume(series, 10, 6, cells=12)
    assert picture.amount.shape == (7, 12, 12)
    assert picture.amount[-1].sum() == pytest.approx(6.0)  # in hours of emission
    at = (picture.amount[-1] * picture.lon).sum() / picture.amount[-1].sum()
    assert at < picture.source[0] - 0.05  # the wind blows to the west
    assert picture.station_wind.shape == (6, 3, 2)
    series_plume = station_plume(series, 10, 6, source=1)
    assert series_plume[-1, 0] > 1
    assert series_plume[-1, 2] == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="lon"):
        wind_plume(series.replace(static={}), 10)
    with pytest.raises(ValueError, match="not within"):
        wind_plume(series, 40, 20)


def test_the_plan_and_the_command(capsys, monkeypatch, tmp_path):
    plan = tomllib.loads((BENCHMARKS / "air_quality.toml").read_text())
    benchmark = load("air_quality")
    options = benchmark.arguments(["--quick", "--data", str(tmp_path)])
    assert benchmark.common(plan, options).members == 1
    assert benchmark.common(plan, benchmark.arguments([])).steps == plan["nets"]["steps"]
    assert set(plan["sparse"]["names"]) <= set(NETS)
    found = {DAMPED: Run(DAMPED, torch.zeros(0), scored({24: 40.3, 48: 48.8, 72: 53.0}))}
    assert "another?" in benchmark.baseline(found, plan["bars"])[0]
    monkeypatch.setattr(benchmark, "BESIDE", tmp_path / "nowhere")
    assert benchmark.main([]) == 1
    assert "give --data DIR" in capsys.readouterr().out
