"""What a track does where the table does not say: velocities by a local parabola, headings by the direction of motion, frames in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from trajlab.data.adapters.sightings import Sightings, wrapped

__all__ = ["direction_of_motion", "filled_heading", "local_velocity", "resampled"]


def local_velocity(time: Float[np.ndarray, "row"], x: Float[np.ndarray, "row dim"], track: Int[np.ndarray, "row"], half: int, reach: float
                   ) -> tuple[Float[np.ndarray, "row dim"], Bool[np.ndarray, "row"]]:
    """Slope at each row of the parabola that fits the rows around it best (Savitzky and Golay, 1964, for any spacing).

    At the ends of a track the window is one-sided; with two rows it is a straight line.

    Args:
        time: s, rising within a track.
        x: m.
        track: number of the track, sorted.
        half: rows on each side.
        reach: rows further away in time (s) do not count, so that no window leads across a gap.

    Returns:
        Velocities (m/s), and where there are any: a row that is alone has none.
    """
    rows = len(time)
    moments, sums = np.zeros((rows, 5)), np.zeros((rows, 3, x.shape[1]))
    for shift in range(-half, half + 1):
        other = np.clip(np.arange(rows) + shift, 0, rows - 1)
        inside = (np.arange(rows) + shift >= 0) & (np.arange(rows) + shift < rows)
        use = inside & (track[other] == track) & (np.abs(time[other] - time) <= reach)
        s = np.where(use, time[other] - time, 0.0) / reach
        powers = use[:, None] * s[:, None] ** np.arange(5)
        moments += powers
        sums += powers[:, :3, None] * np.where(use[:, None], x[other] - x, 0.0)[:, None]
    count = moments[:, 0]
    slope = np.zeros((rows, x.shape[1]))
    three, two = count >= 3, count == 2
    matrix = moments[three][:, np.add.outer(np.arange(3), np.arange(3))]
    slope[three] = np.linalg.solve(matrix, sums[three])[:, 1]
    s0, s1, s2 = moments[two, 0], moments[two, 1], moments[two, 2]
    slope[two] = (s0[:, None] * sums[two, 1] - s1[:, None] * sums[two, 0]) / (s0 * s2 - s1 * s1)[:, None]
    return slope / reach, count >= 2


def direction_of_motion(velocity: Float[np.ndarray, "row 2"], moving: float) -> Float[np.ndarray, "row"]:
    """Direction of the velocity, rad; NaN where it is slower than ``moving`` (m/s), as the direction of noise says nothing."""
    return np.where(np.linalg.norm(velocity, axis=1) >= moving, np.arctan2(velocity[:, 1], velocity[:, 0]), np.nan)


def filled_heading(heading: Float[np.ndarray, "row"], track: Int[np.ndarray, "row"]) -> tuple[Float[np.ndarray, "row"], Bool[np.ndarray, "row"]]:
    """Headings with the last known one of the track carried on (at its beginning the first known one carried back).

    Returns:
        Headings, 0 where a track has none at all, and True where one is known.
    """
    rows = np.arange(len(heading))
    known = np.isfinite(heading)
    last = np.maximum.accumulate(np.where(known, rows, -1))
    following = np.minimum.accumulate(np.where(known, rows, len(heading))[::-1])[::-1]
    before = (last >= 0) & (track[np.clip(last, 0, None)] == track)
    after = (following < len(heading)) & (track[np.clip(following, None, len(heading) - 1)] == track)
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
