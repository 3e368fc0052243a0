"""Bars: what a figure must reach, kept as data, and whether it did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from trajlab.evaluate.results import Table
from trajlab.metrics.uncertainty import Estimate


@dataclass(frozen=True)
class Bar:
    """One figure and its limit.

    Attributes:
        figure: name of the figure.
        at_most: upper limit, or None.
        at_least: lower limit, or None.
        unit: shown beside the numbers.

    Raises:
        ValueError: neither limit, or both, were given.
    """

    figure: str
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"the bar {self.figure!r} needs exactly one of at_most and at_least")

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """From a record of a TOML file."""
        return cls(**record)

    @property
    def limit(self) -> str:
        return f"<= {self.at_most:g} {self.unit}".strip() if self.at_most is not None else f">= {self.at_least:g} {self.unit}".strip()

    def met(self, value: float) -> bool:
        """Whether a value reaches the bar; what is not a number does not."""
        if math.isnan(value):
            return False
        return value <= self.at_most if self.at_most is not None else value >= (self.at_least or 0.0)


def missed(bars: Sequence[Bar], found: Mapping[str, Estimate]) -> list[str]:
    """The bars that were not reached, each as a sentence; a figure that was not found is missed."""
    sentences = []
    for bar in bars:
        if bar.figure not in found:
            sentences.append(f"{bar.figure}: not measured ({bar.limit} was wanted)")
        elif not bar.met(found[bar.figure].value):
            sentences.append(f"{bar.figure}: {found[bar.figure]} {bar.unit} where {bar.limit} was wanted")
    return sentences


def bar_table(bars: Sequence[Bar], found: Mapping[str, Mapping[str, Estimate]], judged: str, title: str) -> Table:
    """Bars as rows; the figures of the judged model, whether they reach them, and the figures of the others."""
    others = [name for name in found if name != judged]
    rows = []
    for bar in bars:
        mine = found[judged].get(bar.figure)
        verdict = "not measured" if mine is None else "yes" if bar.met(mine.value) else "NO"
        shown = ["" if e is None else str(e) for e in [mine, *(found[name].get(bar.figure) for name in others)]]
        rows.append([bar.figure, bar.limit, shown[0], verdict, *shown[1:]])
    note = "± is one standard error where there is one. The bars are for the first model."
    return Table(title, ["figure", "bar", judged, "reached", *others], rows, note)


def as_text(table: Table) -> str:
    """A table for a terminal."""
    cells = [[str(c) for c in table.columns], *[[_cell(c) for c in row] for row in table.rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(table.columns))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in cells]
    return "\n".join([table.title, "-" * len(lines[0]), lines[0], "-" * len(lines[0]), *lines[1:], *([table.note] if table.note else [])])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
