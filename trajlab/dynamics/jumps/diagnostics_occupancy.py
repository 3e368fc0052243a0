"""Occupancies over time, as seen and as the generator has them, and the Hellinger distance between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import chi2

from trajlab.dynamics.jumps.diagnostics_looks import Looks, lag_classes, looks_of, single
from trajlab.dynamics.jumps.observables import initial_law
from trajlab.types import JumpPaths

__all__ = ["OccupancyInTime", "occupancy_in_time"]


@dataclass(frozen=True, eq=False)
class OccupancyInTime:
    """Shares of the states over the time since the first look of a path.

    Attributes:
        time: mean time of the looks in each class, ``[class]``.
        observed: share of the looks in each state, ``[class state]``.
        expected: of the model, at the times of the same looks, ``[class state]``.
        count: looks in each class, ``[class]``.
        independent: of them, as if independent: looks of one path in a class count once for every two relaxation times that they span, ``[class]``.
        hellinger: ``sqrt(1 - sum_i sqrt(observed_i expected_i))``, ``[class]``.
        noise: what the distance of a right model is expected to be, ``sqrt((n - 1) / (8 independent))``, ``[class]``.
        mean: over the classes, the figure reported in the literature.
        warning: whether more classes exceed the 99.9 % bound of the noise than should.
        sentence: the same in words.
    """

    time: Float[np.ndarray, "class"]
    observed: Float[np.ndarray, "class state"]
    expected: Float[np.ndarray, "class state"]
    count: Float[np.ndarray, "class"]
    independent: Float[np.ndarray, "class"]
    hellinger: Float[np.ndarray, "class"]
    noise: Float[np.ndarray, "class"]
    mean: float
    warning: bool
    sentence: str


def occupancy_in_time(paths: JumpPaths, q: Float[np.ndarray, "state state"], start: str | int | Sequence[float] | np.ndarray | None = None,
                      classes: int = 50, step: float | None = None, noise: float | np.ndarray | None = None) -> OccupancyInTime:
    """Compare occupancies over time with ``p(0) exp(q t)``; clocks run from the first look of each path.

    Args:
        paths: the data.
        q: rates.
        start: distribution at the first look, as `observables.initial_law` reads it; each path's own first label where left out.
        classes: number of classes of time, with about as many looks each; looks at one time stay together.
        step, noise: as for `diagnostics_chapman_kolmogorov.chapman_kolmogorov`.

    Raises:
        ValueError: generator and paths differ in their states, the start is no distribution, or fewer than one class.
    """
    q = single(q, paths)
    if classes < 1:
        raise ValueError(f"{classes} classes of time were asked for; at least 1 was wanted")
    looks = looks_of(paths, step, noise)
    later = looks.position > 0
    which, number = _classes(looks.time[later], classes)
    model = _model(looks, q, start)[later]
    sums = np.zeros((2, number, looks.n_states))
    np.add.at(sums[0], (which, looks.label[later]), 1.0)
    np.add.at(sums[1], which, model)
    count = np.bincount(which, minlength=number).astype(np.float64)
    observed, expected = sums / count[:, None]
    distance = np.sqrt(np.maximum(1.0 - np.sqrt(observed * expected).sum(-1), 0.0))
    states = int(((observed + expected) > 0).any(0).sum())
    independent = _independent(looks, later, which, count, q)
    noise = np.sqrt((states - 1) / (8 * independent))
    bad = distance > np.sqrt(chi2.ppf(0.999, max(states - 1, 1)) / (8 * independent))
    warning = bool(bad.sum() > max(1, 0.05 * number)) or (number == 1 and bool(bad[0]))
    mean = float(distance.mean())
    time = np.bincount(which, weights=looks.time[later]) / count
    said = (f"Occupancies differ from the model's in {int(bad.sum())} of {number} classes of time (mean Hellinger distance {mean:.2g})."
            if warning else
            f"Occupancies over time agree with the model: mean Hellinger distance {mean:.2g}, of which sampling explains {float(noise.mean()):.2g}.")
    return OccupancyInTime(time, observed, expected, count, independent, distance, noise, mean, warning, said)


def _independent(looks: Looks, later: np.ndarray, which: np.ndarray, count: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Looks of each class as if independent, ``[class]``."""
    rates = -np.linalg.eigvals(q).real
    slowest = 1 / max(float(rates[rates > 1e-9 * max(rates.max(), 1e-300)].min(initial=rates.max())), 1e-300)
    path, time = looks.path[later], looks.time[later]
    order = np.lexsort((time, path, which))
    key = which[order] * (int(path.max()) + 1) + path[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    size = np.diff(first, append=len(key))
    span = time[order][first + size - 1] - time[order][first]
    worth = np.minimum(size, 1 + span / (2 * slowest))
    return np.minimum(np.bincount(which[order][first], weights=worth, minlength=len(count)), count)


def _classes(time: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Classes of nearly equal numbers; equal times are not parted."""
    rank = np.searchsorted(np.sort(time), time * (1 - 1e-9), side="left")
    _, which = np.unique((rank * most) // max(len(time), 1), return_inverse=True)
    which = which.reshape(-1)
    return which, int(which.max()) + 1


def _model(looks: Looks, q: np.ndarray, start) -> np.ndarray:
    """Probabilities of the states at each look, ``[look state]``; ones on the label at the first look of a path."""
    first = np.maximum.accumulate(np.where(looks.position == 0, np.arange(len(looks.label)), 0))
    later = looks.position > 0
    centres, which = lag_classes(looks.time[later])
    table = looks.transitions(q, centres)
    out = np.eye(looks.n_states)[looks.label]
    if start is None:
        out[later] = table[which, looks.label[first[later]]]
        return out
    law = initial_law(start, q) * looks.alive
    seen = law / law.sum() @ looks.between(q, centres)
    out[later] = (seen if looks.confusion is None else seen @ looks.confusion)[which]
    return out
