"""CommonRoad scenarios (XML, versions 2018b and 2020a): recorded vehicles, and the lanes they drive on.

Source: Althoff, Koschi and Manzinger (2017), CommonRoad: Composable benchmarks for motion planning on roads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

import numpy as np

from trajlab.data.adapters._xml import parsed
from trajlab.data.adapters.sightings import Sightings, packed, say_dropped, tidy, wrapped
from trajlab.types import Trajectories

if TYPE_CHECKING:
    from trajlab.data.lanes import LaneMap

__all__ = ["KINDS", "commonroad_lanes", "read_commonroad"]

#: types of obstacles of the format; what is none of these is "unknown"
KINDS = ("unknown", "car", "truck", "bus", "bicycle", "pedestrian", "priorityVehicle", "parkedVehicle", "constructionZone", "train", "roadBoundary",
         "motorcycle", "taxi", "building", "pillar", "median_strip")


def read_commonroad(path: str | Path) -> Trajectories:
    """The moving obstacles of a scenario as one scene, each masked out where it is not recorded.

    Args:
        path: ``.xml``; a document type definition in it is refused.

    Returns:
        Metres and seconds: positions are the centres of the shapes, ``extra["velocity"]`` is the recorded speed along the recorded orientation (and
        across it, where the file has ``velocityY``), ``extra["heading"]`` in rad, ``static["length"]``, ``["width"]`` and ``["id"]``; ``kind`` is a
        place in ``source["kinds"]``. Values given as intervals, and positions given as areas, are taken at their middle and counted in
        ``source["middles"]``; ``source["dropped"]`` counts states that lack a value and obstacles that do not move or have no recorded states.
        `commonroad_lanes` reads the map of the same file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no CommonRoad file, is cut short, or holds no moving obstacle.

    Warns:
        UserWarning: something was dropped.
    """
    path = Path(path)
    root = parsed(path, "commonRoad")
    try:
        step = float(root.get("timeStepSize", "nan"))
    except ValueError:
        step = float("nan")
    if not step > 0:
        raise ValueError(f"{path} has timeStepSize={root.get('timeStepSize')!r}; the time between steps (s) was wanted")
    states, counts = _states(root)
    if not states:
        raise ValueError(f"{path} holds no moving obstacle with recorded states (static obstacles: {counts['static obstacle']}, predictions as "
                         f"occupied areas: {counts['occupancy set']}); its map, if any, is read by commonroad_lanes(path)")
    table = np.array([row[:9] for row in states], dtype=np.float64)
    rows, dropped = tidy(Sightings(
        time=table[:, 0] * step, agent=table[:, 1].astype(np.int64), x=table[:, 2:4],
        extra={"velocity": _velocity(table), "heading": wrapped(table[:, 4])},
        static={"length": table[:, 7], "width": table[:, 8], "kind": np.array([row[9] for row in states])}))
    dropped |= {reason: counts[reason] for reason in ("static obstacle", "occupancy set")}
    say_dropped({k: v for k, v in dropped.items() if k != "static obstacle"}, path.name)
    source = {"what": "CommonRoad scenario", "file": path.name, "reader": "commonroad", "scenario": root.get("benchmarkID", ""),
              "version": root.get("commonRoadVersion", ""), "recorded_by": root.get("source", ""), "kinds": list(KINDS), "middles": counts["middle"],
              "dropped": dropped}
    return packed(rows, step, source)


def commonroad_lanes(path: str | Path) -> LaneMap:
    """The lanelets of a scenario: bounds, centre lines and areas, what follows them, their neighbours in the same direction, and their types.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no CommonRoad file, has no lanelets, or one lacks its bounds.
    """
    from trajlab.data.lanes import LaneMap

    path = Path(path)
    root = parsed(path, "commonRoad")
    lanelets = {str(one.get("id")): one for one in root.findall("lanelet")}
    if not lanelets:
        raise ValueError(f"{path} has no lanelets")
    bounds = {}
    for name, one in lanelets.items():
        bounds[name] = _bound(one, "leftBound"), _bound(one, "rightBound")
        if min(map(len, bounds[name])) < 2:
            raise ValueError(f"lanelet {name} of {path} has bounds of {' and '.join(str(len(b)) for b in bounds[name])} points; 2 were wanted")
    crossings = {n for n, one in lanelets.items() if any((t.text or "").strip() == "crosswalk" for t in one.findall("laneletType"))}
    return LaneMap.from_lanelets(
        {n: b for n, b in bounds.items() if n not in crossings},
        polylines=[np.concatenate([left, right[::-1], left[:1]]) for n, (left, right) in bounds.items() if n in crossings],
        kinds=["crosswalk"] * len(crossings), lanes=[n for n in bounds if n in crossings],
        successors={n: tuple(str(s.get("ref")) for s in one.findall("successor")) for n, one in lanelets.items()},
        neighbours={n: (_beside(one, "adjacentLeft"), _beside(one, "adjacentRight")) for n, one in lanelets.items()},
        types={n: ",".join((t.text or "").strip() for t in one.findall("laneletType")) for n, one in lanelets.items() if one.findall("laneletType")},
        source={"file": path.name, "what": "CommonRoad lanelets", "scenario": root.get("benchmarkID", "")})


def _bound(lanelet: Element, side: str) -> np.ndarray:
    return np.array([_point(p) for p in lanelet.findall(f"{side}/point")]).reshape(-1, 2)


def _beside(lanelet: Element, side: str) -> str:
    """The neighbour in the same direction, or "" where there is none."""
    one = lanelet.find(side)
    return "" if one is None or one.get("drivingDir", "same") != "same" else str(one.get("ref"))


def _velocity(table: np.ndarray) -> np.ndarray:
    """Speed along the orientation, and across it."""
    c, s = np.cos(table[:, 4]), np.sin(table[:, 4])
    return table[:, 5:6] * np.stack([c, s], 1) + table[:, 6:7] * np.stack([-s, c], 1)


def _states(root: Element) -> tuple[list[tuple], dict[str, int]]:
    """Rows (step, id, x, y, orientation, speed, speed across, length, width, kind), and what was left out or taken at its middle."""
    counts = {"static obstacle": 0, "occupancy set": 0, "middle": 0}
    rows: list[tuple] = []
    for obstacle in root:
        if obstacle.tag == "staticObstacle" or (obstacle.tag == "obstacle" and obstacle.findtext("role") == "static"):
            counts["static obstacle"] += 1
        elif obstacle.tag in ("dynamicObstacle", "obstacle"):
            counts["occupancy set"] += obstacle.find("occupancySet") is not None
            length, width = _size(obstacle.find("shape"))
            name = (obstacle.findtext("type") or "unknown").strip()
            kind = KINDS.index(name) if name in KINDS else 0
            number = float(obstacle.get("id", "nan"))
            for state in [*obstacle.findall("initialState"), *obstacle.findall("trajectory/state")]:
                rows.append((*_state(state, number, counts), length, width, kind))
    return rows, counts


def _state(state: Element, number: float, counts: dict[str, int]) -> tuple[float, ...]:
    place, exact = _place(state.find("position"))
    values = {tag: _value(state.find(tag)) for tag in ("time", "orientation", "velocity", "velocityY")}
    counts["middle"] += not (exact and all(e for _, e in values.values()))
    across = 0.0 if state.find("velocityY") is None else values["velocityY"][0]
    return (values["time"][0], number, *place, values["orientation"][0], values["velocity"][0], across)


def _value(element: Element | None) -> tuple[float, bool]:
    """A number, or the middle of an interval, and whether it was exact; NaN where there is none."""
    if element is None:
        return float("nan"), True
    if element.find("exact") is not None:
        return _number(element.findtext("exact")), True
    return (_number(element.findtext("intervalStart")) + _number(element.findtext("intervalEnd"))) / 2, False


def _place(position: Element | None) -> tuple[tuple[float, float], bool]:
    """A point, or the centre of an area."""
    if position is None:
        return (float("nan"), float("nan")), True
    point = position.find("point")
    if point is not None:
        return (_number(point.findtext("x")), _number(point.findtext("y"))), True
    polygons = [np.mean([_point(p) for p in one.iter("point")], axis=0) for one in position.iter("polygon")]
    centres = [_point(c) for c in position.iter("center")] or polygons
    if not centres:
        return (float("nan"), float("nan")), False
    x, y = np.mean(centres, axis=0)
    return (float(x), float(y)), False


def _point(element: Element) -> np.ndarray:
    return np.array([_number(element.findtext("x")), _number(element.findtext("y"))])


def _number(text: str | None) -> float:
    try:
        return float(text) if text else float("nan")
    except ValueError:
        return float("nan")


def _size(shape: Element | None) -> tuple[float, float]:
    """Length and width of the box around a shape; NaN where it has none."""
    if shape is None:
        return float("nan"), float("nan")
    if shape.find("rectangle") is not None:
        return _number(shape.findtext("rectangle/length")), _number(shape.findtext("rectangle/width"))
    if shape.find("circle") is not None:
        return (2 * _number(shape.findtext("circle/radius")),) * 2
    points = np.array([_point(p) for p in shape.iter("point")]).reshape(-1, 2)
    extent = np.ptp(points, axis=0) if len(points) else np.full(2, np.nan)
    return float(extent[0]), float(extent[1])
