"""Labels of hidden states with a matrix of confusions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from trajlab.dynamics.jumps.emission_tables import by_matrix, seen_by_state
from trajlab.dynamics.jumps.smoothing import Likelihood
from trajlab.types import JumpPaths

__all__ = ["Misclassification"]

RATIOS = (1e-8, 1e4)  #: of the probabilities of a wrong and of the right label


@dataclass(frozen=True)
class Misclassification:
    """State i is seen as label s with probability ``matrix[i, s]``.

    Parameters are ``log(matrix[i, s] / matrix[i, i])`` of the confusions that are allowed (as in Jackson et al. 2003).

    Attributes:
        matrix: ``[state label]``, rows sum to one.
        mask: allowed confusions, ``[state label]``; all where it is left out. The diagonal is always allowed.
        pseudo: pseudo-counts of seeing state i as label s, ``[state label]``; none where it is left out.
        noisy: kinds of observation whose labels may be wrong.
    """

    matrix: np.ndarray
    mask: np.ndarray | None = None
    pseudo: np.ndarray | None = None
    noisy: tuple[int, ...] = (JumpPaths.PANEL,)

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"the matrix of misclassification has shape {matrix.shape}; [state label] was wanted, as many labels as states")
        n = len(matrix)
        mask = np.ones((n, n), dtype=bool) if self.mask is None else np.array(self.mask, dtype=bool)
        pseudo = np.zeros((n, n)) if self.pseudo is None else np.array(self.pseudo, dtype=np.float64)
        for name, value in (("mask", mask), ("pseudo", pseudo)):
            if value.shape != (n, n):
                raise ValueError(f"the {name} of misclassification has shape {value.shape}; {(n, n)} was wanted, as the matrix")
        mask |= np.eye(n, dtype=bool)
        if not (matrix >= 0).all() or not np.allclose(matrix.sum(1), 1, atol=1e-8):
            raise ValueError(f"rows of the matrix of misclassification sum to {np.round(matrix.sum(1), 6).tolist()} and its least entry is "
                             f"{matrix.min():g}; probabilities that sum to one were wanted")
        if (matrix[~mask] > 0).any():
            i, s = np.argwhere((matrix > 0) & ~mask)[0]
            raise ValueError(f"state {i} is seen as {s} with probability {matrix[i, s]:g}, which the mask does not allow; set it to zero or allow it")
        if not (pseudo >= 0).all():
            raise ValueError(f"the smallest pseudo-count is {pseudo.min():g}; none below 0 was wanted")
        for name, value in (("matrix", matrix), ("mask", mask), ("pseudo", np.where(mask, pseudo, 0.0))):
            object.__setattr__(self, name, value)

    @property
    def free(self) -> np.ndarray:
        """The confusions that have a parameter, ``[state label]``."""
        return self.mask & ~np.eye(len(self.matrix), dtype=bool)

    def likelihood(self, paths: JumpPaths) -> Likelihood:
        """``matrix[i, x]`` at panel looks."""
        return by_matrix(self.matrix, paths, self.noisy)

    def updated(self, posterior: np.ndarray, paths: JumpPaths) -> Self:
        """Expected shares of the labels of each state; a row without counts stays."""
        seen = np.where(self.mask, seen_by_state(posterior, paths, self.noisy), 0.0) + self.pseudo
        total = seen.sum(1, keepdims=True)
        return replace(self, matrix=np.where(total > 0, seen / np.where(total > 0, total, 1.0), self.matrix))

    def _slope(self, seen: np.ndarray) -> np.ndarray:
        return (seen - seen.sum(1, keepdims=True) * self.matrix)[self.free]

    def score(self, posterior: np.ndarray, paths: JumpPaths) -> np.ndarray:
        """Derivative of the expected log-likelihood by the parameters, ``N_is - N_i matrix[i, s]``."""
        return self._slope(seen_by_state(posterior, paths, self.noisy))

    def log_prior(self, n_states: int) -> float:  # noqa: ARG002
        """Logarithm of the prior density that the pseudo-counts stand for, up to a constant."""
        used = self.pseudo > 0
        with np.errstate(divide="ignore"):
            return float((self.pseudo[used] * np.log(self.matrix[used])).sum())

    def prior_score(self, n_states: int) -> np.ndarray:  # noqa: ARG002
        return self._slope(self.pseudo)

    def with_parameters(self, parameters: np.ndarray) -> Self:
        logits = np.where(self.mask, 0.0, -np.inf)
        logits[self.free] = parameters
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return replace(self, matrix=odds / odds.sum(1, keepdims=True))

    @classmethod
    def start(cls, paths: JumpPaths, n_states: int | None = None, seed: int = 0, mask: np.ndarray | None = None,  # noqa: ARG003
              pseudo: np.ndarray | None = None) -> Self:
        """Five per cent of the labels of each state are wrong, shared evenly by the confusions that are allowed."""
        n = paths.n_states if n_states is None else n_states
        off = ~np.eye(n, dtype=bool) if mask is None else np.array(mask, dtype=bool) & ~np.eye(n, dtype=bool)
        wrong = 0.05 * off / np.maximum(off.sum(1, keepdims=True), 1)
        return cls(wrong + np.diag(1 - wrong.sum(1)), mask, pseudo)

    @property
    def parameters(self) -> np.ndarray:
        ratio = self.matrix / np.maximum(np.diag(self.matrix), RATIOS[0])[:, None]
        return np.log(np.clip(ratio[self.free], *RATIOS))

    @property
    def bounds(self) -> np.ndarray:
        """Lowest and highest value of each parameter, ``[parameter 2]``."""
        return np.repeat(np.log([RATIOS]), int(self.free.sum()), 0)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"log odds of seeing {i} as {s}" for i, s in np.argwhere(self.free))
