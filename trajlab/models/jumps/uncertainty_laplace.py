"""The posterior around its mode: normal in the unconstrained parameters (logarithms of rates), and what is said where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from trajlab.dynamics.jumps.generator import from_rates
from trajlab.models.jumps.parameters import LogRates
from trajlab.models.jumps.pareto import smoothed_weights

__all__ = ["Laplace", "generators_of", "laplace", "log_parameters"]

EDGE = 1e-3  #: a parameter closer than this to its bound is at it
FEW = 0.5  #: information on a log-rate, in jumps, below which it is not known from below
LOGIT = "logit "  #: before the name of a share that is estimated by its logit
TAIL = 7  #: degrees of freedom of proposals
FLAT = 1 / 25  #: information below which a direction is not known at all (a standard deviation of 5 in a logarithm)


@dataclass(frozen=True, eq=False)
class Laplace:
    """A normal law of the parameters that the data determine, and one-sided laws of the others.

    Attributes:
        x: the mode, ``[parameter]``.
        covariance: the inverse of minus the Hessian over the parameters that are ``"inside"`` or ``"flat"``, zero elsewhere,
            ``[parameter parameter]``.
        status: for each parameter ``"inside"``; ``"low"`` (a rate that may be zero: only an upper limit is known); ``"high"`` (at the upper
            bound: only a lower limit is known); ``"flat"`` (not determined at all).
        shape, rate: of the Gamma law of the rate where the status is ``"low"``, ``[parameter]``; slope of the log-posterior in ``rate`` where
            it is ``"high"``.
        bounds: lower and upper ends, ``[2 parameter]``.
        logs: which parameters are logarithms of what may be zero (`log_parameters`), ``[parameter]``.
        problem: the log-posterior.
    """

    x: Float[np.ndarray, "parameter"]
    covariance: Float[np.ndarray, "parameter parameter"]
    status: tuple[str, ...]
    shape: Float[np.ndarray, "parameter"]
    rate: Float[np.ndarray, "parameter"]
    bounds: Float[np.ndarray, "2 parameter"]
    logs: Bool[np.ndarray, "parameter"]
    problem: Any

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.problem.names)

    @property
    def undetermined(self) -> tuple[str, ...]:
        """Names of the parameters that the data do not determine on both sides."""
        return tuple(n for n, s in zip(self.names, self.status, strict=True) if s != "inside")

    def has(self, *status: str) -> Bool[np.ndarray, "parameter"]:
        return np.array([s in status for s in self.status], dtype=bool)

    def interval(self, level: float) -> tuple[Float[np.ndarray, "parameter"], Float[np.ndarray, "parameter"]]:
        """Lower and upper ends of x: ``x +- z sd`` inside; minus infinity or infinity on a side where nothing is known."""
        reach = stats.norm.ppf((1 + level) / 2) * np.sqrt(np.diag(self.covariance))
        low, high = self.x - reach, self.x + reach
        for k, s in enumerate(self.status):
            if s == "low":
                low[k], high[k] = -np.inf, np.log(max(stats.gamma.ppf(level, self.shape[k]) / self.rate[k], 1e-300))
                high[k] = np.inf if high[k] > self.bounds[1, k] else max(high[k], self.x[k])
            elif s == "high":
                low[k], high[k] = self.x[k] + np.log(1 - level) / self.rate[k], np.inf
            elif s == "flat":
                low[k], high[k] = -np.inf, np.inf
        return low, high

    def draws(self, draws: int, seed: int = 0) -> Float[np.ndarray, "draw parameter"]:
        """Parameters from this law, within the bounds."""
        rng = np.random.default_rng(seed)
        x = self.x + rng.standard_normal((draws, len(self.x))) @ _root(self.covariance).T
        for k, s in enumerate(self.status):
            if s == "low":
                x[:, k] = np.log(np.maximum(rng.gamma(self.shape[k], size=draws) / self.rate[k], 1e-300))
            elif s == "high":
                x[:, k] = self.x[k] - rng.exponential(size=draws) / self.rate[k]
        return np.clip(x, *self.bounds)

    def weighted(self, draws: int, seed: int = 0, tilt: float = 0.5) -> tuple[Float[np.ndarray, "draw parameter"], Float[np.ndarray, "draw"], float]:
        """Draws, smoothed importance weights that turn them into draws of the exact posterior, and the tail index k-hat.

        A k-hat below 0.5 says that the approximation is close, one above 0.7 that neither it nor the weights should be used. The draws have
        the tails of Student's law with 7 degrees of freedom. The prior is read as in `uncertainty_posterior.PosteriorConfig` (``tilt``).
        """
        rng = np.random.default_rng([seed, 1])
        inside, outside = self.has("inside", "flat"), self.has("low", "high")
        x, size = self.draws(draws, seed), int(inside.sum())
        x[:, inside] = self.x[inside]
        normal = rng.standard_normal((draws, size))
        stretch = np.sqrt(TAIL / rng.chisquare(TAIL, draws))
        x[:, inside] += (normal * stretch[:, None]) @ _root(self.covariance[np.ix_(inside, inside)]).T
        x = np.clip(x, *self.bounds)
        proposal = -0.5 * (TAIL + size) * np.log1p((normal**2).sum(1) * stretch**2 / TAIL)
        target = np.array([self.problem.value_and_gradient(row)[0] for row in x]) + tilt * x[:, self.logs].sum(1)
        for k in np.flatnonzero(outside):
            if self.status[k] == "low":
                proposal = proposal + self.shape[k] * x[:, k] - self.rate[k] * np.exp(x[:, k])
            else:
                proposal = proposal - self.rate[k] * (self.x[k] - x[:, k])
        return x, *smoothed_weights(target - proposal)


def laplace(problem: Any, x: Float[np.ndarray, "parameter"]) -> Laplace:
    """The normal approximation of a log-posterior at its mode.

    A log-rate with an information of less than half a jump is not known from below (its lower limit in the log would be minus infinity): near zero
    the posterior of the rate is a Gamma law, ``q^n exp(-T q)`` with ``T = -d^2 l / (q dlog q^2)`` and ``n = dl/dlog q + T q``.

    Raises:
        ValueError: the log-posterior is not finite at x.
    """
    x = np.asarray(x, dtype=np.float64)
    value, gradient = problem.value_and_gradient(x)
    information = -np.asarray(problem.hessian(x), dtype=np.float64)
    if not np.isfinite(value) or not np.isfinite(information).all():
        raise ValueError(f"the log-posterior is {value:g} at the answer and its curvature {'finite' if np.isfinite(information).all() else 'not'}; "
                         "an interval needs both finite")
    bounds = np.array(problem.bounds, dtype=np.float64)
    logs = log_parameters(problem)
    status, shape, rate = _outside(x, gradient, information, bounds, logs)
    inside = np.array([s == "inside" for s in status], dtype=bool)
    covariance, unknown = _inverse(information[np.ix_(inside, inside)], np.asarray(problem.scale)[inside])
    full = np.zeros((len(x), len(x)))
    full[np.ix_(inside, inside)] = covariance
    for k in np.flatnonzero(inside)[unknown]:
        status[k] = "flat"
    return Laplace(x, full, tuple(status), shape, rate, bounds, logs, problem)


def _outside(x: np.ndarray, gradient: np.ndarray, information: np.ndarray, bounds: np.ndarray,
             logs: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Parameters at a bound or towards it, with the laws of their one known side."""
    status, shape, rate = ["inside"] * len(x), np.ones(len(x)), np.ones(len(x))
    for k in range(len(x)):
        known = information[k, k]
        if x[k] >= bounds[1, k] - EDGE and gradient[k] > 0:
            status[k], rate[k] = "high", max(gradient[k], 1e-12)
        elif logs[k] and (x[k] <= bounds[0, k] + EDGE or known < FEW):
            status[k] = "low"
            exposed = max(known, -gradient[k], 1e-300)
            shape[k] = 1.0 + np.clip(gradient[k] + exposed, 0.0, FEW)
            rate[k] = exposed * np.exp(-x[k])
        elif x[k] <= bounds[0, k] + EDGE or x[k] >= bounds[1, k] - EDGE:
            status[k] = "flat"
    return status, shape, rate


def _inverse(information: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse with flat directions bounded, and which parameters they leave unknown; `step` is the natural unit of each parameter."""
    if not len(step):
        return information, np.zeros(0, dtype=bool)
    values, vectors = np.linalg.eigh(information * np.outer(step, step))
    covariance = (vectors / np.maximum(values, FLAT)) @ vectors.T
    flat = (vectors[:, values < FLAT] ** 2).sum(1)
    return covariance * np.outer(step, step), flat > 0.05


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def log_parameters(problem: Any) -> Bool[np.ndarray, "parameter"]:
    """Which parameters are logarithms of what may be zero: rates, and the level of label noise (whose logit is its logarithm near zero)."""
    kind = list(getattr(problem.parametrisation, "kind", ()))
    kind += [""] * (len(problem.names) - len(kind))
    return np.array([k == "rate" or name.startswith(LOGIT) for k, name in zip(kind, problem.names, strict=True)], dtype=bool)


def generators_of(problem: Any, x: Float[np.ndarray, "draw parameter"]) -> Float[np.ndarray, "draw state state"]:
    """Generators at the reference covariates; all draws at once where log-rates are linear in the parameters."""
    model = problem.parametrisation
    if not isinstance(model, LogRates):
        return np.stack([problem.generator(row) for row in x])
    rates = np.zeros((len(x), model.n_states, model.n_states))
    rates[:, model.links[:, 0], model.links[:, 1]] = np.exp(model.offset + (model.base @ x[:, : model.base.shape[1]].T).T)
    return from_rates(rates)
