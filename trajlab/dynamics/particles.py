"""The state of a batch of molecular systems at one instant, and the two protocols that move it.

`Particles` is what integrators, thermostats, potentials and propagators pass to each other many thousand times, so unlike the
nouns it does not check itself; `Particles.of` makes it from a checked `Trajectories`.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.types import Trajectories


@dataclass(frozen=True, eq=False)
class Particles:
    """Positions and velocities of packed systems, float64.

    Attributes:
        x: unwrapped positions, Angstrom, ``[node 3]``.
        v: velocities, Angstrom/fs, ``[node 3]``.
        mass: amu, ``[node]``.
        kind: atomic numbers, ``[node]``.
        scene: the system of each node, sorted, ``[node]``.
        n_scenes: number of systems.
        cell: cell vectors as rows, Angstrom, ``[scene 3 3]``, or None in open space.
        pbc: periodic directions, ``[scene 3]``, or None.
    """

    x: Float[Tensor, "node 3"]
    v: Float[Tensor, "node 3"]
    mass: Float[Tensor, "node"]
    kind: Int[Tensor, "node"]
    scene: Int[Tensor, "node"]
    n_scenes: int
    cell: Float[Tensor, "scene 3 3"] | None = None
    pbc: Bool[Tensor, "scene 3"] | None = None

    @classmethod
    def of(cls, trajectories: Trajectories, frame: int = -1) -> Self:
        """One frame of trajectories in MD units.

        Raises:
            ValueError: there are no velocities or no masses, or the units are not those of molecular dynamics.
        """
        units = trajectories.units
        if (units.length, units.time, units.mass) != ("angstrom", "fs", "amu"):
            raise ValueError(f"molecular dynamics works in angstrom, fs, amu, but these trajectories are in {units}; convert them first")
        v = trajectories.velocity[:, frame].double()
        return cls(trajectories.x[:, frame].double(), v, trajectories.mass.double(), trajectories.kind, trajectories.scene,
                   trajectories.n_scenes, None if trajectories.cell is None else trajectories.cell.double(), trajectories.pbc)

    def replace(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def scene_sum(self, value: Float[Tensor, "node ..."]) -> Float[Tensor, "scene ..."]:
        """The sum over each system's nodes."""
        return value.new_zeros(self.n_scenes, *value.shape[1:]).index_add_(0, self.scene, value)

    @property
    def sizes(self) -> Int[Tensor, "scene"]:
        return torch.bincount(self.scene, minlength=self.n_scenes)

    @property
    def isolated(self) -> Bool[Tensor, "scene"]:
        """Systems without any periodic direction: these conserve angular momentum."""
        if self.pbc is None:
            return torch.ones(self.n_scenes, dtype=torch.bool, device=self.x.device)
        return ~self.pbc.any(1)


@runtime_checkable
class Potential(Protocol):
    """Reference forces: energies in eV, ``[scene]``, and forces in eV/Angstrom, ``[node 3]``."""

    def __call__(self, p: Particles) -> tuple[Tensor, Tensor]: ...


@runtime_checkable
class Propagator(Protocol):
    """A map of fixed stride: where the particles are, and how fast, ``stride`` femtoseconds later."""

    stride: float

    def propagate(self, p: Particles, cache: MutableMapping[str, Any] | None = None) -> tuple[Tensor, Tensor]:
        """Unwrapped displacements, Angstrom, and new velocities, Angstrom/fs, both ``[node 3]``.

        ``cache`` belongs to the roll-out; a propagator may keep in it what lives from step to step (a neighbour list with its
        skin). It holds tensors and plain values only, so that a restart file can hold it.
        """
        ...
