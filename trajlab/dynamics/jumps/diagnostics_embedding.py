"""Can a transition matrix come from a generator at all, and is the lag short enough to see the fast rates?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.diagnostics_looks import numbers, single
from trajlab.dynamics.jumps.elimination import off_diagonal, reachable
from trajlab.dynamics.jumps.generator import from_rates, mean_jump_rate, transition
from trajlab.dynamics.jumps.observables import spectrum

__all__ = ["Embeddability", "SamplingInterval", "embeddability", "sampling_interval"]

MOST_BRANCHES = 2000  #: of the logarithm that are tried
LOST = 3.0  #: lag times |lambda| beyond which a mode has decayed to exp(-3) = 5 % between looks


@dataclass(frozen=True, eq=False)
class Embeddability:
    """Whether ``P = exp(q lag)`` for a generator q.

    Attributes:
        embeddable: True or False where it is known, None where the criteria leave it open.
        eigenvalues: of the matrix, the largest first, ``[state]``.
        generator: that generator, or else the nearest by setting negative rates of the logarithm to zero (Israel, Rosenthal and Wei 2001);
            None where there is no real logarithm.
        negative: links with negative rates in the principal logarithm.
        least: the most negative of them over the largest rate; 0 where there is none.
        error: largest difference of ``exp(generator lag)`` from the matrix; None without a generator.
        number: of generators that were found to have this matrix; more than one where the lag is so long that turns around a cycle are not seen.
        warning: whether it is not known to be embeddable, or by more than one generator.
        sentence: the same in words.
    """

    embeddable: bool | None
    eigenvalues: np.ndarray
    generator: Float[np.ndarray, "state state"] | None
    negative: tuple[tuple[int, int], ...]
    least: float
    error: float | None
    number: int
    warning: bool
    sentence: str


def embeddability(matrix: Float[np.ndarray, "state state"], lag: float = 1.0) -> Embeddability:
    """Decide whether a transition matrix belongs to a Markov process in continuous time.

    Not if a determinant or eigenvalue rules it out (a real logarithm needs eigenvalues that are positive or in pairs, Culver 1966; and
    ``0 < det P <= prod_i P_ii``), nor if j can be reached from i but not at once. Else the logarithms are tried, the principal one first, then those
    whose angles are turned by full circles, of which there are finitely many (Israel, Rosenthal and Wei 2001).

    Args:
        matrix: rows sum to one.
        lag: time between looks.

    Raises:
        ValueError: this is no transition matrix, or the lag is not positive.
    """
    p = _transition_matrix(matrix, lag)
    values, vectors = np.linalg.eig(p)
    values = values.astype(np.complex128)
    order = np.argsort(-np.abs(values), kind="stable")
    values, vectors = values[order], vectors[:, order].astype(np.complex128)
    ruled_out = _ruled_out(p, values)
    if (np.abs(values) < 1e-13).any() or ((np.abs(values.imag) < 1e-12) & (values.real < 0)).any():
        open_still = ruled_out is None  # negative eigenvalues in pairs may have a real logarithm
        said = ruled_out or "The matrix has negative eigenvalues in pairs; whether it belongs to a generator was not decided."
        return Embeddability(None if open_still else False, values, None, (), 0.0, None, 0, True, said)
    logs, accurate = _logarithms(p, values, vectors)
    return _judged(p, lag, values, logs, accurate, ruled_out)


def _judged(p: np.ndarray, lag: float, values: np.ndarray, logs: list[np.ndarray], accurate: bool, ruled_out: str | None) -> Embeddability:
    """The verdict from the real logarithms of a matrix, the principal one first."""
    principal = logs[0]
    scale = max(np.abs(principal).max(), 1e-300)
    negative = tuple((int(i), int(j)) for i, j in np.argwhere(off_diagonal(principal) < -1e-9 * scale))
    good = [a for a in logs if off_diagonal(a).min(initial=0.0) >= -1e-9 * max(np.abs(a).max(), 1e-300)]
    q = from_rates(np.maximum(good[0] if good else principal, 0.0)) / lag
    error = float(np.abs(transition(q, np.array(float(lag))) - p).max())
    least = float(min(off_diagonal(principal).min(initial=0.0) / scale, 0.0)) if negative else 0.0
    if good and error < 1e-6 and ruled_out is None:
        many = len(good) > 1
        said = (f"The transition matrix belongs to {len(good)} different generators: the lag is too long to tell them apart." if many else
                "The transition matrix belongs to a generator.")
        return Embeddability(True, values, q, negative, least, error, len(good), many, said)
    count = f"{len(negative)} negative rate{'s' * (len(negative) > 1)}"
    said = ruled_out or (f"No generator has this transition matrix: its logarithm has {count}, the first from {negative[0][0]} to {negative[0][1]}; "
                         f"the nearest generator is off by {error:.2g}." if negative else
                         "The logarithm of the transition matrix could not be computed accurately; whether it belongs to a generator is open.")
    decided = ruled_out is not None or (accurate and bool(negative))
    return Embeddability(False if decided else None, values, q, negative, least, error, 0, True, said)


def _transition_matrix(matrix: np.ndarray, lag: float) -> np.ndarray:
    p = np.array(matrix, dtype=np.float64)
    if p.ndim != 2 or p.shape[0] != p.shape[1] or not np.isfinite(p).all() or (p < 0).any() or not np.allclose(p.sum(1), 1.0, atol=1e-6):
        raise ValueError(f"a matrix of shape {p.shape} came; a transition matrix [state state], no entry negative, rows of sum 1, was wanted")
    if not 0 < lag < np.inf:
        raise ValueError(f"the lag is {lag:g}; a positive time was wanted")
    return p / p.sum(1, keepdims=True)


def _ruled_out(p: np.ndarray, values: np.ndarray) -> str | None:
    """Why no generator can have this matrix, where a necessary condition fails."""
    if (np.abs(values) < 1e-13).any():
        return "No generator has this transition matrix: it is singular, so that a mode is lost entirely between looks."
    below = np.sort(values.real[(np.abs(values.imag) < 1e-12) & (values.real < 0)])
    if len(below) % 2 or (len(below) and np.abs(np.diff(below)[::2]).max() > 1e-8):
        return f"No generator has this transition matrix: its eigenvalue {below[0]:.3g} is negative, so that it has no real logarithm."
    logdet = float(np.log(np.abs(values)).sum())
    with np.errstate(divide="ignore"):
        if logdet > np.log(np.diag(p)).sum() + 1e-9:
            return "No generator has this transition matrix: its determinant exceeds the product of its diagonal."
    missing = np.argwhere(reachable(p > 0) & (p <= 0))
    if len(missing):
        i, j = missing[0]
        return f"No generator has this transition matrix: {j} can be reached from {i}, but not within one lag, as it could in continuous time."
    return None


def _logarithms(p: np.ndarray, values: np.ndarray, vectors: np.ndarray) -> tuple[list[np.ndarray], bool]:
    """Real logarithms, the principal one first, and whether these are all that matter (distinct eigenvalues, well-conditioned vectors)."""
    from scipy.linalg import logm

    apart = np.abs(values[:, None] - values[None, :])[~np.eye(len(values), dtype=bool)].min(initial=1.0)
    if apart < 1e-7 or np.linalg.cond(vectors) > 1e8:
        return [np.real(logm(p))], False
    inverse, logs = np.linalg.inv(vectors), np.log(values)
    upper = np.flatnonzero(values.imag > 1e-12)
    lower = [int(np.argmin(np.abs(values - values[k].conj()))) for k in upper]
    reach = -float(logs.real.sum())  # eigenvalues of a generator lie within its trace
    turns = [sorted((m for m in range(-int((reach + np.pi) // (2 * np.pi)), int((reach + np.pi) // (2 * np.pi)) + 1)), key=abs) for _ in upper]
    most = int(np.prod([len(t) for t in turns], dtype=float))
    found = []
    for turn in [(0,) * len(upper)] if most > MOST_BRANCHES else sorted(product(*turns), key=lambda t: sum(map(abs, t))):
        turned = logs.copy()
        turned[upper] += 2j * np.pi * np.array(turn)
        turned[lower] -= 2j * np.pi * np.array(turn)
        found.append(np.real((vectors * turned) @ inverse))
    return found, most <= MOST_BRANCHES


@dataclass(frozen=True, eq=False)
class SamplingInterval:
    """Whether looks are close enough in time for the rates.

    Attributes:
        decay: mean lag times ``|lambda|`` of each mode, the slowest first, ``[state-1]``.
        visible: share of the lags within ``3 / |lambda|`` of each mode, ``[state-1]``.
        lost: numbers of the modes with fewer than 5 % of such lags: they have died out between looks, and fast rates hang on the prior.
        jumps: mean number of jumps in a lag.
        longest: the lag that would show all modes, ``3 / |lambda|`` of the fastest.
        warning: whether a mode is lost.
        sentence: the same in words.
    """

    decay: Float[np.ndarray, "mode"]
    visible: Float[np.ndarray, "mode"]
    lost: tuple[int, ...]
    jumps: float
    longest: float
    warning: bool
    sentence: str


def sampling_interval(q: Float[np.ndarray, "state state"], lag: float | Float[np.ndarray, "lag"],
                      weight: Float[np.ndarray, "lag"] | None = None) -> SamplingInterval:
    """Which modes of a generator looks at these lags can see: those with ``lag |lambda| <= 3``.

    Args:
        q: rates.
        lag: one lag, or all of them.
        weight: how often each lag occurs; once where left out.

    Raises:
        ValueError: this is no generator, or there is no lag, or one that is not positive.
    """
    q = single(q)
    lags = np.atleast_1d(np.asarray(lag, dtype=np.float64))
    weight = np.ones(len(lags)) if weight is None else np.asarray(weight, dtype=np.float64)
    if not len(lags) or not (lags > 0).all() or not np.isfinite(lags).all() or weight.shape != lags.shape or not weight.sum() > 0:
        raise ValueError(f"{len(lags)} lags from {lags.min(initial=np.inf):g} on, weights of shape {weight.shape} came; positive lags were wanted")
    weight = weight / weight.sum()
    speed = np.abs(spectrum(q)[1:])
    mean = float(weight @ lags)
    visible = np.array([float(weight[lags * s <= LOST * (1 + 1e-9)].sum()) for s in speed])
    lost = tuple(int(k) for k in np.flatnonzero(visible < 0.05))
    fastest = float(speed.max(initial=0.0))
    longest = LOST / fastest if fastest > 0 else np.inf
    jumps = mean * mean_jump_rate(q)
    if lost:
        said = (f"The lag of {mean:.3g} hides {len(lost)} of {len(speed)} modes (numbers {numbers(lost)}): the fastest takes {1 / fastest:.3g}. "
                f"Fast rates are not in these data; look every {longest:.2g} or more often.")
    else:
        said = f"Looks are close enough (mean lag {mean:.3g}, {abs(jumps):.2g} jumps on average between two): every mode leaves a trace."
    return SamplingInterval(mean * speed, visible, lost, jumps, longest, bool(lost), said)
