"""Profile intervals: how far a parameter can go while the others make up for it (Venzon and Moolgavkar 1988)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import minimize

from trajlab.models.jumps.uncertainty_laplace import Laplace

__all__ = ["Profile", "profile"]

CLOSE = 1e-3  #: in units of the signed root of the deviance: an error of 1e-3 of a standard deviation
STEPS = 12


@dataclass(frozen=True, eq=False)
class Profile:
    """Ends of an interval in the unconstrained parameters; infinite where the profile never falls below the cut-off within the bounds.

    Attributes:
        low, high: ``[parameter]``.
        reliable: False where the search did not settle; the ends are then the closest that were found, ``[parameter]``.
    """

    low: np.ndarray
    high: np.ndarray
    reliable: np.ndarray


def profile(problem: Any, mode: Laplace, level: float = 0.95, which: Any = None) -> Profile:
    """The set ``{c: 2 (l_max - max_{x_k = c} l(x)) <= z^2}``, z the normal quantile, for each parameter.

    The signed root of the deviance is nearly linear in c, so that Newton's method on it (its slope is the k-th entry of the gradient) settles in
    three or four constrained optimisations, each started where the last one ended.

    Args:
        problem: the log-posterior.
        mode: its normal approximation, for first guesses and scales.
        level: of the interval.
        which: numbers of the parameters, all where it is None; the others get the normal interval.
    """
    top = problem.value_and_gradient(mode.x)[0]
    reach = stats.norm.ppf((1 + level) / 2)
    low, high = mode.interval(level)
    reliable = np.ones(len(low), dtype=bool)
    for k in range(len(low)) if which is None else which:
        for side, ends in ((-1, low), (1, high)):
            ends[k], good = _end(problem, mode, k, side, reach, top)
            reliable[k] &= good
    return Profile(low, high, reliable)


def _end(problem: Any, mode: Laplace, k: int, side: int, reach: float, top: float) -> tuple[float, bool]:
    """One end, ``side * inf`` where the deviance is below its cut-off still at the bound."""
    bound = mode.bounds[(1 + side) // 2, k]
    room = abs(bound - mode.x[k])
    if room < 1e-6:
        return side * np.inf, True
    spread = np.sqrt(mode.covariance[k, k]) if mode.status[k] == "inside" else 1.0
    slope = mode.covariance[:, k] / mode.covariance[k, k] if mode.covariance[k, k] > 0 else np.zeros(len(mode.x))
    near, far = 0.0, room  # distances with a deviance below and above the cut-off
    distance, x, beyond = min(reach * spread, 0.999 * room), mode.x.copy(), False
    x = x + slope * side * distance
    for _ in range(STEPS * 2):
        x = np.clip(x, *mode.bounds)
        x[k] = mode.x[k] + side * distance
        x, value, gradient = _constrained(problem, mode, x, k)
        root = np.sqrt(max(2 * (top - value), 0.0))
        if abs(root - reach) < CLOSE:
            return float(x[k]), True
        if root < reach:
            if distance >= room:
                return side * np.inf, True
            near = distance
        else:
            far, beyond = distance, True
        step = (reach - root) * root / max(-side * gradient[k], 1e-300) if root > 0 else spread
        following = distance + np.clip(step, -distance / 2, max(2 * spread, distance))
        if not near < following < far:
            following = (near + far) / 2 if beyond else room
        x = x + slope * side * (following - distance)
        distance = following
        if far - near < 1e-6 * spread:
            return float(mode.x[k] + side * distance), True
    return float(mode.x[k] + side * distance), False


def _constrained(problem: Any, mode: Laplace, x: np.ndarray, k: int) -> tuple[np.ndarray, float, np.ndarray]:
    """The mode with parameter k held, in units of the standard deviations."""
    others = np.arange(len(x)) != k
    if not others.any():
        return x, *problem.value_and_gradient(x)
    unit = np.where(np.diag(mode.covariance) > 0, np.sqrt(np.diag(mode.covariance)), 1.0)[others]
    low, high = mode.bounds[:, others] / unit

    def negative(free: np.ndarray) -> tuple[float, np.ndarray]:
        full = x.copy()
        full[others] = free * unit
        value, gradient = problem.value_and_gradient(full)
        return (-value, -gradient[others] * unit) if np.isfinite(value) else (1e300, np.zeros(len(unit)))

    found = minimize(negative, x[others] / unit, jac=True, method="L-BFGS-B", bounds=list(zip(low, high, strict=True)),
                     options={"gtol": 1e-3, "ftol": 1e-12, "maxiter": 60})
    out = x.copy()
    out[others] = np.clip(found.x * unit, *mode.bounds[:, others])
    return out, *problem.value_and_gradient(out)
