"""deeptime's estimators as methods: Markov state models and their matrix logarithm, and its generators. One lag for all looks, no wrong labels."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float

from trajlab.catalog import need
from trajlab.dynamics.jumps.generator import from_rates
from trajlab.types import JumpPaths

__all__ = ["PEERS", "installed", "single_lag"]

USE = "the rows of deeptime"


def installed() -> bool:
    return importlib.util.find_spec("deeptime") is not None


def single_lag(paths: JumpPaths) -> float | None:
    """The time between looks where it is the same for all, else None."""
    time, path = np.asarray(paths.time), np.asarray(paths.path)
    lags = np.diff(time)[path[1:] == path[:-1]]
    return float(lags.mean()) if len(lags) and np.ptp(lags) <= 1e-6 * lags.mean() else None


def trajectories(paths: JumpPaths) -> list[np.ndarray]:
    """Labels path by path."""
    return np.split(np.asarray(paths.label), np.flatnonzero(np.diff(np.asarray(paths.path))) + 1)


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings, and without what deeptime logs of state sets that it skips (its loggers are called after its files)."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _lag(paths: JumpPaths) -> float:
    lag = single_lag(paths)
    if lag is None:
        raise ValueError("looks are not evenly spaced")
    return lag


def _counts(paths: JumpPaths) -> object:
    """Sliding counts of the largest connected set, since deeptime's estimators want one."""
    markov = need("deeptime.markov", "dev", USE)
    found = markov.TransitionCountEstimator(1, "sliding", n_states=paths.n_states).fit_fetch(trajectories(paths))
    return found.submodel_largest()


def _logarithm(reversible: bool) -> Callable[[JumpPaths], tuple[np.ndarray, None]]:
    def infer(paths: JumpPaths) -> tuple[np.ndarray, None]:
        from scipy.linalg import logm

        with quiet():
            lag, counts = _lag(paths), _counts(paths)
            msm = need("deeptime.markov.msm", "dev", USE).MaximumLikelihoodMSM(reversible=reversible).fit_fetch(counts)
            rates = np.real(logm(msm.transition_matrix)) / lag
        return _whole(rates, np.asarray(msm.count_model.state_symbols), paths.n_states), None

    return infer


def _generator(method: str) -> Callable[[JumpPaths], tuple[np.ndarray, None]]:
    def infer(paths: JumpPaths) -> tuple[np.ndarray, None]:
        with quiet():
            lag, counts = _lag(paths), _counts(paths)
            tools = need("deeptime.markov.tools.estimation", "dev", USE)
            rates = tools.rate_matrix(np.asarray(counts.count_matrix, dtype=np.float64), dt=lag, method=method, on_error="warn")
        return _whole(rates, np.asarray(counts.state_symbols), paths.n_states), None

    return infer


def _whole(rates: np.ndarray, states: np.ndarray, n_states: int) -> Float[np.ndarray, "state state"]:
    """Rates among all states; negative ones, which logarithms have, and those of states left out become zero."""
    found = np.zeros((n_states, n_states))
    found[np.ix_(states, states)] = np.maximum(rates, 0.0)
    return from_rates(found)


#: Paths in; a generator out, and None: none of them estimates a level of noise.
PEERS: Mapping[str, Callable[[JumpPaths], tuple[np.ndarray, None]]] = {
    "deeptime MSM, log": _logarithm(reversible=False),
    "deeptime reversible MSM, log": _logarithm(reversible=True),
    "deeptime rate_matrix (KL)": _generator("KL"),
}
