"""Which column of a table of tracks is what, and which unit its name says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from trajlab.catalog import unknown

__all__ = ["ROLES", "find_columns", "named_unit", "near_misses"]

#: role -> names that columns of this role go by, in lower case and without signs and units
ROLES: dict[str, tuple[str, ...]] = {
    "time": ("time", "t", "timestamp", "timesteptime", "seconds", "sec", "datetime", "globaltime"),
    "frame": ("frame", "frameid", "framenumber", "framenum", "framenr", "f", "timestep", "step"),
    "id": ("id", "trackid", "agentid", "vehicleid", "objectid", "pedid", "pedestrianid", "personid", "node", "nodeid", "track", "agent", "vehicle",
           "car"),
    "x": ("x", "posx", "positionx", "vehiclex", "xcenter", "xcentre", "centerx", "centrex", "localx", "cx", "px", "easting", "xutm", "utmx", "east"),
    "y": ("y", "posy", "positiony", "vehicley", "ycenter", "ycentre", "centery", "centrey", "localy", "cy", "py", "northing", "yutm", "utmy",
          "north"),
    "vx": ("vx", "velx", "velocityx", "xvelocity", "speedx", "xspeed", "vxcenter"),
    "vy": ("vy", "vely", "velocityy", "yvelocity", "speedy", "yspeed", "vycenter"),
    "speed": ("speed", "v", "velocity", "vel", "vvel", "vehiclespeed"),
    "heading": ("heading", "yaw", "psi", "theta", "orientation", "angle", "course", "hdg", "bearing", "vehicleangle"),
    "kind": ("kind", "type", "agenttype", "class", "category", "objecttype", "vehicletype", "classname", "label", "vclass"),
    "length": ("length", "len", "vlength", "vehiclelength"),
    "width": ("width", "vwidth", "vehiclewidth"),
    "scene": ("scene", "sceneid", "recording", "recordingid", "caseid", "session", "scenario", "scenarioid", "run"),
    "valid": ("valid", "visible", "observed", "isvalid"),
}
NEEDED = ("id", "x", "y")
#: ends of names -> unit
SUFFIXES = {
    "ms": "ms", "us": "us", "ns": "ns", "s": "s", "sec": "s", "seconds": "s", "m": "m", "cm": "cm", "km": "km", "ft": "ft", "feet": "ft",
    "px": "px", "pixel": "px", "pixels": "px", "mps": "m/s", "kmh": "km/h", "kph": "km/h", "mph": "mph", "rad": "rad", "deg": "deg",
    "degree": "deg", "degrees": "deg",
}


def find_columns(names: Iterable[str], told: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """The column of each role, told or guessed by its name.

    Args:
        names: of all columns.
        told: role -> column; these are not guessed. None: there is no column of this role.

    Raises:
        ValueError: a role is unknown, a told column is not there, one column has two roles, or none was found for time, id, x or y.
    """
    names, told = [str(n) for n in names], dict(told or {})
    for role, column in told.items():
        if role not in ROLES:
            raise ValueError(unknown("role of a column", role, ROLES))
        if column is not None and column not in names:
            raise ValueError(f"the table has no such column: {unknown('column', str(column), names)}")
    found = {role: column for role, column in told.items() if column is not None}
    free = [n for n in names if n not in told.values()]
    for role, known in ROLES.items():
        fitting = [n for n in free if _plain(n) in known]
        if role not in told and fitting:
            found[role] = min(fitting, key=lambda n: known.index(_plain(n)))
    if "time" in found and "frame" in found and "frame" not in told:
        del found["frame"]
    twice = {column for column in found.values() if list(found.values()).count(column) > 1}
    if twice:
        raise ValueError(f"column {min(twice)!r} was given several roles: {', '.join(r for r, c in found.items() if c in twice)}")
    missing = [role for role in NEEDED if role not in found] + ([] if "time" in found or "frame" in found else ["time (or frame)"])
    if missing:
        raise ValueError(f"no column was found for {', '.join(missing)} among {', '.join(map(repr, names))}; say which it is, such as "
                         f"columns={{'{missing[0].split()[0]}': 'name of the column'}}")
    return found


def near_misses(names: Iterable[str], found: Mapping[str, str | None]) -> dict[str, str]:
    """Columns that no role was found for, and the missing role that their name comes near to ("" for none)."""
    out = {}
    for name in map(str, names):
        if name in found.values():
            continue
        known = {k: role for role, ks in ROLES.items() if role not in found and not (role == "frame" and "time" in found) for k in ks if len(k) > 2}
        near = difflib.get_close_matches(_plain(name), known, n=1, cutoff=0.8)
        out[name] = known[near[0]] if near else ""
    return out


def named_unit(name: str) -> str:
    """The unit that the end of a column's name says, "" for none: ``speed_kmh``, ``heading [deg]``, ``timestamp_ms``."""
    words = _words(name)
    return SUFFIXES.get(words[-1], "") if len(words) > 1 else ""


def _words(name: str) -> list[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower().replace("km/h", "kmh").replace("m/s", "mps")
    return [w for w in re.split(r"[^a-z0-9]+", spaced) if w]


def _plain(name: str) -> str:
    """Lower case, without signs, and without a unit at its end."""
    words = _words(name)
    return "".join(words[:-1] if len(words) > 1 and words[-1] in SUFFIXES else words)
