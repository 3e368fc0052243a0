"""Transition path theory: how probability flows from one set of states to another (Metzner, Schuette and Vanden-Eijnden 2009)."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.elimination import off_diagonal, some_states, stack
from trajlab.dynamics.jumps.observables import stationary_distribution
from trajlab.dynamics.jumps.passage import States, backward_committor, committor

__all__ = ["ReactiveFlux", "pathways", "reactive_flux"]


@dataclass(frozen=True, eq=False)
class ReactiveFlux:
    """Reactive trajectories from a to b in the stationary state.

    Attributes:
        a, b: the two sets.
        forward: forward committor, ``[... state]``.
        backward: backward committor, ``[... state]``.
        flux: ``pi_i q-_i q_ij q+_j``, reactive jumps a unit of time, ``[... state state]``.
        net: ``max(flux_ij - flux_ji, 0)``, ``[... state state]``.
        total: transitions from a to b a unit of time, ``[...]``.
        rate: the same a unit of time since a was left last, ``total / sum_i pi_i q-_i``, ``[...]``.
    """

    a: tuple[int, ...]
    b: tuple[int, ...]
    forward: Float[np.ndarray, "... state"]
    backward: Float[np.ndarray, "... state"]
    flux: Float[np.ndarray, "... state state"]
    net: Float[np.ndarray, "... state state"]
    total: Float[np.ndarray, "..."] | float
    rate: Float[np.ndarray, "..."] | float


def reactive_flux(q: Float[np.ndarray, "... state state"], a: States, b: States) -> ReactiveFlux:
    """Committors, reactive flux and rate from a to b.

    The rate is one over the mean time of the round from the first entry into a (after b) to the first entry into b.

    Raises:
        ValueError: this is no generator, the sets overlap, are empty or name a state that there is not.
    """
    q = stack(q)
    n = q.shape[-1]
    source, sink = some_states(a, n, "a"), some_states(b, n, "b")
    pi = stationary_distribution(q)
    forward, backward = committor(q, source, sink), backward_committor(q, source, sink)
    weight = pi * backward
    flux = weight[..., :, None] * off_diagonal(q) * forward[..., None, :]
    total, mass = flux[..., source, :].sum((-2, -1)), weight.sum(-1)
    rate = np.where(mass > 0, total / np.where(mass > 0, mass, 1.0), 0.0)
    net = np.maximum(flux - flux.swapaxes(-1, -2), 0.0)
    return ReactiveFlux(tuple(source.tolist()), tuple(sink.tolist()), forward, backward, flux, net, total, rate if rate.ndim else float(rate))


def pathways(found: ReactiveFlux, share: float = 0.99, most: int = 100) -> list[tuple[tuple[int, ...], float]]:
    """The strongest pathways from a to b and the flux that each carries, strongest first.

    The way with the widest bottleneck is taken, its flux removed from the net flux, and so on, until ``share`` of the total is explained.

    Raises:
        ValueError: the flux is of many generators, or the share is outside 0 to 1.
    """
    if found.net.ndim != 2:
        raise ValueError(f"the flux has shape {found.net.shape}; pathways are of one generator, [state state]")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share:g}; a number above 0 and up to 1 was wanted")
    left, ways, done = found.net.copy(), [], 0.0
    while len(ways) < most and done < share * float(found.total):
        way = _widest(left, found.a, set(found.b))
        if way is None:
            break
        steps = (list(way[:-1]), list(way[1:]))
        flux = float(left[steps].min())
        left[steps] -= flux
        done += flux
        ways.append((way, flux))
    return ways


def _widest(flux: np.ndarray, source: tuple[int, ...], sink: set[int]) -> tuple[int, ...] | None:
    """The way whose smallest flux is largest."""
    width = np.zeros(len(flux))
    width[list(source)] = np.inf
    before: dict[int, int] = {}
    heap = [(-np.inf, s) for s in source]
    while heap:
        wide, i = heapq.heappop(heap)
        if i in sink:
            way = [i]
            while way[-1] in before:
                way.append(before[way[-1]])
            return tuple(way[::-1])
        if -wide < width[i]:
            continue
        for j in np.flatnonzero(np.minimum(flux[i], -wide) > width):
            width[j], before[int(j)] = min(float(flux[i, j]), -wide), i
            heapq.heappush(heap, (-width[j], int(j)))
    return None
