"""Windows played twice, side by side: what came and what was drawn, as few bytes and a card with a player."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from trajlab.evaluate.results import DrawnScene
from trajlab.report.scenes import BUDGET

HIDDEN = -32768  #: stands for a coordinate that was not seen
SHARE = 0.99  #: of the drawn positions of the judged method that the first view holds


def pack(scene: DrawnScene, budget: int = BUDGET) -> dict[str, Any]:
    """What the player needs: coordinates about the middle of the view as int16 steps, colours, radii and bonds.

    Raises:
        ValueError: shapes disagree, there are no draws, dimensions other than 2 and 3, or a clock that does not increase.
    """
    parts = _check(scene)
    centre, reach, radius = _view(parts)
    shown, kept = _thinned(parts, budget)
    scale = max(float(np.nanmax([np.nanmax(np.abs(p - centre), initial=0.0) for p in shown.values()])), 1e-9) / 32767
    note = f"{scene.note} {kept} draws are shown." if kept < max(len(d) for d in scene.draws.values()) else scene.note
    names = list(scene.draws)
    return {
        "title": scene.title, "note": note.strip(), "dim": scene.given.shape[2], "nodes": scene.given.shape[1], "past": len(scene.given),
        "time": [round(float(t), 6) for t in scene.time], "scale": scale, "reach": reach, "radius": radius,
        "axes": _axes(parts), "centre": [round(float(c), 6) for c in centre],
        "given": _steps(shown["given"] - centre, scale), "truth": _steps(shown["truth"] - centre, scale) if "truth" in shown else None,
        "drawn": [{"name": n, "draws": len(shown[f"draws/{n}"]), "data": _steps(shown[f"draws/{n}"] - centre, scale)} for n in names],
        "length": "" if scene.length == "1" else _short(scene.length), "clock": "" if scene.clock == "1" else scene.clock,
        "bonds": [] if scene.bonds is None else np.asarray(scene.bonds).tolist(), "marks": list(scene.marks), **_look(scene),
    }


def player(scenes: Sequence[DrawnScene]) -> str:
    """The card: two stages with one clock and one camera, what came on the left, what was drawn on the right."""
    each = max(BUDGET // max(1, len(scenes)), 60_000)
    text = json.dumps([pack(scene, each) for scene in scenes], ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    speeds = "".join(f'<option value="{s}"{" selected" if s == 1 else ""}>{label}</option>'
                     for s, label in ((0.25, "¼ ×"), (0.5, "½ ×"), (1, "1 ×"), (2, "2 ×"), (4, "4 ×")))
    zoom = ('<div class="zoom"><button type="button" data-zoom="1.25" aria-label="Nearer">+</button>'
            '<button type="button" data-zoom="0.8" aria-label="Farther">−</button><button type="button" data-zoom="0">Reset</button></div>')
    view = ('<div class="stage"><canvas role="img" tabindex="0" aria-label="{what}"></canvas><span class="badge"></span>{zoom}</div>'
            '<p class="note"></p>')
    left = view.format(what="What came", zoom=zoom)
    right = view.format(what="What was drawn", zoom=zoom)
    return ('<div class="card" id="drawn"><div class="panes">'
            f'<div class="view" data-side="truth"><label>Window <select data-use="scene" aria-label="Window"></select></label>{left}</div>'
            f'<div class="view" data-side="drawn"><label>Forecast <select data-use="draw" aria-label="Draw"></select></label>{right}</div></div>'
            '<div class="controls"><button data-use="play" type="button" aria-pressed="false">Play</button>'
            '<input data-use="slider" type="range" min="0" max="1" value="0" step="1" aria-label="Time"><span data-use="clock"></span>'
            f'<label>Speed <select data-use="speed">{speeds}</select></label>'
            '<label><input data-use="trails" type="checkbox" checked> Trails</label>'
            '<label><input data-use="ghost" type="checkbox" checked> Truth behind the draws</label></div>'
            '<noscript><p class="note">The player needs JavaScript; the tables and figures do not.</p></noscript></div>'
            f'<script type="application/json" id="drawn-scenes">{text}</script>')


def _check(scene: DrawnScene) -> dict[str, np.ndarray]:
    """All coordinates by name, ``[... node dim]``."""
    given = np.asarray(scene.given, dtype=float)
    if given.ndim != 3 or given.shape[2] not in (2, 3) or not given.size or not scene.draws:
        raise ValueError(f"scene {scene.title!r} needs given[past node dim] with dim 2 or 3 and draws of at least one method, got the shape "
                         f"{list(given.shape)} and {len(scene.draws)} methods")
    ahead = len(scene.time) - len(given)
    parts = {"given": given} | ({} if scene.truth is None else {"truth": np.asarray(scene.truth, dtype=float)})
    parts |= {f"draws/{name}": np.asarray(value, dtype=float) for name, value in scene.draws.items()}
    for name, value in parts.items():
        wanted = given.shape if name == "given" else (ahead, *given.shape[1:])
        if ahead < 1 or value.shape[-3:] != wanted or value.ndim != (4 if name.startswith("draws") else 3):
            raise ValueError(f"scene {scene.title!r}: {name} has the shape {list(value.shape)}, but with {len(given)} given frames, "
                             f"{len(scene.time)} times and {given.shape[1]} nodes it must end in {list(wanted)}")
    if not (np.diff(scene.time) > 0).all():
        raise ValueError(f"scene {scene.title!r}: its times must increase")
    return parts


def _view(parts: dict[str, np.ndarray]) -> tuple[np.ndarray, list[float], float]:
    """The middle of what is shown at first, its half-widths and its radius: the given frames, the truth, and nearly all of the judged draws."""
    dim = parts["given"].shape[-1]
    sure = np.concatenate([parts[k].reshape(-1, dim) for k in ("given", "truth") if k in parts])
    draws = next(v for k, v in parts.items() if k.startswith("draws")).reshape(-1, dim)
    sure, draws = sure[np.isfinite(sure).all(1)], draws[np.isfinite(draws).all(1)]
    tail = (1 - SHARE) / 2
    edges = ([sure.min(0), sure.max(0)] if len(sure) else []) + ([*np.quantile(draws, [tail, 1 - tail], axis=0)] if len(draws) else [])
    if not edges:
        return np.zeros(dim), [1.0] * dim, 1.0
    low, high = np.min(edges, 0), np.max(edges, 0)
    centre = (low + high) / 2
    distances = [np.linalg.norm(p - centre, axis=1) for p in (sure, draws)]
    radius = max([float(distances[0].max(initial=0.0))] + ([float(np.quantile(distances[1], SHARE))] if len(draws) else []))
    return centre, [max(float(v), 0.02 * radius, 1e-9) for v in (high - low) / 2], max(radius, 1e-9)


def _axes(parts: dict[str, np.ndarray]) -> list[list[float]]:
    """Principal axes of the given frames in space, a right-handed frame as rows, so that what is flat is first seen from its broad side."""
    if parts["given"].shape[-1] != 3:
        return []
    points = parts["given"].reshape(-1, 3)
    points = points[np.isfinite(points).all(1)]
    if len(points) < 3:
        return np.eye(3).tolist()
    axes = np.linalg.eigh(np.cov(points.T))[1].T[::-1]
    axes = axes * np.where(axes[range(3), np.abs(axes).argmax(1)] < 0, -1, 1)[:, None]  # of the two signs always the same
    axes[2] *= np.sign(np.linalg.det(axes))
    return [[round(float(v), 5) for v in row] for row in axes]


def _thinned(parts: dict[str, np.ndarray], budget: int) -> tuple[dict[str, np.ndarray], int]:
    """Fewer draws where they would not fit; coordinates far out of the view are hidden, so that they do not coarsen the rest."""
    most = max(len(v) for k, v in parts.items() if k.startswith("draws"))
    each = max(v[:1].size for k, v in parts.items() if k.startswith("draws")) * 2 * sum(k.startswith("draws") for k in parts)
    keep = max(1, min(most, budget // max(each, 1)))
    centre, _, radius = _view(parts)
    far = 20 * radius
    near = lambda v: np.where((np.abs(v - centre) < far).all(-1, keepdims=True), v, np.nan)  # noqa: E731
    return {k: near(v[:keep] if k.startswith("draws") else v) for k, v in parts.items()}, keep


def _steps(value: np.ndarray, scale: float) -> str:
    steps = np.where(np.isfinite(value), np.round(np.nan_to_num(value) / scale), HIDDEN)
    return base64.b64encode(steps.astype("<i2").tobytes()).decode()


def _look(scene: DrawnScene) -> dict[str, Any]:
    """Colours and radii of atoms; other things get the colours of the page by their place."""
    if scene.numbers is None:
        return {"colours": [], "radii": []}
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors

    numbers = [int(z) for z in scene.numbers]
    colours = ["#" + "".join(f"{round(255 * c):02x}" for c in jmol_colors[z]) for z in numbers]
    return {"colours": colours, "radii": [round(0.28 + 0.28 * float(covalent_radii[z]), 3) for z in numbers]}


def _short(unit: str) -> str:
    return {"angstrom": "Å"}.get(unit, unit)
