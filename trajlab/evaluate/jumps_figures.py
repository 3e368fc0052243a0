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
BAND = "Bands: 95 % of paths simulated from the fit and looked at as the data were."


def jump_figures(fit: Any, replicates: tuple[Looks, list[Looks]], weight: np.ndarray) -> tuple[list[Figure], list[Panels]]:
    """All of them that the data allow.

    Args:
        fit: a `JumpFit`.
        replicates: of `trajlab.evaluate.jumps_checks.replicates`.
        weight: of the states, which are drawn from the heaviest on, ``[state]``.
    """
    data, made = replicates
    steps = _steps(data, fit.generator)
    figures = [implied_timescales(fit, data, made, steps), dwell_times(fit, data, made, weight), occupancy_over_time(fit, data, made, weight)]
    panels = chapman_kolmogorov_panels(fit, data, made, steps, weight)
    return [f for f in figures if f is not None], [panels] if panels is not None else []


def implied_timescales(fit: Any, data: Looks, made: list[Looks], steps: Sequence[int]) -> Figure | None:
    """Timescales of the transition matrices between looks k apart; None where nothing can be seen."""
    own = relaxation(fit.generator).time
    lag = np.array([step_counts(data, k)[1] for k in steps])
    modes = int(min(MODES, max(1, (own[np.isfinite(own)] > LEAST * lag[0]).sum()), len(own)))
    found = compare(lambda one: timescales(one, list(steps), modes), data, made)
    curves = []
    for m in range(modes):
        if np.isfinite(found.data[:, m]).any():
            curves.append(Curve(f"data, {m + 1}", lag, found.data[:, m], style="points"))
            curves.append(Curve(f"model, {m + 1}", lag, found.model[:, m], found.band[:, m]))
    if not curves:
        return None
    lines = ", ".join(f"{t:.3g}" for t in own[:modes] if np.isfinite(t))
    return Figure("Implied timescales", f"lag{_unit(fit)}", f"timescale{_unit(fit)}", curves,
                  note=f"−lag / log|eigenvalue| of the matrix of transitions between looks, the slowest first. Relaxation times of the generator: "
                       f"{lines}{_word(fit)}. A right model lies on its data at all lags. {BAND}")


def dwell_times(fit: Any, data: Looks, made: list[Looks], weight: np.ndarray) -> Figure | None:
    """Survival of stays in each state."""
    long = _longest_stay(data)
    time = np.linspace(0.0, long, 33)
    found = compare(lambda one: dwell_survival(one, time), data, made)
    curves = []
    for s in _heaviest(weight, np.isfinite(found.data).sum(1) > 2):
        curves.append(Curve(f"data, {fit.names[s]}", time, _positive(found.data[s]), style="points"))
        curves.append(Curve(f"model, {fit.names[s]}", time, _positive(found.model[s]), np.minimum(found.band[s], 0.9 * _positive(found.model[s]))))
    if not curves:
        return None
    return Figure("Dwell times", f"time since entry{_unit(fit)}", "share of stays that go on", curves, logy=True,
                  note=f"From the first look at a state to the first look elsewhere. {BAND} Data that leave their band speak for hidden states "
                       "(stays that are not exponential).")


def occupancy_over_time(fit: Any, data: Looks, made: list[Looks], weight: np.ndarray) -> Figure | None:
    """Share of paths in each state since the start of the path."""
    last = np.maximum.reduceat(data.time, np.searchsorted(data.path, np.arange(data.path[-1] + 1)))
    if len(last) < 10:
        return None
    time = np.linspace(0.0, float(np.quantile(last, 0.9)) or 1.0, 25)
    found = compare(lambda one: prevalence(one, time), data, made)
    curves = []
    for s in _heaviest(weight, np.isfinite(found.data).any(1)):
        curves.append(Curve(f"data, {fit.names[s]}", time, found.data[s], style="points"))
        curves.append(Curve(f"model, {fit.names[s]}", time, found.model[s], found.band[s]))
    return Figure("Occupancy over time", f"time since the first look{_unit(fit)}", "share of paths", curves,
                  note=f"By the last look; paths are counted while they are followed, and on where they have ended for good. {BAND}")


def chapman_kolmogorov_panels(fit: Any, data: Looks, made: list[Looks], steps: Sequence[int], weight: np.ndarray) -> Panels | None:
    """Share of looks at i that are followed by j, k looks later; all pairs for few states, else the return to each state."""
    lag = np.array([step_counts(data, k)[1] for k in steps])
    found = compare(lambda one: transition_shares(one, list(steps)), data, made)
    n = data.n_states
    states = sorted(_heaviest(weight, np.isfinite(found.data).any((0, 2)), 9 if n > FULL else FULL))
    pairs = [(i, i) for i in states] if n > FULL else [(i, j) for i in states for j in range(n)]
    figures = []
    for i, j in pairs:
        curves = [Curve("data", lag, found.data[:, i, j], style="points"), Curve("model", lag, found.model[:, i, j], found.band[:, i, j])]
        figures.append(Figure(f"{fit.names[i]} → {fit.names[j]}", f"lag{_unit(fit)}", "share", curves))
    if not figures:
        return None
    columns = n if n <= FULL else 3
    which = "" if n <= FULL else f" Returns to {'each state' if len(states) == n else f'the {len(states)} heaviest states'}."
    return Panels("Chapman-Kolmogorov test", figures, columns, f"Share of looks at one state that are followed by another after a lag.{which} {BAND}")


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


def _word(fit: Any) -> str:
    return "" if fit.time_unit == "1" else f" {fit.time_unit}"
