"""Ensembles of a chaotic system: starts on its attractor, integration, bounded coordinates, observation noise, provenance."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trajlab.dynamics.ode import Solution, solve
from trajlab.sources import chaos_discrete
from trajlab.sources.chaos_names import EXPLICIT_TIME
from trajlab.sources.chaos_recipe import Recipe
from trajlab.sources.chaos_starts import NOISE, PHASE, Lost, rng, starts
from trajlab.types import Trajectories

if TYPE_CHECKING:
    from trajlab.sources.chaos_system import ChaoticSystem

__all__ = ["ensemble"]

PHASES = 64  #: number of lengths that a transient can have


def ensemble(system: ChaoticSystem, recipe: Recipe) -> Trajectories:
    """See `ChaoticSystem.trajectories`."""
    from trajlab.sources.chaos_clock import unit

    if recipe.stochastic and (system.kind != "ode" or not system.dysts):
        raise ValueError(f"{system.name}: stochastic={recipe.stochastic:g} is for catalogued differential equations, whose spread is known; call "
                         "trajlab.dynamics.sde.solve_sde with a noise of your own")
    times = unit(system, recipe) / recipe.per_period * np.arange(recipe.points)
    if system.kind == "map":
        x, times = chaos_discrete.maps(system, recipe, times)
    else:
        x = _flow(system, recipe, times) if system.kind == "ode" else chaos_discrete.delays(system, recipe, times)
    bound = system.kind == "ode" and bool(system.dysts) and not recipe.raw
    return _packed(system, recipe, times, _bounded(system, x) if bound else x)


def _flow(system: ChaoticSystem, recipe: Recipe, times: np.ndarray) -> np.ndarray:
    x0, ages = starts(system.start, recipe.n, recipe.seed), np.zeros(recipe.n)
    if recipe.transient:
        x0, ages = _aged(system, recipe, x0)
    out = np.full((recipe.n, len(times), system.dim), np.nan)
    for part in _parts(system, np.flatnonzero(np.isfinite(x0).all(1))):
        later = ages[part[0]] if system.name in EXPLICIT_TIME else 0.0
        told = _driven(system, recipe, x0, times + later, part) if recipe.stochastic else solve(
            system.field, x0[part], times + later, rtol=recipe.rtol, atol=recipe.atol, failed="keep")
        out[part] = told.x
        Lost.check(system.name, recipe, told, told.x, np.full(len(part), later), part)
    return out


def _driven(system: ChaoticSystem, recipe: Recipe, x0: np.ndarray, times: np.ndarray, part: np.ndarray) -> Solution:
    """With noise in the equation. All rows up to the last are solved, so that each keeps its stream of random numbers."""
    from trajlab.dynamics.sde import solve_sde

    strength = recipe.stochastic * np.asarray(system.dysts["std"]) / np.sqrt(system.period)
    strength[list(system.dysts["unbounded_indices"])] = 0.0  # phases and angles
    alive = np.where(np.isfinite(x0).all(1, keepdims=True), x0, system.start)[: part[-1] + 1]
    told = solve_sde(system.field, alive, times, noise=strength, seed=recipe.seed, failed="keep")
    return Solution(*(getattr(told, f.name) if f.name == "times" else getattr(told, f.name)[part] for f in fields(Solution)))


def _parts(system: ChaoticSystem, rows: np.ndarray) -> list[np.ndarray]:
    """Rows that can share a clock: all of them, but for a law that depends on the time itself."""
    if system.name in EXPLICIT_TIME:
        return [np.array([i]) for i in rows]
    return [rows] if len(rows) else []


def _aged(system: ChaoticSystem, recipe: Recipe, x0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row after its own transient, whose length is one of `PHASES`; NaN where it did not come so far."""
    lengths = system.period * recipe.transient * (1.0 + np.arange(PHASES) / PHASES)
    which = np.array([rng(recipe.seed, i, PHASE).integers(PHASES) for i in range(len(x0))])
    told = solve(system.field, x0, np.concatenate([[0.0], lengths]), rtol=recipe.rtol, atol=recipe.atol, failed="keep")
    aged = told.x[np.arange(len(x0)), 1 + which]
    Lost.check(system.name, recipe, told, aged[:, None], lengths[which], np.arange(len(x0)))
    return aged, lengths[which]


def _bounded(system: ChaoticSystem, x: np.ndarray) -> np.ndarray:
    from trajlab.sources.chaos_dysts import postprocessed

    return postprocessed(system.name, x, system.parameters)


def _noisy(clean: np.ndarray, recipe: Recipe) -> np.ndarray:
    x = clean.copy()
    for i, row in enumerate(x):
        seen = np.isfinite(row).all(1)
        if seen.any():
            row += recipe.noise * row[seen].std(0) * rng(recipe.seed, i, NOISE).standard_normal(row.shape)
    return x


def _packed(system: ChaoticSystem, recipe: Recipe, times: np.ndarray, clean: np.ndarray) -> Trajectories:
    x = _noisy(clean, recipe) if recipe.noise else clean
    n, seen = len(x), torch.from_numpy(np.isfinite(clean).all(-1))
    extra = {"clean": torch.from_numpy(clean)} if recipe.noise else {}
    return Trajectories(x=torch.from_numpy(x), time=torch.from_numpy(times).expand(n, -1).clone(), scene=torch.arange(n), mask=seen, extra=extra,
                        context={"run": torch.arange(n)}, source=_source(system, recipe, times))


def _source(system: ChaoticSystem, recipe: Recipe, times: np.ndarray) -> dict[str, Any]:
    from trajlab import __version__
    from trajlab.sources.chaos_dysts import version

    told = {"what": "chaotic system", "system": system.name, "kind": system.kind,
            "parameters": {k: np.asarray(v).tolist() for k, v in system.parameters.items()}, "start": system.start.tolist(),
            "step": float(times[1] - times[0]) if len(times) > 1 else 0.0, **vars(recipe), "citation": system.citation, "trajlab": __version__}
    return told | ({"dysts": version()} if system.dysts else {})
