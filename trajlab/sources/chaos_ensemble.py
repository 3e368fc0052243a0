"""Ensembles of a chaotic system: starts on its attractor, integration, bounded coordinates, observation noise, provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trajlab.dynamics.ode import REASONS, Solution, solve
from trajlab.sources.chaos_names import EXPLICIT_TIME
from trajlab.sources.chaos_recipe import Recipe
from trajlab.types import Trajectories

if TYPE_CHECKING:
    from trajlab.sources.chaos_system import ChaoticSystem

__all__ = ["ensemble", "starts"]

NEAR = 1e-3  #: relative distance of the starts from the tabulated one
PHASES = 64  #: number of lengths that a transient can have
START, PHASE, NOISE = 0, 1, 2  #: what random numbers are for


def _rng(seed: int, row: int, use: int) -> np.random.Generator:
    """Random numbers of one row, whatever the others."""
    return np.random.default_rng((seed, row, use))


def starts(system: ChaoticSystem, n: int, seed: int) -> np.ndarray:
    """``[n dim]`` states about the tabulated one."""
    return np.stack([system.start * (1.0 + NEAR * _rng(seed, i, START).standard_normal(system.start.shape)) for i in range(n)])


def ensemble(system: ChaoticSystem, recipe: Recipe) -> Trajectories:
    """See `ChaoticSystem.trajectories`."""
    from trajlab.sources.chaos_clock import unit

    step = unit(system, recipe.clock) / recipe.per_period
    times = step * np.arange(recipe.points)
    if system.kind == "ode":
        x = _flow(system, recipe, times)
    else:
        from trajlab.sources import chaos_discrete

        x, times = chaos_discrete.ensemble(system, recipe, times)
    clean = x if recipe.raw or system.kind != "ode" or not system.dysts else _bounded(system, x)
    return _packed(system, recipe, times, clean)


def _flow(system: ChaoticSystem, recipe: Recipe, times: np.ndarray) -> np.ndarray:
    x0, ages = starts(system, recipe.n, recipe.seed), np.zeros(recipe.n)
    if recipe.transient:
        x0, ages = _aged(system, recipe, x0)
    alive = np.isfinite(x0).all(1)
    out = np.full((recipe.n, len(times), system.dim), np.nan)
    out[alive] = _solved(system, recipe, x0[alive], times, ages[alive], np.flatnonzero(alive), "")
    return out


def _aged(system: ChaoticSystem, recipe: Recipe, x0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row after its own transient, whose length is one of `PHASES`; NaN where it did not come so far."""
    lengths = system.period * recipe.transient * (1.0 + np.arange(PHASES) / PHASES)
    which = np.array([_rng(recipe.seed, i, PHASE).integers(PHASES) for i in range(len(x0))])
    grid = np.concatenate([[0.0], lengths[: which.max() + 1]])
    told = solve(system.field, x0, grid, rtol=recipe.rtol, atol=recipe.atol, failed="keep")
    aged = told.x[np.arange(len(x0)), 1 + which]
    lost = np.flatnonzero(~np.isfinite(aged).all(1))
    if len(lost) and recipe.failed == "raise":
        raise ValueError(_failure(system, told, lost, lost, "during the transient "))
    return aged, lengths[which]


def _solved(system: ChaoticSystem, recipe: Recipe, x0: np.ndarray, times: np.ndarray, ages: np.ndarray, rows: np.ndarray, when: str) -> np.ndarray:
    if not len(x0):
        return np.empty((0, len(times), system.dim))
    settings: dict[str, Any] = {"rtol": recipe.rtol, "atol": recipe.atol, "failed": "keep"}
    parts = [slice(None)] if system.name not in EXPLICIT_TIME else [slice(i, i + 1) for i in range(len(x0))]
    found = []
    for part in parts:
        told = solve(system.field, x0[part], times + (ages[part][0] if system.name in EXPLICIT_TIME else 0.0), **settings)
        if recipe.failed == "raise" and not told.complete:
            raise ValueError(_failure(system, told, np.flatnonzero(told.status), rows[part], when))
        found.append(told.x)
    return np.concatenate(found)


def _failure(system: ChaoticSystem, told: Solution, lost: np.ndarray, rows: np.ndarray, when: str) -> str:
    some = "; ".join(f"row {rows[k] if len(rows) == len(told.status) else rows[j]} at t = {told.reached[k]:.6g}: {REASONS[told.status[k]]}"
                     for j, k in enumerate(lost[:3]))
    return (f"{system.name}: {len(lost)} of {len(told.status)} trajectories could not be continued {when}({some}). Start elsewhere, change the "
            "tolerances, or pass failed='mask' to have them unobserved from there")


def _bounded(system: ChaoticSystem, x: np.ndarray) -> np.ndarray:
    from trajlab.sources.chaos_dysts import postprocessed

    return postprocessed(system.name, x, system.parameters)


def _noisy(clean: np.ndarray, recipe: Recipe) -> np.ndarray:
    x = clean.copy()
    for i, row in enumerate(x):
        seen = np.isfinite(row).all(1)
        if seen.any():
            row += recipe.noise * row[seen].std(0) * _rng(recipe.seed, i, NOISE).standard_normal(row.shape)
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
