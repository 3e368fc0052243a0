"""Every diagnostic that applies to a fitted jump process and its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from trajlab.dynamics.jumps.diagnostics_chapman_kolmogorov import chapman_kolmogorov
from trajlab.dynamics.jumps.diagnostics_dwell import dwell_times
from trajlab.dynamics.jumps.diagnostics_embedding import embeddability, sampling_interval
from trajlab.dynamics.jumps.diagnostics_links import identifiability
from trajlab.dynamics.jumps.diagnostics_looks import chi_square, tail
from trajlab.dynamics.jumps.diagnostics_occupancy import occupancy_in_time
from trajlab.dynamics.jumps.diagnostics_pearson import pearson_fit
from trajlab.dynamics.jumps.generator import transition
from trajlab.dynamics.jumps.label_emissions import Flip
from trajlab.dynamics.jumps.misclassification import Misclassification
from trajlab.dynamics.jumps.pair_counts import pair_counts
from trajlab.dynamics.jumps.smoothing import smooth
from trajlab.models.jumps.fit import JumpFit
from trajlab.models.jumps.hidden import HiddenStates
from trajlab.models.jumps.prepare import labelled

__all__ = ["diagnose"]

UNLIKELY = 0.01  #: p-value below which frequencies contradict the fit
FEW = 20  #: pairs of looks for each state below which an empirical transition matrix means nothing


def diagnose(fit: JumpFit, seed: int = 0) -> tuple[Any, ...]:
    """Chapman-Kolmogorov, dwell times, occupancy in time, Pearson's test, links, sampling interval and embeddability, where each applies.

    Looks that name no state are left out, so that of states seen through a signal there are none. Wrong labels are accounted for at the level of the
    fit. With covariates there are none, since the process is not one and the same.

    Args:
        fit: of `trajlab.MarkovJump`.
        seed: of the labels that tests draw.
    """
    looks = labelled(fit.paths)
    if len(looks.label) < 2 or not bool((looks.path.diff() == 0).any()):
        return ()
    counts = pair_counts(looks, fit.config.covariates, fit.config.most_lags)
    if fit.config.covariates:
        return ()
    q, noise = fit.generator, _noise(fit)
    found: list[Any] = []
    _add(found, lambda: sampling_interval(q, counts[0].lag, _weights(counts[0])), len(counts[0].lag) > 0 and bool(q.any()))
    _add(found, lambda: identifiability(q, _expected(fit) or counts), True)
    _add(found, lambda: chapman_kolmogorov(looks, q, noise=noise), True)
    _add(found, lambda: dwell_times(looks, q, seed=seed, noise=noise), True)
    _add(found, lambda: occupancy_in_time(looks, q, noise=noise), True)
    _add(found, lambda: pearson_fit(looks, q, seed=seed, noise=noise, parameters=int((q > 0).sum())), True)
    _add(found, lambda: _embedded(counts[0], q), noise is None and _empirical(counts[0]) is not None)
    return tuple(found)


def _add(found: list[Any], make: Callable[[], Any], applies: bool) -> None:
    if applies:
        found.append(make())


def _expected(fit: JumpFit) -> list[Any] | None:
    """Expected counts of hidden states; None where states were taken as seen."""
    hidden = getattr(fit.problem, "data", None)
    if not isinstance(hidden, HiddenStates):
        return None
    return smooth(list(fit.problem.generators(fit.x)), hidden.intervals, fit.noise.likelihood(fit.paths), fit.initial).counts


def _noise(fit: JumpFit) -> Any:
    if isinstance(fit.noise, Flip):
        return fit.noise.matrix(fit.n_states) if fit.noise.certain else fit.noise.eps
    return fit.noise.matrix if isinstance(fit.noise, Misclassification) else None


def _weights(counts: Any) -> np.ndarray:
    return np.add.reduceat(counts.weight, counts.first[:-1])


def _embedded(counts: Any, q: np.ndarray) -> Any:
    """Embeddability of the relative frequencies; no warning where chance explains how far they are from the fit."""
    table, lag = _empirical(counts)
    found = embeddability(table / table.sum(1, keepdims=True), lag)
    statistic, freedom = chi_square(table, transition(q, np.array(lag)) * table.sum(1, keepdims=True))
    p = tail(statistic, freedom)
    if not found.warning or found.embeddable or p < UNLIKELY:
        return found
    return replace(found, warning=False, sentence=f"{found.sentence} Chance explains it: the fit differs from what was seen with p = {p:.2g}.")


def _empirical(counts: Any) -> tuple[np.ndarray, float] | None:
    """Counts at the commonest lag, where there are enough of them in every row, and the lag."""
    if not len(counts.lag) or counts.entry.any():
        return None
    m = int(np.argmax(_weights(counts)))
    here = slice(counts.first[m], counts.first[m + 1])
    table = np.zeros((counts.n_states,) * 2)
    np.add.at(table, (counts.start[here], counts.stop[here]), counts.weight[here])
    rows = table.sum(1, keepdims=True)
    return (table, float(counts.lag[m])) if (rows >= FEW * counts.n_states).all() else None
