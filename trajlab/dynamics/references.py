"""Reference processes dX = f(X) dt + L dW of a bridge: drift, Jacobian and diffusion, for whole populations at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.linear_sde import LinearSDE

__all__ = ["CallableReference", "LinearReference", "Reference"]


class Reference(ABC):
    """A reference process with constant diffusion.

    Attributes:
        D: diffusion matrix L L^T, length^2/time, ``[dim dim]`` float64.
    """

    D: Tensor

    @property
    def dim(self) -> int:
        return len(self.D)

    @abstractmethod
    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """f(x)."""

    @abstractmethod
    def jacobian(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        """Df(x), row i the gradient of f_i."""

    @property
    def linear(self) -> LinearSDE | None:
        """The process as a linear one, where it is: then transitions and bridges are exact."""
        return None


@dataclass(frozen=True, eq=False)
class LinearReference(Reference):
    """f(x) = A x + b. `LinearReference.brownian(dim, sigma)` has no drift."""

    sde: LinearSDE

    @classmethod
    def brownian(cls, dim: int, sigma: float) -> LinearReference:
        """No drift, diffusion sigma^2."""
        zero = torch.zeros(dim, dim, dtype=torch.float64)
        return cls(LinearSDE(zero, zero[0], sigma**2 * torch.eye(dim, dtype=torch.float64)))

    @property
    def D(self) -> Tensor:  # type: ignore[override]
        return self.sde.D

    @property
    def linear(self) -> LinearSDE:
        return self.sde

    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return x @ self.sde.A.mT + self.sde.b

    def jacobian(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        return self.sde.A.expand(*x.shape[:-1], -1, -1)


@dataclass(frozen=True, eq=False)
class CallableReference(Reference):
    """Any f, with its Jacobian by differentiation where it is not given.

    Attributes:
        function: f(x) for ``[batch dim]``, each row on its own.
        D: diffusion matrix.
        derivative: Df(x) for ``[batch dim]``, or None.
    """

    function: Callable[[Tensor], Tensor]
    D: Tensor
    derivative: Callable[[Tensor], Tensor] | None = None

    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        found = self.function(x.reshape(-1, x.shape[-1])).reshape(x.shape)
        return found if x.requires_grad else found.detach()  # drifts that are gradients themselves leave a graph behind

    def jacobian(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        flat = x.reshape(-1, x.shape[-1])
        if self.derivative is not None:
            found = self.derivative(flat)
        else:
            found = by_rows(self.function, flat)
        return found.reshape(*x.shape, x.shape[-1])


def by_rows(function: Callable[[Tensor], Tensor], x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim dim"]:
    """Jacobian of every row by one backward pass an output: rows do not depend on each other, so their sum has their gradients."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        out = function(x)
        if not out.requires_grad:  # a constant drift
            return x.detach().new_zeros(*x.shape, x.shape[1])
        rows = [torch.autograd.grad(out[:, k].sum(), x, retain_graph=True, allow_unused=True)[0] for k in range(out.shape[1])]
    return torch.stack([torch.zeros_like(x) if row is None else row for row in rows], 1).detach()
