"""Displacement errors by hand, and what must not change them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from trajlab.metrics.displacement import DisplacementConfig, displacement, displacement_of
from trajlab.metrics.forecasts import by_agent, by_scene
from trajlab.metrics.kmeans_draws import kmeans_draws
from trajlab.types import Forecast, Trajectories

SCENE = torch.tensor([0, 0, 1, 2, 2, 2])


def drawn(draws=7, frames=4, dim=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(len(SCENE), frames, dim, generator=generator, dtype=torch.float64)
    return truth + torch.randn(draws, len(SCENE), frames, dim, generator=generator, dtype=torch.float64), truth


def by_hand():
    """Two draws of two agents of one scene over two frames, off along one axis by these distances."""
    off = torch.tensor([[[1.0, 3.0], [4.0, 0.0]], [[-3.0, -1.0], [2.0, 6.0]]])  # [draw node time]
    truth = torch.randn(2, 2, 2, generator=torch.Generator().manual_seed(1))
    return truth + torch.stack([off, torch.zeros_like(off)], -1), truth, torch.zeros(2, dtype=torch.long)


def test_by_hand():
    score = displacement(*by_hand(), config=DisplacementConfig(miss_radius=0.5))
    want = {
        "ade": (2 + 2 + 2 + 4) / 4, "fde": (3 + 0 + 1 + 6) / 4, "ade_of_mean": (1 + 1 + 3 + 3) / 4, "fde_of_mean": (1 + 3) / 2,
        "ade_of_median": (1 + 1 + 3 + 3) / 4, "fde_of_median": (1 + 3) / 2,  # of two draws every point between them is one
        "best_ade": (2 + 2) / 2, "best_fde": (1 + 0) / 2, "miss": 0.5, "joint_best_ade": 2.0, "joint_best_fde": 1.5, "joint_miss": 1.0,
    }
    assert score.table() == pytest.approx(want, abs=1e-6)
    assert score.per_agent["ade"].tolist() == pytest.approx([2.0, 3.0])
    assert (score.best_of, score.mean("ade", by="agent")) == (2, pytest.approx(2.5))


def test_average_and_final_of_one_draw_can_be_chosen_together():
    draws, truth, scene = by_hand()
    score = displacement(draws, truth, scene, config=DisplacementConfig(select="fde"))
    assert score.per_agent["best_ade"].tolist() == pytest.approx([2.0, 2.0])
    far = torch.tensor([[[5.0, 0.0]], [[1.0, 1.0]]])[..., None]  # the draw that ends best is not the one that is best on average
    pick = {}
    for select in ("independent", "fde"):
        pick[select] = displacement(far, torch.zeros(1, 2, 1), scene[:1], config=DisplacementConfig(select=select)).mean("best_ade")
    assert pick == {"independent": 1.0, "fde": 2.5}


def test_best_of_k_is_the_mean_over_all_choices():
    draws, truth = drawn()
    for k in (1, 3, 7):
        score = displacement(draws, truth, SCENE, config=DisplacementConfig(best_of=k, miss_radius=1.0))
        each = [displacement(draws[list(c)], truth, SCENE, config=DisplacementConfig(miss_radius=1.0)) for c in itertools.combinations(range(7), k)]
        for name in ("best_ade", "best_fde", "miss", "joint_best_ade", "joint_best_fde", "joint_miss"):
            assert score.mean(name) == pytest.approx(sum(e.mean(name) for e in each) / len(each)), name


def test_best_of_k_falls_with_k_and_joint_is_never_below():
    draws, truth = drawn(20)
    scores = [displacement(draws, truth, SCENE, config=DisplacementConfig(best_of=k)).table() for k in (1, 2, 5, 20)]
    for name in ("best_ade", "best_fde", "joint_best_ade", "joint_best_fde"):
        values = [s[name] for s in scores]
        assert values == sorted(values, reverse=True)
        assert values[-1] < 0.9 * values[0]
    assert all(s["joint_best_ade"] >= s["best_ade"] and s["joint_best_fde"] >= s["best_fde"] for s in scores)
    assert scores[0]["best_ade"] == pytest.approx(scores[0]["ade"])


def test_the_first_k_of_ranked_draws():
    draws, truth = drawn()
    score = displacement(draws, truth, SCENE, config=DisplacementConfig(best_of=2, choice="first"))
    assert score.mean("best_ade") == pytest.approx(displacement(draws[:2], truth, SCENE).mean("best_ade"))


def test_identical_draws_are_one_forecast():
    draws, truth = drawn(1)
    score = displacement(draws.expand(9, -1, -1, -1), truth, SCENE, config=DisplacementConfig(best_of=4)).table()
    for name in ("ade_of_mean", "best_ade", "joint_best_ade"):
        assert score[name] == pytest.approx(score["ade"])
    assert score["best_fde"] == pytest.approx(score["fde"])


def test_hidden_entries_change_nothing():
    draws, truth = drawn()
    mask = torch.ones(truth.shape[:2], dtype=torch.bool)
    mask[0, 2:], mask[4] = False, False
    wild_draws, wild_truth = draws.clone(), truth.clone()
    wild_draws[:, ~mask], wild_truth[~mask] = math.nan, 1e9
    score = displacement(wild_draws, wild_truth, SCENE, mask)
    cut = displacement(draws[:, :, :2], truth[:, :2], SCENE)
    rest = torch.tensor([1, 2, 3, 5])
    whole = displacement(draws, truth, SCENE)
    for name, value in score.per_agent.items():
        assert value[0] == pytest.approx(float(cut.per_agent[name][0])), name  # final error: where it was last seen
        assert value[4].isnan()
        assert torch.allclose(value[rest], whole.per_agent[name][rest])
    without = displacement(draws[:, [3, 5]], truth[[3, 5]], SCENE[[0, 1]])
    assert score.per_scene["joint_best_ade"][2] == pytest.approx(without.mean("joint_best_ade"))
    strict = displacement(wild_draws, wild_truth, SCENE, mask, DisplacementConfig(final="last_frame"))
    assert strict.per_agent["fde"][0].isnan()
    assert strict.per_agent["miss"][0].isnan()
    assert strict.per_scene["fde"][0] == pytest.approx(float(whole.per_agent["fde"][1]))


def test_focal_agents_only():
    draws, truth = drawn()
    focal = displacement(draws, truth, SCENE, config=DisplacementConfig(agents="first"))
    whole = displacement(draws, truth, SCENE)
    assert torch.allclose(focal.per_scene["ade"], whole.per_agent["ade"][[0, 2, 3]])
    assert torch.allclose(focal.per_scene["joint_best_ade"], focal.per_scene["best_ade"])


def test_turning_and_reordering():
    draws, truth = drawn()
    turn = torch.linalg.qr(torch.randn(2, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    order = torch.tensor([1, 0, 2, 5, 3, 4])
    one, two = displacement(draws, truth, SCENE), displacement((draws @ turn + 3)[:, order], (truth @ turn + 3)[order], SCENE)
    assert one.table() == pytest.approx(two.table())


def forecast(stop=False, **changes):
    draws, truth = drawn(3)
    time = torch.arange(6.0).expand(3, -1).double()
    whole = Trajectories(x=torch.cat([torch.zeros(6, 2, 2).double(), truth], 1), time=time, scene=SCENE)
    there = torch.ones(3, 6, 4, dtype=torch.bool)
    there[1, 2, 3:] = not stop
    answer = Forecast(draws=draws, past=whole.frames(slice(0, 2)), time=time[:, 2:], mask=there, stopped=("", "blew up", "") if stop else ())
    return answer.replace(**changes), whole, displacement(draws, truth, SCENE)


def test_of_a_forecast_and_the_whole_window():
    answer, whole, want = forecast()
    assert displacement_of(answer, whole).table() == want.table()
    assert displacement_of(answer, whole.frames(slice(2, 6))).table() == want.table()


def test_a_forecast_that_stopped_is_refused_unless_asked_for():
    answer, whole, want = forecast(stop=True)
    with pytest.raises(ValueError, match=r"no value for node 2 at frame 3.*blew up"):
        displacement_of(answer, whole)
    score = displacement_of(answer, whole, stopped="skip")
    assert torch.allclose(score.per_scene["ade"][[0, 2]], want.per_scene["ade"][[0, 2]])
    draws, truth = drawn(3)
    assert score.per_agent["ade"][2] == pytest.approx(float((draws - truth)[:, 2, :3].norm(dim=-1).mean()))


def test_means_over_frames_and_agents():
    value = torch.tensor([[1.0, 3.0, math.nan], [math.nan, math.nan, math.nan], [5.0, 6.0, 7.0]])
    agents = by_agent(value, torch.tensor([[True, True, False], [False] * 3, [True] * 3]))
    assert agents.nan_to_num(-1).tolist() == [2, -1, 6]
    assert by_scene(agents, torch.tensor([0, 0, 1]), 3).nan_to_num(-1).tolist() == [2, 6, -1]


def test_forecasts_that_do_not_fit_are_told_why():
    answer, whole, _ = forecast()
    with pytest.raises(ValueError, match=r"6 nodes in 3 scenes.*3 in 2"):
        displacement_of(answer, whole.scenes([0, 1]))
    with pytest.raises(ValueError, match="not among the 4 of the truth"):
        displacement_of(answer, whole.frames(slice(0, 4)))
    with pytest.raises(ValueError, match="weighted unevenly"):
        displacement_of(answer.replace(log_weight=torch.tensor([[0.0] * 3, [1.0] * 3, [0.0] * 3])), whole)


def test_bad_input():
    draws, truth = drawn()
    with pytest.raises(ValueError, match=r"truth\(5, 4, 2\)"):
        displacement(draws, truth[:5], SCENE)
    with pytest.raises(ValueError, match="best of 9 was asked for, and there are 7 draws"):
        displacement(draws, truth, SCENE, config=DisplacementConfig(best_of=9))
    with pytest.raises(ValueError, match="a sorted scene"):
        displacement(draws, truth, SCENE.flip(0))
    with pytest.raises(ValueError, match="mask"):
        displacement(draws, truth, SCENE, torch.ones(6, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"draws\[2, 1, 0, 0\] is not finite"):
        displacement(draws.clone().index_put_((torch.tensor(2), torch.tensor(1), torch.tensor(0), torch.tensor(0)), torch.tensor(math.inf).double()),
                     truth, SCENE)
    with pytest.raises(ValueError, match="did you mean 'best_ade'"):
        displacement(draws, truth, SCENE).mean("bestade")
    with pytest.raises(ValueError, match="must be positive"):
        DisplacementConfig(best_of=0)


def modes(nodes=3, seed=0):
    """60 draws that end at three far places, very unevenly."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.tensor([0] * 50 + [1] * 7 + [2] * 3)[torch.randperm(60, generator=generator)]
    place = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    ends = place[which][:, None] + 0.1 * torch.randn(60, nodes, 2, generator=generator)
    return torch.linspace(0.25, 1, 4)[:, None] * ends[:, :, None], place


def test_kmeans_keeps_a_draw_of_every_mode():
    draws, place = modes()
    kept = kmeans_draws(draws, 3)
    assert kept.shape == (3, 3, 4, 2)
    assert float(torch.cdist(place, kept[:, :, -1].transpose(0, 1)).amin(-1).max()) < 0.4
    rows = (draws[:, None] == kept[None]).flatten(3).all(-1)  # [draw cluster node]: each is one of the draws
    assert bool(rows.any(0).all())


def test_kmeans_of_an_agent_does_not_depend_on_the_others_and_is_seeded():
    draws, truth = drawn(30)
    both = kmeans_draws(draws, 8)
    assert torch.equal(both[:, 3:4], kmeans_draws(draws[:, 3:4], 8))
    assert torch.equal(both, kmeans_draws(draws, 8, generator=torch.Generator().manual_seed(0)))
    best = displacement(draws, truth, SCENE).mean("best_fde")
    assert displacement(both, truth, SCENE).mean("best_fde") >= best
    assert displacement(kmeans_draws(draws, 30), truth, SCENE).mean("best_fde") == pytest.approx(best)


def test_kmeans_looks_at_the_last_seen_frame_and_survives_identical_draws():
    draws, place = modes()
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 3] = False
    wild = draws.clone()
    wild[:, 1, 3] = math.nan
    kept = kmeans_draws(wild, 3, mask=mask)
    assert float(torch.cdist(0.75 * place, kept[:, 1, 2]).amin(-1).max()) < 0.4
    assert bool((kmeans_draws(draws[:1].expand(25, -1, -1, -1), 20) == draws[0]).all())
    with pytest.raises(ValueError, match="20 clusters of 7 draws"):
        kmeans_draws(draws[:7])


def test_the_median_forecast_is_not_the_mean():
    far = torch.tensor([0.0, 0.0, 9.0])[:, None, None, None] * torch.tensor([1.0, 0.0])  # [draw node time dim]: two draws are right, one is 9 off
    table = displacement(far.expand(3, 1, 4, 2), torch.zeros(1, 4, 2), SCENE[:1]).table()
    assert (table["ade_of_mean"], table["fde_of_mean"]) == pytest.approx((3.0, 3.0))
    assert (table["ade_of_median"], table["fde_of_median"]) == pytest.approx((0.0, 0.0), abs=1e-3)
