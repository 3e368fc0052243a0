"""Exponents, their ridges, and the benchmark of them."""

from __future__ import annotations

import numpy as np
import pytest
from benchmark_files import load

from trajlab.dynamics.cauchy_green import cauchy_green, eigen, in_metric, largest_stretch
from trajlab.dynamics.flow_maps import FlowMap, flow_map
from trajlab.dynamics.ftle import exponents, ftle, ridges, rotation_angle
from trajlab.sources.flows import flow

GYRE = flow("double_gyre")
AXES = GYRE.axes(81)


@pytest.mark.parametrize("duration", [2.0, -2.0])
@pytest.mark.parametrize("by", ["tangent", "grid", "cross"])
def test_saddle_has_the_exponent_of_its_strain(by, duration):
    saddle = flow("linear_saddle", s=0.7)
    assert np.allclose(ftle(saddle, saddle.axes(7), 0.0, duration, steps=100, by=by), 0.7, atol=1e-7)


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_closed_forms_agree_with_singular_values(dim):
    gradient = np.random.default_rng(dim).normal(size=(50, dim, dim))
    gradient[0] = np.eye(dim)
    gradient[1] = np.diag([1e4, 1e-4, *[1.0] * (dim - 2)])
    assert np.allclose(largest_stretch(gradient), np.linalg.svd(gradient)[1][:, 0], rtol=1e-10)
    values, vectors = eigen(cauchy_green(gradient[2:]))
    assert np.allclose(cauchy_green(gradient[2:]) @ vectors, vectors * values[:, None, :], atol=1e-10 * values.max())
    if dim == 2:
        assert np.allclose(vectors[:, :, 1], vectors[:, ::-1, 0] * [-1, 1])


def test_symmetry_of_the_double_gyre_in_time():
    forward, backward = ftle(GYRE, AXES, steps=60), ftle(GYRE, AXES, 0.0, -10.0, steps=60)
    assert np.abs(forward - backward[::-1, ::-1]).max() < 1e-11
    assert np.abs(forward - backward[::-1]).max() > 0.1


def test_cross_is_as_good_as_the_tangent_and_the_grid_flattens_ridges():
    exact, cross, grid = (ftle(GYRE, AXES, steps=60, by=by)[2:-2, 2:-2] for by in ("tangent", "cross", "grid"))
    assert np.abs(exact - cross).max() < 1e-4
    assert grid.max() < 0.8 * exact.max()
    assert 0.9 < np.corrcoef(exact.ravel(), grid.ravel())[0, 1] < 0.999


def test_ridges_lie_on_the_crest():
    x = np.linspace(-1, 1, 41)
    start = np.stack(np.meshgrid(x, x, indexing="ij"), -1)
    shape = start.shape[:-1]
    gradient = np.broadcast_to(np.array([[2.0, 0.0], [0.0, 0.5]]), (*shape, 2, 2))  # stretched along x: the crest runs along y
    found = FlowMap(start, start, gradient, np.zeros(shape), 0.0, 1.0, 1, (x, x))
    crest = ridges(found, np.exp(-20 * (start[..., 0] - 0.013) ** 2), share=0.3)
    assert np.allclose(crest.points[:, 0], 0.013, atol=1e-3)
    assert len(crest.points) == 41
    with pytest.raises(ValueError, match="share = 0"):
        ridges(found, share=0.0)


def test_ridge_of_the_gyre_mirrors_the_backward_one():
    forward, backward = (ridges(flow_map(GYRE, AXES, 0.0, T, steps=50)) for T in (10.0, -10.0))
    assert (forward.mask == backward.mask[::-1, ::-1]).mean() > 0.998


def test_rotation_angles():
    angle, stretch = 0.4, np.diag([3.0, 0.5])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert np.isclose(rotation_angle(turn @ stretch), angle)
    full = np.eye(3)
    full[:2, :2] = turn
    assert np.isclose(rotation_angle((full @ np.diag([3.0, 0.5, 2.0]))[None])[0], angle)
    with pytest.raises(ValueError, match="2 and 3 dimensions"):
        rotation_angle(np.eye(4))


def test_metric_of_a_sphere():
    """A turn of the sphere about its axis stretches nothing, whatever the latitude."""
    place = np.array([[0.1, 0.8], [0.2, -0.3]])
    moved = FlowMap(place, place + [0.5, 0.0], np.broadcast_to(np.eye(2), (2, 2, 2)), np.zeros(2), 0.0, 1.0)
    north = FlowMap(place, place + [0.0, 0.2], np.broadcast_to(np.eye(2), (2, 2, 2)), np.zeros(2), 0.0, 1.0)

    def scale(x):
        return np.stack([np.cos(x[..., 1]), np.ones(len(x))], -1)

    assert np.allclose(exponents(moved, scale), 0.0)
    assert np.allclose(in_metric(north, scale)[:, 0, 0], np.cos(place[:, 1] + 0.2) / np.cos(place[:, 1]))


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="did you mean 'tangent'"):
        ftle(GYRE, AXES, by="tangents")
    with pytest.raises(ValueError, match="as a tuple of axes"):
        ftle(GYRE, np.zeros((3, 2)), by="grid")
    with pytest.raises(ValueError, match="positive distance"):
        ftle(GYRE, AXES, by="cross", offset=-1.0)


def test_benchmark_reaches_its_bars_on_a_small_grid(tmp_path, capsys):
    program = load("ftle")
    given = ["--points", "41", "--picture", str(tmp_path / "r.png"), "--out", str(tmp_path / "f.json"), "--peer", "/bin/false"]
    assert program.main(given) == 0
    assert "every bar is reached" in capsys.readouterr().out
    assert (tmp_path / "r.png").stat().st_size > 1000
    assert program.main([*given, "--steps", "8"]) == 1
