"""Baselines that every table of molecular dynamics carries beside the learned methods: free flight, linear and quadratic ridge
propagators (`trajlab.models.ridge`), and large steps of velocity Verlet with the reference forces."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from trajlab.dynamics.particles import Particles, Potential
from trajlab.dynamics.verlet import verlet
from trajlab.models.ridge import Ridge
from trajlab.types import Trajectories

__all__ = ["Ballistic", "LargeStepVerlet", "Ridge", "check_stride"]


def check_stride(name: str, stride: float, trajectories: Trajectories) -> None:
    """Refuse trajectories whose frames are not ``stride`` apart."""
    if abs(trajectories.spacing - stride) > 1e-6 * stride:
        raise ValueError(f"{name} has a stride of {stride:g} fs, but the frames are {trajectories.spacing:g} fs apart; give frames of its stride")


@dataclass(frozen=True)
class Ballistic:
    """Free flight: d = v D, v' = v.

    Attributes:
        stride: D, fs.
    """

    stride: float

    def __post_init__(self) -> None:
        if not self.stride > 0:
            raise ValueError(f"the stride is {self.stride:g} fs; it must be positive")

    def fit(self, trajectories: Trajectories) -> Self:
        """Nothing is learned; frames of another stride are refused with a ValueError."""
        check_stride("Ballistic", self.stride, trajectories)
        return self

    def propagate(self, p: Particles, cache: MutableMapping[str, Any] | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return p.v * self.stride, p.v


@dataclass(frozen=True)
class LargeStepVerlet:
    """Velocity Verlet with the reference forces, D split into a few steps.

    It costs ``steps`` force calls a stride, so it is listed apart from the learned methods.

    Attributes:
        potential: the reference.
        stride: D, fs.
        steps: number of steps that D is split into.
    """

    potential: Potential
    stride: float
    steps: int = 1

    def __post_init__(self) -> None:
        if not self.stride > 0 or self.steps < 1:
            raise ValueError(f"got a stride of {self.stride:g} fs in {self.steps} steps; a positive stride and at least 1 step were wanted")

    def fit(self, trajectories: Trajectories) -> Self:
        """Nothing is learned; frames of another stride are refused with a ValueError."""
        check_stride("LargeStepVerlet", self.stride, trajectories)
        return self

    def propagate(self, p: Particles, cache: MutableMapping[str, Any] | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        after = verlet(p, self.potential, self.stride / self.steps, self.steps)[0]
        return after.x - p.x, after.v
