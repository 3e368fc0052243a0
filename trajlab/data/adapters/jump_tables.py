"""Tables of visits in the layout of R's msm (one row a look at one subject), to and from `JumpPaths`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trajlab.data.adapters.jump_columns import STATE, Visits, covariate_values, guess, visits
from trajlab.data.adapters.jump_states import BETWEEN, as_list, coded, indices
from trajlab.types import JumpPaths
from trajlab.units import Units

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["jumps_from_signal_table", "jumps_from_table", "jumps_to_table", "read_jumps", "read_rows"]

OBSTYPES = {1: JumpPaths.PANEL, 2: JumpPaths.EXACT, 3: JumpPaths.ENTRY}  # numbers of msm (Jackson 2011)


def jumps_from_table(table: pd.DataFrame, *, subject: str | None = None, time: str | None = None, state: str | None = None,
                     obstype: str | None = None, death: Any = (), censor: Mapping[Any, Any] | None = None, covariates: Sequence[str] = (),
                     states: int | Sequence[Any] | None = None) -> JumpPaths:
    """Paths from one row a visit: subject, time, state, in any order of rows (Jackson 2011 for the layout).

    What was guessed or changed is told in ``source["notes"]``, and in a warning where rows were changed.

    Args:
        table: one row a visit. Rows that occur twice are dropped; a state that is missing is a look that saw nothing.
        subject, time, state: columns, by default the first that are called like it: ``subject``, ``PTNUM``, ``id``, ...; ``time``, ``years``,
            ``months``, ``days``, ...; ``state``, ... Dates become days.
        obstype: column of the kind of observation: 1 a panel look, 2 the exact time of a jump (nothing happened since the visit before), 3 the exact
            time of entry into the state, from a state not known.
        death: states whose time of entry is always known exactly, such as 4 (kind 3 of ``obstype``).
        censor: codes of states that are not known exactly, ``{99: (1, 2, 3)}``; None for all states. A label such as ``1|2`` is a set already.
        covariates: columns of numbers (or of text: 0 and 1 for its levels), constant from a visit to the next.
        states: number of states, where not all occur, or the labels in the order wanted. By default numbers count from 1 (from 0 where 0 occurs),
            and names are sorted.

    Raises:
        ValueError: no rows, a column that is missing, a row without subject or time, no subject with two visits, a label outside the states, a
            subject seen elsewhere after death, a covariate without value.
    """
    column = guess(table, state, STATE, "state")
    found = visits(table, subject, time, column, "state")
    label, names, allowed = coded(found, column, states, censor)
    kind = np.where(label >= 0, JumpPaths.PANEL, JumpPaths.MISSING)
    if allowed is not None:
        kind = np.where((label < 0) & found.table[column].notna().to_numpy(), JumpPaths.CENSORED, kind)
    kind = _typed(found, obstype, kind)
    kind = _deaths(found, indices(death, names, "death"), label, kind, names)
    rows = _kept(found, label, kind, allowed, names, indices(death, names, "death"))
    found.keep(rows)
    values = covariate_values(found, covariates)
    found.finish()
    return _paths(found, label[rows], kind[rows], names, values, None if allowed is None else allowed[rows])


def jumps_from_signal_table(table: pd.DataFrame, *, signal: str | Sequence[str], n_states: int, subject: str | None = None, time: str | None = None,
                            death: float | None = None, covariates: Sequence[str] = (), names: Sequence[str] = ()) -> JumpPaths:
    """Paths of continuous measurements whose states are hidden, from one row a visit.

    Args:
        table: one row a visit; a row without a value is a look that saw nothing.
        signal: column of the measurement, or several.
        n_states: number of states, that of death included.
        subject, time, covariates: as in `jumps_from_table`.
        death: the value that stands for an entry into the last state at a time known exactly, such as 999.
        names: of the states.

    Raises:
        ValueError: as `jumps_from_table`; a column that holds text.
    """
    import pandas as pd

    columns = as_list(signal)
    for column in columns:
        guess(table, column, (), "signal")
    found = visits(table, subject, time, columns[0], "signal")
    numbers = found.table[columns].apply(pd.to_numeric, errors="coerce")
    broken = (numbers.isna() & found.table[columns].notna()).any(axis=1).to_numpy() | np.isinf(numbers.to_numpy(np.float64)).any(1)
    if broken.any():
        row = int(np.argmax(broken))
        raise ValueError(f"subject {found.who(row)} has at time {found.time[row]:g} the signal {str(found.table[columns[0]].iloc[row])!r}; a finite "
                         "number was wanted, or an empty cell")
    value = numbers.to_numpy(np.float64)
    dead = np.zeros(len(value), dtype=bool) if death is None else value[:, 0] == death
    label = np.where(dead, n_states - 1, -1)
    seen = np.isfinite(value).all(1) & ~dead
    if not seen.any():
        raise ValueError(f"no row has a number in {', '.join(columns)}")
    kind = np.where(seen, JumpPaths.SIGNAL, np.where(dead, JumpPaths.ENTRY, JumpPaths.MISSING))
    labels = tuple(names) or tuple(str(k + 1) for k in range(n_states))
    last = [n_states - 1] if dead.any() else []
    _deaths(found, last, np.where(seen, 0, label), kind, labels)
    values = covariate_values(found, covariates)
    found.finish()
    return _paths(found, label, kind, labels, values, None, np.where(seen[:, None], value, 0.0))


def jumps_to_table(paths: JumpPaths) -> pd.DataFrame:
    """One row an observation: ``subject, time, state, obstype``, covariates, and ``signal`` (``signal_0``, ...) where there is one.

    States by name, or by number from 1; a censored set as ``1|2``, nothing where nothing was seen. `jumps_from_table` reads it again with
    ``obstype="obstype"``.
    """
    import pandas as pd

    names = list(paths.names) or [str(k + 1) for k in range(paths.n_states)]
    label, kind = paths.label.cpu().numpy(), paths.observed.cpu().numpy()
    state: list[Any] = [names[k] if k >= 0 else None for k in label]
    for row in np.flatnonzero(kind == JumpPaths.CENSORED):
        mask = [True] * len(names) if paths.allowed is None else paths.allowed[row].tolist()
        state[row] = BETWEEN.join(n for n, possible in zip(names, mask) if possible)
    if all(s is None or s.isdigit() for s in state):
        state = pd.array([None if s is None else int(s) for s in state], dtype="Int64")
    subjects = paths.source.get("subjects") or list(range(1, paths.n_paths + 1))
    types = np.select([kind == JumpPaths.EXACT, kind == JumpPaths.ENTRY], [2, 3], 1)
    columns: dict[str, Any] = {"subject": [subjects[k] for k in paths.path.tolist()], "time": paths.time.cpu().numpy(), "state": state}
    columns["obstype"] = types
    columns |= {name: value.cpu().numpy() for name, value in paths.covariates.items()}
    if paths.signal is not None:
        value = np.where((kind == JumpPaths.SIGNAL)[:, None], paths.signal.cpu().numpy(), np.nan)
        columns |= {"signal" if value.shape[1] == 1 else f"signal_{k}": value[:, k] for k in range(value.shape[1])}
    return pd.DataFrame(columns)


def read_rows(path: str | Path) -> pd.DataFrame:
    """The rows of a ``.csv``, ``.tsv``, ``.txt`` (tabs), ``.parquet`` or ``.feather`` table.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such table, or empty.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    readers = {".csv": pd.read_csv, ".tsv": pd.read_table, ".txt": pd.read_table, ".parquet": pd.read_parquet, ".feather": pd.read_feather}
    if path.suffix not in readers:
        raise ValueError(f"{path} ends in {path.suffix!r}; a table ends in {', '.join(readers)}")
    try:
        return readers[path.suffix](path)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a table ({error}); it may be empty or cut short") from error


def read_jumps(path: str | Path, **options: Any) -> JumpPaths:
    """Paths of states from a file with a table of visits; options are those of `jumps_from_table`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `read_rows` and `jumps_from_table`.
    """
    paths = jumps_from_table(read_rows(path), **options)
    return paths.replace(source={"file": Path(path).name, **paths.source})


def _typed(found: Visits, obstype: str | None, kind: np.ndarray) -> np.ndarray:
    """Kinds by msm's numbers, for rows that name a state."""
    if obstype is None:
        return kind
    given = found.table[guess(found.table, obstype, (), "obstype")].to_numpy()
    wrong = ~np.isin(given, list(OBSTYPES))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"subject {found.who(row)} has at time {found.time[row]:g} the obstype {given[row]}; 1 (panel), 2 (exact time of a jump) "
                         "or 3 (exact time of entry) was wanted")
    asked = np.select([given == k for k in OBSTYPES], list(OBSTYPES.values()))
    return np.where(kind == JumpPaths.PANEL, asked, kind)


def _deaths(found: Visits, death: list[int], label: np.ndarray, kind: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Entries into states whose time is known; nobody may be seen elsewhere afterwards."""
    dead = np.isin(label, death)
    if not death:
        return kind
    after = np.flatnonzero(_dead_before(found, dead) & (label >= 0) & ~dead)
    if len(after):
        row = int(after[0])
        raise ValueError(f"subject {found.who(row)} is seen in state {names[label[row]]} at time {found.time[row]:g}, after entering a state that "
                         f"was declared as death ({', '.join(names[k] for k in death)}; {len(after)} such rows)")
    return np.where(dead, JumpPaths.ENTRY, kind)


def _dead_before(found: Visits, dead: np.ndarray) -> np.ndarray:
    """Whether a subject was seen dead at an earlier row."""
    before = np.concatenate([[0], np.cumsum(dead)[:-1]])
    return before > before[np.searchsorted(found.path, found.path)]


def _kept(found: Visits, label: np.ndarray, kind: np.ndarray, allowed: np.ndarray | None, names: Sequence[str], death: list[int]) -> np.ndarray:
    """Rows that say something: not the same look twice, nor visits of the dead. Tells of looks at one time that differ."""
    same = np.concatenate([[False], (np.diff(found.path) == 0)])
    at_once = same & np.concatenate([[False], np.diff(found.time) == 0])
    equal = np.concatenate([[False], (label[1:] == label[:-1]) & (kind[1:] == kind[:-1])])
    if allowed is not None:
        equal &= np.concatenate([[True], (allowed[1:] == allowed[:-1]).all(1)])
    twice = at_once & equal
    ended = _dead_before(found, np.isin(label, death)) & ~twice
    if twice.any():
        found.say(f"{int(twice.sum())} rows repeat a look of the same subject at the same time and were dropped")
    if ended.any():
        found.say(f"{int(ended.sum())} rows after a death were dropped")
    clash = at_once & ~equal & (label >= 0) & np.concatenate([[False], label[:-1] >= 0])
    if clash.any():
        row = int(np.argmax(clash))
        found.say(f"{int(clash.sum())} times a subject is in two states at one time, first subject {found.who(row)} at {found.time[row]:g}: "
                  f"{names[label[row - 1]]} and {names[label[row]]}; that is possible with wrong labels only")
    return ~(twice | ended)


def _paths(found: Visits, label: np.ndarray, kind: np.ndarray, names: Sequence[str], values: Mapping[str, np.ndarray],
           allowed: np.ndarray | None, signal: np.ndarray | None = None) -> JumpPaths:
    tensor = lambda v, kind=np.int64: None if v is None else torch.from_numpy(np.ascontiguousarray(v, dtype=kind))  # noqa: E731
    source = {"reader": "table of visits", "columns": found.columns, "notes": found.notes, "subjects": found.subjects}
    return JumpPaths(
        tensor(label), tensor(found.time, np.float64), tensor(found.path), len(names), tensor(kind), Units(time=found.unit), source,
        allowed=tensor(allowed, bool), signal=tensor(signal, np.float64), names=tuple(names),
        covariates={k: tensor(v, np.float64) for k, v in values.items()},
    )
