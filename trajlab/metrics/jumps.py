"""How far an estimated generator of a Markov jump process is from the true one: rates, paths, occupancies, intervals.

All functions take numpy arrays with any leading axes, ``[... state state]`` for generators (rate i -> j off the diagonal; the diagonal is not
read), and broadcast truth against estimate; of single generators they return a number. Relabelling both, or another unit of time for both, changes
nothing but `rate_rmse`, which has the unit of a rate.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from trajlab.dynamics.jumps.generator import from_rates, stationary, transition
from trajlab.metrics.uncertainty import Estimate

__all__ = ["hellinger", "hellinger_over_time", "interval_coverage", "log_rate_error", "path_kl", "rate_rmse", "relative_error"]

FLOOR = 1e-3  #: estimated rates are raised to this times the true mean jump rate over the number of states


def path_kl(truth: Float[np.ndarray, "... state state"], estimate: Float[np.ndarray, "... other other"], *, floor: float = FLOOR,
            weight: Float[np.ndarray, "... state"] | None = None) -> Float[np.ndarray, "..."] | float:
    """Kullback-Leibler divergence of stationary paths per jump of the truth; 0 is perfect.

    ``sum_{i != j} pi_i [q_ij log(q_ij / h_ij) - q_ij + h_ij] / sum_{i != j} pi_i q_ij`` for truth q and estimate h: the relative entropy rate of two
    jump processes (Girsanov's formula; Kipnis and Landim 1999) over the rate of jumps. Estimates are raised to ``floor`` times the true mean jump
    rate over the number of states, without which one missed link would cost infinitely much.

    Args:
        truth, estimate: generators.
        floor: of the estimates, relative; 0 for none (a missed link is infinite then).
        weight: of the states, instead of the stationary distribution of the truth; where a state absorbs, that has no jumps.

    Raises:
        ValueError: shapes disagree, rates are negative or not finite, or the truth does not jump under these weights.
    """
    q, h = _pair(truth, estimate)
    pi = _stationary(q) if weight is None else np.asarray(weight, dtype=np.float64)
    rate = _jump_rate(q, pi)
    h = np.where(_off(q), np.maximum(h, floor * (rate / q.shape[-1])[..., None, None]), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(q > 0, q * (np.log(q) - np.log(h)), 0.0)
    return (pi[..., None] * (logs - q + h)).sum((-2, -1)) / rate


def log_rate_error(truth: Float[np.ndarray, "... state state"], estimate: Float[np.ndarray, "... other other"], *,
                   floor: float = FLOOR) -> Float[np.ndarray, "..."] | float:
    """Median of ``|log h_ij - log q_ij|`` over the links of the truth, estimates raised to the floor of `path_kl`.

    Raises:
        ValueError: as `path_kl`.
    """
    q, h = _pair(truth, estimate)
    h = np.maximum(h, floor * (_jump_rate(q, _stationary(q)) / q.shape[-1])[..., None, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(q > 0, np.abs(np.log(h) - np.log(q)), np.nan)
    return _median_over_links(error)


def relative_error(truth: Float[np.ndarray, "... state state"], estimate: Float[np.ndarray, "... other other"]) -> Float[np.ndarray, "..."] | float:
    """Median of ``|h_ij / q_ij - 1|`` over the links of the truth.

    Raises:
        ValueError: shapes disagree, rates are negative or not finite, or the truth has no link.
    """
    q, h = _pair(truth, estimate)
    return _median_over_links(np.where(q > 0, np.abs(h - q) / np.where(q > 0, q, 1.0), np.nan))


def rate_rmse(truth: Float[np.ndarray, "... state state"], estimate: Float[np.ndarray, "... other other"]) -> Float[np.ndarray, "..."] | float:
    """Root of the mean squared error over all off-diagonal rates, absent links included; in the unit of the rates.

    Raises:
        ValueError: shapes disagree, or rates are negative or not finite.
    """
    q, h = _pair(truth, estimate)
    n = q.shape[-1]
    return np.sqrt(((h - q) ** 2).sum((-2, -1)) / (n * (n - 1)))


def interval_coverage(truth: Float[np.ndarray, "..."], low: Float[np.ndarray, "..."], high: Float[np.ndarray, "..."],
                      where: Bool[np.ndarray, "..."] | None = None) -> Estimate:
    """Share of intervals ``[low, high]`` that hold the truth, with its binomial standard error.

    Args:
        truth: the true values; ends may be infinite, for an interval open to one side.
        low, high: ends of the intervals.
        where: which of them count (true links, say); all by default.

    Raises:
        ValueError: an end is not a number, ends are in the wrong order, or nothing is left to count.
    """
    truth, low, high = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (truth, low, high)))
    used = np.ones(truth.shape, dtype=bool) if where is None else np.broadcast_to(where, truth.shape)
    truth, low, high = truth[used], low[used], high[used]
    if not len(truth):
        raise ValueError("no interval is left to count; at least one was wanted")
    bad = ~(low <= high)
    if bad.any() or np.isnan(truth).any():
        raise ValueError(f"{int(bad.sum())} of {len(low)} intervals have ends in the wrong order or that are not numbers, and "
                         f"{int(np.isnan(truth).sum())} true values are not numbers; give open ends as infinity")
    share = float(((low <= truth) & (truth <= high)).mean())
    return Estimate(share, float(np.sqrt(share * (1 - share) / len(truth))))


def hellinger(first: Float[np.ndarray, "... state"], second: Float[np.ndarray, "... state"]) -> Float[np.ndarray, "..."] | float:
    """Hellinger distance of distributions over states, ``sqrt(1 - sum_i sqrt(p_i r_i))``, from 0 to 1 (computed as ``|sqrt p - sqrt r| / sqrt 2``).

    Raises:
        ValueError: negative entries, or distributions that do not sum to one.
    """
    p, r = (_distribution(v) for v in (first, second))
    return np.sqrt(((np.sqrt(p) - np.sqrt(r)) ** 2).sum(-1) / 2)


def hellinger_over_time(truth: Float[np.ndarray, "state state"], estimate: Float[np.ndarray, "other other"], initial: Float[np.ndarray, "start"],
                        times: Float[np.ndarray, "time"]) -> Float[np.ndarray, "time"]:
    """Hellinger distance of the occupancies ``initial exp(q t)`` of two generators at some times.

    Raises:
        ValueError: shapes disagree, a negative time, rates that are negative or not finite, or no distribution to start from.
    """
    q, h = (from_rates(v) for v in _pair(truth, estimate))
    start = _distribution(initial)
    if start.shape != q.shape[-1:]:
        raise ValueError(f"the initial distribution has shape {start.shape}; {q.shape[-1:]} was wanted")
    one, two = (start @ transition(v, np.asarray(times, dtype=np.float64)) for v in (q, h))
    return np.sqrt(((np.sqrt(one) - np.sqrt(np.maximum(two, 0.0))) ** 2).sum(-1) / 2)


def _pair(truth: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 with zero diagonals, broadcast."""
    q, h = (np.asarray(v, dtype=np.float64) for v in (truth, estimate))
    for name, v in (("truth", q), ("estimate", h)):
        if v.ndim < 2 or v.shape[-1] != v.shape[-2] or v.shape[-1] < 2:
            raise ValueError(f"the {name} has shape {v.shape}; [... state state] with at least two states was wanted")
        off = np.where(_off(v), v, 0.0)
        if not np.isfinite(off).all() or (off < 0).any():
            raise ValueError(f"the {name} has {int((~np.isfinite(off)).sum())} rates that are not finite and {int((off < 0).sum())} negative ones; "
                             "none was wanted")
    if q.shape[-1] != h.shape[-1]:
        raise ValueError(f"the truth has {q.shape[-1]} states and the estimate {h.shape[-1]}; the same were wanted")
    q, h = np.broadcast_arrays(np.where(_off(q), q, 0.0), np.where(_off(h), h, 0.0))
    return q, h


def _off(q: np.ndarray) -> np.ndarray:
    return ~np.eye(q.shape[-1], dtype=bool)


def _stationary(q: np.ndarray) -> np.ndarray:
    flat = from_rates(q).reshape(-1, *q.shape[-2:])
    return np.stack([stationary(one) for one in flat]).reshape(q.shape[:-1]) if len(flat) else np.zeros(q.shape[:-1])


def _jump_rate(q: np.ndarray, pi: np.ndarray) -> np.ndarray:
    rate = np.asarray((pi[..., None] * q).sum((-2, -1)))
    if (rate <= 0).any():
        raise ValueError(f"{int((rate <= 0).sum())} true generators do not jump in their stationary state (a state absorbs); pass weight[... state]")
    return rate


def _median_over_links(error: np.ndarray) -> np.ndarray | float:
    flat = error.reshape(*error.shape[:-2], -1)
    if np.isnan(flat).all(-1).any():
        raise ValueError("a true generator has no link; at least one was wanted")
    return np.nanmedian(flat, axis=-1)


def _distribution(p: np.ndarray) -> np.ndarray:
    p = np.asarray(p, dtype=np.float64)
    if p.ndim < 1 or (p < 0).any() or not np.allclose(p.sum(-1), 1.0, atol=1e-6):
        raise ValueError(f"entries from {p.min() if p.size else 0:g} up that sum to {np.ravel(p.sum(-1))[:3]}; distributions over states were wanted")
    return p
