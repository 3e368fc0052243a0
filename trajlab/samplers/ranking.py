"""A small regressor that learns the order of scores, not their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RankPredictor:
    """A linear function of standardised features and their squares, fitted to pairwise ranks.

    With w the weights, the loss over all ordered pairs (i better than j) is the mean of softplus(w . (f_i - f_j)) plus a ridge: lower is better.
    Newton's method with the full Hessian; deterministic.

    Attributes:
        mean, scale: ``[feature]``, of the features.
        weight: ``[2 feature]``.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def fit(cls, seen: Sequence[tuple[Sequence[float], float]], ridge: float = 1e-2, iterations: int = 8) -> Self:
        """Fit to (features, score) pairs; scores may be infinite, ties say nothing.

        Raises:
            ValueError: fewer than two pairs.
        """
        if len(seen) < 2:
            raise ValueError(f"an order wants at least two scores, and {len(seen)} came")
        features, score = np.array([f for f, _ in seen], dtype=np.float64), np.array([s for _, s in seen])
        mean, scale = features.mean(0), features.std(0)
        scale = np.where(scale > 1e-12, scale, 1.0)
        columns = _columns((features - mean) / scale)
        better, worse = np.nonzero(score[:, None] < score[None])
        weight = np.zeros(columns.shape[1])
        for _ in range(iterations if len(better) else 0):
            chance = _sigmoid((columns @ weight)[better] - (columns @ weight)[worse])
            weight = weight - _newton(columns, better, worse, chance, weight, ridge)
        return cls(mean, scale, weight)

    def predict(self, features: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        """A number a candidate; lower is predicted to be better."""
        return _columns((np.array(features, dtype=np.float64) - self.mean) / self.scale) @ self.weight

    def best(self, features: Sequence[Sequence[float]], count: int) -> list[int]:
        """Indices of the ``count`` best-predicted, best first."""
        return [int(k) for k in np.argsort(self.predict(features), kind="stable")[:count]] if len(features) else []


def _columns(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([z, z**2 - 1], -1)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _newton(columns, better, worse, chance, weight, ridge):
    """The Newton step of the pairwise logistic loss; sums over pairs as a weighted graph Laplacian, so that no pair is stored with its features."""
    n, pairs = len(columns), len(better)
    slope = np.bincount(better, chance, n) - np.bincount(worse, chance, n)
    curve = np.zeros((n, n))
    np.add.at(curve, (better, worse), chance * (1 - chance))
    curve = curve + curve.T
    laplacian = np.diag(curve.sum(1)) - curve
    gradient = columns.T @ slope / pairs + ridge * weight
    hessian = columns.T @ laplacian @ columns / pairs + ridge * np.eye(len(weight))
    return np.linalg.solve(hessian, gradient)
