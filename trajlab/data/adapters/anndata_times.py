"""Times of cells as people write them ("D10", "day 3", "E8.5", 48 h, categories, timedeltas) as numbers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trajlab.catalog import unknown
from trajlab.units import UNITLESS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Clock", "clock_of", "numbers_of"]

LABEL = re.compile(r"(?P<before>[^\d.+-]*?)[\s_:]*(?P<sign>[+-]?)(?P<number>\d+\.?\d*|\.\d+)[\s_]*(?P<after>[^\d.+-]*)$")
UNITS = {"day": ("day", "d", "e", "p", "dpf", "dpi", "dpc"), "h": ("h", "hr", "hour", "hpf", "hpi"), "min": ("min", "minute"),
         "s": ("s", "sec", "second"), "year": ("y", "yr", "year")}  # E and P: embryonic and postnatal days
UNIT = {word: unit for unit, words in UNITS.items() for word in words}


class Clock(NamedTuple):
    """The clock of cells.

    Attributes:
        snapshot: of each cell, ``[cell]``.
        time: of each snapshot, rising, ``[snapshot]``.
        labels: what a snapshot was called, ``[snapshot]``.
        unit: of time, ``"1"`` where nothing says.
    """

    snapshot: np.ndarray
    time: np.ndarray
    labels: tuple[Any, ...]
    unit: str


def clock_of(values: pd.Series, times: Mapping[Any, float] | None, what: str) -> Clock:
    """Snapshots and their times from a column with one value a cell.

    Args:
        values: numbers, text, timedeltas, dates, or categories of these.
        times: the number of each value, where the value does not say it.
        what: the column's name, for messages.

    Raises:
        ValueError: a cell without a time, times that are not numbers, or two labels of one time.
    """
    import pandas as pd

    categorical = isinstance(values.dtype, pd.CategoricalDtype)
    codes, found = pd.factorize(values)
    if (codes < 0).any():
        cells = values.index[codes < 0]
        raise ValueError(f"{what}: {len(cells)} cells have no time, the first is {cells[0]!r}; leave them out with "
                         f"adata[adata.obs[{values.name!r}].notna()], or fill in their times")
    if not len(codes):
        raise ValueError(f"{what}: there are no cells")
    found = pd.Index(found).astype(values.cat.categories.dtype) if categorical else pd.Index(found)
    if categorical and len(empty := values.cat.categories.difference(found)):
        warnings.warn(f"{what}: no cell has the categories {[str(v) for v in empty][:6]}; these snapshots are empty and left out", stacklevel=4)
    labels = found.tolist()
    number, unit = numbers_of(found, times, what)
    if not np.isfinite(number).all():
        raise ValueError(f"{what}: the time {labels[int((~np.isfinite(number)).argmax())]!r} is not finite")
    order = np.argsort(number, kind="stable")
    time = number[order]
    if (same := np.flatnonzero(np.diff(time) == 0)).size:
        pair = [labels[order[same[0]]], labels[order[same[0] + 1]]]
        raise ValueError(f"{what}: the labels {pair[0]!r} and {pair[1]!r} both say the time {time[same[0]]:g}; give them one name, or different "
                         f"times by times={{{pair[0]!r}: ..., {pair[1]!r}: ...}}")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return Clock(place[codes], time, tuple(labels[k] for k in order), unit)


def numbers_of(values: pd.Index, times: Mapping[Any, float] | None, what: str) -> tuple[np.ndarray, str]:
    """The number of each distinct value, and the unit where it is said. Timedeltas are in days, dates in days since the first.

    Raises:
        ValueError: truth values, text without one number in it, different words around the numbers, or a value that ``times`` lacks.
    """
    import pandas as pd
    from pandas.api import types

    if times is not None:
        known = {str(key): float(value) for key, value in times.items()}
        for value in values:
            if str(value) not in known:
                raise ValueError(f"times= has {unknown('label', str(value), known)} (of {what})")
        return np.array([known[str(value)] for value in values]), UNITLESS
    values = values.infer_objects()
    if types.is_bool_dtype(values):
        raise ValueError(f"{what} holds truth values; numbers, text such as 'D10', or timedeltas were wanted")
    if types.is_timedelta64_dtype(values):
        return np.asarray(values / pd.Timedelta(days=1), dtype=np.float64), "day"
    if types.is_datetime64_any_dtype(values):
        return np.asarray((values - values.min()) / pd.Timedelta(days=1), dtype=np.float64), "day"
    if types.is_numeric_dtype(values):
        return np.asarray(values, dtype=np.float64), UNITLESS
    return _read([str(value) for value in values], what)


def _read(labels: Sequence[str], what: str) -> tuple[np.ndarray, str]:
    """Numbers of text labels that differ in nothing but their number."""
    parts = [LABEL.fullmatch(label.strip()) for label in labels]
    for label, part in zip(labels, parts):
        if part is None:
            raise ValueError(f"{what}: cannot read a time from {label!r}; one number with the same words around it everywhere was wanted, such as "
                             f"'D10' or 'day 3'. Say them by times={{{label!r}: 1.5, ...}}")
    words = {(_word(part["before"]), _word(part["after"])) for part in parts if part}
    if len(words) > 1:
        raise ValueError(f"{what}: the labels {labels[0]!r} ... {labels[-1]!r} have different words around their numbers ({sorted(words)[:4]}), so "
                         f"that they may be in different units or counted from different days. Say them by times={{{labels[0]!r}: 0.0, ...}}")
    # "day-3": a hyphen that every label with a word in front has is no minus
    joined = all(part["sign"] == "-" and part["before"].strip() for part in parts if part)
    number = np.array([float(part["number"]) * (-1 if part["sign"] == "-" and not joined else 1) for part in parts if part])
    (before, after), = words
    return number, UNIT.get(after, UNIT.get(before, UNITLESS))


def _word(text: str) -> str:
    word = re.sub(r"[\s_:.]+", "", text).lower()
    return word[:-1] if word.endswith("s") and word[:-1] in UNIT else word
