"""Interfaces with known places and distances, layers with known levels, averages of known functions of the distance."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics.ftle import ftle
from trajlab.metrics.interface import cluster_levels, find_interface
from trajlab.metrics.interface_averages import conditional_average, side_correlation
from trajlab.metrics.interface_motion import Motion, mean_motion, mean_shift, moved, persistence
from trajlab.metrics.interface_scales import integral_time, taylor_microscale
from trajlab.sources.flows import flow

X, Y = np.linspace(0.0, 10.0, 100, endpoint=False), np.linspace(-5.0, 5.0, 101)
AXES, PERIODS = (X, Y), (10.0, None)


def radius(cx: float, cy: float) -> np.ndarray:
    """Distance to a point, x being periodic."""
    dx = np.abs(X - cx)
    return np.hypot(np.minimum(dx, 10.0 - dx)[:, None], Y[None] - cy)


def test_a_plane_is_exact():
    found = find_interface(np.broadcast_to(0.37 - Y, (100, 101)), AXES, 0.0, PERIODS)
    assert np.allclose(found.distance(), 0.37 - Y[None], atol=1e-12)
    assert found.length == pytest.approx(10.0)
    slanted = find_interface((3 * X[:, None] + 4 * Y[None]) / 5, AXES, 1.23)
    middle = (slice(40, 60), slice(40, 60))  # the nearest point of the border lies within the box
    assert np.allclose(slanted.distance()[middle], ((3 * X[:, None] + 4 * Y[None]) / 5 - 1.23)[middle], atol=1e-12)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_disc_over_the_seam(stride):
    """The polygon through points on the circle differs by at most h^2/8R and the linear interpolation, 0.002."""
    found = find_interface(-radius(9.5, 1.0), AXES, -2.0, PERIODS)
    assert np.allclose(found.distance(stride), (2.0 - radius(9.5, 1.0))[::stride, ::stride], atol=2e-3)
    assert found.length == pytest.approx(4 * np.pi, abs=5e-3)


def test_islands_and_holes_are_dropped():
    disc, island, hole = 2.5 - radius(5.0, 0.0), 0.5 - radius(1.0, 4.0), radius(5.0, 0.5) - 0.45
    plain, found = (find_interface(f, AXES, 0.0, PERIODS) for f in (disc, np.minimum(np.maximum(disc, island), hole)))
    assert found.aside.sum() > 50
    assert np.array_equal(found.inside, plain.inside)
    assert np.allclose(found.distance(), plain.distance(), atol=2e-3)
    kept = find_interface(np.maximum(disc, island), AXES, 0.0, PERIODS, keep=0.01)
    assert not kept.aside.any()
    assert len(kept.curves) == 2


def test_bad_fields_and_levels():
    ramp = np.broadcast_to(X[:, None], (100, 101))
    with pytest.raises(ValueError, match="scalar: axis 0 is not periodic"):
        find_interface(ramp, AXES, 5.0, PERIODS)
    with pytest.raises(ValueError, match="no border at the level 20"):
        find_interface(ramp, AXES, 20.0)
    with pytest.raises(ValueError, match="not finite"):
        find_interface(np.where(ramp > 9, np.nan, ramp), AXES, 5.0)
    with pytest.raises(ValueError, match="keep = 2"):
        find_interface(ramp, AXES, 5.0, keep=2.0)
    with pytest.raises(ValueError, match="have"):
        find_interface(ramp[:50], AXES, 5.0)


def test_levels_between_clusters():
    rng = np.random.default_rng(0)
    means, spread = np.array([0.0, 1.0, 3.0, 3.8]), 0.1
    values = means[rng.integers(4, size=20000)] + spread * rng.standard_normal(20000)
    exact = 0.5 * (means[1:] + means[:-1])
    assert np.allclose(cluster_levels(values.reshape(100, 200)), exact, atol=0.02)
    assert np.allclose(cluster_levels(values, by="gaussian"), exact, atol=0.05)
    assert np.array_equal(cluster_levels(values, seed=1), cluster_levels(values, seed=1))
    assert len(cluster_levels(values, 2)) == 1
    wide = np.concatenate([0.5 * rng.standard_normal(30000), 2.0 + 0.1 * rng.standard_normal(30000)])
    assert cluster_levels(wide, 2)[0] == pytest.approx(1.0, abs=0.05)  # half-way between the means
    assert 1.55 < cluster_levels(wide, 2, by="gaussian")[0] < 1.7  # where both densities are equal


def test_bad_clusters():
    with pytest.raises(ValueError, match="did you mean 'kmeans'"):
        cluster_levels(np.arange(9.0), by="kmean")
    with pytest.raises(ValueError, match="4 clusters of 2 distinct values"):
        cluster_levels([0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="not finite"):
        cluster_levels([0.0, 1.0, np.nan], 2)


def test_averages_of_a_known_function():
    """f = d inside, 0 outside, plus a constant for each block and noise."""
    rng = np.random.default_rng(1)
    d, block = rng.uniform(-1, 1, 60000), rng.integers(30, size=60000)
    lift = rng.standard_normal(30)
    f = 2.0 + np.maximum(d, 0.0) + 0.3 * lift[block] + 0.1 * rng.standard_normal(60000)
    f[:10] = np.nan
    found = conditional_average(d, f, block, np.linspace(-1, 1, 41))
    exact = 2.0 + np.maximum(found.centres, 0.0) + 0.3 * lift.mean()
    assert np.abs(found.mean - exact).max() < 0.05
    assert np.allclose(found.error, 0.3 * lift.std(ddof=1) / np.sqrt(30), rtol=0.2)  # blocks, not points, are independent
    jump = found.jump(0.4, gap=0.2)
    assert jump.value == pytest.approx(0.4, abs=4 * jump.error)
    assert jump.error < 0.02  # the constants cancel
    assert found.counts.sum() == 60000 - 10


def test_thickness_of_a_tanh_layer():
    """(1 + tanh(d/w))/2 has a range near 1 and the steepest slope 1/(2 w)."""
    d = np.tile(np.linspace(-2, 2, 4001), (4, 1))
    found = conditional_average(d, 0.5 * (1 + np.tanh(d / 0.2)), np.arange(4)[:, None], np.linspace(-2, 2, 161))
    assert found.thickness(1.5).value == pytest.approx(0.4, rel=0.03)
    assert found.thickness(1.5).error == pytest.approx(0.0, abs=1e-9)


def test_the_saddle_has_no_jump():
    axes = (np.linspace(-1, 1, 24), np.linspace(-1, 1, 25))
    values = ftle(flow("linear_saddle", s=0.7), axes, 0.0, 2.0, steps=50)
    disc = find_interface(-np.hypot(*np.meshgrid(*axes, indexing="ij")), axes, -0.6)
    found = conditional_average(disc.distance(), values, np.arange(24)[:, None] // 6, np.linspace(-0.3, 0.3, 7))
    assert np.allclose(found.mean, 0.7, atol=1e-6)
    assert found.jump(0.3).value == pytest.approx(0.0, abs=1e-6)


def test_correlation_with_the_side():
    rng = np.random.default_rng(2)
    d, block = rng.uniform(-1, 1, 40000), rng.integers(20, size=40000)
    noise = rng.standard_normal(40000)
    found = side_correlation(d, np.sign(d) + noise, block, 0.5)
    assert found.value == pytest.approx(1 / np.sqrt(2), abs=0.02)
    assert 0.001 < found.error < 0.01
    none = side_correlation(d, noise, block, 0.5)
    assert abs(none.value) < 4 * none.error
    with pytest.raises(ValueError, match="both sides"):
        side_correlation(np.abs(d), noise, block, 0.5)


def test_averages_refuse():
    with pytest.raises(ValueError, match="they must agree"):
        conditional_average(np.zeros(3), np.zeros(4), 0, [0, 1])
    with pytest.raises(ValueError, match="errors need at least 2"):
        conditional_average(np.zeros(3), np.zeros(3), 0, [0, 1])
    with pytest.raises(ValueError, match="at least 2 rising"):
        conditional_average(np.zeros(3), np.zeros(3), [0, 1, 2], [1, 0])
    with pytest.raises(ValueError, match="can be broadcast"):
        conditional_average(np.zeros(3), np.zeros(3), [0, 1], [0, 1])
    with pytest.raises(ValueError, match="no bin between 5"):
        conditional_average([-0.5, 0.5], [1.0, 2.0], [0, 1], [-1, 0, 1]).jump(1.0, gap=5.0)


def pattern(cx: float, cy: float) -> np.ndarray:
    x, y = X[:, None], np.linspace(-5, 5, 100, endpoint=False)[None]
    return np.exp(np.cos(2 * np.pi * (x - cx) / 10) + 0.5 * np.cos(4 * np.pi * (x - cx) / 10 + 1) + np.cos(2 * np.pi * (y - cy) / 10))


def test_mean_motion_of_a_moving_pattern():
    times = np.array([0.0, 1.0, 2.0, 4.0])
    patterns = np.stack([pattern(0.731 * t, 0.2 * t) for t in times])
    found = mean_motion(patterns, 0.2 * times + 3.0, times, 10.0)
    assert np.allclose(found.along, 0.731 * times, atol=2e-3)
    assert found.velocity == pytest.approx((0.731, 0.2), abs=1e-3)
    assert mean_shift(patterns[1], patterns[0], 10.0) == pytest.approx(-0.731, abs=1e-3)
    assert np.allclose(moved(patterns[0], (0.731, 0.2), (10.0, 10.0)), patterns[1], atol=1e-8)
    everywhere = np.ones_like(patterns[0], dtype=bool)
    assert np.allclose(persistence(patterns, found, (10.0, 10.0), everywhere), 1.0, atol=1e-4)
    still = Motion(times, 0 * times, 0 * times)
    assert persistence(patterns, still, (10.0, 10.0), everywhere)[-1] < 0.5
    with pytest.raises(ValueError, match="at least 2"):
        mean_motion(patterns, [0.0], times, 10.0)


def test_taylor_microscale_of_one_wave():
    """u' = sin(k x) has <u'^2>/<u_x^2> = 1/k^2."""
    x = np.arange(64)[:, None] * 2 * np.pi / 64 + np.zeros((64, 8))
    u = np.stack([np.sin(3 * x) + 5.0, 0 * x], -1)
    g = np.zeros((64, 8, 2, 2))
    g[..., 0, 0] = 3 * np.cos(3 * x)
    assert taylor_microscale(u, g, np.ones((64, 8), dtype=bool)) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="0 points"):
        taylor_microscale(u, g, np.zeros((64, 8), dtype=bool))


def test_integral_time_of_a_rotation():
    """Velocities in a solid rotation have the autocorrelation cos(w t), which is 0 at pi/2w: the integral is 1/w."""
    from trajlab.dynamics.flow_fields import Flow

    def both(_, x, p):
        return -p[0] * x[1], p[0] * x[0], 0.0, -p[0], p[0], 0.0

    turning = Flow(lambda t, x, p: both(t, x, p)[:2], 2, np.array([2.0]), ("w",), "rotation", both=both)
    angle = np.arange(12) * np.pi / 6
    assert integral_time(turning, np.stack([np.cos(angle), np.sin(angle)], -1), 0.0, 2.0, frames=40) == pytest.approx(0.5, abs=0.01)
