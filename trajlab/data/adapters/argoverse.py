"""Argoverse 2 motion forecasting: scenarios (parquet) and their maps (JSON).

A scenario is 110 frames at 10 Hz, 50 observed and 60 to predict, in the frame of its city: metres, radians counter-clockwise from x, metres a
second. Files of the test split have the 50 observed frames only. Source: Wilson et al., Argoverse 2, NeurIPS Datasets and Benchmarks (2021).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trajlab.catalog import need, unknown
from trajlab.data.adapters.sightings import Sightings, packed, say_dropped, tidy, wrapped
from trajlab.data.batches import concat
from trajlab.data.lane_geometry import between
from trajlab.data.lanes import LaneMap
from trajlab.types import Trajectories

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CATEGORIES", "KINDS", "argoverse_lanes", "read_argoverse"]

KINDS = ("vehicle", "pedestrian", "motorcyclist", "cyclist", "bus", "static", "background", "construction", "riderless_bicycle", "unknown")
CATEGORIES = ("fragment", "unscored", "scored", "focal")  #: ``static["category"]``: a fragment is not seen in all frames
GIVEN = 50  #: frames that are observed
STEP = 0.1  #: s
NUMBERS = ("timestep", "position_x", "position_y", "heading", "velocity_x", "velocity_y", "object_category")
COLUMNS = (*NUMBERS, "track_id", "object_type", "scenario_id", "focal_track_id")


def read_argoverse(path: str | Path | Sequence[str | Path]) -> Trajectories:
    """One scenario as one scene, or several as one each.

    Args:
        path: a ``scenario_<id>.parquet``, the folder of a scenario, a folder of such folders (in order of their names), or a sequence of these.

    Returns:
        Metres and seconds from the first frame: ``extra["velocity"]`` and ``["heading"]``, ``kind`` by `KINDS` (names in ``source["kinds"]``),
        ``static["category"]`` by `CATEGORIES`, ``static["focal"]`` (True for the track to predict), ``context["run"]``; a track is masked out where
        it was not seen. ``source``: ``"scenario"`` and ``"focal"`` (a list, one a scene), ``"id"`` (the track of each node), ``"given"`` (50),
        ``"city"``, ``"dropped"``. The files have no extents of agents. Scenarios of different length are padded with frames masked out.

    Raises:
        FileNotFoundError: there is no such file, or none in the folder.
        ImportError: pyarrow is not installed.
        ValueError: a file is no scenario, lacks a column, or holds an unknown class of object.
    """
    parts = [_read(file) for file in _files(path)]
    if len(parts) == 1:
        return parts[0]
    whole = concat([p.replace(context={"run": torch.tensor([run])}) for run, p in enumerate(parts)], pad=True)
    dropped = {reason: sum(p.source["dropped"][reason] for p in parts) for reason in parts[0].source["dropped"]}
    many = {name: [value for p in parts for value in p.source[name]] for name in ("file", "scenario", "focal", "city", "id")}
    numbers = {name: k for k, name in enumerate(dict.fromkeys(many["id"]))}
    static = {**whole.static, "id": torch.tensor([numbers[name] for name in many["id"]])}
    return whole.replace(static=static, source={**parts[0].source, **many, "ids": list(numbers), "dropped": dropped})


def _files(path: str | Path | Iterable[str | Path]) -> list[Path]:
    if not isinstance(path, str | Path):
        files = [file for one in path for file in _files(one)]
        if not files:
            raise ValueError("no scenarios were given; pass at least one path")
        return files
    path = Path(path)
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("scenario_*.parquet")) or sorted(path.glob("*/scenario_*.parquet"))
    if not files:
        raise FileNotFoundError(f"neither {path} nor its folders hold a scenario_<id>.parquet")
    return files


def _read(path: Path) -> Trajectories:
    table = _table(path)
    number = {name: table[name].to_numpy(np.float64) for name in NUMBERS}
    kind = np.array([KINDS.index(name) if name in KINDS else -1 for name in table["object_type"]])
    if (kind < 0).any():
        raise ValueError(f"{path}: {unknown('object_type', str(table['object_type'].iloc[int((kind < 0).argmax())]), KINDS)}")
    if not np.isin(number["object_category"], range(len(CATEGORIES))).all():
        raise ValueError(f"{path}: object_category has values other than 0 to 3 ({', '.join(CATEGORIES)})")
    track, focal = table["track_id"].astype(str).to_numpy(), str(table["focal_track_id"].iloc[0])
    if focal not in track:
        raise ValueError(f"{path}: the focal track {focal} has no row")
    pair = lambda name: np.stack([number[f"{name}_x"], number[f"{name}_y"]], axis=1)  # noqa: E731
    step = _step(table)
    rows, dropped = tidy(Sightings(
        time=number["timestep"] * step, agent=track, x=pair("position"),
        extra={"velocity": pair("velocity"), "heading": wrapped(number["heading"])},
        static={"kind": kind, "category": number["object_category"].astype(np.int64), "focal": track == focal}))
    say_dropped(dropped, str(path))
    source = {"reader": "argoverse", "what": "Argoverse 2 scenario", "file": [path.name], "scenario": [str(table["scenario_id"].iloc[0])],
              "focal": [focal], "city": [str(table["city"].iloc[0]) if "city" in table else ""], "kinds": list(KINDS), "given": GIVEN,
              "dropped": dropped}
    return packed(rows, step, source)


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    need("pyarrow", "traffic", "reading parquet")
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as parquet ({error}); it may be cut short") from error
    for name in COLUMNS:
        if name not in table:
            raise ValueError(f"{path} is no Argoverse 2 scenario: {unknown('column', name, map(str, table.columns))}")
    scenarios = table["scenario_id"].unique()
    if len(scenarios) != 1:
        raise ValueError(f"{path} holds {len(scenarios)} scenarios; one a file was wanted")
    return table


def _step(table: pd.DataFrame) -> float:
    """Between frames, s: from the time stamps (ns), where they are."""
    if not {"start_timestamp", "end_timestamp", "num_timestamps"} <= set(table.columns):
        return STEP
    first, last, count = (float(table[c].iloc[0]) for c in ("start_timestamp", "end_timestamp", "num_timestamps"))
    step = (last - first) / max(count - 1, 1) * 1e-9
    return round(step, 4) if 0.5 * STEP < step < 2 * STEP else STEP


def argoverse_lanes(path: str | Path) -> LaneMap:
    """The map of a scenario, in the frame of its tracks (the city's), heights left out.

    Args:
        path: a ``log_map_archive_<id>.json``, or the folder of a scenario.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such map.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(path.glob("log_map_archive_*.json"))
        if not found:
            raise FileNotFoundError(f"{path} holds no log_map_archive_<id>.json")
        path = found[0]
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        content = json.loads(path.read_text())
        areas = [_line(area["area_boundary"]) for area in content["drivable_areas"].values()]
        lanes = list(content["lane_segments"].values())
        lines = [part for lane in lanes for part in _lane(lane)]
        crossings = [_crossing(c) for c in content["pedestrian_crossings"].values()]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no Argoverse 2 map ({type(error).__name__}: {error}); drivable_areas, lane_segments and pedestrian_crossings "
                         "were wanted") from error
    names = [str(lane["id"]) for lane in lanes]
    return LaneMap(
        polylines=lines + crossings, kinds=["centre", "left", "right"] * len(lanes) + ["crosswalk"] * len(crossings),
        lanes=[name for name in names for _ in range(3)] + [""] * len(crossings), areas=areas,
        successors={name: lane.get("successors", ()) for name, lane in zip(names, lanes)},
        neighbours={name: [lane.get(side) or "" for side in ("left_neighbor_id", "right_neighbor_id")] for name, lane in zip(names, lanes)},
        types={name: str(lane.get("lane_type", "vehicle")).lower() for name, lane in zip(names, lanes)},
        source={"reader": "argoverse", "file": path.name})


def _line(points: list[dict[str, float]]) -> np.ndarray:
    return np.array([[p["x"], p["y"]] for p in points], dtype=np.float64)


def _lane(lane: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    left, right = _line(lane["left_lane_boundary"]), _line(lane["right_lane_boundary"])
    return _line(lane["centerline"]) if lane.get("centerline") else between(left, right), left, right


def _crossing(crossing: dict[str, Any]) -> np.ndarray:
    """The outline of a crosswalk from its two sides, closed."""
    one, other = _line(crossing["edge1"]), _line(crossing["edge2"])
    if np.linalg.norm(one[-1] - other[-1]) < np.linalg.norm(one[-1] - other[0]):
        other = other[::-1]
    return np.concatenate([one, other, one[:1]])
