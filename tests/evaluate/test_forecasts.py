"""Forecasts of windows judged: known errors, frames that are shared, and what is handed to the player."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from trajlab.evaluate.forecasts import comparable, is_rollout, judge_forecast, simple_forecasts
from trajlab.evaluate.results import Evaluation
from trajlab.types import Forecast, Trajectories
from trajlab.units import Units

GIVEN, AHEAD, SCENES, NODES = 3, 4, 8, 2


def straight(dim: int = 3, units: Units | None = None, **more) -> Trajectories:
    """Two nodes a scene at constant velocity, frames half a unit of time apart."""
    generator = torch.Generator().manual_seed(0)
    start, speed = torch.randn(2, SCENES * NODES, 1, dim, generator=generator).double()
    time = 0.5 * torch.arange(GIVEN + AHEAD, dtype=torch.float64)
    return Trajectories(x=start + speed * time[:, None], time=time.expand(SCENES, -1), scene=torch.arange(SCENES).repeat_interleave(NODES),
                        context={"run": torch.arange(SCENES)}, units=units or Units(), **more)


def shifted(windows: Trajectories, *by: float, method: str = "geotdm") -> Forecast:
    """One draw for each number: the truth moved so far along the first axis."""
    future = windows.x[:, GIVEN:]
    shift = torch.zeros(windows.dim, dtype=future.dtype)
    shift[0] = 1
    return Forecast(torch.stack([future + b * shift for b in by]), windows.frames(slice(0, GIVEN)), windows.time[:, GIVEN:],
                    provenance={"method": method})


def row(evaluation: Evaluation, title: str, name: str) -> dict:
    table = next(t for t in evaluation.tables if t.title.startswith(title))
    return dict(zip(table.columns, next(r for r in table.rows if r[0] == name)))


def test_known_errors():
    windows = straight()
    found = row(judge_forecast(shifted(windows, 0.1, 0.3), windows), "Errors", "geotdm")
    assert found["ADE, mean forecast"] == pytest.approx(0.2)
    assert found["ADE, mean over draws"] == pytest.approx(0.2)
    assert found["ADE, best of 2"] == pytest.approx(0.1)
    assert found["CRPS"] == pytest.approx((0.2 - 0.1) / 3)  # E|X - y| = 0.2, E|X - X'|/2 = 0.1, in one of three coordinates


def test_baselines_are_those_of_the_same_past():
    windows = straight()
    evaluation = judge_forecast(shifted(windows, 0.0), windows)
    assert row(evaluation, "Errors", "constant velocity")["ADE, mean forecast"] == pytest.approx(0, abs=1e-12)
    speed = (windows.x[:, 1] - windows.x[:, 0]).norm(dim=-1)
    assert row(evaluation, "Errors", "last position")["ADE, mean forecast"] == pytest.approx(float(speed.mean()) * (1 + AHEAD) / 2)
    assert len(judge_forecast(shifted(windows, 0.0), windows, {}).tables[0].rows) == 1
    mine = judge_forecast(shifted(windows, 0.0), windows, {"far off": shifted(windows, 5.0)})
    assert row(mine, "Errors", "far off")["FDE, mean forecast"] == pytest.approx(5.0)
    assert list(simple_forecasts(shifted(windows, 0.0).replace(past=windows.frames([GIVEN - 1])))) == ["last position"]


def test_a_paired_verdict_needs_independent_runs():
    windows = straight()
    judged, other = shifted(windows, 0.1), {"far off": shifted(windows, 0.4)}
    verdict = row(judge_forecast(judged, windows, other), "geotdm against", "far off")
    assert verdict["ADE, median forecast"] == pytest.approx(0.25)
    assert verdict["smaller"] is True
    one_run = windows.replace(context={"run": torch.zeros(SCENES, dtype=torch.long)})
    assert not any("against" in t.title for t in judge_forecast(judged, one_run, other).tables)


def test_only_frames_that_both_have_are_judged_and_it_is_said():
    windows = straight()
    forecast = shifted(windows, 0.1)
    assert "ends after 2 of the 4" in judge_forecast(forecast, windows.frames(slice(0, GIVEN + 2))).summary
    with pytest.raises(ValueError, match="before the forecast begins"):
        judge_forecast(forecast, windows.frames(slice(0, GIVEN)))
    with pytest.raises(ValueError, match="windows it was made for"):
        judge_forecast(forecast, windows.scenes([0, 1]))
    with pytest.raises(TypeError):
        judge_forecast(windows)


def test_hidden_truth_is_not_judged():
    windows = straight()
    mask, x = torch.ones(windows.x.shape[:2], dtype=torch.bool), windows.x.clone()
    mask[0, -1], mask[1, :GIVEN] = False, False
    x[~mask] = math.nan
    gaps = windows.replace(x=x, mask=mask)
    seen = torch.ones(1, SCENES * NODES, AHEAD, dtype=torch.bool)
    seen[:, 1] = False
    draws = windows.x[None, :, GIVEN:] + 0.1
    draws[:, 1] = math.nan
    forecast = Forecast(draws, gaps.frames(slice(0, GIVEN)), windows.time[:, GIVEN:], seen, provenance={"method": "geotdm"})
    evaluation = judge_forecast(forecast, gaps, scenes=SCENES)
    assert "1 nodes were never seen" in evaluation.summary
    assert row(evaluation, "Errors", "geotdm")["ADE, mean forecast"] == pytest.approx(0.1 * 3**0.5)
    scene = next(s for s in evaluation.drawn if s.title.startswith("window 0"))
    assert np.isnan(scene.truth[-1, 0]).all()
    assert np.isnan(scene.given[:, 1]).all()
    assert np.isfinite(scene.truth[:-1, 0]).all()


def test_without_truth_the_draws_are_shown():
    windows = straight()
    evaluation = judge_forecast(shifted(windows, 0.0, 0.3))
    assert evaluation.tables == []
    assert evaluation.drawn[0].truth is None
    assert evaluation.figures[0].curves[0].y == pytest.approx(np.full(AHEAD, (0.3**2 / 2 / 3) ** 0.5))


def test_windows_are_chosen_from_good_to_bad_the_median_first():
    windows = straight()
    forecast = shifted(windows, 0.0)
    forecast = forecast.replace(draws=forecast.draws + 0.1 * windows.scene[None, :, None, None])
    titles = [s.title.partition(":")[0] for s in judge_forecast(forecast, windows, scenes=3).drawn]
    assert titles == ["window 4", "window 1", "window 6"]
    assert len(judge_forecast(forecast, windows, scenes=100).drawn) == SCENES


def test_scenes_hold_the_paths_on_the_clock_of_the_last_given_frame():
    windows = straight(2)
    scene = judge_forecast(shifted(windows, 0.1, 0.2), windows, scenes=1).drawn[0]
    k = int(scene.title.split()[1].rstrip(":"))
    assert scene.time.tolist() == [-1, -0.5, 0, 0.5, 1, 1.5, 2]
    assert np.allclose(scene.truth, windows.scenes([k]).x[:, GIVEN:].transpose(0, 1))
    assert np.allclose(scene.draws["geotdm"][1], scene.truth + [0.2, 0])
    assert list(scene.draws) == ["geotdm", "last position", "constant velocity"]
    assert judge_forecast(shifted(straight(1), 0.1), straight(1)).drawn == []


def test_bonds_springs_and_charges_are_drawn():
    springs = torch.tensor([[0, 1], [1, 0]]).repeat(SCENES, 1)
    scene = judge_forecast(shifted(w := straight(static={"spring": springs}), 0.0), w).drawn[0]
    assert scene.bonds.tolist() == [[0, 1]]
    charges = torch.tensor([1.0, -1.0]).repeat(SCENES)
    scene = judge_forecast(shifted(w := straight(static={"charge": charges}), 0.0), w).drawn[0]
    assert (scene.marks, scene.bonds, scene.numbers) == (["+", "−"], None, None)
    atoms = {"kind": torch.tensor([6, 1]).repeat(SCENES), "units": Units.md()}
    near = straight(**atoms)
    near = near.replace(x=torch.where((torch.arange(SCENES * NODES) % 2 == 0)[:, None, None], 0.0, near.x / near.x.norm(dim=-1, keepdim=True)))
    scene = judge_forecast(shifted(near, 0.0), near).drawn[0]
    assert (scene.numbers.tolist(), scene.bonds.tolist()) == ([6, 1], [[0, 1]])
    hops = torch.tensor([[0, 4], [4, 0]]).repeat(SCENES, 1)
    far = near.replace(static={"hop": hops})
    assert len(judge_forecast(shifted(far, 0.0), far).drawn[0].bonds) == 0


def test_roll_outs_are_told_apart():
    windows = straight(units=Units.md(), static={"mass": torch.ones(SCENES * NODES)})
    bare = shifted(windows, 0.0, method="trajcast")
    rolled = bare.replace(extra={"velocity": torch.zeros_like(bare.draws)})
    assert is_rollout(rolled)
    assert not is_rollout(bare)
    assert not is_rollout(rolled.replace(past=bare.past.replace(units=Units())))
    assert not is_rollout(rolled.replace(provenance={"method": "particle-ridge", "given": 3}))


def test_a_saved_evaluation_keeps_its_scenes_and_old_ones_open(tmp_path):
    windows = straight(2)
    made = judge_forecast(shifted(windows, 0.1, 0.2), windows)
    back = Evaluation.load(made.save(tmp_path / "new"))
    assert np.array_equal(back.drawn[0].draws["geotdm"], made.drawn[0].draws["geotdm"])
    assert back.drawn[0].title == made.drawn[0].title
    folder = Evaluation("old").save(tmp_path / "old")
    raw = json.loads((folder / "evaluation.json").read_text())
    del raw["drawn"]
    (folder / "evaluation.json").write_text(json.dumps(raw))
    assert Evaluation.load(folder).drawn == []


def test_comparable_keeps_what_needs_no_change():
    windows = straight()
    forecast = shifted(windows, 0.0)
    same, truth, notes = comparable(forecast, windows)
    assert same is forecast
    assert truth is windows
    assert notes == []
