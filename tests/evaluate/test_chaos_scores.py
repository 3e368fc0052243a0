"""Scores of known forecasts, and what failed forecasts get."""

from __future__ import annotations

import math

import numpy as np
import pytest
from chaos_runs import KNOWN, suite, waves

from trajlab.evaluate.chaos_data import Series, SeriesRecipe, make, noisy
from trajlab.evaluate.chaos_scores import failed_scores, failure, held, scores
from trajlab.evaluate.chaos_task import Task, perform

PROTOCOL = suite().protocols["A"]


def series(start=0, system="Lorenz", known=KNOWN) -> Series:
    recipe = SeriesRecipe(system, PROTOCOL, 3, 0, 1e-9, 0.0, known)
    x, step = waves(recipe)
    return Series(system, "A", start, x[start, :60], x[start, 60:], step, known)


def test_the_truth_has_no_error_and_is_valid_to_the_cap():
    s = series()
    found = scores(s.truth[None], s, PROTOCOL)
    assert found["smape"] == found["mase"] == found["hellinger"] == 0
    assert found["vpt30"] == found["vpt"] == found["cap"] == pytest.approx(3.0)  # 60 points of 20 a period
    assert found["vpt_lyapunov"] == found["cap_lyapunov"] == pytest.approx(3.0 * 0.9)
    assert found["exponent_used"] == 0.9
    assert abs(found["kl"]) < 1e-12


def test_dimension_and_exponent_are_compared_with_those_of_the_truth():
    rng = np.random.default_rng(0)
    plane, line = rng.uniform(size=(800, 2)), rng.uniform(size=(800, 1)) * [1.0, 2.0]
    s = Series("Lorenz", "A", 0, plane[:60], plane, 0.05, KNOWN)
    long = PROTOCOL.__class__("A", "", "period", 20, 60, 20, 800)
    found = scores(line[None], s, long)
    assert found["true_dimension"] == pytest.approx(2.0, abs=0.3)
    assert found["dimension"] == pytest.approx(1.0, abs=0.2)
    assert found["dimension_gap"] == pytest.approx(found["true_dimension"] - found["dimension"])
    assert failed_scores(s, long)["true_dimension"] == found["true_dimension"]
    assert math.isnan(scores(np.repeat(plane[:1], 800, 0)[None], s, long)["dimension"])


def test_errors_are_of_the_horizon_and_valid_times_of_the_whole_run():
    s = series()
    late = s.truth.copy()
    late[40:] = 1e3
    found = scores(late[None], s, PROTOCOL)
    assert found["smape"] == 0
    assert found["vpt30"] == pytest.approx(2.0)
    assert found["hellinger"] > 0.1


def test_the_median_of_the_draws_is_judged():
    s = series()
    found = scores(np.stack([s.truth, s.truth, s.truth + 50]), s, PROTOCOL)
    assert found["smape"] == 0


def test_steps_that_are_not_finite_count_as_worst():
    s = series()
    made = s.truth.copy()
    made[10:] = math.nan
    found = scores(made[None], s, PROTOCOL)
    assert found["smape"] == pytest.approx(100.0)  # 10 of 20 steps at 200
    assert found["vpt30"] == pytest.approx(0.5)
    assert "1 of 1 draws are not finite, the first from step 10" in failure(made[None])
    assert np.isfinite(found["kl"])
    assert (held(made, s.context[-1])[10:] == made[9]).all()


def test_without_an_exponent_there_are_no_lyapunov_times():
    s = series(known={**KNOWN, "chaotic": False})
    found = scores(s.truth[None], s, PROTOCOL)
    assert math.isnan(found["vpt_lyapunov"])
    assert math.isnan(found["cap_lyapunov"])
    assert found["vpt"] == pytest.approx(3.0)


def test_a_forecaster_that_raises_has_the_worst_scores_and_a_reason(tmp_path, monkeypatch):
    (tmp_path / "own_breaking.py").write_text(
        "from trajlab.models.series_forecaster import SeriesForecaster\n\nclass Breaks(SeriesForecaster):\n"
        "    def continuation(self, context, steps, draws, rng):\n        raise RuntimeError('no such luck')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    record = perform(Task("own_breaking:Breaks", series(), PROTOCOL, 0.0, 1, 0))
    assert record["failed"] == "RuntimeError: no such luck"
    assert (record["smape"], record["vpt30"], record["hellinger"], record["mase"]) == (200.0, 0.0, 1.0, None)
    assert set(record) == set(perform(Task("mean", series(), PROTOCOL, 0.0, 1, 0)))
    assert failed_scores(series(), PROTOCOL)["vpt"] == 0


def test_noise_is_on_the_context_alone_and_of_the_series_alone():
    one, other = series(0), series(1)
    found = noisy(one, 0.01, 3)
    assert np.std(found - one.context, axis=0) == pytest.approx(0.01 * one.context.std(0), rel=0.3)
    assert (noisy(one, 0.01, 3) == found).all()
    assert (noisy(one, 0.01, 4) != found).any()
    drawn = [(noisy(s, 0.01, 3) - s.context) / s.context.std(0) for s in (one, other)]
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 0.4
    assert noisy(one, 0.0, 3) is one.context


def test_keys_change_with_content():
    s = series()
    keys = {Task(entry, one, PROTOCOL, noise, draws, seed).key for entry, one, noise, draws, seed in [
        ("mean", s, 0.0, 8, 0), ("persistence", s, 0.0, 8, 0), ("mean", series(1), 0.0, 8, 0), ("mean", s, 0.01, 8, 0), ("mean", s, 0.01, 8, 1),
        ("mean", s, 0.0, 9, 0)]}
    assert len(keys) == 6
    assert Task("mean", series(), PROTOCOL, 0.0, 8, 0).key in keys


def test_no_clock_without_an_exponent(tmp_path):
    protocol = suite().protocols["A"].__class__("B", "", "lyapunov", 30, 60, 20, 60)
    made = make((SeriesRecipe("Lorenz", protocol, 1, 0, 1e-9, 0.0, {**KNOWN, "chaotic": False}), str(tmp_path)))
    assert not made.series
    assert "cannot be a clock" in made.why
