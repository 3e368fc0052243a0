"""Search of time steps and of skipped blocks (AutoDiffusion, Li et al. 2023): which nodes to call at, and what of the net to leave out there."""

from __future__ import annotations

import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.paths.denoiser import Denoises
from trajlab.paths.gaussian import Level
from trajlab.paths.prediction import Prediction
from trajlab.samplers.deis import ddim
from trajlab.samplers.evolution import DEFAULT, EvolutionConfig, evolve
from trajlab.samplers.grids import Grid, explicit
from trajlab.samplers.sample import sample
from trajlab.samplers.search import Searched, distance, reference_end
from trajlab.samplers.solver import Solver


@dataclass(frozen=True)
class StepChoice:
    """A candidate.

    Attributes:
        places: indices into the ladder, rising: where the denoiser is called.
        skips: blocks that are left out, one sorted tuple a place.
    """

    places: tuple[int, ...]
    skips: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class StepSpace:
    """All choices of ``nfe`` of a ladder's nodes, with blocks to skip at each.

    Attributes:
        ladder: the nodes there are, `uniform_t(path, 999)` for instance; the run ends as its ``end`` says.
        nfe: nodes that are chosen, at least 2.
        blocks: blocks of the net that may be skipped: it is given ``skip=``, a tuple of indices below this. They should be residual, so that a
            skipped one is the identity.
        cost: share of a whole call that each block takes; equal by default.
        budget: most that a run may cost, in whole calls.
        first: whether the first node is always called at (else a run may start at less noise than the ladder).

    Raises:
        ValueError: too few nodes, costs that are not one share a block, or a budget that no candidate meets.
    """

    ladder: Grid
    nfe: int
    blocks: int = 0
    cost: tuple[float, ...] = ()
    budget: float = math.inf
    first: bool = True

    def __post_init__(self) -> None:
        cost = self.cost or (1 / self.blocks,) * self.blocks if self.blocks else ()
        object.__setattr__(self, "cost", tuple(cost))
        if not 2 <= self.nfe <= len(self.ladder.lam):
            raise ValueError(f"nfe = {self.nfe} of a ladder of {len(self.ladder.lam)} nodes; 2 to as many were wanted")
        if len(self.cost) != self.blocks or min(self.cost, default=0) < 0 or sum(self.cost) > 1 + 1e-9:
            raise ValueError(f"costs {self.cost} came for {self.blocks} blocks; one share >= 0 each, in sum at most 1, was wanted")
        least = self.nfe * (1 - sum(self.cost))
        if not self.budget >= least - 1e-9:
            raise ValueError(f"a budget of {self.budget:g} calls came, and {self.nfe} steps cost {least:g} with all blocks skipped; "
                             "take fewer steps, or more budget")

    def latency(self, candidate: StepChoice) -> float:
        """What a run costs, in whole calls."""
        return sum(1 - sum(self.cost[b] for b in skip) for skip in candidate.skips)

    def seeds(self, rng: np.random.Generator) -> list[StepChoice]:
        """Uniform and quadratic spacing, nothing skipped but what the budget asks for."""
        last, found = len(self.ladder.lam) - 1, []
        for power in (1.0, 2.0):
            places = last * (1 - np.linspace(1, 0, self.nfe) ** power)
            found.append(self._made(places.round().astype(int).tolist(), ((),) * self.nfe, rng))
        return list(dict.fromkeys(found))

    def random(self, rng: np.random.Generator) -> StepChoice:
        places = rng.choice(len(self.ladder.lam), self.nfe, replace=False).tolist()
        chance = rng.random()
        return self._made(places, [[b for b in range(self.blocks) if rng.random() < chance] for _ in range(self.nfe)], rng)

    def mutated(self, candidate: StepChoice, rng: np.random.Generator) -> StepChoice:
        """Some places move, most by little; some blocks change between skipped and not."""
        chance, reach = float(rng.choice([0.25, 0.5, 1.0])), float(rng.choice([1.0, 3.0, len(self.ladder.lam) / 60, len(self.ladder.lam) / 8]))
        places = [p + (round(reach * rng.normal()) if rng.random() < chance else 0) for p in candidate.places]
        flip = 0.25 / max(1, self.blocks)
        skips = [[b for b in range(self.blocks) if (b in skip) != (rng.random() < flip)] for skip in candidate.skips]
        return self._made(places, skips, rng)

    def crossed(self, one: StepChoice, other: StepChoice, rng: np.random.Generator) -> StepChoice:
        """Each place between those of its parents, each step's blocks from either."""
        places = [round(a + rng.uniform(-0.25, 1.25) * (b - a)) for a, b in zip(one.places, other.places)]
        return self._made(places, [a if rng.random() < 0.5 else b for a, b in zip(one.skips, other.skips)], rng)

    def legal(self, candidate: StepChoice) -> bool:
        places = candidate.places
        return (
            len(places) == len(candidate.skips) == self.nfe
            and all(a < b for a, b in pairwise(places))
            and (places[0] == 0 if self.first else places[0] >= 0)
            and places[-1] < len(self.ladder.lam)
            and all(0 <= b < self.blocks for skip in candidate.skips for b in skip)
            and self.latency(candidate) <= self.budget + 1e-9
        )

    def features(self, candidate: StepChoice) -> list[float]:
        bits = [float(b in skip) for skip in candidate.skips for b in range(self.blocks)]
        return [p / len(self.ladder.lam) for p in candidate.places] + bits

    def _made(self, places: Sequence[int], skips: Sequence[Sequence[int]], rng: np.random.Generator) -> StepChoice:
        """The nearest legal candidate: places within the ladder and unlike, more blocks skipped where the budget asks for it."""
        last = len(self.ladder.lam) - 1
        chosen = {min(max(int(p), 0), last) for p in places}
        if self.first and 0 not in chosen:
            chosen = {*sorted(chosen)[1:], 0}
        while len(chosen) < self.nfe:
            chosen.add(int(rng.integers(last + 1)))
        left = [set(skip) for skip in skips]
        open_ = [(k, b) for k in range(self.nfe) for b in range(self.blocks) if b not in left[k]]
        spent = sum(1 - sum(self.cost[b] for b in skip) for skip in left)
        while spent > self.budget + 1e-9 and open_:
            k, b = open_.pop(int(rng.integers(len(open_))))
            left[k].add(b)
            spent -= self.cost[b]
        return StepChoice(tuple(sorted(chosen)), tuple(tuple(sorted(skip)) for skip in left))

    def grid(self, candidate: StepChoice) -> Grid:
        """The nodes of a candidate."""
        return explicit(self.ladder.path, self.ladder.lam[list(candidate.places)], self.ladder.end)


class Skipping:
    """A denoiser whose net leaves blocks out, by log-SNR: from ``lam[k]`` on it is given ``skip=skips[k]``.

    Raises:
        ValueError: the net takes no ``skip``.
    """

    def __init__(self, denoiser: Denoises, lam: Sequence[float], skips: Sequence[tuple[int, ...]]) -> None:
        if not takes_skip(denoiser):
            raise ValueError("the net takes no argument skip=; give it one (a tuple of indices of the blocks to leave out), or search steps alone")
        self.denoiser, self.path, self.lam, self.skips = denoiser, denoiser.path, list(lam), list(skips)

    def __call__(self, x: Tensor, level: Level, **condition: Any) -> Prediction:
        """The prediction.

        Raises:
            ValueError: the level differs between samples.
        """
        if not isinstance(level.lam, float):
            raise ValueError("blocks are skipped for a whole batch, and this level differs between samples; call it with one level")
        step = max(0, bisect_right(self.lam, level.lam + 1e-9) - 1)
        return self.denoiser(x, level, skip=self.skips[step], **condition)


def takes_skip(denoiser: Denoises) -> bool:
    """Whether ``skip=`` reaches something."""
    net = getattr(denoiser, "net", denoiser)
    found = inspect.signature(net.forward if isinstance(net, torch.nn.Module) else net).parameters
    return "skip" in found or any(p.kind is p.VAR_KEYWORD for p in found.values())


def search_steps(
    denoiser: Denoises,
    space: StepSpace,
    start: Float[Tensor, "batch *event"],
    generator: torch.Generator,
    *,
    solver: Solver | None = None,
    target: Tensor | None = None,
    fitness: Callable[[Tensor], float] | None = None,
    config: EvolutionConfig = DEFAULT,
    quiet: bool = True,
) -> Searched:
    """The best nodes to call a denoiser at, and the blocks to skip at each.

    Args:
        denoiser: whose samples are wanted. With ``space.blocks`` > 0 its net must take ``skip=``.
        space: what may be chosen.
        start: states at the ladder's first node, the same for every candidate.
        generator: for the search, and by a seed the same for every candidate for stochastic solvers.
        solver: DDIM by default.
        target: ``[batch ...]``, where ``start`` should end; by default a fine run of the whole net.
        fitness: of samples, lower is better; the mean distance to ``target`` by default.
        config: how long to search.
        quiet: no progress on standard error.

    Returns:
        Solver, grid and ``denoiser`` (which skips) to `sample` with.

    Raises:
        ValueError: the net takes no ``skip``, or no candidate gave a finite score.
    """
    chosen = solver or ddim()
    ladder = space.ladder
    if fitness is None:
        bounds = (float(ladder.lam[0]), float(ladder.lam[-1]))
        fitness = distance(reference_end(denoiser, start, bounds, ladder.end == "denoise") if target is None else target)
    judge, seed = fitness, int(torch.randint(0, 2**62, (), generator=generator, device=generator.device))

    def around(candidate: StepChoice) -> Denoises:
        return Skipping(denoiser, space.grid(candidate).lam.tolist(), candidate.skips) if space.blocks else denoiser

    def score(candidate: StepChoice) -> float:
        noise = torch.Generator().manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
        return judge(sample(around(candidate), space.grid(candidate), start, chosen, generator=noise).x)

    seeds = space.seeds(np.random.default_rng(seed))
    found = evolve(space, score, seeds, generator, config, quiet=quiet)
    if not math.isfinite(found.score):
        raise ValueError("no choice of steps gave a finite score; check the denoiser, the start and the fitness")
    known = min(found.seen.get(s, math.inf) for s in seeds)
    return Searched(chosen, space.grid(found.best), found.score, known, found, around(found.best))
