"""Where a process was between its observations, and where it will be after the last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from trajlab.dynamics.jumps.emissions import Emission
from trajlab.dynamics.jumps.smoothing import Intervals, smooth
from trajlab.types import JumpPaths

__all__ = ["occupancy"]


def occupancy(q: np.ndarray | Sequence[np.ndarray], paths: JumpPaths, emission: Emission, initial: np.ndarray, times: np.ndarray,
              path: np.ndarray | int = 0, covariates: Sequence[str] = ()) -> np.ndarray:
    """Probability of each state at any time given all observations, ``[time state]``.

    A look that gives nothing is put in at each time, and the paths are smoothed. After the last observation this is the prediction. Where an interval
    is known to be without a jump (it ends in an exact observation) the state is that of its beginning.

    Args:
        q: the generator, or one for each group of the covariates, as in `smoothing.smooth`.
        paths: what was seen.
        emission: what is seen of each state.
        initial: probabilities of the states at the first observations.
        times: on the clocks of the paths, ``[time]``.
        path: which path each time belongs to, ``[time]``, or one number for all.
        covariates: names of those that the generators depend on.

    Raises:
        ValueError: there is no such path, or a time lies before its first observation or is not finite.
    """
    times = np.asarray(times, dtype=np.float64).reshape(-1)
    of = np.broadcast_to(np.asarray(path, dtype=np.int64), times.shape)
    place = _places(paths, times, of)
    order = np.lexsort((times, of))
    after = np.minimum(place, len(paths.label) - 1)
    exact = (np.asarray(paths.observed.cpu())[after] == JumpPaths.EXACT) & (np.asarray(paths.path.cpu())[after] == of) & (place < len(paths.label))
    asked = order[~exact[order]]
    more = _with_looks(paths, times[asked], of[asked], place[asked])
    intervals = Intervals.from_paths(more, covariates, most_lags=None)
    found = smooth(q, intervals, emission.likelihood(more), initial)
    if found.impossible is not None:
        raise ValueError("the paths are impossible under this generator, emission and initial distribution")
    # observation l has moved by the number of looks put in before it
    posterior, shift = found.posterior, np.searchsorted(place[asked], np.arange(len(paths.label)), "right")
    out = posterior[(place - 1) + shift[place - 1]]
    out[asked] = posterior[place[asked] + np.arange(len(asked))]
    return out


def _places(paths: JumpPaths, times: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The observation before which each time comes; it comes after those at the same time."""
    clock, path = np.asarray(paths.time.cpu()), np.asarray(paths.path.cpu())
    if len(of) and (of.min() < 0 or of.max() >= paths.n_paths):
        raise ValueError(f"times of paths {of.min()} to {of.max()} are asked for; there are paths 0 to {paths.n_paths - 1}")
    first = np.searchsorted(path, np.arange(paths.n_paths + 1))
    place = np.empty(len(times), dtype=np.int64)
    for p in np.unique(of):
        mine = of == p
        place[mine] = first[p] + np.searchsorted(clock[first[p] : first[p + 1]], times[mine], "right")
    early = ~np.isfinite(times) | (place == first[of])
    if early.any():
        at = int(np.argmax(early))
        raise ValueError(f"time {times[at]:g} of path {of[at]} is not at or after its first observation, {clock[first[of[at]]]:g}")
    return place


def _with_looks(paths: JumpPaths, times: np.ndarray, of: np.ndarray, place: np.ndarray) -> JumpPaths:
    """The paths with looks that give nothing at these times, sorted by path and time."""

    def put(value: torch.Tensor, what: object) -> torch.Tensor:
        return torch.as_tensor(np.insert(np.asarray(value.cpu()), place, what, axis=0))

    covariates = {name: put(value, np.asarray(value.cpu())[place - 1]) for name, value in paths.covariates.items()}
    return paths.replace(
        label=put(paths.label, -1), time=put(paths.time, times), path=put(paths.path, of), observed=put(paths.observed, JumpPaths.MISSING),
        covariates=covariates, allowed=None if paths.allowed is None else put(paths.allowed, True),
        signal=None if paths.signal is None else put(paths.signal, np.nan),
    )
