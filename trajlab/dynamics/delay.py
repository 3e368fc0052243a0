"""Delay differential equations with constant delays: x'(t) = f(t, x(t), x(t - delay); p), for batches of histories."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from trajlab.dynamics import compiled
from trajlab.dynamics.delay_compiled import delayed_rhs
from trajlab.dynamics.delay_history import History, pieces
from trajlab.dynamics.maps import over
from trajlab.dynamics.ode import MOST, Solution, _monotone

__all__ = ["DelayField", "solve_delay"]

LEVELS = 9  #: sums of so many delays are places where a derivative of an order that matters may jump


@dataclass(frozen=True, eq=False)
class DelayField:
    """A delay differential equation.

    Attributes:
        function: ``f(t, x, delayed, p) -> rates``: ``x[i]`` and ``delayed[i]`` are the ``dim`` components now and one delay ago; with several delays,
            ``delayed[k, i]``. Returns a sequence of ``dim`` rates. It may use arithmetic, `math` or `numpy` functions of single components.
        dim: number of components.
        delay: the delay, or several; positive, in units of t.
        p: parameters, ``[parameter]`` float64.
        names: of the parameters, for messages.
        name: of the system.
        period: a time scale of the system; None where there is none.

    Raises:
        ValueError: no function, a dimension below 1, or a delay that is not positive.
    """

    function: Any
    dim: int
    delay: float | Sequence[float]
    p: np.ndarray = field(default_factory=lambda: np.zeros(0))
    names: tuple[str, ...] = ()
    name: str = "delay field"
    period: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(f"{self.name}: the right-hand side must be a function f(t, x, delayed, p), got {type(self.function).__name__}")
        if self.dim < 1:
            raise ValueError(f"{self.name}: dimension {self.dim}; at least 1 was wanted")
        if not len(self.delays) or not np.isfinite(self.delays).all() or self.delays.min() <= 0:
            raise ValueError(f"{self.name}: delay {self.delay!r}; positive numbers were wanted")
        object.__setattr__(self, "p", np.ascontiguousarray(self.p, dtype=np.float64).reshape(-1))

    @cached_property
    def delays(self) -> np.ndarray:
        """``[delay]``."""
        return np.atleast_1d(np.asarray(self.delay, dtype=np.float64))

    @property
    def longest(self) -> float:
        return float(self.delays.max())

    @cached_property
    def rhs(self) -> Any:
        """Compiled right-hand side of type `trajlab.dynamics.delay_driver.DELAYED`, or None where there is no compiler or it refuses the function."""
        try:
            return delayed_rhs(self.function, self.dim, np.ndim(self.delay) == 0)
        except compiled.Refused as why:
            warnings.warn(f"{self.name}: numba does not compile the right-hand side and the slower vectorised solver is used ({why})", stacklevel=2)
            return None

    def __call__(self, t: float, x: Any, delayed: Any) -> Any:
        """Rates ``[dim]`` or ``[batch dim]`` at states of that shape and delayed states ``[delay ... dim]``, numpy."""
        function = getattr(self.function, "py_func", self.function)
        past = np.moveaxis(delayed, -1, 1)  # [delay dim batch]
        rates = function(t, x.T, past[0] if np.ndim(self.delay) == 0 else past, self.p)
        if isinstance(rates, np.ndarray):
            return rates.T
        return compiled.stacked(rates, x)

    def breaks(self, start: float, stop: float) -> np.ndarray:
        """Times up to ``stop`` at which a low derivative jumps, because the first one does at ``start``."""
        sums = np.sort([sum(some) for k in range(1, LEVELS + 1) for some in itertools.combinations_with_replacement(self.delays.tolist(), k)])
        times = start + sums[np.diff(sums, prepend=0.0) > 1e-12 * sums]  # the same sum in another order differs by rounding
        return times[times < stop]


def solve_delay(field: DelayField, history: Any, times: Sequence[float] | np.ndarray, *, step: float | None = None, rtol: float = 1e-9,
                atol: float = 1e-9, most: int = MOST, failed: str = "raise", workers: int | None = None) -> Solution:
    """Integrate a delay differential equation from a history that ends at ``times[0]``.

    DOP853 by the method of steps, with error control for each row on its own, and dense output; steps end where derivatives jump.

    Args:
        field: the system.
        history: ``[dim]`` or ``[batch dim]``, constant in time; ``[batch sample dim]``, evenly spaced samples over the longest delay, the last one at
            ``times[0]`` (a cubic spline goes through them); or a function ``h(t) -> [dim]`` or ``[batch dim]`` on
            ``times[0] - longest delay .. times[0]``, taken as smooth.
        times: rising.
        step: a size for all steps instead of error control.
        rtol, atol: the local error is kept below atol + rtol |x|.
        most: steps, at most.
        failed: ``"raise"``, or ``"keep"`` to get incomplete rows, NaN from where they ended.
        workers: threads; by default as many as there are processors, where there is enough to do.

    Raises:
        ValueError: shapes disagree, times do not rise, tolerances or step are not positive, a history is not finite, or (``failed="raise"``) a row
            ended before the last time.
    """
    grid = _rising(field, times)
    if failed not in ("raise", "keep"):
        raise ValueError(f"failed={failed!r}; 'raise' or 'keep' was wanted")
    if not (rtol > 0 and atol > 0 and (step is None or step > 0)):
        raise ValueError(f"rtol={rtol!r}, atol={atol!r} and step={step!r}; positive numbers were wanted")
    given = pieces(field, history, grid[0])
    if field.rhs is None:
        from trajlab.dynamics.delay_lockstep import solve_delay_arrays
        from trajlab.dynamics.lockstep import Control

        stops = field.breaks(grid[0], grid[-1]).tolist()
        solution = solve_delay_arrays(field, given, grid, Control(rtol, atol, most, stops, float(field.delays.min()), step or 0.0))
    else:
        solution = _compiled(field, given, grid, np.array([rtol, atol, step or 0.0, float(most), grid[-1]]), workers)
    if failed == "raise" and not solution.complete:
        raise ValueError(solution.failures(field.name) + ". Loosen the tolerances, start elsewhere, or pass failed='keep' to get what there is")
    return solution


def _rising(field: DelayField, times: Sequence[float] | np.ndarray) -> np.ndarray:
    grid = _monotone(times)
    if len(grid) > 1 and grid[1] < grid[0]:
        raise ValueError(f"{field.name}: times fall from {grid[0]:g} to {grid[-1]:g}; a delay equation is solved forward in time only")
    return grid


@dataclass(eq=False)
class March:
    """One row on its way: what `trajlab.dynamics.delay_driver.march` reads and writes."""

    past: Any
    clock: np.ndarray
    x: np.ndarray
    told: np.ndarray

    @classmethod
    def of(cls, field: DelayField, given: History, row: int, h: float = 0.0) -> March:
        """From a row of histories; h is the first step to try."""
        from trajlab.dynamics.delay_driver import Past

        count, dim = len(given.begin), given.base.shape[-1]
        room = 4 * count + 64
        past = Past(np.zeros(room), np.ones(room), np.zeros((room, dim)), np.zeros((room, 7, dim)), np.zeros(1 + len(field.delays), np.int64))
        past.begin[:count], past.size[:count], past.base[:count], past.table[:count] = given.begin, given.size, given.base[row], given.table[row]
        past.place[0] = count
        clock = np.array([given.begin[-1] + given.size[-1], h or 1e-3 * float(field.delays.min())])
        return cls(past, clock, given.last[row].copy(), np.zeros(3, np.int64))

    def roomier(self) -> None:
        """Twice the room for pieces."""
        self.past = type(self.past)(*[np.concatenate([a, np.ones_like(a)]) for a in self.past[:4]], self.past.place)

    def run(self, rhs: Any, breaks: np.ndarray, field: DelayField, control: np.ndarray, times: np.ndarray, out: np.ndarray) -> int:
        """To ``control[4]``; returns the status."""
        from trajlab.dynamics.delay_driver import FULL, march_driver

        march = march_driver()
        while (status := march(rhs, self.past, self.clock, self.x, breaks, field.delays, field.p, control, times, out, self.told)) == FULL:
            self.roomier()
        return int(status)


def _compiled(field: DelayField, given: History, grid: np.ndarray, control: np.ndarray, workers: int | None) -> Solution:
    count, breaks = len(given.last), field.breaks(grid[0], grid[-1])
    x = np.full((count, len(grid), field.dim), np.nan)
    x[:, 0] = given.last
    told, status, reached = np.zeros((count, 3), np.int64), np.zeros(count, int), np.zeros(count)

    def row(i: int) -> None:
        run = March.of(field, given, i)
        run.clock[0], run.told[0] = grid[0], 1
        status[i] = run.run(field.rhs, breaks, field, control, grid, x[i])
        told[i], reached[i] = run.told, run.clock[0]
        x[i, told[i, 0] :] = np.nan

    over(row, count, 20 * x.size, workers)
    return Solution(x, grid, status, reached, told[:, 1], told[:, 2])
