"""Velocity Verlet and Langevin dynamics on springs, where everything is known."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.dynamics.langevin import baoab
from trajlab.dynamics.particles import Particles
from trajlab.dynamics.verlet import verlet
from trajlab.units import ACCELERATION, AMU_A2_FS2, BOLTZMANN

STIFF = 5.0  #: eV/Angstrom^2


def spring(p):
    """Two atoms on a spring of length 1 Angstrom, in each system."""
    x = p.x.view(-1, 2, 3)
    bond = x[:, 1] - x[:, 0]
    length = bond.norm(dim=1, keepdim=True)
    pull = STIFF * (length - 1) * bond / length
    return 0.5 * STIFF * (length - 1)[:, 0] ** 2, torch.stack([pull, -pull], 1).view(-1, 3)


def dumbbells(n, stretch=0.1):
    x = torch.tensor([[0.0, 0, 0], [1.0 + stretch, 0, 0]], dtype=torch.float64).repeat(n, 1)
    mass = torch.tensor([1.0, 3.0], dtype=torch.float64).repeat(n)
    kind = torch.tensor([1, 6]).repeat(n)
    return Particles(x, torch.zeros_like(x), mass, kind, torch.arange(n).repeat_interleave(2), n)


def exact(time, stretch=0.1):
    omega = math.sqrt(STIFF * ACCELERATION / 0.75)  # reduced mass 0.75 amu
    return 1 + stretch * math.cos(omega * time)


def test_second_order():
    errors = []
    for dt in (0.4, 0.2):
        p, _, _ = verlet(dumbbells(1), spring, dt, round(8 / dt))
        errors.append(abs(float((p.x[1] - p.x[0]).norm()) - exact(8.0)))
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_runs_back(generator):
    start = dumbbells(3)
    start = start.replace(v=0.01 * torch.randn(start.v.shape, generator=generator, dtype=torch.float64))
    there, forces, _ = verlet(start, spring, 0.3, 200)
    back, _, _ = verlet(there, spring, -0.3, 200, forces)
    torch.testing.assert_close(back.x, start.x, rtol=0, atol=1e-11)
    torch.testing.assert_close(back.v, start.v, rtol=0, atol=1e-11)


def test_known_forces_change_nothing_and_the_start_is_kept():
    start = dumbbells(2)
    x = start.x.clone()
    a, fa, ea = verlet(start, spring, 0.3, 5, spring(start)[1])
    b, fb, eb = verlet(start, spring, 0.3, 5)
    assert torch.equal(start.x, x)
    assert torch.equal(a.x, b.x)
    assert torch.equal(fa, fb)
    assert torch.equal(ea, spring(a)[0])
    assert torch.equal(eb, ea)


def test_pieces_are_the_whole():
    whole, _, _ = verlet(dumbbells(1), spring, 0.3, 10)
    half, forces, _ = verlet(dumbbells(1), spring, 0.3, 4)
    half, _, _ = verlet(half, spring, 0.3, 6, forces)
    torch.testing.assert_close(half.x, whole.x, rtol=0, atol=1e-13)


def test_no_step_is_the_start():
    p, forces, energy = verlet(dumbbells(1), spring, 0.3, 0)
    assert torch.equal(p.x, dumbbells(1).x)
    assert torch.equal(forces, spring(p)[1])
    assert torch.equal(energy, spring(p)[0])


def test_langevin_reaches_its_temperature_and_keeps_the_centre(generator):
    start = dumbbells(3000, stretch=0.0)
    p, forces, _ = baoab(start, spring, 0.5, 250, temperature=300.0, friction=0.05, generator=generator)
    kinetic = float(0.5 * AMU_A2_FS2 * (p.mass[:, None] * p.v.square()).sum() / 3000)
    assert kinetic == pytest.approx(1.5 * BOLTZMANN * 300, rel=0.05)  # three of six degrees of freedom move
    potential = float(spring(p)[0].mean())
    assert potential == pytest.approx(0.5 * BOLTZMANN * 300, rel=0.08)
    centre = p.scene_sum(p.mass[:, None] * p.x)
    torch.testing.assert_close(centre, start.scene_sum(start.mass[:, None] * start.x), rtol=0, atol=1e-10)
    again, _, _ = baoab(start, spring, 0.5, 250, temperature=300.0, friction=0.05, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.v, p.v)
    assert torch.equal(forces, spring(p)[1])
