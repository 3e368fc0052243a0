"""Lyapunov exponents of delay equations, from k linearised histories that are carried along and made orthogonal as functions.

The state of a delay equation is a function on an interval as long as the longest delay. A perturbation y of it obeys
y'(t) = f_x y(t) + sum_d f_{x_d} y(t - d), which is solved beside the equation itself. At every renewal the k perturbations are made orthonormal in
<y, z> = y(t) z(t) + mean over the interval of y z, by Gauss-Legendre quadrature of the solver's own polynomials, and the logarithms of the lengths
are summed. Source: Farmer, Chaotic attractors of an infinite-dimensional dynamical system (1982), with functions in the place of samples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from trajlab.dynamics import compiled
from trajlab.dynamics.delay import DelayField, March
from trajlab.dynamics.delay_compiled import agree, linearised_rhs
from trajlab.dynamics.delay_driver import look
from trajlab.dynamics.delay_history import PLACES, _basis, pieces
from trajlab.dynamics.ode import MOST, REASONS

__all__ = ["DelayExponents", "delay_exponents"]

BLOCKS = 10  #: stretches of the orbit whose exponents are compared
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)


class DelayExponents(NamedTuple):
    """The largest exponents of a delay equation, in 1 / units of t.

    Attributes:
        exponents: ``[k]``, falling.
        error: ``[k]``, standard error of the mean over 10 stretches of the orbit.
        exact: whether the derivatives were exact to rounding.
        steps: of the integration.
    """

    exponents: np.ndarray
    error: np.ndarray
    exact: bool
    steps: int


def delay_exponents(field: DelayField, history: Any, duration: float, k: int = 4, *, transient: float | None = None, interval: float | None = None,
                    rtol: float = 1e-8, atol: float = 1e-8, seed: int = 0) -> DelayExponents:
    """The k largest Lyapunov exponents along one orbit.

    Args:
        field: the system.
        history: of one row, in any form that `trajlab.dynamics.delay.solve_delay` takes.
        duration: length of the orbit that counts.
        k: number of exponents.
        transient: time before that, the second half of it with the perturbations; by default 20 delays.
        interval: time between two renewals; by default the longest delay.
        rtol, atol: tolerances of the equation and its linearisations.
        seed: of the first perturbations.

    Raises:
        ValueError: k below 1, a duration shorter than 10 intervals, several rows, or an orbit that ended early.
        trajlab.dynamics.compiled.Refused: there is no compiler, or it does not take the function.
    """
    interval = field.longest if interval is None else interval
    transient = 20.0 * field.longest if transient is None else transient
    if k < 1 or interval <= 0 or transient < 0 or duration < BLOCKS * interval:
        raise ValueError(f"{field.name}: k={k}, interval={interval:g}, transient={transient:g} and duration={duration:g}; at least one exponent and "
                         f"{BLOCKS} intervals ({BLOCKS * interval:g}) were wanted")
    given = pieces(field, history, 0.0)
    if len(given.last) != 1:
        raise ValueError(f"{field.name}: {len(given.last)} histories; exponents are those of one orbit, so pass one row at a time")
    if field.rhs is None:
        raise compiled.Refused("exponents of delay equations need the compiler")
    exact, differences = linearised_rhs(field.function, field.dim, np.ndim(field.delay) == 0)
    waits, counts = int(np.ceil(0.5 * transient / interval)), int(duration / interval)
    for rhs in (exact, differences):
        if rhs is None:
            continue
        row = March.of(field, given, 0)
        row.clock[0] = 0.0
        _to(row, field, field.rhs, 0.5 * transient, 0.0, rtol, atol)
        row, start, logs = _perturbed(row, field, k, seed), float(row.clock[0]), np.zeros((waits + counts, k))
        for n in range(waits + counts):
            _to(row, field, rhs, start + (n + 1) * interval, start, rtol, atol)
            logs[n] = np.log(_renew(row, field, k))
            if rhs is exact and not _right(row, field, exact, differences):
                break
        else:
            break
    blocks = np.stack([b.mean(0) for b in np.array_split(logs[waits:], BLOCKS)]) / interval
    return DelayExponents(logs[waits:].mean(0) / interval, blocks.std(0, ddof=1) / np.sqrt(BLOCKS), rhs is exact, int(row.told[1]))


def _right(row: March, field: DelayField, exact: Any, differences: Any) -> bool:
    """Whether the exact linearisation is what it is called, where the orbit is now."""
    delayed = np.empty((len(field.delays), len(row.x)))
    for d, delay in enumerate(field.delays):
        look(row.past, d + 1, row.clock[0] - delay, delayed[d])
    return agree(exact, differences, row.x[: field.dim], delayed[:, : field.dim], field.p)


def _to(row: March, field: DelayField, rhs: Any, stop: float, start: float, rtol: float, atol: float) -> None:
    control, none = np.array([rtol, atol, 0.0, float(MOST) * 100, stop]), np.empty(0)
    status = row.run(rhs, field.breaks(start, stop), field, control, none, np.empty((0, len(row.x))))
    if status:
        raise ValueError(f"{field.name}: the orbit ended at t = {row.clock[0]:.6g}: {REASONS[status]}; start elsewhere")


def _perturbed(row: March, field: DelayField, k: int, seed: int) -> March:
    """The row with k perturbations beside it: sums of cosines with random coefficients."""
    past, t, dim = row.past, row.clock[0], field.dim
    count, waves = past.place[0], k // dim + 3
    weights = np.random.default_rng(seed).normal(size=(k * dim, waves)) / (1.0 + np.arange(waves))

    def values(times: np.ndarray) -> np.ndarray:
        return np.cos(np.pi * np.multiply.outer((t - times) / field.longest, np.arange(waves))) @ weights.T

    nodes = values(past.begin[:count, None] + past.size[:count, None] * PLACES)  # [piece place k*dim]
    table = np.einsum("ap,npd->nad", np.linalg.inv(_basis(PLACES[1:])), nodes[:, 1:] - nodes[:, :1])
    room = len(past.begin)
    base, tables = np.zeros((room, dim * (1 + k))), np.zeros((room, 7, dim * (1 + k)))
    base[:count] = np.concatenate([past.base[:count], nodes[:, 0]], -1)
    tables[:count] = np.concatenate([past.table[:count], table], -1)
    return March(type(past)(past.begin, past.size, base, tables, past.place), row.clock, np.concatenate([row.x, values(np.array(t))]), row.told)


def _renew(row: March, field: DelayField, k: int) -> np.ndarray:
    """Make the perturbations orthonormal, in place; returns their lengths before, ``[k]``."""
    past, t, dim = row.past, row.clock[0], field.dim
    first = max(int(np.searchsorted(past.begin[: past.place[0]], t - field.longest, side="right")) - 1, 0)
    used = slice(first, past.place[0])
    begin, size = past.begin[used], past.size[used]
    low = np.clip((t - field.longest - begin) / size, 0.0, 1.0)  # the oldest piece begins before the interval does
    places = low[:, None] + (1.0 - low[:, None]) * 0.5 * (NODES + 1.0)
    weights = 0.5 * WEIGHTS * ((1.0 - low) * size / field.longest)[:, None]
    base, table, last = past.base[used, dim:], past.table[used, :, dim:], row.x[dim:]
    values = base[:, None] + np.einsum("npa,nad->npd", _basis(places), table)
    matrix = np.sqrt(weights)[..., None, None] * values.reshape(*places.shape, k, dim)
    matrix = np.concatenate([np.moveaxis(matrix, 2, -1).reshape(-1, k), last.reshape(k, dim).T])
    r = np.linalg.qr(matrix, mode="r")
    inverse = np.linalg.inv(r)
    for a in (base, table, last):
        a[...] = np.einsum("...kd,kj->...jd", a.reshape(*a.shape[:-1], k, dim), inverse).reshape(a.shape)
    return np.abs(np.diag(r))
