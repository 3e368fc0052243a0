"""CRPS against the closed form, energy scores by definition, calibration of calibrated draws."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.metrics.calibration import coverage, pit_histogram, spread_skill
from trajlab.metrics.probabilistic import crps, crps_gaussian, energy_score, mean_crps, probabilistic
from trajlab.types import Forecast, Trajectories

SCENE = torch.arange(400) // 4


def calibrated(draws=20, nodes=400, frames=6, dim=2, wide=1.0, seed=0):
    """Draws and truth from one normal law of a known mean and scale each; ``wide`` makes the draws too wide."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    mean, std = 3 * normal(nodes, frames, dim), normal(nodes, frames, 1).exp()
    return mean + wide * std * normal(draws, nodes, frames, dim), mean + std * normal(nodes, frames, dim), mean, std


def test_crps_of_gaussian_draws_is_the_closed_form():
    mean, std, truth = torch.tensor([0.3, -1.0, 5.0]), torch.tensor([1.0, 0.2, 4.0]), torch.tensor([0.0, -0.5, 5.0])
    exact = crps_gaussian(mean, std, truth)
    assert float(crps_gaussian(torch.zeros(()), torch.ones(()), torch.zeros(()))) == pytest.approx((math.sqrt(2) - 1) / math.sqrt(math.pi))
    draws = mean + std * torch.randn(40_000, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(crps(draws, truth), exact.double(), rtol=0.02)


def test_crps_by_definition():
    draws, truth, *_ = calibrated(draws=9)
    apart = (draws[:, None] - draws[None]).abs().sum((0, 1))
    error = (draws - truth).abs().mean(0)
    assert torch.allclose(crps(draws, truth, "fair"), error - apart / (2 * 9 * 8))
    assert torch.allclose(crps(draws, truth, "plain"), error - apart / (2 * 81))


def test_the_fair_estimator_does_not_depend_on_the_number_of_draws():
    exact = crps_gaussian(*[v.expand(400, 6, 2) for v in calibrated()[2:]], calibrated()[1]).mean()
    few = {kind: float(mean_crps(*calibrated(draws=3)[:2], SCENE, estimator=kind).mean()) for kind in ("fair", "plain")}
    assert few["fair"] == pytest.approx(float(exact), rel=0.05)
    assert few["plain"] > 1.2 * float(exact)


def test_crps_sees_draws_of_the_wrong_width():
    right = mean_crps(*calibrated()[:2], SCENE).mean()
    for wide in (0.4, 2.5):
        assert float(mean_crps(*calibrated(wide=wide)[:2], SCENE).mean()) > 1.05 * float(right)


def test_a_single_draw_and_identical_draws_are_point_forecasts():
    draws, truth, *_ = calibrated(draws=1)
    error = (draws[0] - truth).abs()
    many = draws.expand(7, -1, -1, -1)
    for d in (draws, many):
        assert torch.allclose(crps(d, truth), error)
        assert torch.allclose(energy_score(d, truth, SCENE), (draws[0] - truth).norm(dim=-1).mean(-1).reshape(100, 4).mean(-1))
        path = (draws[0] - truth).flatten(1).norm(dim=-1).reshape(100, 4)
        assert torch.allclose(energy_score(d, truth, SCENE, over="path"), path.mean(-1))
        assert torch.allclose(energy_score(d, truth, SCENE, over="scene"), path.square().sum(-1).sqrt())


def test_far_from_the_origin_nothing_cancels():
    draws, truth, *_ = calibrated()
    assert torch.allclose(mean_crps(draws + 1e6, truth + 1e6, SCENE), mean_crps(draws, truth, SCENE), rtol=1e-6)


@pytest.mark.parametrize("over", ["position", "path", "scene"])
def test_energy_score_by_definition(over):
    draws, truth, *_ = calibrated(draws=5, nodes=8)
    scene = SCENE[:8]
    shape = {"position": (48, 2), "path": (8, 12), "scene": (2, 48)}[over]
    x, y = draws.reshape(5, *shape), truth.reshape(shape)
    each = (x - y).norm(dim=-1).mean(0) - (x[:, None] - x[None]).norm(dim=-1).sum((0, 1)) / (2 * 5 * 4)
    assert torch.allclose(energy_score(draws, truth, scene, over=over), each.reshape(2, -1).mean(-1))
    one = energy_score(draws[..., :1], truth[..., :1], scene, over="position", estimator="plain")
    assert torch.allclose(one, mean_crps(draws[..., :1], truth[..., :1], scene, estimator="plain"))  # in one dimension it is the CRPS


@pytest.mark.parametrize("over", ["position", "path", "scene"])
def test_energy_score_turns_and_chunks(over, monkeypatch):
    draws, truth, *_ = calibrated(nodes=40)
    turn = torch.linalg.qr(torch.randn(2, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    want = energy_score(draws, truth, SCENE[:40], over=over)
    monkeypatch.setattr("trajlab.metrics.probabilistic.CHUNK", 3000)
    assert torch.allclose(energy_score(draws @ turn + 2, truth @ turn + 2, SCENE[:40], over=over), want)
    assert torch.allclose(mean_crps(draws, truth, SCENE[:40]), crps(draws, truth).mean((1, 2)).reshape(10, 4).mean(-1))


def test_path_energy_sees_correlations_over_time_that_positions_do_not():
    generator = torch.Generator().manual_seed(0)
    walk = torch.randn(21, 400, 1, 2, generator=generator).expand(-1, -1, 6, -1)  # constant over time
    torn = torch.stack([walk[:20][torch.randperm(20, generator=generator), :, f] for f in range(6)], 2)  # same marginals, no correlation
    truth = walk[20]
    ratio = {over: float(energy_score(torn, truth, SCENE, over=over).mean() / energy_score(walk[:20], truth, SCENE, over=over).mean())
             for over in ("position", "path")}
    assert ratio["position"] == pytest.approx(1.0, abs=1e-6)
    assert ratio["path"] > 1.05


def test_hidden_entries_change_nothing():
    draws, truth, *_ = calibrated(nodes=12, frames=5)
    scene, mask = SCENE[:12], torch.ones(12, 5, dtype=torch.bool)
    mask[0, 3:], mask[4:8], mask[9] = False, False, False
    wild_draws, wild_truth = draws.clone(), truth.clone()
    wild_draws[:, ~mask], wild_truth[~mask] = math.nan, 1e9
    each = {"crps": lambda d, y, s, m: mean_crps(d, y, s, m), **{o: lambda d, y, s, m, o=o: energy_score(d, y, s, m, o) for o in
                                                                 ("position", "path", "scene")}}
    for name, score in each.items():
        value = score(wild_draws, wild_truth, scene, mask)
        assert value[1].isnan(), name
        alone = score(draws[:, [8, 10, 11]], truth[[8, 10, 11]], torch.zeros(3, dtype=torch.long), None)
        assert value[2] == pytest.approx(float(alone)), name
    few = torch.tensor([1, 2, 3, 8, 10, 11])
    joined = lambda x: torch.cat([x[..., few, :, :].flatten(-3, -2), x[..., 0, :3, :]], -2)[..., None, :]  # noqa: E731
    scores = (lambda d, y, m: coverage(d, y, (0.5, 0.9), m), lambda d, y, m: pit_histogram(d, y, m, 5),
              lambda d, y, m: spread_skill(d, y, m, 3).spread_by)
    for score in scores:
        assert torch.allclose(score(wild_draws, wild_truth, mask), score(joined(draws), joined(truth), None))


@pytest.mark.parametrize("draws", [3, 9, 40])
def test_calibrated_draws_cover_what_they_say(draws):
    x, y, *_ = calibrated(draws=draws, nodes=1600)
    levels = [p for p in (0.1, 0.5, 0.8, 0.95) if p <= (draws - 1) / (draws + 1)]
    assert coverage(x, y, levels).tolist() == pytest.approx(levels, abs=0.02)
    assert torch.allclose(pit_histogram(x, y, bins=8), torch.ones(8).double(), atol=0.1)


def test_wrong_widths_and_shifts_are_seen():
    narrow, truth, _, std = calibrated(wide=0.5)
    wide = calibrated(wide=2.0)[0]
    assert float(coverage(narrow, truth, [0.8])) < 0.65
    assert float(coverage(wide, truth, [0.8])) > 0.9
    bowl, hill, slope = pit_histogram(narrow, truth), pit_histogram(wide, truth), pit_histogram(calibrated()[0] + std, truth)
    assert float(bowl[0]) > 1.5
    assert float(bowl[4]) < 0.8
    assert float(hill[0]) < 0.5
    assert float(hill[4]) > 1.3
    assert float(slope[0]) > 1.5
    assert float(slope[-1]) < 0.5
    assert float(bowl.mean()) == pytest.approx(1.0)
    assert coverage(truth.expand(9, -1, -1, -1), truth, [0.5, 0.8]).tolist() == pytest.approx([0.5, 0.8])  # all tied says nothing
    same = narrow[:1].expand(20, -1, -1, -1)
    assert float(coverage(same, truth, [0.8])) < 0.05


def test_spread_equals_skill_when_calibrated():
    four = torch.randn(4, 2000, 6, 2, generator=torch.Generator().manual_seed(0))
    assert spread_skill(four[:3], four[3]).ratio == pytest.approx(1.0, abs=0.02)
    score = spread_skill(*calibrated(draws=10)[:2])
    assert score.ratio == pytest.approx(1.0, abs=0.06)
    assert score.spread < score.error
    assert torch.allclose(score.spread_by * math.sqrt(1.1), score.error_by, rtol=0.15)
    assert float(score.error_by[-1]) > 4 * float(score.error_by[0])
    assert spread_skill(*calibrated(draws=10, wide=0.5)[:2]).ratio < 0.6


def forecast(draws=20):
    x, y, *_ = calibrated(draws=draws)
    time = torch.arange(7.0).expand(100, -1).double()
    whole = Trajectories(x=torch.cat([y[:, :1], y], 1), time=time, scene=SCENE)
    return Forecast(draws=x, past=whole.frames([0]), time=time[:, 1:]), whole, x, y


def test_all_of_a_forecast():
    answer, whole, x, y = forecast()
    score = probabilistic(answer, whole, levels=(0.5, 0.99))
    assert torch.allclose(score.crps, mean_crps(x, y, SCENE))
    assert torch.allclose(score.energy, energy_score(x, y, SCENE))
    assert score.coverage[0.5] == pytest.approx(0.5, abs=0.03)
    assert math.isnan(score.coverage[0.99])
    assert set(score.table()) == {"crps", "energy score", "coverage 0.5", "coverage 0.99", "spread/error"}
    single = probabilistic(*forecast(1)[:2])
    assert single.spread_skill is None
    assert all(math.isnan(v) for v in single.coverage.values())


def test_bad_input():
    draws, truth, *_ = calibrated()
    with pytest.raises(ValueError, match=r"0\.95 was asked for; 0\.95 needs at least 39"):
        coverage(draws, truth, [0.5, 0.95])
    with pytest.raises(ValueError, match="levels up to"):
        coverage(draws, truth, [1.5])
    with pytest.raises(ValueError, match="nothing to score"):
        pit_histogram(draws, truth, torch.zeros(400, 6, dtype=torch.bool))
    with pytest.raises(ValueError, match="at least 2 draws"):
        spread_skill(draws[:1], truth)
    with pytest.raises(ValueError, match=r"truth\(399, 6, 2\)"):
        mean_crps(draws, truth[1:], SCENE)
