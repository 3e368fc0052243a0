"""Flow maps with gradients, and velocity data as flows."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.flow_maps import flow_map
from trajlab.dynamics.ode import solve
from trajlab.dynamics.sampled_velocity import SampledVelocity, coefficients
from trajlab.sources.flows import flow

GYRE = flow("double_gyre")
POINTS = np.random.default_rng(0).uniform([0.05, 0.05], [1.95, 0.95], size=(40, 2))
TURN = 2 * np.pi


def on_grid(field, axes, t=0.0):
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    return field(t, points.reshape(-1, field.dim)).reshape(points.shape)


def test_saddle_is_exact():
    found = flow_map(flow("linear_saddle", s=0.7), np.array([[1.0, 2.0]]), 0.0, 2.0, steps=200)
    grown = np.exp(1.4)
    assert np.allclose(found.end, [[grown, 2.0 / grown]], rtol=1e-9)
    assert np.allclose(found.gradient, [[[grown, 0.0], [0.0, 1 / grown]]], rtol=1e-9)


def test_error_falls_at_fourth_order():
    fine = flow_map(GYRE, POINTS, method="dop853", rtol=1e-12)
    errors = [np.abs(flow_map(GYRE, POINTS, steps=n).gradient - fine.gradient).max() for n in (200, 400)]
    assert 12 < errors[0] / errors[1] < 20


def test_the_two_methods_and_solve_agree():
    one, two = flow_map(GYRE, POINTS, steps=1000), flow_map(GYRE, POINTS, method="dop853", rtol=1e-11)
    assert np.allclose(one.end, two.end, atol=1e-8)
    assert np.allclose(one.vorticity, two.vorticity, atol=1e-8)
    assert np.allclose(two.end, solve(GYRE, POINTS, [0.0, 10.0]).x[:, -1], atol=1e-6)


def test_there_and_back():
    there = flow_map(GYRE, POINTS, 0.0, 10.0, steps=1000)
    back = flow_map(GYRE, there.end, 10.0, -10.0, steps=1000)
    assert np.abs(back.end - POINTS).max() < 1e-8
    assert np.allclose(back.gradient @ there.gradient, np.eye(2), atol=1e-5)


def test_volume_is_kept_or_shrinks_as_it_should():
    assert np.allclose(flow_map(GYRE, POINTS, steps=800).volume, 1.0, atol=1e-8)
    duffing = flow("duffing", delta=0.2)
    assert np.allclose(flow_map(duffing, POINTS, 0.0, 3.0, steps=400).volume, np.exp(-0.6), rtol=1e-7)


def test_any_vector_field_has_exact_gradients():
    plain = VectorField.of(lambda t, x, p: (p[0] * (x[1] - x[0]), x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2]), 3,
                           sigma=10.0, rho=28.0, beta=8 / 3)
    start, h = np.array([1.0, 2.0, 20.0]), 1e-6
    found = flow_map(plain, start, 0.0, 0.5, steps=1000)
    arms = np.concatenate([start + h * np.eye(3), start - h * np.eye(3)])
    ends = flow_map(plain, arms, 0.0, 0.5, steps=1000).end
    assert np.allclose(found.gradient, (ends[:3] - ends[3:]).T / (2 * h), atol=1e-6)
    assert np.isclose(found.volume, np.exp(-(10 + 1 + 8 / 3) * 0.5), rtol=1e-6)


def test_rows_do_not_depend_on_their_neighbours_or_threads():
    many = np.random.default_rng(1).uniform([0, 0], [2, 1], size=(5000, 2))
    one, two = flow_map(GYRE, many, steps=40, workers=1), flow_map(GYRE, many, steps=40, workers=2)
    assert (one.end == two.end).all()
    assert (flow_map(GYRE, many[17], steps=40).gradient == one.gradient[17]).all()


def test_averaged_vorticity_of_a_steady_vortex_is_its_vorticity():
    spin = VectorField.of(lambda t, x, p: (-p[0] * x[1], p[0] * x[0]), 2, w=0.8)
    assert np.allclose(flow_map(spin, POINTS, 0.0, -3.0, steps=50).vorticity, 1.6)


@pytest.mark.parametrize(("n", "error"), [(4, 1e-13), (9, 1e-13)])
def test_spline_is_not_a_knot(n, error):
    from scipy.interpolate import make_interp_spline

    x, y, s = np.linspace(0, 1, n), np.random.default_rng(0).normal(size=n), 0.37
    c, spline = coefficients(y, 0, False), make_interp_spline(np.linspace(0, 1, n), y, k=3)
    weights = np.array([(1 - s) ** 3, 4 + s * s * (3 * s - 6), 4 + (1 - s) ** 2 * (3 * (1 - s) - 6), s**3]) / 6
    assert len(x) + 2 == len(c)
    assert max(abs(c[i : i + 4] @ weights - spline((i + s) / (n - 1))) for i in range(n - 1)) < error


def test_sampled_velocity_converges_at_fourth_order():
    errors = []
    for n in (21, 41):
        axes, times = (np.linspace(0, 2, n), np.linspace(0, 1, n)), np.linspace(0, 4, n)
        data = SampledVelocity.on_grid(np.stack([on_grid(GYRE, axes, t) for t in times]), axes, times)
        errors.append(np.abs(data(1.7, POINTS) - GYRE(1.7, POINTS)).max())
        found, exact = flow_map(data, POINTS, 0.0, 4.0, steps=100), flow_map(GYRE, POINTS, 0.0, 4.0, steps=100)
    assert errors[0] / errors[1] > 10
    assert np.abs(found.end - exact.end).max() < 1e-3
    assert found.lost == 0.0


def test_gradient_is_that_of_the_interpolant():
    axes = flow("abc_flow").axes(12)
    data = SampledVelocity.on_grid(on_grid(flow("abc_flow"), axes), axes, periodic=(TURN,) * 3)
    x, h = np.array([0.3, 7.0, -2.0]), 1e-5
    ends = np.stack([data(0.0, x + h * e) - data(0.0, x - h * e) for e in np.eye(3)], -1) / (2 * h)
    assert np.allclose(data.with_gradient(0.0, x)[1], ends, atol=1e-8)


def test_periodic_axes_with_and_without_the_repeated_end():
    green = flow("taylor_green")
    short, full = green.axes(24), (np.linspace(0, TURN, 25),) * 2
    one = SampledVelocity.on_grid(on_grid(green, short), short, periodic=(TURN, TURN))
    two = SampledVelocity.on_grid(on_grid(green, full), full, periodic=True)
    away = POINTS + np.array([3 * TURN, -2 * TURN])
    assert np.allclose(one(0.0, POINTS), two(0.0, away), atol=1e-12)
    assert np.allclose(one(0.0, away), green(0.0, POINTS), atol=1e-4)


def test_stream_function_is_free_of_divergence_everywhere():
    axes = (np.linspace(0, 1, 9), np.linspace(0, 1, 9))
    field = SampledVelocity.stream(np.random.default_rng(0).normal(size=(9, 9)), axes)
    u, g = field.with_gradient(0.0, np.random.default_rng(1).uniform(size=(20, 2)))
    assert np.abs(np.trace(g, axis1=1, axis2=2)).max() < 1e-12 * np.abs(g).max()
    assert np.isfinite(u).all()


def test_particles_that_leave_are_masked():
    axes = (np.linspace(0, 1, 6), np.linspace(0, 1, 6))
    wind = SampledVelocity.on_grid(np.broadcast_to([1.0, 0.0], (6, 6, 2)), axes)
    found = flow_map(wind, (np.linspace(0, 0.9, 10), np.array([0.2, 0.5])), 0.0, 0.45, steps=10)
    assert np.isnan(found.end[6:]).all()
    assert np.isnan(found.gradient[6:]).all()
    assert np.isfinite(found.end[:6]).all()
    assert found.lost == pytest.approx(0.4)


def test_bad_velocity_data_is_refused():
    green = flow("taylor_green")
    axes = green.axes(16)
    v = on_grid(green, axes)
    with pytest.raises(ValueError, match=r"axis 0 is not periodic: the data at its ends, 0 and 5\.89.* differ by up to"):
        SampledVelocity.on_grid(v, axes, periodic=True)
    slope = v + 0.1 * axes[0][:, None, None]
    with pytest.raises(ValueError, match=r"axis 0 is not periodic with period 6\.28"):
        SampledVelocity.on_grid(slope, axes, periodic=(TURN, TURN))
    with pytest.raises(ValueError, match="axis 1: period 6, but 16 points"):
        SampledVelocity.on_grid(v, axes, periodic=(TURN, 6.0))
    with pytest.raises(ValueError, match="1 of 512 values are not finite"):
        SampledVelocity.on_grid(np.where(np.arange(512).reshape(v.shape) == 7, np.nan, v), axes)
    with pytest.raises(ValueError, match="not rising in even steps"):
        SampledVelocity.on_grid(v, (axes[0] ** 2, axes[1]))
    with pytest.raises(ValueError, match="needs at least 4"):
        SampledVelocity.on_grid(np.stack([v, v]), axes, times=[0.0, 1.0])
    with pytest.raises(ValueError, match="velocity of shape"):
        SampledVelocity.on_grid(v[..., 0], axes)


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="did you mean 'rk4'"):
        flow_map(GYRE, POINTS, method="rk45")
    with pytest.raises(ValueError, match="other than 0"):
        flow_map(GYRE, POINTS, 0.0, 0.0)
    with pytest.raises(ValueError, match="no usual duration"):
        flow_map(VectorField.of(lambda t, x, p: (x[0],), 1), np.zeros((1, 1)))
    with pytest.raises(ValueError, match=r"\[\.\.\. 2\] was wanted"):
        flow_map(GYRE, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="1 of the starts are not finite"):
        flow_map(GYRE, np.array([[0.1, np.nan], [0.0, 0.0]]))
    axes, times = (np.linspace(0, 2, 5), np.linspace(0, 1, 5)), np.linspace(0, 1, 4)
    data = SampledVelocity.on_grid(np.stack([on_grid(GYRE, axes, t) for t in times]), axes, times)
    with pytest.raises(ValueError, match=r"known from t = 0 to 1, .* nothing is extrapolated"):
        flow_map(data, POINTS, 0.5, 1.0)
