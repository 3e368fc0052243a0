"""Text files of the ETH and UCY pedestrian recordings: one row a sighting, ``frame id x y``, or the original annotation of ETH.

Sources: Pellegrini, Ess, Schindler and van Gool (2009) (ETH, Hotel); Lerner, Chrysanthou and Lischinski (2007) (UCY).
"""

from __future__ import annotations

import hashlib
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.types import Trajectories
from trajlab.units import Units

__all__ = ["read_eth_ucy", "recording"]

COLUMNS = {4: (2, 3), 8: (2, 4)}  #: columns of x and y: customary files (frame, id, x, y), annotation (frame, id, x, z, y, vx, vz, vy)
STRETCH = 10 / 6  #: the customary ETH file has a frame every 10 of 15 a second and is read as if it were one every 6
TOO_FAST = 2.0  #: m/s; people walk at 1.2 to 1.5, and the median of those who move is 0.8 to 1.5 in all recordings but the stretched one
MOVES = 0.5  #: m/s
CHOICES = ("warn", "correct", "keep")


def read_eth_ucy(path: str | Path, *, spacing: float = 0.4, stretched: str = "warn") -> Trajectories:
    """One recording of pedestrians as one scene; everyone is masked out where not seen.

    The customary file of the ETH scene (``biwi_eth.txt``) samples its video every 10 frames at 15 frames a second and is read by
    all published evaluations as if that took 0.4 s; it takes 0.67 s, and people seem to walk at 2.5 m/s. The speed gives such a file away,
    under any name and in parts.

    Args:
        path: rows of ``frame id x y`` (metres), or of the eight columns of the original annotation.
        spacing: nominal time between recorded frames, s.
        stretched: what to do about a stretched clock: ``"warn"`` and keep it, as published; ``"keep"`` it; or ``"correct"``: tell the
            true time and interpolate every track (cubic spline) to frames ``spacing`` apart.

    Returns:
        One scene in metres and seconds: ``static["id"]``, ``context["run"]`` (0), ``source["stretched"]`` and ``["corrected"]``. Frames that the
        file skips are there and masked out, so that no window leads across a gap.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty, a row is no such row, someone is at two places in one frame, or ``stretched`` is unknown.

    Warns:
        UserWarning: the clock is stretched, and it was asked to warn.
    """
    path = Path(path)
    if stretched not in CHOICES:
        raise ValueError(unknown("stretched", stretched, CHOICES))
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    table = _table(path)
    step = _step(table[:, 0])
    slow = _is_stretched(table, step, spacing)
    if slow and stretched == "warn":
        warnings.warn(f"{path.name} is stretched in time by 10/6: the median walker does more than {TOO_FAST:g} m/s. It is kept as published; pass "
                      "stretched='correct' to resample its true clock, or 'keep' for no warning", UserWarning, stacklevel=2)
    source = {"what": "pedestrians", "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "frame_step": step,
              "stretched": slow, "corrected": slow and stretched == "correct"}
    if source["corrected"]:
        second = spacing * STRETCH / step
        table, step = resampled(table, step, step / STRETCH), step / STRETCH
    else:
        second = spacing / step
    return recording(table, step, second, source)


def _table(path: Path) -> np.ndarray:
    """Rows of (frame, id, x, y)."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) not in COLUMNS or not np.isfinite(row).all():
            raise ValueError(f"line {number} of {path} is {line.strip()!r}; four finite numbers 'frame id x y' were wanted (or the 8 columns of the "
                             "ETH annotation)")
        rows.append([*row[:2], *(row[c] for c in COLUMNS[len(row)])])
    if not rows:
        raise ValueError(f"{path} holds no sightings")
    table = np.array(rows)
    _, first, count = np.unique(table[:, :2], axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        frame, person = table[first[count > 1][0], :2]
        raise ValueError(f"{path}: pedestrian {person:g} is seen twice in frame {frame:g} ({int((count > 1).sum())} such places); drop repeats first")
    return table[np.lexsort((table[:, 0], table[:, 1]))]


def _step(frames: np.ndarray) -> float:
    """The usual distance between recorded frames."""
    steps, count = np.unique(np.diff(np.unique(frames)), return_counts=True)
    return float(steps[count.argmax()]) if len(steps) else 1.0


def _is_stretched(table: np.ndarray, step: float, spacing: float) -> bool:
    """Whether the median of those who move walks faster than people do."""
    together = (np.diff(table[:, 1]) == 0) & (np.diff(table[:, 0]) == step)
    speed = np.linalg.norm(np.diff(table[:, 2:], axis=0), axis=1)[together] / spacing
    moving = speed[speed > MOVES]
    return len(moving) >= 50 and float(np.median(moving)) > TOO_FAST


def resampled(table: np.ndarray, step: float, new: float) -> np.ndarray:
    """Tracks interpolated to the frames ``new`` apart that lie within them; tracks are cut where they have a gap."""
    from scipy.interpolate import CubicSpline

    origin, parts = table[:, 0].min(), []
    breaks = np.flatnonzero((np.diff(table[:, 1]) != 0) | (np.diff(table[:, 0]) != step)) + 1
    for track in np.split(table, breaks):
        low, high = (track[[0, -1], 0] - origin) / new
        frames = origin + new * np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
        if len(track) > 3:
            x = CubicSpline(track[:, 0], track[:, 2:])(frames)
        else:
            x = np.stack([np.interp(frames, track[:, 0], track[:, c]) for c in (2, 3)], 1)
        parts.append(np.column_stack([frames, np.full(len(frames), track[0, 1]), x]))
    return np.concatenate(parts)


def recording(table: np.ndarray, step: float, second: float, source: dict) -> Trajectories:
    """One scene from rows (frame, id, x, y).

    Args:
        table: sorted by id, then frame.
        step: between recorded frame numbers.
        second: seconds a frame number.
        source: provenance.
    """
    seen = np.unique(table[:, 0])
    gaps = [np.arange(a + step, b - 1e-6 * step, step) for a, b in pairwise(seen) if b - a > 1.5 * step]
    frames = np.unique(np.concatenate([seen, *gaps]))
    ids, node = np.unique(table[:, 1], return_inverse=True)
    column = np.searchsorted(frames, table[:, 0])
    x, mask = np.zeros((len(ids), len(frames), 2)), np.zeros((len(ids), len(frames)), dtype=bool)
    x[node, column], mask[node, column] = table[:, 2:], True
    return Trajectories(
        x=torch.from_numpy(x), time=torch.from_numpy(frames * second)[None], scene=torch.zeros(len(ids), dtype=torch.long),
        mask=torch.from_numpy(mask), static={"id": torch.from_numpy(ids).long()}, context={"run": torch.zeros(1, dtype=torch.long)},
        units=Units.si(), source=source)
