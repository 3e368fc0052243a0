"""What emissions of a continuous signal share."""

from __future__ import annotations

import numpy as np

from trajlab.dynamics.jumps.emission_tables import read
from trajlab.dynamics.jumps.smoothing import Likelihood
from trajlab.types import JumpPaths

__all__ = ["from_densities", "lifted", "settle", "speaking", "values_of"]

FLOOR = 1e-3  #: least standard deviation of a state, relative to that of the whole signal
LOWEST_LOG = -690.0  #: of a likelihood relative to that of the best state, so that no state is ruled out by rounding


def values_of(paths: JumpPaths, dim: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The signal where it was seen, ``[seen dim]``, and where that is, ``[obs]``.

    Raises:
        ValueError: no observation is of a signal, or it has another dimension than the emission.
    """
    seen = read(paths, ()).signal
    if not seen.any() or paths.signal is None:
        raise ValueError("no observation is of a signal; mark them JumpPaths.SIGNAL and pass signal[obs dim], or use an emission of labels")
    if dim is not None and paths.signal.shape[1] != dim:
        raise ValueError(f"the signal has {paths.signal.shape[1]} dimensions, the emission {dim}")
    x = np.asarray(paths.signal.detach().cpu(), dtype=np.float64)
    return (x if seen.all() else x[seen]), seen


def from_densities(logs: np.ndarray, seen: np.ndarray, paths: JumpPaths, silent: tuple[int, ...] = ()) -> Likelihood:
    """Likelihoods from log-densities at the observations of a signal, ``[seen state]``, of which ``silent`` states have none; labels are read as they
    are."""
    found, n = read(paths, ()), paths.n_states
    if logs.shape[1] != n:
        raise ValueError(f"the emission has {logs.shape[1]} states, the paths {n}")
    top = np.delete(logs, silent, axis=1).max(1, keepdims=True)
    rows = np.exp(np.clip(logs - top, LOWEST_LOG, 0.0))
    rows[:, list(silent)] = 0.0
    if seen.all():
        return Likelihood(rows, np.arange(len(rows)), float(top.sum()))
    index = found.index.copy()
    index[seen] = 2 * n + len(found.sets) + np.arange(len(rows))
    return Likelihood(np.concatenate([np.eye(n), np.eye(n), found.sets, rows]), index, float(top.sum()))


def settle(emission: object, mean: np.ndarray, name: str, spread: np.ndarray, unit: np.ndarray | None) -> None:
    """Arrays of an emission as float64 ``[state dim]``, and its unit, or an error that says what is wrong."""
    mean = np.array(mean, dtype=np.float64)
    mean = mean[:, None] if mean.ndim == 1 else mean
    spread = np.array(spread, dtype=np.float64)
    spread = spread[:, None] if spread.ndim == 1 else spread
    shapes = [mean.shape, (*mean.shape, mean.shape[-1])][: 1 if name == "scale" else 2]
    if mean.ndim != 2 or spread.shape not in shapes:
        raise ValueError(f"the means have shape {mean.shape} and the {name} {spread.shape}; [state dim] and one of {shapes} were wanted")
    diagonal = spread if spread.ndim == 2 else np.diagonal(spread, axis1=1, axis2=2)
    if not np.isfinite(mean).all() or not (np.isfinite(diagonal) & (diagonal > 0)).all():
        raise ValueError(f"means must be finite and the {name} positive; they are {mean.tolist()} and {spread.tolist()}")
    if unit is None:
        unit = np.sqrt((diagonal if name == "cov" else diagonal**2).mean(0) + mean.var(0))
    for key, value in (("mean", mean), (name, spread), ("unit", np.array(unit, dtype=np.float64))):
        object.__setattr__(emission, key, value)


def speaking(count: int, silent: tuple[int, ...]) -> np.ndarray:
    """The states that a signal can be of.

    Raises:
        ValueError: there are none.
    """
    found = np.setdiff1d(np.arange(count), silent)
    if not len(found):
        raise ValueError(f"none of the {count} states shows a signal; give one more than those that are entered at known dates (deaths)")
    return found


def lifted(cov: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """The covariance with no standard deviation below the floor, in any direction of the signal measured in units of it."""
    values, vectors = np.linalg.eigh(cov / np.outer(floor, floor))
    if values[0] >= 1:
        return cov
    return (vectors * np.maximum(values, 1.0)) @ vectors.T * np.outer(floor, floor)
