"""Thermostats: canonical statistics, relaxation, the sign of CSVR, streams, ramps."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.dynamics import kinetics as k
from trajlab.dynamics.geometry import with_velocities
from trajlab.dynamics.particles import Particles
from trajlab.dynamics.streams import BLOCK, Streams
from trajlab.dynamics.thermostats import CSVR, NVE, Langevin, Ramp, Thermostat, by_name, describe, described


def copies(n_atoms, count, seed=0, periodic=False):
    g = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(n_atoms, 3, generator=g, dtype=torch.float64).repeat(count, 1)
    mass = (1 + 15 * torch.rand(n_atoms, generator=g, dtype=torch.float64)).repeat(count)
    box = 20 * torch.eye(3, dtype=torch.float64).repeat(count, 1, 1) if periodic else None
    p = Particles(x, torch.zeros_like(x), mass, torch.ones(len(x), dtype=torch.long), torch.arange(count).repeat_interleave(n_atoms), count, box,
                  torch.ones(count, 3, dtype=torch.bool) if periodic else None)
    return k.maxwell_boltzmann(p, 300.0, g)


def run(thermostat, p, steps, seed=1, interval=7.0):
    g = torch.Generator().manual_seed(seed)
    history = []
    for step in range(steps):
        p = thermostat.after(thermostat.before(p, interval, g, step), interval, g, step)
        history.append(k.kinetic_energy(p))
    return p, torch.stack(history)


@pytest.mark.parametrize("thermostat", [Langevin(300.0, 35.0), CSVR(300.0, 35.0)])
@pytest.mark.parametrize(("atoms", "n", "periodic"), [(20, 54, False), (4, 6, False), (2, 1, False), (4, 9, True)])
def test_kinetic_energy_is_canonical(thermostat, atoms, n, periodic):
    p = copies(atoms, 600, periodic=periodic)
    p, history = run(thermostat, p, 60)
    late = history[10:]
    mean = 0.5 * n * k.BOLTZMANN * 300
    effective = 600 * 50 / 10  # correlation over 2 tau = 10 strides
    assert abs(float(late.mean()) / mean - 1) < 5 * math.sqrt(2 / n / effective)
    assert abs(float(late.std()) / mean / math.sqrt(2 / n) - 1) < (0.06 if n > 2 else 0.2)
    assert float(k.momentum(p).abs().max()) < 1e-12
    if not periodic:
        assert float(k.angular_momentum(p).abs().max()) < 1e-11


def test_csvr_autocorrelation_is_exponential():
    p = copies(3, 4000)
    _, history = run(CSVR(300.0, 35.0), p, 25)
    fluctuation = history - history.mean(1, keepdim=True)
    at_tau = (fluctuation[:-5] * fluctuation[5:]).mean() / fluctuation.square().mean()
    assert abs(float(at_tau) - math.exp(-1)) < 0.03


def test_langevin_forgets_velocities_at_its_rate():
    p = copies(6, 2000)
    q, _ = run(Langevin(300.0, 35.0), p, 5)
    kept = (p.mass[:, None] * p.v * q.v).sum() / (p.mass[:, None] * p.v * p.v).sum()
    assert abs(float(kept) - math.exp(-1)) < 0.03


def test_csvr_heats_as_its_equation_says():
    p = copies(5, 3000)
    cold = with_velocities(p, p.v * 0.5)
    _, history = run(CSVR(300.0, 70.0), cold, 10)
    mean = 0.5 * 9 * k.BOLTZMANN * 300
    wanted = mean * (1 - 0.75 * math.exp(-1))
    assert abs(float(history[-1].mean()) / wanted - 1) < 0.03


def test_csvr_turns_velocities_round_now_and_then():
    p = copies(2, 4000)  # one degree of freedom
    q, _ = run(CSVR(300.0, 35.0), p, 1)
    assert 0.01 < float(((p.v * q.v).sum(1) < 0).double().mean()) < 0.6


def test_csvr_leaves_the_drift_alone_and_starts_what_stands_still():
    p = copies(4, 50, periodic=True)
    drifting = with_velocities(p, p.v + 0.02)
    q, _ = run(CSVR(300.0, 35.0), drifting, 4)
    torch.testing.assert_close(k.momentum(q), k.momentum(drifting))
    still = with_velocities(p, torch.where((p.scene == 7)[:, None], 0.02, p.v))
    q, _ = run(CSVR(300.0, 35.0), still, 1)
    assert torch.isfinite(q.v).all()
    assert 20 < float(k.temperature(q)[7]) < 1500
    torch.testing.assert_close(k.momentum(q), k.momentum(still))


def test_single_atoms_are_left_alone_by_csvr():
    p = copies(1, 3)
    q, _ = run(CSVR(300.0, 35.0), with_velocities(p, p.v + 0.01), 3)
    assert torch.equal(q.v, p.v + 0.01)


def test_nve_does_nothing():
    p = copies(4, 2)
    assert NVE().after(NVE().before(p, 7.0, torch.Generator()), 7.0, torch.Generator()) is p


@pytest.mark.parametrize("thermostat", [Langevin(300.0, 35.0), CSVR(300.0, 35.0)])
def test_a_batch_of_streams_is_its_single_runs(thermostat):
    batch = copies(4, 3)
    streams = Streams.seeded(9, 3)
    for step in range(BLOCK + 3):
        batch = thermostat.after(thermostat.before(batch, 7.0, streams, step), 7.0, streams, step)
    start = copies(4, 3)
    for s in range(3):
        n = start.scene == s
        one = Particles(start.x[n], start.v[n], start.mass[n], start.kind[n], torch.zeros(4, dtype=torch.long), 1)
        alone = Streams.seeded(9, 1, first=s)
        for step in range(BLOCK + 3):
            one = thermostat.after(thermostat.before(one, 7.0, alone, step), 7.0, alone, step)
        torch.testing.assert_close(one.v, batch.v[n], rtol=1e-10, atol=1e-14)
    assert not torch.allclose(batch.v[:4], batch.v[4:8])


def test_streams_are_saved_restored_and_thinned():
    p = copies(4, 3)
    streams = Streams.seeded(0, 3)
    for _ in range(BLOCK + 5):
        streams.normal(p)
    state = streams.state()
    wanted = [streams.normal(p).clone() for _ in range(2 * BLOCK)]
    again = Streams([torch.Generator() for _ in range(3)])
    again.restore(state, p)
    assert all(torch.equal(again.normal(p), w) for w in wanted)
    again.restore(state, p)
    which = torch.tensor([True, False, True])
    again.keep(which, which[p.scene])
    two = Particles(*(value[which[p.scene]] for value in (p.x, p.v, p.mass, p.kind)), torch.arange(2).repeat_interleave(4), 2)
    assert all(torch.equal(again.normal(two), w[which[p.scene]]) for w in wanted)
    state = Streams.seeded(0, 3).state()
    fresh = Streams([torch.Generator() for _ in range(3)])
    fresh.restore(state, p)
    assert torch.equal(fresh.normal(p), Streams.seeded(0, 3).normal(p))


def test_streams_refuse_another_batch():
    streams = Streams.seeded(0, 2)
    with pytest.raises(ValueError, match="3 systems need 3 streams"):
        streams.normal(copies(4, 3))
    streams.normal(copies(4, 2))
    with pytest.raises(ValueError, match="drawn for 8 nodes, but 10 came"):
        streams.normal(copies(5, 2))


def test_ramps_and_temperatures_a_system():
    ramp = Ramp(100.0, 300.0, 20)
    assert [ramp.at(s) for s in (0, 5, 20, 99)] == [100.0, 150.0, 300.0, 300.0]
    p = copies(5, 1500)
    _, history = run(Langevin(Ramp(300.0, 900.0, 60), 14.0), p, 80)
    mean = 0.5 * 9 * k.BOLTZMANN
    assert abs(float(history[-1].mean()) / (mean * 900) - 1) < 0.06
    assert abs(float(history[30].mean()) / (mean * 590) - 1) < 0.06
    pair = copies(5, 2)
    _, history = run(CSVR((100.0, 900.0), 14.0), pair, 400)
    ratio = float(history[50:].mean(0)[1] / history[50:].mean(0)[0])
    assert 7 < ratio < 11
    with pytest.raises(ValueError, match="2 temperatures for 3 systems"):
        CSVR((100.0, 900.0), 14.0).after(copies(5, 3), 7.0, torch.Generator())
    assert CSVR((1.0, 2.0, 3.0), 1.0).scenes(torch.tensor([True, False, True])).temperature_K == (1.0, 3.0)


@pytest.mark.parametrize("thermostat", [NVE(), Langevin(300.0, 35.0), CSVR((1.0, 2.0), 3.0), Langevin(Ramp(1.0, 2.0, 3), 4.0)])
def test_described_and_made_again(thermostat):
    import json

    assert described(json.loads(json.dumps(describe(thermostat)))) == thermostat
    assert isinstance(thermostat, Thermostat)


def test_names_and_bad_numbers():
    assert by_name("Langevin", 300.0, 20.0) == Langevin(300.0, 20.0)
    assert by_name("nve") == NVE()
    with pytest.raises(ValueError, match="did you mean 'langevin'"):
        by_name("langvin")
    for bad in (lambda: CSVR(0.0, 10.0), lambda: Langevin(300.0, -1.0), lambda: Ramp(100.0, float("nan"), 10), lambda: Langevin((300.0, -2.0), 1.0)):
        with pytest.raises(ValueError, match="a positive number was wanted"):
            bad()
