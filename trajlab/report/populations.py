"""Populations in the plane as cards of the page, drawn by `trajlab.report.snapshot_pictures` in the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import StringIO

from trajlab.catalog import unknown
from trajlab.evaluate.results import Picture
from trajlab.report.figures import _adopt, _axes
from trajlab.report.snapshot_pictures import fate_map, scatter_by_time, streamlines

__all__ = ["cards", "svg"]

KINDS = ("time", "velocity", "fates")
DOTS = 140  #: an inch, of the cells, which are pixels inside the drawing


def cards(pictures: Sequence[Picture]) -> str:
    """One card a picture."""
    return "".join(_card(picture, index) for index, picture in enumerate(pictures))


def _card(picture: Picture, index: int) -> str:
    note = f'<p class="note">{escape(picture.note)}</p>' if picture.note else ""
    return f'<figure class="card"><figcaption><h3>{escape(picture.title)}</h3></figcaption>{svg(picture, index)}{note}</figure>'


def svg(picture: Picture, index: int = 0) -> str:
    """One picture as an ``<svg>`` element.

    Raises:
        ValueError: an unknown kind, or what it shows is not there.
    """
    if picture.kind not in KINDS:
        raise ValueError(unknown("kind of picture", picture.kind, KINDS))
    if (picture.kind == "velocity" and picture.velocity is None) or (picture.kind == "fates" and picture.fates is None):
        raise ValueError(f"picture {picture.title!r} of kind {picture.kind} holds no {picture.kind}")
    with _axes(1000 + index) as (canvas, ax):
        ax.grid(visible=False)
        if picture.kind == "time":
            scatter_by_time(ax, picture.x, picture.time, picture.unit, picture.names, picture.paths, title="")
        elif picture.kind == "velocity":
            streamlines(ax, picture.x, picture.velocity, picture.time, picture.names, title="")
        else:
            fate_map(ax, picture.x, picture.fates, picture.labels, picture.names, title="")
        text = StringIO()
        canvas.savefig(text, format="svg", dpi=DOTS, bbox_inches="tight", pad_inches=0.03,
                       metadata={"Date": None, "Creator": None, "Title": picture.title})
    return _adopt(text.getvalue(), picture.title).replace("stroke: #000000", "stroke: var(--ink)")
