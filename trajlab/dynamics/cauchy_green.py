"""The right Cauchy-Green tensor C = DF^T DF of a flow map, its eigenvalues and eigenvectors, and where it can be asked for between grid points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.flow_maps import FlowMap, even_axes, flow_map

__all__ = ["Tensor", "cauchy_green", "eigen", "flow_tensor", "grid_tensor", "in_metric", "largest_stretch"]

#: C at places: ``[place 2] -> [place 2 2]``, NaN where it is not known
Tensor = Callable[[np.ndarray], np.ndarray]


def cauchy_green(gradient: Float[np.ndarray, "... dim dim"]) -> Float[np.ndarray, "... dim dim"]:
    """C = DF^T DF: squared lengths of what the flow makes of small vectors at the start."""
    return np.swapaxes(gradient, -1, -2) @ gradient


def largest_stretch(gradient: Float[np.ndarray, "... dim dim"]) -> Float[np.ndarray, "..."]:
    """Largest singular value of DF, the root of the largest eigenvalue of C, in closed form in two and three dimensions.

    With s = |DF|^2 and d = det DF, lambda_max = (s + sqrt(s^2 - 4 d^2))/2 in 2-D; in 3-D by the cosine of a third of an angle (Smith 1961).
    """
    dim = gradient.shape[-1]
    if dim == 2:
        (a, b), (c, d) = (gradient[..., 0, 0], gradient[..., 0, 1]), (gradient[..., 1, 0], gradient[..., 1, 1])
        # s^2 - 4 d^2 as a sum of squares, which cannot fall below 0
        root = np.hypot(a - d, b + c) * np.hypot(a + d, b - c)
        return np.asarray(np.sqrt(0.5 * (a * a + b * b + c * c + d * d + root)))
    if dim == 3:
        tensor = cauchy_green(gradient)
        mean = np.trace(tensor, axis1=-2, axis2=-1) / 3.0
        rest = tensor - mean[..., None, None] * np.eye(3)
        size = np.sqrt((rest * rest).sum((-2, -1)) / 6.0)
        safe = np.where(size > 0.0, size, 1.0)
        angle = np.arccos(np.clip(0.5 * np.linalg.det(rest / safe[..., None, None]), -1.0, 1.0)) / 3.0
        return np.asarray(np.sqrt(mean + 2.0 * size * np.cos(angle)))
    good = np.isfinite(gradient).all((-2, -1))
    largest = np.full(gradient.shape[:-2], np.nan)
    largest[good] = np.linalg.norm(gradient[good], 2, axis=(-2, -1))
    return largest


def eigen(tensor: Float[np.ndarray, "... dim dim"]) -> tuple[Float[np.ndarray, "... dim"], Float[np.ndarray, "... dim dim"]]:
    """Eigenvalues of symmetric tensors, smallest first, and unit eigenvectors: column ``[..., :, i]`` belongs to value i.

    In 2-D, e_2 is e_1 turned by a right angle counter-clockwise. Signs mean nothing. NaN tensors give NaN.
    """
    if tensor.shape[-1] != 2:
        good = np.isfinite(tensor).all((-2, -1))
        values, vectors = np.full(tensor.shape[:-1], np.nan), np.full(tensor.shape, np.nan)
        values[good], vectors[good] = np.linalg.eigh(tensor[good])
        return values, vectors
    a, b, d = tensor[..., 0, 0], 0.5 * (tensor[..., 0, 1] + tensor[..., 1, 0]), tensor[..., 1, 1]
    root = np.hypot(a - d, 2.0 * b)
    high = 0.5 * (a + d + root)
    low = np.where(high > 0.0, (a * d - b * b) / np.where(high > 0.0, high, 1.0), 0.5 * (a + d - root))
    angle = 0.5 * np.arctan2(2.0 * b, a - d)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([low, high], -1), np.stack([np.stack([s, c], -1), np.stack([-c, s], -1)], -2)


def in_metric(found: FlowMap, scale: Callable[[np.ndarray], np.ndarray]) -> Float[np.ndarray, "... dim dim"]:
    """DF between orthonormal frames of orthogonal curvilinear coordinates: h_i(F) DF_ij / h_j(x0).

    Args:
        scale: places ``[... dim]`` -> scale factors h ``[... dim]``, such as (R cos latitude, R) for longitude and latitude on a sphere.
    """
    return scale(found.end)[..., :, None] * found.gradient / scale(found.start)[..., None, :]


def flow_tensor(flow: VectorField, t0: float = 0.0, duration: float | None = None, steps: int | None = None) -> Tensor:
    """C wherever it is asked for, by carrying a particle from there: nothing is interpolated.

    Raises:
        ValueError: as `trajlab.dynamics.flow_maps.flow_map`, when it is asked.
    """

    def tensor(places: np.ndarray) -> np.ndarray:
        found = np.full((len(places), 2, 2), np.nan)
        good = np.isfinite(places).all(1)
        if good.any():
            found[good] = cauchy_green(flow_map(flow, places[good], t0, duration, steps=steps).gradient)
        return found

    return tensor


def grid_tensor(found: FlowMap) -> Tensor:
    """C between the points of a grid by cubic splines of its components; NaN outside of the grid and next to lost particles.

    Fast, and good where C is smooth (vortices); over sharp ridges `flow_tensor` is the one to take.

    Raises:
        ValueError: the map is not one of a grid in two dimensions.
    """
    if len(found.axes) != 2:
        raise ValueError(f"a flow map of starts of shape {found.start.shape}; starts given as a tuple of two axes were wanted")
    tensor = cauchy_green(found.gradient)
    look = interpolated([tensor[..., 0, 0], tensor[..., 0, 1], tensor[..., 1, 1]], found.axes)

    def at(places: np.ndarray) -> np.ndarray:
        a, b, d = look(places)
        return np.stack([np.stack([a, b], -1), np.stack([b, d], -1)], -2)

    return at


def interpolated(fields: list[np.ndarray], axes: tuple[Any, ...]) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Cubic splines of fields ``[x y]``: places ``[... 2] -> [...]`` each; NaN outside, and where a neighbouring value is NaN."""
    from scipy.ndimage import map_coordinates, spline_filter

    steps = even_axes(axes, "grid")
    bad = ~np.isfinite(np.sum(fields, 0))
    splines = [spline_filter(np.where(bad, np.nanmedian(f), f), order=3, mode="mirror") for f in fields]

    def look(places: np.ndarray) -> list[np.ndarray]:
        index = np.stack([(places[..., i] - a[0]) / h for i, (a, h) in enumerate(zip(axes, steps))])
        last = np.reshape(bad.shape, (2, *[1] * (index.ndim - 1))) - 1
        outside = ~((index >= -1e-9) & (index <= last + 1e-9)).all(0)
        safe = np.where(outside, 0.0, index)
        if bad.any():
            outside |= map_coordinates(bad.astype(float), safe, order=1, mode="nearest") > 0.0
        return [np.where(outside, np.nan, map_coordinates(s, safe, order=3, mode="mirror", prefilter=False)) for s in splines]

    return look
