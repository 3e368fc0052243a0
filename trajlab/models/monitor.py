"""A reference potential that looks on: the energy of a roll-out as the reference sees it, and a watchdog on it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics import kinetics
from trajlab.dynamics.particles import Potential
from trajlab.dynamics.thermostats import NVE
from trajlab.models.stepper import Stepper


class EnergyMonitor:
    """An observer of `rollout`: ``observers=((EnergyMonitor(potential, limit=0.1), 10),)``.

    Args:
        potential: energies of a batch, eV.
        limit: eV an atom; a system is stopped when its energy has departed from the first that was seen by more than this. The energy
            is the total one under NVE, where it should stay, and the potential one under a thermostat. None only records.

    Attributes:
        time: fs since the start, a number a call.
    """

    def __init__(self, potential: Potential, limit: float | None = None) -> None:
        if limit is not None and not limit > 0:
            raise ValueError(f"EnergyMonitor got limit={limit}; a positive number of eV an atom was wanted")
        self.potential, self.limit = potential, limit
        self.time: list[float] = []
        self._rows: list[tuple[Tensor, Tensor]] = []

    def __call__(self, run: Stepper) -> dict[int, str]:
        """Look once; reasons for systems to stop."""
        energy = run.p.x.new_full((2, len(run.stopped)), torch.nan)
        energy[0, run.alive], energy[1, run.alive] = self.potential(run.p)[0], kinetics.kinetic_energy(run.p)
        self.time.append(run.time)
        self._rows.append((energy[0], energy[1]))
        if self.limit is None:
            return {}
        watched = self.total if isinstance(run.thermostat, NVE) else self.potential_energy
        change = (watched[-1] - watched[0])[run.alive] / run.p.sizes
        return {s: f"energy: {float(change[s]):+.3g} eV an atom since the start exceeds {self.limit:g} under the reference potential"
                for s in (~(change.abs() <= self.limit)).nonzero().flatten().tolist()}

    @property
    def potential_energy(self) -> Float[Tensor, "call scene"]:
        """eV; NaN for systems that had stopped."""
        return torch.stack([row[0] for row in self._rows])

    @property
    def kinetic_energy(self) -> Float[Tensor, "call scene"]:
        """eV, of peculiar velocities; NaN for systems that had stopped."""
        return torch.stack([row[1] for row in self._rows])

    @property
    def total(self) -> Float[Tensor, "call scene"]:
        """The sum of the two."""
        return self.potential_energy + self.kinetic_energy
