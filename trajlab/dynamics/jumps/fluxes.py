"""Currents and dissipation of a Markov jump process: probability fluxes, affinities, entropy production.

Every function takes one generator ``[state state]`` or many ``[draw state state]``. Entropies are in units of Boltzmann's constant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from trajlab.catalog import unknown
from trajlab.dynamics.jumps.elimination import off_diagonal, stack
from trajlab.dynamics.jumps.observables import occupancy, stationary_distribution

__all__ = ["affinities", "averaged_entropy_production", "currents", "entropy_production", "entropy_production_over_time",
           "entropy_production_per_link", "probability_flux"]

ONE_WAY = ("infinite", "leave-out")


def probability_flux(q: Float[np.ndarray, "... state state"],
                     p: Float[np.ndarray, "... state"] | None = None) -> Float[np.ndarray, "... state state"]:
    """``J_ij = p_i q_ij``, jumps from i to j a unit of time; in the stationary state where p is left out. Zero on the diagonal.

    Raises:
        ValueError: this is no generator.
    """
    q = stack(q)
    return (stationary_distribution(q) if p is None else np.asarray(p, dtype=np.float64))[..., :, None] * off_diagonal(q)


def currents(q: Float[np.ndarray, "... state state"],
             p: Float[np.ndarray, "... state"] | None = None) -> Float[np.ndarray, "... state state"]:
    """Net current ``J_ij - J_ji`` from i to j, antisymmetric; zero throughout in equilibrium.

    Raises:
        ValueError: this is no generator.
    """
    flux = probability_flux(q, p)
    return flux - flux.swapaxes(-1, -2)


def affinities(q: Float[np.ndarray, "... state state"],
               p: Float[np.ndarray, "... state"] | None = None) -> Float[np.ndarray, "... state state"]:
    """Affinity ``log(J_ij / J_ji)`` of each link, antisymmetric; 0 where there is no link, plus or minus infinity where it is one-way.

    Raises:
        ValueError: this is no generator.
    """
    flux = probability_flux(q, p)
    back = flux.swapaxes(-1, -2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((flux > 0) | (back > 0), np.log(flux) - np.log(back), 0.0)


def entropy_production_per_link(q: Float[np.ndarray, "... state state"], p: Float[np.ndarray, "... state"] | None = None, *,
                                one_way: str = "infinite", reverse_at_most: float | Float[np.ndarray, "..."] | None = None,
                                ) -> Float[np.ndarray, "... state state"]:
    """Entropy production of each link, ``(J_ij - J_ji) log(J_ij / J_ji) / 2``, symmetric; its sum is `entropy_production`.

    Raises:
        ValueError: this is no generator, or ``one_way`` names no way of counting.
    """
    if one_way not in ONE_WAY:
        raise ValueError(unknown("way of counting one-way links", one_way, ONE_WAY))
    flux = probability_flux(q, p)
    back = flux.swapaxes(-1, -2)
    with np.errstate(divide="ignore", invalid="ignore"):
        both = 0.5 * (flux - back) * (np.log(flux) - np.log(back))
    single = (flux > 0) != (back > 0)
    sigma = np.where((flux > 0) & (back > 0), both, 0.0)
    if reverse_at_most is None:
        return np.where(single, np.inf if one_way == "infinite" else 0.0, sigma)
    p = stationary_distribution(q) if p is None else np.asarray(p, dtype=np.float64)
    bound = off_diagonal(np.broadcast_to(p[..., :, None] * np.asarray(reverse_at_most, dtype=np.float64), flux.shape))
    with np.errstate(divide="ignore", invalid="ignore"):  # a reverse flux from j below its bound leaves at least this much
        least = 0.5 * (flux - bound.swapaxes(-1, -2)) * (np.log(flux) - np.log(bound.swapaxes(-1, -2)))
    least = np.where(single & (flux > bound.swapaxes(-1, -2)), least, 0.0)
    return sigma + least + least.swapaxes(-1, -2)


def entropy_production(q: Float[np.ndarray, "... state state"], p: Float[np.ndarray, "... state"] | None = None, *,
                       one_way: str = "infinite", reverse_at_most: float | Float[np.ndarray, "..."] | None = None,
                       ) -> Float[np.ndarray, "..."] | float:
    """Rate of entropy production ``sigma = 1/2 sum_ij (J_ij - J_ji) log(J_ij / J_ji)`` (Schnakenberg 1976), at least 0.

    A link that is absent both ways adds nothing. A link that runs one way only makes it infinite; nothing is clipped.

    Args:
        q: rates.
        p: distribution at which it is taken; the stationary one where left out. Leading axes broadcast (``[time state]``).
        one_way: ``"infinite"``, or ``"leave-out"`` for the sum over links that run both ways: a lower bound, since no link adds less than 0.
        reverse_at_most: upper bound of the missing reverse rates (``3 / exposure`` where none was seen, at 95 %), a number or ``[state state]``:
            gives the least that the one-way links add at this distribution instead of infinity.

    Raises:
        ValueError: this is no generator, or ``one_way`` names no way of counting.
    """
    return entropy_production_per_link(q, p, one_way=one_way, reverse_at_most=reverse_at_most).sum((-2, -1))


def entropy_production_over_time(q: Float[np.ndarray, "... state state"], start: str | int | Sequence[float] | np.ndarray,
                                 time: Float[np.ndarray, "time"] | Sequence[float], *, one_way: str = "infinite") -> Float[np.ndarray, "... time"]:
    """Total entropy production at each time from an initial distribution; infinite at the first instant where a neighbour is still empty.

    Raises:
        ValueError: as `entropy_production` and `observables.occupancy`.
    """
    q = stack(q)
    return np.asarray(entropy_production(q[..., None, :, :], occupancy(q, start, time), one_way=one_way))


def averaged_entropy_production(q: Float[np.ndarray, "... state state"], start: str | int | Sequence[float] | np.ndarray, until: float = 5.0,
                                points: int = 100, *, one_way: str = "infinite") -> Float[np.ndarray, "..."] | float:
    """Mean of ``sum_ij p_i(t) q_ij log(p_i q_ij / (p_j q_ji))`` over evenly spaced times from 0 to ``until``.

    The figure that FIM-MJP reports (Berghaus et al. 2024), for comparison with it: it depends on the start and on the unit of time, and is the
    stationary `entropy_production` only where the start is stationary.

    Raises:
        ValueError: as `entropy_production_over_time`; fewer than two points.
    """
    if points < 2 or not 0 < until < np.inf:
        raise ValueError(f"an average over {points} times from 0 to {until:g} was asked for; at least 2 and a positive time were wanted")
    return entropy_production_over_time(q, start, np.linspace(0.0, until, points), one_way=one_way).mean(-1)
