"""Expected Fisher information of rates in looks at given lags."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.pair_counts import PairCounts

__all__ = ["fisher_information", "transition_derivatives"]

ORDER = 13
MOST_LAGS = 24
BUDGET = 4e9  #: multiplications; fewer lags are taken where more were needed


def transition_derivatives(q: Float[np.ndarray, "state state"], lag: float,
                           links: np.ndarray) -> tuple[Float[np.ndarray, "state state"], Float[np.ndarray, "link state state"]]:
    """``exp(q lag)`` and its derivative by the logarithm of the rate of each link, diagonals tied to their rows.

    A Taylor series of both for a short step, then ``dP(2 h) = dP(h) P(h) + P(h) dP(h)``.
    """
    n = len(q)
    change = np.zeros((len(links), n, n))
    rate = q[links[:, 0], links[:, 1]]
    change[np.arange(len(links)), links[:, 0], links[:, 1]] = rate
    change[np.arange(len(links)), links[:, 0], links[:, 0]] = -rate
    mu = float(np.abs(np.diag(q)).max())
    steps = max(0, int(np.ceil(np.log2(max(mu * lag / 0.5, 1e-300)))))
    h = lag / 2.0**steps
    a, da = (q + mu * np.eye(n)) * h, change * h
    term, slope = np.eye(n), np.zeros_like(da)
    p, dp = term.copy(), slope.copy()
    for k in range(1, ORDER + 1):
        slope = (slope @ a + term @ da) / k
        term = term @ a / k
        p, dp = p + term, dp + slope
    p, dp = p * np.exp(-mu * h), dp * np.exp(-mu * h)
    for _ in range(steps):
        dp = dp @ p + p @ dp
        p = p @ p
        p /= p.sum(1, keepdims=True)
    return p, dp


def fisher_information(q: Float[np.ndarray, "state state"], counts: PairCounts, links: np.ndarray) -> Float[np.ndarray, "link link"] | None:
    """``I_ab = sum_m sum_i N_i(lag_m) sum_j dP_ij/dlog q_a dP_ij/dlog q_b / P_ij`` (Kalbfleisch and Lawless 1985) for links ``[link 2]``.

    N_i(lag) are the looks at i that are followed by another after this lag; time watched without a break adds ``q_ij tau_i`` to the diagonal. Many
    lags share their weighted mean in classes. None where the sum is too long (several thousand links).
    """
    information = np.diag(q[links[:, 0], links[:, 1]] * counts.time[links[:, 0]])
    if not len(counts.lag):
        return information
    cost = len(links) * len(q) ** 3 * 60.0
    most = int(min(MOST_LAGS, BUDGET / max(cost, 1.0)))
    if most < 1:
        return None
    which = np.repeat(np.arange(len(counts.lag)), np.diff(counts.first))
    weight = np.bincount(which, weights=counts.weight, minlength=len(counts.lag))
    share = (np.cumsum(weight) - weight / 2) / weight.sum()
    group = np.minimum(share * most, most - 1).astype(int) if len(counts.lag) > most else np.arange(len(weight))
    for g in np.unique(group):
        mine = group[which] == g
        lag = float(np.average(counts.lag[group == g], weights=weight[group == g]))
        looks = np.bincount(counts.start[mine], weights=counts.weight[mine], minlength=len(q))
        p, dp = transition_derivatives(q, lag, links)
        scaled = (dp * np.sqrt(looks[:, None] / np.maximum(p, 1e-300))).reshape(len(links), -1)
        information = information + scaled @ scaled.T
    return information
