"""Delay equations: solutions known in closed form, order of convergence, histories, what ends early, no compiler, exponents."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import lambertw

from trajlab.dynamics import compiled
from trajlab.dynamics.delay import DelayField, solve_delay
from trajlab.dynamics.delay_lyapunov import delay_exponents


def feedback(t, x, delayed, p):
    return (-p[0] * delayed[0],)


def mackey_glass(t, x, delayed, p):
    return (p[0] * delayed[0] / (1 + delayed[0] ** p[1]) - p[2] * x[0],)


def square(t, x, delayed, p):
    return (x[0] * x[0] + 0 * delayed[0],)


LINE = DelayField(feedback, 1, 1.0, np.array([1.0]), ("gain",), "feedback")
GLASS = DelayField(mackey_glass, 1, 17.0, np.array([0.2, 10.0, 0.1]), ("beta", "n", "gamma"), "Mackey-Glass")


def piecewise(t):
    """x' = -x(t-1) with x = 1 before 0, by hand."""
    first, second = 1 - t, 1 - t + (t - 1) ** 2 / 2
    return np.where(t <= 1, first, np.where(t <= 2, second, second - (t - 2) ** 3 / 6))


def test_a_constant_history_gives_the_polynomials_of_the_method_of_steps():
    got = solve_delay(LINE, [1.0], np.linspace(0, 3, 61))
    assert np.abs(got.x[0, :, 0] - piecewise(got.times)).max() < 1e-13
    assert got.complete
    assert got.x.shape == (1, 61, 1)


def test_halving_the_step_shows_order_eight():
    times = np.linspace(0, 100, 51)
    reference = solve_delay(GLASS, [1.2], times, step=17 / 128).x
    errors = [np.abs(solve_delay(GLASS, [1.2], times, step=17 / n).x - reference).max() for n in (8, 16, 32)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 7).all(), orders
    assert errors[-1] < 1e-11


def test_the_error_keeps_to_the_tolerance():
    times = np.linspace(0, 200, 101)
    reference = solve_delay(GLASS, [1.2], times, step=0.1).x
    loose, tight = (np.abs(solve_delay(GLASS, [1.2], times, rtol=tol, atol=tol).x - reference).max() for tol in (1e-6, 1e-11))
    assert tight < 1e-9 < loose < 1e-3


@pytest.mark.parametrize("form", ["function", "samples"])
def test_a_history_that_varies(form):
    """x' = -x(t - pi/2) goes on with sin t."""
    field, delay = DelayField(feedback, 1, np.pi / 2, np.array([1.0])), np.pi / 2
    history = (lambda t: [np.sin(t)]) if form == "function" else np.sin(np.linspace(-delay, 0, 60))[None, :, None]
    got = solve_delay(field, history, np.linspace(0, 20, 81))
    assert np.abs(got.x[0, :, 0] - np.sin(got.times)).max() < 2e-8


def test_two_delays_and_two_components():
    """Exponentials solve x' = a x(t-1) + b x(t-0.7) where rate = a exp(-rate) + b exp(-0.7 rate)."""
    rate = brentq(lambda r: r - 0.5 * np.exp(-r) - 0.3 * np.exp(-0.7 * r), 0, 1)

    def two(t, x, delayed, p):
        return p[0] * delayed[0, 0] + p[1] * delayed[1, 0], p[0] * delayed[0, 1] + p[1] * delayed[1, 1]

    field = DelayField(two, 2, (1.0, 0.7), np.array([0.5, 0.3]))
    got = solve_delay(field, lambda t: [np.exp(rate * t), -3 * np.exp(rate * t)], np.linspace(0, 10, 11), rtol=1e-11, atol=1e-11)
    assert np.abs(got.x[0] / np.exp(rate * got.times)[:, None] - [1, -3]).max() < 1e-9
    kinks = field.breaks(5.0, 15.0)
    assert np.allclose(kinks[:5] - 5.0, [0.7, 1.0, 1.4, 1.7, 2.0])
    assert np.diff(kinks).min() > 1e-3


def test_time_starts_where_it_is_told_to():
    def driven(t, x, delayed, p):
        return (np.cos(t) + 0 * delayed[0],)

    got = solve_delay(DelayField(driven, 1, 0.3), [np.sin(7.0)], np.linspace(7, 9, 5))
    assert np.abs(got.x[0, :, 0] - np.sin(got.times)).max() < 1e-9


def test_rows_do_not_depend_on_their_batch_mates_nor_on_threads():
    starts, times = np.random.default_rng(0).uniform(0.3, 1.3, (6, 1)), np.linspace(0, 200, 400)
    together = solve_delay(GLASS, starts, times, workers=4).x
    assert np.array_equal(together[3], solve_delay(GLASS, starts[3], times).x[0])


def test_what_blows_up_is_marked_and_the_others_go_on():
    field = DelayField(square, 1, 0.5, name="square")
    kept = solve_delay(field, [[1.0], [-1.0]], np.linspace(0, 3, 4), failed="keep")
    assert kept.status.tolist() == [4, 0]
    assert kept.reached[0] == pytest.approx(1.0, abs=1e-6)
    assert np.isnan(kept.x[0, 2:]).all()
    assert np.allclose(kept.x[1, :, 0], -1 / (1 + kept.times), atol=1e-7)
    with pytest.raises(ValueError, match=r"square: 1 of 2 trajectories ended before t = 3 \(row 0 at t = 1: the state left"):
        solve_delay(field, [[1.0], [-1.0]], np.linspace(0, 3, 4))
    assert solve_delay(GLASS, [1.2], [0.0, 500.0], most=10, failed="keep").status.tolist() == [2]


def test_without_a_compiler_the_solution_is_the_same(monkeypatch):
    times = np.linspace(0, 60, 31)
    here = solve_delay(GLASS, [[1.2], [0.4]], times)
    monkeypatch.setenv(compiled.OFF, "1")
    bare = DelayField(mackey_glass, 1, 17.0, GLASS.p)
    with pytest.warns(UserWarning, match="vectorised"):
        there = solve_delay(bare, [[1.2], [0.4]], times)
    assert np.abs(here.x - there.x).max() < 1e-7

    def branching(t, x, delayed, p):
        return (-delayed[0] if x[0] > -5 else 0.0,)

    with pytest.warns(UserWarning, match="vectorised"):
        got = solve_delay(DelayField(branching, 1, 1.0), [[1.0], [2.0]], np.linspace(0, 3, 7))
    assert np.abs(got.x[:, :, 0] - [[1.0], [2.0]] * piecewise(got.times)).max() < 1e-9


def test_exponents_of_a_linear_equation_are_its_characteristic_roots():
    """rate = -exp(-rate), solved by the branches of Lambert's W at -1 (conjugate pairs)."""
    got = delay_exponents(LINE, [1.0], 100.0, 4)
    roots = np.array([lambertw(-1, 0).real, lambertw(-1, 1).real])
    assert np.abs(got.exponents.reshape(2, 2).mean(1) - roots).max() < 2e-3
    assert (np.abs(got.exponents - np.repeat(roots, 2)) < 3 * got.error).all()
    assert got.exact


def test_mackey_glass_is_chaotic_with_one_exponent_zero():
    got = delay_exponents(GLASS, [1.2], 4000.0, 3, transient=1000.0, seed=1)
    assert 0.004 < got.exponents[0] < 0.008  # 0.006 or so at this delay
    assert abs(got.exponents[1]) < 4 * got.error[1] + 5e-4
    assert got.exponents[2] < -0.02
    assert got.exact


def test_exponents_through_a_kink_are_by_differences():
    def kinked(t, x, delayed, p):
        return (-abs(delayed[0]) - x[0],)

    got = delay_exponents(DelayField(kinked, 1, 1.0), lambda t: [0.2 + 0.1 * t], 40.0, 1, transient=2.0)
    assert not got.exact
    # x' = -|x(t-1)| - x settles on the negative side, where y' = y(t-1) - y: the largest root is 0 = exp(0) - 1
    assert abs(got.exponents[0]) < 5e-3


@pytest.mark.parametrize(("history", "times", "more", "message"), [
    ([1.0, 2.0], [0, 1], {}, r"history of shape \(2,\); \[batch 1\]"),
    ([[np.nan]], [0, 1], {}, "1 of 1 histories are not finite"),
    (np.zeros((1, 1, 1)), [0, 1], {}, "history of one sample"),
    (lambda t: [1.0, 2.0], [0, 1], {}, r"the history returned shape \(2,\)"),
    ([1.0], [1, 0], {}, "forward in time only"),
    ([1.0], [0, 1, 1], {}, "do not rise or fall"),
    ([1.0], [0, 1], {"step": -1.0}, "positive numbers were wanted"),
    ([1.0], [0, 1], {"failed": "ignore"}, "'raise' or 'keep'"),
])
def test_bad_input(history, times, more, message):
    with pytest.raises(ValueError, match=message):
        solve_delay(LINE, history, times, **more)


def test_a_field_says_what_is_wrong_with_it():
    with pytest.raises(ValueError, match="must be a function"):
        DelayField(3, 1, 1.0)
    with pytest.raises(ValueError, match="dimension 0"):
        DelayField(feedback, 0, 1.0)
    with pytest.raises(ValueError, match=r"delay -1.0; positive numbers"):
        DelayField(feedback, 1, -1.0)
    with pytest.raises(ValueError, match=r"at least one exponent and 10 intervals \(170\) were wanted"):
        delay_exponents(GLASS, [1.2], 100.0, 2)
    with pytest.raises(ValueError, match="one row at a time"):
        delay_exponents(GLASS, [[1.2], [1.3]], 1000.0, 2)
