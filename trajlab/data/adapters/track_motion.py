"""What a track does where the table does not say: velocities by a local parabola, headings by the direction of motion, frames in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from trajlab.data.adapters.sightings import Sightings, wrapped

__all__ = ["direction_of_motion", "filled_heading", "local_velocity", "resampled"]


def local_velocity(time: Float[np.ndarray, "row"], x: Float[np.ndarray, "row dim"], track: Int[np.ndarray, "row"], half: int, reach: float,
                   causal: bool = True) -> tuple[Float[np.ndarray, "row dim"], Bool[np.ndarray, "row"]]:
    """Slope at each row of the parabola that fits ``2 half + 1`` rows best (Savitzky and Golay, 1964, for any spacing).

    The rows are those up to this one (``causal``), or those around it; at the beginning (and end) of a stretch the window is moved to lie within.
    With two rows it is a straight line. A central window at the last frame that a forecast is given would show it the future.

    Args:
        time: s, rising within a track.
        x: m.
        track: number of the track, sorted.
        half: rows on each side.
        reach: a gap longer than this ends a stretch, s.
        causal: no row uses later ones, but for the first ``2 half`` of a stretch.

    Returns:
        Velocities (m/s), and where there are any: a row that is alone has none.
    """
    rows = np.arange(len(time))
    begins = np.ones(len(time), dtype=bool)
    begins[1:] = (np.diff(track) != 0) | (np.diff(time) > reach)
    first = np.maximum.accumulate(np.where(begins, rows, 0))
    ends = np.append(begins[1:], True)
    last = np.minimum.accumulate(np.where(ends, rows, len(time))[::-1])[::-1]
    low = np.maximum(np.minimum(rows - (2 * half if causal else half), last - 2 * half), first)
    moments, sums = np.zeros((len(time), 5)), np.zeros((len(time), 3, x.shape[1]))
    for shift in range(2 * half + 1):
        other = np.minimum(low + shift, last)
        use = low + shift <= last
        s = np.where(use, time[other] - time, 0.0) / (reach * half)
        powers = use[:, None] * s[:, None] ** np.arange(5)
        moments += powers
        sums += powers[:, :3, None] * (x[other] - x)[:, None]
    slope = np.zeros((len(time), x.shape[1]))
    three, two = moments[:, 0] >= 3, moments[:, 0] == 2
    matrix = moments[three][:, np.add.outer(np.arange(3), np.arange(3))]
    slope[three] = np.linalg.solve(matrix, sums[three])[:, 1]
    s0, s1, s2 = moments[two, 0], moments[two, 1], moments[two, 2]
    slope[two] = (s0[:, None] * sums[two, 1] - s1[:, None] * sums[two, 0]) / (s0 * s2 - s1 * s1)[:, None]
    return slope / (reach * half), moments[:, 0] >= 2


def direction_of_motion(velocity: Float[np.ndarray, "row 2"], moving: float) -> Float[np.ndarray, "row"]:
    """Direction of the velocity, rad; NaN where it is slower than ``moving`` (m/s), as the direction of noise says nothing."""
    return np.where(np.linalg.norm(velocity, axis=1) >= moving, np.arctan2(velocity[:, 1], velocity[:, 0]), np.nan)


def filled_heading(heading: Float[np.ndarray, "row"], track: Int[np.ndarray, "row"], back: bool = True
                   ) -> tuple[Float[np.ndarray, "row"], Bool[np.ndarray, "row"]]:
    """Headings with the last known one of the track carried on, and (``back``) the first known one carried back to its beginning.

    Returns:
        Headings, 0 where nothing is known, and True where something is.
    """
    rows = np.arange(len(heading))
    known = np.isfinite(heading)
    last = np.maximum.accumulate(np.where(known, rows, -1))
    following = np.minimum.accumulate(np.where(known, rows, len(heading))[::-1])[::-1]
    before = (last >= 0) & (track[np.clip(last, 0, None)] == track)
    after = (following < len(heading)) & (track[np.clip(following, None, len(heading) - 1)] == track) & back
    out = np.where(before, heading[np.clip(last, 0, None)], np.where(after, heading[np.clip(following, None, len(heading) - 1)], 0.0))
    return out, before | after


def resampled(rows: Sightings, track: Int[np.ndarray, "row"], step: float, longest: float) -> Sightings:
    """Tracks at whole multiples of ``step`` (s): positions and velocities linear in between, headings along the shorter turn.

    Args:
        rows: tidy.
        track: number of the track of each row.
        step: s.
        longest: gaps longer than this are not bridged, s.
    """
    parts = []
    for own in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(track)) + 1):
        time = rows.time[own]
        at = step * np.arange(np.ceil(time[0] / step - 1e-6), np.floor(time[-1] / step + 1e-6) + 1)
        right = np.clip(np.searchsorted(time, at, side="left"), 0, len(own) - 1)
        left = np.where(np.isclose(time[right], at, rtol=0, atol=1e-6 * step), right, np.maximum(right - 1, 0))
        bridged = (time[right] - time[left] <= longest) & (at >= time[0] - 1e-6 * step)
        at, left, right = at[bridged], own[left[bridged]], own[right[bridged]]
        parts.append((at, left, right))
    at, left, right = (np.concatenate([p[k] for p in parts]) for k in range(3))
    gap = rows.time[right] - rows.time[left]
    share = np.where(gap > 0, (at - rows.time[left]) / np.where(gap > 0, gap, 1.0), 0.0)

    def between(value: np.ndarray, angle: bool = False) -> np.ndarray:
        way = value[right] - value[left]
        way = wrapped(way) if angle else way
        out = value[left] + share.reshape(-1, *[1] * (value.ndim - 1)) * way
        return wrapped(out) if angle else out

    moved = replace(rows.rows(left), time=at, x=between(rows.x))
    changing = ("heading", "velocity", "speed")
    return replace(moved, static={k: between(v, k == "heading") if k in changing else v[left] for k, v in rows.static.items()})
