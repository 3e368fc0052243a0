"""Random generators of Markov jump processes, family by family; each function draws the links and rates of one process, ``[state state]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from trajlab.catalog import unknown
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.sources.jump_prior_config import PriorConfig

__all__ = ["connected", "draw_generator"]

Draw = Callable[[np.random.Generator, int, PriorConfig], np.ndarray]


def connected(links: Bool[np.ndarray, "state state"]) -> bool:
    """Whether every state can be reached from every other."""
    n = len(links)
    for some in (links, links.T):
        seen = np.zeros(n, dtype=bool)
        seen[0] = True
        for _ in range(n):
            more = seen | some[seen].any(0)
            if (more == seen).all():
                break
            seen = more
        if not seen.all():
            return False
    return True


def draw_generator(rng: np.random.Generator, n: int, family: str, config: PriorConfig) -> Float[np.ndarray, "state state"]:
    """A random generator of the family, of n states in random order.

    Raises:
        ValueError: no such family, or fewer than two states.
    """
    if family not in LINKS:
        raise ValueError(unknown("family", family, LINKS))
    if n < 2:
        raise ValueError(f"n = {n}; at least 2 states were wanted")
    links, factor = LINKS[family](rng, n, config)
    a, b = config.beta_shapes[rng.integers(len(config.beta_shapes))]
    rates = rng.beta(a, b, (n, n)) * 10.0 ** rng.uniform(*config.decades)
    if config.spread_share and rng.random() < config.spread_share:
        rates *= 10.0 ** (rng.uniform(0, config.spread) * rng.uniform(-0.75, 0.25, (n, n)))  # more slower than faster
    rates = np.maximum(rates, 1e-6 * rates.max())  # a Beta draw may be 1e-12 or 0: such a link would be there in name only
    if family == "reversible":
        upper = np.triu(rates, 1)
        rates = upper + upper.T
    order = rng.permutation(n)
    return from_rates((rates * factor * links)[np.ix_(order, order)])


def _random(rng: np.random.Generator, n: int, config: PriorConfig) -> tuple[np.ndarray, np.ndarray]:
    off = ~np.eye(n, dtype=bool)
    if rng.random() < config.complete:
        return off, np.ones((n, n))
    while True:
        links = (rng.random((n, n)) < rng.uniform(*config.links)) & off
        if connected(links):
            return links, np.ones((n, n))


def _one_way(rng: np.random.Generator, n: int, config: PriorConfig) -> tuple[np.ndarray, np.ndarray]:
    """0 -> 1 -> ... -> n - 1, where it ends; every second time with ways to skip ahead."""
    links = np.eye(n, k=1, dtype=bool)
    if rng.random() < 0.5:
        links |= np.triu(rng.random((n, n)) < rng.uniform(*config.links), 1)
    return links, np.ones((n, n))


def _absorbing(rng: np.random.Generator, n: int, config: PriorConfig) -> tuple[np.ndarray, np.ndarray]:
    """Random links between the first states; the last ones, at most three and at most half of all, are never left."""
    ends = int(rng.integers(1, min(3, max(1, n // 2)) + 1))
    inner = n - ends
    links = np.zeros((n, n), dtype=bool)
    links[:inner, :inner] = _random(rng, inner, config)[0]
    into = rng.random((inner, ends)) < rng.uniform(*config.links)
    into[rng.integers(inner, size=ends), np.arange(ends)] = True
    links[:inner, inner:] = into
    return links, np.ones((n, n))


def _ring(rng: np.random.Generator, n: int, _: PriorConfig) -> tuple[np.ndarray, np.ndarray]:
    """A ring; every third time one-way, else with rates the other way round smaller by exp(-bias), bias uniform up to 4."""
    index = np.arange(n)
    ahead, back = np.zeros((n, n), dtype=bool), np.zeros((n, n), dtype=bool)
    ahead[index, (index + 1) % n] = True
    back[index, (index - 1) % n] = True
    if n > 2 and rng.random() < 1 / 3:
        return ahead, np.ones((n, n))
    return ahead | back, np.where(back & ~ahead, np.exp(-rng.uniform(0, 4)), 1.0)


def _birth_death(_rng: np.random.Generator, n: int, _: PriorConfig) -> tuple[np.ndarray, np.ndarray]:
    return np.eye(n, k=1, dtype=bool) | np.eye(n, k=-1, dtype=bool), np.ones((n, n))


def _reversible(rng: np.random.Generator, n: int, config: PriorConfig) -> tuple[np.ndarray, np.ndarray]:
    """``q_ij = s_ij sqrt(pi_j / pi_i)`` with symmetric s, energies -log pi normal with a standard deviation uniform up to 1.5."""
    off = ~np.eye(n, dtype=bool)
    links = off
    if rng.random() >= config.complete:
        while True:
            upper = np.triu(rng.random((n, n)) < rng.uniform(*config.links), 1)
            links = upper | upper.T
            if connected(links):
                break
    energy = rng.uniform(0, 1.5) * rng.standard_normal(n)
    return links, np.exp((energy[:, None] - energy[None, :]) / 2)


LINKS: dict[str, Draw] = {
    "random": _random, "one_way": _one_way, "absorbing": _absorbing, "ring": _ring, "birth_death": _birth_death, "reversible": _reversible,
}
