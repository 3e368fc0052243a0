"""What a sampler is worth: its error to the exact end of the probability-flow ODE, its order of convergence, and what it costs beside the net."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import find, table
from trajlab.evaluate.results import Curve, Figure
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.paths.prediction import Prediction
from trajlab.samplers.grids import GRIDS, Grid
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample
from trajlab.samplers.solver import Solver
from trajlab.samplers.tables import Run, Table, execute
from trajlab.sources.mixtures import GaussianMixture


@dataclass(frozen=True)
class Problem:
    """A mixture, starts on a path, and where the exact ODE takes them.

    Attributes:
        name: shown in tables.
        mixture: the data.
        path: the path.
        start: ``[batch *event]``, states at the path's noise end, or at ``first``.
        end: ``[batch *event]``, float64, the exact states at ``last``.
        first, last: log-SNR of both; ``last`` is inf for the clean end.
    """

    name: str
    mixture: GaussianMixture
    path: GaussianPath
    start: Tensor
    end: Tensor
    first: float
    last: float

    @classmethod
    def make(cls, name: str, mixture: GaussianMixture, path: GaussianPath, generator: torch.Generator, count: int = 256,
             last: float = math.inf) -> Self:
        """``count`` draws from N(0, sigma^2) at the noise end of a path, and their ends by a fine reference.

        Raises:
            ValueError: the path starts at infinite noise.
        """
        first = path.ends[0]
        if not math.isfinite(first):
            raise ValueError(f"{path} starts at lam = {first:g}; the reference needs a path with a finite start")
        start = torch.randn(count, *mixture.event, generator=generator, dtype=torch.float64) * path.level(first).sigma
        return cls(name, mixture, path, start, mixture.ode_end(path, start, first, last), first, last)

    def distances(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, " batch"]:
        """Distance (L2, over the whole event) of every sample to its exact end; inf where x is not finite."""
        return torch.nan_to_num((x.double() - self.end).flatten(1).norm(dim=1), nan=math.inf)

    def error(self, x: Float[Tensor, "batch *event"]) -> float:
        """Median of the distances."""
        return float(self.distances(x).median())

    def error_of(self, solver: Solver, grid: Grid, dtype: torch.dtype = torch.float32) -> tuple[float, int]:
        """Error and calls of one run with states of ``dtype``."""
        found = sample(self.mixture.denoiser(self.path), grid, self.start.to(dtype), solver)
        return self.error(found.x), found.nfe

    def mean_of(self, solver: Solver, grid: Grid, dtype: torch.dtype = torch.float32) -> float:
        """Mean of the distances after one run with states of ``dtype``."""
        return float(self.distances(sample(self.mixture.denoiser(self.path), grid, self.start.to(dtype), solver).x).mean())


def solvers() -> dict[str, Solver]:
    """Every solver of the package with its defaults."""
    return {name: find(name, "samplers")() for name in table("samplers")}


def plan_of(solver: Solver, grid: Grid) -> Table | None:
    """A solver's table on a grid; None where it decides on the way, or the grid is too short for it."""
    try:
        return solver.plan(grid)
    except (NotImplementedError, ValueError):
        return None


def grid_for(solver: Solver, path: GaussianPath, grid: str, calls: int) -> Grid | None:
    """The named grid with the most steps on which a solver takes at most ``calls`` calls, the last, denoising one included; None if there is none."""
    for steps in range(calls, 0, -1):
        nodes = GRIDS[grid](path, steps)
        plan = plan_of(solver, nodes)
        if plan is not None and plan.nfe <= calls:
            return nodes
    return None


def draws(solver: Solver, path: GaussianPath) -> bool:
    """Whether a solver adds noise, so that it does not follow the ODE; one without a table is tried without a generator."""
    grid = GRIDS["uniform_lam"](path, 12)
    plan = plan_of(solver, grid)
    if plan is not None:
        return any(stage.noise for stage in plan.stages)
    try:
        sample(Silent(path, torch.zeros(1, 2)), grid, torch.ones(1, 2), solver)
    except ValueError as error:
        return "random numbers" in str(error)
    return False


def is_multistep(solver: Solver, path: GaussianPath, steps: int = 20) -> bool:
    """Whether a solver, once warm, makes one call a step and looks back on earlier ones."""
    plan = plan_of(solver, GRIDS["uniform_lam"](path, steps).ended("stop"))
    if plan is None:
        return False
    calls, per_step, looks_back = 0, [], False
    for stage in plan.stages[len(plan.stages) // 2 :]:
        calls += stage.level is not None
        looks_back |= len(stage.predictions) > 1 or len(stage.states) > 1
        if stage.node:
            per_step.append(calls)
            calls = 0
    return looks_back and statistics.median(per_step) == 1


def looks_back(solver: Solver, path: GaussianPath, steps: int = 20) -> int:
    """The most predictions that a solver with a table combines in one step: 2 for second-order multistep ones, 3 for third-order ones."""
    return max(sum(not isinstance(w, float) or w != 0 for w in stage.predictions)
               for stage in solver.plan(GRIDS["uniform_lam"](path, steps)).stages)


def convergence(problem: Problem, solver: Solver, grid: str, steps: Sequence[int] = (20, 40, 80, 160, 320)) -> list[float]:
    """Errors of a solver on the named grid at growing numbers of steps, float64, without a denoising call.

    Means of the distances: a median of high order wavers, because leading terms of opposite sign cancel in some samples.
    """
    found = []
    for number in steps:
        nodes = GRIDS[grid](problem.path, number, problem.first, problem.last, "stop")
        found.append(problem.mean_of(solver, nodes, torch.float64))
    return found


def slope(errors: Sequence[float], steps: Sequence[int]) -> float:
    """Order seen in the last interval: log(error ratio) / log(step ratio)."""
    return math.log(errors[-2] / errors[-1]) / math.log(steps[-1] / steps[-2])


class Silent:
    """A denoiser whose net costs nothing: it predicts the same zero noise every time."""

    def __init__(self, path: GaussianPath, like: Tensor) -> None:
        self.path, self.zero = path, torch.zeros_like(like)

    def __call__(self, x: Tensor, level: Level, **_: Any) -> Prediction:
        return Prediction(x, level, "eps", self.zero)


class FixedNoise(RowNoise):
    """The same draw every time, for timing: drawing costs what it costs, whoever draws."""

    def __init__(self, like: Tensor) -> None:
        super().__init__(None)
        self._draw = torch.randn(like.shape, generator=torch.Generator().manual_seed(0), dtype=like.dtype)

    def normal(self, like: Tensor) -> Tensor:
        return self._draw.to(like)


def bare_run(solver: Solver, grid: Grid, x: Tensor) -> Callable[[], Callable[[], object]]:
    """A run whose net and noise cost nothing, in two parts as `medians` wants it: the table before, its execution timed."""
    denoiser, noise, plan = Silent(grid.path, x), FixedNoise(x), solver.plan(grid)
    return lambda: lambda: execute(plan, Run(denoiser, noise=noise), x)


def medians(contenders: Mapping[str, Callable[[], Callable[[], object]]], repeats: int = 15, warm: int = 2) -> dict[str, float]:
    """Median CPU seconds of this thread for each contender, taken in turns, so that a busy machine is busy for all of them.

    Each is called once a turn, untimed, and what it returns is timed.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + warm):
        for name, prepare in contenders.items():
            run = prepare()
            began = time.thread_time()
            run()
            spent = time.thread_time() - began
            if turn >= warm:
                taken[name].append(spent)
    return {name: statistics.median(values) for name, values in taken.items()}


def error_figure(title: str, calls: Sequence[int], errors: Mapping[str, Sequence[float | None]]) -> Figure:
    """Error against calls, one curve a solver and grid; missing and infinite values are left out."""
    curves = []
    for name, values in errors.items():
        kept = [(n, e) for n, e in zip(calls, values) if e is not None and math.isfinite(e)]
        curves.append(Curve(name, np.array([n for n, _ in kept]), np.array([e for _, e in kept])))
    return Figure(title, "calls of the denoiser", "median distance to the exact end", curves, logy=True)


def order_figure(title: str, steps: Sequence[int], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Error against steps, one curve a solver."""
    return Figure(title, "steps", "mean distance to the exact end", [Curve(n, np.array(steps), np.array(e)) for n, e in errors.items()], logy=True)
