"""What follows from a generator: relaxation, occupancies, passages, committors."""

from __future__ import annotations

import numpy as np
import pytest
from jump_generators import ADP, ION, chain, ratchet, ring
from scipy.integrate import quad_vec
from scipy.linalg import expm

from trajlab.dynamics.jumps import observables as o
from trajlab.dynamics.jumps import passage as p
from trajlab.dynamics.jumps.generator import from_rates, stationary

LEAK = from_rates(np.array([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0.0]]))  # 1 absorbs, {2, 3} is closed


def test_relaxation_times_of_published_generators():
    found = o.relaxation(ADP)
    assert np.allclose(found.time, [0.691, 0.068, 0.039, 0.009, 0.009], atol=6e-4)
    assert np.isinf(found.period[:3]).all()
    assert found.period[3] == pytest.approx(2 * np.pi / 3.27508872)
    assert found.coherence[4] == pytest.approx(3.27508872 / 113.566, rel=1e-3)
    assert (found.coherence[:3] == 0).all()
    assert np.allclose(o.relaxation(ION).time, [0.034, 0.012], atol=5e-4)
    assert all(o.relaxation(ratchet(v)).time[0] == pytest.approx(0.5, rel=1e-12) for v in (0.5, 1.0, 2.0, 3.0))
    assert np.allclose(o.stationary_distribution(ADP), [0.298, 0.312, 0.232, 0.097, 0.053, 0.008], atol=6e-4)
    assert np.isinf(o.relaxation(LEAK).time[0])
    assert np.isfinite(o.relaxation(LEAK).time[1:]).all()


def test_another_unit_of_time_and_many_draws():
    many = np.stack([ADP, 10 * ADP, ADP[::-1, ::-1]])
    for function, power in ((o.sojourn_times, -1), (lambda q: o.relaxation(q).time, -1), (o.mean_jump_rate, 1), (p.first_passage_matrix, -1),
                            (o.stationary_distribution, 0), (lambda q: p.committor(q, 0, [4, 5]), 0), (lambda q: o.spectrum(q).real, 1),
                            (lambda q: o.time_in_states(q, 1, 0.1), None), (lambda q: p.hit_by(q, 5, [0.1, 0.2]), None)):
        found = function(many)
        for k in range(3):
            assert np.allclose(found[k], function(many[k]), rtol=1e-10)
        if power is not None:
            assert np.allclose(found[1], found[0] * 10.0**power, rtol=1e-9)
    assert np.allclose(p.first_passage_matrix(many)[2], p.first_passage_matrix(ADP)[::-1, ::-1], rtol=1e-12)


def test_stationary_law_survives_stiffness_and_closed_classes():
    stiff = chain([1e-12, 1e9, 1e-3], [1e7, 1e-9, 1.0])
    by_balance = np.cumprod([1, 1e-12 / 1e7, 1e9 / 1e-9, 1e-3])
    assert np.allclose(o.stationary_distribution(stiff), by_balance / by_balance.sum(), rtol=1e-12)
    assert np.allclose(o.stationary_distribution(np.stack([LEAK, LEAK])), stationary(LEAK))


def test_occupancy_and_time_in_states():
    time = np.array([0.0, 0.02, 0.3])
    assert np.allclose(o.occupancy(ADP, 2, time), np.stack([expm(ADP * t)[2] for t in time]), atol=1e-12)
    spent = quad_vec(lambda s: expm(ADP * s)[2], 0, 0.3)[0]
    assert np.allclose(o.time_in_states(ADP, 2, 0.3), spent, atol=1e-9)
    assert np.allclose(o.visits_until(ADP, 2, 0.3), np.eye(6)[2] + spent @ (ADP - np.diag(np.diag(ADP))), atol=1e-7)
    assert o.visits_until(ADP, "stationary", 5.0).sum() == pytest.approx(1 + 5 * o.mean_jump_rate(ADP), rel=1e-9)
    assert o.mean_jump_rate(ratchet(1.0)) == pytest.approx(2.87, abs=0.005)


def test_first_passage_of_a_birth_death_process_by_hand():
    # up 2 and 3, down 1 and 4: m(0->1) = 1/2, m(1->2) = (1 + 1 * m(0->1)) / 3 = 1/2; m(2->1) = 1/4, m(1->0) = (1 + 3 * m(2->1)) / 1 = 7/4
    m = p.first_passage_matrix(chain([2.0, 3.0], [1.0, 4.0]))
    assert np.allclose(m, [[0, 0.5, 1.0], [1.75, 0, 0.5], [2.0, 0.25, 0]], rtol=1e-13)
    assert np.allclose(p.first_passage_matrix(ION), [[0, 0.068, 0.054], [0.133, 0, 0.033], [0.181, 0.092, 0]], atol=1.5e-3)
    n = 30  # steep: the way up takes 10^20 times longer than a step
    steep = chain([1.0] * n, [5.0] * n)
    exact = sum(sum(5.0**k for k in range(i + 1)) for i in range(n))
    assert p.mean_first_passage(steep, n)[0] == pytest.approx(exact, rel=1e-13)


def test_first_passage_where_the_target_may_never_be_reached():
    assert np.array_equal(p.mean_first_passage(LEAK, 1), [np.inf, 0, np.inf, np.inf])
    assert np.array_equal(p.hitting_probability(LEAK, 1), [0.5, 1, 0, 0])
    assert np.array_equal(p.mean_first_passage(LEAK, [1, 2]), [0.5, 0, 0, 1.0])
    spent = p.time_until(LEAK, 1)
    assert spent[0, 0] == 0.5
    assert np.isinf(spent[0, 2:]).all()
    assert (spent[2:, 0] == 0).all()
    assert np.array_equal(p.visits_on_the_way(LEAK, 3)[0], [1.0, 0.5, 0.5, 0.0])
    assert np.isfinite(p.hitting_probability(from_rates(np.zeros((3, 3))), 0)).all()
    assert p.hit_by(LEAK, 1, [1e3], 0)[0] == pytest.approx(0.5)


def test_time_on_the_way_adds_up():
    assert np.allclose(p.time_until(ADP, [4, 5]).sum(-1), p.mean_first_passage(ADP, [4, 5]), rtol=1e-12)
    time = np.linspace(0, 400, 4001)
    survival = 1 - p.hit_by(ADP, 5, time, 0)
    assert np.trapezoid(survival, time) == pytest.approx(p.mean_first_passage(ADP, 5)[0], rel=1e-3)
    weight = np.where(np.arange(6) < 2, stationary(ADP), 0)
    assert p.mean_first_passage(ADP, 5, start=[0, 1]) == pytest.approx(weight @ p.mean_first_passage(ADP, 5) / weight.sum())


def test_committors():
    n = 9
    line = p.committor(chain([2.0] * n, [2.0] * n), 0, n)
    assert np.allclose(line, np.arange(n + 1) / n, rtol=1e-13)  # linear on a symmetric chain
    reversible = chain([2.0, 1.0, 0.3], [1.0, 0.5, 2.0])
    assert np.allclose(p.backward_committor(reversible, 0, 3), 1 - p.committor(reversible, 0, 3), rtol=1e-12)
    one_way = ring(4, 1.0, 0.0)
    assert np.array_equal(p.committor(one_way, 0, 2), [0, 1, 1, 0])
    assert np.array_equal(p.backward_committor(one_way, 0, 2), [1, 1, 0, 0])
    inside = p.committor(ADP, 0, 5)
    assert np.allclose((ADP @ inside)[1:5], 0, atol=1e-12)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: o.stationary_distribution(np.array([[0.9, 0.1], [0.2, 0.8]])), "sums to 1"),
    (lambda: o.relaxation(np.array([[1.0, -1.0], [0.0, 0.0]])), "not negative"),
    (lambda: o.sojourn_times(np.full((2, 2), np.nan)), "not finite"),
    (lambda: p.mean_first_passage(ADP, 6), "from 0 to 5"),
    (lambda: p.mean_first_passage(ADP, []), "empty"),
    (lambda: p.mean_first_passage(ADP, 0, start="equilibrium"), "not understood"),
    (lambda: p.mean_first_passage(LEAK, 1, start=0), "no stationary weight"),
    (lambda: p.committor(ADP, [0, 1], [1, 2]), r"\[1\] are in both"),
    (lambda: o.occupancy(ADP, [0.5, 0.5], [1.0]), "probabilities of 6 states"),
    (lambda: o.occupancy(ADP, "equilibrium", [1.0]), "not understood"),
    (lambda: o.time_in_states(ADP, 0, 0.0), "positive"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
