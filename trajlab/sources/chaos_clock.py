"""The unit of time in which a chaotic system is sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trajlab.sources.chaos_recipe import Recipe
from trajlab.sources.lyapunov_table import LyapunovRecord
from trajlab.sources.lyapunov_table import tabulated as _tabulated

if TYPE_CHECKING:
    from trajlab.sources.chaos_system import ChaoticSystem

__all__ = ["tabulated", "unit"]


def tabulated(system: ChaoticSystem) -> LyapunovRecord | None:
    """The record of a catalogued system in trajlab's table of Lyapunov exponents; None where there is none, or parameters were changed."""
    if not system.dysts or altered(system):
        return None
    try:
        return _tabulated(system.name)
    except (ValueError, FileNotFoundError):
        return None


def altered(system: ChaoticSystem) -> list[str]:
    """Parameters that are not the tabulated ones."""
    table = system.dysts["parameters"]
    return [k for k, v in system.parameters.items() if not np.array_equal(np.asarray(table[k], dtype=float), v)]


def unit(system: ChaoticSystem, recipe: Recipe) -> float:
    """The period, or 1 / largest Lyapunov exponent of trajlab's own table.

    Raises:
        ValueError: ``clock="lyapunov"`` where there is no exponent or the tabulated orbit is not chaotic, and for maps, whose clock are their steps.
    """
    if recipe.clock == "period":
        return system.period
    if system.kind == "map":
        raise ValueError(f"{system.name} is a map: its clock are its steps; leave clock='period', under which each point is one step")
    found = system.lyapunov
    if found is None:
        why = f"with {', '.join(altered(system))} changed" if system.dysts and altered(system) else "in data/lyapunov.json"
        raise ValueError(f"{system.name}: there is no Lyapunov exponent {why}; compute one by trajlab.dynamics.lyapunov and pass "
                         "per_period = points * exponent * period, or use clock='period'")
    if not found.chaotic:
        raise ValueError(f"{system.name}: the tabulated orbit is not chaotic (largest exponent {found.largest:.3g}), so there is no Lyapunov "
                         "time; use clock='period'")
    return found.lyapunov_time
