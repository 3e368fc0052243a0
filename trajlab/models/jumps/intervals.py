"""An interval for every parameter of a fitted jump process, and for everything that follows from its rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from trajlab.catalog import unknown
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.models.jumps.uncertainty_bootstrap import bootstrap, corrected_quantiles
from trajlab.models.jumps.uncertainty_laplace import LOGIT, Laplace, generators_of, laplace
from trajlab.models.jumps.uncertainty_posterior import PosteriorConfig, posterior
from trajlab.models.jumps.uncertainty_profile import profile

__all__ = ["METHODS", "Interval", "derive", "generator_draws", "intervals"]

METHODS = ("laplace", "profile", "bootstrap", "posterior")


@dataclass(frozen=True, eq=False)
class Interval:
    """What is known of a number, or of an array of them.

    Attributes:
        name: of what.
        estimate: of the fit.
        low, high: ends of the interval, of the shape of the estimate; 0 or minus infinity, and infinity, on a side where nothing is known.
        level: the share of data sets for which it is meant to hold the truth.
        method: how it was found.
        note: "" where both sides are known; else a sentence.
    """

    name: str
    estimate: Any
    low: Any
    high: Any
    level: float = 0.95
    method: str = "laplace"
    note: str = ""

    def __str__(self) -> str:
        if np.ndim(self.estimate):
            return f"{self.name}: {np.array2string(np.asarray(self.estimate), precision=4)}"
        return f"{self.name}: {self.estimate:.4g} ({self.low:.4g} to {self.high:.4g})" + (f"; {self.note}" if self.note else "")


def intervals(fit: Any, level: float = 0.95, method: str = "laplace", seed: int = 0, draws: int | None = None,
              of: str = "parameters", config: PosteriorConfig | None = None) -> tuple[Interval, ...]:
    """An interval for each parameter of a fit: rates as rates, effects of covariates and ratios of probabilities as logarithms.

    - ``laplace``: normal in the logarithms of rates, from the curvature at the mode: milliseconds, and right where each link has ten jumps or more;
    - ``profile``: how far a rate can go while the others make up for it: right for few jumps too, one-sided where a rate may be zero;
    - ``bootstrap``: bias-corrected percentiles of refits of simulated data (200 where `draws` is None);
    - ``posterior``: equal-tailed quantiles of draws from the exact posterior (1000).

    Args:
        fit: a `JumpFit`.
        level: of the intervals.
        method: see above.
        seed: of what is drawn.
        draws: number of draws or refits.
        of: ``parameters``, or ``rates``: one interval for each allowed link, whatever the parameters are.
        config: of the posterior draws.

    Raises:
        ValueError: an unknown method, a level that is none, or an answer of the network alone asked for more than its own widths.
    """
    _checked(level, method, fit, of)
    if fit.problem is None:
        return _network(fit, level)
    if of == "rates":
        return _of_rates(fit, level, method, seed, draws, config)
    mode = laplace(fit.problem, fit.x)
    if method == "laplace":
        low, high = mode.interval(level)
    elif method == "profile":
        found = profile(fit.problem, mode, level)
        low, high = found.low, found.high
    elif method == "bootstrap":
        low, high = corrected_quantiles(bootstrap(fit, draws or 200, seed=seed).x, fit.x, level)
    else:
        x = posterior(fit.problem, mode, _config(config, draws), seed).x
        low, high = np.quantile(x, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return tuple(_natural(mode, k, low[k], high[k], level, method) for k in range(len(low)))


def derive(fit: Any, function: Callable[[np.ndarray], Any], level: float = 0.95, method: str = "laplace", draws: int | None = None, seed: int = 0,
           name: str = "", config: PosteriorConfig | None = None, vectorised: bool = True) -> Interval:
    """An interval for what follows from a generator: the function is applied to drawn generators and its percentiles are taken.

    Args:
        fit: a `JumpFit`.
        function: generators ``[draw state state]`` to ``[draw ...]``: the stationary law, time scales, passage times, entropy production, ...
        level: of the interval.
        method: ``laplace``, ``bootstrap`` or ``posterior`` (a profile is there for parameters alone).
        draws: how many; 1000 (200 for the bootstrap) where it is None.
        seed: of the draws.
        name: of the result; the function's own where it is empty.
        config: of the posterior draws.
        vectorised: False where the function takes one generator ``[state state]``.

    Raises:
        ValueError: an unknown method, ``profile``, a level that is none, or a function that does not keep the first axis.
    """
    _checked(level, method, fit, "rates")
    if method == "profile":
        raise ValueError("method='profile' is for parameters; take 'posterior', 'bootstrap' or 'laplace' for what follows from them")
    q = generator_draws(fit, method, draws, seed, config)
    apply = function if vectorised else lambda many: np.stack([np.asarray(function(one)) for one in many])
    values, estimate = np.asarray(apply(q), dtype=np.float64), np.asarray(apply(fit.generator[None]), dtype=np.float64)
    if values.shape[:1] != q.shape[:1] or estimate.shape[:1] != (1,) or values.shape[1:] != estimate.shape[1:]:
        raise ValueError(f"the function makes {values.shape} of {q.shape}; [draw ...] was wanted (vectorised=False where it takes one generator)")
    estimate = estimate[0]
    missing = np.isnan(values)
    if method == "bootstrap" and not missing.any():
        low, high = corrected_quantiles(values, estimate, level)
    else:
        low, high = _percentiles(values, level)
    note = f"not a number for {missing.any(tuple(range(1, values.ndim))).mean():.1%} of the draws, which are left out" if missing.any() else ""
    plain = estimate.ndim == 0
    return Interval(name or getattr(function, "__name__", "derived"), float(estimate) if plain else estimate, float(low) if plain else low,
                    float(high) if plain else high, level, method, note)


def generator_draws(fit: Any, method: str = "laplace", draws: int | None = None, seed: int = 0,
                    config: PosteriorConfig | None = None) -> Float[np.ndarray, "draw state state"]:
    """Generators that the data allow, ``[draw state state]``: from the normal approximation, refits, or the posterior."""
    if fit.problem is None:
        return _network_draws(fit, draws or 1000, seed)
    if method == "bootstrap":
        return bootstrap(fit, draws or 200, seed=seed).generators
    mode = laplace(fit.problem, fit.x)
    if method == "posterior":
        return posterior(fit.problem, mode, _config(config, draws), seed).generators
    return generators_of(fit.problem, mode.draws(draws or 1000, seed))


def _config(config: PosteriorConfig | None, draws: int | None) -> PosteriorConfig:
    return config or (PosteriorConfig() if draws is None else PosteriorConfig(draws=draws))


def _checked(level: float, method: str, fit: Any, of: str) -> None:
    if method not in METHODS:
        raise ValueError(unknown("method", method, METHODS))
    if of not in ("parameters", "rates"):
        raise ValueError(unknown("of", of, ("parameters", "rates")))
    if not 0 < level < 1:
        raise ValueError(f"level={level}; a share between 0 and 1 was wanted, 0.95 for instance")
    if fit.problem is None and method != "laplace":
        raise ValueError(f"the network alone knows its own widths only (method='laplace'), not method={method!r}; infer with method='auto' or 'map'")


def _percentiles(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles over the first axis that are themselves draws, so that infinite ones do no harm; what is not a number is left out."""
    if np.isnan(values).all(0).any():
        values = np.where(np.isnan(values).all(0), np.inf, values)
    low = np.nanquantile(values, (1 - level) / 2, axis=0, method="lower")
    return np.asarray(low), np.asarray(np.nanquantile(values, (1 + level) / 2, axis=0, method="higher"))


def _natural(mode: Laplace, k: int, low: float, high: float, level: float, method: str) -> Interval:
    name, estimate = mode.names[k], mode.x[k]
    if mode.logs[k]:
        back = expit if name.startswith(LOGIT) else np.exp
        # what is at the lowest rate that is considered may as well be zero
        low, estimate = 0.0 if low <= mode.bounds[0, k] else back(low), back(estimate)
        high = (1.0 if name.startswith(LOGIT) else np.inf) if high >= mode.bounds[1, k] else back(high)
    note = _note(mode.status[k], float(low), float(high))
    return Interval(name.removeprefix(LOGIT), float(estimate), float(low), float(high), level, method, note)


def _note(status: str, low: float, high: float) -> str:
    nothing_below, nothing_above = low in (0.0, -np.inf), np.isinf(high)
    if status == "flat" or (nothing_below and nothing_above):
        return "not determined by the data"
    if nothing_below:
        return "may be zero: only an upper limit is known"
    return "too fast for the looks: only a lower limit is known" if nothing_above else ""


def _of_rates(fit: Any, level: float, method: str, seed: int, draws: int | None, config: PosteriorConfig | None) -> tuple[Interval, ...]:
    at = np.argwhere(fit.links)
    names = fit.names or [str(i) for i in range(len(fit.generator))]
    if method == "profile":
        raise ValueError("method='profile' is for parameters; take of='parameters', or another method for the rates that follow from them")
    found = derive(fit, lambda q: q[:, *at.T], level, method, draws, seed, config=config)
    return tuple(Interval(f"{names[i]}->{names[j]}", float(found.estimate[k]), float(found.low[k]), float(found.high[k]), level, method)
                 for k, (i, j) in enumerate(at))


def _network(fit: Any, level: float) -> tuple[Interval, ...]:
    """Of the network's own log-normal widths, given that a link exists."""
    names = fit.names or [str(i) for i in range(len(fit.generator))]
    low, high = fit.zero_shot.interval(level)
    return tuple(Interval(f"{names[i]}->{names[j]}", float(fit.generator[i, j]), float(low[i, j]), float(high[i, j]), level, "network")
                 for i, j in np.argwhere(fit.links))


def _network_draws(fit: Any, draws: int, seed: int) -> np.ndarray:
    """Log-normal rates of links that are there with the probability that the network gives them."""
    rng, answer = np.random.default_rng(seed), fit.zero_shot
    shape = (draws, *fit.generator.shape)
    rates = np.exp(answer.mean + answer.std * rng.standard_normal(shape))
    return from_rates(np.where(fit.links & (rng.random(shape) < answer.link), rates, 0.0))
