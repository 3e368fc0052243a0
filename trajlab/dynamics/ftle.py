"""Finite-time Lyapunov exponents, ln sigma_max(DF)/|t - t0|, and the ridges of their fields.

Ridges of the forward field repel, those of the backward field attract (Haller 2001; Shadden, Lekien & Marsden 2005).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from trajlab.catalog import unknown
from trajlab.dynamics.cauchy_green import cauchy_green, eigen, in_metric, interpolated, largest_stretch
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.flow_maps import FlowMap, even_axes, flow_map, points_of

__all__ = ["Ridges", "exponents", "ftle", "ridges", "rotation_angle"]

WAYS = ("tangent", "grid", "cross")


def exponents(found: FlowMap, scale: Callable[[np.ndarray], np.ndarray] | None = None) -> Float[np.ndarray, "..."]:
    """FTLE of a flow map, per unit of time; NaN for lost particles.

    Args:
        scale: scale factors of curvilinear coordinates, see `trajlab.dynamics.cauchy_green.in_metric`.
    """
    gradient = found.gradient if scale is None else in_metric(found, scale)
    return np.asarray(np.log(largest_stretch(gradient)) / abs(found.duration))


def ftle(flow: VectorField, starts: Any, t0: float = 0.0, duration: float | None = None, *, steps: int | None = None, by: str = "tangent",
         offset: float | None = None, workers: int | None = None) -> Float[np.ndarray, "..."]:
    """FTLE field from t0 over a duration, which is negative for the backward field.

    Args:
        flow, starts, t0, duration, steps, workers: see `trajlab.dynamics.flow_maps.flow_map`.
        by: ``"tangent"``, the exact gradient of the flow map; ``"grid"``, differences between neighbours on the grid of starts, which flatten
            ridges and are there for comparison; ``"cross"``, central differences between particles started close around each point.
        offset: of these from the point; by default 1e-7 of the largest extent of the starts.

    Raises:
        ValueError: as `flow_map`; an unknown way; ``"grid"`` without a grid.
    """
    if by not in WAYS:
        raise ValueError(unknown("way to the gradient", by, WAYS))
    if by == "cross":
        return exponents(_cross(flow, starts, t0, duration, steps, offset, workers))
    found = flow_map(flow, starts, t0, duration, steps=steps, workers=workers)
    if by == "grid":
        if not found.axes:
            raise ValueError("by='grid' needs the starts as a tuple of axes; for scattered starts there are 'tangent' and 'cross'")
        gradient = np.stack([np.gradient(found.end, a, axis=i, edge_order=2) for i, a in enumerate(found.axes)], -1)
        found = FlowMap(found.start, found.end, gradient, found.vorticity, found.t0, found.duration, found.steps, found.axes)
    return exponents(found)


def _cross(flow: VectorField, starts: Any, t0: float, duration: float | None, steps: int | None, offset: float | None,
           workers: int | None) -> FlowMap:
    axes, points = points_of(flow, starts)
    extent = float(np.ptp(points.reshape(-1, flow.dim), axis=0).max()) or 1.0
    offset = 1e-7 * extent if offset is None else offset
    if not offset > 0:
        raise ValueError(f"offset {offset:g}; a positive distance was wanted")
    arms = offset * np.concatenate([np.eye(flow.dim), -np.eye(flow.dim)])
    around = flow_map(flow, points[..., None, :] + arms, t0, duration, steps=steps, workers=workers)
    ahead, behind = around.end[..., : flow.dim, :], around.end[..., flow.dim :, :]
    gradient = np.swapaxes(ahead - behind, -1, -2) / (2.0 * offset)
    return FlowMap(points, around.end.mean(-2), gradient, around.vorticity.mean(-1), t0, around.duration, around.steps, axes)


def rotation_angle(gradient: Float[np.ndarray, "... dim dim"]) -> Float[np.ndarray, "..."]:
    """Polar rotation angle, from 0 to pi, of the rotation R in DF = R U (Farazmand & Haller 2016), in two or three dimensions.

    Raises:
        ValueError: another dimension.
    """
    dim = gradient.shape[-1]
    if dim == 2:
        return np.asarray(np.abs(np.arctan2(gradient[..., 1, 0] - gradient[..., 0, 1], gradient[..., 0, 0] + gradient[..., 1, 1])))
    if dim != 3:
        raise ValueError(f"gradients of shape {gradient.shape}; the polar rotation angle is defined in 2 and 3 dimensions")
    good = np.isfinite(gradient).all((-2, -1))
    angle = np.full(gradient.shape[:-2], np.nan)
    left, _, right = np.linalg.svd(gradient[good])
    angle[good] = np.arccos(np.clip(0.5 * (np.trace(left @ right, axis1=-2, axis2=-1) - 1.0), -1.0, 1.0))
    return angle


@dataclass(frozen=True, eq=False)
class Ridges:
    """Ridge points of a field on a grid.

    Attributes:
        mask: ``[x y]``, grid points that stand out from both neighbours along the normal.
        points: ``[ridge 2]``, where the parabola through the three values has its top.
        height: ``[ridge]``, of the field at the grid points.
    """

    mask: Bool[np.ndarray, "x y"]
    points: Float[np.ndarray, "ridge 2"]
    height: Float[np.ndarray, "ridge"]


def ridges(found: FlowMap, values: Float[np.ndarray, "x y"] | None = None, share: float = 0.1) -> Ridges:
    """Ridges of a field on the grid of a flow map in 2-D, by default of its FTLE.

    A grid point is kept if its value is among the highest ``share`` of all, exceeds both values a grid step away along the normal e_2 of C, and the
    field is curved downwards there, <e_2, H e_2> < 0 (non-maximum suppression).

    Raises:
        ValueError: the map is not one of a grid in two dimensions, a share outside of (0, 1].
    """
    if len(found.axes) != 2:
        raise ValueError(f"ridges of starts of shape {found.start.shape}; starts given as a tuple of two axes were wanted")
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share = {share:g}; a number above 0 and at most 1 was wanted")
    field = exponents(found) if values is None else values
    normal = eigen(cauchy_green(found.gradient))[1][..., 1]
    h = min(even_axes(found.axes, "grid"))
    look = interpolated([field], found.axes)
    up, down = look(found.start + h * normal)[0], look(found.start - h * normal)[0]
    bend = up - 2.0 * field + down
    mask = (field >= np.nanquantile(field, 1.0 - share)) & (field > up) & (field > down) & (bend < 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = np.where(mask, 0.5 * h * (down - up) / bend, 0.0)
    return Ridges(mask, (found.start + shift[..., None] * normal)[mask], field[mask])
