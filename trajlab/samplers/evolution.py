"""Evolution: one engine for every search over discrete or mixed decisions, with an optional predictor that picks what is worth evaluating.

Selection is among the best of everything seen (AutoDiffusion, Li et al. 2023). With a predictor it is the multi-stage search S^3 of the
unified solver framework (Liu et al. 2023): evaluate a population, fit scores to features by pairwise ranks, draw many candidates, evaluate the
best-predicted, repeat.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

from trajlab.samplers.ranking import RankPredictor

C = TypeVar("C", bound=Hashable)
#: Attempts at a new legal candidate before the search takes what it has.
PATIENCE = 200
#: The predictor learns from this many of the best seen.
LEARNED = 240


@runtime_checkable
class Space(Protocol):
    """What can be chosen. Candidates are hashable; equal ones are evaluated once."""

    def random(self, rng: np.random.Generator) -> Any:
        """A legal candidate."""

    def mutated(self, candidate: Any, rng: np.random.Generator) -> Any:
        """A neighbour."""

    def crossed(self, one: Any, other: Any, rng: np.random.Generator) -> Any:
        """A child of two."""

    def legal(self, candidate: Any) -> bool:
        """Whether a candidate may be evaluated."""

    def features(self, candidate: Any) -> list[float]:
        """Numbers that the predictor sees; equally many for every candidate."""


@dataclass(frozen=True)
class EvolutionConfig:
    """How long and how widely to look; evaluations = population x generations.

    Attributes:
        population: candidates evaluated a generation.
        generations: how many; the first is the seeds, their mutations, and random candidates.
        parents: how many of the best seen have children.
        mutation, crossover: shares of a generation; the rest is random.
        pool: candidates drawn for one that is evaluated; above 1, a predictor picks among them.

    Raises:
        ValueError: a count below 1, or shares outside [0, 1].
    """

    population: int = 40
    generations: int = 20
    parents: int = 20
    mutation: float = 0.4
    crossover: float = 0.4
    pool: int = 20

    def __post_init__(self) -> None:
        for name in ("population", "generations", "parents", "pool"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; at least 1 was wanted")
        if min(self.mutation, self.crossover) < 0 or self.mutation + self.crossover > 1:
            raise ValueError(f"mutation = {self.mutation:g} and crossover = {self.crossover:g}; they must be >= 0 and sum to at most 1")


DEFAULT = EvolutionConfig()


@dataclass
class Evolution(Generic[C]):
    """What a search has seen; lower scores are better.

    Attributes:
        seen: every candidate and its score, in the order of evaluation.
        history: the best score after each evaluation.
        complete: False where the user interrupted.
    """

    seen: dict[C, float] = field(default_factory=dict)
    history: list[float] = field(default_factory=list)
    complete: bool = True

    def ranked(self, count: int | None = None) -> list[tuple[C, float]]:
        """The best ``count`` (all by default), best first; ties in the order of evaluation."""
        return sorted(self.seen.items(), key=lambda item: item[1])[:count]

    @property
    def best(self) -> C:
        """The best candidate.

        Raises:
            ValueError: nothing was evaluated.
        """
        if not self.seen:
            raise ValueError("nothing has been evaluated yet")
        return self.ranked(1)[0][0]

    @property
    def score(self) -> float:
        """Its score."""
        return self.seen[self.best]

    def add(self, candidate: C, score: float) -> None:
        """Keep a score; what is not a number counts as infinitely bad."""
        self.seen[candidate] = score if not math.isnan(score) else math.inf
        self.history.append(min(self.history[-1] if self.history else math.inf, self.seen[candidate]))


def evolve(
    space: Space,
    fitness: Callable[[Any], float],
    seeds: Sequence[Any],
    generator: torch.Generator,
    config: EvolutionConfig = DEFAULT,
    *,
    known: Mapping[Any, float] | None = None,
    watch: Callable[[Evolution], None] | None = None,
    quiet: bool = True,
) -> Evolution:
    """Search for the candidate of the lowest fitness. All seeds are evaluated, so that the result is never worse than any of them.

    An interrupt (Ctrl-C) ends the search early and loses nothing: the result so far is returned, with ``complete=False``; its ``seen`` can be
    passed as ``known`` to go on.

    Args:
        space: what can be chosen.
        fitness: deterministic: evaluate every candidate on the same samples, or noise decides the selection.
        seeds: candidates to begin with.
        generator: asked once, for a seed.
        config: how long.
        known: scores from an earlier search; they are not evaluated again.
        watch: called after every evaluation.
        quiet: no progress on standard error.

    Raises:
        ValueError: a seed is not legal.
        KeyboardInterrupt: before anything was evaluated.
    """
    for seed in seeds:
        if not space.legal(seed):
            raise ValueError(f"the seed {seed!r} is not legal in this search; change it, or widen the search")
    rng = np.random.default_rng(int(torch.randint(0, 2**62, (), generator=generator, device=generator.device)))
    found: Evolution = Evolution()
    for candidate, score in (known or {}).items():
        found.add(candidate, score)
    try:
        for candidate in _shown(_proposals(space, seeds, found, config, rng), found, config, quiet):
            found.add(candidate, float(fitness(candidate)))
            if watch is not None:
                watch(found)
    except KeyboardInterrupt:
        if not found.seen:
            raise
        found.complete = False
    return found


def _proposals(space: Space, seeds: Sequence[Any], found: Evolution, config: EvolutionConfig, rng: np.random.Generator) -> Iterator[Any]:
    """What to evaluate, lazily: each generation is made when the one before has been scored."""
    first = [seed for seed in dict.fromkeys(seeds) if seed not in found.seen]
    yield from first
    for generation in range(config.generations):
        parents = [candidate for candidate, _ in found.ranked(config.parents)] or [space.random(rng)]
        wanted = config.population - (len(first) if generation == 0 else 0)
        if wanted <= 0:
            continue
        pool = _children(space, parents, found, wanted * config.pool, config, rng)
        if config.pool > 1 and len(found.seen) >= 8:
            kept = RankPredictor.fit([(space.features(c), s) for c, s in found.ranked(LEARNED)]).best([space.features(c) for c in pool], wanted)
            pool = [pool[k] for k in kept]
        yield from pool[:wanted]


def _children(space: Space, parents: list[Any], found: Evolution, count: int, config: EvolutionConfig, rng: np.random.Generator) -> list[Any]:
    """New, legal, unseen candidates; fewer than asked for where the space is nearly exhausted."""
    new: dict[Any, None] = {}
    misses = 0
    while len(new) < count and misses < PATIENCE:
        child = _child(space, parents, config, rng)
        if child in new or child in found.seen or not space.legal(child):
            misses += 1
            continue
        new[child], misses = None, 0
    return list(new)


def _child(space: Space, parents: list[Any], config: EvolutionConfig, rng: np.random.Generator) -> Any:
    draw = rng.random()
    one = parents[int(rng.integers(len(parents)))]
    if draw < config.mutation:
        return space.mutated(one, rng)
    if draw < config.mutation + config.crossover:
        return space.crossed(one, parents[int(rng.integers(len(parents)))], rng)
    return space.random(rng)


def _shown(items: Iterator[Any], found: Evolution, config: EvolutionConfig, quiet: bool) -> Iterator[Any]:
    """The same items, with a progress bar; where there is no terminal, with a line at every tenth."""
    total = config.population * config.generations
    if quiet:
        yield from items
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description="search", total=total, console=Console(stderr=True))
    else:
        every = max(1, total // 10)
        for k, item in enumerate(items, 1):
            yield item
            if k % every == 0:
                print(f"search: {k} of {total}, best {found.score:.4g}", file=sys.stderr, flush=True)
