"""Solve ordinary differential equations for a batch of starts: DOP853 compiled, or in lockstep with numpy or torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajlab.dynamics.fields import VectorField

__all__ = ["REASONS", "Solution", "solve"]

MOST = 1_000_000  #: steps between the first and the last time
REASONS = ("done", "the step fell below rounding", "the number of steps was reached", "the right-hand side is not finite however small the step",
           "the state left the range of 1e12")


@dataclass(frozen=True, eq=False)
class Solution:
    """Trajectories of a batch.

    Attributes:
        x: ``[batch time dim]``; NaN from where a row ended early.
        times: ``[time]``.
        status: ``[batch]``, an index into `REASONS`; 0 where the row is complete.
        reached: ``[batch]``, the time each row came to.
        steps, evaluations: ``[batch]``.
    """

    x: Any
    times: np.ndarray
    status: np.ndarray
    reached: np.ndarray
    steps: np.ndarray
    evaluations: np.ndarray

    @property
    def complete(self) -> bool:
        return not self.status.any()

    def failures(self, name: str) -> str:
        """One line on the rows that ended early."""
        bad = np.flatnonzero(self.status)
        some = "; ".join(f"row {i} at t = {self.reached[i]:.6g}: {REASONS[self.status[i]]}" for i in bad[:3])
        return f"{name}: {len(bad)} of {len(self.status)} trajectories ended before t = {self.times[-1]:.6g} ({some})"


def solve(field: Any, x0: Any, times: Sequence[float] | np.ndarray, *, rtol: float = 1e-9, atol: float = 1e-9, most: int = MOST,
          failed: str = "raise", workers: int | None = None) -> Solution:
    """Integrate dx/dt = field from x0 at ``times[0]``, with the state at every time by dense output.

    The method is DOP853 with error control for each row on its own; a step whose error or slope is not finite is shortened, and a row that
    cannot go on says where and why. Without a compiler, or for tensors, all rows share their steps (`trajlab.dynamics.lockstep`).

    Args:
        field: the system; or, for tensors, any callable ``f(t, x[batch dim]) -> rates[batch dim]`` such as a module.
        x0: ``[batch dim]`` or ``[dim]``, numpy or torch; tensors stay on their device and can be differentiated through.
        times: rising or falling.
        rtol, atol: the local error is kept below atol + rtol |x|.
        most: steps, at most.
        failed: ``"raise"``, or ``"keep"`` to get incomplete rows, NaN from where they ended.
        workers: threads; by default as many as there are processors, where there is enough to do.

    Raises:
        ValueError: shapes disagree, times are not monotone, tolerances are not positive, a start is not finite, or (``failed="raise"``) a row ended
            before the last time.
        TypeError: the field is no `VectorField` and x0 no tensor.
    """
    grid = _monotone(times)
    if failed not in ("raise", "keep"):
        raise ValueError(f"failed={failed!r}; 'raise' or 'keep' was wanted")
    if not (rtol > 0 and atol > 0):
        raise ValueError(f"rtol={rtol!r} and atol={atol!r}; positive tolerances were wanted")
    if not isinstance(x0, np.ndarray | Sequence):
        from trajlab.dynamics.lockstep import solve_tensors

        solution = solve_tensors(field, x0, grid, rtol, atol, most)
    else:
        if not isinstance(field, VectorField):
            raise TypeError(f"the field is a {type(field).__name__}; for arrays a VectorField was wanted, for example VectorField(f, dim) with "
                            "f(t, x, p) -> rates (pass tensors to use a module or a function of batches)")
        starts = _starts(field, x0)
        if field.rhs is None:
            from trajlab.dynamics.lockstep import solve_arrays

            solution = solve_arrays(field, starts, grid, rtol, atol, most)
        else:
            solution = _compiled(field, starts, grid, rtol, atol, most, workers)
    if failed == "raise" and not solution.complete:
        raise ValueError(solution.failures(getattr(field, "name", type(field).__name__)) + ". Loosen the tolerances, start elsewhere, or pass "
                         "failed='keep' to get what there is")
    return solution


def _compiled(field: VectorField, starts: np.ndarray, times: np.ndarray, rtol: float, atol: float, most: int, workers: int | None) -> Solution:
    from trajlab.dynamics.dop853 import row_driver

    count = len(starts)
    x = np.full((count, len(times), field.dim), np.nan)
    told = np.zeros((count, 5))
    row = row_driver()

    def one(i: int) -> None:
        told[i] = row(field.rhs, starts[i], times, field.p, rtol, atol, most, x[i])
        x[i, int(told[i, 1]) :] = np.nan

    threads = min(count, workers or os.cpu_count() or 1)
    if threads == 1 or count * len(times) < 2000:  # threads cost more than they bring
        for i in range(count):
            one(i)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(count)))
    status, _, reached, steps, calls = told.T
    return Solution(x, times, status.astype(int), reached, steps.astype(int), calls.astype(int))


def _monotone(times: Sequence[float] | np.ndarray) -> np.ndarray:
    grid = np.ascontiguousarray(times, dtype=np.float64)
    step = np.diff(grid) if grid.ndim == 1 else np.zeros(1)
    if grid.ndim != 1 or not len(grid) or not np.isfinite(grid).all() or not ((step > 0).all() or (step < 0).all()):
        raise ValueError(f"times of shape {grid.shape} do not rise or fall throughout; pass for example numpy.linspace(0, 10, 101)")
    return grid


def _starts(field: VectorField, x0: Any) -> np.ndarray:
    starts = np.ascontiguousarray(np.atleast_2d(np.asarray(x0, dtype=np.float64)))
    if starts.ndim != 2 or starts.shape[1] != field.dim:
        raise ValueError(f"{field.name}: starts of shape {starts.shape}; [batch {field.dim}] was wanted")
    bad = np.flatnonzero(~np.isfinite(starts).all(1))
    if len(bad):
        raise ValueError(f"{field.name}: {len(bad)} of {len(starts)} starts are not finite (rows {bad[:5].tolist()})")
    return starts
