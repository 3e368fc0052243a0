"""Expectation and maximisation for free rates: expected jumps and times given the data, then the rates that these make most likely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.likelihood import Evaluation, evaluate
from trajlab.dynamics.jumps.pair_counts import PairCounts
from trajlab.dynamics.jumps.smoothing import Intervals, smooth
from trajlab.models.jumps.rate_prior import RatePrior

__all__ = ["EM", "Fitted", "HiddenData", "Impossible", "Rates"]

INNER = 3  #: rate updates for each forward-backward sum; more change little, since the sum is what costs
STARTS = 1.0  #: pseudo-starts, shared by all states


class Impossible(ValueError):
    """Something was seen that these links and this noise do not allow."""


@dataclass(frozen=True)
class HiddenData:
    """Paths whose states are guessed from labels or signals.

    Attributes:
        intervals: the looks, compiled.
        paths: as they came, for the emission.
        emission: the first guess of how states are seen.
        initial: the first guess of the distribution of first states, ``[state]``.
    """

    intervals: Intervals
    paths: Any
    emission: Any
    initial: np.ndarray


@dataclass(frozen=True)
class Rates:
    """Which rates there are: possible links, groups of links with one rate, known rates."""

    links: Bool[np.ndarray, "state state"]
    equal: tuple[tuple[tuple[int, int], ...], ...] = ()
    fixed: tuple[tuple[int, int, float], ...] = ()

    def updated(self, jumps: np.ndarray, time: np.ndarray, prior: RatePrior) -> Float[np.ndarray, "state state"]:
        """The M step. Links of one group pool their jumps and times; the prior counts once for each link."""
        rates = prior.mode(jumps, time, self.links)
        for group in self.equal:
            i, j = np.array(group).T
            strength = prior.strength[i, j]
            rates[i, j] = (jumps[i, j].sum() + strength.sum()) / (time[i].sum() + (strength / prior.centre[i, j]).sum())
        for i, j, rate in self.fixed:
            rates[i, j] = rate
        return rates


@dataclass(frozen=True)
class Fitted:
    """Where EM ended.

    Attributes:
        q: the generator, ``[state state]``.
        loglik: log-likelihood there.
        value: log-likelihood plus the log-density of the prior (up to a constant).
        emission, initial: of hidden data.
        history: values before each iteration.
        converged: whether the last change was below the tolerance.
    """

    q: np.ndarray
    loglik: float
    value: float
    emission: Any
    initial: np.ndarray | None
    history: tuple[float, ...]
    converged: bool

    @property
    def iterations(self) -> int:
        return len(self.history)


@dataclass(frozen=True)
class EM:
    """``q_ij <- (E[n_ij] + a) / (E[tau_i] + a / centre)`` until the log-posterior settles (Bladt and Sorensen 2005; hidden: Liu et al. 2015).

    Args:
        rates: what may be varied.
        prior: of the rates; of strength 0 for maximum likelihood.
        bounds: smallest and largest rate, 1/time: where the data drive a rate to zero or to infinity it stops there.
        iterations, tolerance: see `MarkovJumpConfig`.
    """

    rates: Rates
    prior: RatePrior
    bounds: tuple[float, float]
    iterations: int = 1000
    tolerance: float = 1e-10

    def fit(self, data: PairCounts | HiddenData, q: Float[np.ndarray, "state state"]) -> Fitted:
        """From a first generator to a mode. A rate of zero stays zero, so start from positive ones.

        Raises:
            ValueError: something was seen that the links do not allow.
        """
        q = self._generator(q)
        return self._hidden(data, q) if isinstance(data, HiddenData) else self._seen(data, q)

    def _generator(self, q: np.ndarray) -> np.ndarray:
        rates = np.where(self.rates.links, np.clip(q, *self.bounds), 0.0)
        for i, j, rate in self.rates.fixed:
            rates[i, j] = rate
        return from_rates(rates)

    def _step(self, found: Evaluation) -> np.ndarray:
        return self._generator(self.rates.updated(found.jumps, found.time, self.prior))

    def _value(self, q: np.ndarray, loglik: float) -> float:
        return loglik + self.prior.log_density(q, self.rates.links)

    def _settled(self, history: list[float]) -> bool:
        return len(history) > 1 and abs(history[-1] - history[-2]) <= self.tolerance * (abs(history[-1]) + 1e-12)

    def _seen(self, counts: PairCounts, q: np.ndarray) -> Fitted:
        history: list[float] = []
        while True:
            found = evaluate(q, counts)
            if found.impossible is not None:
                raise Impossible(impossible(found.impossible))
            history.append(self._value(q, found.loglik))
            if self._settled(history) or len(history) >= self.iterations:
                return Fitted(q, found.loglik, history[-1], None, None, tuple(history), self._settled(history))
            q = self._step(found)

    def _hidden(self, data: HiddenData, q: np.ndarray) -> Fitted:
        emission, initial, history = data.emission, data.initial, []
        while True:
            found = smooth(q, data.intervals, emission.likelihood(data.paths), initial)
            if not np.isfinite(found.loglik):
                raise Impossible("the looks of some path cannot be under these links and this noise; allow more links, or another noise")
            history.append(self._value(q, found.loglik) + emission.log_prior(len(q)) + _starts(initial))
            if self._settled(history) or len(history) >= self.iterations:
                return Fitted(q, found.loglik, history[-1], emission, initial, tuple(history), self._settled(history))
            for _ in range(INNER):
                q = self._step(evaluate(q, found.counts[0]))
            emission = emission.updated(found.posterior, data.paths)
            initial = found.first + np.where(initial > 0, STARTS / (initial > 0).sum(), 0.0)
            initial = initial / initial.sum()


def _starts(initial: np.ndarray) -> float:
    """The log-density that the pseudo-starts stand for, up to a constant."""
    there = initial[initial > 0]
    return float(STARTS / len(there) * np.log(there).sum())


def impossible(pair: tuple[int, int]) -> str:
    """The sentence for a pair of looks that the links do not allow."""
    return (f"a look at state {pair[0]} is followed by one at state {pair[1]}, but no sequence of allowed jumps leads there; "
            "allow more links, or allow for wrong labels (noise='flip' or 'matrix')")
