"""Tables and provenance as HTML; here, and only here, numbers are turned into text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from trajlab.evaluate.results import Table

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | int) -> str:
    """Four significant digits, powers of ten where a plain number would be long, integers in full.

    >>> number(0.0225), number(1234567), number(3.2e-7), number(float("nan"))
    ('0.0225', '1\\u202f234\\u202f567', '3.2 × 10⁻⁷', 'n/a')
    """
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f").replace("-", "−")
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        mantissa, _, power = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g} × 10{str(int(power)).translate(_SUPERSCRIPT)}".replace("-", "−")
    return (f"{value:.0f}" if abs(value) >= 1e3 else f"{value:.4g}").replace("-", "−")


def cell(value: float | int | str | bool | None) -> str:
    """One table cell: words to the left, numbers to the right, yes and no coloured, nothing as a dash."""
    if value is None:
        return "<td>–</td>"
    if isinstance(value, bool):
        return '<td class="yes">yes</td>' if value else '<td class="no">no</td>'
    if isinstance(value, str):
        return f'<td class="word">{escape(value)}</td>' if _has_letters(value) else f"<td>{escape(value)}</td>"
    return f"<td>{number(value)}</td>"


def filled(result: Table) -> Table:
    """The table without columns in which nothing stands.

    Raises:
        ValueError: a row is not as long as the header.
    """
    for row in result.rows:
        if len(row) != len(result.columns):
            raise ValueError(f"table {result.title!r} has {len(result.columns)} columns, but a row has {len(row)} cells: {list(row)}")
    kept = [j for j in range(len(result.columns)) if not result.rows or any(row[j] is not None for row in result.rows)]
    return replace(result, columns=[result.columns[j] for j in kept], rows=[[row[j] for j in kept] for row in result.rows])


def table(result: Table) -> str:
    """A card with the table, its title above and its note below.

    Raises:
        ValueError: a row is not as long as the header.
    """
    result = filled(result)
    words = [_is_words([row[j] for row in result.rows]) for j in range(len(result.columns))]
    head = "".join(f'<th scope="col"{" class=word" if w or not j else ""}>{escape(c)}</th>' for j, (c, w) in enumerate(zip(result.columns, words)))
    body = "".join(f"<tr>{_row(row)}</tr>" for row in result.rows)
    note = f'<p class="note">{escape(result.note)}</p>' if result.note else ""
    title = escape(result.title)
    return (f'<section class="card"><h3>{title}</h3><div class="scroll" tabindex="0" role="region" aria-label="{title}">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}</section>")


def _has_letters(text: str) -> bool:
    """Whether a cell is words, and not numbers written as text such as ``0.98 ± 0.02``."""
    return any(c.isalpha() for c in text)


def _is_words(column: Sequence[Any]) -> bool:
    return any(isinstance(value, str) and _has_letters(value) for value in column) and not any(isinstance(value, int | float) for value in column)


def _row(row: Sequence[Any]) -> str:
    first = row[0] if isinstance(row[0], str) else cell(row[0]).removeprefix("<td>").removesuffix("</td>")
    return f'<th scope="row">{escape(first)}</th>' + "".join(cell(value) for value in row[1:])


def provenance(values: Mapping[str, Any], depth: int = 0) -> str:
    """Names and values; mappings within mappings fold away."""
    rows = "".join(f"<dt>{escape(str(key).replace('_', ' '))}</dt><dd>{_value(key, value, depth)}</dd>" for key, value in values.items())
    return f"<dl>{rows}</dl>"


def _value(key: str, value: Any, depth: int) -> str:
    if isinstance(value, Mapping):
        opened = " open" if depth == 0 and len(value) <= 20 else ""
        return f"<details{opened}><summary>{len(value)} entries</summary>{provenance(value, depth + 1)}</details>" if value else "–"
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return escape(", ".join(map(str, value)))
    text = escape(str(value))
    return f"<code>{text}</code>" if key in {"command", "checksum", "hash", "sha256", "path"} or len(text) > 60 else text
