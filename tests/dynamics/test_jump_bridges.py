"""Paths between two looks: their means are the expected jumps and times, and their laws those of Gillespie paths that happen to end there."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.dynamics.jumps.bridges import bridge, bridge_statistics
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import PairCounts

Q = from_rates(np.array([[0, 1.3, 0.2], [0.4, 0, 2.0], [0.9, 0.1, 0]]))


def pairs(lag, start, stop, weight, entry=None, n=3):
    return PairCounts.from_pairs(np.array(lag), np.array(start), np.array(stop), n, np.array(weight, dtype=float), entry)


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_means_are_the_expected_jumps_and_times(scale):
    counts = pairs([0.3, 0.3, 1.0, 2.5], [0, 1, 2, 0], [2, 1, 0, 0], [2000, 1500, 900, 500])
    jumps, time = bridge_statistics(Q * scale, counts, 1)
    exact = evaluate(Q * scale, counts)
    assert time.sum() == pytest.approx(counts.total_time, rel=1e-12)
    np.testing.assert_allclose(time, exact.time, rtol=0.03)
    off = ~np.eye(3, dtype=bool)
    assert (np.abs(jumps - exact.jumps)[off] < 5 * np.sqrt(exact.jumps[off]) + 1e-9).all()
    assert np.diag(jumps).sum() == 0


def test_an_entry_of_known_date_ends_with_its_jump():
    q = from_rates(np.array([[0, 1.0, 0.3], [0.5, 0, 0.8], [0, 0, 0]]))
    counts = pairs([0.7, 0.7], [0, 1], [2, 2], [3000, 1000], np.array([True, True]))
    jumps, time = bridge_statistics(q, counts, 2)
    exact = evaluate(q, counts)
    assert jumps[:, 2].sum() == 4000
    np.testing.assert_allclose(jumps, exact.jumps, atol=5 * np.sqrt(exact.jumps.max()))
    np.testing.assert_allclose(time[:2], exact.time[:2], rtol=0.04)
    assert time[2] == 0


def test_jumps_seen_as_they_happened_are_kept():
    counts = pairs([1.0], [0], [1], [1])
    counts.jumps[2, 0] += 7
    counts.time[2] += 3.5
    jumps, time = bridge_statistics(Q, counts, 0)
    assert jumps[2, 0] >= 7
    assert time[2] >= 3.5


def test_holding_time_of_one_jump_has_its_law():
    # 0 -> 1 one way: the time of the jump, given it happened by h, is a truncated exponential
    q = from_rates(np.array([[0, 2.0], [0, 0]]))
    rng = np.random.default_rng(3)
    held = np.array([bridge(q, 0, 1, 1.5, rng)[1][0] for _ in range(1500)])
    chance = -np.expm1(-2.0 * held) / -np.expm1(-3.0)
    assert np.abs(np.sort(chance) - (np.arange(1500) + 0.5) / 1500).max() < 1.7 / np.sqrt(1500)


@pytest.mark.parametrize("lag", [0.5, 60.0])
def test_a_path_has_its_ends_and_its_length(lag):
    states, lengths = bridge(Q, 2, 1, lag, 5)
    assert (states[0], states[-1]) == (2, 1)
    assert (states[1:] != states[:-1]).all()
    assert lengths.sum() == pytest.approx(lag)
    assert (lengths > 0).all()
    again = bridge(Q, 2, 1, lag, 5)
    np.testing.assert_array_equal(states, again[0])


def test_bad_input():
    one_way = from_rates(np.array([[0, 1.0], [0, 0]]))
    with pytest.raises(ValueError, match="no way there"):
        bridge(one_way, 1, 0, 1.0)
    with pytest.raises(ValueError, match="has states"):
        bridge(one_way, 0, 2, 1.0)
    with pytest.raises(ValueError, match="above 0"):
        bridge(one_way, 0, 1, 0.0)
    with pytest.raises(ValueError, match="does not allow"):
        bridge_statistics(one_way, pairs([1.0], [1], [0], [1], n=2))
    with pytest.raises(ValueError, match="independent"):
        bridge(Q * 1e9, 0, 1, 1.0)
