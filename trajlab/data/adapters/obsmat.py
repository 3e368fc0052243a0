"""The original annotation of the ETH pedestrians (obsmat), which has velocities and the true clock; and its list of groups.

Source: Pellegrini, Ess, Schindler and van Gool, You'll never walk alone, ICCV (2009).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from trajlab.data.adapters.eth_ucy import recording
from trajlab.types import Trajectories

__all__ = ["read_obsmat"]

RATES = {6: 15.0, 10: 25.0}  #: usual distance between annotated frames -> frames a second of the video (ETH, Hotel)
COLUMNS = "frame, id, x, z, y, vx, vz, vy"


def read_obsmat(path: str | Path, *, rate: float | None = None, groups: str | Path | None = None) -> Trajectories:
    """An annotation as one scene.

    Args:
        path: rows of eight numbers: frame, pedestrian, x, z, y, vx, vz, vy (m, m/s); z and vz are always 0 and left out.
        rate: frames a second of the video: 15 where frames are annotated every 6 (ETH), 25 where every 10 (Hotel), if it is left out.
        groups: the list of groups (``eth_groups.txt``): a line of pedestrians a group.

    Returns:
        Metres and seconds: ``extra["velocity"]`` (as annotated: central differences, so that the velocity of a frame knows the
        next one; no input for a forecast from there), ``static["id"]``, ``context["run"]`` (0), with ``groups`` also ``static["group"]``
        (number of the group, -1 for those alone). Frames that are missing are there and masked out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a row is no such row (its line is told), the rate has to be told, or no row is left.
    """
    path = Path(path)
    table = _numbers(path, 8)
    table = table[np.lexsort((table[:, 0], table[:, 1]))]
    twice = np.flatnonzero((np.diff(table[:, :2], axis=0) == 0).all(1))
    if len(twice) or not np.isfinite(table).all():
        lost = int((~np.isfinite(table)).any(1).sum())
        raise ValueError(f"{path}: {len(twice)} pedestrians are seen twice in one frame, {lost} rows are not finite; drop these first")
    frames = np.unique(table[:, 0])
    gaps, count = np.unique(np.diff(frames), return_counts=True)
    usual = int(gaps[count.argmax()]) if len(gaps) else 0
    if rate is None and usual not in RATES:
        raise ValueError(f"{path} has a row every {usual} frames; only those of every 6 (15 a second) and 10 (25 a second) are known. Give rate= in "
                         "frames a second")
    rate = RATES[usual] if rate is None else rate
    if not rate > 0:
        raise ValueError(f"rate={rate:g}; a positive number of frames a second was wanted")
    source = {"reader": "obsmat", "what": "pedestrians", "file": path.name, "frame_step": usual, "dropped": {"rows": len(table)}}
    result = recording(table[:, [0, 1, 2, 4]], usual or 1, 1 / rate, source)
    result = result.replace(extra={"velocity": recording(table[:, [0, 1, 5, 7]], usual or 1, 1 / rate, source).x})
    return result if groups is None else result.replace(static={**result.static, "group": _groups(Path(groups), result.static["id"])})


def _numbers(path: Path, width: int) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise ValueError(f"line {number} of {path}: {error}; {width} numbers ({COLUMNS}) were wanted") from error
        if len(words) != width:
            raise ValueError(f"line {number} of {path} has {len(words)} columns; {width} ({COLUMNS}) were wanted")
    if not rows:
        raise ValueError(f"{path} holds no sightings")
    return np.array(rows)


def _groups(path: Path, ids: torch.Tensor) -> torch.Tensor:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    number = {int(word): k for k, line in enumerate(filter(str.strip, path.read_text().splitlines())) for word in line.split()}
    return torch.tensor([number.get(one, -1) for one in ids.tolist()])
