"""Kinetic quantities against their definitions, projections, and canonical shares by sampling."""

from __future__ import annotations

import pytest
import torch

from trajlab.dynamics import kinetics as k
from trajlab.dynamics.geometry import inverse_inertia, moved, with_velocities
from trajlab.dynamics.particles import Particles
from trajlab.units import AMU_A2_FS2, BOLTZMANN


def cloud(*sizes, seed=0, flat=False, pbc=None):
    g = torch.Generator().manual_seed(seed)
    n = sum(sizes)
    x = 2 * torch.randn(n, 3, generator=g, dtype=torch.float64) + torch.tensor([30.0, -20.0, 10.0], dtype=torch.float64)
    v = 0.01 * torch.randn(n, 3, generator=g, dtype=torch.float64)
    if flat:
        x[:, 1:] = 0
    mass = 1 + 15 * torch.rand(n, generator=g, dtype=torch.float64)
    kind = torch.tensor([1, 6, 8])[torch.randint(0, 3, (n,), generator=g)]
    scene = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    box = None if pbc is None else 20 * torch.eye(3, dtype=torch.float64).repeat(len(sizes), 1, 1)
    return Particles(x, v, mass, kind, scene, len(sizes), box, None if pbc is None else torch.tensor(pbc).repeat(len(sizes), 1))


def test_definitions_by_hand():
    p = cloud(7, 4)
    for s in range(2):
        n = p.scene == s
        m, x, v = p.mass[n, None], p.x[n], p.v[n]
        centre, drift = (m * x).sum(0) / m.sum(), (m * v).sum(0) / m.sum()
        torch.testing.assert_close(k.total_mass(p)[s], m.sum())
        torch.testing.assert_close(k.centre_of_mass(p)[s], centre)
        torch.testing.assert_close(k.momentum(p)[s], (m * v).sum(0))
        spin = torch.linalg.cross(x - centre, m * (v - drift)).sum(0)
        torch.testing.assert_close(k.angular_momentum(p)[s], spin)
        r = x - centre
        tensor = sum(mi * (ri @ ri * torch.eye(3) - torch.outer(ri, ri)) for mi, ri in zip(m[:, 0], r))
        torch.testing.assert_close(k.inertia(p)[s], tensor)
        energy = 0.5 * AMU_A2_FS2 * (m * (v - drift).square()).sum()
        torch.testing.assert_close(k.kinetic_energy(p)[s], energy)
        torch.testing.assert_close(k.temperature(p)[s], 2 * energy / (3 * n.sum() - 6) / BOLTZMANN)


@pytest.mark.parametrize(("p", "count"), [
    (cloud(20), 54), (cloud(2), 1), (cloud(5, flat=True), 10), (cloud(1), 0),
    (cloud(20, pbc=[True] * 3), 57), (cloud(20, pbc=[True, False, False]), 57), (cloud(20, pbc=[False] * 3), 54),
])
def test_degrees_of_freedom(p, count):
    assert k.degrees_of_freedom(p).tolist() == [count]


def test_drift_is_not_heat():
    p = cloud(6)
    assert torch.allclose(k.temperature(with_velocities(p, p.v + 0.5)), k.temperature(p))


@pytest.mark.parametrize("p", [cloud(9, 5), cloud(4, flat=True), cloud(2), cloud(1, 6, 1)])
def test_removes_both_momenta_and_nothing_twice(p):
    q = k.remove_momentum(p)
    assert float(k.momentum(q).abs().max()) < 1e-13
    assert float(k.angular_momentum(q).abs().max()) < 1e-12
    again = k.remove_momentum(q)
    torch.testing.assert_close(again.v, q.v, rtol=0, atol=1e-14)
    assert torch.equal(q.x, p.x)


def test_removal_is_the_mass_weighted_projection():
    p = cloud(6)
    q = k.remove_momentum(p)
    other = k.remove_momentum(with_velocities(p, torch.randn(6, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)))
    assert abs(float((p.mass[:, None] * (p.v - q.v) * other.v).sum())) < 1e-12  # what is removed is orthogonal to what may stay


def test_periodic_systems_keep_their_angular_momentum():
    p = cloud(6, pbc=[True] * 3)
    assert float(k.angular_momentum(k.remove_momentum(p)).abs().max()) > 1e-3
    assert float(k.momentum(k.remove_momentum(p)).abs().max()) < 1e-13


def test_one_kind_of_momentum_alone():
    p = cloud(6)
    q = k.remove_momentum(p, linear=False)
    torch.testing.assert_close(k.momentum(q), k.momentum(p))
    assert float(k.angular_momentum(q).abs().max()) < 1e-12
    r = k.remove_momentum(p, angular=False)
    assert float(k.momentum(r).abs().max()) < 1e-13
    torch.testing.assert_close(k.angular_momentum(r), k.angular_momentum(p))


def test_a_mixed_batch_is_its_systems():
    p = cloud(5, 1, 3, 2)
    q = k.remove_momentum(p)
    offset = 0
    for n in (5, 1, 3, 2):
        s = slice(offset, offset + n)
        one = Particles(p.x[s], p.v[s], p.mass[s], p.kind[s], torch.zeros(n, dtype=torch.long), 1)
        torch.testing.assert_close(k.remove_momentum(one).v, q.v[s], rtol=1e-12, atol=1e-15)
        offset += n


def test_inverse_of_ordinary_linear_and_broken_tensors():
    line = torch.diag(torch.tensor([0.0, 4, 4], dtype=torch.float64))
    full = torch.tensor([[3.0, 0.1, 0], [0.1, 2, 0], [0, 0, 1]], dtype=torch.float64)
    nearly = torch.diag(torch.tensor([1e-5, 1.0, 1.0], dtype=torch.float64))
    stack = torch.stack([full, line, torch.zeros(3, 3, dtype=torch.float64), nearly, torch.full((3, 3), torch.nan, dtype=torch.float64)])
    inverse, rank = inverse_inertia(stack)
    assert rank[:4].tolist() == [3, 2, 0, 2]
    torch.testing.assert_close(inverse[0], torch.linalg.inv(full))
    torch.testing.assert_close(inverse[1], torch.diag(torch.tensor([0.0, 0.25, 0.25], dtype=torch.float64)))
    assert torch.equal(inverse[2], torch.zeros(3, 3, dtype=torch.float64))
    assert torch.isnan(inverse[4]).all()


def test_what_is_known_of_positions_is_forgotten_when_they_move():
    p = cloud(6)
    k.degrees_of_freedom(p)
    q = moved(p, p.x * torch.tensor([1.0, 0, 0], dtype=torch.float64), p.v)
    assert k.degrees_of_freedom(q).tolist() == [13]
    assert k.degrees_of_freedom(p).tolist() == [12]


def test_canonical_shares_by_species_agree_with_sampling():
    one = cloud(5, seed=4)
    copies = 20_000
    p = Particles(one.x.repeat(copies, 1), one.v.repeat(copies, 1), one.mass.repeat(copies), one.kind.repeat(copies),
                  torch.arange(copies).repeat_interleave(5), copies)
    p = k.maxwell_boltzmann(p, 300.0, torch.Generator().manual_seed(1))
    mean = k.species_kinetic_energy(p).mean(0)
    wanted = k.species_expectation(one, 300.0)[0]
    torch.testing.assert_close(mean, wanted, rtol=0.02, atol=0)
    by_head = 9 * 0.5 * BOLTZMANN * 300 * torch.bincount(one.kind)[k.species(one)] / 5
    assert float((by_head / wanted - 1).abs().max()) > 0.1  # equal shares would not have passed
    torch.testing.assert_close(k.species_degrees_of_freedom(one).sum(1), k.degrees_of_freedom(one))
    box = cloud(5, seed=4, pbc=[True] * 3)
    torch.testing.assert_close(k.species_degrees_of_freedom(box).sum(1), k.degrees_of_freedom(box))


def test_maxwell_boltzmann():
    p = cloud(*[8] * 4000, seed=2)
    g = torch.Generator().manual_seed(5)
    heat = k.temperature(k.maxwell_boltzmann(p, 250.0, g))
    assert abs(float(heat.mean()) - 250) < 4 * 250 * (2 / 18 / 4000) ** 0.5
    assert abs(float(heat.std()) / 250 - (2 / 18) ** 0.5) < 0.015
    q = k.maxwell_boltzmann(p, 250.0, g, exact=True)
    torch.testing.assert_close(k.temperature(q), torch.full((4000,), 250.0, dtype=torch.float64))
    assert float(k.angular_momentum(q).abs().max()) < 1e-11
    each = k.maxwell_boltzmann(cloud(3, 3), torch.tensor([100.0, 0.0]), g)
    assert k.temperature(each)[1] == 0 < k.temperature(each)[0]
    assert k.maxwell_boltzmann(cloud(1), 300.0, g, exact=True).v.abs().max() < 1e-15


@pytest.mark.parametrize("bad", [-1.0, float("nan")])
def test_maxwell_boltzmann_refuses(bad):
    with pytest.raises(ValueError, match="temperature in K"):
        k.maxwell_boltzmann(cloud(3), bad, torch.Generator())
