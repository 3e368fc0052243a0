"""States of a table of visits: names, numbers, codes of censoring, sets of states."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trajlab.catalog import unknown
from trajlab.data.adapters.jump_columns import Visits

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_list", "coded", "indices", "key"]

BETWEEN = "|"  #: between the states of a censored set, as in "1|2"


def key(value: Any) -> str:
    """A label as text; whole numbers without a point, so that 1.0 and "1" are one state."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    text = str(value).strip()
    return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def as_list(value: Any) -> list[Any]:
    """One label or several."""
    if value is None:
        return []
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)


def coded(found: Visits, column: str, states: int | Sequence[Any] | None, censor: Mapping[Any, Any] | None,
          ) -> tuple[np.ndarray, tuple[str, ...], np.ndarray | None]:
    """Numbers of states ``[obs]`` (-1 for none), their names, and allowed states ``[obs state]`` where some observations are censored.

    Raises:
        ValueError: a label that is none of the states, or numbers with such gaps that one of them must be a code.
    """
    import pandas as pd

    values = found.table[column]
    place, labels = pd.factorize(values)
    keys = [key(v) for v in labels]
    codes = {key(k): v for k, v in (censor or {}).items()}
    names = _names(found, values, [k for k in keys if k not in codes and BETWEEN not in k], states)
    number = {name: i for i, name in enumerate(names)}
    sets = {k: _set(k, codes.get(k, k.split(BETWEEN)), number) for k in keys if k in codes or (BETWEEN in k and k not in number)}
    known = np.array([number.get(k, -1 if k in sets else -2) for k in keys] or [-1], dtype=np.int64)
    if (known == -2).any():
        lost = keys[int(np.argmax(known == -2))]
        row = int(np.argmax(place == keys.index(lost)))
        raise ValueError(f"subject {found.who(row)} has at time {found.time[row]:g} the label {lost!r}: {unknown('state', lost, names)}. A code of a "
                         "state that is not known exactly is declared by censor={code: (states)}")
    state = np.where(place < 0, -1, known[place])
    if not sets:
        return state, names, None
    table = np.ones((len(keys) + 1, len(names)), dtype=bool)
    for k, mask in sets.items():
        table[keys.index(k)] = mask
    return state, names, table[place]


def indices(labels: Any, names: Sequence[str], what: str) -> list[int]:
    """Numbers of states by their labels.

    Raises:
        ValueError: no such state.
    """
    wanted = [key(v) for v in as_list(labels)]
    for name in wanted:
        if name not in names:
            raise ValueError(f"{what}: {unknown('state', name, names)}")
    return [list(names).index(name) for name in wanted]


def _set(code: str, states: Any, number: Mapping[str, int]) -> np.ndarray:
    """Mask of the states that a code stands for; all where None."""
    mask = np.zeros(len(number), dtype=bool)
    mask[list(range(len(number))) if states is None else indices(states, list(number), f"censored label {code!r}")] = True
    if not mask.any():
        raise ValueError(f"censored label {code!r} stands for no state; name those that it can be, or None for all")
    return mask


def _names(found: Visits, values: pd.Series, keys: list[str], states: int | Sequence[Any] | None) -> tuple[str, ...]:
    """Names of the states, in their order."""
    if states is not None and not isinstance(states, int | np.integer):
        names = tuple(key(s) for s in states)
        if len(set(names)) < len(names) or not names:
            raise ValueError(f"states {', '.join(names) or '(none)'}: at least one was wanted, and each once")
        return names
    if hasattr(values, "cat"):
        return tuple(key(c) for c in values.cat.categories if key(c) in keys or states is None)
    whole = [int(k) for k in keys if re.fullmatch(r"-?\d+", k)]
    if len(whole) < len(keys):
        found.say(f"states in the order of their names: {', '.join(sorted(keys))} (states= gives another)", aloud=False)
        return tuple(sorted(keys))
    return _numbered(found, whole, states)


def _numbered(found: Visits, whole: list[int], count: int | None) -> tuple[str, ...]:
    """States that are numbers: from 1, or from 0 where 0 occurs."""
    if not whole:
        raise ValueError("no row names a state")
    first, top = min(1, min(whole)), max(whole)
    if first < 0:
        raise ValueError(f"the label {first} is no state; states are counted from 1 or from 0, and an empty cell stands for a look that saw nothing")
    found.say(f"states are counted from {first}", aloud=False)
    total = top - first + 1 if count is None else int(count)
    unseen = sorted(set(range(first, first + total)) - set(whole))
    if count is None and len(unseen) > max(len(whole), 2):
        raise ValueError(f"the labels are {', '.join(map(str, sorted(whole)[:8]))}{' ...' if len(whole) > 8 else ''}: {len(unseen)} numbers between "
                         f"{first} and {top} never occur. If {top} is a code of a state that is not known, say censor={{{top}: (states)}}; else give "
                         "states=")
    if unseen:
        found.say(f"states that are never seen: {', '.join(map(str, unseen))}")
    return tuple(str(k) for k in range(first, first + total))
