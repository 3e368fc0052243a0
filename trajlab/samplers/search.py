"""Search of solver schedules (USF with S^3, Liu et al. 2023): the decisions of every step, tuned once for a denoiser and a number of calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.paths.denoiser import Denoises, level_range
from trajlab.samplers.deis import DEIS
from trajlab.samplers.evolution import DEFAULT, Evolution, EvolutionConfig, evolve
from trajlab.samplers.grids import Grid, uniform_lam
from trajlab.samplers.sample import sample
from trajlab.samplers.solver import Solver
from trajlab.samplers.solver_schedule import Decision, SolverSchedule

#: Steps of the reference that candidates are compared with.
FINE = 256


@dataclass(frozen=True)
class ScheduleSpace:
    """The schedules of ``nfe`` calls between two log-SNRs.

    Attributes:
        nfe: calls.
        start, stop: where nodes may lie; the path's range where None.
        clean: whether runs end at sigma = 0.
        kinds, orders, estimates, correctors, scalings: what a step may choose from.
        narrowest: smallest width of a step before the last, relative to the mean width.
    """

    nfe: int
    start: float | None = None
    stop: float | None = None
    clean: bool = True
    kinds: tuple[str, ...] = ("eps", "x0")
    orders: tuple[int, ...] = (1, 2, 3)
    estimates: tuple[str, ...] = ("full", "low")
    correctors: tuple[bool, ...] = (False, True)
    scalings: tuple[str, ...] = ("exact", "simple")
    narrowest: float = 0.03

    def __post_init__(self) -> None:
        if self.nfe < 1:
            raise ValueError(f"nfe = {self.nfe}; a schedule makes at least one call")

    def schedule(self, decisions: Sequence[Decision]) -> SolverSchedule:
        """The schedule of these decisions, widths scaled to a mean of 1 and choices without effect set to their defaults."""
        mean = sum(d.width for d in decisions) / len(decisions)
        least = [self.narrowest] * (len(decisions) - 1) + [0.0 if self.clean else self.narrowest]
        widths = [max(round(d.width / mean, 6) if mean > 0 else 1.0, low) for d, low in zip(decisions, least)]
        tidy = [_tidy(replace(d, width=w), k, len(decisions)) for k, (d, w) in enumerate(zip(decisions, widths))]
        return SolverSchedule(tuple(tidy), self.start, self.stop, self.clean)

    def seeds(self) -> list[SolverSchedule]:
        """The fixed solvers of this space: every order and kind on the uniform grid, all calls within it and the last at its end, or without."""
        found = []
        for last in (0.0, 1.0) if self.clean and self.nfe > 1 else (1.0,):
            for kind in self.kinds:
                for order in self.orders:
                    steps = [Decision(1.0, kind, order, self.estimates[0], self.correctors[0], self.scalings[0])] * self.nfe
                    found.append(self.schedule([*steps[:-1], replace(steps[-1], width=last, order=order if last else 1)]))
        return list(dict.fromkeys(found))

    def random(self, rng: np.random.Generator) -> SolverSchedule:
        return self.schedule([self._step(math.exp(0.5 * rng.normal()), rng) for _ in range(self.nfe)])

    def mutated(self, candidate: SolverSchedule, rng: np.random.Generator) -> SolverSchedule:
        """Widths move a little, and each step's choices are drawn again with a small probability."""
        spread, chance = float(rng.choice([0.05, 0.15, 0.4])), float(rng.choice([0.0, 0.15, 0.3]))
        out = []
        for k, d in enumerate(candidate.decisions):
            width = d.width * math.exp(spread * rng.normal())
            if k == self.nfe - 1 and self.clean:
                width = abs(width + spread * rng.normal())
            new = self._step(width, rng)
            out.append(replace(d, width=width, **{name: getattr(new, name) for name in CHOICES if rng.random() < chance}))
        return self.schedule(out)

    def crossed(self, one: SolverSchedule, other: SolverSchedule, rng: np.random.Generator) -> SolverSchedule:
        """Choices of each step from either parent; widths between the two, on one line."""
        share = rng.uniform(-0.25, 1.25)
        out = []
        for a, b in zip(one.decisions, other.decisions):
            width = max(a.width + share * (b.width - a.width), 0.0)
            out.append(replace(a if rng.random() < 0.5 else b, width=width))
        return self.schedule(out)

    def legal(self, candidate: SolverSchedule) -> bool:
        return len(candidate.decisions) == self.nfe and candidate.clean == self.clean

    def features(self, candidate: SolverSchedule) -> list[float]:
        out: list[float] = []
        for d in candidate.decisions:
            out += [math.log(d.width + 0.05), float(d.kind == "eps"), float(d.order > 1), float(d.order > 2), float(d.estimate == "full"),
                    float(d.corrector), float(d.scaling == "exact")]
        return out

    def _step(self, width: float, rng: np.random.Generator) -> Decision:
        options = (self.kinds, self.orders, self.estimates, self.correctors, self.scalings)
        return Decision(width, *(choices[int(rng.integers(len(choices)))] for choices in options))


CHOICES = ("kind", "order", "estimate", "corrector", "scaling")


def _tidy(d: Decision, k: int, steps: int) -> Decision:
    """Choices without effect at their defaults, so that two candidates with the same table are one."""
    order = min(d.order, k + 1)
    last = k == steps - 1
    correct = d.corrector and not last
    return replace(d, order=order, corrector=correct, estimate=d.estimate if order == 3 else "full",
                   scaling=d.scaling if order > 1 or correct else "exact")


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Attributes:
        solver, grid: pass both to `sample`.
        score: fitness on the samples that were searched with; expect more on fresh ones.
        seed_score: the best of the seeds, on the same samples.
        evolution: everything seen.
        denoiser: the denoiser to use, where the search changed it.
    """

    solver: Solver
    grid: Grid
    score: float
    seed_score: float
    evolution: Evolution = field(repr=False)
    denoiser: Denoises | None = field(default=None, repr=False)


def reference_end(denoiser: Denoises, start: Tensor, bounds: tuple[float, float], clean: bool = True, mask: Tensor | None = None) -> Tensor:
    """Where ``start`` ends by a fine third-order run of the same denoiser."""
    grid = uniform_lam(denoiser.path, FINE, *bounds, end="denoise" if clean else "stop")
    return sample(denoiser, grid, start, DEIS(3), mask=mask).x


def distance(target: Tensor) -> Callable[[Tensor], float]:
    """Fitness: mean over the batch of the Euclidean distance to ``target``."""
    return lambda x: float((x - target).flatten(1).norm(dim=1).double().mean())


def search_schedule(
    denoiser: Denoises,
    nfe: int,
    start: Float[Tensor, "batch *event"],
    generator: torch.Generator,
    *,
    target: Tensor | None = None,
    fitness: Callable[[Tensor], float] | None = None,
    space: ScheduleSpace | None = None,
    config: EvolutionConfig = DEFAULT,
    quiet: bool = True,
) -> Searched:
    """The best solver schedule of ``nfe`` calls for a denoiser.

    Args:
        denoiser: whose samples are wanted; a condition goes in by `Denoiser.given`.
        nfe: calls a sample.
        start: states at the first node, the same for every candidate; some 128 to 256 keep the search from fitting its samples.
        generator: for the search alone.
        target: ``[batch ...]``, where ``start`` should end; by default a fine run of the same denoiser.
        fitness: of samples ``[batch ...]``, lower is better; the mean distance to ``target`` by default.
        space: what may be chosen; everything between the path's ends by default.
        config: how long to search.
        quiet: no progress on standard error.

    Raises:
        ValueError: the space has another number of calls, or no candidate gave a finite score.
    """
    space = space or ScheduleSpace(nfe)
    if space.nfe != nfe:
        raise ValueError(f"the space has schedules of {space.nfe} calls, and nfe={nfe} came; make them agree")
    path = denoiser.path
    if fitness is None:
        first, last = level_range(path)
        bounds = (first if space.start is None else space.start, last if space.stop is None else space.stop)
        fitness = distance(reference_end(denoiser, start, bounds, space.clean) if target is None else target)
    judge = fitness

    def score(candidate: SolverSchedule) -> float:
        return judge(sample(denoiser, candidate.grid(path), start, candidate).x)

    seeds = space.seeds()
    found = evolve(space, score, seeds, generator, config, quiet=quiet)
    if not math.isfinite(found.score):
        raise ValueError("no schedule gave a finite score; check the denoiser, the start and the fitness")
    return Searched(found.best, found.best.grid(path), found.score, min(found.seen.get(s, math.inf) for s in seeds), found)
