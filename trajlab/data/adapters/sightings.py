"""Sightings of road users in SI units, one a row, and how they become `Trajectories`: what all readers of traffic share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch

from trajlab.types import Trajectories
from trajlab.units import Units

__all__ = ["Sightings", "frames_of", "packed", "tidy", "usual_step", "wrapped"]

MOST = 50_000_000  #: node frames; more is a clock in the wrong unit or several recordings in one table
OFF_GRID = 0.25  #: of the step


@dataclass(frozen=True)
class Sightings:
    """Rows, in any order until `tidy` has been called.

    Attributes:
        time: s, ``[row]``.
        agent: names or numbers, ``[row]``.
        x: m, ``[row 2]``.
        scene: names or numbers of the recording, ``[row]``; None for one recording.
        extra: values a sighting, ``[row ...]``.
        static: values of an agent, repeated in its rows, ``[row]``; the first counts.
        starts: True where a track is cut before a row, ``[row]``.
    """

    time: np.ndarray
    agent: np.ndarray
    x: np.ndarray
    scene: np.ndarray | None = None
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    static: Mapping[str, np.ndarray] = field(default_factory=dict)
    starts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.time)

    def rows(self, which: np.ndarray) -> Self:
        """Some rows, or all in another order."""
        pick = lambda value: None if value is None else value[which]  # noqa: E731
        return replace(self, time=self.time[which], agent=self.agent[which], x=self.x[which], scene=pick(self.scene), starts=pick(self.starts),
                       extra={k: v[which] for k, v in self.extra.items()}, static={k: v[which] for k, v in self.static.items()})

    def of(self) -> np.ndarray:
        """Number of the recording of each row."""
        return np.zeros(len(self), dtype=np.int64) if self.scene is None else np.unique(self.scene, return_inverse=True)[1]

    def follows(self) -> np.ndarray:
        """True where a row is of the same agent and recording as the row before it, ``[row]``; for rows in order."""
        same = np.zeros(len(self), dtype=bool)
        same[1:] = (self.agent[1:] == self.agent[:-1]) & (self.of()[1:] == self.of()[:-1])
        return same


def tidy(rows: Sightings) -> tuple[Sightings, dict[str, int]]:
    """Rows that can be used, in order of recording, agent and time, and how many could not and why.

    Raises:
        ValueError: no row is left.
    """
    finite = np.isfinite(rows.time) & np.isfinite(rows.x).all(1)
    for value in rows.extra.values():
        finite &= np.isfinite(value.reshape(len(value), -1)).all(1)
    kept = rows.rows(finite)
    kept = kept.rows(np.lexsort((kept.time, np.unique(kept.agent, return_inverse=True)[1], kept.of())))
    repeated = kept.follows() & (np.diff(kept.time, prepend=np.nan) == 0)
    dropped = {"rows": len(rows), "not finite": int((~finite).sum()), "repeated": int(repeated.sum())}
    if not finite.any():
        raise ValueError(f"no row is left of {len(rows)}: none has a finite time and position" if len(rows) else "there are no rows")
    return kept.rows(~repeated), dropped


def usual_step(time: np.ndarray, scene: np.ndarray) -> float:
    """The most frequent distance between neighbouring clock times of a recording (1 where no recording has two), s."""
    steps = []
    for one in np.unique(scene):
        steps.append(np.diff(np.unique(time[scene == one])))
    step = np.concatenate(steps)
    if not len(step):
        return 1.0
    median = float(np.median(step))
    near = step[np.abs(step - median) < 0.1 * median]
    return float(f"{near.mean():.9g}")


def frames_of(time: np.ndarray, scene: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Frame of each row, and the time of frame 0 of each recording; frames that nobody was seen in are counted too.

    Raises:
        ValueError: two times share a frame, or times lie off the regular clock by more than a quarter of a step.
    """
    first = np.full(scene.max() + 1, np.inf)
    np.minimum.at(first, scene, time)
    exact = (time - first[scene]) / step
    frame = np.rint(exact)
    off = np.abs(exact - frame)
    if off.max() > OFF_GRID:
        at = int(off.argmax())
        raise ValueError(f"the clock is not regular: with the usual step of {step:g} s, the time {time[at]:.6g} s lies {off.max() * step:.3g} s off. "
                         "Give the true step= (s), or resample the tracks first (resample= in trajlab.read_tracks)")
    return frame.astype(np.int64), first


def packed(rows: Sightings, step: float | None = None, source: Mapping[str, Any] | None = None) -> Trajectories:
    """Trajectories from tidy rows on a regular clock; frames that are missing from the clock are there, and masked out.

    Args:
        rows: as `tidy` returns them, with cuts.
        step: between frames, s; the most frequent one by default.
        source: provenance.

    Returns:
        One node an uncut piece of a track; ``static["id"]`` is the number of its agent (the name, where these are whole numbers, else its place in
        ``source["ids"]``), ``context["run"]`` the recording, ``source["id"]`` the name of each node's agent, ``source["missing_frames"]`` how many
        frames of the clock nobody was seen in.

    Raises:
        ValueError: the clock is irregular, or there are more node frames than memory is for.
    """
    scene = rows.of()
    step = usual_step(rows.time, scene) if step is None else step
    frame, first = frames_of(rows.time, scene, step)
    cut = ~rows.follows() if rows.starts is None else ~rows.follows() | rows.starts
    node = cut.cumsum() - 1
    at = np.flatnonzero(cut)
    shape = (len(at), int(frame.max()) + 1)
    if shape[0] * shape[1] > MOST:
        raise ValueError(f"{shape[0]} tracks over {shape[1]} frames of {step:g} s are too many to hold densely; is the clock in another unit, or are "
                         "these several recordings? Name the column of the recording, or read a part of the file")
    twice = np.flatnonzero((np.diff(frame) == 0) & (np.diff(node) == 0))
    if len(twice):
        raise ValueError(f"agent {rows.agent[twice[0]]} is seen twice within one step of {step:g} s at {rows.time[twice[0]]:g} s; "
                         "give the true step=")
    mask = np.zeros(shape, dtype=bool)
    mask[node, frame] = True

    def grid(value: np.ndarray) -> torch.Tensor:
        out = np.zeros((*shape, *value.shape[1:]))
        out[node, frame] = value
        return torch.from_numpy(out)

    names, index = np.unique(rows.agent, return_inverse=True)
    whole = np.issubdtype(names.dtype, np.integer)
    ident = torch.from_numpy((names.astype(np.int64) if whole else np.arange(len(names)))[index[at]])
    seen = len(np.unique(scene * shape[1] + frame))
    length = np.zeros(len(first), dtype=np.int64)
    np.maximum.at(length, scene, frame + 1)
    said = {"step": step, "missing_frames": int(length.sum() - seen), "id": [v.item() if isinstance(v, np.generic) else v for v in names[index[at]]]}
    said |= {} if whole else {"ids": [str(n) for n in names]}
    said |= {} if rows.scene is None else {"scenes": [str(n) for n in np.unique(rows.scene)]}
    static = {name: torch.from_numpy(np.ascontiguousarray(value[at])) for name, value in rows.static.items() if name != "kind"}
    kind = torch.from_numpy(rows.static["kind"][at].astype(np.int64)) if "kind" in rows.static else torch.zeros(len(at), dtype=torch.long)
    return Trajectories(
        x=grid(rows.x), time=torch.from_numpy(first[:, None] + step * np.arange(shape[1])), scene=torch.from_numpy(scene[at]), kind=kind,
        mask=torch.from_numpy(mask), extra={k: grid(v) for k, v in rows.extra.items()}, static={**static, "id": ident},
        context={"run": torch.arange(len(first))}, units=Units.si(), source={**(source or {}), **said})


def wrapped(angle: np.ndarray) -> np.ndarray:
    """Angles in (-pi, pi]."""
    return -((np.pi - angle) % (2 * np.pi) - np.pi)


def say_dropped(dropped: Mapping[str, int], what: str, level: int = 3) -> None:
    """Warn of every reason for which rows were dropped."""
    said = [f"{count} {reason}" for reason, count in dropped.items() if reason != "rows" and count]
    if said:
        warnings.warn(f"{what}: of {dropped['rows']} rows dropped {', '.join(said)}", UserWarning, stacklevel=level)
