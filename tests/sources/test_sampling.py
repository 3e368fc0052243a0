"""Pairs are NVE, canonical, reproducible; runs stop when a bond breaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from trajlab.dynamics.kinetics import angular_momentum, kinetic_energy, maxwell_boltzmann, momentum, temperature
from trajlab.dynamics.particles import Particles
from trajlab.dynamics.thermostats import NVE, Langevin
from trajlab.dynamics.verlet import verlet
from trajlab.sources.recipes import MDRecipe
from trajlab.sources.sampling import equilibrated, nve_pairs, nvt_trajectory, replicate

RECIPE = MDRecipe("springs", "harmonic", pairs=60, replicas=30, frames=3, equilibrate=150.0, decorrelate=30.0, friction=0.05, seed=3)
LENGTH = torch.tensor([0.97, 0.97, 1.55], dtype=torch.float64)


def harmonic(p):
    """A water-like molecule of three springs, in each system."""
    x = p.x.view(-1, 3, 3)
    energy, force = torch.zeros(p.n_scenes, dtype=x.dtype), torch.zeros_like(x)
    for (i, j), length in zip(((0, 1), (0, 2), (1, 2)), LENGTH):
        bond = x[:, j] - x[:, i]
        now = bond.norm(dim=1, keepdim=True)
        energy += 10 * (now - length)[:, 0] ** 2
        pull = 20 * (now - length) * bond / now
        force[:, i] += pull
        force[:, j] -= pull
    return energy, force.view(-1, 3)


def start():
    x = torch.tensor([[0.0, 0, 0], [0.775, 0.583, 0], [-0.775, 0.583, 0]], dtype=torch.float64)
    mass = torch.tensor([15.999, 1.008, 1.008], dtype=torch.float64)
    return Particles(x, torch.zeros_like(x), mass, torch.tensor([8, 1, 1]), torch.zeros(3, dtype=torch.long), 1)


@pytest.fixture(scope="module")
def pairs():
    return nve_pairs(harmonic, start(), RECIPE, quiet=True)


def test_layout(pairs):
    assert (pairs.n_scenes, pairs.n_frames, pairs.spacing) == (60, 3, 7.0)
    assert pairs.context["run"].tolist() == [r for r in range(30) for _ in range(2)]
    assert pairs.time[:, 0].tolist() == [180.0, 224.0] * 30
    assert pairs.units.length == "angstrom"
    assert pairs.source["recipe"]["seed"] == 3
    assert float(pairs.context["temperature"][0]) == 300.0


def test_segments_conserve_energy_and_momenta(pairs):
    first = Particles.of(pairs, 0)
    energy = harmonic(first)[0] + kinetic_energy(first)
    for frame in range(3):
        p = Particles.of(pairs, frame)
        torch.testing.assert_close(harmonic(p)[0] + kinetic_energy(p), energy, rtol=0, atol=5e-3)
        assert float(momentum(p).abs().max()) < 1e-12
        assert float(angular_momentum(p).abs().max()) < 1e-12


def test_segments_are_verlet(pairs):
    p, _, _ = verlet(Particles.of(pairs, 0), harmonic, 0.5, 14)
    torch.testing.assert_close(p.x, pairs.x[:, 1], rtol=0, atol=1e-10)
    torch.testing.assert_close(p.v, pairs.velocity[:, 1], rtol=0, atol=1e-10)


def test_starts_are_canonical():
    many = nve_pairs(harmonic, start(), replace(RECIPE, pairs=1500, replicas=500, frames=2, equilibrate=100.0, seed=4), quiet=True)
    t = temperature(Particles.of(many, 0))
    assert float(t.mean()) == pytest.approx(300, rel=0.08)
    assert float(t.std()) == pytest.approx(300 * (2 / 3) ** 0.5, rel=0.12)


def test_the_seed_decides(pairs):
    again = nve_pairs(harmonic, start(), RECIPE, quiet=True)
    assert torch.equal(again.x, pairs.x)
    assert torch.equal(again.velocity, pairs.velocity)


def test_long_runs_follow_the_protocol_of_a_roll_out(generator):
    p = maxwell_boltzmann(replicate(start(), 3), 300.0, generator)
    run = nvt_trajectory(harmonic, p, NVE(), RECIPE, 4, quiet=True)
    end, _, _ = verlet(p, harmonic, 0.5, 4 * 14)
    torch.testing.assert_close(run.x[:, -1], end.x, rtol=0, atol=1e-10)
    hot = nvt_trajectory(harmonic, p, Langevin(300.0, 350.0), RECIPE, 3, quiet=True)
    first = Particles(p.x[:3], p.v[:3], p.mass[:3], p.kind[:3], p.scene[:3], 1)
    alone = nvt_trajectory(harmonic, first, Langevin(300.0, 350.0), RECIPE, 3, quiet=True)
    torch.testing.assert_close(alone.x, hot.x[:3], rtol=0, atol=1e-10)  # a batch is so many single runs
    assert hot.n_frames == 4
    assert not torch.equal(hot.x[:3, -1], hot.x[3:6, -1])


def test_a_broken_bond_stops_the_run():
    def repulsive(p):
        x = p.x.view(-1, 3, 3)
        return x.new_zeros(len(x)), 3 * (x - x.mean(1, keepdim=True)).reshape(-1, 3)

    with pytest.raises(RuntimeError, match=r"replica 0 the bond of atoms 0 and [12] is .* more than 1.5 times"):
        equilibrated(repulsive, start(), RECIPE, torch.Generator().manual_seed(0))


def test_numbers_that_are_not_finite_stop_the_run():
    def broken(p):
        return p.x.new_zeros(p.n_scenes), torch.full_like(p.x, torch.nan)

    with pytest.raises(RuntimeError, match="stopped"):
        equilibrated(broken, start(), RECIPE, torch.Generator().manual_seed(0))


def test_an_interrupt_keeps_what_is_complete():
    calls = 0

    def impatient(p):
        nonlocal calls
        calls += 1
        if calls > 300 + 74 + 14 + 28 + 40:  # equilibration, a round, and a part of the next
            raise KeyboardInterrupt
        return harmonic(p)

    found = nve_pairs(impatient, start(), RECIPE, quiet=True)
    assert found.n_scenes == 30
    whole = nve_pairs(harmonic, start(), RECIPE, quiet=True)
    assert torch.equal(found.x, whole.scenes(slice(0, None, 2)).x)
    calls = 10_000
    with pytest.raises(KeyboardInterrupt):
        nve_pairs(impatient, start(), RECIPE, quiet=True)


def test_starts_from_one_system():
    with pytest.raises(ValueError, match="one system, got 2"):
        nve_pairs(harmonic, replicate(start(), 2), RECIPE, quiet=True)


@pytest.mark.parametrize(("change", "message"), [
    ({"stride": 7.2}, r"stride = 7.2 fs is not a multiple of dt = 0.5 fs"), ({"temperature": 0.0}, "must be positive"),
    ({"frames": 1}, "at least 2"), ({"dt": float("nan")}, "must be positive"),
])
def test_bad_recipes(change, message):
    with pytest.raises(ValueError, match=message):
        MDRecipe(**change)
