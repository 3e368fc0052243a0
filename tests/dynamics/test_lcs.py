"""Shrink lines and elliptic barriers."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics.cauchy_green import eigen, flow_tensor, grid_tensor
from trajlab.dynamics.elliptic import EllipticConfig, elliptic_barriers, null_direction, vortex_cores
from trajlab.dynamics.flow_maps import flow_map
from trajlab.dynamics.shrink_lines import LineConfig, follow, shrink_lines
from trajlab.sources.flows import flow

GYRE = flow("double_gyre")
AXES = GYRE.axes(61)


def ring(x):
    """C of a sheared vortex that stretches circles of radius r by 1 + (r - 1)/10."""
    r = np.hypot(*x.T)
    out = x / r[:, None]
    frame = np.stack([out, np.stack([-out[:, 1], out[:, 0]], -1)], -1)
    made = (1 + 0.1 * (r - 1))[:, None, None] * np.array([[1.0, 0.0], [0.8, 1.0]])
    return frame @ np.swapaxes(made, 1, 2) @ made @ np.swapaxes(frame, 1, 2)


def test_null_directions_have_unit_length_and_the_stretch_asked_for():
    tensor, stretch = ring(np.random.default_rng(0).normal(size=(30, 2))), np.full(30, 1.05)
    for sign in (1.0, -1.0):
        eta = null_direction(tensor, stretch, np.full(30, sign))
        good = np.isfinite(eta).all(1)
        assert good.sum() > 10
        assert np.allclose((eta**2).sum(1)[good], 1.0)
        assert np.allclose(np.einsum("ni,nij,nj->n", eta, tensor, eta)[good], 1.05**2)


def test_closed_curves_are_the_circles_of_the_stretch():
    config = EllipticConfig(stretches=(0.94, 1.01, 1.06), starts=6, inner=0.25)
    curves = elliptic_barriers(ring, np.zeros((1, 2)), 2.0, config, outermost=False)
    assert [round(curve.points[0, 0], 6) for curve in curves] == [1.4, 1.1, 0.8, 0.5]
    for curve in curves:
        radius = np.hypot(*curve.points.T)
        assert np.allclose(radius, radius[0], atol=3e-4)
        assert curve.stretch == pytest.approx(1 + 0.1 * (radius[0] - 1), abs=1e-4)
        assert curve.area == pytest.approx(np.pi * radius[0] ** 2, rel=1e-2)
    (outer,) = elliptic_barriers(ring, np.zeros((1, 2)), 2.0, config)
    assert outer.points[0, 0] == pytest.approx(1.4)


def test_a_strain_has_no_closed_curve():
    assert elliptic_barriers(flow_tensor(flow("linear_saddle"), 0.0, 1.0, 50), np.zeros((1, 2)), 0.5, EllipticConfig(starts=5, pieces=40)) == []


def test_cores_are_the_strongest_points():
    x = np.linspace(0, 4, 41)
    field = np.exp(-((x[:, None] - 1) ** 2) - (x - 2) ** 2) - 2 * np.exp(-((x[:, None] - 3) ** 2) - (x - 2) ** 2)
    assert np.allclose(vortex_cores(field, (x, x), 0.8, share=0.5), [[3.0, 2.0], [1.0, 2.0]], atol=0.11)
    with pytest.raises(ValueError, match="on axes of"):
        vortex_cores(field, (x, x[:-1]), 0.8)


def test_lines_keep_their_sense_whatever_the_sign_of_the_eigenvector():
    def circle(x, along, rows):
        e = np.stack([-x[:, 1], x[:, 0]], -1) / np.hypot(*x.T)[:, None]
        e = e * np.random.default_rng(len(rows)).choice([-1.0, 1.0], size=(len(x), 1))
        return e * np.where((e * along).sum(1) < 0, -1.0, 1.0)[:, None]

    path = follow(circle, np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), 2 * np.pi / 100, 100)
    assert np.allclose(path[-1], [[1.0, 0.0]], atol=1e-5)


def test_shrink_lines_follow_the_weakest_stretching_through_the_ridge():
    lines = shrink_lines(GYRE, AXES, steps=40, config=LineConfig(most=1, length=1.0))
    (line,) = lines
    assert line.kind == "repelling"
    values, vectors = eigen(flow_tensor(GYRE, 0.0, 10.0, 40)(line.points))
    step = np.diff(line.points, axis=0)
    assert np.abs((step * vectors[1:, :, 1]).sum(1)).max() < 0.1 * np.linalg.norm(step, axis=1).max()
    assert np.allclose(line.stretch, np.sqrt(values[:, 1]))
    assert np.median(line.stretch) > np.exp(10 * 0.3)


def test_attracting_lines_mirror_repelling_ones():
    config = LineConfig(most=1, length=0.6)
    (one,), (two,) = (shrink_lines(GYRE, AXES, 0.0, T, steps=40, config=config) for T in (10.0, -10.0))
    assert two.kind == "attracting"
    mirrored = np.array([2.0, 1.0]) - two.points
    gap = np.linalg.norm(one.points[:, None] - mirrored, axis=-1).min(1)
    assert np.median(gap) < 0.02


def test_tensor_of_the_grid_agrees_with_that_of_the_flow():
    found = flow_map(GYRE, GYRE.axes(201), 0.0, 2.0, steps=20)
    places = np.random.default_rng(0).uniform([0.1, 0.1], [1.9, 0.9], size=(20, 2))
    assert np.allclose(grid_tensor(found)(places), flow_tensor(GYRE, 0.0, 2.0, 20)(places), rtol=2e-3, atol=2e-3)
    assert np.isnan(grid_tensor(found)(np.array([[2.1, 0.5]]))).all()


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="tuple of two axes"):
        shrink_lines(flow("abc_flow"), flow("abc_flow").axes(4))
    with pytest.raises(ValueError, match="positive numbers, and at least two"):
        elliptic_barriers(ring, np.zeros((1, 2)), 0.0)
    with pytest.raises(ValueError, match=r"\[core 2\] was wanted"):
        elliptic_barriers(ring, np.zeros(2), 1.0)
