"""Whether the units of a table of tracks are plausible: what the table says of itself is compared with what its positions do."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from trajlab.data.adapters.sightings import Sightings, wrapped

__all__ = ["doubts", "shared_ids"]

FAST = 60.0  #: m/s
WALKS = 0.5  #: m/s
RATIOS = {3.6: "km/h", 2.23694: "miles an hour", 1 / 3.6: "m/s converted from km/h once too often", 1.94384: "knots", 3.28084: "feet a second"}
ENOUGH = 20  #: rows that move
APART = 1.0  #: m


def doubts(x: Float[np.ndarray, "row 2"], velocity: Float[np.ndarray, "row 2"], step: float, *, speed: Float[np.ndarray, "row"] | None = None,
           heading: Float[np.ndarray, "row"] | None = None, jumped: Bool[np.ndarray, "row"] | None = None) -> list[str]:
    """Sentences on what is implausible, each with what to tell the reader.

    Args:
        x: positions, m as they are believed to be.
        velocity: from the positions, m/s.
        step: between frames, s.
        speed, heading: as the table says, in m/s and rad as they are believed to be; NaN where it says nothing.
        jumped: rows that are reached faster than anything drives.
    """
    pace = np.linalg.norm(velocity, axis=1)
    moves = pace > WALKS
    said = [_places(x, pace), _clock(pace, step)]
    if speed is not None:
        said.append(_speeds(speed, pace))
    if heading is not None:
        said.append(_headings(heading, velocity, moves))
    many = 0 if jumped is None else int(jumped.sum())
    if many and not said[0]:
        said.append(f"{many} steps are faster than {FAST:g} m/s: an id that two agents share, or rows that stand for 'not there'. Drop these rows or "
                    "mark them in a column 'valid', or pass jumps='split'")
    return [s for s in said if s]


def shared_ids(rows: Sightings) -> list[str]:
    """A sentence on agents that are at two places at the same time, for rows in any order, before repeated ones are dropped."""
    some = rows.rows(np.flatnonzero(np.isfinite(rows.time) & np.isfinite(rows.x).all(1)))
    some = some.rows(np.lexsort((some.time, np.unique(some.agent, return_inverse=True)[1], some.of())))
    again = some.follows() & (np.diff(some.time, prepend=np.nan) == 0)
    apart = np.linalg.norm(np.diff(some.x, axis=0, prepend=some.x[:1]), axis=1)[again]
    if not (apart > APART).any():
        return []
    return [f"{int((apart > APART).sum())} rows are of an agent that is elsewhere at the same time, by up to {apart.max():.3g} m: an id that two "
            "agents share, or several recordings in one table. One row of each such time is kept; make ids unique, or name the column of the "
            "recording (columns={'scene': ...})"]


def _places(x: np.ndarray, pace: np.ndarray) -> str:
    extent = np.ptp(x, axis=0)
    pixels = "pass position='px' and metres_per_pixel= (and y_down=True where y grows downwards)"
    moving = pace[pace > WALKS]
    usual = float(np.median(moving)) if len(moving) else 0.0
    if (x == np.rint(x)).all() and extent.max() > 100:
        return f"all positions are whole numbers over {extent.max():g}: they look like pixels, not metres; {pixels}"
    if usual > FAST:
        return (f"those who move do so at {usual:.3g} m/s (median): positions look like pixels or another unit than metres, or the clock is wrong; "
                f"{pixels}")
    if 0 < extent.max() < 0.5 and np.abs(x[:, 1]).max() <= 180 and np.abs(x[:, 0]).max() <= 180 and np.abs(x).min() > 1 and pace.max() < 0.1:
        return ("all positions lie within half a unit, far from the origin: they look like degrees of longitude and latitude; project them to metres "
                "first (UTM, or about 111 320 m a degree of latitude)")
    return ""


def _clock(pace: np.ndarray, step: float) -> str:
    moving = pace[pace > 0]
    usual = float(np.median(moving)) if len(moving) else 0.0
    if step >= 10 and 0 < usual < 1:
        return (f"frames are {step:g} s apart and things move at {usual:.2g} m/s (median): the clock looks like milliseconds or frame numbers; "
                "pass time='ms', or time='frame' with rate= (frames a second)")
    return ""


def _speeds(speed: np.ndarray, pace: np.ndarray) -> str:
    use = np.isfinite(speed) & (pace > WALKS)
    if use.sum() < ENOUGH:
        return ""
    ratio = float(np.median(np.abs(speed[use]) / pace[use]))
    if 0.8 < ratio < 1.25:
        return ""
    near = min(RATIOS, key=lambda r: abs(np.log(max(ratio, 1e-12) / r)))
    likely = f"it looks like {RATIOS[near]}" if abs(np.log(max(ratio, 1e-12) / near)) < 0.08 else "the clock or the positions are in another unit"
    tell = {3.6: "speed='km/h'", 2.23694: "speed='mph'", 1.94384: "speed='kn'", 3.28084: "speed='ft/s'"}
    return (f"the speeds are {ratio:.3g} times those of the positions (median over {int(use.sum())} rows that move): {likely}; "
            f"pass {tell.get(near, 'the unit') if 'looks' in likely else 'the units that are true'}, or leave the column out "
            "(columns={'speed': None})")


def _headings(heading: np.ndarray, velocity: np.ndarray, moves: np.ndarray) -> str:
    use = np.isfinite(heading) & moves
    largest = float(np.nanmax(np.abs(heading))) if np.isfinite(heading).any() else 0.0
    if use.sum() < ENOUGH:
        return "" if largest <= 2 * np.pi + 0.1 else f"headings reach {largest:.4g}: they look like degrees; pass heading='deg' or 'deg_north_cw'"
    h, motion = heading[use], np.arctan2(velocity[use, 1], velocity[use, 0])
    readings = {"rad": h, "rad_north_cw": np.pi / 2 - h}
    if largest > 2 * np.pi + 0.1:
        readings |= {"deg": np.deg2rad(h), "deg_north_cw": np.pi / 2 - np.deg2rad(h)}
    off = {name: float(np.median(np.abs(wrapped(value - motion)))) for name, value in {**readings, "mirrored": -h}.items()}
    best = min(off, key=off.__getitem__)
    if largest <= 2 * np.pi + 0.1 and (off["rad"] < 0.3 or best == "rad"):
        best = "rad"
    if best == "rad" and off["rad"] < 0.5:
        return ""
    start = f"read as radians from x, the headings are off the direction of motion by {off['rad']:.2g} rad (median), and reach {largest:.4g}"
    if off[best] > 0.3:
        return f"{start}; no other reading of them fits either: are they of other rows, or do the vehicles reverse?"
    fits = "y_down=True (y grows downwards, headings do not)" if best == "mirrored" else f"heading={best!r}"
    return f"{start}; {fits} fits to {off[best]:.2g} rad"
