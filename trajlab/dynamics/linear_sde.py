"""Linear stochastic differential equations dX = (A X + b) dt + L dW, D = L L^T: Gaussian transitions, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["LinearSDE", "Transition"]

LARGEST = 100.0  #: |A| tau above which the transition is doubled from a shorter one: the block below holds exp(-A tau)


@dataclass(frozen=True, eq=False)
class Transition:
    """X_{s + tau} given X_s is Gaussian with mean ``phi X_s + c`` and covariance ``cov``; all float64."""

    phi: Float[Tensor, "dim dim"]
    c: Float[Tensor, "dim"]
    cov: Float[Tensor, "dim dim"]

    def then(self, later: Transition) -> Transition:
        """This one followed by another."""
        return Transition(later.phi @ self.phi, later.phi @ self.c + later.c, symmetric(later.phi @ self.cov @ later.phi.mT + later.cov))


@dataclass(frozen=True, eq=False)
class LinearSDE:
    """The process.

    Attributes:
        A: drift matrix, 1/time, ``[dim dim]``.
        b: constant drift, length/time, ``[dim]``.
        D: diffusion matrix L L^T, length^2/time, ``[dim dim]``, positive semi-definite.

    Raises:
        ValueError: shapes disagree, or an entry is not finite.
    """

    A: Float[Tensor, "..."]
    b: Float[Tensor, "..."]
    D: Float[Tensor, "..."]

    def __post_init__(self) -> None:
        n = len(self.b)
        if self.A.shape != (n, n) or self.D.shape != (n, n):
            raise ValueError(f"LinearSDE: A {tuple(self.A.shape)}, b {tuple(self.b.shape)} and D {tuple(self.D.shape)}; [dim dim], [dim] and "
                             "[dim dim] were wanted")
        for name in ("A", "b", "D"):
            value = getattr(self, name).double()
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"LinearSDE: {name} holds values that are not finite; lower the learning step, or raise the ridge")
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        return len(self.b)

    def transition(self, tau: float) -> Transition:
        """The transition over a time ``tau`` >= 0, by one matrix exponential of each block (Van Loan 1978):

            exp([[-A, D], [0, A^T]] tau) = [[., H], [0, Phi^T]],  S = Phi H,    exp([[A, b], [0, 0]] tau) = [[Phi, c], [0, 1]].

        Where |A| tau is large the block would overflow; a shorter transition is doubled instead.

        Raises:
            ValueError: a negative time.
        """
        if not tau >= 0:
            raise ValueError(f"a transition over {tau:g}; a time of zero or more was wanted")
        doublings, short = 0, float(torch.linalg.matrix_norm(self.A.detach(), 1)) * tau
        while short > LARGEST:
            doublings, short = doublings + 1, short / 2
        found = self._direct(tau / 2**doublings)
        for _ in range(doublings):
            found = found.then(found)
        return found

    def _direct(self, tau: float) -> Transition:
        n = self.dim
        block = self.A.new_zeros(2 * n, 2 * n)
        block[:n, :n], block[:n, n:], block[n:, n:] = -self.A, self.D, self.A.mT
        wide = torch.linalg.matrix_exp(block * tau)
        shift = self.A.new_zeros(n + 1, n + 1)
        shift[:n, :n], shift[:n, n] = self.A, self.b
        phi = wide[n:, n:].mT
        return Transition(phi, torch.linalg.matrix_exp(shift * tau)[:n, n], symmetric(phi @ wide[:n, n:]))


def symmetric(matrix: Float[Tensor, "*batch dim dim"]) -> Float[Tensor, "*batch dim dim"]:
    """The symmetric part: covariances stay symmetric in spite of rounding."""
    return (matrix + matrix.mT) / 2
