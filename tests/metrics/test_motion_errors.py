"""Errors of paths with probabilities by hand, and what must not change them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from trajlab.metrics.displacement import DisplacementConfig, displacement
from trajlab.metrics.motion_errors import MotionErrorConfig, box_miss, path_errors, speed_scale
from trajlab.metrics.motion_hypotheses import Hypotheses, hypotheses
from trajlab.types import Forecast, Trajectories

SCENE = torch.tensor([0, 0, 1])


def by_hand(probability=(0.1, 0.6, 0.3)):
    """Three paths of one agent over two frames, off by (1, 3), (2, 2.5) and (4, 1) along x."""
    off = torch.tensor([[[1.0, 3.0], [2.0, 2.5], [4.0, 1.0]]], dtype=torch.float64)
    path = torch.stack([off, torch.zeros_like(off)], -1)
    said = Hypotheses(path, torch.tensor([probability], dtype=torch.float64))
    return said, torch.zeros(1, 2, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.long)


def table(config=None, probability=(0.1, 0.6, 0.3)):
    return {k: float(v) for k, v in path_errors(*by_hand(probability), config=config).agents.items()}


def drawn(modes=4, frames=5, seed=0, joint=True):
    g = torch.Generator().manual_seed(seed)
    truth = torch.randn(3, frames, 2, generator=g, dtype=torch.float64)
    weight = torch.rand(2 if joint else 3, modes, generator=g, dtype=torch.float64)
    weight = weight[SCENE] if joint else weight
    return Hypotheses(truth[:, None] + torch.randn(3, modes, frames, 2, generator=g, dtype=torch.float64), weight / weight.sum(-1, True)), truth


def test_by_hand():
    got = table()
    want = {"min_ade": 2.0, "min_fde": 1.0, "miss": 0.0, "brier_min_fde": 1.0 + 0.7**2, "brier_min_ade": 2.0 + 0.9**2, "point_ade": 2.25,
            "point_fde": 2.5, "mean_ade": (0.1 + 1.2 + 1.2 + 0.3 + 1.5 + 0.3) / 2, "mean_fde": 2.1, "expected_ade": 0.2 + 1.35 + 0.75,
            "expected_fde": 2.1}
    assert got == pytest.approx(want)


def test_the_likeliest_k_are_looked_at_and_their_probabilities_sum_to_one_again():
    got = table(MotionErrorConfig(best_of=2))
    assert got["min_ade"] == pytest.approx(2.25)
    assert got["min_fde"] == pytest.approx(1.0)
    assert got["brier_min_fde"] == pytest.approx(1.0 + (2 / 3) ** 2)
    assert table(MotionErrorConfig(best_of=1))["miss"] == 1.0
    assert table(MotionErrorConfig(best_of=1))["brier_min_fde"] == pytest.approx(2.5)


def test_average_of_the_path_that_ends_best():
    assert table(MotionErrorConfig(select="fde"))["min_ade"] == pytest.approx(2.5)


def test_the_two_brier_terms_differ_where_a_likely_path_is_nearly_best():
    far = (0.98, 0.01, 0.01)  # the best path ends at 1.0 with probability 0.01; the likely one at 3.0
    assert table(probability=far)["brier_min_fde"] == pytest.approx(1 + 0.99**2)
    assert table(MotionErrorConfig(brier="least"), far)["brier_min_ade"] == pytest.approx(2 + 0.02**2)
    near = (0.01, 0.98, 0.01)
    assert table(probability=near)["brier_min_ade"] == pytest.approx(2 + 0.99**2)
    assert table(MotionErrorConfig(brier="least"), near)["brier_min_ade"] == pytest.approx(2.25 + 0.02**2)


def test_misses_by_rule():
    assert table(MotionErrorConfig(miss_radius=1.0))["miss"] == 0.0  # strictly beyond
    assert table(MotionErrorConfig(miss_radius=0.999))["miss"] == 1.0
    assert table(MotionErrorConfig(miss="nuscenes", miss_radius=2.5))["miss"] == 1.0  # the second is at 2.5, which is a miss here
    assert table(MotionErrorConfig(miss="nuscenes", miss_radius=2.51))["miss"] == 0.0


def test_equally_likely_paths_are_scored_as_draws():
    said, truth = drawn()
    said = Hypotheses(said.path, torch.full((3, 4), 0.25))
    for k in (1, 2, 4):
        got = path_errors(said, truth, SCENE, config=MotionErrorConfig(best_of=k))
        want = displacement(said.path.transpose(0, 1), truth, SCENE, config=DisplacementConfig(best_of=k))
        for name, other in (("min_ade", "best_ade"), ("min_fde", "best_fde"), ("miss", "miss"), ("mean_ade", "ade_of_mean"), ("expected_fde", "fde")):
            assert torch.allclose(got.agents[name], want.per_agent[other])
        assert torch.allclose(got.scenes["joint_min_ade"], want.per_scene["joint_best_ade"])
        assert torch.allclose(got.agents["brier_min_ade"] - got.agents["min_ade"], torch.full((3,), (1 - 1 / k) ** 2, dtype=torch.float64))
    assert torch.equal(got.agents["point_ade"], got.agents["mean_ade"])  # no draw is first


def test_joint_scores_are_not_below_those_that_choose_for_each_agent():
    said, truth = drawn()
    got = path_errors(said, truth, SCENE)
    ade = (said.path - truth[:, None]).norm(dim=-1).mean(-1)
    assert got.scenes["joint_min_ade"].tolist() == pytest.approx([float(ade[:2].mean(0).min()), float(ade[2].min())])
    assert float(got.scenes["joint_min_ade"][0]) >= float(got.agents["min_ade"][:2].mean())
    assert not path_errors(*(drawn(joint=False)), SCENE).scenes  # modes of single agents make no scene


def test_rounding_does_not_break_a_joint_ranking():
    said, truth = drawn(modes=2)
    nearly = torch.tensor([[0.5, 0.5], [0.5 - 1e-9, 0.5 + 1e-9], [0.4, 0.6]], dtype=torch.float64)
    got = path_errors(Hypotheses(said.path, nearly), truth, SCENE, config=MotionErrorConfig(best_of=1))
    ade = (said.path - truth[:, None]).norm(dim=-1).mean(-1)
    assert float(got.scenes["joint_min_ade"][0]) == pytest.approx(float(ade[:2, 0].mean()))


def test_hidden_frames_are_not_looked_at_and_the_last_seen_one_is_final():
    said, truth = drawn()
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[0, 3:] = False
    mask[1] = False
    bad = truth.clone()
    bad[~mask] = math.nan
    got = path_errors(said, bad, SCENE, mask).agents
    far = (said.path[0] - truth[0]).norm(dim=-1)
    assert float(got["min_ade"][0]) == pytest.approx(float(far[:, :3].mean(-1).min()))
    assert float(got["min_fde"][0]) == pytest.approx(float(far[:, 2].min()))
    assert all(math.isnan(v[1]) for v in got.values())
    last = path_errors(said, bad, SCENE, mask, MotionErrorConfig(final="last_frame")).agents
    assert math.isnan(last["min_fde"][0])
    assert not math.isnan(last["min_fde"][2])


@pytest.mark.parametrize("config", [MotionErrorConfig(), MotionErrorConfig(best_of=2, miss="nuscenes", miss_radius=1.5, brier="least")])
def test_order_of_paths_and_agents_place_and_direction_do_not_matter(config):
    said, truth = drawn()
    want = path_errors(said, truth, SCENE, config=config)
    order = torch.tensor([2, 0, 3, 1])
    agents = torch.tensor([1, 0, 2])
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    move = lambda x: x @ turn.T + torch.tensor([3.0, -7.0])  # noqa: E731
    other = Hypotheses(move(said.path[agents][:, order]), said.probability[agents][:, order])
    got = path_errors(other, move(truth[agents]), SCENE, config=config)
    for name, value in want.agents.items():
        assert torch.allclose(got.agents[name], value[agents]), name
    for name, value in want.scenes.items():
        assert torch.allclose(got.scenes[name], value), name


def test_the_box_grows_with_speed_and_time():
    assert speed_scale(torch.tensor([0.0, 1.4, 6.2, 11.0, 30.0])).tolist() == pytest.approx([0.5, 0.5, 0.75, 1.0, 1.0])
    horizon = torch.tensor([3.0, 5.0, 8.0], dtype=torch.float64)
    along = torch.tensor([1.9, 3.7, 0.0], dtype=torch.float64)
    across = torch.tensor([0.9, 0.0, 3.1], dtype=torch.float64)
    offset = torch.stack([along, across], -1)[None, None]  # [mode node horizon axis]
    assert box_miss(offset, torch.tensor([20.0]), horizon).tolist() == [[0, 1, 1]]
    assert box_miss(offset, torch.tensor([0.0]), horizon).tolist() == [[1, 1, 1]]
    both = torch.cat([offset, torch.zeros_like(offset)])
    assert box_miss(both, torch.tensor([0.0]), horizon).tolist() == [[0, 0, 0]]
    with pytest.raises(ValueError, match="no box for 4 s"):
        box_miss(offset, torch.tensor([1.0]), torch.tensor([3.0, 4.0, 8.0], dtype=torch.float64))


def forecast(**more):
    past = Trajectories(torch.zeros(3, 1, 2), torch.zeros(2, 1), SCENE)
    return Forecast(torch.randn(4, 3, 5, 2), past, torch.arange(1.0, 6.0).expand(2, 5), **more)


def test_hypotheses_of_draws_weights_and_mixtures():
    plain = hypotheses(forecast())
    assert plain.equal
    assert plain.joint(SCENE)
    assert plain.covariance is None
    assert plain.path.shape == (3, 4, 5, 2)
    weight = torch.tensor([[0.1, 0.7], [0.2, 0.1], [0.3, 0.1], [0.4, 0.1]]).log()
    weighted = hypotheses(forecast(log_weight=weight))
    assert weighted.probability[1].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert not weighted.equal
    assert weighted.probability[2].tolist() == pytest.approx([0.7, 0.1, 0.1, 0.1])
    mixture = {"logits": torch.randn(3, 6), "mean": torch.randn(3, 6, 5, 2), "covariance": torch.eye(2).expand(3, 6, 5, 2, 2)}
    found = hypotheses(forecast(mixture=mixture))
    assert found.n_modes == 6
    assert torch.allclose(found.probability, mixture["logits"].softmax(-1).double())
    assert hypotheses(forecast(mixture=mixture), "draws").n_modes == 4
    kept = found.top(2)
    assert bool((kept.probability[:, 0] >= kept.probability[:, 1]).all())
    assert kept.covariance.shape == (3, 2, 5, 2, 2)
    best = found.probability.argmax(-1)
    assert torch.equal(found.point, mixture["mean"][torch.arange(3), best].double())


def test_bad_input():
    said, truth = drawn()
    with pytest.raises(ValueError, match="with a sum of"):
        Hypotheses(said.path, torch.full((3, 4), 0.375))
    with pytest.raises(ValueError, match="not negative"):
        Hypotheses(said.path, torch.tensor([1.2, -0.2, 0, 0]).expand(3, 4))
    with pytest.raises(ValueError, match="best of 5 was asked for, and there are 4"):
        path_errors(said, truth, SCENE, config=MotionErrorConfig(best_of=5))
    with pytest.raises(ValueError, match="best of 5 was asked for"):
        path_errors(Hypotheses(said.path, torch.full((3, 4), 0.25)), truth, SCENE, config=MotionErrorConfig(best_of=5))
    with pytest.raises(ValueError, match="miss"):
        MotionErrorConfig(miss="argovers")
    with pytest.raises(ValueError, match="positive"):
        MotionErrorConfig(best_of=0)
    with pytest.raises(ValueError, match="not finite at frame 2"):
        path_errors(said, torch.where(torch.arange(5)[:, None] == 2, math.nan, truth), SCENE)
    with pytest.raises(ValueError, match="has no mixture of paths"):
        hypotheses(forecast(), "mixture")
    with pytest.raises(ValueError, match="kind of paths"):
        hypotheses(forecast(), "modes")
    with pytest.raises(ValueError, match="do not fit draws"):
        hypotheses(forecast(mixture={"logits": torch.zeros(3, 6), "mean": torch.zeros(3, 6, 4, 2), "covariance": torch.zeros(3, 6, 4, 2, 2)}))


def test_every_choice_of_draws_is_counted_once():
    said, truth = drawn()
    said = Hypotheses(said.path, torch.full((3, 4), 0.25))
    got = path_errors(said, truth, SCENE, config=MotionErrorConfig(best_of=3)).agents["min_fde"]
    fde = (said.path - truth[:, None])[:, :, -1].norm(dim=-1)
    want = torch.stack([fde[:, list(c)].amin(1) for c in itertools.combinations(range(4), 3)]).mean(0)
    assert torch.allclose(got, want)
