"""What a family of reference processes has to offer, and the table of families."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import load, unknown
from trajlab.dynamics.references import Reference
from trajlab.models.bridge_evidence import Evidence, Interval

__all__ = ["FAMILIES", "Family", "family"]

#: Families by name.
FAMILIES: dict[str, str] = {
    "brownian": "trajlab.models.reference_families:Brownian",
    "ou": "trajlab.models.reference_families:Linear",
    "lotka_volterra": "trajlab.models.mechanistic_families:LotkaVolterra",
    "repressilator": "trajlab.models.mechanistic_families:Repressilator",
    "vortex": "trajlab.models.mechanistic_families:Vortex",
    "lamb_oseen": "trajlab.models.mechanistic_families:LambOseen",
    "spring": "trajlab.models.mechanistic_families:Spring",
    "parametric": "trajlab.models.parametric_families:Parametric",
    "features": "trajlab.models.feature_family:Features",
    "gradient_field": "trajlab.models.net_families:GradientField",
    "mlp": "trajlab.models.net_families:FreeField",
}


class Family(ABC):
    """Drifts f_theta, theta a flat vector."""

    names: tuple[str, ...] = ()  #: of the parameters, where they have any

    @abstractmethod
    def start(self, intervals: Sequence[Interval], D: Float[Tensor, "dim dim"]) -> Tensor | None:
        """A first theta from the snapshots alone; None to start from Brownian motion."""

    @abstractmethod
    def reference(self, theta: Tensor, D: Float[Tensor, "dim dim"]) -> Reference:
        """The process of a theta."""

    @abstractmethod
    def refit(self, evidence: Evidence, theta: Tensor | None) -> Tensor:
        """The reference step: argmin over theta of the integral of E |u - f_theta(X)|^2, u the drift of the bridges."""

    def free(self, theta: Tensor) -> Tensor:
        """Coordinates without bounds, in which steps are extrapolated: logarithms of what is positive."""
        return theta

    def bound(self, free: Tensor) -> Tensor:
        """Back from `free`."""
        return free


def family(name: Any, **options: object) -> Family:
    """A family by name, with its options.

    Raises:
        ValueError: no family has this name.
        TypeError: not a name or a `Family`, or an option that the family does not have.
    """
    if isinstance(name, Family):
        return name
    if not isinstance(name, str):
        raise TypeError(f"a family of references was wanted, a name or a Family, got a {type(name).__name__}")
    if name not in FAMILIES:
        raise ValueError(unknown("family of references", name, FAMILIES))
    return load(FAMILIES[name])(**options)
