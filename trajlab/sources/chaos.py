"""Chaotic systems by name: ``chaos("Lorenz").trajectories(n=240, points=1200, per_period=100, noise=0.01)``.

The catalogue is that of dysts (Gilpin 2021): 129 ordinary differential equations, 6 delay equations and 23 maps with their parameters, starts and
periods. They are integrated here, compiled, with error control for each trajectory. The module itself can be called like the function in it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from trajlab.dynamics.fields import VectorField
from trajlab.sources.chaos_names import kind_of, names
from trajlab.sources.chaos_recipe import Recipe
from trajlab.sources.chaos_system import ChaoticSystem, by_name, of_field

__all__ = ["ChaoticSystem", "Recipe", "chaos", "kind_of", "names"]


def chaos(system: str | VectorField, start: Any = None, **parameters: Any) -> ChaoticSystem:
    """A chaotic system.

    Args:
        system: a name of `names`, or a vector field of your own.
        start: ``[dim]``, instead of the tabulated start; needed with a vector field.
        **parameters: values instead of the tabulated ones.

    Raises:
        ValueError: no such system or parameter (with the nearest names), or a value of a wrong shape.
        TypeError: neither a name nor a vector field.
    """
    if isinstance(system, VectorField):
        return of_field(system, start, **parameters)
    if not isinstance(system, str):
        raise TypeError(f"chaos() got a {type(system).__name__}; the name of a system or a trajlab.dynamics.fields.VectorField was wanted")
    return by_name(system, start, **parameters)


class _Callable(ModuleType):
    """So that both ``trajlab.sources.chaos("Lorenz")`` and ``from trajlab.sources.chaos import chaos`` work."""

    def __call__(self, system: str | VectorField, start: Any = None, **parameters: Any) -> ChaoticSystem:
        return chaos(system, start, **parameters)


sys.modules[__name__].__class__ = _Callable
