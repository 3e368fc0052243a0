"""Random Markov jump processes and what is seen of them, drawn on the fly: to train inference on, and to judge it by.

The published prior of foundation inference for jump processes (Berghaus et al., arXiv 2406.06419, 2024) as far as it is known, and wider ones:
see `PriorConfig`. No data are stored: task k of a seed is always the same one, whatever was drawn before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from trajlab.catalog import unknown
from trajlab.dynamics.jumps.generator import stationary
from trajlab.dynamics.jumps.simulate_kernels import flip, picking, streams, walk
from trajlab.sources.jump_families import draw_generator
from trajlab.sources.jump_prior_config import FAMILIES, PriorConfig
from trajlab.types import JumpPaths

__all__ = ["JumpPrior", "JumpTask", "PriorConfig"]

FIXED = ("K", "L", "eps", "n", "irregular", "family", "stationary")  #: what a caller may fix


@dataclass(frozen=True)
class JumpTask:
    """A hidden process and what was seen of it.

    Attributes:
        q: its generator, ``[state state]``.
        initial: distribution at the first look, ``[state]``.
        eps: probability that a label was replaced by one that is uniform over all states.
        label: states seen, ``[path look]``, int64.
        time: of the looks, ``[path look]``, float64.
        family: of links; shared_grid: whether all paths have the same times; starts_stationary: whether ``initial`` is the stationary distribution.
    """

    q: Float[np.ndarray, "state state"]
    initial: Float[np.ndarray, "state"]
    eps: float
    label: Int[np.ndarray, "path look"]
    time: Float[np.ndarray, "path look"]
    family: str = "random"
    shared_grid: bool = True
    starts_stationary: bool = True

    @property
    def n_states(self) -> int:
        return len(self.q)

    @property
    def n_paths(self) -> int:
        return len(self.label)

    def paths(self) -> JumpPaths:
        """What was seen, as a noun."""
        import torch

        count, looks = self.label.shape
        source = {"prior": self.family, "noise": self.eps}
        return JumpPaths(torch.from_numpy(self.label.reshape(-1)), torch.from_numpy(self.time.reshape(-1)),
                         torch.arange(count).repeat_interleave(looks), self.n_states, source=source)


@dataclass(frozen=True)
class JumpPrior:
    """Draws tasks; see `PriorConfig` for the distribution.

    Example: ``JumpPrior(PriorConfig.wide()).tasks(1000, seed=1, K=10, eps=0.01)``.
    """

    config: PriorConfig = field(default_factory=PriorConfig)

    def generator(self, rng: np.random.Generator, n: int | None = None, family: str | None = None) -> tuple[np.ndarray, str]:
        """A process alone: its generator, ``[state state]``, and its family."""
        c = self.config
        n = int(c.states[_choice(rng, c.state_weights)]) if n is None else n
        family = family or FAMILIES[_choice(rng, [getattr(c, name) for name in FAMILIES])]
        return draw_generator(rng, n, family, c), family

    def task(self, rng: np.random.Generator, **fixed: Any) -> JumpTask:
        """A process and what is seen of it.

        Args:
            rng: random numbers.
            fixed: what is not to be drawn: ``K`` paths, ``L`` looks, ``eps``, ``n`` states, ``irregular`` (bool), ``family``, ``stationary`` (bool).

        Raises:
            ValueError: something else was fixed, or to what cannot be.
        """
        self._check(fixed)
        c = self.config
        q, family = self.generator(rng, fixed.get("n"), fixed.get("family"))
        count = fixed.get("K") or _log_uniform(rng, *c.paths)
        looks = fixed.get("L") or int(rng.integers(c.looks[0], c.looks[1] + 1))
        time, shared = self._grid(rng, count, looks, fixed.get("irregular"))
        initial, equilibrium = self._initial(rng, q, family, fixed.get("stationary"))
        eps = self._noise(rng, fixed.get("eps"))
        label = _seen(q, initial, time, eps, int(rng.integers(2**63)))
        return JumpTask(q, initial, eps, label, time, family, shared, equilibrium)

    def task_at(self, seed: int, index: int, **fixed: Any) -> JumpTask:
        """Task number ``index`` of a seed."""
        return self.task(np.random.default_rng((seed, index)), **fixed)

    def tasks(self, count: int, seed: int, first: int = 0, **fixed: Any) -> Iterator[JumpTask]:
        """Tasks ``first .. first + count - 1`` of a seed, one by one."""
        return (self.task_at(seed, index, **fixed) for index in range(first, first + count))

    def _check(self, fixed: dict[str, Any]) -> None:
        for name in fixed:
            if name not in FIXED:
                raise ValueError(unknown("part of a task that can be fixed", name, FIXED))
        for name, least in (("K", 1), ("L", 2)):
            if fixed.get(name) is not None and fixed[name] < least:
                raise ValueError(f"{name} = {fixed[name]}; at least {least} was wanted")
        if fixed.get("eps") is not None and not 0 <= fixed["eps"] <= 1:
            raise ValueError(f"eps = {fixed['eps']}; a probability was wanted")

    def _grid(self, rng: np.random.Generator, count: int, looks: int, irregular: bool | None) -> tuple[np.ndarray, bool]:
        c = self.config
        if not (rng.random() < c.irregular if irregular is None else irregular):
            return np.tile(np.linspace(0.0, c.horizon, looks), (count, 1)), True
        if count > 1 and c.own_grid and rng.random() < c.own_grid:
            return np.sort(rng.uniform(0.0, c.horizon, (count, looks)), 1), False
        return np.tile(np.sort(rng.uniform(0.0, c.horizon, looks)), (count, 1)), True

    def _initial(self, rng: np.random.Generator, q: np.ndarray, family: str, equilibrium: bool | None) -> tuple[np.ndarray, bool]:
        if equilibrium is None:
            equilibrium = family not in ("one_way", "absorbing") and rng.random() < self.config.stationary
        return (stationary(q) if equilibrium else rng.dirichlet(np.ones(len(q)))), equilibrium

    def _noise(self, rng: np.random.Generator, eps: float | None) -> float:
        c = self.config
        if eps is not None:
            return float(eps)
        kind = _choice(rng, (c.clean, c.usual, c.noisy))
        return (0.0, c.usual_noise, float(rng.uniform(0.0, c.most_noise)))[kind]


def _choice(rng: np.random.Generator, weights: Any) -> int:
    table = np.cumsum(weights)
    return int(np.searchsorted(table, rng.random() * table[-1], side="right"))


def _log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    """An integer between low and high, its logarithm uniform."""
    return min(high, int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))))


def _seen(q: np.ndarray, initial: np.ndarray, time: np.ndarray, eps: float, seed: int) -> np.ndarray:
    """Labels of paths that start from ``initial`` at their first look, ``[path look]``."""
    count, looks = time.shape
    label = np.empty(count * looks, dtype=np.int64)
    first = np.arange(count, dtype=np.int64) * looks
    rate = -np.diag(q)
    start = np.random.default_rng(seed).choice(len(q), count, p=initial / initial.sum())
    begun = (start, time[:, 0].copy(), streams(seed, 0, count))
    walk((rate, picking(q + np.diag(rate))), begun, time.reshape(-1), np.stack([first, first + looks, first], 1), label, 0, count)
    if eps:
        flip(label, eps, len(q), streams(seed, 1, 1)[0], 0, len(label))
    return label.reshape(count, looks)
