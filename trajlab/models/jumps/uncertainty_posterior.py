"""Draws from the exact posterior: Gibbs with paths drawn between looks where rates are conjugate, Hamiltonian Monte Carlo elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.catalog import unknown
from trajlab.models.jumps.chains import effective_size, split_rhat
from trajlab.models.jumps.uncertainty_gibbs import gibbs, is_conjugate
from trajlab.models.jumps.uncertainty_laplace import Laplace, generators_of

__all__ = ["Posterior", "PosteriorConfig", "posterior"]

ACCEPT = 0.8  #: share of accepted proposals that the step is tuned for
LENGTH = 1.6  #: of a trajectory in standard deviations: a quarter of a turn


@dataclass(frozen=True)
class PosteriorConfig:
    """How posterior draws are made.

    Attributes:
        draws: kept, over all chains.
        chains: started from draws of the normal approximation.
        warm_up: sweeps or trajectories dropped in each chain.
        thin: sweeps of Gibbs for a kept draw.
        sampler: ``auto`` (Gibbs where it applies), ``gibbs`` or ``hmc``.
        tilt: the prior has the density ``exp(log-prior) q^(tilt - 1) dq``. 1: the log-prior is one of the rates; 0: of their logarithms; a half is
            Jeffreys' rule for counts of jumps, whose equal-tailed intervals cover best at low counts.

    Raises:
        ValueError: an unknown sampler or a number out of range.
    """

    draws: int = 1000
    chains: int = 4
    warm_up: int = 100
    thin: int = 2
    sampler: str = "auto"
    tilt: float = 0.5

    def __post_init__(self) -> None:
        if self.sampler not in ("auto", "gibbs", "hmc"):
            raise ValueError(unknown("sampler", self.sampler, ("auto", "gibbs", "hmc")))
        if self.chains < 1 or self.draws < 4 * self.chains or self.warm_up < 0 or self.thin < 1 or not self.tilt >= 0:
            raise ValueError(f"draws={self.draws}, chains={self.chains}, warm_up={self.warm_up}, thin={self.thin}, tilt={self.tilt}; "
                             "at least 4 draws a chain, 1 chain, 0, 1 and 0 were wanted")


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws from the posterior.

    Attributes:
        x: unconstrained parameters, chains one after another, ``[draw parameter]``.
        generators: at the reference covariates, ``[draw state state]``.
        rhat: split R-hat of each parameter; above 1.05 the chains have not settled, ``[parameter]``.
        size: effective number of draws of each parameter, ``[parameter]``.
        sampler: ``gibbs`` or ``hmc``.
        accepted: share of accepted proposals.
    """

    x: Float[np.ndarray, "draw parameter"]
    generators: Float[np.ndarray, "draw state state"]
    rhat: Float[np.ndarray, "parameter"]
    size: Float[np.ndarray, "parameter"]
    sampler: str
    accepted: float = 1.0

    @property
    def settled(self) -> bool:
        return bool((self.rhat < 1.05).all())


def posterior(problem: Any, mode: Laplace, config: PosteriorConfig | None = None, seed: int = 0) -> Posterior:
    """Draws from the posterior of a problem around its mode.

    Raises:
        ValueError: Gibbs was asked for where rates given paths have no Gamma laws.
    """
    config = config or PosteriorConfig()
    conjugate = is_conjugate(problem)
    if config.sampler == "gibbs" and not conjugate:
        raise ValueError("sampler='gibbs' needs states seen as they are and free, tied or fixed rates without covariates; take sampler='hmc'")
    each = -(-config.draws // config.chains)
    starts = mode.draws(config.chains, seed)
    if conjugate and config.sampler != "hmc":
        x, accepted, sampler = gibbs(problem, starts, each, config.warm_up, config.tilt, config.thin, seed + 1), 1.0, "gibbs"
    else:
        children = np.random.default_rng(seed + 1).spawn(config.chains)
        target = _Target(problem, mode, config.tilt)
        chains = [_hmc(target, start, each, config.warm_up, child) for start, child in zip(starts, children, strict=True)]
        x, accepted, sampler = np.stack([c[0] for c in chains]), float(np.mean([c[1] for c in chains])), "hmc"
    flat = x.reshape(-1, x.shape[-1])
    return Posterior(flat, generators_of(problem, flat), split_rhat(x), effective_size(x), sampler, accepted)


class _Target:
    """The log-posterior in coordinates where it is about a standard normal."""

    def __init__(self, problem: Any, mode: Laplace, tilt: float) -> None:
        self.problem, self.centre, self.bounds = problem, mode.x, mode.bounds
        covariance = mode.covariance.copy()
        free = ~mode.has("inside")
        covariance[free] = covariance[:, free] = 0.0
        covariance[free, free] = 1.0
        values, vectors = np.linalg.eigh(covariance)
        self.root = vectors * np.sqrt(values)
        self.tilt = tilt * mode.logs

    def x(self, z: np.ndarray) -> np.ndarray:
        return self.centre + self.root @ z

    def z(self, x: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.root, x - self.centre)

    def __call__(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        x = self.x(z)
        if not np.isfinite(x).all() or (x < self.bounds[0] - 1e-12).any() or (x > self.bounds[1] + 1e-12).any():
            return -np.inf, np.zeros(len(z))
        value, gradient = self.problem.value_and_gradient(x)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return -np.inf, np.zeros(len(z))
        return value + float(self.tilt @ x), self.root.T @ (gradient + self.tilt)


def _hmc(target: _Target, start: np.ndarray, draws: int, warm_up: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011) with jittered trajectories; the step is tuned by dual averaging in the warm-up.

    What leaves the bounds or the finite is rejected.
    """
    z = target.z(start)
    value, gradient = target(z)
    if not np.isfinite(value):
        z = np.zeros(len(z))
        value, gradient = target(z)
    step = 0.8 * len(z) ** -0.25
    tune, kept, accepted = _StepTuning(step), np.empty((draws, len(z))), 0.0
    for t in range(warm_up + draws):
        size = min(step * rng.uniform(0.8, 1.2), 1.9)
        moves = max(1, min(int(np.ceil(LENGTH * rng.uniform(0.6, 1.2) / size)), 40))
        momentum = rng.standard_normal(len(z))
        new, slope, p = z, gradient, momentum + 0.5 * size * gradient
        for move in range(moves):
            new = new + size * p
            ahead, slope = target(new)
            if ahead == -np.inf:
                break
            p = p + size * slope * (0.5 if move == moves - 1 else 1.0)
        change = ahead - value + 0.5 * (momentum @ momentum - p @ p)
        chance = float(np.exp(min(change, 0.0))) if np.isfinite(change) else 0.0
        if rng.random() < chance:
            z, value, gradient = new, ahead, slope
        if t < warm_up:
            step = tune(chance, last=t == warm_up - 1)
        else:
            kept[t - warm_up] = target.x(z)
            accepted += chance / draws
    return kept, accepted


class _StepTuning:
    """Dual averaging of the logarithm of the step (Hoffman and Gelman 2014)."""

    def __init__(self, step: float) -> None:
        self.aim, self.off, self.mean, self.t = np.log(2 * step), 0.0, np.log(step), 0

    def __call__(self, chance: float, last: bool) -> float:
        self.t += 1
        self.off += (ACCEPT - chance - self.off) / (self.t + 10)
        log_step = self.aim - np.sqrt(self.t) / 0.05 * self.off
        self.mean += self.t**-0.75 * (log_step - self.mean)
        return float(np.exp(self.mean if last else log_step))
