"""Pearson-type goodness of fit: transitions counted by start, lag and time since the first look, against the generator's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.jumps.diagnostics_looks import Looks, PairsOfLooks, chi_square, copies_of, looks_of, simulated, single, tail
from trajlab.types import JumpPaths

__all__ = ["PearsonFit", "pearson_fit"]

LEVEL = 0.01


@dataclass(frozen=True, eq=False)
class PearsonFit:
    """Transitions seen and expected.

    Attributes:
        observed, expected: transitions by class of lag, class of time, start and stop, ``[lag time state state]``.
        lag_bounds, time_bounds: upper ends of the classes.
        statistic: ``sum (O - E)^2 / E``, cells with small E pooled.
        freedom: cells less one for each row.
        p_low, p_high: from chi-square with the number of parameters taken off, and not; the right one lies between (where labels are right).
        p_value: from labels drawn anew at the same times; ``p_high`` where none were.
        warning: whether it is below 0.01.
        sentence: the same in words.
    """

    observed: Float[np.ndarray, "lag time state state"]
    expected: Float[np.ndarray, "lag time state state"]
    lag_bounds: np.ndarray
    time_bounds: np.ndarray
    statistic: float
    freedom: int
    p_low: float
    p_high: float
    p_value: float
    warning: bool
    sentence: str


def pearson_fit(paths: JumpPaths, q: Float[np.ndarray, "state state"], lag_classes: int = 4, time_classes: int = 3, parameters: int = 0,
                simulations: int = 199, seed: int = 0, noise: float | Float[np.ndarray, "state other"] | None = None) -> PearsonFit:
    """Test a generator on neighbouring looks, with attention to how long ago the last look was and how long the path has been followed.

    After Aguirre-Hernandez and Farewell (2002). The generator is not fitted anew to the labels drawn, so that the p-value is too large rather than
    too small for a generator that was fitted to these data.

    Args:
        paths: the data.
        q: rates.
        lag_classes, time_classes: numbers of classes, by quantiles.
        parameters: fitted to the data, for ``p_low``.
        simulations: sets of labels that are drawn; fewer where there are many looks.
        seed: of these.
        noise: of the labels, as for `diagnostics_chapman_kolmogorov.chapman_kolmogorov`.

    Raises:
        ValueError: generator and paths differ in their states, no path has two looks, or a number of classes is below one.
    """
    q = single(q, paths)
    if min(lag_classes, time_classes) < 1 or min(parameters, simulations) < 0:
        raise ValueError(f"{lag_classes} x {time_classes} classes, {parameters} parameters and {simulations} simulations were asked for; "
                         "at least 1 of the first two and 0 of the others were wanted")
    looks = looks_of(paths, noise=noise)
    pairs = looks.pairs(1, q)
    (by_lag, lags), (by_time, times) = _quantiles(pairs.lag, lag_classes), _quantiles(looks.time[pairs.there], time_classes)
    row, shape = by_lag * len(times) + by_time, (len(lags), len(times), looks.n_states, looks.n_states)
    observed, expected = _counted(looks.label, looks, pairs, row, len(lags) * len(times))
    statistic, freedom = chi_square(observed, expected)
    high, low = tail(statistic, freedom), tail(statistic, freedom - parameters)
    copies = copies_of(looks, simulations)
    p = high
    if copies > 1 and freedom:
        again = (chi_square(*_counted(label, looks, pairs, row, len(lags) * len(times)))
                 for label in looks.redrawn(q, copies, np.random.default_rng(seed)))
        p = simulated(statistic - freedom, [s - f for s, f in again])
    said = (f"Transitions between looks do not fit the generator (p = {p:.2g}): rates change with time, or differ from path to path."
            if p < LEVEL else
            f"Transitions between looks fit the generator (p = {p:.2g}), whatever the lag and the time since the first look.")
    return PearsonFit(observed.reshape(shape), expected.reshape(shape), lags, times, statistic, freedom, low, high, float(p), bool(p < LEVEL), said)


def _quantiles(values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The class of each value and the upper ends of the classes; values that differ by rounding share a class."""
    bounds = np.unique(np.round(np.quantile(values, np.arange(1, most + 1) / most) * (1 + 1e-9), 12 - int(np.log10(values.max()))))
    which = np.minimum(np.searchsorted(bounds, values), len(bounds) - 1)
    used, which = np.unique(which, return_inverse=True)
    return which.reshape(-1), bounds[used]


def _counted(label: np.ndarray, looks: Looks, pairs: PairsOfLooks, row: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Transitions seen and expected, ``[row * state state]``."""
    n, start = looks.n_states, label[pairs.here]
    which = row * n + start
    observed = np.bincount(which * n + label[pairs.there], minlength=rows * n * n).reshape(-1, n).astype(np.float64)
    classes = len(pairs.table)
    number = np.bincount(which * classes + pairs.lag_class, minlength=rows * n * classes).reshape(rows, n, classes)
    return observed, np.einsum("rnc,cnm->rnm", number, pairs.table).reshape(-1, n)
