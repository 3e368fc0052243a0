"""Fundamental cycles, their currents and affinities, and whether a process is in detailed balance (Schnakenberg 1976; Kolmogorov 1936)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.elimination import off_diagonal, stack
from trajlab.dynamics.jumps.fluxes import entropy_production, probability_flux

__all__ = ["Cycle", "DetailedBalance", "cycle_affinity", "detailed_balance", "fundamental_cycles"]


@dataclass(frozen=True)
class Cycle:
    """One fundamental cycle, run through in the direction of its current.

    Attributes:
        states: in order; the last leads back to the first.
        current: net current of the link that closes it.
        affinity: ``sum log(q_ij / q_ji)`` around it; infinite where a link cannot be run backwards.
    """

    states: tuple[int, ...]
    current: float
    affinity: float


def cycle_affinity(q: Float[np.ndarray, "... state state"], states: Sequence[int]) -> Float[np.ndarray, "..."] | float:
    """``sum log(q_ij / q_ji)`` around a cycle of states; its sign tells the direction, 0 for all cycles is detailed balance.

    Infinite where the cycle can be run one way only, and 0 where neither way.

    Raises:
        ValueError: this is no generator, or fewer than three distinct states.
    """
    q = stack(q)
    order = np.asarray(states)
    if len(order) < 3 or len(np.unique(order)) < len(order) or order.min() < 0 or order.max() >= q.shape[-1]:
        raise ValueError(f"the cycle {tuple(order.tolist())} was asked for; three or more distinct states of 0 to {q.shape[-1] - 1} were wanted")
    following = np.roll(order, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        there, back = np.log(q[..., order, following]).sum(-1), np.log(q[..., following, order]).sum(-1)
        return np.where(np.isinf(there) & np.isinf(back), 0.0, there - back)[()]


def fundamental_cycles(q: Float[np.ndarray, "state state"]) -> list[Cycle]:
    """The cycles that the links outside a spanning tree close, largest entropy production first.

    The tree keeps the links with most jumps in the stationary state. Every current is a sum of the cycles' currents, and the sum of current times
    affinity is the entropy production. Links between states without stationary weight are left out.

    Raises:
        ValueError: this is no generator.
    """
    q = stack(q)
    if q.ndim != 2:
        raise ValueError(f"the generator has shape {q.shape}; cycles are of one generator, [state state] (cycle_affinity takes many)")
    flux = probability_flux(q)
    traffic = flux + flux.T
    above, chords = _tree(traffic)
    found = []
    for i, j in chords:
        current = float(flux[i, j] - flux[j, i])
        if current < 0:
            i, j, current = j, i, -current
        states = _closed(above, i, j)
        found.append(Cycle(states, current, float(cycle_affinity(q, states))))
    return sorted(found, key=lambda c: -c.current * c.affinity if c.current > 0 else 0.0)


def _tree(traffic: np.ndarray) -> tuple[dict[int, int], list[tuple[int, int]]]:
    """A spanning forest of the busiest links, as the parent of each state, and the links that it leaves over (Prim 1957)."""
    n = len(traffic)
    above: dict[int, int] = {}
    inside = np.zeros(n, dtype=bool)
    best, parent = np.zeros(n), np.full(n, -1)
    for _ in range(n):
        at = int(np.argmax(np.where(inside, -1.0, best)))
        inside[at] = True
        if best[at] > 0:
            above[at] = int(parent[at])
        better = ~inside & (traffic[at] > best)
        best[better], parent[better] = traffic[at, better], at
    pairs = zip(*np.nonzero(np.triu(traffic > 0, 1)), strict=True)
    return above, [(int(i), int(j)) for i, j in pairs if above.get(int(i)) != j and above.get(int(j)) != i]


def _closed(above: dict[int, int], i: int, j: int) -> tuple[int, ...]:
    """The cycle that the link from i to j closes: j, up and down the tree to i."""
    up, down = [j], [i]
    while up[-1] in above:
        up.append(above[up[-1]])
    while down[-1] in above:
        down.append(above[down[-1]])
    while len(up) > 1 and len(down) > 1 and up[-2] == down[-2]:
        up.pop(), down.pop()
    states = up + down[-2::-1]
    start = states.index(min(states))
    return tuple(states[start:] + states[:start])


@dataclass(frozen=True)
class DetailedBalance:
    """Whether a generator obeys Kolmogorov's criterion: no cycle has an affinity.

    Attributes:
        holds: whether no cycle affinity is larger than the tolerance and no link with stationary weight is one-way.
        worst: the fundamental cycle with the largest affinity, None where there is no cycle.
        one_way: links with flux that cannot be run backwards.
        entropy_production: in the stationary state.
        sentence: the same in words.
    """

    holds: bool
    worst: Cycle | None
    one_way: tuple[tuple[int, int], ...]
    entropy_production: float
    sentence: str


def detailed_balance(q: Float[np.ndarray, "state state"], tolerance: float = 1e-6) -> DetailedBalance:
    """Kolmogorov's criterion on the fundamental cycles, which suffices for all cycles.

    Args:
        q: rates.
        tolerance: of a cycle's affinity, a logarithm of a ratio of rates.

    Raises:
        ValueError: this is no generator.
    """
    cycles = fundamental_cycles(q)
    flux = probability_flux(q)
    single = tuple((int(i), int(j)) for i, j in np.argwhere((flux > 0) & (flux.T <= 0) & off_diagonal(np.ones_like(flux)).astype(bool)))
    worst = max(cycles, key=lambda c: abs(c.affinity), default=None)
    sigma = float(entropy_production(q))
    holds = not single and (worst is None or abs(worst.affinity) <= tolerance)
    if holds:
        words = "Detailed balance holds: no cycle of states has a preferred direction."
    elif single:
        words = f"Detailed balance is broken: {len(single)} links are never run backwards, the first from {single[0][0]} to {single[0][1]}."
    else:
        way = worst.states if worst.affinity > 0 else worst.states[::-1]
        words = (f"Detailed balance is broken: the cycle {' -> '.join(map(str, way))} is run forwards exp({abs(worst.affinity):.3g}) times "
                 f"as often as backwards; entropy production {sigma:.3g} a unit of time.")
    return DetailedBalance(holds, worst, single, sigma, words)
