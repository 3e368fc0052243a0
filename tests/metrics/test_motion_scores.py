"""All scores of a forecast of motion in one call, and the headings and horizons behind them."""

from __future__ import annotations

import json
import math

import pytest
import torch

from trajlab.metrics.motion_axes import along_across, at_horizons, headings, horizons, path_headings
from trajlab.metrics.motion_collisions import Bodies
from trajlab.metrics.motion_errors import MotionErrorConfig
from trajlab.metrics.motion_likelihood import kde_nll, nll_joint, nll_marginal
from trajlab.metrics.motion_scores import MotionScoresConfig, motion_scores
from trajlab.metrics.paired import paired_bootstrap
from trajlab.metrics.probabilistic import energy_score, mean_crps
from trajlab.types import Forecast, Trajectories
from trajlab.units import Units

GIVEN, STEPS, NODES = 5, 40, 9
SCENE = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 5])


def window(dt=0.1, seed=0, **static):
    """Agents with even speeds of up to 12 m/s, shaken a little."""
    g = torch.Generator().manual_seed(seed)
    time = torch.arange(GIVEN + STEPS, dtype=torch.float64) * dt
    angle, speed = 6 * torch.rand(NODES, generator=g, dtype=torch.float64), 12 * torch.rand(NODES, generator=g, dtype=torch.float64)
    way = torch.stack([angle.cos(), angle.sin()], -1) * speed[:, None]
    x = way[:, None] * time[:, None] + 20 * torch.randn(NODES, 1, 2, generator=g, dtype=torch.float64)
    x = x + 0.01 * torch.randn(x.shape, generator=g, dtype=torch.float64)
    sizes = {"length": torch.full((NODES,), 4.5), "width": torch.full((NODES,), 1.8)} if static.pop("sized", True) else {}
    return Trajectories(x, time.expand(6, -1), SCENE, static=sizes, context={"run": torch.arange(6) // 2}, units=Units.si(), **static)


def said(truth, modes=3, draws=8, seed=1, **more):
    g = torch.Generator().manual_seed(seed)
    past, future = truth.frames(slice(GIVEN)), truth.frames(slice(GIVEN, None))
    grows = torch.arange(1, STEPS + 1, dtype=torch.float64)[:, None] / STEPS
    mean = future.x[:, None] + torch.randn(NODES, modes, 1, 2, generator=g, dtype=torch.float64) * 2 * grows
    covariance = (0.02 + grows[..., None].square()) * torch.eye(2, dtype=torch.float64)
    path = mean[:, torch.randint(modes, (draws,), generator=g)].transpose(0, 1)
    path = path + torch.randn(draws, NODES, 1, 2, generator=g, dtype=torch.float64) * grows
    logits = torch.randn(NODES, modes, generator=g, dtype=torch.float64)
    mixture = {"logits": logits, "mean": mean, "covariance": covariance.expand(NODES, modes, STEPS, 2, 2)}
    return Forecast(path, past, future.time, mixture=mixture, **more)


def test_a_mixture_gets_all_that_applies():
    truth = window()
    forecast = said(truth)
    got = motion_scores(forecast, truth, MotionScoresConfig(errors=MotionErrorConfig(best_of=2)))
    future, mask, each = truth.x[:, GIVEN:], truth.mask[:, GIVEN:], torch.arange(NODES)
    mixture = (forecast.mixture["logits"].softmax(-1), forecast.mixture["mean"], forecast.mixture["covariance"])
    assert torch.allclose(got.agents["nll_joint"], nll_joint(*mixture, future, mask))
    assert torch.allclose(got.agents["nll_joint_step"], nll_joint(*mixture, future, mask) / STEPS)
    assert torch.allclose(got.agents["nll_marginal"], nll_marginal(*mixture, future, mask))
    assert torch.allclose(got.agents["kde_nll"], kde_nll(forecast.draws, future))
    assert torch.allclose(got.agents["energy"], energy_score(forecast.draws, future, each))
    assert torch.allclose(got.agents["crps"], mean_crps(forecast.draws, future, each))
    top = mixture[0].topk(2, dim=-1).indices
    ade = (forecast.mixture["mean"] - future[:, None]).norm(dim=-1).mean(-1)
    assert torch.allclose(got.agents["min_ade"], ade.gather(1, top).amin(1))
    assert torch.allclose(got.agents["point_ade"], ade.gather(1, top)[:, 0])
    wanted = {"brier_min_fde", "miss", "box_miss", "along", "across", "coverage 0.68", "spread", "collision", "infeasible", "infeasible_of_draws",
              "infeasible_of_truth", "rms_acceleration", "rms_jerk"}
    assert wanted <= set(got.agents)
    assert "off_road" not in got.agents
    assert all(len(value) == NODES and bool(value.isfinite().all()) for value in got.agents.values())
    assert not got.scenes
    assert "joint errors" in got.notes[0]
    assert got.run.tolist() == (SCENE // 2).tolist()
    assert got.horizon.tolist() == [1, 2, 3, 4]
    assert got.by_horizon["point"].shape == (NODES, 4)
    assert torch.allclose(got.by_horizon["point"][:, -1], got.agents["point_fde"])
    assert torch.allclose(got.by_horizon["along"].hypot(got.by_horizon["across"]), got.by_horizon["point"])
    assert got.pit.shape == (2, 10)
    assert torch.allclose(got.pit.mean(1), torch.ones(2, dtype=torch.float64))
    assert float(got.shares[-1]) == 1.0
    fde = (forecast.mixture["mean"] - future[:, None])[:, :, -1].norm(dim=-1)
    assert torch.allclose(got.by_horizon["min"][:, -1], fde.gather(1, top).amin(1))  # of the two likeliest
    json.dumps(got.record())
    assert got.mean("min_ade") == pytest.approx(float(got.agents["min_ade"].mean()))
    assert got.mean("min_ade", "scene") == pytest.approx(float(torch.stack([got.agents["min_ade"][s == SCENE].mean() for s in range(6)]).mean()))
    paired_bootstrap(got.agents["min_ade"], got.agents["point_ade"], SCENE)  # 6 scenes are enough for 95 %


def test_draws_and_a_single_path():
    truth = window(sized=False)
    forecast = said(truth).replace(mixture={})
    got = motion_scores(forecast, truth, MotionScoresConfig(errors=MotionErrorConfig(best_of=4)))
    assert {"joint_min_ade", "joint_min_fde", "joint_miss"} == set(got.scenes)
    assert "nll_joint" not in got.agents
    assert "coverage 0.95" in got.agents
    assert torch.allclose(got.pit.mean(1), torch.ones(2, dtype=torch.float64))
    one = motion_scores(Forecast(truth.x[None, :, GIVEN:], forecast.past, forecast.time), truth)
    assert one.mean("min_ade") == one.mean("point_fde") == one.mean("miss") == one.mean("box_miss") == 0
    assert one.mean("infeasible") == one.mean("infeasible_of_truth")
    assert one.shares is None
    assert "energy" not in one.agents
    assert one.mean("rms_acceleration") == pytest.approx(one.mean("rms_acceleration_of_truth"))
    weight = torch.randn(8, 6)
    weighted = motion_scores(forecast.replace(log_weight=weight), truth)
    assert "energy" not in weighted.agents
    assert "weighted" in weighted.notes[-1]
    fde = (forecast.draws - truth.x[:, GIVEN:])[:, :, -1].norm(dim=-1)
    assert torch.allclose(weighted.agents["expected_fde"], (weight.double().softmax(0)[:, SCENE] * fde).sum(0))


def test_calibrated_draws_have_a_flat_pit_and_the_coverage_of_their_level():
    g = torch.Generator().manual_seed(2)
    noise = torch.randn(9, 500, 4, 2, generator=g, dtype=torch.float64) * torch.tensor([3.0, 0.5])
    past = Trajectories(torch.zeros(500, 1, 2, dtype=torch.float64), torch.zeros(1, 1), torch.zeros(500, dtype=torch.long))
    forecast = Forecast(noise[1:], past, torch.arange(1.0, 5.0)[None])
    truth = Trajectories(noise[0], torch.arange(1.0, 5.0)[None], past.scene)
    got = motion_scores(forecast, truth, MotionScoresConfig(bodies=Bodies("none")))
    assert float((got.pit - 1).abs().max()) < 0.25  # 2000 truths in 10 bins: a standard error of 0.07; ranks of 8 draws are spread over all bins
    assert got.mean("coverage 0.68") == pytest.approx(0.68, abs=0.04)
    assert got.mean("spread") == pytest.approx(math.sqrt((9 + 0.25) / 2), rel=0.1)


def test_draws_of_a_mixture_are_scored_where_asked():
    truth = window()
    forecast = said(truth)
    got = motion_scores(forecast, truth, MotionScoresConfig(paths="draws"))
    assert got.best_of == 8
    assert torch.equal(got.agents["min_ade"], motion_scores(forecast.replace(mixture={}), truth).agents["min_ade"])


def test_nothing_depends_on_place_direction_or_what_is_hidden():
    truth = window()
    forecast = said(truth)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    move = lambda x: x @ turn.T + torch.tensor([100.0, -30.0], dtype=torch.float64)  # noqa: E731
    mixture = {**forecast.mixture, "mean": move(forecast.mixture["mean"]), "covariance": turn @ forecast.mixture["covariance"] @ turn.T}
    other = forecast.replace(draws=move(forecast.draws), past=forecast.past.replace(x=move(forecast.past.x)), mixture=mixture)
    want, got = motion_scores(forecast, truth), motion_scores(other, truth.replace(x=move(truth.x)))
    for name, value in want.agents.items():
        if name != "crps" and not name.startswith("coverage"):  # CRPS looks along the axes; levels are from other random numbers
            assert torch.allclose(got.agents[name], value, atol=1e-6), name
    mask = truth.mask.clone()
    mask[0, GIVEN + 20:], mask[2] = False, False
    bad = torch.where(mask[..., None], truth.x, 1e6 * torch.randn(truth.x.shape))
    past = forecast.past.replace(mask=mask[:, :GIVEN], x=bad[:, :GIVEN])
    hidden = motion_scores(forecast.replace(past=past), truth.replace(x=bad, mask=mask))
    clean = motion_scores(forecast.replace(past=past.replace(x=truth.x[:, :GIVEN])), truth.replace(mask=mask))
    for name, value in hidden.agents.items():
        assert torch.allclose(value, clean.agents[name], equal_nan=True), name
        assert math.isnan(value[2]) or name == "box_miss", name
    assert hidden.by_horizon["point"][0].isnan().tolist() == [False, False, True, True]
    assert hidden.record()["agents"] == NODES - 1
    assert float(hidden.agents["nll_joint_step"][0]) == pytest.approx(float(hidden.agents["nll_joint"][0]) / 20)


def test_a_forecast_that_ended_early_is_judged_until_then_where_asked():
    truth = window()
    forecast = said(truth)
    mask = forecast.mask.clone()
    mask[:, SCENE == 1, 25:] = False
    cut = torch.where(mask[..., None], forecast.draws, math.nan)
    mean = torch.where(mask.all(0)[:, None, :, None], forecast.mixture["mean"], math.nan)
    short = forecast.replace(draws=cut, mask=mask, mixture={**forecast.mixture, "mean": mean}, stopped=("", "left", "", "", "", ""))
    with pytest.raises(ValueError, match="left"):
        motion_scores(short, truth)
    got, want = motion_scores(short, truth, stopped="skip"), motion_scores(forecast, truth)
    assert [name for name, value in got.agents.items() if not bool(value.isfinite().all())] == ["box_miss"]  # at 3 s it was over
    assert torch.allclose(got.agents["infeasible"][3:], want.agents["infeasible"][3:])
    assert float(got.agents["point_fde"][2]) == pytest.approx(float((short.mixture["mean"][2, short.mixture["logits"][2].argmax(), 24]
                                                                   - truth.x[2, GIVEN + 24]).norm()))


def test_recorded_headings_and_speeds_are_used():
    truth = window()
    heading = torch.full((NODES, GIVEN + STEPS), math.pi / 2, dtype=torch.float64)
    got = motion_scores(said(truth), truth.replace(extra={"heading": heading}))
    plain = motion_scores(said(truth).replace(mixture={}), truth.replace(extra={"heading": heading}))
    off = plain.by_horizon["along"]
    mean = said(truth).draws.mean(0)[:, 9::10] - truth.x[:, GIVEN:][:, 9::10]
    assert torch.allclose(off, mean[..., 1])
    assert torch.allclose(plain.by_horizon["across"], -mean[..., 0])
    assert not torch.allclose(got.agents["along"], motion_scores(said(truth), truth).agents["along"])


def test_headings_of_paths():
    x = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 0.001], [1.0, 1.0], [0.0, 1.0]]], dtype=torch.float64)
    want = [0, 0, 0, math.pi / 2, math.pi]
    track = Trajectories(x, torch.arange(5.0)[None], torch.zeros(1, dtype=torch.long))
    assert headings(track)[0].tolist() == pytest.approx(want)
    assert headings(track, torch.tensor([[0.0, 1.0]]))[0, 0].item() == pytest.approx(-math.pi / 2)
    mask = torch.tensor([[True, False, True, True, True]])
    bad = torch.where(mask[..., None], x, math.nan)
    assert headings(track.replace(x=bad, mask=mask))[0].tolist() == pytest.approx([0, 0, math.atan2(0.001, 1.0), math.pi / 2, math.pi], abs=2e-3)
    assert path_headings(x[:, 1:3] * 0, torch.zeros(1, 2), 1.5)[0].tolist() == [1.5, 1.5]  # stands: looks where it looked
    turned = torch.tensor([[[0.0, 1.0], [0.0, 1.0], [0.0, 1.01]]])
    assert path_headings(turned, torch.zeros(1, 2))[0].tolist() == pytest.approx([math.pi / 2] * 3)


def test_along_across_and_horizons():
    error = torch.tensor([[[1.0, 0.0], [1.0, 2.0]]])
    assert torch.allclose(along_across(error, torch.tensor([[math.pi / 2, 0.0]])), torch.tensor([[[0.0, -1.0], [1.0, 2.0]]]), atol=1e-6)
    ahead = (torch.arange(12, dtype=torch.float64) + 1)[None] * 0.4
    assert horizons(ahead).tolist() == pytest.approx([1.2, 2.4, 3.6, 4.8])  # whole frames
    assert horizons(ahead / 4).tolist() == pytest.approx([1.0])
    assert horizons(ahead * 3).tolist() == pytest.approx(ahead[0].mul(3).tolist())
    assert horizons(ahead, 10.0).tolist() == pytest.approx([4.8])
    found = at_horizons(ahead, torch.ones(1, 12, dtype=torch.bool), ahead, torch.tensor([1.1, 2.0, 4.8, 6.0], dtype=torch.float64))
    assert found[0, 1:3].tolist() == pytest.approx([2.0, 4.8])
    assert float(found[0, 0]) == pytest.approx(1.2)
    assert math.isnan(found[0, 3])


def test_a_known_likeliest_path_is_not_the_last_given_position():
    """The last given position comes before the first predicted one: a path that begins 1 m beside it cannot be driven."""
    truth = window(sized=False)
    straight = truth.x[:, :1] + (truth.x[:, -1:] - truth.x[:, :1]) * torch.arange(GIVEN + STEPS, dtype=torch.float64)[:, None] / (GIVEN + STEPS - 1)
    past, future = truth.replace(x=straight).frames(slice(GIVEN)), straight[:, GIVEN:]
    made = lambda x: motion_scores(Forecast(x[None], past, truth.time[:, GIVEN:]), truth.replace(x=straight))  # noqa: E731
    assert made(future).mean("infeasible") == 0.0
    assert made(future + 1.5).mean("infeasible") == pytest.approx(1 / (STEPS - 1))


def test_bad_input():
    truth = window()
    forecast = said(truth)
    with pytest.raises(ValueError, match="best of 4 was asked for, and there are 3"):
        motion_scores(forecast, truth, MotionScoresConfig(errors=MotionErrorConfig(best_of=4)))
    solid = torch.zeros(1, 2, 3)
    past = Trajectories(solid, torch.arange(2.0)[None], torch.zeros(1, dtype=torch.long))
    with pytest.raises(ValueError, match="3 dimensions"):
        motion_scores(Forecast(solid[None] + 1, past, torch.tensor([[2.0, 3.0]])), past.replace(time=past.time + 2))
    with pytest.raises(ValueError, match="score of motion"):
        motion_scores(forecast, truth).mean("minade")
    with pytest.raises(ValueError, match="by='window'"):
        motion_scores(forecast, truth).mean("min_ade", "window")
    with pytest.raises(ValueError, match="boxes were asked for"):
        motion_scores(said(window(sized=False)), window(sized=False), MotionScoresConfig(bodies=Bodies("boxes")))
    for wrong in ({"paths": "modes"}, {"region": "x"}, {"levels": (68,)}, {"draws": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong)).removesuffix("s")):
            MotionScoresConfig(**wrong)
    with pytest.raises(ValueError, match="not positive definite"):
        motion_scores(forecast.replace(mixture={**forecast.mixture, "covariance": 0 * forecast.mixture["covariance"]}), truth)
    with pytest.raises(ValueError, match="a positive time between horizons"):
        horizons(torch.ones(1, 1), 0.0)
