"""Families of reference processes, whose members a bridge is refined over: Brownian motion and linear drifts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import load, unknown
from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.dynamics.references import LinearReference, Reference
from trajlab.models.bridge_evidence import Evidence, Interval

__all__ = ["FAMILIES", "Brownian", "Family", "Linear", "family"]

#: Families by name.
FAMILIES: dict[str, str] = {
    "brownian": "trajlab.models.reference_families:Brownian",
    "ou": "trajlab.models.reference_families:Linear",
    "lotka_volterra": "trajlab.models.parametric_families:LotkaVolterra",
    "repressilator": "trajlab.models.parametric_families:Repressilator",
    "vortex": "trajlab.models.parametric_families:Vortex",
    "lamb_oseen": "trajlab.models.parametric_families:LambOseen",
    "spring": "trajlab.models.parametric_families:Spring",
}
SHAPES = ("general", "symmetric", "low_rank")


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


def family(name: str | Family, **options: object) -> Family:
    """A family by name, with its options.

    Raises:
        ValueError: no family has this name.
    """
    if isinstance(name, Family):
        return name
    if name not in FAMILIES:
        raise ValueError(unknown("family of references", name, FAMILIES))
    return load(FAMILIES[name])(**options)


@dataclass(frozen=True)
class Brownian(Family):
    """No drift: one bridge step is the classical (multi-marginal) Schrodinger bridge, and there is nothing to refine."""

    def start(self, intervals: Sequence[Interval], D: Tensor) -> Tensor:  # noqa: ARG002
        return torch.zeros(0, dtype=torch.float64)

    def reference(self, theta: Tensor, D: Tensor) -> Reference:  # noqa: ARG002
        zero = torch.zeros_like(D)
        return LinearReference(LinearSDE(zero, zero[0], D))

    def refit(self, evidence: Evidence, theta: Tensor | None) -> Tensor:  # noqa: ARG002
        return torch.zeros(0, dtype=torch.float64)


@dataclass(frozen=True)
class Linear(Family):
    """f(x) = A x + b (Ornstein-Uhlenbeck processes, and rotations).

    Attributes:
        shape: of A: ``general``, ``symmetric`` (a gradient flow) or ``low_rank``.
        rank: of ``low_rank``.
        ridge: penalty on A, in units of the variance of the states: with few snapshots in many dimensions it is needed.

    Raises:
        ValueError: an unknown shape, a rank below 1 or a negative ridge.
    """

    shape: str = "general"
    rank: int = 2
    ridge: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(unknown("shape of a linear drift", self.shape, SHAPES))
        if self.rank < 1 or self.ridge < 0:
            raise ValueError(f"Linear: rank={self.rank} and ridge={self.ridge}; a rank of at least 1 and a ridge of 0 or more were wanted")

    def start(self, intervals: Sequence[Interval], D: Tensor) -> Tensor | None:  # noqa: ARG002
        return None

    def reference(self, theta: Tensor, D: Tensor) -> Reference:
        n = len(D)
        A, b = theta[: n * n].reshape(n, n), theta[n * n :]
        return LinearReference(LinearSDE(A, b, D))

    def refit(self, evidence: Evidence, theta: Tensor | None) -> Tensor:  # noqa: ARG002
        second, cross = evidence.moments
        total = second[-1, -1]
        mean, drift = second[:-1, -1] / total, cross[:, -1] / total
        C = second[:-1, :-1] / total - torch.outer(mean, mean)  # free intercept: the penalty acts on A alone
        N = cross[:, :-1] / total - torch.outer(drift, mean)
        A = self._matrix(C + self.ridge * torch.eye(len(C), dtype=C.dtype), N, evidence.reference.D)
        return torch.cat([A.flatten(), drift - A @ mean])

    def _matrix(self, C: Tensor, N: Tensor, D: Tensor) -> Tensor:
        if self.shape == "general":
            return torch.linalg.solve(C, N.mT).mT
        root = _root(D)  # with anisotropic noise residuals count by D^-1
        if self.shape == "symmetric":
            return _symmetric(C, N, D)
        half = _root(C)
        white = torch.linalg.solve(root, torch.linalg.solve(half, N.mT).mT)
        u, s, v = torch.linalg.svd(white)
        kept = (u[:, : self.rank] * s[: self.rank]) @ v[: self.rank]
        return root @ torch.linalg.solve(half, kept.mT).mT


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root."""
    value, vector = torch.linalg.eigh(matrix)
    return (vector * value.clamp(min=0).sqrt()) @ vector.mT


def _symmetric(C: Tensor, N: Tensor, D: Tensor) -> Tensor:
    """argmin over symmetric A of tr(D^-1 (A C A - 2 N A)): D^-1 A C + C A D^-1 = D^-1 N + N^T D^-1, solved as one linear system."""
    inverse = torch.linalg.inv(D)
    right = inverse @ N
    system = torch.kron(inverse, C) + torch.kron(C, inverse)
    A = torch.linalg.solve(system, (right + right.mT).flatten()).reshape(C.shape)
    return (A + A.mT) / 2
