"""The Stanford Drone Dataset: the cut of the TrajNet challenge in metres, and the original annotation in pixels.

Source: Robicquet, Sadeghian, Alahi and Savarese, Learning social etiquette, ECCV (2016). Licence CC BY-NC-SA 3.0: no commercial use.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.data.adapters.sightings import Sightings, packed, say_dropped, tidy, usual_step
from trajlab.types import Trajectories

__all__ = ["KINDS", "read_sdd", "read_sdd_trajnet", "sdd_scale"]

KINDS = ("Pedestrian", "Biker", "Skater", "Cart", "Car", "Bus")
RATE = 30.0  #: frames a second of the video
ROW = re.compile(r'\s*(\d+)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(\d+)\s+([01])\s+([01])\s+([01])\s+"?([^"]+?)"?\s*$')


def read_sdd_trajnet(path: str | Path, *, rate: float = RATE) -> Trajectories:
    """A file of the TrajNet challenge: rows of ``frame id x y`` in metres, ``?`` where the future is withheld.

    Args:
        path: a training or test file; rows are 12 frames (0.4 s) apart.
        rate: frames a second of the video.

    Returns:
        Metres and seconds on the clock of the video: ``static["id"]``, ``context["run"]`` (0). Withheld places are masked out and counted in
        ``source["withheld"]``; their frames are there, so that a forecast knows how far to go.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a row is no such row (its line is told), or nobody was seen.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            frame, person, x, y = (float("nan") if word == "?" else float(word) for word in words)
        except ValueError as error:
            raise ValueError(f"line {number} of {path} is {line.strip()!r}; 'frame id x y' (metres, or ? ?) was wanted") from error
        rows.append((frame, person, x, y))
    table = np.array(rows).reshape(-1, 4)
    withheld = np.isnan(table[:, 2:]).any(1)
    if withheld.all() or np.isnan(table[:, :2]).any():
        unnamed = int(np.isnan(table[:, :2]).any(1).sum())
        raise ValueError(f"{path} has {len(table)} rows, {int(withheld.sum())} of them withheld and {unnamed} without frame or id; places of people "
                         "were wanted")
    known = table[~withheld]
    kind = {"kind": np.zeros(len(known), dtype=np.int64)}  # the cut does not tell pedestrians from bikers
    seen, dropped = tidy(Sightings(time=known[:, 0] / rate, agent=known[:, 1].astype(np.int64), x=known[:, 2:], static=kind))
    say_dropped(dropped, str(path))
    source = {"reader": "sdd trajnet", "what": "SDD pedestrians, TrajNet cut", "file": path.name, "withheld": int(withheld.sum()), "dropped": dropped}
    step = round(usual_step(seen.time, seen.of()) * rate) / rate
    return _until(packed(seen, step, source), float(table[:, 0].max()) / rate)


def _until(trajectories: Trajectories, end: float) -> Trajectories:
    """With frames masked out up to a time."""
    step = trajectories.source["step"]
    more = max(0, round((end - float(trajectories.time[0, -1])) / step))
    pad = lambda value: torch.nn.functional.pad(value, [0] * 2 * (value.ndim - 2) + [0, more])  # noqa: E731
    time = trajectories.time[:, :1] + step * torch.arange(trajectories.n_frames + more, dtype=torch.float64)
    return trajectories.replace(x=pad(trajectories.x), time=time, mask=pad(trajectories.mask))


def read_sdd(path: str | Path, *, scale: float | str | Path | None = None, every: int = 12) -> Trajectories:
    """The original annotation of a video: boxes in pixels.

    Args:
        path: rows of ``id xmin ymin xmax ymax frame lost occluded generated "label"``.
        scale: metres a pixel, or the file of scales (``estimated_scales.yaml``), in which the scene and video of the file's name are looked up.
            There is no default: pixels are no metres.
        every: which frames of the 30 a second are kept; 12 are 0.4 s.

    Returns:
        Middles of boxes in metres, y upwards (pixels count downwards, and angles are to be counter-clockwise), seconds; ``kind`` by `KINDS`,
        ``static["id"]``, ``extra["occluded"]`` and ``["generated"]`` (1 where so), ``context["run"]`` (0). Rows marked as lost are dropped and
        counted in ``source["dropped"]``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no scale was given or it is not positive, a row is no such row (its line is told), a label is unknown, or nobody is left.
    """
    path = Path(path)
    if scale is None:
        raise ValueError(f"{path} is in pixels, and no scale was given: pass scale= in metres a pixel, or the path of estimated_scales.yaml")
    if every < 1:
        raise ValueError(f"every={every}; a number of frames of at least 1 was wanted")
    metres = float(scale) if isinstance(scale, int | float) else sdd_scale(scale, path.name)
    if not 0 < metres < 1:
        raise ValueError(f"scale={metres:g} m a pixel; something between 0 and 1 was wanted (0.02 to 0.06 are usual)")
    rows, labels = _boxes(path)
    kind = np.array([KINDS.index(label) if label in KINDS else -1 for label in labels])
    if (kind < 0).any():
        raise ValueError(f"{path}: {unknown('label', str(labels[int((kind < 0).argmax())]), KINDS)}")
    on, lost = rows[:, 5] % every == 0, rows[:, 6] == 1
    keep = on & ~lost
    if not keep.any():
        raise ValueError(f"{path}: no box is left of {len(rows)}: {int(lost.sum())} are lost, {int((~on).sum())} between every {every} frames")
    middle = (rows[:, 1:3] + rows[:, 3:5]) / 2 * metres * np.array([1.0, -1.0])
    tidied, dropped = tidy(Sightings(time=rows[:, 5] / RATE, agent=rows[:, 0].astype(np.int64), x=middle, static={"kind": kind},
                                     extra={"occluded": rows[:, 7], "generated": rows[:, 8]}).rows(np.flatnonzero(keep)))
    say_dropped(dropped, str(path))
    said = {**dropped, "rows": len(rows), "lost (outside the picture)": int((on & lost).sum()), "between kept frames": int((~on).sum())}
    return packed(tidied, every / RATE, {"reader": "sdd", "what": "SDD annotation", "file": path.name, "scale": metres, "kinds": list(KINDS),
                                         "dropped": said})


def _boxes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    rows, labels = [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = ROW.match(line)
        if found:
            rows.append([int(word) for word in found.groups()[:9]])
            labels.append(found.group(10))
        elif line.strip():
            raise ValueError(f"line {number} of {path} is {line.strip()!r}; id xmin ymin xmax ymax frame lost occluded generated label was "
                             "wanted")
    if not rows:
        raise ValueError(f"{path} holds no boxes")
    return np.array(rows, dtype=np.float64), np.array(labels)


def sdd_scale(path: str | Path, name: str) -> float:
    """Metres a pixel of a video, from the file of scales.

    Args:
        path: ``estimated_scales.yaml``: scenes, in them videos, in them ``scale:``.
        name: has the scene and the number of the video in it, such as ``deathCircle_video4_annotations.txt``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the name has no scene and video, or the file doesn't know them.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    found = re.search(r"([A-Za-z]+)_(?:video)?(\d+)", name)
    if not found:
        raise ValueError(f"{name!r} doesn't tell scene and video (as deathCircle_video4 does); give scale= as a number")
    scales: dict[str, float] = {}
    scene = video = ""
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        depth, key = len(key) - len(key.lstrip()), key.strip()
        if depth == 0 and key:
            scene = key
        elif not value.strip():
            video = key
        elif key == "scale":
            scales[f"{scene}_{video}"] = float(value)
    wanted = f"{found.group(1)}_video{found.group(2)}"
    if wanted not in scales:
        raise ValueError(f"{path}: {unknown('video', wanted, scales)}")
    return scales[wanted]
