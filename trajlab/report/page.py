"""The page: text, player, tables, figures and provenance of an evaluation put into one HTML file that opens offline."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from trajlab.evaluate.results import Evaluation

_CREDIT = " Structures are drawn by 3Dmol.js 2.5.5 (BSD 3-Clause licence, University of Pittsburgh and contributors)."


@dataclass(frozen=True)
class Report:
    """A finished page.

    Attributes:
        html: the whole page.
        evaluation: what it shows.
    """

    html: str
    evaluation: Evaluation

    def save(self, path: str | Path = "report.html") -> Path:
        """Write the page by a temporary file and a rename; return where it is."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.html)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return path

    def __repr__(self) -> str:
        e = self.evaluation
        scenes = len(e.scenes) + len(e.drawn)
        return f"Report({e.title!r}: {len(e.tables)} tables, {len(e.figures)} figures, {scenes} scenes, {len(self.html) / 1e6:.1f} MB)"


def report(what: Any, reference: Any = None) -> Report:
    """Make the page of an evaluation, or judge a forecast against a reference and make the page of that.

    Args:
        what: an `Evaluation`, or a `Forecast` (or `Trajectories`), which is judged first: roll-outs of molecular dynamics by
            `trajlab.evaluate.molecular.judge`, forecasts of windows by `trajlab.evaluate.forecasts.judge_forecast`, those of
            agents on a plane with Gaussian paths by `trajlab.evaluate.motion_page.judge_motion`.
        reference: `Trajectories` to compare with, where ``what`` is not an evaluation; for windows what came, at the times of the forecast.

    Raises:
        TypeError: ``what`` is an evaluation and a reference was passed too, or it is neither evaluation nor forecast.
        ValueError: a table, figure or scene is malformed; the message names it.
    """
    if isinstance(what, Evaluation):
        if reference is not None:
            raise TypeError("an Evaluation already holds its reference; pass the reference to the evaluation, or pass a Forecast here")
        return Report(html=_page(what), evaluation=what)
    return report(_judge(what, reference))


def _judge(what: Any, reference: Any) -> Evaluation:
    # A noun was passed, so torch is loaded already.
    from trajlab.types import Forecast, Trajectories

    if not isinstance(what, Forecast | Trajectories):
        raise TypeError(f"a report shows an Evaluation or a Forecast, got {type(what).__name__}; see trajlab.evaluate for how to make one")
    from trajlab.evaluate.forecasts import is_rollout
    from trajlab.evaluate.motion_page import judge_windows

    if isinstance(what, Forecast) and not is_rollout(what):
        return judge_windows(what, reference)
    from trajlab.evaluate.molecular import judge

    return judge(what, reference)


def _page(evaluation: Evaluation) -> str:
    import trajlab
    from trajlab.report import drawn, figures, jump_pictures, motion_pictures, populations, scenes, tables

    parts: list[tuple[str, str, Callable[[], str], Any]] = [
        ("trajectories", "Trajectories", lambda: drawn.player(evaluation.drawn), evaluation.drawn),
        ("pictures", "Populations", lambda: f'<div class="figures">{populations.cards(evaluation.pictures)}</div>', evaluation.pictures),
        ("structures", "Structures", lambda: scenes.panes(evaluation.scenes), evaluation.scenes),
        ("graphs", "States and rates", lambda: f'<div class="figures">{jump_pictures.graph_cards(evaluation.graphs)}</div>', evaluation.graphs),
        ("motion", "Seen from above", lambda: f'<div class="figures">{motion_pictures.motion_cards(evaluation.motion)}</div>', evaluation.motion),
        ("plumes", "Plumes", lambda: motion_pictures.plume_cards(evaluation.plumes), evaluation.plumes),
        ("tables", "Tables", lambda: "".join(map(tables.table, evaluation.tables)), evaluation.tables),
        ("figures", "Figures", lambda: _figures(figures.figure, evaluation), evaluation.figures),
        ("panels", "Model and data", lambda: jump_pictures.panel_cards(evaluation.panels), evaluation.panels),
        ("provenance", "Provenance", lambda: f'<div class="card">{tables.provenance(evaluation.provenance)}</div>', evaluation.provenance),
    ]
    shown = [(name, title, make()) for name, title, make, content in parts if content]
    return Template(_asset("page.html")).substitute(
        title=escape(evaluation.title), version=trajlab.__version__, summary=_prose(evaluation.summary), css=_asset("page.css"),
        links="".join(f'<a href="#{name}">{title}</a>' for name, title, _ in shown),
        body="\n".join(f'<section id="{name}"><h2>{title}</h2>{content}</section>' for name, title, content in shown),
        credit=_CREDIT if evaluation.scenes else "", scripts=_scripts(bool(evaluation.scenes), bool(evaluation.drawn)),
    )


def _figures(draw: Callable[..., str], evaluation: Evaluation) -> str:
    return '<div class="figures">' + "".join(draw(f, i) for i, f in enumerate(evaluation.figures)) + "</div>"


def _prose(text: str) -> str:
    """Paragraphs at blank lines; a paragraph whose lines all begin with ``- `` is a list."""
    out = []
    for block in filter(None, (b.strip() for b in text.split("\n\n"))):
        lines = block.splitlines()
        if all(line.startswith("- ") for line in lines):
            out.append("<ul>" + "".join(f"<li>{escape(line[2:])}</li>" for line in lines) + "</ul>")
        else:
            out.append(f"<p>{escape(block)}</p>")
    return "\n".join(out)


def _asset(name: str) -> str:
    return (files("trajlab.report") / "assets" / name).read_text(encoding="utf-8")


def _scripts(structures: bool, drawn: bool) -> str:
    names = ["theme.js", *(["3Dmol-min.js", "viewer.js"] if structures else []), *(["drawn.js"] if drawn else [])]
    return "\n".join(f"<script>{_asset(name)}</script>" for name in names)
