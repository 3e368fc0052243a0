"""Families of drifts with few named parameters: any function of the user, fitted by Levenberg-Marquardt's method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.dynamics.references import CallableReference, LinearReference, Reference, by_rows
from trajlab.models.bridge_evidence import Evidence, Interval, Regression
from trajlab.models.family import Family

__all__ = ["LEAST", "Parametric", "levenberg_marquardt"]

POINTS = 4000  #: of the regression, at most
STEPS = 60  #: of Levenberg-Marquardt, at most
LEAST = 1e-5  #: positive parameters start here where nothing else is said
FLAT = 1e-9  #: relative gain below which the iteration stops


@dataclass(frozen=True)
class Parametric(Family):
    """A drift ``f(x, theta)`` of any form.

    Attributes:
        function: ``f(x[batch dim], theta[parameter]) -> [batch dim]``, of torch operations.
        names: of the parameters.
        positive: which of them are positive; they are fitted by their logarithms.
        starts: first guesses, each a row of parameters; the fit goes on from the last iterate and from all of these, and keeps the best.
        derivative: Jacobian ``[batch dim dim]``, where it is known; else by differentiation.
        damping: share of the step towards the new parameters that is taken, 1 for all of it.
        linear: whether f is A x + b: then bridges are exact.

    Raises:
        ValueError: no parameters, or starts and signs that do not fit them.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    names: tuple[str, ...] = ()
    positive: tuple[bool, ...] = ()
    starts: tuple[tuple[float, ...], ...] = ()
    derivative: Callable[[Tensor, Tensor], Tensor] | None = None
    damping: float = 1.0
    linear: bool = False

    def __post_init__(self) -> None:
        if not self.positive:
            object.__setattr__(self, "positive", (False,) * len(self.names))
        if not 0 < self.damping <= 1:
            raise ValueError(f"Parametric: damping={self.damping}; a share above 0 and at most 1 was wanted")
        if not self.names or any(len(row) != len(self.names) for row in (self.positive, *self.starts)):
            raise ValueError(f"Parametric: {len(self.names)} names, {len(self.positive)} signs and starts of {[len(s) for s in self.starts]} values; "
                             "one of each for every parameter was wanted")

    def start(self, intervals: Sequence[Interval], D: Tensor) -> Tensor | None:  # noqa: ARG002
        return None

    def reference(self, theta: Tensor, D: Tensor) -> Reference:
        if self.linear:
            zero = torch.zeros(1, len(D), dtype=torch.float64)
            drift = lambda x: self.function(x, theta)  # noqa: E731
            return LinearReference(LinearSDE(by_rows(drift, zero)[0], drift(zero)[0], D))
        derivative = None if self.derivative is None else (lambda x: self.derivative(x, theta))
        return CallableReference(lambda x: self.function(x, theta), D, derivative)

    def refit(self, evidence: Evidence, theta: Tensor | None) -> Tensor:
        root = torch.linalg.cholesky(torch.linalg.inv(evidence.reference.D))
        few = self._residual(thinned(evidence.regression, POINTS), root)
        guesses = [torch.tensor(row, dtype=torch.float64) for row in self.starts] or [torch.full((len(self.names),), LEAST, dtype=torch.float64)]
        guesses = ([] if theta is None else [theta]) + guesses
        if any(self.positive):  # without signs first: logarithms creep where a parameter starts near zero
            plain = self._residual(thinned(evidence.regression, POINTS), root, signs=False)
            guesses = guesses + [levenberg_marquardt(plain, guess)[0] for guess in guesses]
        found = [levenberg_marquardt(few, self.free(guess)) for guess in guesses]
        first = min(found, key=lambda pair: pair[1])[0]
        best = self.bound(levenberg_marquardt(self._residual(evidence.regression, root), first)[0])
        return best if theta is None else theta + self.damping * (best - theta)

    def _residual(self, rows: Regression, root: Tensor, signs: bool = True) -> Callable[[Tensor], Tensor]:
        scale = rows.weight.sqrt()[:, None]
        theta = self.bound if signs else (lambda value: value)
        return lambda free: (scale * ((rows.u - self.function(rows.x, theta(free))) @ root)).flatten()

    def free(self, theta: Tensor) -> Tensor:
        positive = torch.tensor(self.positive)
        return torch.where(positive, theta.clamp(min=LEAST).log(), theta)

    def bound(self, free: Tensor) -> Tensor:
        positive = torch.tensor(self.positive)
        return torch.where(positive, torch.where(positive, free, 0.0).clamp(max=50.0).exp(), free)


def thinned(rows: Regression, most: int) -> Regression:
    """Every so-manieth row of a random order, so that no node, pair or side of a bridge is favoured."""
    if len(rows.x) <= most:
        return rows
    keep = torch.randperm(len(rows.x), generator=torch.Generator().manual_seed(0))[:most]
    return Regression(rows.x[keep], rows.u[keep], rows.weight[keep])


def levenberg_marquardt(residual: Callable[[Tensor], Tensor], start: Float[Tensor, "parameter"]) -> tuple[Tensor, float]:
    """Least squares of few unknowns by damped Gauss-Newton steps (Marquardt 1963): the unknowns and the sum of squares."""
    point, damping = start, 1e-3
    value = residual(point)
    cost = float(value @ value)
    for _ in range(STEPS):
        J = differences(residual, point)
        normal, right = J.mT @ J, J.mT @ value
        gained = False
        for _ in range(12):
            diagonal = normal.diagonal().clamp(min=1e-12 * float(normal.diagonal().max()) + 1e-300)
            trial = point - torch.linalg.solve(normal + damping * torch.diag(diagonal), right)
            new = residual(trial)
            reached = float(new @ new) if bool(torch.isfinite(new).all()) else float("inf")
            if reached < cost:
                gained = cost - reached > FLAT * cost
                point, value, cost, damping = trial, new, reached, max(damping / 5, 1e-12)
                break
            damping *= 4
        if not gained:
            break
    return point, cost


def differences(function: Callable[[Tensor], Tensor], point: Float[Tensor, "parameter"]) -> Float[Tensor, "value parameter"]:
    """Central differences: two calls a parameter, good to 1e-9, and quicker than differentiation where parameters are few and values many."""
    steps = 1e-5 * point.abs().clamp(min=1.0)
    columns = []
    for k, step in enumerate(steps.tolist()):
        shift = torch.zeros_like(point)
        shift[k] = step
        columns.append((function(point + shift) - function(point - shift)) / (2 * step))
    return torch.stack(columns, 1)
