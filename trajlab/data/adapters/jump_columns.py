"""Rows of a table of visits put in order: which column is what, one clock a subject, covariates that hold until the next visit."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trajlab.catalog import unknown
from trajlab.data.adapters.jumps import refuse_hopeless

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUBJECT", "STATE", "TIME", "Visits", "covariate_values", "guess", "visits"]

# Names by which columns are found, the likelier first, in any case.
SUBJECT = ("subject", "ptnum", "patient", "patient_id", "subject_id", "id", "pid", "person", "path", "trajectory", "traj", "unit")
TIME = ("time", "years", "year", "months", "month", "weeks", "week", "days", "day", "hours", "minutes", "seconds", "date", "t", "age")
STATE = ("state", "states", "stage", "status", "label", "class")
UNIT = {"years": "year", "year": "year", "age": "year", "months": "month", "month": "month", "weeks": "week", "week": "week", "days": "day",
        "day": "day", "hours": "h", "minutes": "min", "seconds": "s"}


@dataclass
class Visits:
    """Rows sorted by subject and time.

    Attributes:
        table: the rows.
        path: number of the subject, in the order in which subjects first appear, ``[obs]``.
        time: ``[obs]``.
        subjects: as the table calls them.
        columns: which column is what.
        unit: of time, or ``"1"``.
        notes: what was guessed and changed, in sentences.
    """

    table: pd.DataFrame
    path: np.ndarray
    time: np.ndarray
    subjects: list[Any]
    columns: dict[str, str]
    unit: str
    notes: list[str] = field(default_factory=list)

    def keep(self, rows: np.ndarray) -> None:
        """Go on with some rows only; subjects of whom none is left are forgotten."""
        left, path = np.unique(self.path[rows], return_inverse=True)
        self.table, self.time, self.path = self.table[rows], self.time[rows], path
        self.subjects = [self.subjects[k] for k in left]

    def who(self, row: int) -> Any:
        return self.subjects[self.path[row]]

    def say(self, note: str, aloud: bool = True) -> None:
        """Keep a note, and warn where rows were changed."""
        self.notes.append(note)
        if aloud:
            warnings.warn(note, stacklevel=4)

    def finish(self) -> None:
        """Refuse what says nothing of rates, and tell of subjects seen once."""
        refuse_hopeless(self.time, self.path, self.subjects)
        alone = int((np.bincount(self.path) == 1).sum())
        if alone:
            self.say(f"{alone} of {len(self.subjects)} subjects are seen once, which says nothing of their rates", aloud=False)


def visits(table: pd.DataFrame, subject: str | None, time: str | None, value: str, what: str) -> Visits:
    """Find the columns, sort the rows and check their clocks.

    Args:
        table: one row a visit.
        subject, time: names of the columns; found by their names where None.
        value, what: the column that is read besides, and what it is.

    Raises:
        ValueError: an empty table, a column that is missing or cannot be guessed, a row without subject or time, text for times.
    """
    if not len(table):
        raise ValueError("the table has no rows; one row a visit was wanted")
    columns = {"subject": guess(table, subject, SUBJECT, "subject", optional=True), "time": guess(table, time, TIME, "time"), what: value}
    notes = [f"columns: {', '.join(f'{k} from {v!r}' for k, v in columns.items() if v is not None)}"]
    clock, unit = _clock(table, columns["time"])
    if columns["subject"] is None:
        path, subjects = _one_path(table, clock), [0]
        notes.append("there is no column of subjects: all rows are one path")
    else:
        path, subjects = _subjects(table, columns["subject"])
    order = np.lexsort((clock, path))
    found = Visits(table.iloc[order], path[order], clock[order], subjects, {k: v for k, v in columns.items() if v is not None}, unit, notes)
    if (clock[order] != clock).any() or (path[order] != path).any():
        found.say("rows were not sorted by subject and time; they were sorted")
    return found


def guess(table: pd.DataFrame, name: str | None, known: Sequence[str], what: str, optional: bool = False) -> str | None:
    """The column of this name, or the likeliest.

    Raises:
        ValueError: it is not there, or none looks like it.
    """
    if name is not None:
        if name not in table.columns:
            raise ValueError(f"the table has no such column: {unknown('column', str(name), map(str, table.columns))}")
        return name
    lower = {str(c).strip().lower(): c for c in reversed(list(table.columns))}
    for candidate in known:
        if candidate in lower:
            return lower[candidate]
    if optional:
        return None
    raise ValueError(f"no column of the table looks like the {what} (none is called {', '.join(known[:6])}, ...); name it with {what}=. Columns are "
                     f"{', '.join(map(str, table.columns))}")


def covariate_values(found: Visits, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Values of covariates, ``[obs]`` each. Text becomes one column of 0 and 1 a level but the first, called ``name=level``; a value that is missing
    is filled from the subject's visit before.

    Raises:
        ValueError: no such column, a value missing at a subject's first visit, or not finite.
    """
    import pandas as pd

    out: dict[str, np.ndarray] = {}
    for name in names:
        column = found.table[guess(found.table, name, (), "covariate")]
        number = pd.to_numeric(column, errors="coerce")
        text = bool((number.isna() & column.notna()).any())
        filled = column.groupby(found.path).ffill()
        if filled.isna().any():
            row = int(np.argmax(filled.isna()))
            raise ValueError(f"covariate {name!r} is missing at the first visit of subject {found.who(row)} ({int(filled.isna().sum())} rows cannot "
                             "be filled from the visit before); fill it in or leave these subjects out")
        if column.isna().any():
            found.say(f"covariate {name!r}: {int(column.isna().sum())} missing values were filled from the visit before")
        if not text:
            out[name] = pd.to_numeric(filled).to_numpy(np.float64)
            continue
        levels = sorted(filled.astype(str).unique())
        found.say(f"covariate {name!r} is text: 0 or 1 for each of {', '.join(levels[1:])}, against {levels[0]}", aloud=False)
        out |= {f"{name}={level}": (filled.astype(str) == level).to_numpy(np.float64) for level in levels[1:]}
    return out


def _clock(table: pd.DataFrame, name: str) -> tuple[np.ndarray, str]:
    """Times as numbers, and their unit where it is known; dates and durations in days."""
    import pandas as pd

    column = table[name]
    unit = UNIT.get(re.sub(r"[^a-z]", "", str(name).lower()), "1")
    if pd.api.types.is_datetime64_any_dtype(column):
        column, unit = column - column.min(), "day"
    if pd.api.types.is_timedelta64_dtype(column):
        column, unit = column / pd.Timedelta(days=1), "day"
    clock = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    bad = ~np.isfinite(clock)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"row {table.index[row]} has the time {str(table[name].iloc[row])!r} ({int(bad.sum())} such rows); numbers, dates "
                         "(pandas.to_datetime) or durations were wanted. Leave visits of unknown time out")
    return clock, unit


def _subjects(table: pd.DataFrame, name: str) -> tuple[np.ndarray, list[Any]]:
    import pandas as pd

    path, subjects = pd.factorize(table[name])
    if (path < 0).any():
        raise ValueError(f"row {table.index[int(np.argmax(path < 0))]} names no subject in column {name!r} ({int((path < 0).sum())} such rows)")
    return path.astype(np.int64), [s.item() if isinstance(s, np.generic) else s for s in subjects]


def _one_path(table: pd.DataFrame, clock: np.ndarray) -> np.ndarray:
    if (np.diff(clock) < 0).any():
        at = int(np.argmax(np.diff(clock) < 0))
        raise ValueError(f"no column of the table looks like the subject, and as one path its time goes back from {clock[at]:g} to {clock[at + 1]:g};"
                         f" name the column with subject=. Columns are {', '.join(map(str, table.columns))}")
    return np.zeros(len(table), dtype=np.int64)
