"""Collisions by hand: at frames, between them, of draws and of the truth."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.metrics.collisions import collision_rate, collisions, nearest_approach
from trajlab.metrics.forecasts import pairs_within
from trajlab.types import Forecast, Trajectories

SCENE = torch.tensor([0, 0, 0, 1, 2, 2])


def crossing():
    """Scene 0: two that cross half way between frames at right angles, and one far away; scene 1: alone; scene 2: two side by side, 0.5 apart."""
    x = torch.zeros(6, 2, 2, dtype=torch.float64)
    x[0] = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    x[1] = torch.tensor([[0.0, -1.0], [0.0, 1.0]])
    x[2] = 50.0
    x[4], x[5] = torch.tensor([[3.0, 0.0], [4.0, 0.0]]), torch.tensor([[3.0, 0.5], [4.0, 0.5]])
    return x


def test_pairs_within():
    assert pairs_within(SCENE).T.tolist() == [[0, 1], [0, 2], [1, 2], [4, 5]]
    assert pairs_within(torch.zeros(0, dtype=torch.long)).shape == (2, 0)


def test_nearest_approach():
    pair = torch.tensor([[0, 4], [1, 5]])
    assert nearest_approach(crossing(), pair).tolist() == pytest.approx([math.sqrt(2), 0.5])
    assert nearest_approach(crossing(), pair, between=True).tolist() == pytest.approx([0.0, 0.5])


def test_by_hand():
    assert collision_rate(crossing(), SCENE, 1.0).tolist() == [0, 0, 1]
    assert collision_rate(crossing(), SCENE, 0.5).tolist() == [0, 0, 0]  # strictly closer
    assert collision_rate(crossing(), SCENE, 1.0, between=True).tolist() == pytest.approx([2 / 3, 0, 1])


def test_fine_frames_agree_with_the_closest_approach_between():
    coarse = torch.randn(12, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = torch.linspace(0, 1, 400, dtype=torch.float64)[:-1, None]
    fine = (coarse[:, :-1, None] + share * coarse.diff(dim=1)[:, :, None]).flatten(1, 2)
    pairs = pairs_within(torch.arange(12) // 4)
    assert torch.allclose(nearest_approach(coarse, pairs, between=True), nearest_approach(fine, pairs), atol=2e-2)
    assert bool((nearest_approach(coarse, pairs, between=True) <= nearest_approach(coarse, pairs)).all())


def test_hidden_entries_turning_and_reordering_change_nothing():
    x, mask = crossing(), torch.ones(6, 2, dtype=torch.bool)
    mask[5, 0], mask[2] = False, False
    x[2], x[5, 0] = math.nan, x[4, 0]
    assert collision_rate(x, SCENE, 0.6, mask).tolist() == [0, 0, 1]
    assert collision_rate(x, SCENE, 0.4, mask, between=True).tolist() == [1, 0, 0]  # of the two that are seen; the segment of 5 is not
    gone = mask.clone()
    gone[5], gone[5, 0] = False, True
    assert collision_rate(torch.where(gone[..., None], crossing(), x), SCENE, 0.4, gone, between=True).tolist() == [1, 0, 0]
    mask[3] = False
    assert collision_rate(x, SCENE, 0.6, mask)[1].isnan()
    y = torch.randn(6, 5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(2, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    assert torch.equal(collision_rate(y, SCENE, 0.7), collision_rate(y[[2, 0, 1, 3, 5, 4]] @ turn, SCENE, 0.7))
    assert 0 < float(collision_rate(y, SCENE, 0.7).mean()) < 1


def test_of_a_forecast_beside_the_truth():
    time = torch.arange(3.0).expand(3, -1).double()
    whole = Trajectories(x=torch.cat([crossing()[:, :1], crossing()], 1), time=time, scene=SCENE)
    apart = crossing()
    apart[5] += 9.0
    answer = Forecast(draws=torch.stack([crossing(), apart]), past=whole.frames([0]), time=time[:, 1:])
    rates = collisions(answer, whole, 1.0)
    assert rates.draws.tolist() == pytest.approx([0, 0, 0.5])
    assert rates.truth.tolist() == [0, 0, 1]
    assert rates.table() == pytest.approx({"collisions": 1 / 6, "collisions of the truth": 1 / 3})


def test_bad_input():
    with pytest.raises(ValueError, match="radius=0"):
        collision_rate(crossing(), SCENE, 0.0)
    time = torch.arange(3.0).expand(1, -1).double()
    box = Trajectories(x=torch.zeros(1, 3, 3), time=time, scene=torch.tensor([0]), cell=torch.eye(3)[None])
    answer = Forecast(draws=torch.zeros(1, 1, 2, 3), past=box.frames([0]), time=time[:, 1:])
    with pytest.raises(ValueError, match="periodic cell"):
        collisions(answer, box, 1.0)
