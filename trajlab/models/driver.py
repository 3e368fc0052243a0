"""An ASE-style driver: a model moves one `ase.Atoms` stride by stride, and everything that is attached to ASE dynamics can be attached.

It never asks ``atoms.calc`` for forces; a calculator there is free to serve as a reference that monitors the energy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from trajlab.dynamics import kinetics, thermostats
from trajlab.dynamics.geometry import with_velocities
from trajlab.dynamics.particles import Particles, Propagator
from trajlab.dynamics.streams import Streams
from trajlab.dynamics.thermostats import NVE, Thermostat
from trajlab.models import restart
from trajlab.models.starts import check_start
from trajlab.models.stepper import Rules, Stepper
from trajlab.models.watchdogs import Watch
from trajlab.units import ASE_TIME

if TYPE_CHECKING:
    from ase import Atoms

WATCH = Watch()


class Stopped(RuntimeError):
    """A watchdog stopped the run; the atoms stand where they last passed it."""


class TrajCastDynamics:
    """Molecular dynamics of one `ase.Atoms` by a model of fixed stride.

    Args:
        atoms: with velocities, and the cell of a periodic system; moved in place, unwrapped.
        model: a fitted `TrajCast`, or any `Propagator`.
        thermostat: `Langevin`, `CSVR` or `NVE` of `trajlab.dynamics.thermostats`.
        timestep: fs; only to be sure: another number than the model's stride is refused.
        seed: of the thermostat's noise.
        watch: the watchdogs, or None.
        zero_every: strides between two removals of total (angular) momentum; 0 for never.
        options: ``trajectory`` (a file name or an object with ``write``), ``logfile`` (a name or ``"-"``), ``loginterval`` (1),
            ``append_trajectory`` (False), ``energy_every`` (0; strides between two energies asked of ``atoms.calc``), ``energy_limit``
            (None; eV an atom by which that energy may depart from its first value: total under NVE, else potential).

    Attributes:
        energies: (time in fs, potential energy, kinetic energy in eV) from the energy monitor.

    Raises:
        ValueError: another time step than the model's, velocities that are zero or not finite, constraints, or an energy monitor
            without a calculator.
        TypeError: an unknown option.
    """

    def __init__(self, atoms: Atoms, model: Propagator, thermostat: Thermostat | None = None, *, timestep: float | None = None, seed: int = 0,
                 watch: Watch | None = WATCH, zero_every: int = 0, **options: Any) -> None:
        if timestep is not None and abs(timestep - model.stride) > 1e-9 * model.stride:
            raise ValueError(f"timestep={timestep:g} fs was asked for, but this model moves in strides of {model.stride:g} fs; leave timestep out, "
                             f"or take a model trained on {timestep:g} fs")
        if atoms.constraints:
            raise ValueError(f"the atoms have {len(atoms.constraints)} constraints, which a model without forces cannot honour; remove them")
        p = particles(atoms)
        _moving(p)
        streams = Streams.seeded(seed, 1)
        self._set(atoms, Stepper(model, p, Rules(thermostat or NVE(), watch, zero_every), streams), options)

    def _set(self, atoms: Atoms, run: Stepper, options: dict[str, Any]) -> None:
        self.atoms, self.stepper = atoms, run
        self.max_steps = 0
        self.observers: list[tuple[Callable[..., Any], int, tuple[Any, ...], dict[str, Any]]] = []
        self.energies: list[tuple[float, float, float]] = []
        self._files: list[Any] = []
        self._seen: tuple[np.ndarray, np.ndarray] = (atoms.positions.copy(), atoms.get_momenta())
        self._attach_files(**options)

    def _attach_files(self, trajectory: Any = None, logfile: Any = None, loginterval: int = 1, append_trajectory: bool = False,
                      energy_every: int = 0, energy_limit: float | None = None) -> None:
        self._energy_limit = energy_limit
        if energy_every:
            if self.atoms.calc is None:
                raise ValueError("energy_every needs a reference calculator in atoms.calc; attach one, or leave energy_every out")
            self.attach(self._note_energy, energy_every)
        if trajectory is not None:
            if not hasattr(trajectory, "write"):
                from ase.io.trajectory import Trajectory

                trajectory = Trajectory(str(trajectory), "a" if append_trajectory else "w", self.atoms)
                self._files.append(trajectory)
            self.attach(trajectory, loginterval)
        if logfile is not None:
            log = logger(self, logfile)
            self._files.append(log)
            self.attach(log, loginterval)

    # ---- what ASE's dynamics have

    @property
    def nsteps(self) -> int:
        return self.stepper.step

    def get_number_of_steps(self) -> int:
        return self.nsteps

    def get_time(self) -> float:
        """Time since the start in ASE's unit of time."""
        return self.stepper.time / ASE_TIME

    def get_temperature(self) -> float:
        """K, with the degrees of freedom that are there (ASE's ``atoms.get_temperature`` counts 3N)."""
        return float(kinetics.temperature(self.stepper.p)[0])

    def attach(self, function: Any, interval: int = 1, *args: Any, **kwargs: Any) -> None:
        """Call ``function`` (or its ``write``) every ``interval`` strides, or once at stride ``-interval`` if that is not positive."""
        self.insert_observer(function, len(self.observers), interval, *args, **kwargs)

    def insert_observer(self, function: Any, position: int = 0, interval: int = 1, *args: Any, **kwargs: Any) -> None:
        """As `attach`, ahead of others."""
        self.observers.insert(position, (function if callable(function) else function.write, interval, args, kwargs))

    def call_observers(self) -> None:
        for function, interval, args, kwargs in self.observers:
            if (interval > 0 and self.nsteps % interval == 0) or (interval <= 0 and self.nsteps == -interval):
                function(*args, **kwargs)

    def irun(self, steps: int) -> Iterator[bool]:
        """As `run`, handing over after every stride. Observers see the start too."""
        self.max_steps = self.nsteps + steps
        if self.nsteps == 0:
            self.call_observers()
        yield False
        while self.nsteps < self.max_steps:
            self.step()
            self.call_observers()
            yield self.nsteps >= self.max_steps

    def run(self, steps: int) -> bool:
        """Do ``steps`` strides.

        Raises:
            Stopped: a watchdog ended it, with its reason.
        """
        for _ in self.irun(steps):
            pass
        return True

    def step(self) -> None:
        """One stride.

        Raises:
            Stopped: a watchdog ended it; the atoms stand where they last passed it.
        """
        self._read()
        if not self.stepper.advance():
            raise Stopped(f"the run was stopped: {self.stepper.stopped[0]}")
        self._write()

    def close(self) -> None:
        """Close the files that were opened here."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def todict(self) -> dict[str, Any]:
        run = self.stepper
        return {"type": "molecular-dynamics", "md-type": type(self).__name__, "timestep": run.stride / ASE_TIME,
                "thermostat": thermostats.describe(run.thermostat), "model": restart.fingerprint(run.propagator)}

    # ---- restart

    def save_restart(self, path: str | Path) -> Path:
        """Write a restart file; attach it to have one every so often: ``dyn.attach(dyn.save_restart, 1000, "run.restart")``."""
        self._read()
        tensors, about = self.stepper.state()
        rules = self.stepper.rules
        return restart.write(path, tensors, {**about, "thermostat": thermostats.describe(self.stepper.thermostat), "zero_every": rules.zero_every})

    @classmethod
    def restart(cls, path: str | Path, model: Propagator, *, watch: Watch | None = WATCH, **options: Any) -> Self:
        """Go on from a restart file: with the same model, to the bit as if never interrupted. ``options`` as in the class.

        Raises:
            FileNotFoundError, ValueError: no or a damaged restart file, or a model of another stride.
        """
        tensors, about = restart.read(path)
        if len(about["stopped"]) != 1:
            raise ValueError(f"{path} holds {len(about['stopped'])} systems; go on with trajlab.models.rollout.resume")
        run = Stepper.resumed(model, Rules(thermostats.described(about["thermostat"]), watch, about["zero_every"]), tensors, about)
        made = cls.__new__(cls)
        made._set(atoms_of(run.p), run, {"append_trajectory": True, **options})
        return made

    # ---- between ASE and Particles

    def _read(self) -> None:
        """Take up what an observer or the user changed in the atoms since the last stride."""
        positions, momenta = self._seen
        if np.array_equal(self.atoms.positions, positions) and np.array_equal(self.atoms.get_momenta(), momenta):
            return
        changed = particles(self.atoms)
        run = self.stepper
        moved = not np.array_equal(self.atoms.positions, positions)
        run.p = changed if moved else with_velocities(run.p, changed.v)
        if moved:
            run.cache = {}
        self._seen = (self.atoms.positions.copy(), self.atoms.get_momenta())

    def _write(self) -> None:
        p = self.stepper.p
        self.atoms.set_positions(p.x.cpu().numpy(), apply_constraint=False)
        self.atoms.set_momenta((p.v * (p.mass[:, None] * ASE_TIME)).cpu().numpy(), apply_constraint=False)
        self._seen = (self.atoms.positions.copy(), self.atoms.get_momenta())

    def _note_energy(self) -> None:
        kinetic = float(kinetics.kinetic_energy(self.stepper.p)[0])
        self.energies.append((self.stepper.time, float(self.atoms.get_potential_energy()), kinetic))
        if self._energy_limit is None:
            return
        first, last = (e[1] + e[2] if isinstance(self.stepper.thermostat, NVE) else e[1] for e in (self.energies[0], self.energies[-1]))
        change = (last - first) / len(self.atoms)
        if not abs(change) <= self._energy_limit:
            raise Stopped(f"the run was stopped: energy: {change:+.3g} eV an atom since the start exceeds {self._energy_limit:g} "
                          f"under the reference calculator after {self.stepper.time / 1000:.4g} ps")


def particles(atoms: Atoms) -> Particles:
    """An `ase.Atoms` as `Particles` (ASE's velocities become Angstrom/fs)."""
    periodic = bool(atoms.pbc.any())
    as_tensor = lambda value: torch.tensor(np.asarray(value), dtype=torch.float64)  # noqa: E731
    return Particles(
        as_tensor(atoms.positions), as_tensor(atoms.get_velocities() / ASE_TIME), as_tensor(atoms.get_masses()),
        torch.tensor(atoms.numbers, dtype=torch.long), torch.zeros(len(atoms), dtype=torch.long), 1,
        as_tensor(atoms.cell.array)[None] if periodic else None, torch.tensor(atoms.pbc)[None] if periodic else None,
    )


def atoms_of(p: Particles) -> Atoms:
    """`Particles` of one system as `ase.Atoms`, with velocities."""
    from ase import Atoms

    momenta = (p.v * (p.mass[:, None] * ASE_TIME)).cpu().numpy()
    cell, pbc = (None, None) if p.cell is None or p.pbc is None else (p.cell[0].cpu().numpy(), p.pbc[0].cpu().numpy())
    return Atoms(p.kind.cpu().numpy(), p.x.cpu().numpy(), masses=p.mass.cpu().numpy(), momenta=momenta, cell=cell, pbc=pbc)


def maxwell_boltzmann(atoms: Atoms, temperature_K: float, generator: torch.Generator, exact: bool = False) -> None:
    """Give the atoms velocities at a temperature, without total momentum (and angular momentum, if isolated).

    Raises:
        ValueError: the temperature is negative.
    """
    p = kinetics.maxwell_boltzmann(particles(atoms), temperature_K, generator, exact)
    atoms.set_velocities((p.v * ASE_TIME).cpu().numpy())


def logger(dyn: TrajCastDynamics, logfile: Any) -> Any:
    """ASE's ``MDLogger`` with the right number of degrees of freedom, and NaN for energies where ``atoms.calc`` is None."""
    from ase.md.logger import MDLogger

    class Logger(MDLogger):
        def __call__(self) -> None:
            atoms, run = self.atoms, dyn.stepper
            potential = math.nan if atoms.calc is None else atoms.get_potential_energy()
            kinetic = float(kinetics.kinetic_energy(run.p)[0])
            self.logfile.write(self.fmt % (run.time / 1000, potential + kinetic, potential, kinetic, dyn.get_temperature()))
            self.logfile.flush()

    return Logger(dyn, dyn.atoms, logfile, mode="a")


def _moving(p: Particles) -> None:
    try:
        check_start(p)
    except ValueError as error:
        raise ValueError(f"{error}. For ase.Atoms: trajlab.models.driver.maxwell_boltzmann(atoms, 300, torch.Generator().manual_seed(0))") from error
