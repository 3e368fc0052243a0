"""Pictures of motion and of plumes: what is drawn, in the page's colours, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from trajlab.evaluate.motion_results import MotionProfile, MotionScene, PlumeMap
from trajlab.evaluate.results import Evaluation
from trajlab.report import motion_pictures as pictures
from trajlab.report.page import report
from trajlab.report.plume_pictures import plume_map, shown_hours


def scene(**changes) -> MotionScene:
    """Two vehicles that drive along x for 2 s, one of them with two modes."""
    ahead = np.arange(1, 21) * 0.1
    path = np.stack([10 * ahead, np.zeros(20)], -1)
    paths = np.stack([np.stack([path, path + [0, 1] * ahead[:, None]]), np.stack([path + [0, 4], path + [0, 4]])])
    covariance = np.zeros((2, 2, 20, 2, 2))
    covariance[..., 0, 0], covariance[..., 1, 1] = (2 * ahead) ** 2, (0.5 * ahead) ** 2
    past = np.stack([np.stack([np.linspace(-10, 0, 11), np.full(11, y)], -1) for y in (0.0, 4.0)])
    times = np.concatenate([np.arange(-10, 1) * 0.1, ahead])[1:-1]
    profile = MotionProfile("acceleration, m/s²", times, np.zeros(len(times)), np.full(len(times), 12.0), 10.4)
    made = MotionScene("Two cars", past, paths, np.array([[0.8, 0.2], [1.0, 0.0]]), ahead, covariance, paths[:, 0] + 0.1, np.zeros(2),
                       np.array([[4.5, 1.8], [np.nan, np.nan]]), np.array([True, True]),
                       {"centre": [np.array([[-20.0, 0.0], [40.0, 0.0]])]}, [np.array([[-20.0, -2], [40, -2], [40, 2], [-20, 2]])], [profile])
    return replace(made, **changes)


def axes(width=6.2, height=4.0):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height)).add_axes((0, 0, 1, 1))


def patches(ax, kind):
    return [p for p in ax.patches if type(p).__name__ == kind]


def test_ellipses_hold_one_and_two_standard_deviations_at_each_second():
    ax = axes()
    pictures.forecast_map(ax, scene(focal=np.array([True, False])))
    drawn = [e for e in patches(ax, "Ellipse") if not e.get_fill()]
    assert len(drawn) == 2 * 2 * 2  # two modes, two seconds, one and two standard deviations
    last = [e for e in drawn if e.center == (20.0, 0.0)]
    assert sorted(round(e.width, 6) for e in last) == [2 * 4.0, 4 * 4.0]
    assert sorted(round(e.height, 6) for e in last) == [2 * 1.0, 4 * 1.0]
    assert all(abs(np.sin(np.radians(e.angle))) < 1e-9 for e in last)


def test_ellipses_turn_with_their_covariance():
    turned = scene()
    a = np.pi / 6
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    ax = axes()
    pictures.forecast_map(ax, replace(turned, covariance=turn @ turned.covariance @ turn.T))
    angles = {round(e.angle % 180, 6) for e in patches(ax, "Ellipse")}
    assert angles == {30.0}


def test_modes_are_as_opaque_as_they_are_likely_and_unlikely_ones_are_left_out():
    ax = axes()
    pictures.forecast_map(ax, scene(focal=np.array([True, False])))
    colour = pictures.COLOURS["forecast"]
    paths = [line for line in ax.lines if line.get_color() == colour and len(line.get_xdata()) == 21]
    assert sorted(line.get_alpha() for line in paths) == pytest.approx([0.36, 0.84])
    ax = axes()
    pictures.forecast_map(ax, scene(probability=np.array([[1.0, 0.0], [1.0, 0.0]])))
    assert len([line for line in ax.lines if line.get_color() == colour and len(line.get_xdata()) == 21]) == 2


def test_the_map_has_equal_aspect_and_holds_everything_and_boxes_turn_with_headings():
    ax = axes()
    pictures.forecast_map(ax, scene(heading=np.array([np.pi / 2, 0.0])))
    assert ax.get_aspect() == 1.0
    box = ax.get_window_extent()
    assert np.ptp(ax.get_xlim()) / box.width == pytest.approx(np.ptp(ax.get_ylim()) / box.height)
    assert ax.get_xlim()[0] < -10
    assert ax.get_xlim()[1] > 20
    corners = patches(ax, "Polygon")[0].get_xy()
    assert np.ptp(corners[:, 0]) == pytest.approx(1.8)
    assert np.ptp(corners[:, 1]) == pytest.approx(4.5)


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_the_scale_is_as_long_as_it_says(unit):
    ax = axes()
    ax.set_xlim(3, 3 + 73 * unit)
    pictures.scale_bar(ax, "black", factor=unit)
    bar = ax.lines[-1].get_xdata()
    assert bar[1] - bar[0] == pytest.approx(20 * unit)
    assert ax.texts[-1].get_text() == "20 m"


def test_whole_seconds():
    assert pictures.seconds(np.arange(1, 31) * 0.1) == [9, 19, 29]
    assert pictures.seconds(np.arange(1, 13) * 0.4) == [1, 4, 6, 9]  # 0.8 (as near as 1.2), 2.0, 2.8, 4.0
    assert pictures.seconds(np.array([0.1, 0.2])) == [1]
    assert len(pictures.seconds(np.arange(1, 601) * 0.1)) == 10


def test_profiles_shade_what_no_vehicle_does():
    ax = axes()
    one = scene().profiles[0]
    pictures.profile(ax, one)
    low, high = ax.get_ylim()
    assert high == pytest.approx(15.0)
    assert low == -high
    assert len(ax.patches) == 2
    ax = axes()
    pictures.profile(ax, replace(one, truth=0.1 * one.truth))
    assert ax.get_ylim()[1] < 10.4  # the limit is far away, and not in sight


def test_a_card_takes_the_colours_of_the_page_and_is_the_same_twice():
    text = pictures.motion_cards([scene(), scene(covariance=None, title="Draws & <co>")])
    assert text.count("<svg") == 2
    assert "Draws &amp; &lt;co&gt;" in text
    assert "var(--c1)" in text
    assert "var(--stage)" in text
    assert "1 and 2 std" in text
    assert not re.search(r"#0[1-3]0[1-3]0[1-3]|#0\d0a0b|#0e0d0c", text)
    assert text == pictures.motion_cards([scene(), scene(covariance=None, title="Draws & <co>")])


def test_hidden_frames_and_unknown_futures_are_drawn():
    one = scene()
    past, truth = one.past.copy(), one.truth.copy()
    past[1, :4], truth[0, 5:] = np.nan, np.nan
    assert "<svg" in pictures.motion_svg(scene(past=past, truth=truth))
    assert "what came" not in pictures.motion_svg(scene(truth=None, heading=None, size=None, focal=None, profiles=()))


@pytest.mark.parametrize(("changes", "word"), [
    ({"probability": np.ones((2, 3))}, "probability"), ({"covariance": np.ones((2, 2, 20, 2))}, "covariance"),
    ({"truth": np.zeros((1, 20, 2))}, "truth"), ({"past": np.full((2, 11, 2), np.nan)}, "past"), ({"paths": np.zeros((2, 20, 2))}, "paths"),
])
def test_shapes_that_do_not_fit_are_refused(changes, word):
    with pytest.raises(ValueError, match=word):
        pictures.motion_svg(scene(**changes))


def plume(**changes) -> PlumeMap:
    lat, lon = np.meshgrid(np.linspace(39, 41, 9), np.linspace(115, 117, 7), indexing="ij")
    amount = np.zeros((5, 9, 7))
    amount[:, 2, 3] = np.arange(5.0)
    made = PlumeMap("A plume", lon, lat, amount, np.array([115.5, 116.5]), np.array([39.5, 40.5]), np.full((5, 2, 2), (3.0, 0.0)), ("West", "East"),
                    (116.0, 39.5))
    return replace(made, **changes)


def test_plumes_lie_where_they_are():
    ax = axes()
    arrows = plume_map(ax, plume(), 4, 4.0, names=True)
    image = ax.images[0]
    left, right, bottom, top = image.get_extent()
    row, column = np.unravel_index(np.asarray(image.get_array())[..., 3].argmax(), (9, 7))
    assert left + (column + 0.5) * (right - left) / 7 == pytest.approx(116.0)
    assert bottom + (row + 0.5) * (top - bottom) / 9 == pytest.approx(39.5)
    assert (arrows.U > 0).all()
    assert not arrows.V.any()
    assert {t.get_text() for t in ax.texts} == {"West", "East"}
    assert ax.get_aspect() == pytest.approx(1 / np.cos(np.radians(40.0)))


def test_plumes_of_rasters_from_north_to_south_are_turned():
    one = plume()
    turned = plume(lon=one.lon[::-1], lat=one.lat[::-1], amount=one.amount[:, ::-1])
    first, second = axes(), axes()
    plume_map(first, one, 4, 4.0)
    plume_map(second, turned, 4, 4.0)
    assert np.array_equal(first.images[0].get_array(), second.images[0].get_array())


def test_hours_and_wrong_plumes():
    assert shown_hours(plume()) == [1, 2, 3, 4]
    assert shown_hours(plume(hours=(2,))) == [2]
    assert shown_hours(plume(amount=np.ones((1, 9, 7)), station_wind=np.ones((1, 2, 2)))) == [0]
    with pytest.raises(ValueError, match="station_wind"):
        pictures.plume_cards([plume(station_wind=np.ones((5, 3, 2)))])
    with pytest.raises(ValueError, match="no hour 9"):
        plume_map(axes(), plume(), 9, 1.0)


def test_a_page_holds_both_and_comes_back_from_disk(tmp_path):
    evaluation = Evaluation("Motion", motion=[scene()], plumes=[plume()])
    page = report(evaluation).html
    assert 'id="motion"' in page
    assert 'id="plumes"' in page
    evaluation.save(tmp_path)
    assert report(Evaluation.load(tmp_path)).html == page
