"""The benchmark of GeoTDM in small: what is printed, which bars are missed, and that it goes on where it was."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import pytest
import torch
from benchmark_files import FOLDER, load

from trajlab.evaluate.geotdm import REMEMBERED, Limits, Score, errors_table, judged_against
from trajlab.evaluate.geotdm_contenders import Entry, configured, contend, samplers, some
from trajlab.evaluate.geotdm_task import Published, Task
from trajlab.types import Forecast, Trajectories

PLANS = (FOLDER / "geotdm.toml").read_text()

SMALL = """
[bars]
sampling = 1e6
evaluations = 100.0

[springs]
title = "Springs"
source = { kind = "nbody", system = "springs", recipe = "published", train = 40, validation = 8, test = 12 }
given = 10
minutes = 0.01
draws = 10
evaluations = 4
many = { evaluations = 12, windows = 8, draws = 2 }
[springs.contenders]
"last position" = { kind = "last" }
"particle ridge" = { kind = "ridge" }
"window Gaussian" = { kind = "gaussian", around = "particle-ridge" }
"GeoTDM" = { kind = "geotdm", config = { layers = 1, channels = 4, width = 8 } }
[springs.published]
data = "published data"
rows = { GeoTDM = [0.0030, 0.0079] }

[walkers]
title = "Walkers"
source = { kind = "pedestrians", scene = "zara1" }
given = 8
contenders = { "GeoTDM" = { kind = "geotdm" } }
"""


@pytest.fixture(scope="module")
def program():
    return load("geotdm")


@pytest.fixture(scope="module")
def ran(program, tmp_path_factory):
    """The program once, with nothing in its data folder; its options."""
    folder = tmp_path_factory.mktemp("geotdm")
    (folder / "data").mkdir()
    (folder / "small.toml").write_text(SMALL)
    options = ["--quick", "--processes", "1", "--no-speed"]
    for name in ("settings", "data", "cache", "out", "report"):
        options += [f"--{name}", str(folder / {"settings": "small.toml", "out": "results.json"}.get(name, name))]
    status = program.main(options)
    return folder, options, status, json.loads((folder / "results.json").read_text())


def test_bars_that_cannot_be_reached_are_missed_in_sentences(ran):
    _, _, status, record = ran
    assert status == 1
    ridge = [line for line in record["missed"] if "particle ridge" in line]
    start = "springs: ADE of the median forecast of GeoTDM is"
    assert any(line.startswith(start) and "where an interval below 1 was wanted" in line for line in ridge)
    assert any("times faster than 12 steps, where at least 1e+06 was wanted" in line for line in record["missed"])
    assert not any("evaluations is" in line for line in record["missed"])
    assert set(record["found"]["springs"]["scores"]) == {"last position", "particle ridge", "window Gaussian", "GeoTDM"}
    assert record["found"]["springs"]["pairs"]["last position: CRPS"]["runs"] == 12


def test_a_data_set_without_reference_data_is_skipped_with_its_reason(ran):
    assert list(ran[3]["skipped"]) == ["walkers"]
    assert "FileNotFoundError" in ran[3]["skipped"]["walkers"]
    assert "walkers" not in ran[3]["found"]


def test_nothing_measured_is_no_success(ran, program):
    _, options, _, _ = ran
    assert program.main([*options, "--data-sets", "walkers"]) == 1


def test_it_goes_on_where_it_was(ran, program, capsys):
    folder, options, _, record = ran
    models = {p: p.stat().st_mtime_ns for p in folder.rglob("model.safetensors")}
    assert program.main([*options, "--data-sets", "springs"]) == 1
    again = json.loads((folder / "results.json").read_text())
    assert again["found"]["springs"] == record["found"]["springs"]
    assert models
    assert all(p.stat().st_mtime_ns == when for p, when in models.items())
    said = capsys.readouterr().out
    assert f"published: GeoTDM ({REMEMBERED})" in said
    assert "Few evaluations against many" in said
    assert (folder / "report" / "springs.html").stat().st_size > 10_000


def test_minutes_override_the_budget_and_make_another_model(ran):
    folder = ran[0]
    plan = tomllib.loads(SMALL)["springs"]
    short, longer = Task.of("springs", plan), Task.of("springs", plan, minutes=0.02)
    entry = contend(longer, "GeoTDM", folder / "cache" / "springs", None)
    assert longer.minutes == 0.02
    assert entry.minutes > contend(short, "GeoTDM", folder / "cache" / "springs", None).minutes
    assert entry.forecast.n_draws == 10
    assert samplers(replace(short, many={}), folder / "cache" / "springs", None) is None


def pairs_of(better: float, task: Task):
    """Scores of a forecast that is off by ``better`` where another is off by 1."""
    g = torch.Generator().manual_seed(0)
    nodes, frames = 24, 5
    past = Trajectories(x=torch.randn(nodes, 2, 2, generator=g), time=torch.arange(2.0).expand(12, 2), scene=torch.arange(12).repeat_interleave(2))
    came = torch.randn(nodes, frames, 2, generator=g)
    time = torch.arange(2.0, 7.0).expand(12, frames)
    truth = Trajectories(x=torch.cat([past.x, came], 1), time=torch.cat([past.time, time], 1), scene=past.scene,
                         context={"run": torch.arange(12)}, static={"focal": torch.arange(nodes) % 2 == 0})
    noise = torch.randn(nodes, frames, 2, generator=g)
    made = {name: Entry(name, Forecast((came + off * noise)[None], past, time), 0, 0.0, {}) for name, off in (("other", 1.0), ("mine", better))}
    return {name: Score.of(entry, truth, task) for name, entry in made.items()}, truth


TASK = Task("t", "T", {"kind": "nbody"}, 2, {"mine": {"kind": "last"}}, Published("other data", "best", {"X": (0.1, 0.2)}), best_of=20, collision=0.5)


@pytest.mark.parametrize(("better", "wins"), [(0.5, True), (1.0, False), (1.2, False)])
def test_only_what_is_better_beats(better, wins):
    scores, truth = pairs_of(better, TASK)
    found = judged_against(scores, "mine", truth.context["run"])
    assert set(found) == {("other", "ADE of the median forecast"), ("other", "CRPS")}
    for pair in found.values():
        assert pair.value == pytest.approx(better, rel=1e-5)
        assert pair.beats is wins


def test_a_point_forecast_is_judged_by_the_median_of_its_draws():
    scores, truth = pairs_of(1.0, TASK)
    entry = scores["mine"].entry
    came = truth.x[:, 2:]
    most_right = Forecast(torch.stack([came, came, came + 9.0]), entry.forecast.past, entry.forecast.time)  # the mean is off, the median is not
    judged = Score.of(replace(entry, forecast=most_right), truth, TASK).judged
    assert float(judged["ADE of the median forecast"].max()) < 0.01


def test_focal_agents_alone_are_scored():
    scores, truth = pairs_of(0.5, TASK)
    entry = scores["mine"].entry
    spoilt = entry.forecast.draws.clone()
    spoilt[:, 1::2] += 100.0
    again = Score.of(replace(entry, forecast=replace(entry.forecast, draws=spoilt)), truth, TASK)
    assert again.numbers()["ade_of_mean"] == pytest.approx(scores["mine"].numbers()["ade_of_mean"])
    assert again.numbers()["crps"] == pytest.approx(scores["mine"].numbers()["crps"])
    assert again.numbers()["collisions"] < scores["mine"].numbers()["collisions"]  # with all agents of the scene


def test_published_numbers_stand_in_their_columns_and_are_marked():
    scores, truth = pairs_of(0.5, TASK)
    table = errors_table(TASK, scores, truth)
    row = table.rows[-1]
    assert row[0] == "published: X (as remembered, far larger budget)"
    shown = {column: value for column, value in zip(table.columns, row, strict=True) if value is not None}
    assert shown["ADE, best of 20"] == 0.1
    assert list(row).count(None) == len(row) - 3
    assert "on other data" in table.note


def test_the_shipped_plans_can_be_read():
    plans = tomllib.loads(PLANS)
    limits = Limits(**plans.pop("bars"))
    assert (limits.evaluations, limits.sampling, limits.training) == (1.05, 50.0, 1.5)
    assert len(plans) == 3
    total = 0.0
    for name, plan in plans.items():
        task, full = Task.of(name, plan), Task.of(name, plan, full=True)
        assert task.judged == "GeoTDM"
        assert {"last", "velocity", "ridge", "gaussian", "egnn"} < {c["kind"] for c in task.contenders.values()}
        assert configured(task, "diffusion transformer").net == "transformer"
        assert configured(task, "GeoTDM").net == "frame_channels"
        assert (configured(full, "GeoTDM").net, configured(full, "GeoTDM").prior) == ("egtn", "learned")
        assert full.epochs
        total += task.minutes * len(task.trained)
    assert total <= 30.0  # 2 cores and 20 minutes, of which a quarter is for all the rest


def test_what_is_wrong_in_a_plan_is_named():
    plan = tomllib.loads(SMALL)["springs"]
    with pytest.raises(ValueError, match="did you mean 'draws'"):
        Task.of("springs", {**plan, "drawz": 3})
    with pytest.raises(ValueError, match="kind of contender"):
        Task.of("springs", {**plan, "contenders": {"x": {"kind": "ridges"}}})
    with pytest.raises(ValueError, match="no contenders"):
        Task.of("springs", {**plan, "contenders": {}})
    with pytest.raises(ValueError, match="column"):
        Published(column="mean")


def test_some_windows_are_spread_over_all():
    _, truth = pairs_of(0.5, TASK)
    assert some(truth, 4).context["run"].tolist() == [0, 3, 6, 9]
    assert some(truth, 99).n_scenes == 12
