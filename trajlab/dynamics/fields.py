"""Vector fields: dx/dt = f(t, x; p) written once, and used compiled, vectorised over a batch, and with exact tangents.

``function(t, x, p)`` gets the components ``x[i]`` and the parameters ``p[i]`` and returns as many rates. Written so, the same lines serve numba (x is
a vector), numpy and torch (x[i] is a batch of values) and complex numbers, from which `VectorField.tangent` has its derivatives.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from trajlab.dynamics import compiled

__all__ = ["VectorField"]


@dataclass(frozen=True, eq=False)
class VectorField:
    """An ordinary differential equation.

    Attributes:
        function: ``f(t, x, p) -> rates``: ``x[i]`` are the ``dim`` components, ``p`` the flat parameters; returns a tuple, list or array of ``dim``
            rates. It may use arithmetic, `math` or `numpy` functions of single components, and other numba functions.
        dim: number of components.
        p: parameters, ``[parameter]`` float64.
        names: of the parameters, for messages.
        name: of the system.
        derivative: ``g(t, x, v, p) -> J(t, x) v``, the derivative along a vector, where it is known in closed form. By default it comes from one
            evaluation of ``function`` with x + i h v, h = 1e-20, whose imaginary part over h is exact to rounding (Squire & Trapp 1998), or from
            central differences where ``function`` does not take complex numbers.
        period: a time scale of the system, for step sizes and reports; None where there is none.

    Raises:
        ValueError: no function, or a dimension below 1.
    """

    function: Callable[..., Any]
    dim: int
    p: np.ndarray = field(default_factory=lambda: np.zeros(0))
    names: tuple[str, ...] = ()
    name: str = "vector field"
    derivative: Callable[..., Any] | None = None
    period: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(f"{self.name}: the right-hand side must be a function f(t, x, p), got {type(self.function).__name__}")
        if self.dim < 1:
            raise ValueError(f"{self.name}: dimension {self.dim}; at least 1 was wanted")
        object.__setattr__(self, "p", np.ascontiguousarray(self.p, dtype=np.float64).reshape(-1))

    @classmethod
    def of(cls, function: Callable[..., Any], dim: int, *, name: str | None = None, **parameters: float | Sequence[float]) -> VectorField:
        """From a function and named parameters, which are laid out flat in the order given."""
        values = [np.asarray(v, dtype=np.float64).reshape(-1) for v in parameters.values()]
        names = tuple(k if len(v) == 1 else f"{k}[{i}]" for k, v in zip(parameters, values) for i in range(len(v)))
        return cls(function, dim, np.concatenate(values) if values else np.zeros(0), names, name or getattr(function, "__name__", "vector field"))

    @cached_property
    def rhs(self) -> Any:
        """Compiled right-hand side of type `trajlab.dynamics.dop853.RHS`, or None where there is no compiler or it refuses the function."""
        try:
            return compiled.rhs(self.function, self.dim)
        except compiled.Refused as why:
            warnings.warn(f"{self.name}: numba does not compile the right-hand side and the slower vectorised solver is used ({why})", stacklevel=2)
            return None

    @cached_property
    def tangent(self) -> Any:
        """Compiled directional derivatives of type `trajlab.dynamics.dop853.TANGENT`: exact where possible (see ``derivative``)."""
        return compiled.tangent(self.function, self.dim, self.derivative, self.probe())

    @cached_property
    def exact(self) -> bool:
        """Whether `tangent` is exact to rounding rather than by central differences."""
        return compiled.is_exact(self.tangent)

    def probe(self) -> tuple[np.ndarray, np.ndarray]:
        """A few states, ``[probe dim]``, and the parameters, at which derivatives are checked against differences."""
        states = np.random.default_rng(0).normal(size=(4, self.dim)) * np.array([[0.3], [1.0], [3.0], [1.0]])
        return states, self.p

    def __call__(self, t: float, x: Any) -> Any:
        """Rates ``[dim]`` or ``[batch dim]`` at states of that shape, numpy or torch, on whatever device."""
        columns = x.T if x.ndim == 2 else x
        function = getattr(self.function, "py_func", self.function)
        rates = function(t, columns, self.p)
        if isinstance(rates, np.ndarray):
            return rates.T if x.ndim == 2 else rates
        return compiled.stacked(rates, x)

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v:g}" for k, v in zip(self.names, self.p)) if len(self.names) == len(self.p) <= 8 else f"{len(self.p)} parameters"
        return f"VectorField({self.name}, {self.dim}-d{', ' + given if given else ''})"


def arity(function: Callable[..., Any]) -> int:
    """Number of arguments of a function, compiled or not."""
    return len(inspect.signature(getattr(function, "py_func", function)).parameters)
