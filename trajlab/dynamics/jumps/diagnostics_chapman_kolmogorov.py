"""Chapman-Kolmogorov test: do looks further apart agree with the generator that fits neighbouring ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import binom

from trajlab.dynamics.jumps.diagnostics_looks import FEW_COPIES, Looks, PairsOfLooks, chi_square, looks_of, simulated, single, tail
from trajlab.types import JumpPaths

__all__ = ["ChapmanKolmogorov", "chapman_kolmogorov"]

LEVEL = 0.01  #: probability of a warning where the model is right
FEWEST = 50  #: pairs of looks, below which a multiple is left out


@dataclass(frozen=True, eq=False)
class ChapmanKolmogorov:
    """Transitions between looks k apart, as seen and as the generator has them.

    Attributes:
        multiples: k, in looks, ``[k]``.
        lag: mean time between looks that are k apart, ``[k]``.
        observed: share of looks at i that were followed by j, ``[k state state]``; NaN where i was never looked at.
        expected: the mean of ``exp(q lag)`` over the same pairs, ``[k state state]``.
        low, high: where the observed share should be, 95 % of the time, ``[k state state]`` (binomial).
        count: pairs that start in i, ``[k state]``.
        p_value: of Pearson's statistic at each multiple, ``[k]``.
        outside: share of all (k, i, j) with the observed outside of its band, of those with at least one pair.
        warning: whether the smallest p-value times their number is below 0.01.
        sentence: the same in words.
    """

    multiples: np.ndarray
    lag: Float[np.ndarray, "k"]
    observed: Float[np.ndarray, "k state state"]
    expected: Float[np.ndarray, "k state state"]
    low: Float[np.ndarray, "k state state"]
    high: Float[np.ndarray, "k state state"]
    count: Float[np.ndarray, "k state"]
    p_value: Float[np.ndarray, "k"]
    outside: float
    warning: bool
    sentence: str


def chapman_kolmogorov(paths: JumpPaths, q: Float[np.ndarray, "state state"], multiples: Sequence[int] | None = None,
                       step: float | None = None, noise: float | np.ndarray | None = None, seed: int = 0) -> ChapmanKolmogorov:
    """Compare transitions between looks k apart with ``exp(q lag)``.

    Pairs do not overlap (looks 0 and k, k and 2 k, ... of a path), so that given their start they are independent and binomial bands hold. Irregular
    lags are taken as they are. p-values are a little too large at small k where q was fitted to the same looks.

    Args:
        paths: the data; jumps at known times are read off on a grid, see ``step``.
        q: rates.
        multiples: numbers of looks; 1, 2, 4, ... while there are 50 pairs, where left out.
        step: spacing of the grid for exactly known paths; the mean time between jumps where left out.
        noise: of the labels: the probability that one is replaced by one that is uniform over all states, or probabilities of labels given the
            state, ``[state label]``. The process is taken to be stationary then, and p-values are from labels drawn anew at the same times.
        seed: of these.

    Raises:
        ValueError: generator and paths differ in their states, a multiple is not positive, or no multiple has a pair of looks.
    """
    q = single(q, paths)
    looks = looks_of(paths, step, noise)
    if multiples is not None and (not len(multiples) or min(multiples) < 1):
        raise ValueError(f"the multiples are {list(multiples)}; whole numbers of looks from 1 on were wanted")
    asked = [2**k for k in range(12)] if multiples is None else list(multiples)
    rows, kept = [], []
    for k in asked:
        pairs = looks.pairs(k, q)
        if len(pairs.lag) and (multiples is not None or k == 1 or len(pairs.lag) >= FEWEST):
            rows.append(pairs)
            kept.append(k)
    if not rows:
        raise ValueError(f"no path has looks {min(asked)} apart; the longest has {int(looks.position.max()) + 1} looks")
    seen, expected = _tables(rows, looks.label, looks.n_states)
    count = seen.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, mean = seen / count[..., None], expected / count[..., None]
    low, high = _bands(count, np.nan_to_num(mean))
    p = _p_values(rows, looks, q, seed)
    asked_of = np.broadcast_to(count[..., None] > 0, share.shape)
    outside = float(((share < low - 1e-12) | (share > high + 1e-12))[asked_of].mean())
    worst = min(1.0, float(p.min()) * len(p))
    lags = np.array([r.lag.mean() for r in rows])
    return ChapmanKolmogorov(np.array(kept), lags, share, mean, low, high, count, p, outside, worst < LEVEL, _said(worst, kept, lags, p, outside))


def _tables(rows: list[PairsOfLooks], label: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Transitions between these labels, seen and expected, ``[k state state]`` each."""
    seen, expected = np.zeros((len(rows), n, n)), np.zeros((len(rows), n, n))
    for k, pairs in enumerate(rows):
        start = label[pairs.here]
        seen[k] = np.bincount(start * n + label[pairs.there], minlength=n * n).reshape(n, n)
        number = np.bincount(pairs.lag_class * n + start, minlength=len(pairs.table) * n).reshape(-1, n)
        expected[k] = np.einsum("ci,cij->ij", number, pairs.table)
    return seen, expected


def _p_values(rows: list[PairsOfLooks], looks: Looks, q: np.ndarray, seed: int) -> np.ndarray:
    """Of Pearson's statistic at each multiple: chi-square tails, or, since wrong labels tie neighbouring pairs together, by simulation."""
    def judged(label: np.ndarray) -> list[tuple[float, int]]:
        return [chi_square(s, e) for s, e in zip(*_tables(rows, label, looks.n_states), strict=True)]

    found = judged(looks.label)
    if looks.confusion is None:
        return np.array([tail(s, f) for s, f in found])
    again = [judged(label) for label in looks.redrawn(q, FEW_COPIES, np.random.default_rng(seed))]
    return np.array([simulated(s - f, [a[k][0] - a[k][1] for a in again]) for k, (s, f) in enumerate(found)])


def _bands(count: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Binomial bounds of a share, 95 % of the time."""
    n = np.maximum(count[..., None], 1.0)
    p = np.clip(mean, 0.0, 1.0)
    return binom.ppf(0.025, n, p) / n, binom.ppf(0.975, n, p) / n


def _said(worst: float, kept: list[int], lags: np.ndarray, p: np.ndarray, outside: float) -> str:
    at = int(p.argmin())
    if worst < LEVEL:
        return (f"Looks {kept[at]} apart (mean lag {lags[at]:.3g}) contradict the generator (p = {worst:.2g}): the process has memory, changes "
                "in time, or its labels are wrong now and then.")
    return f"Looks up to {kept[-1]} apart (mean lag {lags[-1]:.3g}) agree with the generator (p = {worst:.2g}; {outside:.0%} outside of 95 % bands)."
