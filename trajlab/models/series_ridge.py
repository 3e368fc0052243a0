"""Ridge regression for series: one decomposition of the features, any number of penalties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

__all__ = ["Factored", "Gram"]


@dataclass(frozen=True, eq=False)
class Factored:
    """Features and targets by a singular value decomposition: as exact as double precision allows for penalties down to 1e-14.

    Columns are scaled to unit root mean square first.
    """

    scale: np.ndarray  #: of the columns, ``[feature]``
    values: np.ndarray  #: singular values
    right: np.ndarray  #: ``[value feature]``
    cross: np.ndarray  #: left vectors on the targets, ``[value dim]``
    count: int

    @classmethod
    def of(cls, features: Float[np.ndarray, "sample feature"], targets: Float[np.ndarray, "sample dim"]) -> Factored:
        scale = 1.0 / np.maximum(np.sqrt((features**2).mean(0)), 1e-150)
        scaled = features * scale
        if len(scaled) > scaled.shape[1]:
            both = np.linalg.qr(np.concatenate([scaled, targets], 1), mode="r")
            size = scaled.shape[1]
            scaled, targets_ = both[:size, :size], both[:size, size:]
        else:
            targets_ = targets
        left, values, right = scipy.linalg.svd(scaled, full_matrices=False, check_finite=False, lapack_driver="gesdd")
        return cls(scale, values, right, left.T @ targets_, len(features))

    def weights(self, ridge: float) -> Float[np.ndarray, "feature dim"]:
        """Minimiser of sum |y - F w|^2 + ridge N |w / scale|^2."""
        filtered = self.values / np.maximum(self.values**2 + ridge * self.count, 1e-300)
        return np.ascontiguousarray(self.scale[:, None] * (self.right.T @ (filtered[:, None] * self.cross)))


@dataclass(frozen=True, eq=False)
class Gram:
    """Features and targets by their normal equations: faster for many features, for penalties above 1e-12."""

    gram: np.ndarray
    cross: np.ndarray
    count: int

    @classmethod
    def of(cls, features: Float[np.ndarray, "sample feature"], targets: Float[np.ndarray, "sample dim"]) -> Gram:
        return cls(features.T @ features, features.T @ targets, len(features))

    def weights(self, ridge: float) -> Float[np.ndarray, "feature dim"]:
        """Minimiser of sum |y - F w|^2 + ridge N |w|^2; the penalty is raised tenfold until the matrix is positive."""
        while True:
            matrix = self.gram.copy()
            matrix.flat[:: len(matrix) + 1] += max(ridge * self.count, 1e-300)
            factor, info = scipy.linalg.lapack.dpotrf(matrix, lower=1, overwrite_a=1)
            if not info:
                return np.ascontiguousarray(scipy.linalg.cho_solve((factor, True), self.cross, check_finite=False))
            ridge = max(10.0 * ridge, 1e-15)
