"""A chaotic system with its table, its equation and its ensembles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from trajlab.catalog import unknown
from trajlab.dynamics.fields import VectorField
from trajlab.sources.chaos_names import kind_of
from trajlab.sources.chaos_recipe import Recipe
from trajlab.types import Trajectories

__all__ = ["ChaoticSystem", "by_name", "of_field"]


@dataclass(frozen=True, eq=False)
class ChaoticSystem:
    """A chaotic system.

    Attributes:
        name: of the system.
        kind: ``"ode"``, ``"delay"`` or ``"map"``.
        dim: number of components.
        parameters: by name, float64 arrays (of no dimension where the parameter is a number).
        start: ``[dim]``, the tabulated initial state, near the attractor.
        period: the dominant period, in the system's own unit of time; 1 for maps.
        dt: the step that the catalogue gives for fixed-step methods; None where it has none.
        dysts: the catalogue's own columns, as they are; its exponents and dimensions are estimates of very unequal quality.
        equation: the law: a `trajlab.dynamics.fields.VectorField`, `DelayField` or `Map`.
    """

    name: str
    kind: str
    dim: int
    parameters: Mapping[str, np.ndarray]
    start: np.ndarray
    period: float
    equation: Any
    dt: float | None = None
    dysts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def field(self) -> Any:
        """The law of the system, for the solvers of `trajlab.dynamics`."""
        return self.equation

    @cached_property
    def lyapunov(self) -> Any:
        """What trajlab's own table says of the exponents, or None where it has no such system or the parameters were changed."""
        from trajlab.sources.chaos_clock import tabulated

        return tabulated(self)

    @property
    def citation(self) -> str:
        return str(self.dysts.get("citation") or "")

    def trajectories(self, n: int = 1, points: int = 1200, per_period: float = 100.0, **settings: Any) -> Trajectories:
        """An ensemble: each trajectory is one scene with one node, the state of the system, ``x[node time dim]``, float64.

        Trajectories start from the tabulated state, each component multiplied by 1 + 1e-3 times a normal number, and then run for a transient of
        random length, so that they are spread over the attractor. Conservative systems have none: there each trajectory stays on the surface of
        its own start, a thousandth away from the others.

        Args:
            n, points, per_period, **settings: see `trajlab.sources.chaos_recipe.Recipe`.

        Returns:
            Trajectories with ``extra["clean"]`` where noise was added, and ``source`` with all that is needed to make them again.

        Raises:
            ValueError: a setting is unknown or out of range; there is no exponent for ``clock="lyapunov"``; or (``failed="raise"``) a trajectory
                cannot be continued.
        """
        from trajlab.sources.chaos_ensemble import ensemble

        return ensemble(self, Recipe.of(n=n, points=points, per_period=per_period, **settings))

    def __repr__(self) -> str:
        return f"ChaoticSystem({self.name}, {self.kind}, {self.dim}-d, period {self.period:.4g})"


def by_name(name: str, start: Any = None, **changed: Any) -> ChaoticSystem:
    """The system of this name, some parameters changed.

    Raises:
        ValueError: no such system or parameter (with the nearest), or a value of another shape.
    """
    from trajlab.sources import chaos_dysts

    kind = kind_of(name)
    record, arrays = chaos_dysts.record(name, kind), _changed(name, chaos_dysts.parameters(name, kind), changed)
    x0 = np.asarray(record["initial_conditions"], dtype=np.float64)[: 1 if kind == "delay" else None]
    x0 = x0 if start is None else _shaped(name, start, len(x0))
    period = float(record.get("period", 1.0))
    return ChaoticSystem(name, kind, len(x0), arrays, x0, period, _equation(name, kind, arrays, record), record.get("dt"), record)


def _equation(name: str, kind: str, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> Any:
    from trajlab.sources import chaos_dysts

    dim = len(record["initial_conditions"])
    if kind != "ode":
        from trajlab.sources import chaos_discrete

        return chaos_discrete.map_of(name, arrays, dim) if kind == "map" else chaos_discrete.delay_field(name, arrays, record["period"])
    flat = np.concatenate([v.reshape(-1) for v in arrays.values()]) if arrays else np.zeros(0)
    names = tuple(k if not v.ndim else f"{k}[{i}]" for k, v in arrays.items() for i in range(v.size))
    return SystemField(chaos_dysts.rates(name, arrays, dim), dim, flat, names, name, None, record["period"], record=record)


@dataclass(frozen=True, eq=False)
class SystemField(VectorField):
    """A vector field that knows where its attractor is, so that its derivatives are checked there."""

    record: Mapping[str, Any] = field(default_factory=dict)

    def probe(self) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(0)
        near = np.asarray(self.record["initial_conditions"]) * (1.0 + 0.05 * random.uniform(-1, 1, (4, self.dim)))
        far = np.asarray(self.record["mean"]) + np.asarray(self.record["std"]) * random.normal(size=(12, self.dim))
        return np.concatenate([near, far]), self.p

    @cached_property
    def on_tensors(self) -> VectorField:
        """The same law with torch's functions."""
        from trajlab.sources.chaos_tensors import on_tensors

        return VectorField(on_tensors(self.function), self.dim, self.p, self.names, self.name)

    def __call__(self, t: float, x: Any) -> Any:
        return super().__call__(t, x) if isinstance(x, np.ndarray) else self.on_tensors(t, x)


def of_field(equation: VectorField, start: Any = None, **given: Any) -> ChaoticSystem:
    """A system from one's own vector field.

    Raises:
        ValueError: no start, or one of another shape; or parameters were given, which belong into the field.
    """
    if given:
        raise ValueError(f"{equation.name}: {', '.join(given)} given beside a vector field; put parameters into the field")
    if start is None:
        raise ValueError(f"{equation.name}: a vector field of your own has no tabulated start; pass start=[{equation.dim} numbers]")
    parameters = {k: np.asarray(v) for k, v in zip(equation.names, equation.p)}
    x0 = _shaped(equation.name, start, equation.dim)
    return ChaoticSystem(equation.name, "ode", equation.dim, parameters, x0, float(equation.period or 1.0), equation)


def _shaped(name: str, start: Any, dim: int) -> np.ndarray:
    x0 = np.asarray(start, dtype=np.float64)
    if x0.shape != (dim,) or not np.isfinite(x0).all():
        raise ValueError(f"{name}: start={start!r}; {dim} finite numbers were wanted")
    return x0


def _changed(name: str, arrays: dict[str, np.ndarray], changed: Mapping[str, Any]) -> dict[str, np.ndarray]:
    for key, value in changed.items():
        if key not in arrays:
            raise ValueError(unknown(f"parameter of {name}", key, arrays))
        new = np.asarray(value, dtype=np.float64)
        if new.shape != arrays[key].shape or not np.isfinite(new).all():
            raise ValueError(f"{name}: {key}={value!r}; finite numbers of shape {arrays[key].shape} were wanted, such as {arrays[key].tolist()}")
        arrays[key] = new
    return arrays
