"""What a solver is: a rule that turns a grid into a table, or, where the method decides on the way, a loop of its own."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any

from torch import Tensor

from trajlab.paths.gaussian import Level
from trajlab.samplers.grids import Grid
from trajlab.samplers.tables import Run, Stage, Table, execute


class Solver:
    """A subclass gives `plan`; one that adapts its steps to the sample overrides `run`.

    Solvers are frozen dataclasses: the same object may be used for any number of runs, at once too.
    """

    def plan(self, grid: Grid) -> Table:
        """The stages for a grid.

        Raises:
            ValueError: the grid has fewer steps than the solver's order, or starts where the solver cannot.
        """
        raise NotImplementedError(f"{type(self).__name__} decides on the way and has no table")

    def run(self, grid: Grid, run: Run, x: Tensor) -> Tensor:
        """From ``x`` at the first node to the sample."""
        return execute(planned(self, grid), run, x)


#: Tables that a grid keeps.
KEPT = 32


class _Tables(dict[Solver, Table]):
    """Tables that a grid keeps by solver; they are made again rather than copied or pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _Tables, ()


def planned(solver: Solver, grid: Grid) -> Table:
    """A solver's table on a grid. The grid object keeps it for the next run with an equal solver, if that is a frozen dataclass and has a hash."""
    if not (is_dataclass(solver) and solver.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        return solver.plan(grid)
    kept = vars(grid).setdefault("_tables", _Tables())
    try:
        found = kept.get(solver)
    except TypeError:
        return solver.plan(grid)
    if found is None:
        if len(kept) >= KEPT:
            kept.clear()
        found = kept[solver] = solver.plan(grid)
    return found


def finished(grid: Grid, stages: list[Stage]) -> Table:
    """The table of a grid's stages, with the last call that the grid's end asks for."""
    last = grid.levels[-1]
    if grid.end == "denoise" and last.sigma > 0:
        clean = grid.path.level(float("inf"))
        stages = [*stages, Stage(to=clean, level=last, states=(), predictions=(1.0,), kind="x0")]
    return Table(grid.levels[0], tuple(stages))


def transfer(s: Level, t: Level, kind: str) -> tuple[Any, Any]:
    """Weights of (state, prediction) of the first-order step s -> t: DDIM, read in ``eps`` or ``x0``.

        x_t = (alpha_t/alpha_s) x + (sigma_t - alpha_t sigma_s/alpha_s) e = (sigma_t/sigma_s) x + (alpha_t - sigma_t alpha_s/sigma_s) D
    """
    if kind == "eps":
        return t.alpha / s.alpha, t.sigma - t.alpha * s.sigma / s.alpha
    return t.sigma / s.sigma, t.alpha - t.sigma * s.alpha / s.sigma


def enough(name: str, order: int, grid: Grid) -> None:
    """Refuse fewer steps than the order."""
    if grid.steps < order:
        raise ValueError(f"{name} has order {order} and the grid only {grid.steps} steps; use at least {order} steps, or a lower order")


def finite(name: str, grid: Grid, kind: str) -> None:
    """Refuse grids whose ends a multistep or inner-point solver cannot take."""
    if grid.levels[0].alpha == 0 and kind == "eps":
        raise ValueError(f"{name} reads noise and cannot start at alpha = 0 (lam = -inf); start the grid at a finite log-SNR, or use a solver on x0")
