"""Tables for the terminal, with the same numbers as the page."""

from __future__ import annotations

import textwrap
from typing import Any

from trajlab.evaluate.results import Evaluation, Table
from trajlab.report.tables import filled, number

HEAD = 14  #: headers longer than this, and than their column, go on in a further line


def text(table: Table, width: int = 110) -> str:
    """Title, columns and note as plain text; columns with numbers are right-aligned, long headers wrapped.

    Raises:
        ValueError: a row is not as long as the header.
    """
    table = filled(table)
    rows = [[_word(value) for value in row] for row in table.rows]
    heads = [textwrap.wrap(c, max(HEAD, *(len(row[j]) for row in rows), 1)) or [""] for j, c in enumerate(table.columns)]
    deep = max(map(len, heads))
    header = [[""] * (deep - len(h)) + h for h in heads]
    widths = [max(map(len, [*header[j], *(row[j] for row in rows)])) for j in range(len(heads))]
    left = [j == 0 or all(isinstance(row[j], str) for row in table.rows) for j in range(len(widths))]
    line = lambda row: "  ".join(v.ljust(w) if at else v.rjust(w) for v, w, at in zip(row, widths, left)).rstrip()  # noqa: E731
    body = [*map(line, zip(*header)), line(["-" * w for w in widths]), *map(line, rows)]
    note = textwrap.wrap(table.note, width) if table.note else []
    return "\n".join([table.title, "", *body, *([""] if note else []), *note])


def summary(evaluation: Evaluation) -> str:
    """The title, the summary and all tables."""
    return "\n\n".join(filter(None, [evaluation.title, evaluation.summary, *map(text, evaluation.tables)]))


def _word(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else number(value)
