"""TrajNet++: files of one JSON object a line, scenes and tracks of pedestrians, and predictions.

A file is a recording in which scenes are marked: a primary pedestrian and a first and last frame, 9 frames observed and 12 to predict, 0.4 s
apart. Source: Kothari, Kreiss and Alahi, Human trajectory forecasting in crowds, arXiv 2007.03639 (2020).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.data.adapters.sightings import Sightings, packed, say_dropped, tidy
from trajlab.types import Trajectories
from trajlab.units import Units

__all__ = ["GIVEN", "PREDICTED", "read_trajnet"]

GIVEN, PREDICTED, RATE, STEP = 9, 12, 2.5, 10  #: frames, frames, a second, frame numbers between frames
CUTS = ("scenes", "recording")


@dataclass(frozen=True)
class Row:
    """A sighting: frame, pedestrian, metres, and of which prediction (None for what was seen)."""

    frame: int
    person: int
    x: float
    y: float
    number: int | None = None
    scene: int | None = None


@dataclass(frozen=True)
class Mark:
    """A scene: its number, primary pedestrian, first and last frame, frames a second, and tag."""

    number: int
    primary: int
    first: int
    last: int
    rate: float
    tag: Any


def read_trajnet(path: str | Path, *, cut: str = "scenes") -> Trajectories:
    """The scenes of a file, or its whole recording.

    Args:
        path: an ``.ndjson`` file; predictions in it are passed over (see `read_trajnet_answers`).
        cut: ``"scenes"``: each scene of the file is one scene, the primary pedestrian first, with all who were seen in it (masked where not);
            shorter scenes are padded with frames masked out. ``"recording"``: one scene with everyone.

    Returns:
        Metres and seconds on the clock of the recording: ``static["id"]``, ``context["run"]`` (0), and of scenes ``static["focal"]`` (True for
        the primary) and ``context["number"]``; ``source`` has ``"frame_step"`` (frame numbers a frame), ``"rate"``, ``"tags"``, ``"given"`` (9).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is neither a scene nor a track (its number is told), nobody was seen, a primary is missing, or ``cut`` is unknown.
    """
    if cut not in CUTS:
        raise ValueError(unknown("cut", cut, CUTS))
    path = Path(path)
    marks, rows = content(path)
    seen = [row for row in rows if row.number is None]
    if not seen:
        raise ValueError(f"{path} holds no tracks" + (", only predictions; see read_trajnet_answers" if rows else ""))
    rate = marks[0].rate if marks else RATE
    frame = np.array([row.frame for row in seen])
    steps, count = np.unique(np.diff(np.unique(frame)), return_counts=True)
    step = int(steps[count.argmax()]) if len(steps) else STEP
    person, x = np.array([row.person for row in seen]), np.array([[row.x, row.y] for row in seen])
    kind = {"kind": np.zeros(len(x), dtype=np.int64)}
    rows, dropped = tidy(Sightings(time=frame / (step * rate), agent=person, x=x, static=kind))
    say_dropped(dropped, str(path))
    source = {"reader": "trajnet", "what": "TrajNet++ pedestrians", "file": path.name, "frame_step": step, "rate": rate, "given": GIVEN,
              "kinds": ["pedestrian"], "dropped": dropped}
    if cut == "recording":
        return packed(rows, 1 / rate, source)
    if not marks:
        raise ValueError(f"{path} marks no scenes; read it with cut='recording'")
    return _scenes(rows, marks, source, path)


def _scenes(rows: Sightings, marks: list[Mark], source: dict[str, Any], path: Path) -> Trajectories:
    """Every marked scene as a scene, cut from rows so that a long recording needs no dense block."""
    step, rate = source["frame_step"], source["rate"]
    rows = rows.rows(np.argsort(rows.time, kind="stable"))
    frame = np.rint(rows.time * step * rate).astype(np.int64)
    length = max((mark.last - mark.first) // step + 1 for mark in marks)
    low, high = np.searchsorted(frame, [m.first for m in marks]), np.searchsorted(frame, [m.last for m in marks], side="right")
    ids, x, mask = [], [], []
    for mark, one, other in zip(marks, low, high):
        people, node = np.unique(rows.agent[one:other], return_inverse=True)
        if mark.primary not in people:
            raise ValueError(f"{path}: the primary {mark.primary} of scene {mark.number} is not seen in frames {mark.first} to {mark.last}")
        column, off = np.divmod(frame[one:other] - mark.first, step)
        if off.any():
            raise ValueError(f"{path}: scene {mark.number} begins at frame {mark.first}, but frame {frame[one:other][off > 0][0]} is no multiple of "
                             f"{step} later")
        there, at = np.zeros((len(people), length), dtype=bool), np.zeros((len(people), length, 2))
        there[node, column], at[node, column] = True, rows.x[one:other]
        order = np.argsort(people != mark.primary, kind="stable")
        ids.append(people[order])
        x.append(at[order])
        mask.append(there[order])
    sizes = np.array([len(i) for i in ids])
    first = np.zeros(sizes.sum(), dtype=bool)
    first[sizes.cumsum() - sizes] = True
    begin = np.array([mark.first for mark in marks])[:, None]
    every = np.concatenate(ids)
    return Trajectories(
        x=torch.from_numpy(np.concatenate(x)), time=torch.from_numpy((begin + step * np.arange(length)) / (step * rate)),
        scene=torch.arange(len(marks)).repeat_interleave(torch.from_numpy(sizes)), mask=torch.from_numpy(np.concatenate(mask)),
        static={"id": torch.from_numpy(every), "focal": torch.from_numpy(first)},
        context={"run": torch.zeros(len(marks), dtype=torch.long), "number": torch.tensor([mark.number for mark in marks])}, units=Units.si(),
        source={**source, "id": every.tolist(), "tags": [mark.tag for mark in marks]})


def content(path: Path) -> tuple[list[Mark], list[Row]]:
    """Everything in a file: scenes, and sightings (predicted ones too); errors as `read_trajnet`."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    marks, rows = [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if "scene" in entry:
                s = entry["scene"]
                marks.append(Mark(int(s["id"]), int(s["p"]), int(s["s"]), int(s["e"]), float(s.get("fps") or RATE), s.get("tag", 0)))
            else:
                t = entry["track"]
                rows.append(Row(int(t["f"]), int(t["p"]), float(t["x"]), float(t["y"]), t.get("prediction_number"), t.get("scene_id")))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {number} of {path} is {line.strip()[:80]!r} ({type(error).__name__}: {error}); {{\"scene\": {{id, p, s, e}}}} or "
                             "{\"track\": {f, p, x, y}} was wanted") from error
    return marks, rows
