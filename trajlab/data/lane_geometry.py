"""Geometry of maps in the plane, on plain arrays: points in polygons, distances to polylines, the middle between two bounds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["between", "in_polygon", "lanelet", "near_segments", "resample"]

BLOCK = 2_000_000  #: pairs of a point and an edge that are looked at in one go


def in_polygon(points: Float[np.ndarray, "point 2"], polygon: Float[np.ndarray, "vertex 2"]) -> Bool[np.ndarray, "point"]:
    """Whether points lie inside, by the even-odd rule: a ray to the right crosses the boundary an odd number of times.

    Edges count from their lower end (included) to their upper end (left out), so that a point on an edge that two polygons share is in exactly
    one of them; the last vertex need not repeat the first.
    """
    inside = np.zeros(len(points), dtype=bool)
    low, high = polygon.min(0), polygon.max(0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(1))
    a, b = polygon, np.roll(polygon, -1, axis=0)
    rise = np.where(b[:, 1] == a[:, 1], 1.0, b[:, 1] - a[:, 1])  # level edges are never crossed
    slope = (b[:, 0] - a[:, 0]) / rise
    for part in np.array_split(near, max(1, -(-len(near) * len(a) // BLOCK))):
        x, y = points[part, 0, None], points[part, 1, None]
        crossed = ((a[:, 1] > y) != (b[:, 1] > y)) & (x < a[:, 0] + slope * (y - a[:, 1]))
        inside[part] = crossed.sum(1) % 2 == 1
    return inside


def near_segments(
    points: Float[np.ndarray, "point 2"], start: Float[np.ndarray, "segment 2"], end: Float[np.ndarray, "segment 2"]
) -> tuple[Float[np.ndarray, "point"], Int[np.ndarray, "point"]]:
    """Distance of each point to the nearest of some segments, and which that is."""
    along = end - start
    square = np.maximum((along**2).sum(1), 1e-300)
    distance, which = np.zeros(len(points)), np.zeros(len(points), dtype=np.int64)
    for part in np.array_split(np.arange(len(points)), max(1, -(-len(points) * len(start) // BLOCK))):
        off = points[part, None] - start
        share = np.clip((off * along).sum(-1) / square, 0.0, 1.0)
        far = ((off - share[..., None] * along) ** 2).sum(-1)
        which[part] = far.argmin(1)
        distance[part] = np.sqrt(far.min(1)) if len(part) else 0.0
    return distance, which


def resample(line: Float[np.ndarray, "point 2"], count: int) -> Float[np.ndarray, "count 2"]:
    """``count`` points at equal distances along a polyline, its ends included."""
    arc = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    at = np.linspace(0.0, arc[-1], count)
    return np.stack([np.interp(at, arc, line[:, 0]), np.interp(at, arc, line[:, 1])], axis=1)


def between(left: Float[np.ndarray, "left 2"], right: Float[np.ndarray, "right 2"]) -> Float[np.ndarray, "point 2"]:
    """The middle between two bounds of a lane that run the same way; point by point where they have as many points."""
    if len(left) != len(right):
        count = max(len(left), len(right))
        left, right = resample(left, count), resample(right, count)
    return (left + right) / 2


def lanelet(
    left: Float[np.ndarray, "left 2"], right: Float[np.ndarray, "right 2"]
) -> tuple[Float[np.ndarray, "left 2"], Float[np.ndarray, "right 2"], Float[np.ndarray, "point 2"], Float[np.ndarray, "vertex 2"]]:
    """The bounds of a lanelet turned to its driving direction, its centre line and its area.

    Bounds may be stored in either direction (Bender, Ziegler and Stiller, Lanelets, 2014): they are made to run the same way, and then so that the
    left one is on the left.
    """
    same = np.linalg.norm(left[0] - right[0]) + np.linalg.norm(left[-1] - right[-1])
    if same > np.linalg.norm(left[0] - right[-1]) + np.linalg.norm(left[-1] - right[0]):
        right = right[::-1]
    ring = np.concatenate([left, right[::-1]])
    x, y = (ring - ring[0]).T
    if (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0:  # counter-clockwise: what should be left is on the right
        left, right = left[::-1], right[::-1]
    return left, right, between(left, right), np.concatenate([left, right[::-1]])
