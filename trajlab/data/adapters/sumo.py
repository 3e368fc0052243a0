"""Floating-car data of SUMO (``--fcd-output``): csv, xml or parquet, to `Trajectories`.

What has to be known of these files: positions are those of the *front bumper*; angles are degrees clockwise from north; speeds are those of the step
that led to the frame, x(t) = x(t - dt) + v(t) dt (SUMO's Euler rule); text files are rounded to 0.01 m unless ``--precision`` says more; and lane
changes are sideways jumps of a lane's width within one step unless ``--lanechange.duration`` or ``--lateral-resolution`` is set.
Source: Lopez, Behrisch, Bieker-Walz, Erdmann, Flötteröd, Hilbrich, Lücken, Rummel, Wagner and Wießner (2018), Microscopic traffic simulation
using SUMO.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajlab.catalog import unknown
from trajlab.data.adapters._xml import elements, opened, parsed
from trajlab.data.adapters.sightings import Sightings, packed, say_dropped, tidy, wrapped
from trajlab.types import Trajectories

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KINDS", "read_sumo", "sumo_sizes"]

KINDS = ("vehicle", "pedestrian")
VEHICLE, PERSON = (5.0, 1.8), (0.215, 0.478)  #: SUMO's default length and width, m
COLUMNS = {"timestep_time": "time", "vehicle_id": "id", "vehicle_x": "x", "vehicle_y": "y", "vehicle_angle": "angle", "vehicle_type": "type",
           "vehicle_speed": "speed", "vehicle_lane": "lane"}
NEEDED = ("time", "id", "x", "y", "angle", "speed")
JUMPS = ("split", "mask", "keep")
REFERENCES = ("centre", "path", "front")
SIDEWAYS, SLIP = 1.0, 2.0  #: m, and m/s: a step sideways by more than both is a jump (smooth lane changes slip by about 1 m/s)
TELEPORT = 5.0  #: m beyond what the speed allows


def read_sumo(path: str | Path, *, sizes: Mapping[str, tuple[float, float]] | str | Path | None = None, reference: str = "centre",
              jumps: str = "split", persons: bool = True) -> Trajectories:
    """Vehicles and pedestrians of a SUMO run as one scene, each masked out where it is not in the network.

    Args:
        path: ``.csv`` (separated by ``;``), ``.xml`` or ``.parquet``; csv and xml may be compressed (``.gz``). All three give the same trajectories,
            up to their rounding.
        sizes: length and width (m) of each vehicle type, or a routes or additional file to read them from (see `sumo_sizes`); 5 m x 1.8 m
            (SUMO's default) for types that are not named. The length decides where the centre is.
        reference: ``"centre"``: positions are moved from the front bumper back by half a length along the heading.
            ``"path"``: to where the front was half a length earlier on its path, with the heading from there to the front; reported angles turn by up
            to 1.7 rad in a step, on which ``"centre"`` jumps sideways and ``"path"`` does not. ``"front"``: as in the file.
        jumps: what to do where a vehicle jumps sideways by a lane within one step, or is teleported: ``"split"`` the track into two nodes;
            ``"mask"`` the frame after the jump out; or ``"keep"`` it. They are counted in ``source["lane_jumps"]`` and ``["teleports"]``.
        persons: keep pedestrians, whose position is not moved.

    Returns:
        Metres and seconds: ``extra["velocity"]`` (speed along the heading), ``extra["heading"]`` (rad, counter-clockwise from x),
        ``static["length"]``, ``["width"]``, ``["type"]`` (place in ``source["types"]``); ``kind`` 0 for vehicles and 1 for pedestrians;
        ``source["dropped"]`` counts rows that could not be used.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no floating-car data, is cut short, or an option is unknown.

    Warns:
        UserWarning: positions are rounded to 0.01 m, tracks jump, or rows were dropped.
    """
    path = Path(path)
    for name, value, known in (("jumps", jumps, JUMPS), ("reference", reference, REFERENCES)):
        if value not in known:
            raise ValueError(unknown(name, str(value), known))
    table = _columns(_table(path), path)
    person = table["person"].to_numpy(bool)
    table = table if persons else table[~person]
    person = table["person"].to_numpy(bool)
    if not len(table):
        raise ValueError(f"{path} holds no vehicles" + ("" if persons else " (persons=False)"))
    types, code = np.unique(table["type"].to_numpy(str), return_inverse=True)
    known = {} if sizes is None else sumo_sizes(sizes) if isinstance(sizes, str | Path) else dict(sizes)
    size = np.where(person[:, None], PERSON, np.array([known.get(t, VEHICLE) for t in types], dtype=float)[code])
    heading = wrapped(np.deg2rad(90.0 - table["angle"].to_numpy(np.float64)))
    along = np.stack([np.cos(heading), np.sin(heading)], 1)
    front = table[["x", "y"]].to_numpy(np.float64)
    speed = table["speed"].to_numpy(np.float64)
    rows, dropped = tidy(Sightings(
        time=table["time"].to_numpy(np.float64), agent=_numbers(table["id"].to_numpy(str)), x=front,
        extra={"velocity": speed[:, None] * along, "heading": heading}, static={"length": size[:, 0], "width": size[:, 1], "type": code,
                                                                                "kind": person.astype(np.int64)}))
    digits = _digits(rows.x)
    sideways, teleported = _jumps(rows)
    rows, dropped = _treated(rows, dropped, sideways | teleported, jumps)
    source = {"what": "SUMO floating-car data", "file": path.name, "reader": "sumo", "reference": reference, "kinds": list(KINDS),
              "types": [str(t) for t in types], "rounded": digits, "jumps": jumps, "lane_jumps": int(sideways.sum()),
              "teleports": int(teleported.sum()), "dropped": dropped}
    _warn(path.name, source)
    if reference != "front":
        rows = _centred(rows) if reference == "centre" else _trailed(rows)
    return packed(rows, source=source)


def _centred(rows: Sightings) -> Sightings:
    """Vehicles half a length back along their heading."""
    heading = rows.extra["heading"]
    back = np.where(rows.static["kind"] == 0, rows.static["length"] / 2, 0.0)
    return replace(rows, x=rows.x - back[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1))


def _trailed(rows: Sightings) -> Sightings:
    """Vehicles half a length back along the path of their front; before its first point the path goes straight on along the first heading."""
    cuts = ~rows.follows() | (False if rows.starts is None else rows.starts)
    x, heading = rows.x.copy(), rows.extra["heading"].copy()
    for own in np.split(np.arange(len(rows)), np.flatnonzero(cuts)[1:]):
        if rows.static["kind"][own[0]] != 0:
            continue
        front, back = rows.x[own], rows.static["length"][own[0]] / 2
        way = np.array([np.cos(heading[own[0]]), np.sin(heading[own[0]])])
        path = np.concatenate([front[:1] - 2 * back * way, front])
        arc = np.concatenate([[0.0], np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()])
        x[own] = np.stack([np.interp(arc[1:] - back, arc, path[:, k]) for k in range(2)], 1)
        to_front = front - x[own]
        heading[own] = np.arctan2(to_front[:, 1], to_front[:, 0])
    speed = np.linalg.norm(rows.extra["velocity"], axis=1)
    velocity = np.where((rows.static["kind"] == 0)[:, None], speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1), rows.extra["velocity"])
    return replace(rows, x=x, extra={**rows.extra, "heading": heading, "velocity": velocity})


def sumo_sizes(path: str | Path) -> dict[str, tuple[float, float]]:
    """Length and width (m) of each ``<vType>`` of a routes or additional file; 5 m x 1.8 m where the type says nothing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is neither a routes nor an additional file.
    """
    from trajlab.data.adapters._xml import root_name

    path = Path(path)
    root = root_name(path)
    if root not in ("routes", "additional"):
        raise ValueError(f"{path} is an XML file of <{root}>; <routes> or <additional> was wanted, which hold the sizes of vehicle types")
    return {t.get("id", ""): (float(t.get("length", VEHICLE[0])), float(t.get("width", VEHICLE[1]))) for t in parsed(path, root).iter("vType")}


def _table(path: Path) -> pd.DataFrame:
    """The rows as the file has them."""
    import pandas as pd

    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".csv"):
            with opened(path) as file:
                return pd.read_csv(file, sep=";", dtype={"vehicle_id": str, "person_id": str}, keep_default_na=True)
        if name.endswith(".parquet"):
            if not path.is_file():
                raise FileNotFoundError(f"there is no file {path}")
            return pd.read_parquet(path)
    except FileNotFoundError:
        raise
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as floating-car data ({error}); it may be cut short") from error
    if not name.endswith(".xml"):
        raise ValueError(f"{path} ends in neither .csv, .xml nor .parquet (nor .csv.gz, .xml.gz), the forms of SUMO's floating-car data")
    return _from_xml(path)


def _from_xml(path: Path) -> pd.DataFrame:
    import pandas as pd

    wanted = ("id", "x", "y", "angle", "type", "speed", "lane")
    rows = [(step.get("time"), *(agent.get(name) for name in wanted), agent.tag == "person")
            for step in elements(path, "fcd-export", "timestep") for agent in step if agent.tag in ("vehicle", "person")]
    return pd.DataFrame(rows, columns=["time", *wanted, "person"])


def _columns(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Columns by their short names, numbers as numbers, and which rows are pedestrians (they have an edge, but no lane)."""
    import pandas as pd

    table = table.rename(columns=COLUMNS)
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ValueError(f"{path} has no {', '.join(missing)} among its columns {', '.join(map(str, table.columns))}; floating-car data as written "
                         "by sumo --fcd-output (all attributes) were wanted")
    for name in ("time", "x", "y", "angle", "speed"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    table["type"] = table["type"].fillna("") if "type" in table else ""
    if "person" not in table:
        edge = table["vehicle_edge"].notna() & (table["vehicle_edge"] != "") if "vehicle_edge" in table else pd.Series(False, index=table.index)
        lane = table["lane"].notna() & (table["lane"] != "") if "lane" in table else pd.Series(True, index=table.index)
        table["person"] = edge & ~lane
    return table[table["id"].notna()]  # steps without vehicles leave empty rows


def _numbers(names: np.ndarray) -> np.ndarray:
    """Whole numbers where all names are, so that vehicle 10 comes after vehicle 9."""
    return names.astype(np.int64) if all(n.isdecimal() and (n == "0" or n[0] != "0") for n in np.unique(names)) else names


def _digits(x: np.ndarray) -> int | None:
    """Decimal places that positions are rounded to, where these are 3 or fewer."""
    for digits in range(4):
        scaled = x * 10.0**digits
        if np.abs(scaled - np.rint(scaled)).max() < 1e-4:
            return digits
    return None


def _jumps(rows: Sightings) -> tuple[np.ndarray, np.ndarray]:
    """Rows that a vehicle reaches by a sideways jump, and by a teleport, from the row before."""
    follows = rows.follows()
    follows &= rows.static["kind"] == 0
    dt = np.diff(rows.time, prepend=0.0)
    step = np.diff(rows.x, axis=0, prepend=rows.x[:1])
    heading = rows.extra["heading"]
    middle = heading - wrapped(np.diff(heading, prepend=heading[:1])) / 2
    across = np.abs(step[:, 1] * np.cos(middle) - step[:, 0] * np.sin(middle))
    speed = np.linalg.norm(rows.extra["velocity"], axis=1)
    fastest = np.maximum(speed, np.concatenate([speed[:1], speed[:-1]]))
    far = np.linalg.norm(step, axis=1) > fastest * dt + TELEPORT
    return follows & (across > np.maximum(SIDEWAYS, SLIP * dt)) & ~far, follows & far


def _treated(rows: Sightings, dropped: dict[str, int], jumped: np.ndarray, jumps: str) -> tuple[Sightings, dict[str, int]]:
    if jumps == "split":
        return replace(rows, starts=jumped), dropped
    if jumps == "mask":
        return rows.rows(~jumped), {**dropped, "jumped": int(jumped.sum())}
    return rows, dropped


def _warn(name: str, source: Mapping[str, object]) -> None:
    say_dropped(source["dropped"], name, level=4)  # type: ignore[arg-type]
    if source["rounded"] is not None:
        step = 10.0 ** -source["rounded"]  # type: ignore[operator]
        warnings.warn(f"{name}: positions are rounded to {step:g} m, which second differences at 10 Hz show as {70 * step:.2g} m/s^2 of noise; "
                      "run sumo with --precision 4", UserWarning, stacklevel=3)
    if source["lane_jumps"] or source["teleports"]:
        done = {"split": "tracks are split there", "mask": "the frames after them are masked out", "keep": "they are kept"}[str(source["jumps"])]
        warnings.warn(f"{name}: {source['lane_jumps']} steps jump sideways by a lane (sumo changes lanes within a step unless --lanechange.duration "
                      f"or --lateral-resolution is set) and {source['teleports']} are teleports; {done}", UserWarning, stacklevel=3)
