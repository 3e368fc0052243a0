"""The method of steps for a whole batch with numpy, where there is no compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from trajlab.dynamics.delay_history import History
from trajlab.dynamics.lockstep import Control, at, march
from trajlab.dynamics.ode import Solution

if TYPE_CHECKING:
    from trajlab.dynamics.delay import DelayField

__all__ = ["solve_delay_arrays"]


class Past:
    """Pieces ``(begin, size, base[batch dim], table[7][batch dim])``, oldest first; what is older than the longest delay is dropped."""

    def __init__(self, given: History, longest: float) -> None:
        tables = np.moveaxis(given.table, 0, 2)  # [piece 7 batch dim]
        self.pieces: list[tuple[float, float, Any, Any]] = [
            (float(b), float(s), given.base[:, n], tables[n]) for n, (b, s) in enumerate(zip(given.begin, given.size))]
        self.longest = longest

    def keep(self, t: float, h: float, x: np.ndarray, table: list[np.ndarray]) -> None:
        self.pieces.append((t, h, x, table))
        while len(self.pieces) > 1 and self.pieces[1][0] < t - self.longest:
            self.pieces.pop(0)

    def __call__(self, t: float) -> np.ndarray:
        low, high = 0, len(self.pieces) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.pieces[middle][0] <= t else (low, middle - 1)
        begin, size, base, table = self.pieces[low]
        return at(base, table, (t - begin) / size)


def solve_delay_arrays(field: DelayField, given: History, grid: Float64[np.ndarray, "time"], control: Control) -> Solution:
    """Integrate a batch of histories with common steps; as `trajlab.dynamics.delay.solve_delay`, which calls it."""
    past = Past(given, field.longest)

    def slope(t: float, x: np.ndarray) -> np.ndarray:
        delayed = np.stack([past(t - d) for d in field.delays.tolist()])
        try:
            return field(t, x, delayed)
        except (TypeError, ValueError):  # the function branches on single values
            return np.stack([field(t, x[i], delayed[:, i]) for i in range(len(x))])

    with np.errstate(all="ignore"):
        return march(slope, given.last, grid, control, past.keep)
