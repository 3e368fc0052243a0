"""Pictures of populations: what is drawn where, the same bytes twice, and words for what cannot be drawn."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.report.snapshot_pictures import MOST, fate_map, picture, scatter_by_time, stream_grid, streamlines, trends

pytest.importorskip("matplotlib")


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (1500, 3))


def test_a_rotation_is_seen(cells):
    turn = np.stack([-cells[:, 1], cells[:, 0]], 1)
    one, two, field = stream_grid(cells[:, :2], turn)
    inner = (np.abs(one) < 0.8)[:, None] & (np.abs(two) < 0.8)
    want = np.stack(np.broadcast_arrays(-two[None, :], one[:, None]), -1)
    assert np.abs(field - want)[inner].max() < 0.1
    far = stream_grid(np.r_[cells[:, :2], [[9.0, 9.0]]], np.r_[turn, [[0.0, 0.0]]])[2]
    assert np.isnan(far[:, -5]).all()
    assert np.isfinite(far).any()


def test_cells_without_velocity_are_passed_over(cells):
    v = np.ones((1500, 2))
    v[::3] = np.nan
    field = stream_grid(cells[:, :2], v)[2]
    assert np.allclose(field[np.isfinite(field)], 1)
    with pytest.raises(ValueError, match="no cell has a velocity"):
        stream_grid(cells[:, :2], v * np.nan)


def panels(x):
    p = np.clip(np.stack([x[:, 0], -x[:, 0]], 1) / 2 + 0.5, 0, 1)
    t = np.linspace(0, 1, 20)
    return [
        lambda ax: scatter_by_time(ax, x, x[:, 0], unit="day", names=("PC1", "PC2"), paths=x[:40].reshape(4, 10, 3)),
        lambda ax: streamlines(ax, x, -x, x[:, 0]), lambda ax: fate_map(ax, x, p, ["left", "right"]),
        lambda ax: trends(ax, {"left": (t, t**2, 0.1 * t), "right": (t, -t, None)}, unit="day", title="Gata1"),
    ]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_same_bytes_twice(cells, tmp_path, ending):
    files = [tmp_path / f"{k}.{ending}" for k in "ab"]
    for file in files:
        figure = picture(file, panels(cells[:300]))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(files[0].read_bytes()) > 5000
    assert not list(tmp_path.glob("*.tmp*"))
    titles = [ax.get_title() for ax in figure.axes]
    assert {"Cells by time", "Velocity", "Fates", "Gata1"} <= set(titles)
    assert figure.axes[0].get_xlabel() == "PC1"


def test_colours_say_the_fate():
    x = np.array([[0.0, 0], [1, 0], [2, 0]])
    figure = picture(None, [lambda ax: fate_map(ax, x, [[1, 0], [0.5, 0.5], [np.nan, np.nan]], ["a", "b"])])
    dots = figure.axes[0].collections[0]
    colour = {tuple(place): rgb[:3] for place, rgb in zip(dots.get_offsets().data.tolist(), dots.get_facecolors())}
    assert np.allclose(colour[0.0, 0.0], np.array([0x00, 0x72, 0xB2]) / 255)
    assert np.ptp(colour[1.0, 0.0]) < 1e-6
    assert np.ptp(colour[2.0, 0.0]) < 1e-6


def test_large_and_flat_populations():
    x = np.random.default_rng(0).standard_normal((MOST + 5000, 1))
    figure = picture(None, [lambda ax: scatter_by_time(ax, x, x[:, 0])])
    assert len(figure.axes[0].collections[0].get_offsets()) == MOST
    picture(None, [lambda ax: streamlines(ax, x[:50], 0 * x[:50])])


@pytest.mark.parametrize(("draw", "message"), [
    (lambda ax: scatter_by_time(ax, np.ones(3), np.ones(3)), r"\[cell dim\]"),
    (lambda ax: scatter_by_time(ax, np.ones((3, 2)), np.ones(4)), "time has 4 rows for 3 cells"),
    (lambda ax: streamlines(ax, np.ones((3, 2)), np.ones((4, 2))), "velocity has 4 rows"),
    (lambda ax: fate_map(ax, np.ones((3, 2)), np.ones((3, 2)), ["a"]), "for 1 fates"),
    (lambda ax: trends(ax, {}), "no trend"),
    (lambda ax: trends(ax, {"a": (np.ones(3), np.ones(4), None)}), "trend 'a'"),
])
def test_what_cannot_be_drawn(draw, message):
    with pytest.raises(ValueError, match=message):
        picture(None, [draw])


def test_no_panel():
    with pytest.raises(ValueError, match="no panel"):
        picture(None, [])
