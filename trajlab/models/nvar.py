"""Nonlinear vector autoregression, also called next-generation reservoir computing (Gauthier et al. 2021, arXiv:2106.07688).

z[n+1] - z[n] = W phi(z[n], z[n-s], ..., z[n-(k-1)s]) with phi all monomials up to a degree, constant and linear ones among them; W by ridge
regression over the context, and the forecast is a free run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import comb
from typing import Any

import numba as nb
import numpy as np
from jaxtyping import Float

from trajlab.models.series_local import LIMIT, LocalForecaster, Runner
from trajlab.models.series_ridge import Factored

__all__ = ["Nvar", "NvarConfig", "monomials"]


@dataclass(frozen=True)
class NvarConfig:
    """Settings of `Nvar`.

    Attributes:
        lags: k, how many values of each channel the next one depends on.
        stride: s, frames between them.
        degree: of the monomials; lowered where there would be more than ``most``.
        ridge: penalty per sample on the weights of features scaled to unit root mean square.
        most: features, at most.

    Raises:
        ValueError: a setting outside its range.
    """

    lags: int = 2
    stride: int = 1
    degree: int = 3
    ridge: float = 1e-9
    most: int = 600

    def __post_init__(self) -> None:
        if min(self.lags, self.stride, self.degree) < 1 or not self.ridge >= 0:
            raise ValueError(f"lags={self.lags}, stride={self.stride}, degree={self.degree}, ridge={self.ridge:g}; at least 1 was wanted of the "
                             "first three, and a ridge that is not negative")

    def degree_of(self, inputs: int) -> int:
        """The degree that keeps the number of monomials of so many inputs below ``most``; at least 1."""
        return max((d for d in range(1, self.degree + 1) if comb(inputs + d, d) <= self.most), default=1)


@lru_cache(maxsize=64)
def monomials(inputs: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """All monomials up to a degree: number m is number ``parent[m]`` times input ``factor[m]``; number 0 is 1. Both ``[monomial]``."""
    parent, factor, level = [0], [0], [(0, 0)]
    for _ in range(degree):
        following = []
        for number, least in level:
            for i in range(least, inputs):
                following.append((len(parent), i))
                parent.append(number)
                factor.append(i)
        level = following
    return np.array(parent), np.array(factor)


@nb.njit(cache=True, nogil=True)
def _free_run(z, weights, parent, factor, lags, stride, limit, out):  # type: ignore[no-untyped-def]
    """Fill out[step dim] from the end of z[time dim]; NaN from where a value leaves +-limit."""
    count, dim = z.shape
    size = (lags - 1) * stride + 1
    past = np.empty((size, dim))  # ring buffer
    for i in range(size):
        past[i] = z[count - size + i]
    head = size - 1
    phi = np.empty(len(parent))
    phi[0] = 1.0
    for n in range(len(out)):
        for m in range(1, len(parent)):
            lag = factor[m] // dim
            phi[m] = phi[parent[m]] * past[(head - lag * stride) % size, factor[m] - lag * dim]
        for i in range(dim):
            out[n, i] = past[head, i]
        for m in range(len(parent)):
            f = phi[m]
            for i in range(dim):
                out[n, i] += f * weights[m, i]
        head = (head + 1) % size
        for i in range(dim):
            if not abs(out[n, i]) <= limit:
                out[n:] = np.nan
                return
            past[head, i] = out[n, i]


class Nvar(LocalForecaster):
    """Nonlinear vector autoregression with fixed settings."""

    name = "nvar"

    def __init__(self, config: NvarConfig | None = None) -> None:
        self.config = config or NvarConfig()

    @property
    def shortest(self) -> int:  # type: ignore[override]
        return (self.config.lags - 1) * self.config.stride + 5

    @property
    def design_key(self) -> Any:
        return replace(self.config, ridge=0.0)

    def design(self, z: Float[np.ndarray, "time dim"]) -> Factored:
        """The features of a context, decomposed."""
        c = self.config
        reach, count = (c.lags - 1) * c.stride, len(z)
        inputs = np.concatenate([z[reach - k * c.stride : count - 1 - k * c.stride] for k in range(c.lags)], 1)
        parent, factor = monomials(inputs.shape[1], c.degree_of(inputs.shape[1]))
        columns = np.empty((len(parent), len(inputs)))
        columns[0] = 1.0
        rows = np.ascontiguousarray(inputs.T)
        for m in range(1, len(parent)):
            np.multiply(columns[parent[m]], rows[factor[m]], out=columns[m])
        return Factored.of(columns.T, np.diff(z[reach:], axis=0))

    def learned(self, z: Float[np.ndarray, "time dim"], design: Factored | None = None) -> Runner:
        c, inputs = self.config, self.config.lags * z.shape[1]
        weights = (design or self.design(z)).weights(c.ridge)
        parent, factor = monomials(inputs, c.degree_of(inputs))

        def run(z: np.ndarray, origins: Sequence[int], steps: Sequence[int]) -> list[np.ndarray]:
            runs = [np.empty((n, z.shape[1])) for n in steps]
            for origin, out in zip(origins, runs):
                _free_run(z[:origin], weights, parent, factor, c.lags, c.stride, LIMIT, out)
            return runs

        return run
