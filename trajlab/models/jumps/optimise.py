"""The mode of a log-posterior within its bounds, by L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from trajlab.models.jumps.em import Impossible

__all__ = ["Optimum", "optimise"]

MEMORY = 20  #: pairs of steps and changes of the gradient that are kept


@dataclass(frozen=True)
class Optimum:
    """Where the search ended.

    Attributes:
        x: the parameters, ``[parameter]``.
        value: the log-posterior there.
        gradient_norm: the largest derivative, by parameters in their natural steps, that does not point out of the bounds.
        iterations, evaluations: of the optimiser.
        converged: whether it stopped since the value settled.
        reason: why it stopped.
        at_bound: names of the parameters that ended at a bound: the data drive them to zero, or to more than can be told.
    """

    x: np.ndarray
    value: float
    gradient_norm: float
    iterations: int
    evaluations: int
    converged: bool
    reason: str
    at_bound: tuple[str, ...] = ()


class _Objective:
    """Minus the log-posterior of ``x / scale``; remembers the best point, and leads back to it from where the posterior is not finite."""

    def __init__(self, problem: Any) -> None:
        self.problem, self.calls, self.scale = problem, 0, np.asarray(getattr(problem, "scale", 1.0))
        self.best: tuple[float, np.ndarray, np.ndarray] | None = None

    def __call__(self, scaled: np.ndarray) -> tuple[float, np.ndarray]:
        self.calls += 1
        x = scaled * self.scale
        value, gradient = self.problem.value_and_gradient(x)
        if np.isfinite(value) and np.isfinite(gradient).all():
            if self.best is None or value > self.best[0]:
                self.best = (value, x.copy(), gradient.copy())
            return -value, -gradient * self.scale
        if self.best is None:
            raise Impossible(_never(self.problem, x))
        away = scaled - self.best[1] / self.scale
        return -self.best[0] + (1 + abs(self.best[0])) * (1 + float(away @ away)), 2 * (1 + abs(self.best[0])) * away


def _never(problem: Any, x: np.ndarray) -> str:
    said = problem.impossible(x) if hasattr(problem, "impossible") else None
    return said or "the log-posterior is not finite where the search starts; start from other rates"


def optimise(problem: Any, x0: Float[np.ndarray, "parameter"], max_iterations: int = 1000, tolerance: float = 1e-10) -> Optimum:
    """The mode of ``problem.value_and_gradient`` within ``problem.bounds`` (L-BFGS-B; Byrd, Lu, Nocedal and Zhu 1995).

    It stops where the value changes by less than `tolerance`, relative; a line search that fails is started once more, without memory.

    Raises:
        ValueError: x0 has another length than the parameters, is not finite, or what was seen cannot be there.
    """
    low, high = problem.bounds
    x0 = np.array(x0, dtype=np.float64)
    if x0.shape != low.shape or not np.isfinite(x0).all():
        what = "" if np.isfinite(x0).all() else " and is not finite"
        raise ValueError(f"the start has shape {x0.shape}{what}; {len(low)} finite numbers were wanted")
    x = np.clip(x0, low, high)
    objective = _Objective(problem)
    options = {"maxiter": max_iterations, "maxfun": 20 * max_iterations, "ftol": tolerance, "gtol": 1e-9, "maxcor": MEMORY}
    iterations, found = 0, None
    scale = objective.scale
    box = np.stack([low, high], 1) / np.reshape(scale, (-1, 1))
    for _ in range(2):
        found = minimize(objective, x / scale, jac=True, method="L-BFGS-B", bounds=box, options=options)
        iterations += found.nit
        if found.success or found.nit >= max_iterations:
            break
        x = objective.best[1]
    value, x, gradient = objective.best
    x, edge = np.clip(x, low, high), 1e-9 * scale
    out = ((x <= low + edge) & (gradient < 0)) | ((x >= high - edge) & (gradient > 0))
    inside = np.where(out, 0.0, gradient * scale)
    stuck = tuple(name for name, hit in zip(problem.names, (x <= low + edge) | (x >= high - edge), strict=True) if hit)
    norm = float(np.abs(inside).max()) if len(x) else 0.0
    return Optimum(x, float(value), norm, iterations, objective.calls, bool(found.success), str(found.message).strip().lower(), stuck)
