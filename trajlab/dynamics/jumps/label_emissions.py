"""Labels of hidden states: as they are, or with a level of flips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from trajlab.dynamics.jumps.emission_tables import by_matrix, seen_by_state
from trajlab.dynamics.jumps.smoothing import Likelihood
from trajlab.types import JumpPaths

__all__ = ["Exactly", "Flip"]

LOWEST, HIGHEST = 1e-5, 0.5  #: level of label noise


class WithoutPrior:
    """What an emission without pseudo-counts says of its prior, and one without bounds of its parameters."""

    def log_prior(self, n_states: int) -> float:  # noqa: ARG002
        return 0.0

    def prior_score(self, n_states: int) -> np.ndarray:  # noqa: ARG002
        return np.zeros(len(self.parameters))

    @property
    def parameters(self) -> np.ndarray:
        return np.zeros(0)

    @property
    def bounds(self) -> np.ndarray:
        """Lowest and highest value of each parameter, ``[parameter 2]``."""
        return np.repeat([[-np.inf, np.inf]], len(self.parameters), 0)


@dataclass(frozen=True)
class Exactly(WithoutPrior):
    """Labels are as they are seen."""

    def likelihood(self, paths: JumpPaths) -> Likelihood:
        """One in the state that was seen, zero in the others."""
        return by_matrix(np.eye(paths.n_states), paths, (JumpPaths.PANEL,))

    def updated(self, posterior: np.ndarray, paths: JumpPaths) -> Self:  # noqa: ARG002
        return self

    def score(self, posterior: np.ndarray, paths: JumpPaths) -> np.ndarray:  # noqa: ARG002
        return np.zeros(0)

    def with_parameters(self, parameters: np.ndarray) -> Self:  # noqa: ARG002
        return self

    @classmethod
    def start(cls, paths: JumpPaths, n_states: int | None = None, seed: int = 0) -> Self:  # noqa: ARG003
        return cls()

    @property
    def names(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class Flip:
    """With probability ``eps`` a label is replaced by one that is uniform over all n labels, so that it is wrong with ``eps (n - 1) / n``.

    Attributes:
        eps: the level, kept within 1e-5 and 0.5.
        fixed: whether the level is known; it then has no parameter.
        prior: pseudo-counts of right and of wrong labels, (0, 0) for maximum likelihood.
        noisy: kinds of observation whose labels may be wrong.
        certain: states that are mistaken for no other nor others for them (the dead); labels are then replaced by one of the others.
    """

    eps: float = 0.02
    fixed: bool = False
    prior: tuple[float, float] = (0.0, 0.0)
    noisy: tuple[int, ...] = (JumpPaths.PANEL,)
    certain: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.eps <= 1:
            raise ValueError(f"eps is {self.eps:g}; a probability of at most 0.5 was wanted (the share of labels that are replaced)")
        if not self.fixed:
            object.__setattr__(self, "eps", float(min(max(self.eps, LOWEST), HIGHEST)))

    def matrix(self, n_states: int) -> np.ndarray:
        """Probability that state i is seen as label s, ``[state label]``."""
        out = np.eye(n_states)
        others = np.setdiff1d(np.arange(n_states), self.certain)
        out[np.ix_(others, others)] = (1 - self.eps) * np.eye(len(others)) + self.eps / max(len(others), 1)
        return out

    def _labels(self, n_states: int) -> int:
        """How many labels a wrong one is drawn from."""
        return n_states - len(self.certain)

    def likelihood(self, paths: JumpPaths) -> Likelihood:
        """``(1 - eps) [x = i] + eps / n`` at panel looks."""
        return by_matrix(self.matrix(paths.n_states), paths, self.noisy)

    def _right_wrong(self, posterior: np.ndarray, paths: JumpPaths) -> tuple[float, float]:
        seen = seen_by_state(posterior, paths, self.noisy)
        right = float(np.trace(seen))
        return right, float(seen.sum() - right)

    def updated(self, posterior: np.ndarray, paths: JumpPaths) -> Self:
        """The level from the expected share of wrong labels, ``share n / (n - 1)``."""
        n = self._labels(paths.n_states)
        if self.fixed or n < 2:
            return self
        right, wrong = np.add(self._right_wrong(posterior, paths), self.prior)
        if right + wrong <= 0:
            return self
        return replace(self, eps=float(wrong / (right + wrong) * n / (n - 1)))

    def score(self, posterior: np.ndarray, paths: JumpPaths) -> np.ndarray:
        """Derivative of the expected log-likelihood by ``log(eps / (1 - eps))``."""
        return self._slope(self._right_wrong(posterior, paths), paths.n_states)

    def log_prior(self, n_states: int) -> float:
        """Logarithm of the prior density that the pseudo-counts stand for, up to a constant."""
        n = self._labels(n_states)
        share = self.eps * (n - 1) / max(n, 1)
        return float(self.prior[0] * np.log1p(-share) + (self.prior[1] * np.log(share) if self.prior[1] and share > 0 else 0.0))

    def prior_score(self, n_states: int) -> np.ndarray:
        """Derivative of `log_prior` by ``log(eps / (1 - eps))``."""
        return self._slope(self.prior, n_states)

    def _slope(self, counts: Sequence[float], n: int) -> np.ndarray:
        if self.fixed:
            return np.zeros(0)
        right, wrong = counts
        n = self._labels(n)
        if n < 2:
            return np.zeros(1)
        kept = (n - 1) / n
        by_eps = wrong / self.eps - right * kept / (1 - self.eps * kept)
        return np.array([by_eps * self.eps * (1 - self.eps)])

    def with_parameters(self, parameters: np.ndarray) -> Self:
        return self if self.fixed else replace(self, eps=float(1 / (1 + np.exp(-parameters[0]))))

    @classmethod
    def start(cls, paths: JumpPaths, n_states: int | None = None, seed: int = 0) -> Self:  # noqa: ARG003
        return cls()

    @property
    def parameters(self) -> np.ndarray:
        """``log(eps / (1 - eps))``, or nothing where the level is known."""
        return np.zeros(0) if self.fixed else np.array([np.log(self.eps / (1 - self.eps))])

    @property
    def bounds(self) -> np.ndarray:
        """Lowest and highest value of each parameter, ``[parameter 2]``."""
        return np.zeros((0, 2)) if self.fixed else np.log([[LOWEST / (1 - LOWEST), HIGHEST / (1 - HIGHEST)]])

    @property
    def names(self) -> tuple[str, ...]:
        return () if self.fixed else ("logit eps",)
