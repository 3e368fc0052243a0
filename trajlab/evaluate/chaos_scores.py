"""All scores of one forecast of a chaotic system against what came: errors, valid times, and the statistics of the attractor."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.evaluate.chaos_data import Series
from trajlab.evaluate.chaos_suite import Protocol
from trajlab.metrics.chaotic import mase, smape, vpt
from trajlab.metrics.chaotic_attractor import attractor_kl, hellinger
from trajlab.metrics.chaotic_dimension import correlation_dimension
from trajlab.metrics.chaotic_exponent import largest_exponent

__all__ = ["as_plain", "failed_scores", "failure", "held", "scores"]

KL_DRAWS = 1000
RULES = {"vpt30": "smape", "vpt": "nrmse"}


def failure(drawn: Float[np.ndarray, "draw step dim"]) -> str:
    """Which draws of a forecast stop being finite, and where; nothing where none does."""
    lost = ~np.isfinite(drawn).all(-1)
    if not lost.any():
        return ""
    return f"{int(lost.any(1).sum())} of {len(lost)} draws are not finite, the first from step {int(lost.any(0).argmax())}"


def held(drawn: Float[np.ndarray, "step dim"], last: Float[np.ndarray, "dim"]) -> Float[np.ndarray, "step dim"]:
    """A free run that keeps its last finite state (``last`` where there is none), so that it has a spectrum and fills a place."""
    lost = ~np.isfinite(drawn).all(-1)
    if not lost.any():
        return drawn
    stop, out = int(lost.argmax()), drawn.copy()
    out[stop:] = out[stop - 1] if stop else last
    return out


def scores(drawn: Float[np.ndarray, "draw step dim"], series: Series, protocol: Protocol) -> dict[str, float]:
    """Scores of a forecast; NaN or infinite where one has no meaning.

    Errors and valid times are of the median over the draws, and steps that are not finite count as the worst there is. Long-term figures are of the
    first draw over all ``free`` steps. Errors are averaged over the first ``horizon`` steps.
    """
    truth, middle = series.truth, np.median(drawn, 0)
    long = held(drawn[0], series.context[-1])
    short = slice(protocol.horizon)
    season = min(max(1, round(series.chaos["period"] / series.step)), len(series.context) // 2)
    found = {"smape": float(smape(middle[short], truth[short])), "mase": float(mase(middle[short], truth[short], series.context, season))}
    return {**found, **_valid(middle, series, protocol), **caps(series, protocol), **_long(long, truth, series)}


def failed_scores(series: Series, protocol: Protocol) -> dict[str, float]:
    """Scores where there is no forecast at all: the worst of those that are bounded."""
    nothing = dict.fromkeys(("mase", "kl", "dimension", "dimension_gap", "exponent", "exponent_gap"), math.nan)
    true = _facts(series.truth.tobytes(), series.truth.shape, series.step)
    lyapunov = 0.0 if _exponent(series) else math.nan
    valid = {"vpt30_clock": 0.0, "vpt30": 0.0, "vpt": 0.0, "vpt30_lyapunov": lyapunov, "vpt_lyapunov": lyapunov}
    return {"smape": 200.0, **valid, "hellinger": 1.0, **nothing, **caps(series, protocol), "true_dimension": true[0],
            "true_exponent": true[1] * series.chaos["period"]}


def caps(series: Series, protocol: Protocol) -> dict[str, float]:
    """The largest valid times that can be, in periods and Lyapunov times, and the exponent that these are counted with."""
    span, exponent = protocol.free * series.step, _exponent(series)
    return {"cap": span / series.chaos["period"], "cap_lyapunov": span * exponent if exponent else math.nan, "exponent_used": exponent or math.nan}


def _exponent(series: Series) -> float | None:
    """The tabulated largest exponent where it is positive for certain."""
    return float(series.chaos["exponent"]) if series.chaos["chaotic"] else None


def _valid(middle: np.ndarray, series: Series, protocol: Protocol) -> dict[str, float]:
    """By both rules in periods and Lyapunov times, and by the first in units of the protocol's clock, in which all systems have the same cap."""
    found, period, exponent = {}, series.chaos["period"], _exponent(series)
    for name, rule in RULES.items():
        told = vpt(middle, series.truth, rule, spacing=series.step, period=period, exponent=exponent)
        if name == "vpt30":
            found["vpt30_clock"] = told.steps / protocol.per_period
        found |= {name: float(told.periods), f"{name}_lyapunov": float(told.lyapunov_times) if exponent else math.nan}
    return found


def _long(made: np.ndarray, truth: np.ndarray, series: Series) -> dict[str, float]:
    period = series.chaos["period"]
    mine, true = (_facts(x.tobytes(), x.shape, series.step) for x in (np.ascontiguousarray(made), np.ascontiguousarray(truth)))
    moving = truth.std(0) > 1e-12 * np.abs(truth).max(0)
    kl = float(attractor_kl(made[:, moving], truth[:, moving], draws=KL_DRAWS)) if moving.any() else math.nan
    return {"hellinger": float(hellinger(made, truth)), "kl": kl, "dimension": mine[0], "true_dimension": true[0],
            "dimension_gap": abs(mine[0] - true[0]), "exponent": mine[1] * period, "true_exponent": true[1] * period,
            "exponent_gap": abs(mine[1] - true[1]) * period}


@lru_cache(maxsize=64)
def _facts(x: bytes, shape: tuple[int, ...], spacing: float) -> tuple[float, float]:
    """Correlation dimension and largest exponent of a series, NaN where it has none: those of the truth are asked for again and again."""
    states = np.frombuffer(x).reshape(shape)
    found: list[float] = []
    for figure in (lambda: correlation_dimension(states).value, lambda: largest_exponent(states, spacing).value):
        try:
            found.append(float(figure()))
        except ValueError:  # constant or too short: a forecast that stands still has neither
            found.append(math.nan)
    return found[0], found[1]


def as_plain(found: dict[str, Any]) -> dict[str, float | None]:
    """Numbers for JSON; None where one is none."""
    return {name: float(value) if math.isfinite(value) else None for name, value in found.items()}
