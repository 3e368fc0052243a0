"""Refits of simulated data (parametric) or of resampled paths (nonparametric)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from trajlab.catalog import unknown
from trajlab.dynamics.jumps.emissions import Exactly
from trajlab.dynamics.jumps.pair_counts import pair_counts
from trajlab.dynamics.jumps.resimulate import resample_paths, resimulate
from trajlab.models.jumps.optimise import optimise
from trajlab.models.jumps.prepare import labelled
from trajlab.models.jumps.problem import SeenStates
from trajlab.models.jumps.uncertainty_laplace import generators_of
from trajlab.types import JumpPaths

__all__ = ["Bootstrap", "bootstrap", "corrected_quantiles", "refit"]

KINDS = ("parametric", "paths")


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Estimates from new data.

    Attributes:
        x: unconstrained parameters of the refits, ``[draw parameter]``.
        generators: at the reference covariates, ``[draw state state]``.
        failed: refits that were left out since no generator allows their data.
        kind: ``parametric`` or ``paths``.
    """

    x: Float[np.ndarray, "draw parameter"]
    generators: Float[np.ndarray, "draw state state"]
    failed: int
    kind: str


def bootstrap(fit: Any, draws: int = 200, kind: str = "parametric", seed: int = 0,
              fitter: Callable[[JumpPaths], np.ndarray] | None = None) -> Bootstrap:
    """Refit ``draws`` sets of paths that are simulated from the fit and seen as the data were, or drawn from the data with replacement.

    Args:
        fit: a `JumpFit`, or what has ``problem``, ``x``, ``paths``, ``initial``, ``noise`` and ``config``.
        draws: how many.
        kind: ``parametric`` or ``paths``.
        seed: of all draws.
        fitter: paths to unconstrained parameters; `refit` where it is None.

    Raises:
        ValueError: an unknown kind, fewer than two draws, or more than half of the refits failed.
    """
    if kind not in KINDS:
        raise ValueError(unknown("kind of bootstrap", kind, KINDS))
    if draws < 2:
        raise ValueError(f"draws={draws}; at least 2 refits were wanted (200 for an interval)")
    found, failed, reason = [], 0, ""
    for one in range(draws):
        paths = _simulated(fit, seed + one) if kind == "parametric" else resample_paths(fit.paths, seed + one)
        try:
            found.append(refit(fit, paths) if fitter is None else np.asarray(fitter(paths)))
        except ValueError as error:
            failed, reason = failed + 1, str(error)
    if failed > draws / 2:
        raise ValueError(f"{failed} of {draws} refits failed, the last since: {reason}; too little is known for a bootstrap, take method='profile'")
    x = np.stack(found)
    return Bootstrap(x, generators_of(fit.problem, x), failed, kind)


def _simulated(fit: Any, seed: int) -> JumpPaths:
    problem, names = fit.problem, fit.problem.parametrisation.covariates
    if not names:
        return resimulate(fit.paths, problem.generator(fit.x), fit.initial, None, _noise(fit), seed)
    values = np.stack([np.asarray(fit.paths.covariates[c].cpu(), dtype=np.float64) for c in names], 1)
    groups, number = np.unique(values, axis=0, return_inverse=True)
    q = problem.parametrisation.generators(fit.x[: len(problem.parametrisation.names)], groups - problem.reference)
    return resimulate(fit.paths, q, fit.initial, number.reshape(-1), _noise(fit), seed)


def _noise(fit: Any) -> Any:
    """What `resimulate` needs of an emission: a matrix of labels, or what draws signals; None where labels are what they say."""
    noise = fit.noise
    if noise is None or isinstance(noise, Exactly):
        return None
    if hasattr(noise, "mean"):
        return _Signals(noise)
    return noise.matrix(fit.paths.n_states) if callable(noise.matrix) else noise.matrix


@dataclass(frozen=True)
class _Signals:
    """Draws signals from a Gaussian emission (its covariances) or one of Student (its scales and degrees of freedom)."""

    emission: Any

    def draw(self, state: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        mean = self.emission.mean
        normal = rng.standard_normal((len(state), mean.shape[1]))
        if hasattr(self.emission, "factor"):
            return mean[state] + np.einsum("oij,oj->oi", self.emission.factor[state], normal)
        stretch = np.sqrt(self.emission.df / rng.chisquare(self.emission.df, (len(state), 1)))
        return mean[state] + self.emission.scale[state] * normal * stretch


def refit(fit: Any, paths: JumpPaths) -> Float[np.ndarray, "parameter"]:
    """The parameters that other paths make most likely, searched from those of the fit, under the same prior and bounds."""
    problem = fit.problem
    if isinstance(problem.data, SeenStates):
        other = problem.with_data(pair_counts(labelled(paths), problem.parametrisation.covariates, fit.config.most_lags))
    else:
        other = problem.with_data(problem.data.with_paths(paths))
    return optimise(other, np.clip(fit.x, *other.bounds)).x


def corrected_quantiles(draws: Float[np.ndarray, "draw ..."], estimate: Any, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected percentiles: the share of draws below the estimate shifts the quantiles that are taken (Efron 1981)."""
    estimate = np.asarray(estimate, dtype=np.float64)
    below = ((draws < estimate).sum(0) + 0.5 * (draws == estimate).sum(0)) / len(draws)
    shift = 2 * stats.norm.ppf(np.clip(below, 1 / (2 * len(draws)), 1 - 1 / (2 * len(draws))))
    reach = stats.norm.ppf((1 + level) / 2)
    return _quantiles(draws, stats.norm.cdf(shift - reach)), _quantiles(draws, stats.norm.cdf(shift + reach))


def _quantiles(draws: np.ndarray, share: Any) -> np.ndarray:
    """A quantile of its own for each column; infinite draws may be among them."""
    flat, shares = np.sort(draws.reshape(len(draws), -1), axis=0), np.ravel(share)
    at = np.clip(shares * (len(draws) + 1) - 1, 0, len(draws) - 1)
    lower = np.floor(at).astype(int)
    upper, part = np.minimum(lower + 1, len(draws) - 1), at - lower
    columns = np.arange(flat.shape[1])
    a, b = flat[lower, columns], flat[upper, columns]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where((part > 0) & (a != b), a + part * np.where(a == b, 0.0, b - a), a)).reshape(np.shape(share))
