"""Barriers of momentum and vorticity."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics.active_barriers import (
    averaged_vorticity,
    barrier_field,
    diagnose,
    eulerian_field,
    lagrangian_field,
    level_field,
    vorticity,
)
from trajlab.dynamics.flow_maps import flow_map
from trajlab.sources.flows import flow

GYRE, GREEN, ABC = flow("double_gyre"), flow("taylor_green"), flow("abc_flow")
AXES = GYRE.axes(121)
GRID = np.stack(np.meshgrid(*AXES, indexing="ij"), -1)


def test_eulerian_barriers_in_the_plane_are_level_curves_of_the_vorticity():
    u = level_field(vorticity(GYRE, AXES, 1.3), AXES)(0.0, GRID[5:-5:10, 5:-5:10])
    assert np.allclose(u, eulerian_field(GYRE, GRID[5:-5:10, 5:-5:10], 1.3), atol=1e-4)


def test_lagrangian_barriers_in_the_plane_are_level_curves_of_the_averaged_vorticity():
    """The average of DF^-1 Laplacian u along trajectories is (-W_y, W_x)."""
    some = GRID[5:-5:10, 5:-5:10]
    pulled = lagrangian_field(GYRE, some, 0.0, 3.0, steps=60)
    assert np.allclose(level_field(averaged_vorticity(GYRE, AXES, 0.0, 3.0, steps=60), AXES)(0.0, some), pulled, atol=1e-3)
    assert np.abs(pulled - eulerian_field(GYRE, some)).max() > 1.0


@pytest.mark.parametrize("field", [GREEN, ABC], ids=lambda f: f.name)
def test_barriers_of_steady_beltrami_like_flows_are_their_stream_surfaces(field):
    points = np.random.default_rng(0).uniform(0.0, 6.0, size=(30, field.dim))
    u = field(0.0, points)
    factor = -2.0 if field is GREEN else -1.0
    assert np.allclose(eulerian_field(field, points), factor * u)
    assert np.allclose(lagrangian_field(field, points, 0.0, 2.0, steps=100), factor * u, atol=1e-5)


def test_decay_weakens_the_barriers_by_its_average():
    nu, T = 0.3, 2.0
    field = flow("abc_flow", nu=nu)
    points = np.random.default_rng(1).uniform(0.0, 6.0, size=(10, 3))
    for kind in ("momentum", "vorticity"):
        found = lagrangian_field(field, points, 0.0, T, steps=100, kind=kind)
        assert np.allclose(found, -field(0.0, points) * (1 - np.exp(-nu * T)) / (nu * T), atol=1e-5)


def test_active_diagnosis_is_that_of_the_barrier_field():
    """The barrier field of the steady ABC flow is -u: followed over s, it gives the FTLE of the flow backward."""
    axes = ABC.axes(24)
    values = eulerian_field(ABC, axes)
    some = tuple(a[::6] for a in axes)
    found = diagnose(barrier_field(values, axes, periodic=(2 * np.pi,) * 3), some, 1.5, steps=40)
    back = flow_map(ABC, some, 0.0, -1.5, steps=40)
    exact = np.log(np.linalg.norm(back.gradient, 2, axis=(-2, -1))) / 1.5
    assert np.abs(found.ftle - exact).max() < 2e-3
    assert found.rotation.shape == (4, 4, 4)
    assert (found.rotation >= 0).all()


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="every curve is a barrier"):
        eulerian_field(GYRE, AXES, kind="vorticity")
    with pytest.raises(ValueError, match="did you mean 'momentum'"):
        eulerian_field(GYRE, AXES, kind="momentun")
    with pytest.raises(ValueError, match="no laplacian in closed form"):
        lagrangian_field(flow("duffing"), AXES)
    with pytest.raises(ValueError, match="flow in the plane"):
        averaged_vorticity(ABC, ABC.axes(4))
