"""Distances of generators: values by hand, the likelihood ratio they are named after, laws of relabelling and of the unit of time, and bad input."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics.jumps.generator import from_rates, stationary, transition
from trajlab.metrics.jumps import hellinger, hellinger_over_time, interval_coverage, log_rate_error, path_kl, rate_rmse, relative_error

TWO = from_rates(np.array([[0.0, 1.0], [3.0, 0.0]]))


def drawn(n=4, count=3, seed=0):
    r = np.random.default_rng(seed)
    return from_rates(r.gamma(1.0, size=(count, n, n)) + 0.05), from_rates(r.gamma(1.0, size=(count, n, n)))


def test_two_states_by_hand():
    other = from_rates(np.array([[0.0, 2.0], [3.0, 0.0]]))
    # pi = (3/4, 1/4), jumps 3/2 a unit of time: (3/4 (log(1/2) + 1)) / (3/2)
    assert path_kl(TWO, other) == pytest.approx((1 - np.log(2)) / 2, rel=1e-12)
    assert log_rate_error(TWO, other) == pytest.approx(np.log(2) / 2)
    assert relative_error(TWO, other) == pytest.approx(0.5)
    assert rate_rmse(TWO, other) == pytest.approx(np.sqrt(0.5))
    assert path_kl(TWO, TWO) == 0


def test_path_kl_is_the_likelihood_ratio_of_looks_close_together():
    (q, *_), (h, *_) = drawn(count=1)
    lag, pi = 1e-5, stationary(q)
    p, r = transition(q, np.array(lag)), transition(h, np.array(lag))
    off = ~np.eye(4, dtype=bool)
    rate = (pi[:, None] * np.where(off, q, 0)).sum()
    assert path_kl(q, h, floor=0.0) == pytest.approx((pi[:, None] * p * np.log(p / r)).sum() / lag / rate, rel=1e-3)


def test_relabelling_and_another_clock_change_nothing():
    q, h = drawn()
    order = np.array([2, 0, 3, 1])
    for score in (path_kl, log_rate_error, relative_error, rate_rmse):
        first = score(q, h)
        assert first.shape == (3,)
        np.testing.assert_allclose(score(q[:, order][:, :, order], h[:, order][:, :, order]), first, rtol=1e-10)
        np.testing.assert_allclose(score(1e6 * q, 1e6 * h), first * (1e6 if score is rate_rmse else 1), rtol=1e-10)
        np.testing.assert_allclose(score(q[0], h), [score(q[0], one) for one in h])  # one truth, many estimates


def test_a_missed_link_is_floored_and_an_absent_one_counts_for_what_it_adds():
    without = from_rates(np.array([[0.0, 1.0], [0.0, 0.0]]))
    floor = 1e-3 * 1.5 / 2
    assert path_kl(TWO, without) == pytest.approx(0.25 * (3 * np.log(3 / floor) - 3 + floor) / 1.5)
    assert path_kl(TWO, without, floor=0.0) == np.inf
    assert log_rate_error(TWO, without, floor=1e-3) == pytest.approx(np.log(3 / floor) / 2)
    ring = from_rates(np.roll(np.eye(3), 1, axis=1))
    more = ring.copy()
    more[0, 2] = 0.5
    assert path_kl(ring, from_rates(more)) == pytest.approx((0.5 + 2 * floor_of(ring)) / 3, rel=1e-9)
    assert relative_error(ring, more) == 0
    assert log_rate_error(ring, more) == 0


def floor_of(q, share=1e-3):
    return share * 1.0 / len(q)  # the ring jumps once a unit of time


def test_absorbing_truths_need_weights():
    dying = np.array([[0.0, 1.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="pass weight"):
        path_kl(dying, TWO)
    assert path_kl(dying, TWO, weight=np.array([1.0, 0.0])) == pytest.approx(0, abs=1e-15)


def test_coverage_counts_open_intervals():
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    found = interval_coverage(truth, np.array([0.0, 2.5, -np.inf, 4.0]), np.array([2.0, np.inf, 3.5, 4.0]))
    assert found.value == 0.75
    assert found.error == pytest.approx(np.sqrt(0.75 * 0.25 / 4))
    assert interval_coverage(truth, truth, truth, where=truth > 3).value == 1


def test_hellinger_of_occupancies():
    assert hellinger(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1
    assert hellinger(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == pytest.approx(np.sqrt(1 - np.sqrt(0.5)))
    other, times = from_rates(np.array([[0.0, 2.0], [3.0, 0.0]])), np.array([0.0, 0.3, 50.0])
    found = hellinger_over_time(TWO, other, np.array([1.0, 0.0]), times)
    assert found[0] == 0
    p, r = (1 - rate * (1 - np.exp(-(rate + 3) * 0.3)) / (rate + 3) for rate in (1, 2))
    assert found[1] == pytest.approx(hellinger(np.array([p, 1 - p]), np.array([r, 1 - r])))
    assert found[2] == pytest.approx(hellinger(stationary(TWO), stationary(other)))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: path_kl(TWO, np.zeros((3, 3))), "2 states and the estimate 3"),
    (lambda: path_kl(TWO, np.array([[0.0, -1.0], [1.0, 0.0]])), "1 negative ones"),
    (lambda: rate_rmse(TWO, np.array([[0.0, np.nan], [1.0, 0.0]])), "1 rates that are not finite"),
    (lambda: rate_rmse(np.zeros((1, 1)), np.zeros((1, 1))), "at least two states"),
    (lambda: relative_error(np.zeros((2, 2)), TWO), "has no link"),
    (lambda: interval_coverage(np.ones(2), np.array([2.0, 0.0]), np.array([1.0, 3.0])), "1 of 2 intervals"),
    (lambda: interval_coverage(np.ones(2), np.array([np.nan, 0.0]), np.array([1.0, 3.0])), "open ends as infinity"),
    (lambda: interval_coverage(np.ones(2), np.zeros(2), np.ones(2), where=np.zeros(2, dtype=bool)), "no interval is left"),
    (lambda: hellinger(np.array([0.5, 0.6]), np.array([0.5, 0.5])), "distributions over states"),
    (lambda: hellinger_over_time(TWO, TWO, np.array([1.0, 0.0, 0.0]), np.ones(1)), "initial distribution has shape"),
])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
