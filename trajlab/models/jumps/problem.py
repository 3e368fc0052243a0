"""The log-posterior of a jump process and its exact gradient, in unconstrained parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import PairCounts
from trajlab.models.jumps.em import impossible
from trajlab.models.jumps.parameters import Parametrisation
from trajlab.models.jumps.rate_prior import RatePrior, jump_rate_per_link

__all__ = ["Answer", "Problem", "SeenStates", "rate_bounds"]

STEP = 1e-4  #: of the differences of gradients, in log-rates: their error is about its square
SLOWEST = 1e-6  #: smallest rate, in observed label changes a unit of time and link
FASTEST = 20.0  #: largest rate, per shortest lag: more jumps than this between two looks cannot be told from infinitely many
WIDEST = 1e6  #: largest rate, in observed label changes a unit of time and link


@dataclass(frozen=True)
class Answer:
    """What data say of generators and their own parameters.

    Attributes:
        loglik: log-likelihood.
        by_rate: its derivative by each rate with the diagonal tied to its row, ``[group state state]``.
        by_extra: its derivative by the data's own parameters (noise, first states), ``[extra]``.
        impossible: a sentence on what was seen but cannot be, or None.
    """

    loglik: float
    by_rate: np.ndarray
    by_extra: np.ndarray
    impossible: str | None = None


@dataclass(frozen=True)
class SeenStates:
    """Paths whose states are seen as they are: pairs of looks, one `PairCounts` for each value of the covariates."""

    counts: tuple[PairCounts, ...]

    extra_names: tuple[str, ...] = ()

    @property
    def n_states(self) -> int:
        return self.counts[0].n_states if self.counts else 0

    @property
    def extra_start(self) -> np.ndarray:
        return np.zeros(0)

    @property
    def extra_box(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(0), np.zeros(0)

    @property
    def groups(self) -> Sequence[Mapping[str, float]]:
        """The covariates of each group."""
        return [c.covariates for c in self.counts]

    @property
    def share(self) -> np.ndarray:
        """The weight of each group in means of covariates: its number of pairs, ``[group]``."""
        return np.array([c.weight.sum() + c.jumps.sum() + (c.time > 0).sum() for c in self.counts])

    def answer(self, q: Float[np.ndarray, "group state state"], extra: Float[np.ndarray, "extra"]) -> Answer:  # noqa: ARG002
        found = [evaluate(one, counts) for one, counts in zip(q, self.counts, strict=True)]
        bad = next((f.impossible for f in found if f.impossible is not None), None)
        return Answer(sum(f.loglik for f in found), np.stack([f.by_rate for f in found]), np.zeros(0), None if bad is None else impossible(bad))


def rate_bounds(counts: Sequence[PairCounts], links: np.ndarray) -> tuple[float, float]:
    """The smallest and largest rate to be considered, in the data's own clock: from a millionth to a million observed label changes a unit of time
    and link, but no more than 20 in the shortest lag (where that is more than a thousand label changes)."""
    clock = jump_rate_per_link(list(counts), links)
    shortest = min((c.lag[0] for c in counts if len(c.lag)), default=np.inf)
    high = FASTEST / shortest if np.isfinite(shortest) else WIDEST * clock
    return SLOWEST * clock, float(np.clip(high, 1e3 * clock, WIDEST * clock))


class Problem:
    """Log-posterior of the unconstrained parameters: ``[rates, effects of covariates | what the data need: noise, first states]``.

    Args:
        data: pairs of looks, one `PairCounts` for each value of the covariates (`pair_counts`); or `hidden.HiddenStates` for labels with noise and
            signals (anything with the attributes of `SeenStates` will do).
        parametrisation: of the rates, `parameters.log_rates`, `reversible.reversible_rates` or `parametric.Parametric`.
        prior: of the rates at the reference covariates; None for none (maximum likelihood).
        bounds: smallest and largest rate, 1/time; from `rate_bounds` where it is None.
        effect_scale: standard deviation of a Gaussian prior of the effects, per standard deviation of the covariate; None for none.
        reference: covariates at which `generator` and the prior are taken; their mean over pairs of looks where it is None.

    Raises:
        ValueError: the numbers of states disagree, a covariate is missing, or does not vary.
    """

    def __init__(self, data: Any, parametrisation: Parametrisation, prior: RatePrior | None = None, bounds: tuple[float, float] | None = None,
                 effect_scale: float | None = None, reference: Mapping[str, float] | None = None) -> None:
        self.data = SeenStates(tuple(data)) if isinstance(data, list | tuple) else data
        self.parametrisation, self.prior, self.effect_scale = parametrisation, prior, effect_scale
        counts = getattr(self.data, "counts", ())
        if self.data.n_states != parametrisation.n_states:
            raise ValueError(f"the data have {self.data.n_states} states, the parametrisation {parametrisation.n_states}; they must agree")
        if bounds is None and not counts:
            raise ValueError("these data have no counted pairs to take the range of rates from; give bounds=(lowest, highest) rate")
        self.covariates = _values(self.data.groups, parametrisation.covariates)
        share = self.data.share / max(self.data.share.sum(), 1e-300)
        mean = share @ self.covariates
        self.spread = np.sqrt(np.maximum(share @ (self.covariates - mean) ** 2, 0.0))
        for name, value, size in zip(parametrisation.covariates, self.spread, np.abs(mean), strict=True):
            if value <= 1e-12 * size or value == 0:
                raise ValueError(f"the covariate {name} has one value only, so that its effect cannot be told; leave it out")
        self.reference = mean if reference is None else _values([reference], parametrisation.covariates)[0]
        self._z = self.covariates - self.reference
        self._links = parametrisation.free_links()
        self.rate_bounds = bounds or rate_bounds(counts, self._links)
        self.n_rates = len(parametrisation.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return (*self.parametrisation.names, *self.data.extra_names)

    @cached_property
    def bounds(self) -> tuple[Float[np.ndarray, "parameter"], Float[np.ndarray, "parameter"]]:
        """Lowest and highest value of each parameter."""
        low, high = self.parametrisation.box(*self.rate_bounds, self.spread)
        lower, upper = self.data.extra_box
        return np.concatenate([low, lower]), np.concatenate([high, upper])

    @cached_property
    def scale(self) -> Float[np.ndarray, "parameter"]:
        """A natural step of each parameter: 1 in logarithms, one over the standard deviation of the covariate for its effects."""
        return np.concatenate([self.parametrisation.scale(self.spread), np.ones(len(self.data.extra_names))])

    def generators(self, x: Float[np.ndarray, "parameter"]) -> Float[np.ndarray, "group state state"]:
        """The generator of each group of covariates."""
        return self.parametrisation.generators(x[:self.n_rates], self._z)

    def generator(self, x: Float[np.ndarray, "parameter"], **covariates: float) -> Float[np.ndarray, "state state"]:
        """The generator at the reference, or at other values of some covariates.

        Raises:
            ValueError: a covariate is not known.
        """
        names = self.parametrisation.covariates
        for name in covariates:
            if name not in names:
                raise ValueError(f"the rates do not depend on {name!r}; known covariates are {', '.join(names) or 'none'}")
        z = np.array([[covariates.get(name, ref) - ref for name, ref in zip(names, self.reference, strict=True)]])
        return self.parametrisation.generators(x[:self.n_rates], z)[0]

    def start_from(self, q: Float[np.ndarray, "state state"]) -> Float[np.ndarray, "parameter"]:
        """Parameters whose generator is q, or comes close, within the bounds."""
        low, high = self.bounds
        return np.clip(np.concatenate([self.parametrisation.start_from(q), self.data.extra_start]), low, high)

    def log_likelihood(self, x: Float[np.ndarray, "parameter"]) -> float:
        return float(self.data.answer(self.generators(x), x[self.n_rates:]).loglik)

    def with_data(self, data: Any) -> Problem:
        """The same question asked of other data: the same rates, prior, bounds and reference."""
        reference = dict(zip(self.parametrisation.covariates, self.reference.tolist(), strict=True))
        return Problem(data, self.parametrisation, self.prior, self.rate_bounds, self.effect_scale, reference)

    def impossible(self, x: Float[np.ndarray, "parameter"]) -> str | None:
        """A sentence on what was seen but cannot be under x, or None."""
        return self.data.answer(self.generators(x), x[self.n_rates:]).impossible

    def value_and_gradient(self, x: Float[np.ndarray, "parameter"]) -> tuple[float, Float[np.ndarray, "parameter"]]:
        """The log-posterior up to a constant (the log-likelihood where there is no prior), and its gradient."""
        rates, extra = x[:self.n_rates], x[self.n_rates:]
        found = self.data.answer(self.generators(x), extra)
        gradient = np.concatenate([self.parametrisation.pull_back(rates, self._z, found.by_rate), found.by_extra])
        value = found.loglik
        if self.prior:
            q, here = self.generator(x), np.zeros((1, len(self.reference)))
            value += self.prior.log_density(q, self._links)
            by_rate = self.prior.strength * np.where(self._links, 1 / np.where(q > 0, q, 1.0) - 1 / self.prior.centre, 0.0)
            gradient[:self.n_rates] += self.parametrisation.pull_back(rates, here, by_rate[None])
        if self.effect_scale is not None:
            value, gradient = self._effects(x, value, gradient)
        if hasattr(self.data, "log_prior"):
            more, slope = self.data.log_prior(extra)
            value += more
            gradient[self.n_rates:] += slope
        return float(value), gradient

    def _effects(self, x: np.ndarray, value: float, gradient: np.ndarray) -> tuple[float, np.ndarray]:
        """The Gaussian prior of effects: the parameters that are not measured in log-rates."""
        mine = np.array([n.startswith("beta_") for n in self.names])
        width = self.effect_scale * self.scale[mine]
        gradient[mine] -= x[mine] / width**2
        return value - 0.5 * float(((x[mine] / width) ** 2).sum()), gradient

    def hessian(self, x: Float[np.ndarray, "parameter"]) -> Float[np.ndarray, "parameter parameter"]:
        """Second derivatives of the log-posterior: central differences of the exact gradient, symmetrised; about 1e-7 of the largest."""
        out = np.empty((len(x), len(x)))
        for k, step in enumerate(STEP * self.scale):
            ahead, behind = x.copy(), x.copy()
            ahead[k] += step
            behind[k] -= step
            out[k] = (self.value_and_gradient(ahead)[1] - self.value_and_gradient(behind)[1]) / (2 * step)
        return (out + out.T) / 2


def _values(groups: Sequence[Mapping[str, float]], names: Sequence[str]) -> np.ndarray:
    """Values of the covariates in each group, ``[group covariate]``."""
    for name in names:
        for g, group in enumerate(groups):
            if name not in group:
                raise ValueError(f"the rates depend on {name!r}, but group {g} of the data has {', '.join(group) or 'no covariates'}; "
                                 "count pairs with pair_counts(paths, covariates=...)")
    return np.array([[float(group[name]) for name in names] for group in groups]).reshape(len(groups), len(names))
