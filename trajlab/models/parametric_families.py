"""Families of drifts with few named parameters: Lotka-Volterra, the repressilator, vortices, a spring, and any function of a user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.references import CallableReference, Reference
from trajlab.models.bridge_evidence import Evidence, Interval, Regression
from trajlab.models.reference_families import Family

__all__ = ["LambOseen", "LotkaVolterra", "Parametric", "Repressilator", "Spring", "Vortex"]

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

    Raises:
        ValueError: no parameters, or starts and signs that do not fit them.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    names: tuple[str, ...] = ()
    positive: tuple[bool, ...] = ()
    starts: tuple[tuple[float, ...], ...] = ()
    derivative: Callable[[Tensor, Tensor], Tensor] | None = None
    damping: float = 1.0

    def __post_init__(self) -> None:
        if not self.names or any(len(row) != len(self.names) for row in (self.positive, *self.starts)):
            raise ValueError(f"Parametric: {len(self.names)} names, {len(self.positive)} signs and starts of {[len(s) for s in self.starts]} values; "
                             "one of each for every parameter was wanted")

    def start(self, intervals: Sequence[Interval], D: Tensor) -> Tensor | None:  # noqa: ARG002
        return None

    def reference(self, theta: Tensor, D: Tensor) -> Reference:
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
        found = [levenberg_marquardt(few, self._free(guess)) for guess in guesses]
        first = min(found, key=lambda pair: pair[1])[0]
        best = self._theta(levenberg_marquardt(self._residual(evidence.regression, root), first)[0])
        return best if theta is None else theta + self.damping * (best - theta)

    def _residual(self, rows: Regression, root: Tensor, signs: bool = True) -> Callable[[Tensor], Tensor]:
        scale = rows.weight.sqrt()[:, None]
        theta = self._theta if signs else (lambda value: value)
        return lambda free: (scale * ((rows.u - self.function(rows.x, theta(free))) @ root)).flatten()

    def _free(self, theta: Tensor) -> Tensor:
        positive = torch.tensor(self.positive)
        return torch.where(positive, theta.clamp(min=LEAST).log(), theta)

    def _theta(self, free: Tensor) -> Tensor:
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


def _lotka_volterra(x: Tensor, theta: Tensor) -> Tensor:
    prey, predator = x[:, 0], x[:, 1]
    alpha, beta, gamma, delta = theta
    return torch.stack([alpha * prey - beta * prey * predator, delta * prey * predator - gamma * predator], 1)


def _repressilator(x: Tensor, theta: Tensor) -> Tensor:
    beta, n, k, gamma = theta
    other = x.roll(1, 1).clamp(min=1e-8)  # each is repressed by the one before it
    return beta / (1 + (other / k) ** n) - gamma * x


def _vortex(x: Tensor, theta: Tensor) -> Tensor:
    s, x0, y0, stretch = theta
    return s * torch.stack([(x[:, 1] - y0) * torch.exp(-stretch), -(x[:, 0] - x0)], 1)


def _lamb_oseen(x: Tensor, theta: Tensor) -> Tensor:
    strength, x0, y0, stretch = theta
    a, b = (x[:, 0] - x0) * torch.exp(-stretch), x[:, 1] - y0
    square = (a**2 + b**2).clamp(min=1e-12)
    return (strength * -torch.expm1(-square) / square)[:, None] * torch.stack([-b, a], 1)


def _spring(x: Tensor, theta: Tensor) -> Tensor:
    return -theta[0] * x


#: dx/dt = alpha x - beta x y, dy/dt = delta x y - gamma y (Lotka 1925)
LotkaVolterra = partial(Parametric, _lotka_volterra, ("alpha", "beta", "gamma", "delta"), (True,) * 4, ((LEAST,) * 4,))
#: dx_i/dt = beta / (1 + (x_{i-1} / k)^n) - gamma x_i, cyclic (Elowitz & Leibler 2000, without proteins)
Repressilator = partial(Parametric, _repressilator, ("beta", "n", "k", "gamma"), (True,) * 4, ((LEAST, 1.0, 1.0, LEAST), (5.0, 2.0, 1.0, 1.0)))
#: dx/dt = s (y - y0) e^-l, dy/dt = -s (x - x0): an elliptic vortex, linear in x
Vortex = partial(Parametric, _vortex, ("s", "x0", "y0", "l"), (False,) * 4, ((0.1, 0.0, 0.0, 0.0), (-0.1, 0.0, 0.0, 0.0)))
#: Gamma (1 - e^{-r^2}) / r around a core at (x0, y0), the first axis stretched by e^-l (Lamb 1932, Oseen 1912)
LambOseen = partial(Parametric, _lamb_oseen, ("strength", "x0", "y0", "l"), (False,) * 4, ((0.1, 0.0, 0.0, 0.0), (-0.1, 0.0, 0.0, 0.0)))
#: dx/dt = -k x
Spring = partial(Parametric, _spring, ("k",), (True,), ((LEAST,),))
