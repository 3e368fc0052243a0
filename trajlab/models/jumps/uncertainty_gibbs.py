"""Draws from the posterior of rates by drawing the paths between looks, then the rates given the paths (Bladt and Sorensen 2005)."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.bridges import add_statistics
from trajlab.models.jumps.parameters import LogRates
from trajlab.models.jumps.problem import Problem, SeenStates

__all__ = ["gibbs", "is_conjugate"]


@nb.njit(cache=True, nogil=True)
def _sweeps(q, known, factor, group, shape, rate, bounds, lag, first, start, stop, weight, entry, exact_jumps, exact_time, kept, thin, rng):
    """Log-rates of each group, ``[kept group]``, in sweeps of paths and rates; ``thin`` sweeps a kept draw."""
    n = q.shape[0]
    groups = len(shape)
    out = np.zeros((kept, groups))
    jumps, time = np.zeros((n, n)), np.zeros(n)
    for sweep in range(kept * thin):
        jumps[:] = exact_jumps
        time[:] = exact_time
        if add_statistics(q, lag, first, start, stop, weight, entry, rng, jumps, time) >= 0:
            return out[: sweep // thin]
        a, b = shape.copy(), rate.copy()
        for i in range(n):
            for j in range(n):
                g = group[i, j]
                if g >= 0:
                    a[g] += jumps[i, j]
                    b[g] += factor[i, j] * time[i]
        for g in range(groups):
            x = np.log(max(rng.standard_gamma(a[g]), 1e-300)) - np.log(max(b[g], 1e-300))
            out[sweep // thin, g] = min(max(x, bounds[0, g]), bounds[1, g])
        for i in range(n):
            total = 0.0
            for j in range(n):
                if i != j:
                    g = group[i, j]
                    q[i, j] = factor[i, j] * np.exp(out[sweep // thin, g]) if g >= 0 else known[i, j]
                    total += q[i, j]
            q[i, i] = -total
    return out


def _dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def _one_group(parametrisation: Any) -> bool:
    """Each link has the rate of one parameter, times a constant."""
    if not isinstance(parametrisation, LogRates) or parametrisation.effect.shape[1]:
        return False
    base = _dense(parametrisation.base)
    return bool(np.isin(base, (0.0, 1.0)).all() and (base.sum(1) <= 1).all())


def is_conjugate(problem: Any) -> bool:
    """Whether rates given the whole paths have Gamma laws: states seen as they are, free, tied or fixed rates, no covariates."""
    if not isinstance(problem, Problem) or not isinstance(problem.data, SeenStates) or len(problem.data.counts) != 1:
        return False
    weight = problem.data.counts[0].weight
    return bool(_one_group(problem.parametrisation) and np.allclose(weight, np.round(weight)))


def gibbs(problem: Problem, starts: Float[np.ndarray, "chain parameter"], draws: int, warm_up: int, tilt: float, thin: int,
          seed: int) -> Float[np.ndarray, "chain draw parameter"]:
    """Chains of log-rates. Needs `is_conjugate`.

    Given the paths a rate has the law ``Gamma(n + a + tilt, tau + a / centre)``: n jumps in the time tau, a pseudo-jumps of the prior, and tilt as in
    `uncertainty_posterior.posterior`.
    """
    counts = problem.data.counts[0]
    model, base = problem.parametrisation, _dense(problem.parametrisation.base)
    n = model.n_states
    known, factor, group = np.zeros((n, n)), np.zeros((n, n)), np.full((n, n), -1)
    for (i, j), offset, row in zip(model.links, model.offset, base, strict=True):
        factor[i, j] = np.exp(offset)
        if row.any():
            group[i, j] = int(np.argmax(row))
        else:
            known[i, j] = np.exp(offset)
    shape, rate = np.full(base.shape[1], float(tilt)), np.zeros(base.shape[1])
    if problem.prior:
        for i, j in np.argwhere(model.free_links() & (group >= 0)):
            shape[group[i, j]] += problem.prior.strength[i, j]
            rate[group[i, j]] += problem.prior.strength[i, j] * factor[i, j] / problem.prior.centre[i, j]
    bounds = np.array(problem.bounds)
    out = []
    for x, child in zip(starts, np.random.default_rng(seed).spawn(len(starts)), strict=True):
        q = np.ascontiguousarray(problem.generator(x))
        found = _sweeps(q, known, factor, group, np.maximum(shape, 1e-3), rate, bounds, counts.lag, counts.first, counts.start, counts.stop,
                        counts.weight, counts.entry, counts.jumps.astype(np.float64), counts.time.astype(np.float64), draws + warm_up, thin, child)
        if len(found) < draws + warm_up:
            raise ValueError("a drawn generator does not allow a pair of looks that was seen; check the links that are allowed")
        out.append(found[warm_up:])
    return np.stack(out)
