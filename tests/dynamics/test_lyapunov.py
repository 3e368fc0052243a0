"""Lyapunov spectra against systems whose exponents are known, and the laws that hold for all."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics import lyapunov_driver
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.lyapunov import first_vectors, later, lyapunov
from trajlab.dynamics.lyapunov_result import Lyapunov, entropy, kaplan_yorke
from trajlab.dynamics.maps import Map


def linear(t, x, p):
    return (p[0] * x[0] + p[3] * x[1], p[1] * x[1], p[2] * x[2])


def lorenz(t, x, p):
    return (p[0] * (x[1] - x[0]), x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2])


def pendulum(t, x, p):
    return (x[1], -np.sin(x[0]))


LINEAR = VectorField.of(linear, 3, a=0.2, b=-1.0, c=-3000.0, shear=5.0)
LORENZ = VectorField.of(lorenz, 3, sigma=10.0, rho=28.0, beta=8 / 3)
PENDULUM = VectorField.of(pendulum, 2)


@pytest.fixture(scope="module")
def butterfly():
    starts, times = later(LORENZ, [1.0, 1.0, 20.0], 3, 30.0, 450.0)
    return lyapunov(LORENZ, starts, 400.0, t0=times)


def test_lorenz(butterfly):
    found = butterfly
    assert abs(found.largest - 0.9056) < 3 * found.error[0] < 0.1  # Viswanath (1998): 0.9056
    assert abs(found.exponents[1]) < 3 * found.error[1] < 0.05
    assert abs(found.sum + 10 + 1 + 8 / 3) < 1e-6
    assert abs(found.divergence + 10 + 1 + 8 / 3) < 1e-9
    assert abs(found.kaplan_yorke[0] - 2.062) < 0.01
    assert abs(found.entropy[0] - found.largest) < 1e-12
    assert found.chaotic
    assert found.exact
    assert found.flags == ()
    assert found.zero == 1


def test_windows_don_t_depend_on_each_other(butterfly):
    starts, times = later(LORENZ, [1.0, 1.0, 20.0], 3, 30.0, 450.0)
    alone = lyapunov(LORENZ, starts[1:2], 400.0, t0=times[1:2])
    np.testing.assert_array_equal(alone.windows[0], butterfly.windows[1])


def test_leading_exponents_are_those_of_the_whole_spectrum(butterfly):
    starts, times = later(LORENZ, [1.0, 1.0, 20.0], 3, 30.0, 450.0)
    leading = lyapunov(LORENZ, starts, 400.0, t0=times, count=1)
    assert leading.exponents.shape == (1,)
    assert abs(leading.largest - butterfly.largest) < 4 * np.hypot(leading.error[0], butterfly.error[0])
    assert np.isnan(leading.sum)
    assert np.isnan(leading.mismatch)


def test_linear_system_with_shear_and_rates_far_apart():
    # contraction by e^-3000 a time unit is lost in rounding unless vectors are made orthonormal often enough
    found = lyapunov(LINEAR, np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]), 20.0)
    np.testing.assert_allclose(found.exponents[1:], [-1.0, -3000.0], rtol=0.02)
    assert abs(found.exponents[0] - 0.2) < 0.02
    assert abs(found.sum - (0.2 - 1.0 - 3000.0)) < 1e-4 * 3000
    assert found.mismatch < 1e-6


def test_a_swinging_pendulum_is_not_chaotic():
    found = lyapunov(PENDULUM, np.array([[1.0, 0.0], [2.0, 0.0]]), 500.0)
    assert "not chaotic" in found.flags
    assert np.abs(found.exponents).max() < 0.02
    assert abs(found.sum) < 1e-6
    assert found.divergence == 0.0
    assert found.entropy[0] < 0.02


def kinked(t, x, p):
    return (-x[0] - 3.0 * (abs(x[0] - 1.0) - abs(x[0] + 1.0)), -0.5 * x[1])


class Kinked(VectorField):
    """Probed where its kinks are not felt, so that its derivatives look exact."""

    def probe(self):
        return np.array([[30.0, 30.0], [-40.0, 20.0], [50.0, 50.0], [60.0, 60.0]]), self.p


def test_derivatives_that_are_wrong_on_the_orbit_are_replaced():
    field = Kinked(kinked, 2)
    assert field.exact  # or else this test shows nothing
    found = lyapunov(field, np.array([[0.0, 0.0]]), 20.0)
    np.testing.assert_allclose(found.exponents, [5.0, -0.5], rtol=1e-2)
    assert not found.exact


def jumping(t, x, p):
    return (x[1], -x[0] + (0.5 if x[0] > 0.2 else -0.5))


def test_jumps_are_passed():
    found = lyapunov(VectorField.of(jumping, 2), np.array([[1.0, 1.0]]), 20.0)
    assert abs(found.sum) < 1e-3


def test_without_compiler(monkeypatch):
    monkeypatch.setenv("TRAJLAB_NO_COMPILER", "1")
    slow = VectorField.of(linear, 3, a=0.2, b=-1.0, c=-30.0, shear=1.0)
    with pytest.warns(UserWarning, match="numba"):
        found = lyapunov(slow, np.zeros((1, 3)), 8.0)
    np.testing.assert_allclose(found.exponents, [0.2, -1.0, -30.0], rtol=0.02, atol=0.08)
    assert found.mismatch < 1e-6
    assert not found.exact


def test_gram_schmidt_is_qr():
    v = np.random.default_rng(0).normal(size=(4, 6)) @ np.diag([1.0, 1e-3, 1.0, 1e3, 1.0, 1.0])
    logs, q = np.empty(4), v.copy()
    assert lyapunov_driver.orthonormalise.py_func(q, logs)
    np.testing.assert_allclose(logs, np.log(np.abs(np.diag(np.linalg.qr(v.T)[1]))), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(q @ q.T, np.eye(4), atol=1e-12)
    assert not lyapunov_driver.orthonormalise.py_func(np.zeros((2, 3)), np.empty(2))


def test_first_vectors():
    v = first_vectors(5, 3, 7, "x")
    np.testing.assert_allclose(v @ v.T, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(v, first_vectors(5, 3, 7, "x"))


@pytest.mark.parametrize(("exponents", "dimension"), [([0.9056, 0.0, -14.5723], 2 + 0.9056 / 14.5723), ([-1.0, -2.0], 0.0), ([1.0, -0.5], 2.0),
                                                      ([0.0, -1.0], 1.0), ([-5.0, 0.3, 0.2], 2.1), ([0.5], 1.0)])
def test_kaplan_yorke(exponents, dimension):
    assert kaplan_yorke(exponents) == pytest.approx(dimension)


def test_entropy():
    assert entropy([0.3, -1.0, 0.2]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="finite"):
        entropy([0.3, np.nan])
    with pytest.raises(ValueError, match="at least one"):
        kaplan_yorke([])


def made(windows, coarse=None, divergence=None, scatter=0.01):
    """A result whose windows have these exponents, with blocks scattered around them."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(windows), 20, np.shape(windows)[1])) * scatter
    blocks = np.asarray(windows, dtype=float)[:, None] + noise - noise.mean(1, keepdims=True)
    rough = blocks if coarse is None else np.asarray(coarse, dtype=float)[:, None]
    total = np.sum(windows, 1) if divergence is None else np.full(len(windows), float(divergence))
    return Lyapunov(blocks, rough, np.repeat(total[:, None], 20, 1), 1000.0, np.shape(windows)[1])


def test_flags():
    good = [[0.5, 0.0, -1.0], [0.51, 0.0, -1.01], [0.49, 0.0, -0.99]]
    assert made(good).flags == ()
    assert made([[0.5, -1.0], [0.35, -0.85], [0.5, -1.0]]).flags == ("windows disagree",)
    assert made(good, coarse=np.add(good, [0.1, 0.0, 0.0])).flags == ("not converged",)
    assert made(good, divergence=-0.6).flags == ("sum is not the divergence",)
    assert made([[0.0001, -1.0]] * 3).flags == ("not chaotic",)
    assert made([[0.05, -1.0]] * 3, scatter=1.0).flags == ("undecided",)


def test_errors_are_of_windows_blocks_and_step():
    windows = np.array([[0.5], [0.56], [0.44]])
    found = made(windows, coarse=windows + 0.02)
    assert found.standard_error[0] == pytest.approx(windows.std(ddof=1) / np.sqrt(3))
    assert found.step_change[0] == pytest.approx(0.02)
    assert found.error[0] == pytest.approx(np.hypot(windows.std(ddof=1) / np.sqrt(3), 0.02))
    wide = made(np.full((3, 1), 0.5), scatter=1.0)
    assert wide.standard_error[0] == pytest.approx(1.0 / np.sqrt(60), rel=0.3)


@pytest.mark.parametrize(("change", "message"), [
    ({"x0": np.zeros((3, 2))}, r"\[window 3\] was wanted"), ({"x0": np.full((1, 3), np.nan)}, "not finite"), ({"duration": -1.0}, "positive time"),
    ({"duration": np.inf}, "positive time"), ({"count": 4}, "1 to 3 exponents"), ({"count": 0}, "1 to 3 exponents"), ({"rtol": 0.1}, "256 rtol"),
    ({"atol": 0.0}, "positive ones")])
def test_bad_input(change, message):
    given = {"x0": np.ones((1, 3)), "duration": 10.0} | change
    with pytest.raises(ValueError, match=message):
        lyapunov(LORENZ, given.pop("x0"), given.pop("duration"), **given)


def test_neither_field_nor_map():
    with pytest.raises(TypeError, match=r"VectorField.of"):
        lyapunov(lorenz, np.ones((1, 3)), 10.0)


def test_an_orbit_that_leaves_is_told():
    away = VectorField.of(linear, 3, a=2.0, b=1.0, c=1.0, shear=0.0)
    with pytest.raises(ValueError, match=r"window 1 ended at t = .*left the range"):
        lyapunov(away, np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), 100.0)


def test_later():
    starts, times = later(PENDULUM, [1.0, 0.0], 3, 5.0, 2.0)
    np.testing.assert_allclose(times, [5.0, 7.0, 9.0])
    energy = 0.5 * starts[:, 1] ** 2 - np.cos(starts[:, 0])
    np.testing.assert_allclose(energy, -np.cos(1.0), atol=1e-8)
    with pytest.raises(ValueError, match="positive"):
        later(PENDULUM, [1.0, 0.0], 3, 0.0, 2.0)


def henon(x, p):
    return (1.0 - p[0] * x[0] ** 2 + x[1], p[1] * x[0])


def logistic(x, p):
    return p[0] * x[0] * (1.0 - x[0])


def test_henon_map():
    found = lyapunov(Map(henon, 2, np.array([1.4, 0.3]), name="henon"), np.array([[0.1, 0.1], [0.2, 0.1], [-0.1, 0.1]]), 40_000)
    assert abs(found.largest - 0.4192) < 4 * found.error[0] < 0.02
    assert abs(found.sum - np.log(0.3)) < 1e-12
    assert found.mismatch < 1e-12
    assert abs(found.kaplan_yorke[0] - 1.258) < 0.005
    assert found.flags == ()


def test_logistic_map_and_bad_maps():
    chaos = Map(logistic, 1, np.array([4.0]), name="logistic")
    found = lyapunov(chaos, np.array([[0.1], [0.2], [0.37]]), 40_000)
    assert abs(found.largest - np.log(2.0)) < 1e-3
    with pytest.raises(ValueError, match="at least 200"):
        lyapunov(chaos, np.array([[0.1]]), 10)
    with pytest.raises(ValueError, match="left the range"):
        lyapunov(chaos, np.array([[2.0]]), 1000)
    with pytest.raises(ValueError, match="singular"):
        lyapunov(chaos, np.array([[0.5]]), 1000)


def test_delay_systems_go_to_their_own_solver(monkeypatch):
    from trajlab.dynamics import lyapunov_delay
    from trajlab.dynamics.delay import DelayField
    from trajlab.dynamics.delay_lyapunov import DelayExponents

    seen = []

    def exponents(field, history, duration, k, **given):
        seen.append((float(history[0]), duration, k))
        return DelayExponents(np.array([0.1, -0.2]) + (0.001 if given["rtol"] > 1e-8 else 0.0), np.array([0.01, 0.02]), True, 5)

    monkeypatch.setattr(lyapunov_delay, "delay_exponents", exponents)
    field = DelayField(lambda t, x, delayed, p: (-x[0] + delayed[0],), 1, 2.0)
    found = lyapunov(field, np.array([[0.5], [0.6]]), 100.0, count=2)
    assert seen == [(0.5, 100.0, 2), (0.6, 100.0, 2)] * 2
    np.testing.assert_allclose(found.exponents, [0.1, -0.2])
    np.testing.assert_allclose(found.standard_error, np.array([0.01, 0.02]) / np.sqrt(2))
    np.testing.assert_allclose(found.step_change, 0.001)
    assert np.isnan(found.sum)
    with pytest.raises(ValueError, match=r"\[window 1\]"):
        lyapunov(field, np.ones((2, 3)), 100.0)
