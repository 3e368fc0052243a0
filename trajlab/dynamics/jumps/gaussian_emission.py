"""Gaussian signals of hidden states."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from trajlab.dynamics.jumps.clusters import clusters
from trajlab.dynamics.jumps.label_emissions import WithoutPrior
from trajlab.dynamics.jumps.signal_emissions import FLOOR, from_densities, lifted, settle, speaking, values_of
from trajlab.dynamics.jumps.smoothing import Likelihood
from trajlab.types import JumpPaths

__all__ = ["GaussianEmission"]


@dataclass(frozen=True)
class GaussianEmission(WithoutPrior):
    """The signal is normal about the mean of the state.

    Parameters are means in units of ``unit``, then logarithms of standard deviations, or the Cholesky factor with the logarithms of its diagonal.

    Attributes:
        mean: ``[state dim]``, or ``[state]`` in one dimension.
        cov: variances, ``[state dim]``, or full covariances, ``[state dim dim]``.
        unit: of the signal in each dimension, ``[dim]``: its standard deviation. Sets the scale of the parameters and the least variance.
        silent: states that show no signal (the dead, whose dates are known): they have no parameters, and no signal is of them.
    """

    mean: np.ndarray
    cov: np.ndarray
    unit: np.ndarray = field(default=None)  # type: ignore[assignment]  # filled in: from means and covariances
    silent: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        settle(self, self.mean, "cov", self.cov, self.unit)
        if self.full and not (np.linalg.eigvalsh(self.cov) > 0).all():
            raise ValueError(f"a covariance is not positive definite: the least eigenvalue is {np.linalg.eigvalsh(self.cov).min():g}")

    @property
    def full(self) -> bool:
        """Whether covariances are full."""
        return self.cov.ndim == 3

    @property
    def factor(self) -> np.ndarray:
        """Cholesky factors of the covariances, ``[state dim dim]``."""
        return np.linalg.cholesky(self.cov) if self.full else np.sqrt(self.cov)[:, :, None] * np.eye(self.mean.shape[1])

    @property
    def _speaking(self) -> np.ndarray:
        return speaking(len(self.mean), self.silent)

    def _whitened(self, x: np.ndarray) -> np.ndarray:
        """Signals less the mean of each state, in its standard deviations, ``[state dim seen]``."""
        return np.stack([np.linalg.solve(f, (x - m).T) for f, m in zip(self.factor, self.mean, strict=True)])

    def likelihood(self, paths: JumpPaths) -> Likelihood:
        """Normal densities, relative to that of the best state."""
        x, seen = values_of(paths, self.mean.shape[1])
        constant = np.log(np.diagonal(self.factor, axis1=1, axis2=2)).sum(1) + 0.5 * x.shape[1] * np.log(2 * np.pi)
        return from_densities((-0.5 * (self._whitened(x) ** 2).sum(1) - constant[:, None]).T, seen, paths, self.silent)

    def updated(self, posterior: np.ndarray, paths: JumpPaths) -> Self:
        """Weighted means and covariances; no standard deviation falls below a thousandth of ``unit``. A state without weight stays as it is."""
        x, seen = values_of(paths, self.mean.shape[1])
        weight = posterior[seen]
        mean, cov, floor = self.mean.copy(), self.cov.copy(), (FLOOR * self.unit) ** 2
        for i, total in enumerate(weight.sum(0)):
            if total > 1e-8:
                mean[i] = weight[:, i] @ x / total
                off = x - mean[i]
                if self.full:
                    cov[i] = lifted((off * weight[:, i : i + 1]).T @ off / total, np.sqrt(floor))
                else:
                    cov[i] = np.maximum(weight[:, i] @ off**2 / total, floor)
        return replace(self, mean=mean, cov=cov)

    def score(self, posterior: np.ndarray, paths: JumpPaths) -> np.ndarray:
        """Derivative of the expected log-likelihood by the parameters."""
        x, seen = values_of(paths, self.mean.shape[1])
        weight = posterior[seen]
        means, spreads = [], []
        factors, whitened = self.factor, self._whitened(x)
        for i in self._speaking:
            factor, z, w = factors[i], whitened[i], weight[:, i]
            means.append(self.unit * np.linalg.solve(factor.T, z @ w))
            square = (z * w) @ z.T
            if not self.full:
                spreads.append(np.diag(square) - w.sum())
                continue
            # d/dL of -sum log L_kk - |L^-1 x|^2 / 2
            slope = np.linalg.solve(factor.T, square)
            by_log = np.diag(slope) * np.diag(factor) - w.sum()
            slope = slope * self.unit[:, None]
            slope[np.diag_indices(len(slope))] = by_log
            spreads.append(slope[np.tril_indices(len(slope))])
        return np.concatenate([*means, *spreads])

    def with_parameters(self, parameters: np.ndarray) -> Self:
        at, dim = self._speaking, self.mean.shape[1]
        n, mean, cov = len(at), self.mean.copy(), self.cov.copy()
        mean[at], rest = parameters[: n * dim].reshape(n, dim) * self.unit, parameters[n * dim :].reshape(n, -1)
        if not self.full:
            cov[at] = np.exp(2 * rest) * self.unit**2
            return replace(self, mean=mean, cov=cov)
        factor = np.zeros((n, dim, dim))
        factor[:, *np.tril_indices(dim)] = rest
        index = np.arange(dim)
        factor[:, index, index] = np.exp(factor[:, index, index])
        factor *= self.unit[:, None]
        cov[at] = factor @ factor.transpose(0, 2, 1)
        return replace(self, mean=mean, cov=cov)

    @classmethod
    def start(cls, paths: JumpPaths, n_states: int | None = None, seed: int = 0, full: bool = False,
              silent: tuple[int, ...] = ()) -> Self:
        """From k-means clusters of the signal, numbered by their place in its first dimension."""
        x, _ = values_of(paths)
        n = paths.n_states if n_states is None else n_states
        at, unit, dim = speaking(n, silent), x.std(0), x.shape[1]
        mean, cov = np.tile(x.mean(0), (n, 1)), np.tile(np.diag(unit**2), (n, 1, 1))
        mean[at], number = clusters(x, len(at), seed)
        floor = (0.05 * unit) ** 2
        cov[at] = np.stack([np.cov(x[number == i].T, bias=True).reshape(dim, -1) + np.diag(floor) for i in range(len(at))])
        return cls(mean, cov if full else np.diagonal(cov, axis1=1, axis2=2), unit, silent)

    @property
    def parameters(self) -> np.ndarray:
        at = self._speaking
        mean = (self.mean[at] / self.unit).ravel()
        if not self.full:
            return np.concatenate([mean, 0.5 * np.log(self.cov[at] / self.unit**2).ravel()])
        factor = self.factor[at] / self.unit[:, None]
        index = np.arange(len(self.unit))
        factor[:, index, index] = np.log(factor[:, index, index])
        return np.concatenate([mean, factor[:, *np.tril_indices(len(index))].ravel()])

    @property
    def names(self) -> tuple[str, ...]:
        states, dim = self._speaking, self.mean.shape[1]
        pairs = [(d, e) for d, e in zip(*np.tril_indices(dim), strict=True) if self.full or d == e]
        spread = [f"log width[{i}, {d}]" if d == e else f"factor[{i}, {d}, {e}]" for i in states for d, e in pairs]
        return (*(f"mean[{i}, {d}]" for i in states for d in range(dim)), *spread)
