"""Currents, affinities, entropy production, cycles, reactive fluxes."""

from __future__ import annotations

import numpy as np
import pytest
from jump_generators import ADP, chain, ratchet, ring

from trajlab.dynamics.jumps import cycles as c
from trajlab.dynamics.jumps import fluxes as f
from trajlab.dynamics.jumps.generator import from_rates, stationary
from trajlab.dynamics.jumps.passage import mean_first_passage
from trajlab.dynamics.jumps.reactive import pathways, reactive_flux


def test_entropy_production_of_known_processes():
    many = np.stack([ratchet(v) for v in (0.0, 1.0, 2.0, 3.0)])
    assert np.allclose(f.entropy_production(many), [0, 0.17919, 0.56565, 0.99274], atol=6e-6)
    assert f.entropy_production(ADP) == pytest.approx(1.03, abs=5e-3)
    assert f.entropy_production(ring(5, 3.0, 1.0)) == pytest.approx(2.0 * np.log(3.0), rel=1e-12)
    assert f.entropy_production(7 * ADP) == pytest.approx(7 * f.entropy_production(ADP))
    assert f.entropy_production(chain([1.0, 2.0], [3.0, 0.1])) == pytest.approx(0, abs=1e-15)  # links absent both ways add nothing


def test_one_way_links_are_never_clipped():
    q = from_rates(np.array([[0, 2.0, 0], [1.0, 0, 3.0], [1.0, 0.5, 0]]))  # 2 -> 0 only
    assert f.entropy_production(q) == np.inf
    low = f.entropy_production(q, one_way="leave-out")
    assert 0 < low < np.inf
    for floor in (1e-3, 1e-6):
        bound = f.entropy_production(q, reverse_at_most=floor)
        flux = stationary(q)[2] * 1.0
        back = stationary(q)[0] * floor
        assert bound == pytest.approx(low + (flux - back) * np.log(flux / back), rel=1e-12)
    assert f.affinities(q)[2, 0] == np.inf
    assert f.affinities(q)[0, 2] == -np.inf
    transient = from_rates(np.array([[0, 1.0, 0], [0, 0, 2.0], [0, 2.0, 0]]))  # 0 has no weight, so that nothing flows one way
    assert f.entropy_production(transient) == 0


def test_entropy_is_the_sum_of_currents_and_affinities_over_links_and_cycles():
    for q in (ADP, ratchet(2.0)):
        j, a = f.currents(q), f.affinities(q)
        assert np.allclose(j, -j.T)
        assert np.allclose(j.sum(1), 0, atol=1e-13)
        assert 0.5 * (j * a).sum() == pytest.approx(f.entropy_production(q), rel=1e-12)
        found = c.fundamental_cycles(q)
        links = int(np.triu(q > 0, 1).sum())
        assert len(found) == links - len(q) + 1
        assert sum(x.current * x.affinity for x in found) == pytest.approx(f.entropy_production(q), rel=1e-10)
        total = np.zeros_like(q)
        for x in found:
            for i, k in zip(x.states, [*x.states[1:], x.states[0]], strict=True):
                total[i, k] += x.current
                total[k, i] -= x.current
        assert np.allclose(total, j, atol=1e-12)


def test_affinity_of_a_ring():
    assert c.cycle_affinity(ring(5, 3.0, 1.0), range(5)) == pytest.approx(5 * np.log(3.0))
    assert c.cycle_affinity(ring(5, 3.0, 1.0), [4, 3, 2, 1, 0]) == pytest.approx(-5 * np.log(3.0))
    (only,) = c.fundamental_cycles(ring(5, 1.0, 3.0))
    assert only.states == (0, 4, 3, 2, 1)
    assert only.affinity == pytest.approx(5 * np.log(3.0))
    assert only.current == pytest.approx(2 / 5)
    assert np.allclose(c.cycle_affinity(np.stack([ring(3, 2.0, 1.0), ring(3, 2.0, 0.0)]), [0, 1, 2]), [3 * np.log(2), np.inf])


def test_detailed_balance():
    assert c.detailed_balance(chain([1.0, 2.0], [3.0, 0.1])).holds
    s = np.random.default_rng(0).uniform(0.1, 1, (5, 5))
    pi = np.array([0.1, 0.3, 0.2, 0.15, 0.25])
    reversible = from_rates((s + s.T) * np.sqrt(pi / pi[:, None]))
    assert c.detailed_balance(reversible).holds
    broken = reversible.copy()
    broken[0, 1] *= 1.01
    assert not c.detailed_balance(from_rates(broken)).holds
    assert c.detailed_balance(ring(4, 2.0, 0.0)).one_way[0] == (0, 1)
    assert "1 -> 3 -> 4 -> 5" in c.detailed_balance(ADP).sentence


def test_entropy_production_over_time():
    q = ratchet(1.0)
    sigma = f.entropy_production_over_time(q, "uniform", [0.0, 0.5, 50.0])
    assert sigma[0] > sigma[1] > sigma[2]
    assert sigma[2] == pytest.approx(0.179194, abs=1e-6)
    assert f.entropy_production_over_time(q, 0, [0.0, 0.1])[0] == np.inf
    assert f.averaged_entropy_production(q, "stationary") == pytest.approx(0.179194, abs=1e-6)
    # total = change of the Gibbs entropy + flow into the surroundings
    p0, dt = np.array([0.4, 0.1, 0.1, 0.2, 0.1, 0.1]), 1e-5
    from trajlab.dynamics.jumps.observables import occupancy

    path = occupancy(q, p0, [1 - dt, 1.0, 1 + dt])
    gibbs = -(path * np.log(path)).sum(-1)
    flux = f.probability_flux(q, path[1])
    flow = sum(flux[i, j] * np.log(q[i, j] / q[j, i]) for i in range(6) for j in range(6) if i != j and q[i, j] > 0)
    assert f.entropy_production(q, path[1]) == pytest.approx((gibbs[2] - gibbs[0]) / (2 * dt) + flow, rel=1e-6)


def test_reactive_flux():
    for q, a, b in ((ADP, 0, [4, 5]), (ratchet(1.0), [1], [3, 4])):
        found = reactive_flux(q, a, b)
        net = found.net
        inner = [i for i in range(6) if i not in found.a + found.b]
        assert np.allclose(net[inner].sum(1), net[:, inner].sum(0), atol=1e-13)  # nothing is lost on the way
        assert found.total == pytest.approx(net[:, list(found.b)].sum(), rel=1e-10)
        start = found.a[0]
        assert found.rate == pytest.approx(1 / mean_first_passage(q, b)[start], rel=1e-10)  # a single state is entered where it is left
        ways = pathways(found, 1.0)
        assert sum(w for _, w in ways) == pytest.approx(found.total, rel=1e-9)
        assert all(way[0] in found.a and way[-1] in found.b for way, _ in ways)
        assert [w for _, w in ways] == sorted((w for _, w in ways), reverse=True)
    many = reactive_flux(np.stack([ADP, 2 * ADP]), 0, 5)
    assert np.allclose(many.total[1], 2 * many.total[0])
    steps = chain([3.0, 1.0], [1.0, 2.0])
    assert pathways(reactive_flux(steps, 0, 2))[0][0] == (0, 1, 2)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: f.entropy_production(ADP, one_way="clip"), "one-way"),
    (lambda: f.averaged_entropy_production(ADP, 0, points=1), "at least 2"),
    (lambda: c.cycle_affinity(ADP, [0, 1]), "three or more"),
    (lambda: reactive_flux(ADP, 0, 0), "in both"),
    (lambda: pathways(reactive_flux(ADP, 0, 1), 0.0), "above 0"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
