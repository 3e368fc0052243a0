"""Users' own tables of tracks (one row a sighting of one agent), with units and columns checked and every dropped row counted.

`trajlab.data.adapters.tables.from_table` takes a table at its word; this reader guesses columns and units by their names, makes velocities and
headings where there are none, puts the frames on a regular clock, and compares what the table says with what its positions do.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajlab.catalog import unknown
from trajlab.data.adapters.sightings import Sightings, packed, say_dropped, tidy, usual_step, wrapped
from trajlab.data.adapters.track_checks import FAST, doubts, shared_ids
from trajlab.data.adapters.track_columns import find_columns, named_unit, near_misses
from trajlab.data.adapters.track_motion import direction_of_motion, filled_heading, local_velocity, resampled
from trajlab.types import Trajectories

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TrackRule", "from_tracks", "read_tracks"]

METRES = {"m": 1.0, "cm": 0.01, "km": 1000.0, "ft": 0.3048, "px": float("nan")}
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "frame": float("nan")}
SPEEDS = {"m/s": 1.0, "km/h": 1 / 3.6, "mph": 0.44704, "kn": 1852 / 3600, "ft/s": 0.3048}
HEADINGS = ("rad", "deg", "rad_north_cw", "deg_north_cw")
UNITS = {"position": METRES, "time": SECONDS, "speed": SPEEDS, "heading": dict.fromkeys(HEADINGS)}


@dataclass(frozen=True)
class TrackRule:
    """How a table of tracks is read.

    Attributes:
        position: ``"m"``, ``"cm"``, ``"km"``, ``"ft"`` or ``"px"`` (with ``metres_per_pixel``). None here and below: as the end of the column's name
            says (``x_px``, ``time_ms``, ``speed_kmh``, ``heading_deg``), else SI.
        time: ``"s"``, ``"ms"``, ``"us"``, ``"ns"``, or ``"frame"`` (with ``rate``). Dates are seconds since the first.
        speed: of speeds and velocities: ``"m/s"``, ``"km/h"``, ``"mph"``, ``"kn"``, ``"ft/s"``.
        heading: ``"rad"`` or ``"deg"`` counter-clockwise from x, ``"rad_north_cw"`` or ``"deg_north_cw"`` clockwise from y.
        metres_per_pixel: for pixels.
        rate: frames a second, for frame numbers.
        y_down: y grows downwards, as in images: it is mirrored, and so are velocities; headings counted in the image too.
        step: between frames, s; None: the most frequent one.
        resample: put tracks on a clock of this step, s; between rows positions are linear and headings take the shorter turn.
        gaps: frames that an agent misses are ``"mask"``ed out, or ``"split"`` its track into two nodes.
        jumps: steps faster than 60 m/s are ``"keep"``t (and warned about), or ``"split"`` the track.
        smooth: width of the parabola that velocities are made by where there are none, s; at least three frames.
        causal: velocities and headings that are made know nothing of later frames (but for the first ``smooth`` seconds of a track), so that no
            window shows a forecaster what it is to forecast. False: windows around each frame, which are less noisy.
        moving: a heading is made from the motion of what is faster than this, m/s; it is carried on where an agent stands.
        check: warn of implausible units.
    """

    position: str | None = None
    time: str | None = None
    speed: str | None = None
    heading: str | None = None
    metres_per_pixel: float | None = None
    rate: float | None = None
    y_down: bool = False
    step: float | None = None
    resample: float | None = None
    gaps: str = "mask"
    jumps: str = "keep"
    smooth: float = 0.5
    causal: bool = True
    moving: float = 0.5
    check: bool = True

    def __post_init__(self) -> None:
        for name, known in (*UNITS.items(), ("gaps", ("mask", "split")), ("jumps", ("keep", "split"))):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise ValueError(unknown(f"unit of {name}" if name in UNITS else name, str(value), known))
        for name in ("metres_per_pixel", "rate", "step", "resample", "smooth", "moving"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value!r}; a positive number was wanted")


def from_tracks(table: pd.DataFrame, columns: Mapping[str, str | None] | None = None, rule: TrackRule | None = None, **changes: Any) -> Trajectories:
    """Trajectories in metres and seconds from a table of tracks.

    Args:
        table: one row a sighting, in any order.
        columns: role -> column, for roles that are not to be guessed: ``time`` or ``frame``, ``id``, ``x``, ``y``; ``vx`` and ``vy``, ``speed``,
            ``heading``, ``kind``, ``length``, ``width``, ``scene`` (recording), ``valid``. None: the table has none of this role.
        rule: units and what to do about gaps; SI by default.
        **changes: of single fields of the rule: ``from_tracks(table, speed="km/h")``.

    Returns:
        ``extra["velocity"]`` (m/s: ``vx``, ``vy``; else speed along the heading; else by `local_velocity`) and ``extra["heading"]`` (rad,
        counter-clockwise from x: the recorded one, else the direction of motion, carried on while an agent stands). In ``source``: ``columns``,
        ``units``, ``unused`` columns, ``dropped`` rows by reason, how many velocities and headings were made (``estimated``), agents whose heading
        nothing tells (``no_heading``, set to 0), ``missing_frames``, ``gaps`` (places where an agent misses frames) and ``doubts``.

    Raises:
        TypeError: there is no such field of the rule.
        ValueError: a column or role is unknown or missing, a unit needs a number that is not given, no row is left, or the clock is irregular.

    Warns:
        UserWarning: rows were dropped, a unit is implausible, or an unused column looks like one that is missing.
    """
    rule = _changed(rule, changes)
    names = [str(c) for c in table.columns]
    table = table.set_axis(names, axis=1)
    found = find_columns(names, columns)
    units = _units(found, rule)
    raw, more = _rows(table, found, units, rule)
    (rows, dropped), shared = tidy(raw), shared_ids(raw) if rule.check else []
    dropped |= {"rows": len(table), **more}
    step = rule.resample or rule.step or usual_step(rows.time, rows.of())
    jumped = _too_fast(rows)
    track = (~rows.follows() | (jumped if rule.jumps == "split" else False)).cumsum()
    if rule.resample:
        rows = resampled(rows, track, step, longest=max(3 * usual_step(rows.time, rows.of()), 1.5 * step))
        jumped, track = _too_fast(rows), (~rows.follows()).cumsum()
    gap = rows.follows() & (np.diff(rows.time, prepend=0.0) > 1.5 * step)
    starts = (gap if rule.gaps == "split" else np.zeros_like(gap)) | (jumped if rule.jumps == "split" else False)
    rows, made = _motion(rows, (~rows.follows() | starts).cumsum(), step, rule)
    alone = made.pop("alone")
    found_doubts = doubts(rows.x, made.pop("from_positions"), step, speed=made.pop("said_speed"), heading=made.pop("said_heading"),
                          jumped=jumped) if rule.check else []
    unused = near_misses(names, {**found, **(columns or {})})
    dropped |= {"seen once, without velocity": int(alone.sum())} if alone.any() else {}
    source = {"what": "table of tracks", "reader": "tracks", "columns": found, "units": units, "unused": sorted(unused), "dropped": dropped,
              "gaps": int(gap.sum()), "doubts": [*shared, *found_doubts], **{k: v for k, v in made.items() if isinstance(v, int | dict)}}
    _warn(source, unused, rule.gaps)
    if "kind" in found:
        kinds, code = np.unique(rows.static["kind"].astype(str), return_inverse=True)
        rows = replace(rows, static={**rows.static, "kind": code})
        source["kinds"] = [str(k) for k in kinds]
    return packed(replace(rows, starts=starts).rows(~alone), step, source)


def read_tracks(path: str | Path, columns: Mapping[str, str | None] | None = None, rule: TrackRule | None = None, **changes: Any) -> Trajectories:
    """`from_tracks` of a ``.csv``, ``.tsv``, ``.parquet`` or ``.feather`` file (csv and tsv may be compressed); the separator is found out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut short or no table, or as `from_tracks`.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith((".parquet", ".feather")):
            table = pd.read_parquet(path) if name.endswith(".parquet") else pd.read_feather(path)
        elif name.endswith((".csv", ".tsv", ".txt")):
            table = pd.read_csv(path, sep=None, engine="python") if not name.endswith(".tsv") else pd.read_csv(path, sep="\t")
        else:
            raise ValueError("it ends in neither .csv, .tsv, .txt, .parquet nor .feather")
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a table ({error}); it may be cut short") from error
    result = from_tracks(table, columns, rule, **changes)
    return result.replace(source={"file": path.name, **result.source})


def _changed(rule: TrackRule | None, changes: Mapping[str, Any]) -> TrackRule:
    known = [f.name for f in fields(TrackRule)]
    for name in changes:
        if name not in known:
            raise TypeError(unknown("option of a table of tracks", name, known))
    return replace(rule or TrackRule(), **changes)


def _units(found: Mapping[str, str], rule: TrackRule) -> dict[str, str]:
    """The unit of each quantity: told, or by the name of its column, or SI."""
    by = {"position": "x", "time": "time", "speed": "vx" if "vx" in found else "speed", "heading": "heading"}
    units = {}
    for quantity, role in by.items():
        named = named_unit(found[role]) if role in found else ""
        default = "frame" if quantity == "time" and "time" not in found else next(iter(UNITS[quantity]))
        units[quantity] = getattr(rule, quantity) or (named if named in UNITS[quantity] else default)
    if units["position"] == "px" and rule.metres_per_pixel is None:
        raise ValueError("positions are in pixels; pass metres_per_pixel= (and y_down=True where y grows downwards)")
    if units["time"] == "frame" and rule.rate is None:
        raise ValueError(f"the clock is in frames (column {found.get('frame', found.get('time'))!r}); pass rate= (frames a second)")
    return units


def _rows(table: pd.DataFrame, found: Mapping[str, str], units: Mapping[str, str], rule: TrackRule) -> tuple[Sightings, dict[str, int]]:
    """Rows in SI units, and how many were left out and why; what the table says of motion rides along under ``static``, NaN where it says nothing."""
    import pandas as pd

    number = lambda role: pd.to_numeric(table[found[role]], errors="coerce").to_numpy(np.float64)  # noqa: E731
    flip = np.array([1.0, -1.0 if rule.y_down else 1.0])
    metre = rule.metres_per_pixel if units["position"] == "px" else METRES[units["position"]]
    static: dict[str, np.ndarray] = {}
    if "vx" in found and "vy" in found:
        static["velocity"] = np.stack([number("vx"), number("vy")], 1) * SPEEDS[units["speed"]] * flip
    if "speed" in found:
        static["speed"] = number("speed") * SPEEDS[units["speed"]]
    if "heading" in found:
        static["heading"] = _heading(number("heading"), units["heading"], rule.y_down)
    static |= {role: number(role) * metre for role in ("length", "width") if role in found}
    if "kind" in found:
        static["kind"] = table[found["kind"]].astype(str).to_numpy(dtype=object)
    named, valid = table[found["id"]].notna().to_numpy(), np.ones(len(table), dtype=bool)
    if "valid" in found:
        valid = ~np.isin(table[found["valid"]].astype(str).str.lower().to_numpy(), ("0", "0.0", "false", "no", "nan", "none", "<na>"))
    scene = table[found["scene"]].astype(str).to_numpy() if "scene" in found else None
    raw = Sightings(time=_time(table, found, units, rule), agent=_names(table[found["id"]]), x=np.stack([number("x"), number("y")], 1) * metre * flip,
                    scene=scene, static=static)
    more = {"without id": int((~named).sum()), "marked invalid": int((named & ~valid).sum())}
    return raw.rows(named & valid), {k: v for k, v in more.items() if v}


def _time(table: pd.DataFrame, found: Mapping[str, str], units: Mapping[str, str], rule: TrackRule) -> np.ndarray:
    import pandas as pd

    column = table[found.get("time", found.get("frame"))]
    if not pd.api.types.is_numeric_dtype(column):
        number = pd.to_numeric(column, errors="coerce")
        if number.notna().sum() < 0.5 * column.notna().sum():
            date = pd.to_datetime(column, errors="coerce", utc=True, format="mixed")
            return ((date - date.min()) / pd.Timedelta(seconds=1)).to_numpy(np.float64)
        column = number
    return column.to_numpy(np.float64) * (1 / rule.rate if units["time"] == "frame" else SECONDS[units["time"]])  # type: ignore[operator]


def _names(column: pd.Series) -> np.ndarray:
    """Whole numbers where all ids are, else text."""
    import pandas as pd

    number = pd.to_numeric(column, errors="coerce")
    if not len(column) or (number.isna() & column.notna()).any() or (number.dropna() % 1 != 0).any():
        return column.astype(str).to_numpy(dtype=str)
    return number.fillna(-1).astype(np.int64).to_numpy()


def _heading(value: np.ndarray, unit: str, y_down: bool) -> np.ndarray:
    """Radians counter-clockwise from x; kept as they are where they are beyond any angle, for the checks to see."""
    angle = np.deg2rad(value) if unit.startswith("deg") else value
    angle = np.pi / 2 - angle if unit.endswith("north_cw") else angle
    return -angle if y_down else angle


def _too_fast(rows: Sightings) -> np.ndarray:
    """Rows that are reached faster than anything drives."""
    dt = np.diff(rows.time, prepend=-np.inf)
    return rows.follows() & (np.linalg.norm(np.diff(rows.x, axis=0, prepend=rows.x[:1]), axis=1) > FAST * dt)


def _motion(rows: Sightings, track: np.ndarray, step: float, rule: TrackRule) -> tuple[Sightings, dict[str, Any]]:
    """Velocities and headings, recorded or made, and what was said and made."""
    half = max(1, round(rule.smooth / step / 2))
    made_velocity, some = local_velocity(rows.time, rows.x, track, half, 1.5 * step, rule.causal)
    said_heading, said_speed = rows.static.get("heading"), rows.static.get("speed")
    around = local_velocity(rows.time, rows.x, track, half, 1.5 * step, causal=False)[0]  # for the checks
    moving = direction_of_motion(made_velocity, rule.moving)
    recorded = np.full(len(rows), np.nan) if said_heading is None else wrapped(said_heading)
    heading, known = filled_heading(recorded, track)
    if not known.all():
        other, also = filled_heading(moving, track, back=not rule.causal)
        heading, known = np.where(known, heading, other), known | also
    velocity = rows.static.get("velocity")
    if velocity is None and said_speed is not None and said_heading is not None:
        velocity = said_speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1)
    velocity = np.full_like(made_velocity, np.nan) if velocity is None else velocity
    lacking = ~np.isfinite(velocity).all(1)
    velocity = np.where(lacking[:, None], made_velocity, velocity)
    names = np.unique(rows.agent[~known])
    said = {"estimated": {"velocity": int(lacking.sum()), "heading": int((~np.isfinite(recorded)).sum())},
            "alone": lacking & ~some, "no_heading": len(names), "from_positions": around, "said_heading": said_heading,
            "said_speed": np.linalg.norm(rows.static["velocity"], axis=1) if "velocity" in rows.static else said_speed}
    static = {k: v for k, v in rows.static.items() if k not in ("velocity", "heading", "speed")}
    return replace(rows, extra={"velocity": velocity, "heading": heading}, static=static), said


def _warn(source: Mapping[str, Any], unused: Mapping[str, str], gaps: str) -> None:
    say_dropped(source["dropped"], "table of tracks", level=4)
    if source["gaps"]:
        done = "masked out; pass gaps='split' to split the tracks there" if gaps == "mask" else "where tracks were split"
        warnings.warn(f"table of tracks: frames are missing at {source['gaps']} places within tracks, {done}", UserWarning, stacklevel=3)
    for doubt in source["doubts"]:
        warnings.warn(f"table of tracks: {doubt}", UserWarning, stacklevel=3)
    for name, role in unused.items():
        if role:
            warnings.warn(f"table of tracks: column {name!r} is not used, although it looks like the {role}; pass columns={{{role!r}: {name!r}}} "
                          "to use it", UserWarning, stacklevel=3)
