"""Chaotic maps and delay equations by name, and their ensembles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trajlab.dynamics.delay import DelayField, solve_delay
from trajlab.dynamics.maps import Map, iterate
from trajlab.dynamics.ode import Solution
from trajlab.sources import chaos_dysts
from trajlab.sources.chaos_recipe import Recipe
from trajlab.sources.chaos_starts import PHASE, Lost, rng, starts

__all__ = ["delay_field", "delays", "map_of", "maps"]


def map_of(name: str, arrays: Mapping[str, np.ndarray], dim: int) -> Map:
    """The map of this name."""
    from trajlab.sources.chaos_ported_maps import INVERSES, PORTED_MAPS

    p = np.array([float(v) for v in arrays.values()])
    law = PORTED_MAPS.get(name) or chaos_dysts.step(name, "map")
    inverse = _spread(INVERSES[name], "x, p", dim, len(p)) if name in INVERSES else None
    return Map(_spread(law, "x, p", dim, len(p)), dim, p, tuple(arrays), name, inverse)


def delay_field(name: str, arrays: Mapping[str, np.ndarray], period: float) -> DelayField:
    """The delay equation of this name; its delay is the parameter tau."""
    p = np.array([float(v) for v in arrays.values()])
    inner = _spread(chaos_dysts.step(name, "delay"), "t, x, delayed, p", 1, len(p))
    return DelayField(inner, 1, float(arrays["tau"]), p, tuple(arrays), name, period)


def _spread(inner: Callable[..., Any], signature: str, dim: int, count: int) -> Callable[..., Any]:
    """``inner(components, parameters)`` with the arguments of `Map` or `DelayField`, written out for numba."""
    words = [f"x[{i}]" for i in range(dim)] + (["delayed[0]", "t"] if "delayed" in signature else []) + [f"p[{i}]" for i in range(count)]
    call = f"inner({', '.join(words)})"
    space: dict[str, Any] = {"inner": inner}
    exec(f"def law({signature}):\n    return {f'({call},)' if dim == 1 else call}\n", space)
    return space["law"]


def maps(system: Any, recipe: Recipe, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[n points dim]`` and their times, 0, 1, 2, ...; a transient of one period is ``per_period`` iterations."""
    x0 = starts(system.start, recipe.n, recipe.seed)
    age = round(recipe.transient * recipe.per_period)
    skip = np.array([age + int(rng(recipe.seed, i, PHASE).integers(age + 1)) for i in range(recipe.n)])
    told = iterate(system.equation, x0, int(skip.max()) + len(times) - 1, failed="keep")
    x = np.stack([row[k : k + len(times)] for row, k in zip(told.x, skip)])
    Lost.check(system.name, recipe, told, x, skip, np.arange(recipe.n))
    return x, np.arange(float(len(times)))


def delays(system: Any, recipe: Recipe, times: np.ndarray) -> np.ndarray:
    """``[n points embedding]``: the state now and at even distances back to one delay ago. The history is constant."""
    lags = np.linspace(0.0, system.equation.longest, recipe.embedding) if recipe.embedding > 1 else np.zeros(1)
    apart = 1e-9 * min(times[-1] / max(len(times) - 1, 1) or np.inf, system.equation.longest)  # times that differ by rounding are one
    grid, place = np.unique(np.round((times[:, None] - lags) / apart), return_inverse=True)
    place = place.reshape(len(times), -1)
    found = []
    for i, history in enumerate(starts(system.start, recipe.n, recipe.seed)):
        age = system.period * recipe.transient * (1.0 + rng(recipe.seed, i, PHASE).uniform())
        age = max(age, lags[-1])
        told = _after(system, recipe, history, grid * apart + age)
        x = told.x[:, -len(grid) :][:, place, 0]
        Lost.check(system.name, recipe, told, x, np.array([age]), np.array([i]))
        found.append(x[0])
    return np.stack(found)


def _after(system: Any, recipe: Recipe, history: np.ndarray, grid: np.ndarray) -> Solution:
    begin = [0.0] if grid[0] > 0 else []
    return solve_delay(system.equation, history[None], np.concatenate([begin, grid]), rtol=recipe.rtol, atol=recipe.atol, failed="keep")
