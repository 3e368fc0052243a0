"""What follows from a generator without choosing states: stationary distribution, relaxation times, sojourn times, occupancies over time.

Every function takes one generator ``[state state]`` or many ``[draw state state]``, so that the draws of a posterior can be pushed through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps import generator, kernels
from trajlab.dynamics.jumps.elimination import closed_classes, off_diagonal, some_states, stack

__all__ = ["Relaxation", "initial_law", "mean_jump_rate", "occupancy", "relaxation", "sojourn_times", "spectrum", "stationary_distribution",
           "time_in_states", "visits_until"]


def stationary_distribution(q: Float[np.ndarray, "... state state"]) -> Float[np.ndarray, "... state"]:
    """The distribution with ``pi q = 0``, by elimination without subtraction (Grassmann, Taksar and Heyman 1985).

    Where several classes are closed it is not unique: the one reached from a uniform start is returned (`generator.stationary`).

    Raises:
        ValueError: this is no generator.
    """
    q = stack(q)
    a = off_diagonal(q)
    n = q.shape[-1]
    pi = np.zeros(q.shape[:-1])
    fail = np.zeros(q.shape[:-2], dtype=bool)
    for k in range(n - 1, 0, -1):
        total = a[..., k, :k].sum(-1)
        fail = fail | (total <= 0)
        a[..., :k, k] /= np.where(total > 0, total, 1.0)[..., None]
        a[..., :k, :k] += a[..., :k, k, None] * a[..., None, k, :k]
    pi[..., 0] = 1.0
    for k in range(1, n):
        pi[..., k] = (pi[..., :k] * a[..., :k, k]).sum(-1)
    with np.errstate(invalid="ignore"):
        pi = pi / pi.sum(-1, keepdims=True)
    fail = fail | ~np.isfinite(pi).all(-1)
    for at in np.ndindex(*fail.shape):
        if fail[at]:
            pi[at] = generator.stationary(q[at])
    return pi


def spectrum(q: Float[np.ndarray, "... state state"]) -> np.ndarray:
    """Eigenvalues, the slowest first, ``[... state]``; as many are exactly 0 as there are closed classes.

    Raises:
        ValueError: this is no generator.
    """
    q = stack(q)
    values = np.linalg.eigvals(q).astype(np.complex128)
    order = np.lexsort((-values.imag, -values.real), axis=-1)
    values = np.take_along_axis(values, order, -1)
    zeros = np.arange(q.shape[-1]) < closed_classes(q)[1][..., None]
    return np.where(zeros, 0.0, values)


@dataclass(frozen=True, eq=False)
class Relaxation:
    """How a process forgets.

    Attributes:
        time: relaxation times ``-1 / Re lambda``, the slowest first, both of a complex pair; infinite where a second class is closed,
            ``[... state-1]``.
        period: of the oscillation ``2 pi / |Im lambda|`` of a complex pair, infinite where there is none, ``[... state-1]``.
        eigenvalue: ``[... state-1]``, complex, without the 0 of the stationary distribution.
    """

    time: Float[np.ndarray, "... mode"]
    period: Float[np.ndarray, "... mode"]
    eigenvalue: np.ndarray

    @property
    def coherence(self) -> np.ndarray:
        """``|Im lambda| / |Re lambda|``, 2 pi times the oscillations in a relaxation time (Barato and Seifert 2017)."""
        return np.abs(self.eigenvalue.imag) * np.where(np.isfinite(self.time), self.time, 0.0)


def relaxation(q: Float[np.ndarray, "... state state"]) -> Relaxation:
    """Relaxation times and periods of oscillation of a generator, in the unit of time of its rates.

    Raises:
        ValueError: this is no generator.
    """
    values = spectrum(q)[..., 1:]
    rounding = 1e-15 * np.abs(values).max(-1, keepdims=True, initial=0.0)
    with np.errstate(divide="ignore"):
        time = np.where(-values.real > rounding, -1.0 / np.minimum(values.real, 0.0), np.inf)
        # a double eigenvalue is split by the root of the rounding error, which is no oscillation
        turns = np.abs(values.imag) > 1e-7 * np.abs(values.real)
        period = np.where(turns, 2 * np.pi / np.abs(values.imag), np.inf)
    return Relaxation(time, period, np.where(turns, values, values.real))


def sojourn_times(q: Float[np.ndarray, "... state state"]) -> Float[np.ndarray, "... state"]:
    """Mean time of a stay in each state, ``1 / |q_ii|``; infinite where nothing leads away.

    Raises:
        ValueError: this is no generator.
    """
    with np.errstate(divide="ignore"):
        return 1.0 / -np.diagonal(stack(q), axis1=-2, axis2=-1)


def mean_jump_rate(q: Float[np.ndarray, "... state state"]) -> Float[np.ndarray, "..."] | float:
    """Jumps a unit of time in the stationary state, ``sum_i pi_i |q_ii|``.

    Raises:
        ValueError: this is no generator.
    """
    return -(stationary_distribution(q) * np.diagonal(q, axis1=-2, axis2=-1)).sum(-1)


def initial_law(start: str | int | Sequence[float] | np.ndarray, q: Float[np.ndarray, "... state state"]) -> Float[np.ndarray, "... state"]:
    """A distribution over states: ``"stationary"``, ``"uniform"``, one state, or the probabilities themselves, ``[state]`` or ``[... state]``.

    Raises:
        ValueError: an unknown name, a state that there is not, or probabilities that are negative or do not sum to one.
    """
    n = q.shape[-1]
    if isinstance(start, str):
        if start not in ("stationary", "uniform"):
            raise ValueError(f"the start {start!r} was not understood; 'stationary', 'uniform', a state or [state] probabilities were wanted")
        return stationary_distribution(q) if start == "stationary" else np.full(q.shape[:-1], 1.0 / n)
    if isinstance(start, int | np.integer):
        return np.broadcast_to(np.eye(n)[some_states(int(start), n, "start")[0]], q.shape[:-1])
    p = np.asarray(start, dtype=np.float64)
    if p.shape[-1:] != (n,) or not (p >= 0).all() or not np.allclose(p.sum(-1), 1.0, atol=1e-6):
        raise ValueError(f"the start has shape {p.shape} and sums to {np.round(p.sum(-1), 6)}; probabilities of {n} states that sum to 1 were wanted")
    return np.broadcast_to(p / p.sum(-1, keepdims=True), (*q.shape[:-2], n))


def occupancy(q: Float[np.ndarray, "... state state"], start: str | int | Sequence[float] | np.ndarray,
              time: Float[np.ndarray, "time"] | Sequence[float]) -> Float[np.ndarray, "... time state"]:
    """Probability of each state at each time, ``p(t) = p(0) exp(q t)``, from a start as `initial_law` reads it.

    Raises:
        ValueError: this is no generator, the start is no distribution, or a time is negative.
    """
    q = stack(q)
    time = np.asarray(time, dtype=np.float64)
    p = initial_law(start, q)
    out = np.zeros((*q.shape[:-2], len(time), q.shape[-1]))
    for at in np.ndindex(*q.shape[:-2]):
        out[at] = p[at] @ generator.transition(q[at], time)
    return out


def time_in_states(q: Float[np.ndarray, "... state state"], start: str | int | Sequence[float] | np.ndarray,
                   until: float) -> Float[np.ndarray, "... state"]:
    """Mean time spent in each state from 0 to ``until``, ``int_0^T p(0) exp(q s) ds``; sums to ``until``.

    Raises:
        ValueError: this is no generator, the start is no distribution, or ``until`` is not positive.
    """
    q = stack(q)
    if not 0 < until < np.inf:
        raise ValueError(f"the time in states was asked until {until:g}; a positive and finite time was wanted")
    p = initial_law(start, q)
    out = np.zeros(q.shape[:-1])
    n = q.shape[-1]
    for at in np.ndindex(*q.shape[:-2]):
        series = np.zeros((kernels.ORDER + 1, n, n))
        found = kernels.levels(q[at], float(until), series)
        # with weights p_i for every column the right factor exp(q (T - s))^T acts on ones, and is one
        weight = np.ascontiguousarray(np.repeat(p[at][:, None], n, 1))
        out[at] = kernels.integral(series, found, weight, float(until), kernels.halvings(q[at], float(until))[0])[:, 0]
    return out * (until / out.sum(-1, keepdims=True))


def visits_until(q: Float[np.ndarray, "... state state"], start: str | int | Sequence[float] | np.ndarray,
                 until: float) -> Float[np.ndarray, "... state"]:
    """Mean number of stays in each state that begin between 0 and ``until``; the first stay counts.

    Raises:
        ValueError: as `time_in_states`.
    """
    q = stack(q)
    entered = time_in_states(q, start, until)[..., None, :] @ off_diagonal(q)
    return initial_law(start, q) + entered[..., 0, :]
