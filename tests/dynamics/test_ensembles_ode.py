"""DOP853: order, dense output, scipy as a reference, what ends early, independence of rows, bad input."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from trajlab.dynamics import dop853
from trajlab.dynamics.compiled import only
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.ode import REASONS, solve


def lorenz(t, x, p):
    return p[0] * (x[1] - x[0]), x[0] * (p[1] - x[2]) - x[1], x[0] * x[1] - p[2] * x[2]


def kepler(t, x, p):
    r3 = (x[0] * x[0] + x[1] * x[1]) ** 1.5
    return x[2], x[3], -x[0] / r3, -x[1] / r3


def forced(t, x, p):
    return x[1], -x[0] + np.sin(2 * t)


LORENZ = VectorField(lorenz, 3, np.array([10.0, 28.0, 8 / 3]), name="Lorenz")
KEPLER = VectorField(kepler, 4, name="Kepler")
SQUARE = VectorField(lambda t, x, p: (x[0] * x[0],), 1, name="square")
ROOT = VectorField(lambda t, x, p: (np.sqrt(x[0]) - 2.0,), 1, name="root")
START = np.array([1.0, 0.0, 0.0, 1.2])


def test_agrees_with_scipy_to_rounding_over_short_times():
    """The same method, tolerances and first step: the same steps."""
    times = np.linspace(0, 1, 41)
    start = np.array([1.0, 2.0, 20.0])
    theirs = solve_ivp(lambda t, x: np.array(lorenz(t, x, LORENZ.p)), (0, 1), start, "DOP853", times, rtol=1e-9, atol=1e-9)
    ours = solve(LORENZ, start, times)
    assert np.abs(ours.x[0] - theirs.y.T).max() < 1e-10
    assert abs(int(ours.evaluations[0]) - theirs.nfev) <= 3 * int(ours.steps[0])


def test_the_order_is_eight():
    """On a circle all steps are alike: their number goes as tolerance^(-1/8), and the error at the end at least as steps^-8."""
    circle, times = np.array([1.0, 0.0, 0.0, 1.0]), np.array([0.0, 20 * np.pi])
    loose, tight = (solve(KEPLER, circle, times, rtol=tol, atol=tol) for tol in (1e-4, 1e-10))
    ratio = tight.steps[0] / loose.steps[0]
    assert abs(np.log(1e6) / np.log(ratio) - 8) < 0.6
    errors = [np.abs(s.x[0, -1] - circle).max() for s in (loose, tight)]
    assert np.log(errors[0] / errors[1]) / np.log(ratio) > 7.5  # 9 or so: the phase gathers errors of the radius


def test_the_error_follows_the_tolerance_and_dense_output_is_as_good_as_the_steps():
    times = np.linspace(0, 20, 2001)
    truth = solve(KEPLER, START, times, rtol=1e-13, atol=1e-13).x
    errors = [np.abs(solve(KEPLER, START, times, rtol=tol, atol=tol).x - truth).max() for tol in (1e-5, 1e-7, 1e-9)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 3e-7
    solved = solve(KEPLER, START, times)
    assert solved.steps[0] < 200  # far fewer than the frames, which lie between the steps
    ends = solve(KEPLER, START, times[::2000]).x[0, -1] - truth[0, -1]
    assert np.abs(solved.x - truth).max() < 10 * np.abs(ends).max() + 1e-8
    x = solved.x[0]
    assert np.ptp(0.5 * (x[:, 2] ** 2 + x[:, 3] ** 2) - 1 / np.hypot(x[:, 0], x[:, 1])) < 1e-7


def test_the_frames_that_are_asked_for_do_not_change_the_steps():
    coarse, fine = solve(LORENZ, [1.0, 2.0, 20.0], [0.0, 5.0]), solve(LORENZ, [1.0, 2.0, 20.0], np.linspace(0, 5, 501))
    assert coarse.steps[0] == fine.steps[0]
    assert np.array_equal(coarse.x[0, -1], fine.x[0, -1])


def test_backwards_leads_back():
    there = solve(KEPLER, START, np.linspace(0, 7, 8), rtol=1e-11, atol=1e-11)
    back = solve(KEPLER, there.x[0, -1], there.times[::-1], rtol=1e-11, atol=1e-11)
    assert np.abs(back.x[0, ::-1] - there.x[0]).max() < 1e-8
    assert back.reached[0] == 0.0


def test_time_enters_where_the_field_has_it():
    times = np.linspace(1, 9, 33)
    field = VectorField(forced, 2)

    def exact(t):
        return np.stack([np.cos(t) - np.sin(2 * t) / 3, -np.sin(t) - 2 * np.cos(2 * t) / 3], -1)

    assert np.abs(solve(field, exact(times[0]), times).x[0] - exact(times)).max() < 1e-7


def test_the_first_step_suits_the_scale_of_time():
    field = VectorField(lambda t, x, p: (-x[1] * x[0], 0.0), 2)
    for rate in (1e-6, 1.0, 1e6):
        got = solve(field, [1.0, rate], [0.0, 1 / rate])
        assert got.x[0, -1, 0] == pytest.approx(np.exp(-1), abs=1e-8)
        assert got.steps[0] < 40
    assert solve(field, [1.0, 0.0], [0.0, 1e6]).x[0, -1, 0] == 1.0


def test_one_time_is_the_start():
    got = solve(LORENZ, [[1.0, 2.0, 3.0]], [4.0])
    assert got.x.tolist() == [[[1.0, 2.0, 3.0]]]
    assert got.complete


@pytest.mark.parametrize(("field", "starts", "most", "status", "reached"), [
    (SQUARE, [[1.0], [-1.0]], 10_000, 4, 1.0),  # 1 / (1 - t)
    (ROOT, [[1.0], [9.0]], 10_000, 3, 0.7726),  # no root below 0: 4 log 2 - 2
    (VectorField(lambda t, x, p: (-np.sign(x[0]) / abs(x[0]),), 1), [[1.0], [9.0]], 10_000, None, 0.5),  # sqrt(1 - 2t) meets 0 with no slope
])
def test_what_cannot_go_on_is_marked_and_the_others_do(field, starts, most, status, reached):
    kept = solve(field, starts, np.linspace(0, 2, 9), failed="keep", most=most)
    assert kept.status[1] == 0
    assert kept.status[0] in ((status,) if status else (1, 2, 3))
    assert kept.reached[0] == pytest.approx(reached, abs=2e-3)
    shown = kept.times <= kept.reached[0]
    assert np.isfinite(kept.x[0, shown]).all()
    assert np.isnan(kept.x[0, ~shown]).all()
    assert np.isfinite(kept.x[1]).all()
    with pytest.raises(ValueError, match=r"1 of 2 trajectories ended before t = 2 \(row 0 at t = 0|1.*failed='keep'"):
        solve(field, starts, np.linspace(0, 2, 9), most=most)


def test_too_many_steps_are_said_to_be():
    kept = solve(LORENZ, [1.0, 2.0, 20.0], np.linspace(0, 100, 11), most=50, failed="keep")
    assert kept.status.tolist() == [2]
    assert kept.steps.tolist() == [50]
    assert 0 < kept.reached[0] < 100
    assert "the number of steps" in kept.failures("Lorenz")
    assert len(REASONS) == 5


def test_a_slope_that_is_not_finite_shortens_the_step_and_no_more():
    """The root is not real beyond x = 1, where trial steps land when the step is long; the solution, x = 1 - (1 - t/2)^2, comes close."""
    root = VectorField(lambda t, x, p: (np.sqrt(1.0 - x[0]),), 1)
    got = solve(root, [0.0], [0.0, 1.0, 1.99])
    assert np.abs(got.x[0, :, 0] - (1 - (1 - got.times / 2) ** 2)).max() < 1e-7


def test_rows_do_not_depend_on_their_batch_mates_nor_on_threads():
    starts = np.random.default_rng(0).normal(size=(8, 3)) + [0, 0, 20]
    times = np.linspace(0, 30, 600)
    one, many = solve(LORENZ, starts, times, workers=1), solve(LORENZ, starts, times, workers=4)
    assert np.array_equal(one.x, many.x)
    assert np.array_equal(one.x[5], solve(LORENZ, starts[5], times).x[0])


def test_advance_ends_exactly_where_it_is_told_to():
    x, slopes, work = START.copy(), np.empty((16, 4)), np.empty((2, 4))
    one, two, real = nb.float64[::1], nb.float64[:, ::1], nb.float64
    driver = only(dop853.advance, nb.types.FunctionType(dop853.RHS), real, real, one, real, one, real, real, nb.int64, two, two)
    status, t, h, calls = driver(KEPLER.rhs, 0.0, 3.0, x, 0.0, KEPLER.p, 1e-11, 1e-11, 1000, slopes, work)
    assert (status, t) == (0, 3.0)
    assert h > 0
    assert calls > 12
    assert np.abs(x - solve(KEPLER, START, [0.0, 3.0], rtol=1e-11, atol=1e-11).x[0, -1]).max() < 1e-9


@pytest.mark.parametrize(("start", "times", "more", "message"), [
    ([1.0, 2.0], [0, 1], {}, r"Lorenz: starts of shape \(1, 2\); \[batch 3\] was wanted"),
    ([[1.0, np.nan, 2.0]], [0, 1], {}, r"1 of 1 starts are not finite \(rows \[0\]\)"),
    ([1.0, 2.0, 3.0], [0, 1, 1], {}, "do not rise or fall throughout"),
    ([1.0, 2.0, 3.0], [], {}, "do not rise or fall throughout"),
    ([1.0, 2.0, 3.0], [0, np.inf], {}, "do not rise or fall throughout"),
    ([1.0, 2.0, 3.0], [0, 1], {"rtol": 0.0}, "positive tolerances were wanted"),
    ([1.0, 2.0, 3.0], [0, 1], {"failed": "ignore"}, "'raise' or 'keep' was wanted"),
])
def test_bad_input(start, times, more, message):
    with pytest.raises(ValueError, match=message):
        solve(LORENZ, start, times, **more)


def test_a_bare_function_is_told_what_it_lacks():
    with pytest.raises(TypeError, match=r"the field is a function; for arrays a VectorField was wanted"):
        solve(lorenz, [1.0, 2.0, 3.0], [0, 1])
