"""Columns of numbers from text tables, with errors that name the line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajlab.catalog import unknown

if TYPE_CHECKING:
    import pandas as pd


def text_table(path: Path, wanted: Sequence[str], what: str) -> pd.DataFrame:
    """A csv file as text, missing values as NaN.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table, has no rows, or lacks a column.
    """
    import pandas as pd

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        table = pd.read_csv(path, dtype=str, skipinitialspace=True)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' errors of parsing are ValueErrors
        raise ValueError(f"{path} is no {what}: {error}") from error
    for name in wanted:
        if name not in table:
            raise ValueError(f"{path} is no {what}: {unknown('column', name, map(str, table.columns))}")
    if not len(table):
        raise ValueError(f"{path} holds a header and no rows")
    return table


def numbers(table: pd.DataFrame, names: Sequence[str], path: Path) -> np.ndarray:
    """Some columns as ``[row column]``; an empty field is NaN.

    Raises:
        ValueError: a field holds text; its line is told.
    """
    import pandas as pd

    values = table[list(names)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = np.isnan(values) & table[list(names)].notna().to_numpy()
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"line {row + 2} of {path}: {names[column]} is {table[names[column]].iloc[row]!r}; a number was wanted")
    return values
