"""Metastable sets, coarse generators, and deeptime's models of the same process."""

from __future__ import annotations

import numpy as np
import pytest
from jump_generators import ADP, chain, ring

from trajlab.dynamics.jumps.generator import from_rates, stationary, transition
from trajlab.dynamics.jumps.lumping import aggregated, lump, number_of_sets, possible_numbers
from trajlab.dynamics.jumps.observables import relaxation, spectrum
from trajlab.dynamics.jumps.passage import mean_first_passage
from trajlab.dynamics.jumps.to_deeptime import to_deeptime


def blocks(reversible: bool = True) -> np.ndarray:
    """Three sets of three states with rates of 1 within and .01 between."""
    rng = np.random.default_rng(0)
    pi, set_of = rng.dirichlet(np.full(9, 3.0)), np.repeat([0, 1, 2], 3)
    s = rng.uniform(0.5, 1.5, (9, 9))
    s = (s + s.T if reversible else 2 * s) * np.where(set_of[:, None] == set_of, 1, 0.01)
    return from_rates(s * np.sqrt(pi / pi[:, None]))


@pytest.mark.parametrize("reversible", [True, False])
def test_sets_of_a_metastable_process(reversible):
    q = blocks(reversible)
    assert number_of_sets(q) == 3
    found = lump(q)
    assert found.assignment.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert np.allclose(found.membership.sum(1), 1)
    assert (found.membership >= 0).all()
    assert found.crispness > 0.98
    assert found.proper
    assert found.gap > 10
    # the coarse generator has the slowest modes of the process
    assert np.allclose(np.sort_complex(np.linalg.eigvals(found.generator)), np.sort_complex(spectrum(q)[:3]), atol=1e-9)
    assert np.allclose(found.generator.sum(1), 0, atol=1e-12)
    assert np.allclose(found.stationary @ found.generator, 0, atol=1e-12)
    assert found.stationary.sum() == pytest.approx(1)
    assert 0.5 < found.metastability(1.0) < 1
    hard = aggregated(q, found.assignment)
    assert np.allclose(stationary(hard), [stationary(q)[3 * k:3 * k + 3].sum() for k in range(3)])
    assert relaxation(hard).time[0] < relaxation(q).time[0] < 1.1 * relaxation(hard).time[0] if reversible else True


def test_agrees_with_deeptime_where_it_applies():
    markov = pytest.importorskip("deeptime.markov")
    q = blocks()
    theirs, ours = markov.pcca(transition(q, np.array(1.0)), 3), lump(q)
    order = [int(np.argmax(theirs.memberships[3 * k])) for k in range(3)]
    assert np.allclose(theirs.memberships[:, order], ours.membership, atol=1e-4)


def test_relabelling_permutes_the_sets():
    order = np.random.default_rng(1).permutation(9)
    found, moved = lump(blocks()), lump(blocks()[np.ix_(order, order)])
    same = moved.assignment[:, None] == moved.assignment
    assert np.array_equal(same, (found.assignment[order][:, None] == found.assignment[order]))
    assert moved.crispness == pytest.approx(found.crispness, abs=1e-5)
    assert np.array_equal(lump(3600 * blocks()).assignment, found.assignment)


def test_complex_pairs_are_not_split():
    assert possible_numbers(ADP) == [1, 2, 3, 4, 6]
    assert number_of_sets(ADP) == 2
    assert lump(ADP, 2).assignment.tolist() == [0, 0, 0, 0, 1, 1]
    # three metastable sets round which the process turns: the two slow modes are a complex pair
    turning = np.kron(ring(3, 0.05, 0.001), np.eye(2)) + np.kron(np.eye(3), np.array([[-1.0, 1.0], [1.0, -1.0]]))
    assert possible_numbers(turning)[:2] == [1, 3]
    found = lump(turning, 3)
    assert found.assignment.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.allclose(found.generator, ring(3, 0.05, 0.001), atol=1e-10)
    with pytest.raises(ValueError, match="without splitting"):
        lump(turning, 2)


def test_aggregation_of_many():
    many = aggregated(np.stack([ADP, 2 * ADP]), np.array([0, 0, 0, 0, 1, 1]))
    assert np.allclose(many[1], 2 * many[0])
    assert np.allclose(many.sum(-1), 0)
    pi = stationary(ADP)
    assert many[0, 1, 0] == pytest.approx((pi[4:] @ ADP[4:, :4]).sum() / pi[4:].sum())


def test_export_to_deeptime():
    pytest.importorskip("deeptime")
    q = chain([2.0, 1.0, 0.3], [1.0, 0.5, 2.0])
    model = to_deeptime(q, 0.05)
    assert model.reversible
    assert np.allclose(model.transition_matrix, transition(q, np.array(0.05)))
    assert np.allclose(model.timescales(), relaxation(q).time)
    assert np.allclose(model.stationary_distribution, stationary(q))
    assert to_deeptime(q, 0.05, time_step=0.01).timescales()[0] == pytest.approx(100 * relaxation(q).time[0])
    assert to_deeptime(q, 1e-4).mfpt([0], [3]) == pytest.approx(mean_first_passage(q, 3)[0], rel=1e-3)
    assert not to_deeptime(ADP, 0.05).reversible


@pytest.mark.parametrize(("call", "words"), [
    (lambda: lump(ADP, 1), "possible"),
    (lambda: lump(from_rates(np.array([[0, 1.0, 0], [0, 0, 1.0], [0, 1.0, 0]])), 2), r"\[0\] are transient"),
    (lambda: lump(from_rates(np.zeros((3, 3))), 2), "3 classes are closed"),
    (lambda: number_of_sets(ring(2, 1.0, 1.0)), "at least 3"),
    (lambda: aggregated(ADP, np.array([0, 0, 0, 2, 2, 2])), "no set without one"),
    (lambda: to_deeptime(ADP, 0.0), "positive"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
