"""Signals of hidden states with outliers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from trajlab.dynamics.jumps.clusters import clusters
from trajlab.dynamics.jumps.label_emissions import WithoutPrior
from trajlab.dynamics.jumps.signal_emissions import FLOOR, from_densities, settle, speaking, values_of
from trajlab.dynamics.jumps.smoothing import Likelihood
from trajlab.types import JumpPaths

__all__ = ["StudentEmission"]

DF = (0.5, 200.0)  #: degrees of freedom: beyond, the data cannot tell them apart


@dataclass(frozen=True)
class StudentEmission(WithoutPrior):
    """The signal has Student's t distribution about the mean of the state, with one width in each dimension.

    Outliers pull less than under a Gaussian.

    Parameters are means in units of ``unit``, logarithms of scales, and the logarithm of ``df`` unless that is fixed.

    Attributes:
        mean: ``[state dim]``, or ``[state]`` in one dimension.
        scale: ``[state dim]``.
        df: degrees of freedom, shared by all states, from 0.5 to 200.
        fixed: whether ``df`` is known.
        unit: of the signal in each dimension, ``[dim]``: its standard deviation. Sets the scale of the parameters and the least width.
        silent: states that show no signal (the dead, whose dates are known): they have no parameters, and no signal is of them.
    """

    mean: np.ndarray
    scale: np.ndarray
    df: float = 4.0
    fixed: bool = False
    unit: np.ndarray = field(default=None)  # type: ignore[assignment]  # filled in: from means and scales
    silent: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        settle(self, self.mean, "scale", self.scale, self.unit)
        if not self.df > 0:
            raise ValueError(f"df is {self.df:g}; degrees of freedom above 0 were wanted")

    @property
    def _speaking(self) -> np.ndarray:
        return speaking(len(self.mean), self.silent)

    def _distance(self, x: np.ndarray) -> np.ndarray:
        """Squared distance from each mean in units of the scales, ``[seen state]``."""
        return (((x[:, None] - self.mean) / self.scale) ** 2).sum(-1)

    def _logs(self, distance: np.ndarray, df: float) -> np.ndarray:
        from scipy.special import gammaln

        dim = self.mean.shape[1]
        constant = gammaln((df + dim) / 2) - gammaln(df / 2) - 0.5 * dim * np.log(np.pi * df) - np.log(self.scale).sum(1)
        return constant - 0.5 * (df + dim) * np.log1p(distance / df)

    def likelihood(self, paths: JumpPaths) -> Likelihood:
        """Student densities, relative to that of the best state."""
        x, seen = values_of(paths, self.mean.shape[1])
        return from_densities(self._logs(self._distance(x), self.df), seen, paths, self.silent)

    def updated(self, posterior: np.ndarray, paths: JumpPaths) -> Self:
        """One step of means and scales with outliers weighed down, then the best ``df`` (ECME; Liu and Rubin 1995)."""
        x, seen = values_of(paths, self.mean.shape[1])
        weight = posterior[seen]
        pull = weight * (self.df + x.shape[1]) / (self.df + self._distance(x))
        mean, scale = self.mean.copy(), self.scale.copy()
        for i, total in enumerate(weight.sum(0)):
            if total > 1e-8:
                mean[i] = pull[:, i] @ x / pull[:, i].sum()
                scale[i] = np.maximum(np.sqrt(pull[:, i] @ (x - mean[i]) ** 2 / total), FLOOR * self.unit)
        found = replace(self, mean=mean, scale=scale)
        return found if self.fixed else replace(found, df=found._best_df(x, weight))

    def _best_df(self, x: np.ndarray, weight: np.ndarray) -> float:
        from scipy.optimize import minimize_scalar

        distance = self._distance(x)
        def cost(log_df: float) -> float:
            return -float((weight * self._logs(distance, float(np.exp(log_df)))).sum())
        found = minimize_scalar(cost, bounds=np.log(DF), method="bounded", options={"xatol": 1e-4})
        return float(np.exp(found.x)) if found.fun <= cost(np.log(self.df)) else self.df

    def score(self, posterior: np.ndarray, paths: JumpPaths) -> np.ndarray:
        """Derivative of the expected log-likelihood by the parameters."""
        from scipy.special import digamma

        x, seen = values_of(paths, self.mean.shape[1])
        weight, dim, df = posterior[seen], x.shape[1], self.df
        distance = self._distance(x)
        pull = weight * (df + dim) / (df + distance)
        z = (x[:, None] - self.mean) / self.scale
        mean = ((pull[..., None] * z).sum(0) / self.scale * self.unit)[self._speaking]
        scale = ((pull[..., None] * z**2).sum(0) - weight.sum(0)[:, None])[self._speaking]
        if self.fixed:
            return np.concatenate([mean.ravel(), scale.ravel()])
        by_df = digamma((df + dim) / 2) - digamma(df / 2) - dim / df - np.log1p(distance / df) + (df + dim) / df * distance / (df + distance)
        return np.concatenate([mean.ravel(), scale.ravel(), [0.5 * df * (weight * by_df).sum()]])

    def with_parameters(self, parameters: np.ndarray) -> Self:
        at, dim, mean, scale = self._speaking, self.mean.shape[1], self.mean.copy(), self.scale.copy()
        some = parameters[: 2 * len(at) * dim].reshape(2, len(at), dim)
        mean[at], scale[at] = some[0] * self.unit, np.exp(some[1]) * self.unit
        df = self.df if self.fixed else float(np.exp(parameters[-1]))
        return replace(self, mean=mean, scale=scale, df=df)

    @classmethod
    def start(cls, paths: JumpPaths, n_states: int | None = None, seed: int = 0, df: float | None = None,
              silent: tuple[int, ...] = ()) -> Self:
        """From k-means clusters of the signal, numbered by their place in its first dimension; ``df`` is estimated where it is left out."""
        x, _ = values_of(paths)
        n = paths.n_states if n_states is None else n_states
        at, unit = speaking(n, silent), x.std(0)
        _, number = clusters(x, len(at), seed)
        middle, scale = np.tile(x.mean(0), (n, 1)), np.tile(unit, (n, 1))
        for k, i in enumerate(at):
            middle[i] = np.median(x[number == k], 0)
            scale[i] = 1.4826 * np.median(np.abs(x[number == k] - middle[i]), 0)
        return cls(middle, np.maximum(scale, 0.05 * unit), 4.0 if df is None else df, df is not None, unit, silent)

    @property
    def parameters(self) -> np.ndarray:
        shared = [(values / self.unit)[self._speaking].ravel() for values in (self.mean, self.scale)]
        shared[1] = np.log(shared[1])
        return np.concatenate(shared if self.fixed else [*shared, [np.log(self.df)]])

    @property
    def bounds(self) -> np.ndarray:
        """Lowest and highest value of each parameter, ``[parameter 2]``."""
        found = super().bounds
        if not self.fixed:
            found[-1] = np.log(DF)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        pairs = [(i, d) for i in self._speaking for d in range(self.mean.shape[1])]
        return (*(f"mean[{i}, {d}]" for i, d in pairs), *(f"log width[{i}, {d}]" for i, d in pairs), *(() if self.fixed else ("log df",)))
