"""Whether intervals of jump rates hold the truth as often as they say: many simulated sets, each fitted, each with its intervals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.generator import from_rates, stationary
from trajlab.dynamics.jumps.simulate import simulate
from trajlab.models.jumps.intervals import derive, intervals
from trajlab.sources.jump_prior import JumpPrior
from trajlab.types import JumpPaths

__all__ = ["Coverage", "coverage", "simulated_sets", "slowest_time"]

DERIVED = ("laplace", "posterior", "bootstrap")  #: methods that give intervals of what follows from the rates
RATES = (0.3, 3.0)  #: ends of log-uniform rates, 1/time
LOOKS, HORIZON = 20, 5.0


@dataclass(frozen=True)
class Coverage:
    """How often the truth was in the interval.

    Attributes:
        method: of the intervals.
        rates: share of true rates within their interval (links that are there).
        error: its standard error over sets.
        below: share of true rates below their interval; half of what is missed, where ends are balanced.
        stationary, slowest: shares of probabilities of states and of slowest relaxation times within their intervals; NaN for profiles.
        open: share of intervals with one end only.
        width: median ratio of the upper to the lower end.
        sets: number of simulated sets.
        seconds: CPU seconds a set, for the intervals of rates.
    """

    method: str
    rates: float
    error: float
    below: float
    stationary: float
    slowest: float
    open: float
    width: float
    sets: int
    seconds: float


def slowest_time(q: Float[np.ndarray, "draw state state"]) -> Float[np.ndarray, "draw"]:
    """Longest relaxation time, ``-1 / Re lambda`` of the eigenvalue next to zero."""
    with np.errstate(divide="ignore"):
        return 1 / np.sort(-np.linalg.eigvals(q).real, -1)[..., 1]


def _followed(q: np.ndarray) -> np.ndarray:
    """Probabilities of states, then the slowest time, ``[draw state + 1]``."""
    return np.concatenate([np.stack([stationary(one) for one in q]), slowest_time(q)[:, None]], 1)


def simulated_sets(sets: int = 200, seed: int = 0, n_paths: int = 50, n_states: int = 3,
                   kind: str = "even") -> Iterator[tuple[np.ndarray, JumpPaths]]:
    """Generators with paths that were looked at regularly.

    Args:
        sets: how many.
        seed: of all.
        n_paths: of each set.
        n_states: of each process.
        kind: ``even``: rates log-uniform from 0.3 to 3, 20 looks a quarter apart; ``prior``: processes, grids and numbers of looks of the published
            prior, where rates range over four decades, links may be absent and looks far apart.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in ("even", "prior"):
        raise ValueError(f"kind={kind!r}; 'even' or 'prior' was wanted")
    for number in range(sets):
        if kind == "prior":
            task = JumpPrior().task_at(seed, number, n=n_states, K=n_paths, eps=0.0)
            yield task.q, task.paths()
            continue
        rng = np.random.default_rng((seed, number))
        q = from_rates(np.exp(rng.uniform(*np.log(RATES), (n_states, n_states))))
        yield q, simulate(q, n_paths, (HORIZON, LOOKS + 1), seed=int(rng.integers(2**31)))


def _default_fit(paths: JumpPaths) -> Any:
    from trajlab.models.jumps.markov_jump import MarkovJump

    return MarkovJump(method="map", noise="none").infer(paths)


def coverage(methods: Sequence[str] = ("laplace", "profile", "posterior"), sets: int = 200, seed: int = 0, level: float = 0.95,
             fit: Callable[[JumpPaths], Any] | None = None, n_paths: int = 50, kind: str = "even", draws: int = 400) -> list[Coverage]:
    """Fit simulated sets and count.

    Args:
        methods: of intervals, see `trajlab.models.jumps.intervals.intervals`.
        sets: number of simulated sets.
        seed: of the sets.
        level: of the intervals.
        fit: paths to a `JumpFit`; the mode of the posterior, labels as they are, where it is None.
        n_paths: of each set.
        kind: of the sets, see `simulated_sets`.
        draws: of laws and posteriors (refits are half of it).

    Raises:
        ValueError: an unknown method or kind.
    """
    infer = fit or _default_fit
    rows: dict[str, list] = {m: [] for m in methods}
    for number, (q, paths) in enumerate(simulated_sets(sets, seed, n_paths, kind=kind)):
        answer = infer(paths)
        for method in methods:
            rows[method].append(_one(answer, q, method, level, number, draws if method != "bootstrap" else draws // 2))
    return [_summary(m, rows[m]) for m in methods]


def _one(fit: Any, q: np.ndarray, method: str, level: float, seed: int, draws: int) -> dict[str, Any]:
    """What one set says of one method."""
    began = time.process_time()
    found = intervals(fit, level, method, seed, draws)
    seconds = time.process_time() - began
    truth = {f"{fit.names[i]}->{fit.names[j]}": q[i, j] for i, j in np.argwhere(q > 0)}
    ends = np.array([(r.low, truth[r.name], r.high) for r in found if r.name in truth]).reshape(-1, 3)
    low, true, high = ends.T
    out = {"inside": (low <= true) & (true <= high), "below": true < low, "open": (low <= 0) | np.isinf(high), "seconds": seconds,
           "width": high / np.maximum(low, 1e-300), "stationary": [], "slowest": []}
    if method in DERIVED:
        law, exact = derive(fit, _followed, level, method, draws, seed), _followed(q[None])[0]
        held = (law.low <= exact) & (exact <= law.high)
        out["stationary"], out["slowest"] = held[:-1], held[-1:]
    return out


def _summary(method: str, rows: list[dict[str, Any]]) -> Coverage:
    def together(name: str) -> np.ndarray:
        return np.concatenate([np.atleast_1d(r[name]) for r in rows])

    shares = np.array([r["inside"].mean() for r in rows if len(r["inside"])])
    derived = [float(together(n).mean()) if len(together(n)) else float("nan") for n in ("stationary", "slowest")]
    error = float(shares.std(ddof=1) / np.sqrt(len(shares))) if len(shares) > 1 else float("nan")
    return Coverage(method, float(together("inside").mean()), error, float(together("below").mean()), *derived, float(together("open").mean()),
                    float(np.median(together("width"))), len(rows), float(np.mean([r["seconds"] for r in rows])))
