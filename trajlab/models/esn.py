"""Echo state networks: a fixed random recurrent net with a trained linear readout (Jaeger 2001; Jaeger & Haas 2004).

x[n+1] = (1 - a) x[n] + a tanh(rho W x[n] + W_in z[n+1] + b),   z[n+1] - z[n] = W_out (1, z[n], x[n], x[n]^2),   W of unit spectral radius.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numba as nb
import numpy as np
from jaxtyping import Float

from trajlab.models.series_local import LIMIT, LocalForecaster, Runner
from trajlab.models.series_ridge import Gram

__all__ = ["Esn", "EsnConfig", "reservoir"]


@dataclass(frozen=True)
class EsnConfig:
    """Settings of `Esn`.

    Attributes:
        units: of the reservoir.
        density: share of recurrent weights that are not zero; at least one a unit.
        radius: spectral radius rho of the recurrent weights.
        leak: a, 0 to 1; how much of a unit is renewed each frame.
        input_scale: half width of the uniform input weights.
        bias: half width of the uniform biases.
        ridge: penalty per sample on the readout.
        washout: frames left out of the fit, a quarter of the context at most.
        seed: of the random weights.

    Raises:
        ValueError: a setting outside its range.
    """

    units: int = 300
    density: float = 0.02
    radius: float = 0.9
    leak: float = 0.3
    input_scale: float = 0.2
    bias: float = 0.1
    ridge: float = 1e-7
    washout: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.units < 1 or not 0 < self.density <= 1 or not 0 < self.leak <= 1 or self.washout < 0:
            raise ValueError(f"units={self.units}, density={self.density:g}, leak={self.leak:g}, washout={self.washout}; at least 1 unit, "
                             "density and leak above 0 and at most 1, and a washout that is not negative were wanted")
        if min(self.radius, self.input_scale, self.bias, self.ridge) < 0:
            raise ValueError(f"radius={self.radius:g}, input_scale={self.input_scale:g}, bias={self.bias:g}, ridge={self.ridge:g}; "
                             "none may be negative")


@lru_cache(maxsize=16)
def reservoir(units: int, density: float, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Random weights: sources ``[unit link]`` and weights ``[unit link]`` of unit spectral radius, inputs ``[unit dim]``, biases ``[unit]``.

    Every unit has the same number of links, density x units of them.
    """
    rng = np.random.default_rng(seed)
    links = max(1, round(density * units))
    source = np.stack([rng.choice(units, links, replace=False) for _ in range(units)])
    weight = rng.uniform(-1, 1, (units, links))
    full = np.zeros((units, units))
    np.put_along_axis(full, source, weight, 1)
    radius = np.abs(np.linalg.eigvals(full)).max()
    bias = rng.uniform(-1, 1, units)
    return source, weight / max(radius, 1e-12), rng.uniform(-1, 1, (units, dim)), bias


@nb.njit(cache=True, nogil=True)
def _renew(x, z, net, leak, new):  # type: ignore[no-untyped-def]
    """The next state of the reservoir, written over x."""
    source, weight, inputs, bias = net
    for u in range(len(x)):
        total = bias[u]
        for link in range(source.shape[1]):
            total += weight[u, link] * x[source[u, link]]
        for i in range(len(z)):
            total += inputs[u, i] * z[i]
        new[u] = (1.0 - leak) * x[u] + leak * np.tanh(total)
    x[:] = new


@nb.njit(cache=True, nogil=True)
def _driven(z, net, leak, states):  # type: ignore[no-untyped-def]
    """States[time unit] of a reservoir at rest that is shown z[time dim]."""
    x, new = np.zeros(states.shape[1]), np.empty(states.shape[1])
    for n in range(len(z)):
        _renew(x, z[n], net, leak, new)
        states[n] = x


@nb.njit(cache=True, nogil=True)
def _free_run(state, last, net, leak, weights, limit, out):  # type: ignore[no-untyped-def]
    """Fill out[step dim] from a state and the value that led to it; NaN from where a value leaves +-limit."""
    x, new, z = state.copy(), np.empty(len(state)), last.copy()
    dim, units = len(z), len(x)
    for n in range(len(out)):
        for i in range(dim):
            out[n, i] = z[i] + weights[0, i]
            for j in range(dim):
                out[n, i] += weights[1 + j, i] * z[j]
        for u in range(units):
            for i in range(dim):
                out[n, i] += x[u] * weights[1 + dim + u, i] + x[u] * x[u] * weights[1 + dim + units + u, i]
        for i in range(dim):
            if not abs(out[n, i]) <= limit:
                out[n:] = np.nan
                return
            z[i] = out[n, i]
        _renew(x, z, net, leak, new)


class Drive:
    """A reservoir that is shown series; it keeps the states along the last one, which several readouts share."""

    def __init__(self, config: EsnConfig, dim: int) -> None:
        source, weight, inputs, bias = reservoir(config.units, config.density, dim, config.seed)
        self.net = source, config.radius * weight, config.input_scale * inputs, config.bias * bias
        self.leak, self.seen, self.known = config.leak, np.empty((0, dim)), np.empty((0, config.units))

    def states(self, z: Float[np.ndarray, "time dim"]) -> Float[np.ndarray, "time unit"]:
        """States along a series, starting at rest."""
        if not np.array_equal(z, self.seen):
            self.seen, self.known = z.copy(), np.empty((len(z), self.known.shape[1]))
            _driven(z, self.net, self.leak, self.known)
        return self.known


class Esn(LocalForecaster):
    """An echo state network with fixed settings."""

    name = "esn"
    shortest = 8

    def __init__(self, config: EsnConfig | None = None) -> None:
        self.config = config or EsnConfig()

    @property
    def design_key(self) -> Any:
        return replace(self.config, ridge=0.0)

    def design(self, z: Float[np.ndarray, "time dim"]) -> tuple[Drive, Gram]:
        """The reservoir and the normal equations of its readout."""
        drive, skip = Drive(self.config, z.shape[1]), min(self.config.washout, len(z) // 4)
        seen, x = z[skip:-1], drive.states(z)[skip:-1]
        return drive, Gram.of(np.concatenate([np.ones((len(x), 1)), seen, x, x**2], 1), np.diff(z[skip:], axis=0))

    def learned(self, z: Float[np.ndarray, "time dim"], design: tuple[Drive, Gram] | None = None) -> Runner:
        drive, gram = design or self.design(z)
        weights = gram.weights(self.config.ridge)

        def run(z: np.ndarray, origins: Sequence[int], steps: Sequence[int]) -> list[np.ndarray]:
            states = drive.states(z[: max(origins)])
            runs = [np.empty((n, z.shape[1])) for n in steps]
            for origin, out in zip(origins, runs):
                _free_run(states[origin - 1], z[origin - 1], drive.net, drive.leak, weights, LIMIT, out)
            return runs

        return run
