"""Errors of chaotic forecasts and valid prediction times: known answers, failures that count, and bad input."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.metrics.chaotic import mase, nrmse, smape, stepwise, vpt


@pytest.fixture
def circle():
    angle = 2 * np.pi * np.arange(1000) / 100
    return np.stack([np.sin(angle), np.cos(angle)], 1)


def test_a_perfect_forecast(circle):
    assert smape(circle, circle) == nrmse(circle, circle) == mase(circle, circle, circle) == 0
    for rule in ("smape", "nrmse"):
        valid = vpt(circle, circle, rule, spacing=0.5, period=50.0, exponent=0.02)
        assert (valid.steps, valid.cap, valid.time, valid.periods, valid.lyapunov_times) == (1000, 1000, 500.0, 10.0, 10.0)
        assert valid.capped


def test_smape_by_hand():
    truth, pred = np.array([[1.0, 0.0], [2.0, -1.0]]), np.array([[3.0, 0.0], [2.0, 1.0]])
    assert smape(pred, truth) == pytest.approx((200 * 2 / 4 + 0 + 0 + 200) / 4)
    assert smape(pred, truth, scale=100.0) == pytest.approx(smape(pred, truth) / 2)
    assert stepwise(pred, truth) == pytest.approx([50.0, 100.0])


def test_mase_is_one_for_the_forecast_that_it_is_scaled_by():
    walk = np.random.default_rng(0).normal(size=(400, 2)).cumsum(0)
    past, truth = walk[:200], walk[200:]
    assert mase(truth + np.abs(np.diff(past, axis=0)).mean(0), truth, past) == pytest.approx(1.0)
    season = np.abs(past[7:] - past[:-7]).mean(0)
    assert mase(truth - 3 * season, truth, past, season=7) == pytest.approx(3.0)


def test_nrmse_of_the_mean_is_one(circle):
    assert nrmse(np.broadcast_to(circle.mean(0), circle.shape), circle) == pytest.approx(1.0)


@pytest.mark.parametrize("at", [0, 1, 250, 999])
def test_vpt_counts_the_steps_before_the_first_failure(circle, at):
    pred = circle.copy()
    pred[at] += 5.0
    for rule in ("smape", "nrmse"):
        valid = vpt(pred, circle, rule, period=100.0)
        assert valid.steps == at
        assert not valid.capped
        assert valid.periods == at / 100


def test_thresholds_of_both_rules(circle):
    """An offset e of a circle of radius 1 has the relative error e / rms = e; sMAPE is 30 where |y - p| = 0.15 (|y| + |p|)."""
    steady = np.full((50, 1), 10.0)
    assert vpt(steady * 0.75, steady).capped  # 28.6
    assert vpt(steady * 0.73, steady).steps == 0  # 31.2
    assert vpt(circle + [0.39, 0.0], circle, "nrmse").capped
    assert vpt(circle + [0.41, 0.0], circle, "nrmse").steps == 0
    assert vpt(circle + [0.41, 0.0], circle, "nrmse", threshold=0.5).capped


def test_rows_are_judged_apart(circle):
    bad = circle.copy()
    bad[100:] = 9.0
    pred, truth = np.stack([[circle, bad], [bad, circle]]), np.broadcast_to(circle, (2, 2, 1000, 2))
    assert vpt(pred, truth).steps.tolist() == [[1000, 100], [100, 1000]]
    assert smape(pred, truth).shape == nrmse(pred, truth).shape == mase(pred, truth, truth).shape == (2, 2)
    assert smape(pred, truth)[0, 1] == smape(bad, circle)


def test_what_is_not_finite_has_failed(circle):
    pred = circle.copy()
    pred[500:] = np.nan
    pred[600:] = np.inf
    assert smape(pred, circle) == pytest.approx(100.0)
    assert nrmse(pred, circle) == mase(pred, circle, circle) == np.inf
    assert vpt(pred, circle).steps == vpt(pred, circle, "nrmse").steps == 500
    assert smape(np.full_like(circle, 1.7e308), circle) == 200.0


@pytest.mark.parametrize(("call", "words"), [
    (lambda y: smape(y[:5], y), "equal shapes"),
    (lambda y: smape(y[0], y[0]), "time dim"),
    (lambda y: nrmse(y, y * np.nan), "truth are not finite"),
    (lambda y: mase(y, y, y[:3], season=3), "season=3 of a past of 3 frames"),
    (lambda y: mase(y, y, y[:, :1]), "past of shape"),
    (lambda y: vpt(y, y, "smap"), "did you mean 'smape'"),
    (lambda y: vpt(y, y, spacing=0.0), "spacing=0.0"),
    (lambda y: vpt(y, y, exponent=-1.0), "exponent=-1.0"),
    (lambda y: vpt(y, y).periods, "period is not known"),
    (lambda y: vpt(y, y).lyapunov_times, "exponent is not known"),
])
def test_bad_input(circle, call, words):
    with pytest.raises(ValueError, match=words):
        call(circle)
