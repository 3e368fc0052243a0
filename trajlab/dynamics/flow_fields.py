"""Flows: velocity fields whose value and gradient come from one compiled function, with the box they live in.

Most of the time of a tangent-linear flow map goes into the sines and cosines of the velocity, which its gradient needs too; so a flow may give both
together. Where it does not, the gradient comes from the exact derivatives of `VectorField`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.dynamics import compiled
from trajlab.dynamics.fields import VectorField

__all__ = ["Flow", "joint"]


@dataclass(frozen=True, eq=False, repr=False)
class Flow(VectorField):
    """A velocity field u(t, x).

    Attributes:
        both: ``f(t, x, p) -> (u_1, ..., u_n, du_1/dx_1, du_1/dx_2, ..., du_n/dx_n)``, value and gradient (row by row) in one; optional.
        laplacian: ``f(t, x, p) -> rates``, the Laplacian of u, the viscous force over the kinematic viscosity;
            optional (see `trajlab.dynamics.active_barriers`).
        curl_laplacian: ``f(t, x, p) -> rates``, the Laplacian of the vorticity of a flow in 3-D; optional.
        box: ``(lowest, highest)`` of each axis, where the flow is looked at.
        periods: length after which an axis repeats itself, or None, for each axis; empty where none does.
        span: first and last time at which the flow is known.
        duration: over which it is usually followed.
    """

    both: Callable[..., Any] | None = None
    laplacian: Callable[..., Any] | None = None
    curl_laplacian: Callable[..., Any] | None = None
    box: tuple[tuple[float, float], ...] = ()
    periods: tuple[float | None, ...] = ()
    span: tuple[float, float] = (-np.inf, np.inf)
    duration: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, given in (("box", self.box), ("periods", self.periods)):
            if given and len(given) != self.dim:
                raise ValueError(f"{self.name}: {what} for {len(given)} axes, but the flow has {self.dim}")

    @cached_property
    def joint(self) -> Any:
        """Compiled velocity and gradient, of type `trajlab.dynamics.flow_kernels.JOINT`."""
        return _joint(self) if self.both is None else _given(self.both, self.dim)

    def __call__(self, t: float, x: Any) -> Any:
        """Velocities ``[dim]`` or ``[batch dim]`` at places of that shape."""
        if self.both is None:
            return super().__call__(t, x)
        values = getattr(self.both, "py_func", self.both)(t, x.T if x.ndim == 2 else x, self.p)
        return compiled.stacked(values[: self.dim], x)

    def axes(self, points: int) -> tuple[Float[np.ndarray, " point"], ...]:
        """Axes of a grid over the box with about equal spacing, ``points`` along the first; the end of a periodic axis is left out.

        Raises:
            ValueError: the flow has no box, or fewer than 4 points were asked for.
        """
        if not self.box:
            raise ValueError(f"{self.name} has no box; pass the axes of the grid as a tuple of arrays")
        if points < 4:
            raise ValueError(f"{points} points along the first axis; at least 4 were wanted")
        periods = self.periods or (None,) * self.dim
        cells = points if periods[0] else points - 1
        spacing = (self.box[0][1] - self.box[0][0]) / cells
        found = []
        for (low, high), period in zip(self.box, periods):
            count = max(4, round((high - low) / spacing))
            found.append(np.linspace(low, high, count, endpoint=False) if period else np.linspace(low, high, count + 1))
        return tuple(found)


def joint(field: VectorField) -> Any:
    """Compiled velocity and gradient of any vector field.

    Raises:
        ValueError: there is no compiler, or it refuses the function.
    """
    try:
        return field.joint if isinstance(field, Flow) else _joint(field)
    except compiled.Refused as why:
        raise ValueError(f"{field.name}: flow maps need a compiled velocity field, and numba does not compile this one ({why}). Write it with "
                         "arithmetic and functions of math on single components, and leave TRAJLAB_NO_COMPILER unset") from why


def _given(both: Callable[..., Any], dim: int) -> Any:
    import numba as nb

    from trajlab.dynamics.flow_kernels import JOINT

    inner = both if hasattr(both, "py_func") else nb.njit(both)

    @nb.njit(JOINT, nogil=True)
    def given(t, x, p, u, g):  # type: ignore[no-untyped-def]
        values = inner(t, x, p)
        for i in range(dim):
            u[i] = values[i]
        for i in range(dim):
            for j in range(dim):
                g[i, j] = values[dim + i * dim + j]

    return given


def _joint(field: VectorField) -> Any:
    """From the compiled right-hand side and its derivatives along the axes."""
    import numba as nb

    from trajlab.dynamics.flow_kernels import JOINT

    if field.rhs is None:
        raise compiled.Refused("no compiled right-hand side")
    rates, along, dim = field.rhs, field.tangent, field.dim

    @nb.njit(JOINT, nogil=True)
    def joined(t, x, p, u, g):  # type: ignore[no-untyped-def]
        rates(t, x, p, u)
        along(t, x, np.eye(dim), p, g)  # row k holds the derivatives along axis k
        for i in range(dim):
            for j in range(i):
                g[i, j], g[j, i] = g[j, i], g[i, j]

    return joined
