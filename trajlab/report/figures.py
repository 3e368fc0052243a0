"""Curves as SVG by matplotlib. Text and lines take their colours from the page, so that a figure is readable in light and dark."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import Any

import numpy as np

from trajlab.evaluate.results import Curve, Figure
from trajlab.report.tables import number

# matplotlib draws with these placeholder colours; the SVG gets the page's variables in their place.
_INK, _MUTED, _RULE = "#010101", "#020202", "#030303"
_PALETTE = [f"#0{i}0a0b" for i in range(8)]
_VARIABLES = {_INK: "var(--ink)", _MUTED: "var(--muted)", _RULE: "var(--rule)"} | {c: f"var(--c{i})" for i, c in enumerate(_PALETTE)}
_DASHES = ["-", "-", (0, (5, 1.6)), (0, (1.4, 1.4)), (0, (6, 1.6, 1.4, 1.6)), (0, (3, 1.5)), "-", "--"]  # a second cue beside colour
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "o"]
_TRUTHS = ("reference", "exact", "truth")  # drawn in ink; what is compared with them takes the colours in order
_MAX_POINTS = 3000

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 10, "axes.labelsize": 10,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9, "axes.edgecolor": _MUTED, "axes.labelcolor": _INK,
    "text.color": _INK, "xtick.color": _MUTED, "ytick.color": _MUTED, "xtick.labelcolor": _INK, "ytick.labelcolor": _INK, "axes.grid": True,
    "grid.color": _RULE, "grid.linewidth": 0.7, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "axes.axisbelow": True, "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False,
    "lines.linewidth": 1.7, "path.simplify": True, "path.simplify_threshold": 0.3, "axes.unicode_minus": True, "axes.formatter.useoffset": False,
}


def figure(result: Figure, index: int = 0) -> str:
    """A card with the figure as inline SVG, its title above and its note below. ``index`` keeps the names inside the SVGs of a page apart."""
    note = f'<p class="note">{escape(result.note)}</p>' if result.note else ""
    return f'<figure class="card"><figcaption><h3>{escape(result.title)}</h3></figcaption>{svg(result, index)}{note}</figure>'


def svg(result: Figure, index: int = 0) -> str:
    """One figure as an ``<svg>`` element whose colours are the page's variables."""
    with _axes(index) as (canvas, ax):
        _draw(ax, result)
        ax.set_xlabel(result.xlabel)
        ax.set_ylabel(result.ylabel)
        _scale(ax, result)
        for name, where in result.marks.items():
            ax.axvline(where, color=_MUTED, linewidth=1, linestyle=(0, (2, 2)))
            ax.annotate(name, (where, 1), xycoords=("data", "axes fraction"), xytext=(-3, -2), textcoords="offset points",
                        rotation=90, ha="right", va="top", fontsize=8, color=_MUTED)
        _legend(ax, result)
        text = StringIO()
        canvas.savefig(text, format="svg", bbox_inches="tight", pad_inches=0.03, metadata={"Date": None, "Creator": None, "Title": result.title})
    return _adopt(text.getvalue(), result.title)


def _scale(ax: Any, result: Figure) -> None:
    """A logarithmic axis where it is asked for, powers of ten at the ticks where they are needed, and a flat line not at mid-height."""
    if result.logy:
        ax.set_yscale("log")
        return
    values = np.concatenate([np.asarray(c.y, dtype=float).ravel() for c in result.curves]) if result.curves else np.zeros(0)
    top = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    if top and not 1e-3 <= top < 1e5:
        ax.yaxis.set_major_formatter(lambda value, _: number(float(value)))
    if top and np.ptp(values) < 1e-9 * top and values[0] > 0:
        ax.set_ylim(0, 1.05 * top)


def _legend(ax: Any, result: Figure) -> None:
    longest = max((len(c.name) for c in result.curves), default=0)
    if not longest:
        return
    columns = 1 if longest > 34 else 2 if len(result.curves) in (2, 4) else 3
    many = any(c.style == "points" and len(c.x) >= 100 for c in result.curves)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2, handlelength=2.2, columnspacing=1.4,
              markerscale=2.5 if many else 1.0)


@contextmanager
def _axes(index: int) -> Iterator[tuple[Any, Any]]:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(_STYLE | {"svg.hashsalt": f"trajlab{index}"}):
        canvas = Canvas(figsize=(6.2, 4.0))
        FigureCanvasSVG(canvas)
        yield canvas, canvas.add_subplot()


def _draw(ax: Any, result: Figure) -> None:
    bars = [id(c) for c in result.curves if c.style == "bar"]
    names = next((list(map(str, c.x)) for c in result.curves if np.asarray(c.x).dtype.kind in "UO"), None)
    for i, curve in zip(_places(result.curves), result.curves):
        x = np.arange(len(curve.x)) + _dodge(result, curve) if names else np.asarray(curve.x, dtype=float)
        if curve.style == "bar":
            _bar(ax, curve, x, i, bars.index(id(curve)), len(bars))
        else:
            _line(ax, curve, x, i)
    if names:
        ax.set_xticks(np.arange(len(names)), names)
        ax.grid(axis="x", visible=False)


def _dodge(result: Figure, curve: Curve) -> float:
    """How far the points of a curve stand beside the word on the axis, so that error bars do not cover each other."""
    points = [id(c) for c in result.curves if c.style == "points"]
    return 0.12 * (points.index(id(curve)) - (len(points) - 1) / 2) if id(curve) in points else 0.0


def _places(curves: Sequence[Curve]) -> list[int]:
    """The place of each curve among colours, dashes and markers; 0 is that of the truth, or of a curve that is alone."""
    others = itertools.count(1 if len(curves) > 1 else 0)
    return [0 if c.name.lower().startswith(_TRUTHS) else next(others) for c in curves]


def _bar(ax: Any, curve: Curve, x: np.ndarray, i: int, place: int, of: int) -> None:
    gap = float(np.diff(x).min()) if len(x) > 1 else 1.0
    width = 0.8 * gap / of
    error = {} if curve.band is None else {"yerr": curve.band, "error_kw": {"ecolor": _MUTED, "elinewidth": 1, "capsize": 2}}
    ax.bar(x + (place - (of - 1) / 2) * width, curve.y, width * 0.94, color=_PALETTE[i % 8], label=curve.name, **error)


def _line(ax: Any, curve: Curve, x: np.ndarray, i: int) -> None:
    colour, y = _PALETTE[i % 8], np.asarray(curve.y, dtype=float)
    if curve.style == "points":
        keep = slice(None, None, max(1, len(x) // _MAX_POINTS))
        look = {"color": colour, "marker": _MARKERS[i % 8], "linestyle": "none", "markersize": 4 if len(x) < 100 else 2, "label": curve.name}
        if curve.band is not None:
            ax.errorbar(x[keep], y[keep], np.asarray(curve.band)[keep], capsize=2, elinewidth=1, **look)
        else:
            ax.plot(x[keep], y[keep], markeredgewidth=0, **look)
        return
    step = {"drawstyle": "steps-mid"} if curve.style == "step" else {}
    ax.plot(x, y, color=colour, linestyle=_DASHES[i % 8], label=curve.name, **step)
    if curve.band is not None:
        band = np.asarray(curve.band, dtype=float)
        ax.fill_between(x, y - band, y + band, color=colour, alpha=0.18, linewidth=0, **({"step": "mid"} if step else {}))


def _adopt(text: str, title: str) -> str:
    """Make a file from matplotlib an element of the page: no prolog, no fixed size, the page's colours and fonts."""
    text = text[text.index("<svg"):]
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<title>.*?</title>", "", text, count=1, flags=re.S)
    text = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"(font: [\d.]+px) [^;\"]*", r"\1 inherit", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
