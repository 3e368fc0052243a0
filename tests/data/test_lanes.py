"""Maps of lanes: who is on the road, how far from a centre line, and what a damaged map is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trajlab.data.lane_geometry import between, in_polygon, lanelet, near_segments, resample
from trajlab.data.lanes import LaneMap

L_SHAPE = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 1.0], [1.0, 1.0], [1.0, 4.0], [0.0, 4.0]])


def road(**more):
    """Two lanes of 3.5 m to the east, 100 m long."""
    line = lambda y: np.array([[0.0, y], [100.0, y]])  # noqa: E731
    return LaneMap.from_lanelets({"south": (line(0.0), line(-3.5)), "north": (line(3.5), line(0.0))}, **more)


def test_points_in_a_polygon_that_is_not_convex():
    points = np.array([[0.5, 3.0], [3.0, 0.5], [3.0, 3.0], [-0.1, 0.5], [0.5, 4.1]])
    assert in_polygon(points, L_SHAPE).tolist() == [True, True, False, False, False]
    assert in_polygon(points, L_SHAPE[::-1].copy()).tolist() == [True, True, False, False, False]
    assert in_polygon(points, np.concatenate([L_SHAPE, L_SHAPE[:1]])).tolist() == [True, True, False, False, False]


def test_the_share_inside_is_the_area(monkeypatch):
    points = np.random.default_rng(0).uniform(0, 4, (40_000, 2))
    once = in_polygon(points, L_SHAPE)
    assert once.mean() == pytest.approx(7 / 16, abs=0.01)
    monkeypatch.setattr("trajlab.data.lane_geometry.BLOCK", 1000)
    assert (in_polygon(points, L_SHAPE) == once).all()


def test_a_point_on_a_shared_edge_is_in_exactly_one_polygon():
    left, right = np.array([[0.0, 0.0], [1, 0], [1, 1], [0, 1]]), np.array([[1.0, 0.0], [2, 0], [2, 1], [1, 1]])
    edge = np.stack([np.ones(9), np.linspace(0.05, 0.95, 9)], axis=1)
    assert (in_polygon(edge, left).astype(int) + in_polygon(edge, right) == 1).all()


def test_distances_to_segments_match_the_definition():
    generator = np.random.default_rng(1)
    points, start, end = generator.normal(size=(30, 2)), generator.normal(size=(7, 2)), generator.normal(size=(7, 2))
    share = np.linspace(0, 1, 20_001)[:, None]
    dense = np.stack([np.linalg.norm(points[:, None] - (a + share * (b - a)), axis=-1).min(1) for a, b in zip(start, end)], 1)
    distance, which = near_segments(points, start, end)
    np.testing.assert_allclose(distance, dense.min(1), atol=1e-4)
    assert (which == dense.argmin(1)).all()


def test_resampled_lines_keep_their_ends_and_the_middle_is_between():
    bent = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]])
    np.testing.assert_allclose(resample(bent, 5), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]])
    np.testing.assert_allclose(between(np.array([[0.0, 2.0], [4.0, 2.0]]), np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0]]))[[0, -1]], [[0, 1], [4, 1]])


@pytest.mark.parametrize("turned", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_bounds_stored_in_either_direction_make_the_same_lane(turned):
    left, right = np.array([[0.0, 2.0], [5, 2], [9, 3]]), np.array([[0.0, 0.0], [5, 0], [9, 1]])
    a, b, centre, area = lanelet(left[:: turned[0]], right[:: turned[1]])
    np.testing.assert_allclose(a, left)
    np.testing.assert_allclose(b, right)
    np.testing.assert_allclose(centre, [[0, 1], [5, 1], [9, 2]])
    assert len(area) == 6


def test_who_is_on_the_road():
    map_ = road()
    points = np.array([[[50.0, 1.0], [50.0, -3.4]], [[50.0, 3.6], [np.nan, 0.0]]])
    assert map_.inside(points).tolist() == [[True, True], [False, False]]
    near = map_.nearest([[50.0, 1.0], [120.0, -1.75]])
    np.testing.assert_allclose(near.distance, [0.75, 20.0])
    assert near.lane.tolist() == ["north", "south"]
    np.testing.assert_allclose(near.heading, 0.0)
    np.testing.assert_allclose(map_.distance_to_centre([7.0, 2.75]), 1.0)
    np.testing.assert_allclose(map_.bounds, [[0, -3.5], [100, 3.5]])


def test_a_map_goes_through_json_and_back():
    map_ = road(successors={"south": ["north"]}, neighbours={"south": ("north", "")}, types={"south": "bus"}, source={"file": "made"})
    back = LaneMap.from_dict(json.loads(json.dumps(map_.to_dict())))
    assert back.to_dict() == map_.to_dict()
    assert back.successors["south"] == ("north",)
    assert "2 centre, 2 left, 2 right, 2 drivable areas" in repr(back)


def test_what_is_near_a_point():
    map_ = road()
    far = LaneMap(polylines=[*map_.polylines, [[500.0, 0.0], [600.0, 0.0]]], kinds=[*map_.kinds, "boundary"], areas=map_.areas)
    assert len(far.near([50.0, 0.0], 30.0).polylines) == 6
    assert len(far.near([550.0, 0.0], 30.0).polylines) == 1
    assert far.of_kind("boundary")[0].shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: LaneMap(polylines=[[[0.0, 0.0]]], kinds=["centre"]), r"polylines\[0\] has shape \(1, 2\)"),
        (lambda: LaneMap(polylines=[[[0.0, 0.0], [1.0, np.nan]]], kinds=["centre"]), "not finite at point 1"),
        (lambda: LaneMap(polylines=[[[0.0, 0.0], [1.0, 0.0]]], kinds=["center"]), "centre"),
        (lambda: LaneMap(polylines=[[[0.0, 0.0], [1.0, 0.0]]], kinds=[]), "1 polylines, 0 kinds"),
        (lambda: LaneMap(areas=[[[0.0, 0.0], [1.0, 0.0]]]), "at least 3 points"),
        (lambda: LaneMap().bounds, "empty map"),
        (lambda: LaneMap().inside([0.0, 0.0]), "no drivable areas"),
        (lambda: LaneMap().nearest([0.0, 0.0]), "no centre lines"),
        (lambda: road().nearest([np.nan, 0.0]), "1 of 1 points are not finite"),
        (lambda: road().inside([0.0, 0.0, 0.0]), r"\[\.\.\. 2\] was wanted"),
        (lambda: road().near([0.0, 0.0], 0.0), "positive number of metres"),
        (lambda: road().of_kind("sidewalk"), "kind of polyline"),
        (lambda: LaneMap.from_dict({"polyline": []}), "polylines"),
    ],
)
def test_what_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
