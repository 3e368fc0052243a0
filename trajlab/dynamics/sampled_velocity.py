"""Velocity data on a grid in space and time as a flow: cubic B-splines whose own gradient is used, and nothing is extrapolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from trajlab.dynamics.flow_fields import Flow
from trajlab.dynamics.flow_maps import even_axes

__all__ = ["SampledVelocity", "coefficients"]

SEAM = 10.0  #: an axis does not close if the fourth difference over its seam exceeds this many times the largest one inside
SAME = 1e-5  #: difference of the two ends, over the largest value, that passes for rounding


@dataclass(frozen=True, eq=False, repr=False)
class SampledVelocity(Flow):
    """A flow from data on a grid; made by `on_grid` from velocities, or by `stream` from a stream function.

    Between the grid points it is the cubic spline through the data (not-a-knot at the ends of axes and of time, periodic along axes that repeat).
    Particles that leave the data become NaN.
    """

    kind: str = "velocity"

    @classmethod
    def on_grid(cls, velocity: Any, axes: Sequence[Any], times: Any = None, periodic: Sequence[bool | float] | bool = False,
                name: str = "sampled velocity") -> Self:
        """A flow from velocities.

        Args:
            velocity: ``[time x y 2]`` or ``[time x y z 3]``; without the time axis for a steady flow.
            axes: places ``[point]`` along each axis, rising in even steps.
            times: ``[time]``, rising in even steps, at least 4; None for a steady flow.
            periodic: for each axis (or all): False; True where the last point is the first one again, a period later; or the period, where the
                grid stops one step short of it.

        Raises:
            ValueError: shapes disagree, values are not finite, axes are uneven or too short, or the data do not repeat where they should.
        """
        values = np.asarray(velocity, dtype=np.float64)
        dim = len(axes)
        if dim not in (2, 3) or values.ndim != dim + 1 + (times is not None) or values.shape[-1] != dim:
            raise ValueError(f"{name}: velocity of shape {values.shape} with {dim} axes and {'times' if times is not None else 'no times'}; "
                             "[time x y 2] or [time x y z 3] was wanted (no time axis where there are no times)")
        return cls._of(np.moveaxis(values if times is not None else values[None], -1, 0), axes, times, periodic, name, "velocity")

    @classmethod
    def stream(cls, psi: Any, axes: Sequence[Any], times: Any = None, periodic: Sequence[bool | float] | bool = False,
               name: str = "sampled stream function") -> Self:
        """The flow u = (-psi_y, psi_x) of a stream function in the plane; it is free of divergence everywhere.

        Args:
            psi: ``[time x y]``, or ``[x y]`` without times; the rest is as for `on_grid`.

        Raises:
            ValueError: as for `on_grid`.
        """
        values = np.asarray(psi, dtype=np.float64)
        if len(axes) != 2 or values.ndim != 2 + (times is not None):
            raise ValueError(f"{name}: stream function of shape {values.shape} with {len(axes)} axes; [time x y] was wanted, or [x y] without times")
        return cls._of(values[None] if times is not None else values[None, None], axes, times, periodic, name, "stream")

    @classmethod
    def _of(cls, values: np.ndarray, axes: Sequence[Any], times: Any, periodic: Any, name: str, kind: str) -> Self:
        """From values ``[component time axis ...]``."""
        dim, places = len(axes), [np.asarray(a, dtype=np.float64) for a in axes]
        clock = np.zeros(1) if times is None else np.asarray(times, dtype=np.float64)
        wanted = (len(clock), *(len(a) for a in places))
        if values.shape[1:] != wanted or any(a.ndim != 1 for a in [clock, *places]):
            raise ValueError(f"{name}: data of shape {values.shape[1:]}, but times and axes have {wanted} points")
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: {int((~np.isfinite(values)).sum())} of {values.size} values are not finite; fill the gaps (land, masked "
                             "vectors) by a method of your choice before")
        closed = [periodic] * dim if isinstance(periodic, bool | float | int) else list(periodic)
        if len(closed) != dim:
            raise ValueError(f"{name}: periodic={periodic!r} for {dim} axes; one entry for each was wanted")
        steps = even_axes(places, name)
        head, periods, box = [float(len(clock)), float(clock[0]), 1.0], [], []
        for i, (axis, step, how) in enumerate(zip(places, steps, closed)):
            values, period = _closed(values, i + 2, axis, step, how, f"{name}: axis {i}")
            cells = values.shape[i + 2] - (period is None)
            head += [float(cells), float(axis[0]), step, float(period is not None)]
            values = coefficients(values, i + 2, period is not None)
            periods.append(period)
            box.append((float(axis[0]), float(axis[0] + cells * step)))
        span = (-np.inf, np.inf)
        if times is not None:
            head[2] = even_axes([clock], f"{name}: times")[0]
            values, span = coefficients(values, 1, False), (float(clock[0]), float(clock[-1]))
            head[0] = float(values.shape[1])
        return cls(_python, dim, np.concatenate([head, values.ravel()]), (), name, box=tuple(box), periods=tuple(periods), span=span, kind=kind)

    @cached_property
    def joint(self) -> Any:
        from trajlab.dynamics import sampled_velocity_kernels as kernels

        return kernels.stream_2 if self.kind == "stream" else {2: kernels.sampled_2, 3: kernels.sampled_3}[self.dim]

    @cached_property
    def rhs(self) -> Any:
        from trajlab.dynamics.sampled_velocity_kernels import rates_of

        return rates_of(self.joint, self.dim)

    @cached_property
    def tangent(self) -> Any:
        from trajlab.dynamics.sampled_velocity_kernels import tangent_of

        return tangent_of(self.joint, self.dim)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return True

    def __call__(self, t: float, x: Any) -> Any:
        return self.with_gradient(t, x)[0]

    def with_gradient(self, t: float, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Velocity ``[... dim]`` and its gradient ``[... dim dim]`` at places ``[... dim]``; NaN outside of the data."""
        points = np.ascontiguousarray(x, dtype=np.float64).reshape(-1, self.dim)
        u, g = np.empty_like(points), np.empty((len(points), self.dim, self.dim))
        for point, rates, gradient in zip(points, u, g):
            self.joint(float(t), point, self.p, rates, gradient)
        return u.reshape(np.shape(x)), g.reshape(*np.shape(x), self.dim)


def _python(t: float, x: Any, p: np.ndarray) -> Any:
    raise NotImplementedError("sampled velocities are compiled; without a compiler there is no such flow")


def coefficients(values: np.ndarray, axis: int, periodic: bool) -> np.ndarray:
    """Coefficients of the cubic spline through values along an axis: n + 3 for n cells, the first three again at the end where it is periodic.

    Raises:
        ValueError: fewer than 4 points.
    """
    v = np.moveaxis(values, axis, 0)
    n = len(v)
    if n < 4:
        raise ValueError(f"{n} points along an axis of the data; a cubic spline needs at least 4")
    if periodic:
        symbol = (2.0 + np.cos(2.0 * np.pi * np.fft.rfftfreq(n))) / 3.0
        c = np.fft.irfft(np.fft.rfft(v, axis=0) / symbol.reshape(-1, *[1] * (v.ndim - 1)), n, axis=0)
        c = c[np.arange(-1, n + 2) % n]
    else:
        # c = y + first h + last h[::-1], h the response to an end; not-a-knot, that is no fourth difference at either end, gives first and last.
        y, h = _tridiagonal(6.0 * v), _tridiagonal(-np.eye(n, 1))[:, 0]
        knot = np.array([-4.0, 6.0, -4.0, 1.0])
        near, far = 1.0 + knot @ h[:4], knot @ h[::-1][:4]
        start, stop = np.tensordot(knot, y[:4], 1), np.tensordot(knot, y[::-1][:4], 1)
        det = near * near - far * far
        first, last = (far * stop - near * start) / det, (far * start - near * stop) / det
        c = np.empty((n + 2, *v.shape[1:]))
        c[0], c[-1] = first, last
        for i in range(n):
            c[i + 1] = y[i] + h[i] * first + h[n - 1 - i] * last
    return np.moveaxis(c, 0, axis)


def _tridiagonal(b: np.ndarray) -> np.ndarray:
    """Solve c[i - 1] + 4 c[i] + c[i + 1] = b[i], with nothing beyond the ends, along the first axis."""
    c, pivot = np.array(b, order="C"), np.empty(len(b))
    pivot[0] = 4.0
    for i in range(1, len(b)):
        pivot[i] = 4.0 - 1.0 / pivot[i - 1]
        c[i] -= c[i - 1] / pivot[i - 1]
    c[-1] /= pivot[-1]
    for i in range(len(b) - 2, -1, -1):
        c[i] = (c[i] - c[i + 1]) / pivot[i]
    return c


def _closed(values: np.ndarray, at: int, axis: np.ndarray, step: float, how: bool | float, what: str) -> tuple[np.ndarray, float | None]:
    """The values without a repeated end, and the period; refuses data that do not repeat."""
    if how is False:
        return values, None
    size = max(float(np.abs(values).max()), 1e-300)
    advice = "pass periodic=False for this axis, or cut the data to one period"
    if how is True:
        gap = float(np.abs(np.take(values, -1, at) - np.take(values, 0, at)).max())
        if gap > SAME * size:
            raise ValueError(f"{what} is not periodic: the data at its ends, {axis[0]:g} and {axis[-1]:g}, differ by up to {gap:.3g} (largest "
                             f"value: {size:.3g}). If the grid stops one step before the end of the period, pass the period; else {advice}")
        return np.delete(values, -1, at), float(axis[-1] - axis[0])
    period = float(how)
    if not np.isclose(period, len(axis) * step, rtol=1e-6):
        raise ValueError(f"{what}: period {period:g}, but {len(axis)} points {step:g} apart repeat after {len(axis) * step:g}; the grid must stop "
                         "one step before the end of the period")
    v = np.moveaxis(values, at, 0)
    fourth = np.abs(np.diff(np.concatenate([v, v[:4]]), 4, axis=0)).reshape(len(v), -1).max(1)
    inside, seam = fourth[:-4].max(initial=0.0), fourth[-4:].max()
    if seam > SEAM * inside + SAME * size:
        raise ValueError(f"{what} is not periodic with period {period:g}: over the seam the data jump (fourth difference {seam:.3g}, inside at most "
                         f"{inside:.3g}); {advice}")
    return values, period
