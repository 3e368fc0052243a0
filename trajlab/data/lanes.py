"""Maps of lanes: polylines with their kind and lane, drivable areas, and which lane follows which.

A map is not part of `Trajectories`, because one map serves many recordings and most files keep it apart. All readers hold to one way: a reader
of tracks, ``read_<format>(path)``, returns `Trajectories`; the reader of its map, ``<format>_lanes(path)``, returns a `LaneMap` in the same frame
of reference (``argoverse_lanes``, ``interaction_lanes``, ``commonroad_lanes``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float

from trajlab.catalog import unknown
from trajlab.data.lane_geometry import in_polygon, lanelet, near_segments

__all__ = ["KINDS", "LaneMap", "Nearest"]

KINDS = ("centre", "left", "right", "boundary", "crosswalk", "stop")


@dataclass(frozen=True)
class Nearest:
    """The nearest centre line of each point: its distance (m), its lane, and its direction there (rad, counter-clockwise from x)."""

    distance: Float[np.ndarray, "*point"]
    lane: np.ndarray
    heading: Float[np.ndarray, "*point"]


@dataclass(frozen=True, eq=False)
class LaneMap:
    """A map in the plane, in metres.

    Attributes:
        polylines: each ``[point 2]``, of at least two points, in driving direction where they belong to a lane.
        kinds: of each polyline: ``"centre"``, ``"left"`` and ``"right"`` (bounds of a lane), ``"boundary"`` (of the road), ``"crosswalk"`` or
            ``"stop"``; crosswalks are closed.
        lanes: the name of the lane that each polyline belongs to, ``""`` where it belongs to none.
        areas: drivable polygons, each ``[vertex 2]``; what is outside all of them is off the road.
        successors: lane -> the lanes that follow it.
        neighbours: lane -> the lanes on its left and right in the same direction, ``""`` where there is none.
        types: lane -> what it is for: ``"vehicle"``, ``"bus"``, ``"bike"``, ...; lanes that are not named are for vehicles.
        source: provenance.

    Raises:
        ValueError: a polyline or polygon has a wrong shape or is not finite, a kind is unknown, or lengths disagree.
    """

    polylines: Any = ()
    kinds: Any = ()
    lanes: Any = ()
    areas: Any = ()
    successors: Mapping[str, Any] = field(default_factory=dict)
    neighbours: Mapping[str, Any] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lines = tuple(_plane(line, f"polylines[{k}]", 2) for k, line in enumerate(self.polylines))
        areas = tuple(_plane(area, f"areas[{k}]", 3) for k, area in enumerate(self.areas))
        kinds, lanes = tuple(self.kinds), tuple(self.lanes) or ("",) * len(lines)
        if not len(lines) == len(kinds) == len(lanes):
            raise ValueError(f"a map got {len(lines)} polylines, {len(kinds)} kinds and {len(lanes)} lanes; one of each a polyline was wanted")
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(unknown("kind of polyline", str(kind), KINDS))
        named = {"successors": _tuples(self.successors), "neighbours": _tuples(self.neighbours), "types": self.types, "source": self.source}
        for name, value in {"polylines": lines, "kinds": kinds, "lanes": tuple(map(str, lanes)), "areas": areas}.items():
            object.__setattr__(self, name, value)
        for name, value in named.items():
            object.__setattr__(self, name, MappingProxyType(dict(value)))

    @classmethod
    def from_lanelets(cls, bounds: Mapping[str, tuple[np.ndarray, np.ndarray]], **more: Any) -> Self:
        """A map of lanelets ``{name: (left, right)}``: their bounds, centre lines and areas; ``more`` are other fields of the map.

        Bounds that are stored against the driving direction are turned, see `trajlab.data.lane_geometry.lanelet`.
        """
        lines, kinds, lanes, areas = (list(more.pop(k, ())) for k in ("polylines", "kinds", "lanes", "areas"))
        for name, (left, right) in bounds.items():
            left, right, centre, area = lanelet(_plane(left, f"left bound of {name}", 2), _plane(right, f"right bound of {name}", 2))
            lines += [centre, left, right]
            kinds += ["centre", "left", "right"]
            lanes += [str(name)] * 3
            areas.append(area)
        return cls(polylines=lines, kinds=kinds, lanes=lanes, areas=areas, **more)

    @property
    def bounds(self) -> Float[np.ndarray, "corner 2"]:
        """The lower left and the upper right corner of everything, m. A ValueError for an empty map."""
        if not self.polylines and not self.areas:
            raise ValueError("an empty map has no bounds")
        every = np.concatenate([*self.polylines, *self.areas])
        return np.stack([every.min(0), every.max(0)])

    def of_kind(self, kind: str) -> list[np.ndarray]:
        """The polylines of one kind (what a picture draws).

        Raises:
            ValueError: there is no such kind.
        """
        if kind not in KINDS:
            raise ValueError(unknown("kind of polyline", kind, KINDS))
        return [line for line, k in zip(self.polylines, self.kinds) if k == kind]

    def inside(self, points: Any) -> Bool[np.ndarray, "*point"]:
        """Whether points ``[... 2]`` (m) lie on a drivable area, ``[...]``; points that are not finite don't.

        Raises:
            ValueError: the map has no drivable areas, or the points have another shape.
        """
        if not self.areas:
            raise ValueError("this map has no drivable areas, so that no point can be said to be on the road; use distance_to_centre(points)")
        flat, shape = _points(points)
        inside = np.zeros(len(flat), dtype=bool)
        for area in self.areas:
            left = np.flatnonzero(~inside)
            inside[left] = in_polygon(flat[left], area)
        return inside.reshape(shape)

    def nearest(self, points: Any) -> Nearest:
        """The nearest centre line of points ``[... 2]`` (m).

        Raises:
            ValueError: the map has no centre lines, or the points have another shape or are not finite.
        """
        centres = [(line, lane) for line, lane, kind in zip(self.polylines, self.lanes, self.kinds) if kind == "centre"]
        if not centres:
            raise ValueError("this map has no centre lines")
        flat, shape = _points(points)
        if not np.isfinite(flat).all():
            raise ValueError(f"{int((~np.isfinite(flat)).any(1).sum())} of {len(flat)} points are not finite; pass those that are")
        start, end = (np.concatenate([line[cut] for line, _ in centres]) for cut in (slice(None, -1), slice(1, None)))
        distance, which = near_segments(flat, start, end)
        lane = np.array([lane for line, lane in centres for _ in line[1:]])[which]
        x, y = (end - start)[which].T
        return Nearest(distance.reshape(shape), lane.reshape(shape), np.arctan2(y, x).reshape(shape))

    def distance_to_centre(self, points: Any) -> Float[np.ndarray, "*point"]:
        """Distance to the nearest centre line, m; see `nearest`."""
        return self.nearest(points).distance

    def near(self, point: Any, radius: float) -> LaneMap:
        """The polylines and areas that come within ``radius`` (m) of a point along both axes: what a picture of a scene shows.

        Raises:
            ValueError: the radius is not positive, or the point is not two numbers.
        """
        if not radius > 0:
            raise ValueError(f"radius={radius:g}; a positive number of metres was wanted")
        at = _points(point)[0].reshape(2)
        close = lambda line: bool(((line.min(0) <= at + radius) & (line.max(0) >= at - radius)).all())  # noqa: E731
        keep = [k for k, line in enumerate(self.polylines) if close(line)]
        pick = lambda values: tuple(values[k] for k in keep)  # noqa: E731
        return replace(self, polylines=pick(self.polylines), kinds=pick(self.kinds), lanes=pick(self.lanes), areas=tuple(filter(close, self.areas)))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, as JSON takes them."""
        return {"polylines": [line.tolist() for line in self.polylines], "kinds": list(self.kinds), "lanes": list(self.lanes),
                "areas": [area.tolist() for area in self.areas], "successors": {k: list(v) for k, v in self.successors.items()},
                "neighbours": {k: list(v) for k, v in self.neighbours.items()}, "types": dict(self.types), "source": dict(self.source)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` made.

        Raises:
            ValueError: it holds an unknown field, or as the map itself.
        """
        for name in values:
            if name not in cls.__dataclass_fields__:
                raise ValueError(unknown("field of a map", name, cls.__dataclass_fields__))
        return cls(**values)

    def __repr__(self) -> str:
        count = {kind: self.kinds.count(kind) for kind in KINDS if kind in self.kinds}
        return f"LaneMap({', '.join(f'{n} {k}' for k, n in count.items()) or 'no polylines'}, {len(self.areas)} drivable areas)"


def _plane(line: Any, name: str, least: int) -> np.ndarray:
    line = np.asarray(line, dtype=np.float64)
    if line.ndim != 2 or line.shape[1] != 2 or len(line) < least:
        raise ValueError(f"{name} has shape {line.shape}; [point 2] with at least {least} points was wanted")
    if not np.isfinite(line).all():
        raise ValueError(f"{name} is not finite at point {int((~np.isfinite(line)).any(1).argmax())}")
    return line


def _points(points: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim < 1 or points.shape[-1] != 2:
        raise ValueError(f"points have shape {points.shape}; [... 2] was wanted")
    return points.reshape(-1, 2), points.shape[:-1]


def _tuples(named: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {str(k): tuple(map(str, v)) for k, v in named.items()}
