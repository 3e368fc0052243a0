"""Pictures of Markov jump processes: the generator as a graph, and panels of small figures. Takes arrays; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from trajlab.evaluate.results import Figure, Panels, RateGraph
from trajlab.report import figures
from trajlab.report.graph_layout import layout
from trajlab.report.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["generator_graph", "graph_cards", "graph_svg", "panel", "panel_cards", "panels_svg"]

MOST_RATES = 24  #: links beyond which rates are not written at the arrows
WIDTHS = (0.7, 5.0)  #: of arrows, in points: of a rate of zero and of the largest; the root of the rate lies between
RADII = (8.0, 30.0)  #: of states, in points: the least, and that of the heaviest
BEND = 0.16  #: of arrows, so that both directions of a link are seen
COLOURS = {"ink": "black", "muted": "#777777", "state": "#0072b2", "one way": "#d55e00", "ground": "white"}
PLAIN = ("#1c1e22", "#0072b2", "#d55e00", "#009e73", "#b8568f", "#b07a00", "#3d9ccc", "#7a7f87")
GROUND = "#0f0e0d"  # a placeholder that becomes the page's colour of cards


def generator_graph(ax: Axes, rates: Any, weight: Any = None, names: Sequence[str] = (), one_way: Any = None, faint: Any = None,
                    colours: dict[str, str] | None = None) -> None:
    """Draw a generator: states as discs, their areas their weights, jumps as arrows whose width grows with the root of the rate.

    Links that are not run back are marked by colour; those of which little is known are thin and dashed. States lie so that distances tell in how
    many jumps one is reached from another, as far as the plane can.

    Args:
        ax: to draw on.
        rates: ``[state state]``; the diagonal is not looked at.
        weight: of the states, ``[state]``; the stationary distribution by default.
        names: of the states; their numbers from 0 by default.
        one_way: links to be marked, ``[state state]``; by default those without a rate back.
        faint: links to be dashed, ``[state state]``.
        colours: of ``ink``, ``muted``, ``state``, ``one way`` and ``ground``.

    Raises:
        ValueError: shapes that do not fit, a rate that is negative or not finite.
    """
    q, weight, names = _checked(rates, weight, names)
    colours = COLOURS | (colours or {})
    marked = (q > 0) & (q.T <= 0) if one_way is None else np.asarray(one_way, dtype=bool)
    dotted = np.zeros(q.shape, dtype=bool) if faint is None else np.asarray(faint, dtype=bool)
    place = layout(np.where(dotted, 0.0, q))
    _frame(ax, place)
    radius = _radii(ax, place, weight)
    links = sorted(zip(*np.nonzero(q > 0)), key=lambda link: q[link])
    for i, j in links:
        colour = colours["one way"] if marked[i, j] else colours["ink"]
        _arrow(ax, place[i], place[j], (radius[i], radius[j]), np.sqrt(q[i, j] / q.max()), colour, bool(dotted[i, j]))
    ax.scatter(*place.T, s=(2 * radius) ** 2, color=colours["ground"], edgecolors=colours["state"], linewidths=1.6, zorder=3)
    ax.scatter(*place.T, s=(2 * radius) ** 2, color=colours["state"], alpha=0.22, linewidths=0, zorder=4)
    for (x, y), r, name in zip(place, radius, names):
        fits = 3.4 * len(name) < r
        ax.annotate(name, (x, y), xytext=(0, 0 if fits else -r - 7), textcoords="offset points", ha="center", va="center", fontsize=10,
                    color=colours["ink"], zorder=6, fontweight="bold")
    written = [link for link in links if not dotted[link]]
    for i, j in written if len(written) <= MOST_RATES else []:
        _value(ax, place[i], place[j], q[i, j], colours)


def _checked(rates: Any, weight: Any, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
    q = np.array(rates, dtype=np.float64)
    if q.ndim != 2 or q.shape[0] != q.shape[1] or not len(q):
        raise ValueError(f"the rates have the shape {q.shape}; [state state] was wanted")
    np.fill_diagonal(q, 0.0)
    if not (np.isfinite(q).all() and (q >= 0).all()):
        raise ValueError("rates must be finite and not negative")
    if weight is None:
        from trajlab.dynamics.jumps.generator import from_rates, stationary

        weight = stationary(from_rates(q))
    weight, names = np.asarray(weight, dtype=np.float64), list(names) or [str(k) for k in range(len(q))]
    if weight.shape != (len(q),) or len(names) != len(q) or not (weight >= 0).all():
        raise ValueError(f"{len(q)} states, weights of the shape {weight.shape} and {len(names)} names; one of each a state was wanted, weights of "
                         "at least 0")
    return q, weight, names


def _arrow(ax: Axes, start: np.ndarray, stop: np.ndarray, radius: tuple[float, float], strength: float, colour: str, dotted: bool) -> None:
    from matplotlib.patches import FancyArrowPatch

    width = WIDTHS[0] + (WIDTHS[1] - WIDTHS[0]) * (0.0 if dotted else float(strength))
    ax.add_patch(FancyArrowPatch(
        tuple(start), tuple(stop), connectionstyle=f"arc3,rad={BEND}", shrinkA=float(radius[0]), shrinkB=float(radius[1]) + 1, linewidth=width,
        arrowstyle=f"-|>,head_length={0.28 + 1.1 / width:.3f},head_width={0.13 + 0.5 / width:.3f}", mutation_scale=5 + 4 * width, color=colour,
        alpha=0.45 if dotted else 0.8, linestyle=(0, (3, 3)) if dotted else "-", zorder=2, capstyle="butt", joinstyle="miter",
    ))


def _value(ax: Axes, start: np.ndarray, stop: np.ndarray, rate: float, colours: dict[str, str], along: float = 0.4) -> None:
    """The rate beside its arrow, nearer to where it starts, so that arrows that cross keep theirs apart."""
    dx, dy = stop - start
    bend = (start + stop) / 2 + BEND * np.array([dy, -dx])
    x, y = (1 - along) ** 2 * start + 2 * along * (1 - along) * bend + along**2 * stop
    outward = 7.0 * np.array([dy, -dx]) / max(float(np.hypot(dx, dy)), 1e-300)
    box = {"boxstyle": "round,pad=0.1", "facecolor": colours["ground"], "edgecolor": "none", "alpha": 0.7}
    ax.annotate(number(float(f"{rate:.3g}")), (x, y), xytext=tuple(outward), textcoords="offset points", ha="center", va="center", fontsize=8,
                color=colours["ink"], zorder=5, bbox=box)


def _radii(ax: Axes, place: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Radii of the states in points: areas as the weights, but none too small to be seen nor so large that neighbours touch."""
    radius = np.maximum(RADII[0] / RADII[1], np.sqrt(weight / max(weight.max(), 1e-300))) * RADII[1]
    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    span = np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
    point = 72 * min(box.width / span[0], box.height / span[1])
    if len(place) == 1:
        return radius
    between = np.linalg.norm(place[:, None] - place, axis=-1) + np.where(np.eye(len(place), dtype=bool), np.inf, 0.0)
    room = point * (between / (radius[:, None] + radius)).min()
    return radius * min(1.0, 0.6 * room)


def _frame(ax: Axes, place: np.ndarray) -> None:
    low, high = place.min(0), place.max(0)
    pad = 0.2 * max(float((high - low).max()), 0.5)
    ax.set_xlim(low[0] - pad, high[0] + pad)
    ax.set_ylim(low[1] - pad, high[1] + pad)
    ax.set_aspect("equal")
    ax.set_axis_off()


def panel(ax: Axes, result: Figure) -> None:
    """Draw a figure of an evaluation (implied timescales, dwell times, occupancy, one panel of Chapman-Kolmogorov) on axes of one's own."""
    for k, curve in enumerate(result.curves):
        x, y, colour = np.asarray(curve.x, dtype=float), np.asarray(curve.y, dtype=float), PLAIN[k % len(PLAIN)]
        look = {"marker": "o", "linestyle": "none", "markersize": 4} if curve.style == "points" else {}
        ax.plot(x, y, color=colour, label=curve.name or None, **look)
        if curve.band is not None:
            ax.fill_between(x, y - curve.band, y + curve.band, color=colour, alpha=0.18, linewidth=0)
    ax.set(xlabel=result.xlabel, ylabel=result.ylabel, title=result.title)
    if result.logy:
        ax.set_yscale("log")
    if any(c.name for c in result.curves):
        ax.legend(fontsize=8, frameon=False)


def graph_cards(graphs: Sequence[RateGraph]) -> str:
    """One card a generator."""
    return "".join(_card(g.title, graph_svg(g, k), g.note, 44) for k, g in enumerate(graphs))


def graph_svg(result: RateGraph, index: int = 0) -> str:
    """A generator as an ``<svg>`` element in the page's colours."""
    colours = {"ink": figures._INK, "muted": figures._MUTED, "state": figures._PALETTE[1], "one way": figures._PALETTE[2], "ground": GROUND}
    with figures._axes(2000 + index) as (canvas, ax):
        canvas.set_size_inches(6.4, 5.2)
        generator_graph(ax, result.rates, result.weight, result.names, result.one_way, result.faint, colours)
        return _finished(canvas, result.title)


def panel_cards(panels: Sequence[Panels]) -> str:
    """One card a grid of small figures."""
    return "".join(_card(p.title, panels_svg(p, k), p.note, 18 * max(min(p.columns, len(p.figures)), 2)) for k, p in enumerate(panels))


def panels_svg(result: Panels, index: int = 0) -> str:
    """A grid of small figures with common axes as an ``<svg>`` element.

    Raises:
        ValueError: no figure, or no column.
    """
    if not result.figures or result.columns < 1:
        raise ValueError(f"panels {result.title!r} hold {len(result.figures)} figures in {result.columns} columns; at least one of each was wanted")
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    columns = min(result.columns, len(result.figures))
    rows = -(-len(result.figures) // columns)
    with mpl.rc_context(figures._STYLE | {"svg.hashsalt": f"trajlab{3000 + index}"}):
        canvas = Canvas(figsize=(max(2.4 * columns, 5.0), 1.9 * rows + 0.5), layout="constrained")
        FigureCanvasSVG(canvas)
        axes = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for k, (ax, small) in enumerate(zip(axes.flat, result.figures)):
            _small(ax, small, k // columns == rows - 1 or k + columns >= len(result.figures), k % columns == 0)
        for ax in list(axes.flat)[len(result.figures):]:
            ax.set_axis_off()
        handles, labels = axes.flat[0].get_legend_handles_labels()
        if labels:
            canvas.legend(handles, labels, loc="outside upper left", ncols=4)
        return _finished(canvas, result.title)


def _small(ax: Axes, result: Figure, last: bool, first: bool) -> None:
    figures._draw(ax, result)
    figures._scale(ax, result)
    ax.annotate(result.title, (0.96, 0.95), xycoords="axes fraction", ha="right", va="top", fontsize=9, color=figures._INK)
    if not result.logy and ax.get_ylim()[0] < 0 <= min(np.nanmin(np.append(c.y, np.inf)) for c in result.curves):
        ax.set_ylim(bottom=0)
    if last:
        ax.set_xlabel(result.xlabel)
        ax.tick_params(labelbottom=True)
    if first:
        ax.set_ylabel(result.ylabel)


def _finished(canvas: Any, title: str) -> str:
    text = StringIO()
    canvas.savefig(text, format="svg", bbox_inches="tight", pad_inches=0.03, metadata={"Date": None, "Creator": None, "Title": title})
    return figures._adopt(text.getvalue(), title).replace(GROUND, "var(--card)")


def _card(title: str, svg: str, note: str, wide: int) -> str:
    """A card whose picture is at most so many rem wide."""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    picture = f'<div style="max-width: {wide}rem; margin: 0 auto">{svg}</div>'
    return f'<figure class="card"><figcaption><h3>{escape(title)}</h3></figcaption>{picture}{below}</figure>'
