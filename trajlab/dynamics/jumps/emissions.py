"""What is seen of a hidden state: labels as they are, labels that may be wrong. Continuous signals are in `signals`.

Every emission says how likely each state is at each observation (`likelihood`), how its parameters are set given the probabilities of the hidden
states (`updated`, the M-step), and the derivative of the expected complete-data log-likelihood by its parameters in unconstrained coordinates
(`score`; by Fisher's identity that of the log-likelihood itself).

All read the kinds of observation in the same way: a censored look has likelihood one in each allowed state, a missing one in every state. Only panel
looks may be wrong; jumps and entries of known date (deaths) are what they say, unless ``noisy`` names their kinds too.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import numba as nb
import numpy as np

from trajlab.dynamics.jumps.smoothing import Likelihood
from trajlab.types import JumpPaths

__all__ = ["Emission", "Exactly", "Flip"]

LOWEST, HIGHEST = 1e-5, 0.5  #: level of label noise


class Emission(Protocol):
    """The interface of all emissions."""

    def likelihood(self, paths: JumpPaths) -> Likelihood: ...
    def updated(self, posterior: np.ndarray, paths: JumpPaths) -> Self: ...
    def score(self, posterior: np.ndarray, paths: JumpPaths) -> np.ndarray: ...
    def with_parameters(self, parameters: np.ndarray) -> Self: ...
    @property
    def parameters(self) -> np.ndarray: ...
    @property
    def names(self) -> tuple[str, ...]: ...


class Read(NamedTuple):
    """Observations as rows of a table: labels that may be wrong are rows 0 .. n-1, labels that are right n .. 2n-1, any state 2n, sets after that.

    ``index`` is ``[obs]``, ``sets`` holds the allowed states of the rows from 2n on, ``[set state]``; ``signal`` marks the observations of a signal.
    """

    index: np.ndarray
    sets: np.ndarray
    signal: np.ndarray


_READ: weakref.WeakKeyDictionary[JumpPaths, dict[tuple[int, ...], Read]] = weakref.WeakKeyDictionary()


def read(paths: JumpPaths, noisy: Sequence[int] = (JumpPaths.PANEL,)) -> Read:
    """The row of each observation; kept as long as the paths are, since each step of a fit asks for it."""
    kept = _READ.setdefault(paths, {})
    key = tuple(noisy)
    if key not in kept:
        kept[key] = _read(paths, key)
    return kept[key]


def _read(paths: JumpPaths, noisy: tuple[int, ...]) -> Read:
    n = paths.n_states
    label, kind = np.asarray(paths.label.cpu(), dtype=np.int64), np.asarray(paths.observed.cpu())
    named = np.isin(kind, (JumpPaths.PANEL, JumpPaths.EXACT, JumpPaths.ENTRY))
    index = np.full(len(label), 2 * n, dtype=np.int64)
    index[named] = label[named] + np.where(np.isin(kind[named], noisy), 0, n)
    sets = np.ones((1, n))
    censored = kind == JumpPaths.CENSORED
    if paths.allowed is not None and censored.any():
        distinct, which = np.unique(np.asarray(paths.allowed.cpu())[censored], axis=0, return_inverse=True)
        index[censored] = 2 * n + 1 + which.reshape(-1)
        sets = np.concatenate([sets, distinct.astype(np.float64)])
    return Read(index, sets, kind == JumpPaths.SIGNAL)


@nb.njit(cache=True, nogil=True)
def _row_sums(posterior, index, count):
    total = np.zeros((count, posterior.shape[1]))
    for t in range(len(index)):
        r = index[t]
        if r < count:
            for i in range(posterior.shape[1]):
                total[r, i] += posterior[t, i]
    return total


def seen_by_state(posterior: np.ndarray, paths: JumpPaths, noisy: Sequence[int]) -> np.ndarray:
    """Expected number of times that a state was seen as a label which may be wrong, ``[state label]``."""
    rows = _row_sums(np.ascontiguousarray(posterior, dtype=np.float64), read(paths, noisy).index, paths.n_states)
    return np.ascontiguousarray(rows.T)


def _by_matrix(matrix: np.ndarray, paths: JumpPaths, noisy: Sequence[int]) -> Likelihood:
    """The likelihood of states where label s is seen in state i with probability ``matrix[i, s]``."""
    found = read(paths, noisy)
    if found.signal.any():
        raise ValueError(f"{int(found.signal.sum())} observations are of a signal, which labels say nothing of; use a Gaussian or Student emission")
    if len(matrix) != paths.n_states:
        raise ValueError(f"the emission has {len(matrix)} states, the paths {paths.n_states}")
    return Likelihood(np.concatenate([matrix.T, np.eye(paths.n_states), found.sets]), found.index)


@dataclass(frozen=True)
class Exactly:
    """Labels are as they are seen."""

    def likelihood(self, paths: JumpPaths) -> Likelihood:
        """One in the state that was seen, zero in the others."""
        return _by_matrix(np.eye(paths.n_states), paths, (JumpPaths.PANEL,))

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
    def parameters(self) -> np.ndarray:
        return np.zeros(0)

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
    """

    eps: float = 0.02
    fixed: bool = False
    prior: tuple[float, float] = (0.0, 0.0)
    noisy: tuple[int, ...] = (JumpPaths.PANEL,)

    def __post_init__(self) -> None:
        if not 0 <= self.eps <= 1:
            raise ValueError(f"eps is {self.eps:g}; a probability of at most 0.5 was wanted (the share of labels that are replaced)")
        if not self.fixed:
            object.__setattr__(self, "eps", float(min(max(self.eps, LOWEST), HIGHEST)))

    def matrix(self, n_states: int) -> np.ndarray:
        """Probability that state i is seen as label s, ``[state label]``."""
        return (1 - self.eps) * np.eye(n_states) + self.eps / n_states

    def likelihood(self, paths: JumpPaths) -> Likelihood:
        """``(1 - eps) [x = i] + eps / n`` at panel looks."""
        return _by_matrix(self.matrix(paths.n_states), paths, self.noisy)

    def _right_wrong(self, posterior: np.ndarray, paths: JumpPaths) -> tuple[float, float]:
        seen = seen_by_state(posterior, paths, self.noisy)
        right = float(np.trace(seen))
        return right, float(seen.sum() - right)

    def updated(self, posterior: np.ndarray, paths: JumpPaths) -> Self:
        """The level from the expected share of wrong labels, ``share n / (n - 1)``."""
        if self.fixed or paths.n_states < 2:
            return self
        right, wrong = np.add(self._right_wrong(posterior, paths), self.prior)
        if right + wrong <= 0:
            return self
        return replace(self, eps=float(wrong / (right + wrong) * paths.n_states / (paths.n_states - 1)))

    def score(self, posterior: np.ndarray, paths: JumpPaths) -> np.ndarray:
        """Derivative of the expected log-likelihood by ``log(eps / (1 - eps))``."""
        return self._slope(self._right_wrong(posterior, paths), paths.n_states)

    def log_prior(self, n_states: int) -> float:
        """Logarithm of the prior density that the pseudo-counts stand for, up to a constant."""
        share = self.eps * (n_states - 1) / n_states
        return float(self.prior[0] * np.log1p(-share) + (self.prior[1] * np.log(share) if self.prior[1] else 0.0))

    def prior_score(self, n_states: int) -> np.ndarray:
        """Derivative of `log_prior` by ``log(eps / (1 - eps))``."""
        return self._slope(self.prior, n_states)

    def _slope(self, counts: Sequence[float], n: int) -> np.ndarray:
        if self.fixed:
            return np.zeros(0)
        right, wrong = counts
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
