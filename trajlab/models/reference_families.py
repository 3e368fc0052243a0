"""Brownian motion and linear drifts as families of references: their reference steps are in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.dynamics.references import LinearReference, Reference
from trajlab.models.bridge_evidence import Evidence, Interval
from trajlab.models.family import Family
from trajlab.models.moment_fit import moment_fit

__all__ = ["Brownian", "Linear", "constrained"]

SHAPES = ("general", "symmetric", "low_rank")
STARTS = ("moments", "brownian")


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
        begin: ``brownian``, or ``moments``: the drift fitted to means and covariances of the snapshots.

    Raises:
        ValueError: an unknown shape or beginning, a rank below 1 or a negative ridge.
    """

    shape: str = "general"
    rank: int = 2
    ridge: float = 0.0
    begin: str = "brownian"

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(unknown("shape of a linear drift", self.shape, SHAPES))
        if self.begin not in STARTS:
            raise ValueError(unknown("beginning of a linear drift", self.begin, STARTS))
        if self.rank < 1 or self.ridge < 0:
            raise ValueError(f"Linear: rank={self.rank} and ridge={self.ridge}; a rank of at least 1 and a ridge of 0 or more were wanted")

    def start(self, intervals: Sequence[Interval], D: Tensor) -> Tensor | None:
        if self.begin == "brownian":
            return None
        found = moment_fit(intervals, D=D)
        eye = torch.eye(len(D), dtype=torch.float64)
        A = constrained(eye, found.A, eye, self.shape, self.rank)
        return torch.cat([A.flatten(), found.b])

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
        A = constrained(C + self.ridge * torch.eye(len(C), dtype=C.dtype), N, evidence.reference.D, self.shape, self.rank)
        return torch.cat([A.flatten(), drift - A @ mean])


def constrained(C: Float[Tensor, "dim dim"], N: Float[Tensor, "dim dim"], D: Float[Tensor, "dim dim"], shape: str,
                rank: int = 1) -> Float[Tensor, "dim dim"]:
    """argmin over A of a shape of  tr(D^-1 (A C A^T - 2 N A^T)),  the regression of drifts on states with covariance C and cross-covariance N.

    ``general``: N C^-1. ``symmetric``: the equation below. ``low_rank``: with W = C^1/2, D^1/2 [D^-1/2 N W^-1]_r W^-1, [.]_r the best approximation
    of rank r (reduced-rank regression, Izenman 1975).
    """
    if shape == "general":
        return torch.linalg.solve(C, N.mT).mT
    if shape == "symmetric":
        return _symmetric(C, N, D)
    root, half = _root(D), _root(C)  # with anisotropic noise residuals count by D^-1
    white = torch.linalg.solve(root, torch.linalg.solve(half, N.mT).mT)
    u, s, v = torch.linalg.svd(white)
    kept = (u[:, :rank] * s[:rank]) @ v[:rank]
    return root @ torch.linalg.solve(half, kept.mT).mT


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root."""
    value, vector = torch.linalg.eigh(matrix)
    return (vector * value.clamp(min=0).sqrt()) @ vector.mT


def _symmetric(C: Tensor, N: Tensor, D: Tensor) -> Tensor:
    """argmin over symmetric A:  D^-1 A C + C A D^-1 = D^-1 N + N^T D^-1.  With D = R R^T and B = R^-1 A R^-T it is Sylvester's equation
    B K + K B = M + M^T, K = R^T C R, M = R^-1 N R,  solved in the eigenvectors of K."""
    R = torch.linalg.cholesky(D)
    K, M = R.mT @ C @ R, torch.linalg.solve_triangular(R, N @ R, upper=False)
    value, vector = torch.linalg.eigh(K)
    turned = vector.mT @ (M + M.mT) @ vector / (value[:, None] + value)
    A = R @ vector @ turned @ vector.mT @ R.mT
    return (A + A.mT) / 2
