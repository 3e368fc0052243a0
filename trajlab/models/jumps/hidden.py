"""Hidden states as data of a `Problem`: one forward-backward sum gives the likelihood and, by Fisher's identity, its exact gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.smoothing import Intervals, smooth
from trajlab.models.jumps.problem import Answer
from trajlab.types import JumpPaths

__all__ = ["HiddenStates"]

RATIO = float(np.log(1e6))  #: probabilities of first states differ by at most exp of this
STARTS = 1.0  #: pseudo-starts, shared by all states that a path may start in


@dataclass(frozen=True)
class HiddenStates:
    """Paths whose states are guessed from labels with noise, or from a signal.

    The data's own parameters are those of the emission, then ``log(p_k / p_first)`` of the probabilities of first states.

    Attributes:
        intervals: the looks, compiled.
        paths: as they came, for the emission.
        emission: how states are seen; its parameters are where a search starts (`emissions`).
        initial: probability of each first state, ``[state]``; where zero it stays zero.
        free_initial: whether the probabilities of first states are estimated.
    """

    intervals: Intervals
    paths: JumpPaths
    emission: Any
    initial: Float[np.ndarray, "state"]
    free_initial: bool = True

    @property
    def n_states(self) -> int:
        return self.intervals.n_states

    @property
    def groups(self) -> Sequence[Mapping[str, float]]:
        """The covariates of each group."""
        return self.intervals.covariates

    @property
    def share(self) -> Float[np.ndarray, "group"]:
        """The number of intervals of each group."""
        steps = self.intervals.steps
        inside = np.ones(len(steps.kind), dtype=bool)
        inside[steps.first[:-1]] = False
        return np.bincount(steps.group[inside], minlength=self.intervals.n_groups).astype(np.float64)

    @property
    def _starts(self) -> np.ndarray:
        """States that a path may start in; empty where their probabilities are known."""
        return np.flatnonzero(self.initial > 0) if self.free_initial else np.zeros(0, dtype=np.int64)

    @property
    def extra_names(self) -> tuple[str, ...]:
        names = self.paths.names or [str(k) for k in range(self.n_states)]
        return (*self.emission.names, *(f"log first_{names[k]}" for k in self._starts[1:]))

    @property
    def extra_start(self) -> Float[np.ndarray, "extra"]:
        logs = np.log(self.initial[self._starts])
        return np.concatenate([self.emission.parameters, logs[1:] - logs[:1]])

    @property
    def extra_box(self) -> tuple[np.ndarray, np.ndarray]:
        bounds = np.asarray(self.emission.bounds, dtype=np.float64).reshape(-1, 2)
        rest = np.full(max(len(self._starts) - 1, 0), RATIO)
        return np.concatenate([bounds[:, 0], -rest]), np.concatenate([bounds[:, 1], rest])

    def _split(self, extra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = len(extra) - max(len(self._starts) - 1, 0)
        return extra[:at], extra[at:]

    def emission_at(self, extra: Float[np.ndarray, "extra"]) -> Any:
        """The emission with these parameters."""
        mine, _ = self._split(extra)
        return self.emission.with_parameters(mine) if len(mine) else self.emission

    def initial_at(self, extra: Float[np.ndarray, "extra"]) -> Float[np.ndarray, "state"]:
        """Probabilities of first states."""
        if not len(self._starts):
            return self.initial
        logs = np.concatenate([[0.0], self._split(extra)[1]])
        odds = np.exp(logs - logs.max())
        out = np.zeros(self.n_states)
        out[self._starts] = odds / odds.sum()
        return out

    def with_paths(self, paths: JumpPaths) -> HiddenStates:
        """The same model of other paths, with lags classed by the default rule."""
        names = tuple(self.groups[0]) if self.groups else ()
        return replace(self, paths=paths, intervals=Intervals.from_paths(paths, names))

    def answer(self, q: Float[np.ndarray, "group state state"], extra: Float[np.ndarray, "extra"]) -> Answer:
        """Log-likelihood and gradients (Fisher's identity: the score of the whole data, averaged over what the hidden states may be)."""
        emission, initial = self.emission_at(extra), self.initial_at(extra)
        found = smooth(list(q), self.intervals, emission.likelihood(self.paths), initial)
        if not np.isfinite(found.loglik):
            said = (f"observation {found.impossible} cannot be after those before it, under these links and this noise; allow more links, or another "
                    "noise")
            return Answer(-np.inf, np.zeros_like(q), np.zeros(len(extra)), said)
        by_rate = np.stack([evaluate(one, counts).by_rate for one, counts in zip(q, found.counts, strict=True)])
        score = emission.score(found.posterior, self.paths) if len(extra) else np.zeros(0)
        first = found.first[self._starts]
        by_first = (first - first.sum() * initial[self._starts])[1:]
        return Answer(found.loglik, by_rate, np.concatenate([score, by_first]))

    def log_prior(self, extra: Float[np.ndarray, "extra"]) -> tuple[float, Float[np.ndarray, "extra"]]:
        """Pseudo-counts of the emission and of first states: logarithm of their density up to a constant, and its gradient."""
        emission, starts = self.emission_at(extra), self._starts
        slope = emission.prior_score(self.n_states)
        if not len(starts):
            return emission.log_prior(self.n_states), slope
        p = self.initial_at(extra)[starts]
        value = emission.log_prior(self.n_states) + STARTS / len(p) * float(np.log(p).sum())
        return value, np.concatenate([slope, (STARTS / len(p) - STARTS * p)[1:]])
