"""What an evaluation hands to the report and to disk: tables, figures and playable scenes, as plain numbers without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from trajlab.evaluate.motion_results import MotionScene, PlumeMap


@dataclass(frozen=True)
class Table:
    """Rows of numbers and words; numbers are formatted where they are shown. ``note`` states definitions and units."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[float | int | str | bool | None]]
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """One line of a figure, with an optional half-width ``band`` around it; ``style`` is line, step, points or bar."""

    name: str
    x: np.ndarray
    y: np.ndarray
    band: np.ndarray | None = None
    style: str = "line"


@dataclass(frozen=True)
class Figure:
    """Curves over a common axis; ``marks`` are named vertical lines (a Nyquist frequency, an end of training)."""

    title: str
    xlabel: str
    ylabel: str
    curves: Sequence[Curve]
    marks: Mapping[str, float] = field(default_factory=dict)
    logy: bool = False
    note: str = ""


@dataclass(frozen=True)
class Scene3D:
    """A playable structure: atomic numbers ``[node]``, frames ``[time node 3]`` in Angstrom, optional cell ``[3 3]``."""

    title: str
    numbers: np.ndarray
    frames: np.ndarray
    spacing: float
    cell: np.ndarray | None = None
    note: str = ""


@dataclass(frozen=True)
class DrawnScene:
    """A window to be played twice, side by side: what came, and what was drawn.

    Attributes:
        title: of the window.
        given: the given frames, ``[past node dim]`` with dim 2 (seen from above) or 3; NaN where a node was not seen.
        draws: of each method by name, the judged one first, ``[draw time node dim]``.
        time: of the given and then of the predicted frames, ``[past + time]``.
        truth: what came, ``[time node dim]``, NaN where it was not seen; None where it is not known.
        numbers: atomic numbers ``[node]``; None for things that are no atoms.
        bonds: pairs to be joined by a line, ``[bond 2]``.
        marks: a sign for each node (such as that of its charge), or nothing.
        length, clock: names of the units of length and time.
        note: what else is to be said.
    """

    title: str
    given: np.ndarray
    draws: Mapping[str, np.ndarray]
    time: np.ndarray
    truth: np.ndarray | None = None
    numbers: np.ndarray | None = None
    bonds: np.ndarray | None = None
    marks: Sequence[str] = ()
    length: str = "1"
    clock: str = "1"
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """Populations in the plane of their first two dimensions.

    Attributes:
        title: above.
        kind: ``time`` (cells coloured by time, with paths), ``velocity`` (streamlines) or ``fates`` (cells coloured by likeliest end).
        x: ``[cell dim]``.
        time: of each cell, ``[cell]``.
        names: of the dimensions.
        unit: of time.
        paths: ``[path time dim]``, or None.
        velocity: ``[cell dim]``, for ``velocity``.
        fates: ``[cell fate]``, for ``fates``, with their names in ``labels``.
        labels: names of fates.
        note: what else is to be said.
    """

    title: str
    kind: str
    x: np.ndarray
    time: np.ndarray
    names: Sequence[str] = ()
    unit: str = "1"
    paths: np.ndarray | None = None
    velocity: np.ndarray | None = None
    fates: np.ndarray | None = None
    labels: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class RateGraph:
    """A generator as a graph of its states.

    Attributes:
        title: above.
        rates: from i to j, ``[state state]``; the diagonal is not looked at.
        weight: of each state, its area, ``[state]``.
        names: of the states.
        one_way: links that are not run back, to be marked, ``[state state]``; where None, those without a rate back.
        faint: links of which the data say next to nothing, ``[state state]``, or None.
        unit: of time.
        note: what else is to be said.
    """

    title: str
    rates: np.ndarray
    weight: np.ndarray
    names: Sequence[str]
    one_way: np.ndarray | None = None
    faint: np.ndarray | None = None
    unit: str = "1"
    note: str = ""


@dataclass(frozen=True)
class Panels:
    """Small figures side by side with common axes, row by row; all have the curves of the first, which alone gets a legend."""

    title: str
    figures: Sequence[Figure]
    columns: int
    note: str = ""


@dataclass(frozen=True)
class Evaluation:
    """Everything that was found out, in the order in which it is to be read; ``drawn`` are windows with their forecasts, to be played, ``pictures``
    populations in the plane, ``graphs`` generators, ``panels`` grids of small figures, ``motion`` agents and their forecasts seen from above,
    ``plumes`` what a source sends downwind."""

    title: str
    summary: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    scenes: Sequence[Scene3D] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    drawn: Sequence[DrawnScene] = ()
    pictures: Sequence[Picture] = ()
    graphs: Sequence[RateGraph] = ()
    panels: Sequence[Panels] = ()
    motion: Sequence[MotionScene] = ()
    plumes: Sequence[PlumeMap] = ()

    def save(self, folder: str | Path) -> Path:
        """Write ``evaluation.json`` and ``evaluation.npz`` into a folder, each by a temporary file and a rename."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, np.ndarray] = {}

        def pack(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                name = f"a{len(arrays)}"
                arrays[name] = value
                return {"array": name}
            if isinstance(value, Mapping):
                return {k: pack(v) for k, v in value.items()}
            if isinstance(value, list | tuple):
                return [pack(v) for v in value]
            return value.item() if isinstance(value, np.generic) else value

        text = json.dumps(pack(asdict(self)), indent=1, default=str)
        with open(folder / "evaluation.npz.tmp", "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        (folder / "evaluation.json.tmp").write_text(text)
        for name in ("evaluation.npz", "evaluation.json"):
            os.replace(folder / f"{name}.tmp", folder / name)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote."""
        folder = Path(folder)
        arrays = np.load(folder / "evaluation.npz")

        def unpack(value: Any) -> Any:
            if isinstance(value, dict):
                return arrays[value["array"]] if set(value) == {"array"} else {k: unpack(v) for k, v in value.items()}
            return [unpack(v) for v in value] if isinstance(value, list) else value

        raw = unpack(json.loads((folder / "evaluation.json").read_text()))
        raw["tables"] = [Table(**t) for t in raw["tables"]]
        figure = lambda f: Figure(**{**f, "curves": [Curve(**c) for c in f["curves"]]})  # noqa: E731
        raw["figures"] = [figure(f) for f in raw["figures"]]
        raw["scenes"] = [Scene3D(**s) for s in raw["scenes"]]
        raw["drawn"] = [DrawnScene(**s) for s in raw.get("drawn", [])]
        raw["pictures"] = [Picture(**p) for p in raw.get("pictures", [])]
        raw["graphs"] = [RateGraph(**g) for g in raw.get("graphs", [])]
        raw["panels"] = [Panels(**{**p, "figures": [figure(f) for f in p["figures"]]}) for p in raw.get("panels", [])]
        raw["motion"] = [MotionScene.of(m) for m in raw.get("motion", [])]
        raw["plumes"] = [PlumeMap(**p) for p in raw.get("plumes", [])]
        return cls(**raw)
