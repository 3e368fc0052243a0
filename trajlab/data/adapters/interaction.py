"""The INTERACTION data set: csv tables of tracks, and lanelet2 maps (osm).

Tracks are at 10 Hz in metres, metres a second and radians counter-clockwise from x. Source: Zhan et al., arXiv 1910.03088 (2019).
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from trajlab.data.adapters._columns import numbers, text_table
from trajlab.data.adapters._xml import parsed
from trajlab.data.adapters.sightings import Sightings, packed, say_dropped, tidy, usual_step, wrapped
from trajlab.data.lanes import LaneMap
from trajlab.data.transverse_mercator import utm
from trajlab.types import Trajectories

__all__ = ["KINDS", "interaction_lanes", "read_interaction"]

KINDS = ("car", "truck", "bus", "motorcycle", "bicycle", "pedestrian", "pedestrian/bicycle")
MOTION = ("timestamp_ms", "x", "y", "vx", "vy")
BODY = ("psi_rad", "length", "width")  #: only vehicles have them
BORDERS = ("road_border", "curbstone", "guard_rail", "fence", "wall")
JOINED = 0.1  #: m between bounds of a lane and its successor


def read_interaction(path: str | Path) -> Trajectories:
    """A table of tracks, ``vehicle_tracks_<n>.csv`` or ``pedestrian_tracks_<n>.csv``.

    Args:
        path: columns ``track_id, frame_id, timestamp_ms, agent_type, x, y, vx, vy`` and, for vehicles, ``psi_rad, length, width``; a column
            ``case_id`` (of the prediction challenge) makes every case a scene of its own.

    Returns:
        Metres and seconds: ``extra["velocity"]``; ``["heading"]``, ``static["length"]`` and ``["width"]`` where the file has them (files of
        pedestrians don't); ``kind`` by ``source["kinds"]`` (`KINDS`, then others in order of their names); ``context["run"]`` (the case).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, a field is no number (its line is told), a clock is irregular, or no row is left.

    Warns:
        UserWarning: rows were dropped, counted in ``source["dropped"]``.
    """
    path = Path(path)
    table = text_table(path, ("track_id", "agent_type", *MOTION), "table of INTERACTION tracks")
    body = all(name in table for name in BODY)
    value = dict(zip((*MOTION, *BODY), numbers(table, (*MOTION, *BODY) if body else MOTION, path).T))
    types = table["agent_type"].fillna("unknown").str.strip().str.lower()
    kinds = [*KINDS, *sorted(set(types) - set(KINDS))]
    extra = {"velocity": np.stack([value["vx"], value["vy"]], axis=1)}
    static = {"kind": types.map(kinds.index).to_numpy()}
    if body:
        extra["heading"] = wrapped(value["psi_rad"])
        static |= {"length": value["length"], "width": value["width"]}
    rows, dropped = tidy(Sightings(
        time=value["timestamp_ms"] / 1000, agent=_names(table["track_id"].fillna("").to_numpy()), x=np.stack([value["x"], value["y"]], axis=1),
        scene=_names(table["case_id"].to_numpy()) if "case_id" in table else None, extra=extra, static=static))
    say_dropped(dropped, str(path))
    step = round(usual_step(rows.time, rows.of()), 6)
    return packed(rows, step, {"reader": "interaction", "what": "INTERACTION tracks", "file": path.name, "kinds": kinds, "dropped": dropped})


def _names(text: np.ndarray) -> np.ndarray:
    """Whole numbers where all are, such as 3 or 3.0; else the text."""
    try:
        number = text.astype(np.float64)
    except ValueError:
        return text.astype(str)
    return number.astype(np.int64) if (number == np.rint(number)).all() else text.astype(str)


def interaction_lanes(path: str | Path, origin: tuple[float, float] = (0.0, 0.0)) -> LaneMap:
    """A lanelet2 map, in the frame of the tracks.

    Positions come from latitude and longitude through UTM about ``origin``, as the data set does it; lanelets give centre lines, bounds and drivable
    areas, ways of kerbs and road borders give boundaries. Which lanelet follows which is told from where bounds end and begin.

    Args:
        path: an ``.osm`` file.
        origin: latitude and longitude of (0, 0), degrees.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such map, or refers to nodes or ways that it does not hold.
    """
    path = Path(path)
    tree = parsed(path, "osm")
    try:
        place = {n.get("id"): (float(n.get("lat", "")), float(n.get("lon", ""))) for n in tree.iterfind("node")}
        degrees = np.array(list(place.values()), dtype=np.float64).reshape(-1, 2)
        xy = dict(zip(place, utm(degrees[:, 0], degrees[:, 1], origin))) if place else {}
        ways = {w.get("id"): np.array([xy[n.get("ref")] for n in w.iterfind("nd")]) for w in tree.iterfind("way")}
        lanelets = {str(r.get("id")): _members(r, ways) for r in tree.iterfind("relation") if _tags(r).get("type") == "lanelet"}
    except KeyError as error:
        raise ValueError(f"{path} refers to {error}, a node or way that it does not hold; it may be cut short") from error
    tags = {r.get("id"): _tags(r) for r in tree.iterfind("relation")}
    crossings = {name for name in lanelets if tags[name].get("subtype") in ("crosswalk", "walkway")}
    lines, kinds = [], []
    for way in tree.iterfind("way"):
        kind = _tags(way).get("type")
        if kind in BORDERS or kind == "stop_line":
            lines.append(ways[way.get("id")])
            kinds.append("stop" if kind == "stop_line" else "boundary")
    for name in sorted(crossings):
        left, right = lanelets[name]
        lines.append(np.concatenate([left, right[::-1], left[:1]]))
        kinds.append("crosswalk")
    roads = {name: bounds for name, bounds in lanelets.items() if name not in crossings}
    whole = LaneMap.from_lanelets(roads, polylines=lines, kinds=kinds, lanes=[""] * len(lines), source={"reader": "interaction", "file": path.name},
                                  types={name: tags[name].get("subtype", "road") for name in roads})
    return LaneMap.from_dict({**{f: getattr(whole, f) for f in LaneMap.__dataclass_fields__}, **_order(whole)})


def _tags(element: ElementTree.Element) -> dict[str, str]:
    return {str(t.get("k")): str(t.get("v")) for t in element.iterfind("tag")}


def _members(relation: ElementTree.Element, ways: dict[str | None, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The left and the right bound; bounds of several ways are joined in their order."""
    sides = {}
    for side in ("left", "right"):
        parts = [ways[m.get("ref")] for m in relation.iterfind("member") if m.get("type") == "way" and m.get("role") == side]
        if not parts:
            raise ValueError(f"lanelet {relation.get('id')} has no {side} bound")
        if len(parts) > 1 and min(np.linalg.norm(parts[0][0] - end) for end in parts[1][[0, -1]]) < JOINED:
            parts[0] = parts[0][::-1]
        for k in range(1, len(parts)):
            if np.linalg.norm(parts[k][-1] - parts[k - 1][-1]) < np.linalg.norm(parts[k][0] - parts[k - 1][-1]):
                parts[k] = parts[k][::-1]
        sides[side] = np.concatenate(parts)
    return sides["left"], sides["right"]


def _order(lanes: LaneMap) -> dict[str, dict[str, list[str]]]:
    """Which lane follows which, and which lie beside each other in the same direction."""
    lines = list(zip(lanes.polylines, lanes.kinds, lanes.lanes))
    side = {kind: {lane: line for line, k, lane in lines if k == kind and lane} for kind in ("left", "right")}
    names = list(side["left"])
    begin, end = (np.array([[side[s][n][at] for s in side] for n in names]).reshape(-1, 1, 4) for at in (0, -1))
    joined = np.abs(end - begin.reshape(1, -1, 4)).max(-1) < JOINED if names else np.zeros((0, 0), dtype=bool)
    same = lambda a, b: a.shape == b.shape and np.abs(a - b).max() < JOINED  # noqa: E731
    beside = lambda n, own, other: next((m for m in names if m != n and same(side[own][n], side[other][m])), "")  # noqa: E731
    return {"successors": {n: [names[k] for k in np.flatnonzero(row)] for n, row in zip(names, joined)},
            "neighbours": {n: [beside(n, "left", "right"), beside(n, "right", "left")] for n in names}}
