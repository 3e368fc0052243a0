"""The unit of time in which a chaotic system is sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trajlab.sources.chaos_system import ChaoticSystem

__all__ = ["tabulated", "unit"]


def tabulated(system: ChaoticSystem) -> Any:
    """The record of a catalogued system in trajlab's table of Lyapunov exponents, or None."""
    if not system.dysts or _altered(system):
        return None
    from trajlab.sources import lyapunov_table

    try:
        return lyapunov_table.tabulated(system.name)
    except ValueError:
        return None


def _altered(system: ChaoticSystem) -> bool:
    import numpy as np

    table = system.dysts["parameters"]
    return any(not np.array_equal(np.asarray(table[k], dtype=float), v) for k, v in system.parameters.items())


def unit(system: ChaoticSystem, clock: str) -> float:
    """The period, or 1 / largest Lyapunov exponent of trajlab's own table.

    Raises:
        ValueError: ``clock="lyapunov"`` where there is no exponent or it is not positive beyond its error.
    """
    if clock == "period":
        return system.period
    raise ValueError(f"{system.name}: no table of Lyapunov exponents")
