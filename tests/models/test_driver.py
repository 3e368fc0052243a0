"""The ASE-style driver: units, observers, loggers, refusals, restarts to the bit."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from ase.md.logger import MDLogger
from ase.md.verlet import VelocityVerlet
from rollout_systems import Ballistic, Failing, Springs, batch

from trajlab.dynamics import kinetics as k
from trajlab.dynamics.thermostats import CSVR, Langevin
from trajlab.models.driver import Stopped, TrajCastDynamics, atoms_of, maxwell_boltzmann, particles
from trajlab.models.rollout import RolloutConfig, rollout


def molecule() -> Atoms:
    return atoms_of(batch(5))


class Untouchable(LennardJones):
    """A calculator that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def get_forces(self, *args, **kwargs):
        raise AssertionError("forces were asked for")

    def get_potential_energy(self, *args, **kwargs):
        self.asked += 1
        return 1.5


class EmtPropagator:
    """Velocity Verlet by ASE itself, in ASE's units: checks ours."""

    stride = 2.0
    limits = None

    def propagate(self, p, cache=None):
        atoms = atoms_of(p)
        atoms.calc = EMT()
        VelocityVerlet(atoms, 2.0 * units.fs).run(1)
        end = particles(atoms)
        return end.x - p.x, end.v


def test_between_ase_and_particles():
    p = batch(5)
    atoms = atoms_of(p)
    torch.testing.assert_close(particles(atoms).v, p.v, rtol=1e-14, atol=0)
    np.testing.assert_allclose(atoms.get_kinetic_energy(), float(k.kinetic_energy(p)[0]), rtol=1e-6)
    copper = bulk("Cu", cubic=True)
    maxwell_boltzmann(copper, 300.0, torch.Generator().manual_seed(0), exact=True)
    back = particles(copper)
    assert back.cell.shape == (1, 3, 3)
    assert float(k.temperature(back)[0]) == pytest.approx(300.0)
    assert abs(float(k.momentum(back).sum())) < 1e-12


def test_it_goes_where_ase_would_go():
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    maxwell_boltzmann(atoms, 300.0, torch.Generator().manual_seed(0))
    theirs = atoms.copy()
    theirs.calc = EMT()
    VelocityVerlet(theirs, 2.0 * units.fs).run(10)
    TrajCastDynamics(atoms, EmtPropagator()).run(10)
    np.testing.assert_allclose(atoms.positions, theirs.positions, atol=1e-10)
    np.testing.assert_allclose(atoms.get_velocities(), theirs.get_velocities(), atol=1e-10)


def test_it_is_the_roll_out():
    atoms = molecule()
    dyn = TrajCastDynamics(atoms, Springs(), Langevin(300.0, 50.0), seed=3)
    dyn.run(10)
    dyn.run(10)
    whole = rollout(Springs(), particles(molecule()), 20, RolloutConfig(thermostat=Langevin(300.0, 50.0), seed=3, progress=False))
    np.testing.assert_array_equal(atoms.positions, whole.draws[0, :, -1].numpy())
    assert dyn.nsteps == dyn.get_number_of_steps() == 20
    assert dyn.get_time() / units.fs == pytest.approx(80.0)


def test_observers_loggers_and_files(tmp_path):
    atoms = molecule()
    atoms.calc = Untouchable()
    seen = []
    log, traj = tmp_path / "md.log", tmp_path / "md.traj"
    with TrajCastDynamics(atoms, Springs(), CSVR(300.0, 50.0), trajectory=traj, logfile=str(log), loginterval=2) as dyn:
        dyn.attach(lambda word: seen.append((dyn.nsteps, word)), 3, "hello")
        dyn.attach(seen.append, -4, "once")
        dyn.insert_observer(lambda: seen.append("first"), interval=100)
        dyn.attach(MDLogger(dyn, atoms, str(tmp_path / "ase.log"), stress=False), interval=5)
        dyn.run(6)
    assert seen == ["first", (0, "hello"), (3, "hello"), "once", (6, "hello")]
    rows = [line.split() for line in log.read_text().splitlines()]
    assert rows[0][0] == "Time[ps]"
    assert [float(r[0]) for r in rows[1:]] == [0.0, 0.008, 0.016, 0.024]
    assert float(rows[-1][4]) == pytest.approx(dyn.get_temperature(), abs=0.05)
    assert float(rows[-1][3]) == pytest.approx(atoms.get_kinetic_energy(), abs=1e-4)
    assert float(rows[-1][2]) == 1.5
    assert len((tmp_path / "ase.log").read_text().splitlines()) == 3
    frames = ase.io.read(traj, ":")
    assert len(frames) == 4
    np.testing.assert_array_equal(frames[-1].get_momenta(), atoms.get_momenta())


def test_loggers_need_no_calculator_and_count_the_right_freedom(tmp_path):
    atoms = molecule()
    with TrajCastDynamics(atoms, Springs(), logfile=str(tmp_path / "log")) as dyn:
        dyn.run(2)
    assert "nan" in (tmp_path / "log").read_text()
    assert dyn.get_temperature() == pytest.approx(atoms.get_temperature() * 15 / 9)
    assert dyn.todict()["timestep"] == pytest.approx(4.0 * units.fs)


def test_energy_monitor():
    atoms = molecule()
    atoms.calc = Untouchable()
    dyn = TrajCastDynamics(atoms, Springs(), energy_every=3)
    dyn.run(6)
    assert [e[:2] for e in dyn.energies] == [(0.0, 1.5), (12.0, 1.5), (24.0, 1.5)]
    assert atoms.calc.asked == 3
    guarded = TrajCastDynamics(atoms, Springs(), energy_every=1, energy_limit=1e-4)
    with pytest.raises(Stopped, match=r"energy: .* eV an atom since the start exceeds 0.0001 under the reference calculator after"):
        guarded.run(50)  # a calculator that always says the same sees the kinetic energy change
    with pytest.raises(ValueError, match=r"energy_every needs a reference calculator"):
        TrajCastDynamics(molecule(), Springs(), energy_every=3)


def test_irun_hands_over_after_every_stride():
    dyn = TrajCastDynamics(molecule(), Springs())
    assert [dyn.nsteps for _ in dyn.irun(3)] == [0, 1, 2, 3]
    assert list(dyn.irun(2)) == [False, False, True]


@pytest.mark.parametrize("thermostat", [None, Langevin(300.0, 50.0), CSVR(300.0, 50.0)])
def test_a_restarted_run_is_the_uninterrupted_one_to_the_bit(tmp_path, thermostat):
    whole = molecule()
    dyn = TrajCastDynamics(whole, Springs(), thermostat, seed=5)
    dyn.attach(dyn.save_restart, 7, tmp_path / "run.restart")
    dyn.run(13)
    again = TrajCastDynamics.restart(tmp_path / "run.restart", Springs())
    assert again.nsteps == 7
    assert again.get_time() / units.fs == pytest.approx(28.0)
    again.run(6)
    np.testing.assert_array_equal(again.atoms.positions, whole.positions)
    np.testing.assert_array_equal(again.atoms.get_momenta(), whole.get_momenta())


def test_trajectories_are_extended_on_restart(tmp_path):
    dyn = TrajCastDynamics(molecule(), Springs(), trajectory=tmp_path / "a.traj")
    dyn.run(3)
    dyn.save_restart(tmp_path / "r")
    dyn.close()
    with TrajCastDynamics.restart(tmp_path / "r", Springs(), trajectory=tmp_path / "a.traj") as again:
        again.run(2)
    assert len(ase.io.read(tmp_path / "a.traj", ":")) == 6


def test_changes_made_by_observers_are_taken_up():
    atoms = molecule()
    dyn = TrajCastDynamics(atoms, Ballistic())
    dyn.run(1)
    atoms.set_momenta(np.tile([0.0, 0, 1], (5, 1)))
    atoms.positions += 1
    before = atoms.positions.copy()
    dyn.run(1)
    moved = atoms.positions - before
    np.testing.assert_allclose(moved[:, 2], 5 * units.fs / atoms.get_masses())
    np.testing.assert_allclose(moved[:, :2], 0, atol=1e-15)


def test_a_watchdog_stops_it_with_the_reason():
    atoms = molecule()
    masses = atoms.get_masses()
    masses[0] = 17.0
    atoms.set_masses(masses)
    dyn = TrajCastDynamics(atoms, Failing("nan", 17.0, after=3))
    with pytest.raises(Stopped, match=r"not finite: .* after 0.012 ps"):
        dyn.run(10)
    assert dyn.nsteps == 3
    assert np.isfinite(atoms.positions).all()


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"timestep=0.5 fs was asked for, but this model moves in strides of 4 fs"):
        TrajCastDynamics(molecule(), Springs(), timestep=0.5)
    TrajCastDynamics(molecule(), Springs(), timestep=4.0)
    still = molecule()
    still.set_momenta(np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"driver.maxwell_boltzmann\(atoms, 300"):
        TrajCastDynamics(still, Springs())
    held = molecule()
    held.set_constraint(FixAtoms([0]))
    with pytest.raises(ValueError, match="1 constraints"):
        TrajCastDynamics(held, Springs())
    with pytest.raises(TypeError, match="logfil"):
        TrajCastDynamics(molecule(), Springs(), logfil="x")
    lost = molecule()
    lost.positions[2] = np.nan
    with pytest.raises(ValueError, match=r"atom 2 \(system 0\) starts with a position or velocity that is not finite"):
        TrajCastDynamics(lost, Springs())
    rollout(Springs(), batch(3, 5), 2, RolloutConfig(thermostat="nve", progress=False, restart=tmp_path / "two"))
    with pytest.raises(ValueError, match="holds 2 systems"):
        TrajCastDynamics.restart(tmp_path / "two", Springs())
