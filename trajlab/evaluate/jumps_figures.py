"""Figures of a fitted jump process beside its data: implied timescales, dwell times, occupancy over time, transitions between looks k apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trajlab.dynamics.jumps.observables import relaxation
from trajlab.evaluate.jumps_checks import Looks, compare, dwell_survival, prevalence, step_counts, timescales, transition_shares
from trajlab.evaluate.results import Curve, Figure, Panels

__all__ = ["chapman_kolmogorov_panels", "dwell_times", "implied_timescales", "jump_figures", "occupancy_over_time"]

STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MODES = 3
LEAST = 0.3  #: of the lag between looks: faster timescales cannot be seen and are not drawn
FULL = 4  #: states up to which every pair gets a panel of its own
MOST_STATES = 6  #: drawn in one figure, the heaviest
BAND = "Bands: 95 % of data sets simulated from the fit and looked at as the data were."


def jump_figures(fit: Any, replicates: tuple[Looks, list[Looks]], weight: np.ndarray) -> list[Panels]:
    """All of them that the data allow.

    Args:
        fit: a `JumpFit`.
        replicates: of `trajlab.evaluate.jumps_checks.replicates`.
        weight: of the states, which are drawn from the heaviest on, ``[state]``.
    """
    data, made = replicates
    steps = _steps(data, fit.generator)
    panels = [chapman_kolmogorov_panels(fit, data, made, steps, weight), implied_timescales(fit, data, made, steps),
              dwell_times(fit, data, made, weight), occupancy_over_time(fit, data, made, weight)]
    return [p for p in panels if p is not None and p.figures]


def implied_timescales(fit: Any, data: Looks, made: list[Looks], steps: Sequence[int]) -> Panels:
    """Timescales of the transition matrices between looks k apart."""
    own = relaxation(fit.generator).time
    lag = np.array([step_counts(data, k)[1] for k in steps])
    modes = int(min(MODES, max(1, (own[np.isfinite(own)] > LEAST * lag[0]).sum()), len(own)))
    found = compare(lambda one: timescales(one, list(steps), modes), data, made)
    figures = []
    for m in range(modes):
        if np.isfinite(found.data[:, m]).any():
            line = [Curve("generator", lag, np.full(len(lag), own[m]))] if np.isfinite(own[m]) else []
            figures.append(Figure(("slowest", "second", "third")[m], f"lag{_unit(fit)}", f"timescale{_unit(fit)}",
                                  [*_pair(lag, found.data[:, m], found.model[:, m], found.band[:, m]), *line]))
    return Panels("Implied timescales", figures, 3, "−lag / log|eigenvalue| of the matrix of transitions between looks. The line is the generator's "
                  f"relaxation time; wrong labels and uneven looks pull data and model away from it alike. {BAND}")


def dwell_times(fit: Any, data: Looks, made: list[Looks], weight: np.ndarray) -> Panels:
    """Survival of stays in each state."""
    time = np.linspace(0.0, _longest_stay(data), 33)
    found = compare(lambda one: dwell_survival(one, time), data, made)
    figures = []
    for s in _heaviest(weight, np.isfinite(found.data).sum(1) > 2):
        model = _positive(found.model[s])
        figures.append(Figure(fit.names[s], f"time since entry{_unit(fit)}", "share that stays",
                              _pair(time, _positive(found.data[s]), model, np.minimum(found.band[s], 0.9 * np.nan_to_num(model))), logy=True))
    return Panels("Dwell times", figures, 3, "Share of stays that last longer, from the first look at a state to the first look elsewhere. Data that "
                  f"leave their band speak for hidden states behind this one: stays that are not exponential. {BAND}")


def occupancy_over_time(fit: Any, data: Looks, made: list[Looks], weight: np.ndarray) -> Panels | None:
    """Share of paths in each state since the start of the path; None for fewer than ten paths."""
    last = np.maximum.reduceat(data.time, np.searchsorted(data.path, np.arange(data.path[-1] + 1)))
    if len(last) < 10:
        return None
    time = np.linspace(0.0, float(np.quantile(last, 0.9)) or 1.0, 25)
    found = compare(lambda one: prevalence(one, time), data, made)
    figures = [Figure(fit.names[s], f"time{_unit(fit)}", "share of paths",
                      _pair(time, found.data[s], found.model[s], found.band[s])) for s in _heaviest(weight, np.isfinite(found.data).any(1))]
    return Panels("Occupancy over time", figures, 4 if len(figures) == 4 else 3, "Time since a path's first look, states by the last look before. "
                  f"Paths are counted while they are followed, and for ever where they have ended for good. {BAND}")


def chapman_kolmogorov_panels(fit: Any, data: Looks, made: list[Looks], steps: Sequence[int], weight: np.ndarray) -> Panels:
    """Share of looks at i that are followed by j, k looks later; all pairs for few states, else the return to each state."""
    lag = np.array([step_counts(data, k)[1] for k in steps])
    found = compare(lambda one: transition_shares(one, list(steps)), data, made)
    n = data.n_states
    states = sorted(_heaviest(weight, np.isfinite(found.data).any((0, 2)), 9 if n > FULL else FULL))
    pairs = [(i, i) for i in states] if n > FULL else [(i, j) for i in states for j in range(n)]
    figures = []
    for i, j in pairs:
        curves = _pair(lag, found.data[:, i, j], found.model[:, i, j], found.band[:, i, j])
        figures.append(Figure(f"{fit.names[i]} → {fit.names[j]}", f"lag{_unit(fit)}", "share", curves))
    columns = n if n <= FULL else 3
    which = "" if n <= FULL else f" Returns to {'each state' if len(states) == n else f'the {len(states)} heaviest states'}."
    return Panels("Chapman-Kolmogorov test", figures, columns, f"Share of looks at one state that are followed by another after a lag.{which} {BAND}")


def _pair(x: np.ndarray, data: np.ndarray, model: np.ndarray, band: np.ndarray) -> list[Curve]:
    return [Curve("data", x, data, style="points"), Curve("model", x, model, band)]


def _steps(data: Looks, q: np.ndarray) -> list[int]:
    """Numbers of looks that are compared: while a fifth of the pairs is left and the slowest mode is not forgotten."""
    one = step_counts(data, 1)[0]
    own = relaxation(q).time
    slowest = own[np.isfinite(own)].max(initial=0.0)
    kept = [1]
    for k in STEPS[1:]:
        counts, apart = step_counts(data, k)
        if counts.sum() < max(0.2 * one.sum(), 20) or (apart > 4 * slowest and k > 4):
            break
        kept.append(k)
    return kept


def _heaviest(weight: np.ndarray, possible: np.ndarray, most: int = MOST_STATES) -> list[int]:
    return [int(s) for s in np.argsort(-weight, kind="stable") if possible[s]][:most]


def _longest_stay(data: Looks) -> float:
    """A time that few stays outlast."""
    new = np.flatnonzero(np.concatenate([[True], (np.diff(data.label) != 0) | (np.diff(data.path) != 0)]))
    end = np.append(new[1:], len(data.label)) - 1
    stay = data.time[end] - data.time[new]
    return float(np.quantile(stay[stay > 0], 0.95)) if (stay > 0).any() else float(data.time.max()) or 1.0


def _positive(value: np.ndarray) -> np.ndarray:
    return np.where(value > 0, value, np.nan)


def _unit(fit: Any) -> str:
    return "" if fit.time_unit == "1" else f" ({fit.time_unit})"
