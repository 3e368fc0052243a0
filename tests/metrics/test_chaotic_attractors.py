"""Spectra, occupation, dimension and exponent: sets and flows whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.ode import solve
from trajlab.metrics.chaotic_attractor import attractor_kl, hellinger, spectrum
from trajlab.metrics.chaotic_dimension import correlation_dimension, correlation_time, delay_vectors
from trajlab.metrics.chaotic_exponent import largest_exponent


def circle(count, per_turn=100.0, turns=1.0):
    angle = 2 * np.pi * turns * np.arange(count) / per_turn
    return np.stack([np.sin(angle), np.cos(angle)], 1)


def henon(count):
    x = np.full((count + 100, 2), 0.1)
    for n in range(1, len(x)):
        x[n] = 1 - 1.4 * x[n - 1, 0] ** 2 + x[n - 1, 1], 0.3 * x[n - 1, 0]
    return x[100:]


@pytest.fixture(scope="module")
def lorenz():
    field = VectorField.of(lambda t, x, p: (p[0] * (x[1] - x[0]), x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2]), 3,
                           sigma=10.0, rho=28.0, beta=8 / 3)
    return solve(field, [[1.0, 1.0, 20.0]], np.arange(0, 420, 0.05)).x[0, 400:]


def test_hellinger_of_spectra():
    one = circle(1000)
    assert hellinger(one, one) == 0
    assert hellinger(np.roll(one, 13, 0) * [3.0, 0.1] + [100.0, -7.0], one) == pytest.approx(0.0, abs=1e-6)  # phase, scale and origin do not matter
    assert hellinger(circle(1000, turns=4.0), one) > 0.99
    assert hellinger(circle(1000, turns=4.0), one, smoothing=20.0) < 0.95
    half = np.stack([one[:, 0], circle(1000, turns=4.0)[:, 0]], 1)
    assert hellinger(half, np.stack([one[:, 0]] * 2, 1)) == pytest.approx(0.5, abs=0.01)  # mean over the channels
    assert spectrum(one).sum(0) == pytest.approx(1.0)


def test_hellinger_of_two_lines():
    """Power shared 1 : 1 among two lines against one line alone: sqrt(1 - sqrt(1/2))."""
    t = 2 * np.pi * np.arange(1000)[:, None] / 1000
    assert hellinger(np.sin(50 * t) + np.sin(300 * t), np.sin(50 * t), smoothing=0.0) == pytest.approx(np.sqrt(1 - np.sqrt(0.5)), abs=1e-6)


def test_a_failed_prediction_is_the_furthest():
    one = circle(200)
    broken = one.copy()
    broken[-1, 0] = np.nan
    assert hellinger(np.zeros_like(one) + 3.0, one) == 1.0
    assert hellinger(broken, one) == pytest.approx(0.5)
    assert attractor_kl(broken, one) == np.inf
    assert attractor_kl(one * 0.0 + 100.0, one) > 100


def test_kl_is_that_of_the_two_mixtures():
    """Against the integral over a grid; and near the closed form for two normal clouds, d^2 / (2 (1 + s^2)) for a shift d, smoothed by s."""
    a, b = np.random.default_rng(0).normal(size=(2, 300, 1)) + np.array([[[0.0]], [[1.0]]])
    width, grid = 0.3 * a.std(), np.linspace(-8, 9, 4001)
    p, q = (np.exp(-0.5 * ((grid - c) / width) ** 2).mean(0) / (width * np.sqrt(2 * np.pi)) for c in (a, b))
    wanted = float((p * np.log(p / q)).sum() * (grid[1] - grid[0]))
    assert attractor_kl(b, a, draws=20000) == pytest.approx(wanted, rel=0.05)
    assert 0.35 < wanted < 0.8
    assert attractor_kl(a, a) == 0


def test_kl_of_points():
    """Half of the time at -1 and half at 1, against always at 1, smoothed by 0.3: -log 2 + (2 / 0.3)^2 / 4."""
    assert attractor_kl(np.ones((200, 1)), np.resize([1.0, -1.0], (200, 1))) == pytest.approx(-np.log(2) + (2 / 0.3) ** 2 / 4, rel=0.03)


def test_kl_does_not_depend_on_units_or_batch():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 300, 3))
    alone = attractor_kl(b, a)
    assert attractor_kl(b * [1.0, 50.0, 0.01] + 7.0, a * [1.0, 50.0, 0.01] + 7.0) == pytest.approx(alone, rel=1e-6)
    assert attractor_kl(np.stack([a, b]), np.stack([b, a]))[1] == alone


@pytest.mark.parametrize(("points", "low", "high"), [
    (circle(4000, 61.7), 0.97, 1.03),
    (henon(4000), 1.18, 1.26),
    (np.random.default_rng(0).uniform(size=(4000, 2)), 1.9, 2.05),
    (np.random.default_rng(0).normal(size=(4000, 3)), 2.85, 3.05),
    ((np.random.default_rng(0).integers(0, 2, (4000, 30)) * 2 * 3.0 ** -np.arange(1, 31)).sum(1)[:, None], 0.60, 0.66),  # Cantor: log 2 / log 3
], ids=["circle", "Henon", "square", "noise", "Cantor"])
def test_dimension(points, low, high):
    found = correlation_dimension(points)
    assert low < found.value < high
    assert found.low < found.high
    assert (np.diff(found.sums) >= 0).all()


def test_dimension_of_lorenz_and_the_window_it_needs(lorenz):
    assert 1.97 < correlation_dimension(lorenz).value < 2.12
    dense = circle(2000, 5003.7)[:, :1] * np.random.default_rng(0).normal(1.0, 1e-9, (2000, 1))
    assert correlation_time(dense) > 50
    rebuilt = delay_vectors(circle(4000, 61.7)[:, :1], 3, 15)
    assert rebuilt.shape == (3970, 3)
    assert correlation_dimension(rebuilt).value == pytest.approx(1.0, abs=0.05)


def test_exponent_of_maps_and_flows(lorenz):
    found = largest_exponent(henon(3000))
    assert abs(found.value - 0.419) < max(0.03, 3 * found.error)
    assert found.error < 0.05
    found = largest_exponent(lorenz, 0.05)
    assert abs(found.value - 0.906) < 0.15
    assert abs(found.value - 0.906) < 4 * found.error
    assert largest_exponent(lorenz, 0.1).value == pytest.approx(found.value / 2)


def test_exponent_of_what_is_not_chaotic():
    turning = largest_exponent(circle(3000, 61.7))
    assert abs(turning.value) < 1e-3
    noise = largest_exponent(np.random.default_rng(0).normal(size=(2000, 3)))
    assert np.isnan(noise.value)
    assert np.isinf(noise.error)


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: hellinger(x[:3], x[:3]), "at least 4 frames"),
    (lambda x: hellinger(x, x, smoothing=-1.0), "smoothing=-1.0"),
    (lambda x: attractor_kl(x[:, :1], x), "equal channels"),
    (lambda x: attractor_kl(x, x * 0), "constant in a channel"),
    (lambda x: attractor_kl(x, x, bandwidth=0.0), "bandwidth=0.0"),
    (lambda x: correlation_dimension(x[:20]), "at least 50 frames"),
    (lambda x: correlation_dimension(x * np.nan), "not finite"),
    (lambda x: largest_exponent(x * 0), "constant"),
    (lambda x: largest_exponent(x, spacing=-1.0), "spacing=-1.0"),
    (lambda x: delay_vectors(x, 3, 200), "at least 401 frames"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call(circle(300))
