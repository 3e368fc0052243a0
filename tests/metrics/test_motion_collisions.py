"""Boxes, points and roads by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trajlab.data.lanes import LaneMap
from trajlab.metrics.collisions import collision_rate, nearest_approach, struck
from trajlab.metrics.motion_boxes import box_collisions, boxes_overlap
from trajlab.metrics.motion_collisions import Bodies, Futures, future_collisions, off_road

CAR = (4.0, 2.0)


def overlap(two, heading=(0.0, 0.0), one=(0.0, 0.0), size=(CAR, CAR)):
    as_tensor = lambda value: torch.tensor(value, dtype=torch.float64)  # noqa: E731
    return bool(boxes_overlap(as_tensor([one, two]), as_tensor(heading), as_tensor(size)))


def test_boxes_by_hand():
    assert overlap((3.9, 1.9))
    assert not overlap((4.0, 0.0))
    assert not overlap((0.0, 2.0))
    assert overlap((2.9, 0.0), (0.0, math.pi / 2))
    assert not overlap((3.01, 0.0), (0.0, math.pi / 2))
    assert not overlap((3.0, 3.0), (0.0, math.pi / 4))  # apart only along the diagonal: the axes of the first box alone would say that they meet
    assert overlap((2.5, 2.0), (0.0, math.pi / 4))
    assert overlap((0.1, 0.1), (0.3, 1.1), size=(CAR, (0.5, 0.2)))  # one inside the other


def test_boxes_agree_with_points_inside():
    """Where some point of a fine grid over one box lies in the other they overlap; where none does, smaller boxes don't."""
    g = torch.Generator().manual_seed(0)
    rand = lambda *shape: torch.rand(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    centre, heading, size = 6 * rand(300, 2, 2), 6 * rand(300, 2), 0.5 + 3 * rand(300, 2, 2)
    share = torch.stack(torch.meshgrid(*[torch.linspace(-0.5, 0.5, 61, dtype=torch.float64)] * 2, indexing="ij"), -1).flatten(0, 1)

    def turned(points, angle):
        c, s = angle.cos()[:, None], angle.sin()[:, None]
        return torch.stack([c * points[..., 0] - s * points[..., 1], s * points[..., 0] + c * points[..., 1]], -1)

    points = turned(share * size[:, :1], heading[:, 0]) + centre[:, :1]
    local = turned(points - centre[:, 1:], -heading[:, 1])
    inside = (local.abs() < size[:, 1:] / 2).all(-1).any(-1)
    found = boxes_overlap(centre, heading, size)
    assert 50 < int(inside.sum()) < 250
    assert bool((found | ~inside).all())
    assert not bool((boxes_overlap(centre, heading, size - 0.1) & ~inside).any())


def test_boxes_do_not_depend_on_order_or_frame():
    g = torch.Generator().manual_seed(0)
    rand = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    centre, heading, size = 2 * rand(300, 2, 2), rand(300, 2) * 3, rand(300, 2, 2).abs() + 0.5
    want = boxes_overlap(centre, heading, size)
    assert 50 < int(want.sum()) < 250
    assert torch.equal(boxes_overlap(centre.flip(1), heading.flip(1), size.flip(1)), want)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert torch.equal(boxes_overlap(centre @ turn.T + 9, heading + math.atan2(0.8, 0.6), size), want)
    assert torch.equal(boxes_overlap(centre, heading + math.pi, size), want)


def side_by_side():
    """Scene 0: two cars 1.9 m beside each other, and one far away; scene 1: one where the first of scene 0 is."""
    x = torch.zeros(4, 2, 2, dtype=torch.float64)
    x[1, :, 1], x[2] = 1.9, 50.0
    return x, torch.zeros(4, 2, dtype=torch.float64), torch.tensor([CAR] * 4, dtype=torch.float64), torch.tensor([0, 0, 0, 1])


def test_agents_collide_within_their_scene_where_both_are_seen():
    x, heading, size, scene = side_by_side()
    mask = torch.ones(4, 2, dtype=torch.bool)
    assert box_collisions(x, heading, size, scene, mask).tolist() == [True, True, False, False]
    mask[0, 0], mask[1, 1] = False, False
    assert not box_collisions(x, heading, size, scene, mask).any()
    others = x.clone()
    others[2] = 0.5
    assert box_collisions(x, heading, size, scene, torch.ones_like(mask), (others, heading)).tolist() == [True, True, False, False]
    others[1] = 30.0
    assert box_collisions(x, heading, size, scene, torch.ones_like(mask), (others, heading)).tolist() == [True, True, False, False]
    others[0], others[2] = 30.0, 30.0
    assert not box_collisions(x, heading, size, scene, torch.ones_like(mask), (others, heading)).any()  # none hits the ghost of itself
    with pytest.raises(ValueError, match="node 0 has length and width"):
        box_collisions(x, heading, 0 * size, scene, mask)


def test_points_at_steps_midpoints_and_between():
    """Two cross at a quarter of the way between frames: they are 1 m apart half way, and meet there only if looked at closely."""
    x = torch.tensor([[[-1.0, 0.0], [3.0, 0.0]], [[0.0, -1.0], [0.0, 3.0]]], dtype=torch.float64)
    pair, scene = torch.tensor([[0], [1]]), torch.zeros(2, dtype=torch.long)
    assert [float(nearest_approach(x, pair, between=b)) for b in (False, "midpoints", True)] == pytest.approx([2**0.5, 2**0.5, 0.0])
    half = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]], [[0.0, -1.0], [0.0, 1.0]]], dtype=torch.float64)
    assert collision_rate(half, scene, 0.2, between="midpoints").tolist() == [1.0]
    assert collision_rate(half, scene, 0.2).tolist() == [0.0]
    assert struck(half, scene, 0.2, None, "midpoints", half + 10).tolist() == [0, 0]
    assert struck(half, scene, 0.2, None, "midpoints", half.flip(0)).tolist() == [1, 1]  # where this one is, the other went
    with pytest.raises(ValueError, match="midpoints"):
        nearest_approach(x, pair, between="middle")


def futures(size=True):
    x, heading, sizes, scene = side_by_side()
    apart = x.clone()
    apart[1, :, 1] = 3.0
    forward = torch.tensor([-1.0, 0.0], dtype=torch.float64)
    return Futures(torch.stack([x, apart]), apart, scene, torch.ones(4, 2, dtype=torch.bool), heading, apart[:, 0] + forward,
                   torch.zeros(4, dtype=torch.float64), sizes if size else None)


def test_draws_with_each_other_and_with_the_truth():
    found = future_collisions(futures())
    assert found["collision"].tolist() == [0.5, 0.5, 0, 0]
    assert found["collision_with_truth"].tolist() == [0, 0.5, 0, 0]  # the second of the first draw comes too close to the first as it went
    assert found["collision_of_truth"].tolist() == [0, 0, 0, 0]
    points = future_collisions(futures(size=False), Bodies(radius=2.0))
    assert points["collision"].tolist() == [0.5, 0.5, 0, 0]
    assert points["collision_with_truth"].tolist() == [0, 0.5, 0, 0]
    assert future_collisions(futures(), Bodies("points", radius=1.0))["collision"].tolist() == [0, 0, 0, 0]
    assert future_collisions(futures(), Bodies("none")) == {}
    with pytest.raises(ValueError, match="static"):
        future_collisions(futures(size=False), Bodies("boxes"))
    with pytest.raises(ValueError, match="shape of agents"):
        Bodies("box")


def test_off_the_road():
    lanes = LaneMap(areas=[np.array([[0.5, -2.0], [10.0, -2.0], [10.0, 2.0], [0.5, 2.0]])])
    path = torch.tensor([[[[1.0, 0.0], [5.0, 0.0], [9.0, 3.0]]], [[[1.0, 1.0], [5.0, 1.0], [9.0, 1.0]]]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    share, leaves = off_road(path, mask, lanes)
    assert share.tolist() == pytest.approx([1 / 6])
    assert leaves.tolist() == [0.5]
    mask[0, 2] = False
    assert off_road(path, mask, lanes)[1].tolist() == [0.0]
    assert math.isnan(off_road(path, mask & False, lanes)[0])
    with pytest.raises(TypeError, match="LaneMap was wanted"):
        off_road(path, mask, [1])
