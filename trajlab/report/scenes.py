"""Structures for the player: few bytes, so that a page with hundreds of frames stays small."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from trajlab.evaluate.results import Scene3D

BUDGET = 2_000_000  #: bytes of coordinates in a page; longer scenes are thinned, and the page says so
_METALS = {*range(3, 5), *range(11, 14), *range(19, 32), *range(37, 51), *range(55, 84), *range(87, 104)}


def pack(scene: Scene3D, budget: int = BUDGET) -> dict[str, Any]:
    """What the player needs of a scene: symbols, bonds of the first frame, and coordinates as int16 steps.

    An open system is shown about the mean of its positions, so that it does not drift out of the picture.

    Raises:
        ValueError: shapes disagree, there is no frame or atom, or the spacing is not positive.
    """
    from ase.data import chemical_symbols

    frames = _check(scene)
    centre = scene.cell.sum(0) / 2 if scene.cell is not None else np.zeros(3)
    whole = _near_cell(frames, scene.cell) - centre if scene.cell is not None else frames - frames.mean(1, keepdims=True)
    held = _together(whole)
    stride = max(1, -(-held.size * 2 // budget))
    frames = held[::stride]
    scale = max(float(np.abs(frames).max()), 1e-6) / 32767
    data = np.round(frames / scale).astype("<i2").tobytes()
    note = scene.note + (f" Every {stride}. frame is shown." if stride > 1 else "")
    note += f" Atoms fly apart after frame {len(held)}; it is shown until then." if len(held) < len(whole) else ""
    return {
        "title": scene.title, "note": note.strip(), "spacing": scene.spacing * stride or 1.0, "n_frames": len(frames), "scale": scale,
        "symbols": [chemical_symbols[int(z)] if 0 < z < len(chemical_symbols) else "X" for z in scene.numbers],
        "bonds": bonds(scene.numbers, frames[0]), "box": _box(scene.cell, centre), "data": base64.b64encode(data).decode(),
    }


def _check(scene: Scene3D) -> np.ndarray:
    frames = np.asarray(scene.frames, dtype=float)
    if frames.ndim != 3 or frames.shape[1:] != (len(scene.numbers), 3) or frames.size == 0:
        raise ValueError(f"scene {scene.title!r} needs frames[time node 3] for its {len(scene.numbers)} atoms, got the shape {list(frames.shape)}")
    if not scene.spacing > 0 and len(frames) > 1:
        raise ValueError(f"scene {scene.title!r} has a spacing of {scene.spacing} between frames; it must be positive, in femtoseconds")
    # What was stopped early may end in values that are not numbers: show what is there.
    bad = ~np.isfinite(frames).all((1, 2))
    if bad[0]:
        raise ValueError(f"scene {scene.title!r} has coordinates that are not finite in its first frame")
    return frames[: int(bad.argmax())] if bad.any() else frames


def _together(frames: np.ndarray) -> np.ndarray:
    """The frames until one is ten times as large as the first: what has exploded would leave no room for the rest."""
    reach = np.abs(frames).max((1, 2))
    far = reach > 10 * reach[0] + 20
    return frames[: max(1, int(far.argmax()))] if far.any() else frames


def _near_cell(frames: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Move each atom by the lattice vectors that bring its first frame into the cell; atoms that leave by half a cell are wrapped in every frame."""
    inverse = np.linalg.inv(cell)
    fractional = frames @ inverse
    fractional = fractional - np.floor(fractional[0] + 1e-6)
    if fractional.min() < -0.5 or fractional.max() > 1.5:
        fractional = fractional % 1.0
    return fractional @ cell


def bonds(numbers: np.ndarray, x: np.ndarray) -> list[list[int]]:
    """Pairs nearer than 1.25 times the sum of their covalent radii, metals left out; straight from the picture, for drawing only."""
    from ase.data import covalent_radii

    radius = np.array([0.0 if int(z) in _METALS else covalent_radii[int(z)] for z in numbers])
    near: list[list[int]] = []
    for i in range(len(x) - 1):
        reach = np.where((radius[i] > 0) & (radius[i + 1:] > 0), 1.25 * (radius[i] + radius[i + 1:]), 0.0)
        distance = np.linalg.norm(x[i + 1:] - x[i], axis=1)
        near += [[i, i + 1 + int(j)] for j in np.flatnonzero(distance < reach)]
    return near


def _box(cell: np.ndarray | None, centre: np.ndarray) -> list[list[list[float]]]:
    """The twelve edges of the cell."""
    if cell is None:
        return []
    corners = list(itertools.product((0, 1), repeat=3))
    edges = [(a, b) for a, b in itertools.combinations(corners, 2) if sum(i != j for i, j in zip(a, b)) == 1]
    place = lambda corner: [round(float(v), 4) for v in np.array(corner) @ cell - centre]  # noqa: E731
    return [[place(a), place(b)] for a, b in edges]


def panes(scenes: Sequence[Scene3D]) -> str:
    """The player: the reference on the left where there is one, everything else on the right, one clock for both."""
    each = max(BUDGET // max(1, len(scenes)), 60_000)
    packed = [pack(scene, each) for scene in scenes]
    reference = [i for i, scene in enumerate(scenes) if scene.title.lower().startswith("reference")]
    others = [i for i in range(len(scenes)) if i not in reference]
    groups = [g for g in (reference, others) if g] if reference and others else [[*range(len(scenes))]]
    stages = "".join(_pane(f"{'Reference' if g is reference else 'Forecast'}" if len(groups) > 1 else "Structure", g, packed) for g in groups)
    speeds = "".join(f'<option value="{s}"{" selected" if s == 1 else ""}>{label}</option>'
                     for s, label in ((0.1, "⅒ ×"), (0.25, "¼ ×"), (0.5, "½ ×"), (1, "1 ×"), (2, "2 ×"), (4, "4 ×"), (8, "8 ×")))
    text = json.dumps(packed, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return (f'<div class="card" id="structure-player"><div class="panes">{stages}</div><div class="controls">'
            f'<button id="play" type="button" aria-pressed="false">Play</button><input id="slider" type="range" min="0" max="1" value="0" '
            f'step="1" aria-label="Time"><span id="clock"></span>'
            f'<label>Speed <select id="speed">{speeds}</select></label>'
            f'<label><input id="hold" type="checkbox" checked> Hold orientation</label></div>'
            f'<noscript><p class="note">The player needs JavaScript; the tables and figures do not.</p></noscript></div>'
            f'<script type="application/json" id="scenes">{text}</script>')


def _pane(label: str, group: Sequence[int], packed: Sequence[dict[str, Any]]) -> str:
    options = "".join(f'<option value="{i}">{escape(packed[i]["title"])}</option>' for i in group)
    zoom = ('<div class="zoom"><button type="button" data-zoom="1.25" aria-label="Nearer">+</button>'
            '<button type="button" data-zoom="0.8" aria-label="Farther">−</button><button type="button">Reset</button></div>')
    return (f'<div class="pane"><label>{label} <select aria-label="{label}">{options}</select></label>'
            f'<div class="stage">{zoom}</div><p class="note">{escape(packed[group[0]]["note"])}</p></div>')
