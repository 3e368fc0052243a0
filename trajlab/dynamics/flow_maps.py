"""Flow maps F(x0; t0, t) with their gradients: where particles go, and how the neighbourhood of each is stretched on the way.

The gradient solves the equation of variations DF' = grad u(F, t) DF, DF(t0) = 1, beside the trajectory; for an incompressible flow det DF = 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.catalog import unknown
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.flow_fields import Flow, joint

__all__ = ["METHODS", "FlowMap", "enough_steps", "flow_map", "points_of", "span_of"]

METHODS = ("rk4", "dop853")
PILOTS = 100  #: particles on which the number of steps is found
LEAST, MOST = 16, 8192  #: steps that are tried
CHUNK = 2048  #: particles that a thread takes at once


@dataclass(frozen=True, eq=False)
class FlowMap:
    """Particles at two times. ``...`` is the shape of the starts, such as ``nx ny`` for a grid.

    Attributes:
        start, end: ``[... dim]``; the end is NaN for a particle that left the data.
        gradient: ``[... dim dim]``, DF[i, j] = dF_i/dx0_j.
        vorticity: ``[...]``, average of v_x - u_y along the trajectory (2-D; NaN else).
        t0, duration: of the motion; the duration is negative for a backward map.
        steps: of the method (0 with error control).
        axes: of the grid of starts; empty where they are no grid.
    """

    start: Float[np.ndarray, "... dim"]
    end: Float[np.ndarray, "... dim"]
    gradient: Float[np.ndarray, "... dim dim"]
    vorticity: Float[np.ndarray, "..."]
    t0: float
    duration: float
    steps: int = 0
    axes: tuple[Any, ...] = field(default=())

    @property
    def inside(self) -> np.ndarray:
        """``[...]``, True for particles that stayed within the data."""
        return np.isfinite(self.end).all(-1)

    @property
    def lost(self) -> float:
        """Share of the particles that left the data."""
        return float(1.0 - self.inside.mean())

    @property
    def volume(self) -> np.ndarray:
        """``[...]``, det DF: 1 throughout for an incompressible flow."""
        return np.asarray(np.linalg.det(self.gradient))


def flow_map(flow: VectorField, starts: Any, t0: float = 0.0, duration: float | None = None, *, steps: int | None = None, method: str = "rk4",
             rtol: float = 1e-10, workers: int | None = None) -> FlowMap:
    """Carry particles, and the gradient of the flow map with them, from t0 to t0 + duration.

    Args:
        flow: any vector field; a `Flow` gives velocity and gradient at once, a `SampledVelocity.flow` has them from data.
        starts: ``[... dim]``, or a tuple of axes that span a grid (then ``...`` is the shape of the grid, first axis first).
        duration: negative for the backward map; by default that of the flow.
        steps: of the classical Runge-Kutta method; by default as many as `enough_steps` finds.
        method: ``"rk4"``, or ``"dop853"`` with the gradient in the error norm, the slower reference.
        rtol: relative and absolute tolerance of dop853.
        workers: threads; by default as many as there are processors, where there is enough to do.

    Raises:
        ValueError: starts of another dimension or not finite, no duration or one of 0, times outside the data, an unknown method, steps below 1.
    """
    axes, points = points_of(flow, starts)
    duration = span_of(flow, t0, duration)
    if method not in METHODS:
        raise ValueError(unknown("method", method, METHODS))
    if steps is not None and steps < 1:
        raise ValueError(f"{steps} steps; at least 1 was wanted")
    flat = np.ascontiguousarray(points.reshape(-1, flow.dim))
    if method == "dop853":
        end, gradient, vorticity, steps = *_reference(flow, flat, t0, duration, rtol, workers), 0
    else:
        steps = steps or enough_steps(flow, flat, t0, duration)
        end, gradient, vorticity = carried(flow, flat, t0, duration, steps, workers)
    shape, dim = points.shape[:-1], flow.dim
    return FlowMap(points, end.reshape(points.shape), gradient.reshape(*shape, dim, dim), vorticity.reshape(shape), t0, duration, steps, axes)


def carried(flow: VectorField, starts: np.ndarray, t0: float, duration: float, steps: int, workers: int | None = None) -> tuple[np.ndarray, ...]:
    """End ``[particle dim]``, gradient ``[particle dim dim]`` and averaged vorticity ``[particle]`` by the classical Runge-Kutta method."""
    from trajlab.dynamics.flow_kernels import carry_driver

    count, dim = starts.shape
    velocity, driver = joint(flow), carry_driver(dim)
    end, gradient, vorticity = np.empty((count, dim)), np.empty((count, dim, dim)), np.empty(count)

    def some(first: int, last: int) -> None:
        driver(velocity, starts, t0, duration, steps, flow.p, first, last, end, gradient, vorticity)

    shared(some, count, count * steps, workers)
    return end, gradient, vorticity


def enough_steps(flow: VectorField, starts: np.ndarray, t0: float, duration: float, tolerance: float = 1e-3) -> int:
    """A number of steps for which ln |DF| of most of a few particles is within ``tolerance`` of what twice as many give.

    Steps are doubled until 95 % of the pilots change by less than 16 times the tolerance: the error of the finer result is 1/15 of the change.
    """
    pilots = np.ascontiguousarray(starts[np.linspace(0, len(starts) - 1, min(PILOTS, len(starts))).astype(int)])
    steps, before = LEAST, None
    while True:
        size = np.log(np.linalg.norm(carried(flow, pilots, t0, duration, steps, 1)[1], axis=(-2, -1)))
        if before is not None:
            change = np.abs(size - before)
            change = change[np.isfinite(change)]
            if steps >= MOST or not len(change) or np.quantile(change, 0.95) < 16.0 * tolerance:
                return steps
        steps, before = 2 * steps, size


def _reference(flow: VectorField, starts: np.ndarray, t0: float, duration: float, rtol: float, workers: int | None) -> tuple[np.ndarray, ...]:
    from trajlab.dynamics.dop853 import row_driver
    from trajlab.dynamics.flow_kernels import augmented
    from trajlab.dynamics.ode import MOST as most

    count, dim = starts.shape
    rates, row, times = augmented(joint(flow), dim), row_driver(), np.array([t0, t0 + duration])
    first = np.concatenate([starts, np.tile(np.eye(dim).ravel(), (count, 1)), np.zeros((count, 1))], 1)
    out = np.full((count, 2, first.shape[1]), np.nan)

    def some(low: int, high: int) -> None:
        for i in range(low, high):
            if row(rates, first[i], times, flow.p, rtol, rtol, most, out[i])[0]:
                out[i] = np.nan

    shared(some, count, 100 * count, workers)
    last = out[:, 1]
    return last[:, :dim].copy(), last[:, dim:-1].reshape(count, dim, dim).copy(), last[:, -1] / duration if dim == 2 else np.full(count, np.nan)


def shared(work: Callable[[int, int], Any], count: int, effort: int, workers: int | None) -> None:
    """Call ``work(first, last)`` for all of ``count`` rows, by threads where the effort is worth it; rows do not depend on how they are dealt out."""
    threads = min(workers or os.cpu_count() or 1, -(-count // CHUNK))
    if threads <= 1 or effort < 100_000:
        work(0, count)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda first: work(first, min(first + CHUNK, count)), range(0, count, CHUNK)))


def points_of(flow: VectorField, starts: Any) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """The axes, where starts are a tuple of them, and the points ``[... dim]``.

    Raises:
        ValueError: another dimension than that of the flow, or points that are not finite.
    """
    axes: tuple[np.ndarray, ...] = ()
    if isinstance(starts, tuple):
        axes = tuple(np.asarray(a, dtype=np.float64) for a in starts)
        if len(axes) != flow.dim or any(a.ndim != 1 for a in axes):
            raise ValueError(f"{flow.name}: axes of shapes {[a.shape for a in axes]}; a tuple of {flow.dim} one-dimensional arrays was wanted")
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    else:
        points = np.asarray(starts, dtype=np.float64)
    if points.ndim < 1 or points.shape[-1] != flow.dim or not points.size:
        raise ValueError(f"{flow.name}: starts of shape {points.shape}; [... {flow.dim}] was wanted, or a tuple of {flow.dim} axes")
    if not np.isfinite(points).all():
        raise ValueError(f"{flow.name}: {int((~np.isfinite(points).all(-1)).sum())} of the starts are not finite")
    return axes, points


def span_of(flow: VectorField, t0: float, duration: float | None) -> float:
    """The duration, checked."""
    duration = getattr(flow, "duration", None) if duration is None else duration
    if duration is None:
        raise ValueError(f"{flow.name} has no usual duration; pass duration= (negative for the backward map)")
    if not np.isfinite(duration) or duration == 0 or not np.isfinite(t0):
        raise ValueError(f"t0 = {t0:g} and duration {duration:g}; finite times and a duration other than 0 were wanted")
    first, last = flow.span if isinstance(flow, Flow) else (-np.inf, np.inf)
    slack = 1e-9 * abs(duration)
    if min(t0, t0 + duration) < first - slack or max(t0, t0 + duration) > last + slack:
        raise ValueError(f"{flow.name} is known from t = {first:g} to {last:g}, but t0 = {t0:g} and duration = {duration:g} lead from {t0:g} to "
                         f"{t0 + duration:g}; nothing is extrapolated")
    return float(duration)


def even_axes(axes: Sequence[np.ndarray], what: str) -> tuple[float, ...]:
    """Spacings of axes that must be even.

    Raises:
        ValueError: an axis is too short or not evenly spaced.
    """
    spacings = []
    for i, a in enumerate(axes):
        step = np.diff(a)
        if len(a) < 2 or not (step > 0).all() or not np.allclose(step, step.mean(), rtol=1e-6, atol=1e-9 * abs(a).max()):
            raise ValueError(f"{what}: axis {i} with {len(a)} points is not rising in even steps; numpy.linspace makes such axes")
        spacings.append(float((a[-1] - a[0]) / (len(a) - 1)))
    return tuple(spacings)
