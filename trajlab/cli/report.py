"""``trajlab report FORECAST --reference REF --out report.html``, or the page of a saved evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from trajlab.cli.options import parse


@dataclass(frozen=True)
class Options:
    """Judge a forecast against a reference and write one HTML page that opens offline.

    Attributes:
        forecast: a stored forecast or trajectories, or a folder with a saved evaluation.
        reference: trajectories of the true dynamics; for a forecast of windows the file it started from, if it goes on after the given frames.
        out: the page.
    """

    forecast: tyro.conf.Positional[Path]
    reference: Path | None = None
    out: Path = Path("report.html")


def run(arguments: Sequence[str]) -> None:
    """Write the page and say where it is."""
    given = parse(Options, arguments, "report")
    page = make(given.forecast, given.reference)
    print("\n\n".join(filter(None, [page.evaluation.title, page.evaluation.summary, f"report: {page.save(given.out)}"])))


def make(path: Path, reference: Path | None) -> Any:
    """The report of a forecast file or of an evaluation folder.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: an evaluation was given a reference.
    """
    from trajlab.evaluate.results import Evaluation
    from trajlab.report.page import report

    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; a forecast is written by trajlab forecast, an evaluation by its benchmark")
    if (path / "evaluation.json").is_file():
        if reference is not None:
            raise ValueError(f"{path} is a saved evaluation and holds its reference already; leave --reference out")
        return report(Evaluation.load(path))

    import trajlab

    what = trajlab.read(path)
    return report(what, reference=None if reference is None else the_same(trajlab.read(reference), what))


def the_same(reference: Any, forecast: Any) -> Any:
    """The windows of a reference that a forecast was made of, where it was made of some of them."""
    chosen = list(getattr(forecast, "provenance", {}).get("windows") or [])
    some = bool(chosen) and len(chosen) < reference.n_scenes and max(chosen) < reference.n_scenes
    return reference.scenes(chosen) if some else reference
