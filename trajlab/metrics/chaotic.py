"""Errors of forecasts of chaotic series, and for how long they are valid.

All take ``[... time dim]`` and reduce the last two axes. A prediction that is not finite has failed: it counts as the worst value there is, it is
never left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["THRESHOLDS", "ValidTime", "mase", "nrmse", "smape", "stepwise", "vpt"]

#: rules of `vpt` and the error beyond which a prediction is no longer valid
THRESHOLDS = {"smape": 30.0, "nrmse": 0.4}


def _pair(pred: Any, truth: Any) -> tuple[np.ndarray, np.ndarray]:
    pred, truth = np.asarray(pred, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if pred.shape != truth.shape or truth.ndim < 2 or not truth.size:
        raise ValueError(f"a prediction of shape {pred.shape} and a truth of shape {truth.shape}; equal shapes [... time dim] were wanted")
    if not np.isfinite(truth).all():
        raise ValueError(f"{int((~np.isfinite(truth)).sum())} values of the truth are not finite; cut the window before them")
    return pred, truth


def _ratio(error: np.ndarray, size: np.ndarray) -> np.ndarray:
    """error / size, where nothing over nothing is nothing and what is not finite is infinite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where((error == 0) & (size == 0), 0.0, error / size)
    return np.where(np.isfinite(ratio), ratio, np.inf)


def _relative(pred: np.ndarray, truth: np.ndarray, scale: float) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        each = scale * _ratio(np.abs(truth - pred), np.abs(truth) + np.abs(pred))
    return np.where(np.isfinite(pred) & np.isfinite(each), each, scale)


def smape(pred: Float[np.ndarray, "..."], truth: Float[np.ndarray, "..."], scale: float = 200.0) -> np.ndarray | float:
    """Symmetric mean absolute percentage error, scale |y - p| / (|y| + |p|), mean over time and channels; from 0 to ``scale``.

    It depends on the origin of the coordinates and explodes near zero crossings. Both 200 and 100 are in use as its upper end.

    Raises:
        ValueError: shapes differ, or the truth is not finite.
    """
    pred, truth = _pair(pred, truth)
    return _relative(pred, truth, scale).mean((-2, -1))


def mase(pred: Float[np.ndarray, "..."], truth: Float[np.ndarray, "..."], past: Float[np.ndarray, "..."], season: int = 1) -> np.ndarray | float:
    """Mean absolute scaled error (Hyndman & Koehler 2006): mean |y - p| over the mean |y[t] - y[t - season]| of the past, mean over the channels.

    Args:
        past: the context, ``[... past dim]``; it alone sets the scale.
        season: frames between the values whose difference is the scale; 1 compares with persistence, a period with the seasonal naive forecast.

    Raises:
        ValueError: shapes differ, the truth or the past is not finite, or the past is no longer than ``season``.
    """
    pred, truth = _pair(pred, truth)
    past = np.asarray(past, dtype=np.float64)
    if past.ndim < 2 or past.shape[:-2] != truth.shape[:-2] or past.shape[-1] != truth.shape[-1] or not np.isfinite(past).all():
        raise ValueError(f"a past of shape {past.shape} for a truth of shape {truth.shape}; finite values of shape [... past dim] were wanted")
    if not 1 <= season < past.shape[-2]:
        raise ValueError(f"season={season} of a past of {past.shape[-2]} frames; 1 to {past.shape[-2] - 1} was wanted")
    size = np.abs(past[..., season:, :] - past[..., :-season, :]).mean(-2)
    return _ratio(np.abs(truth - pred).mean(-2), size).mean(-1)


def nrmse(pred: Float[np.ndarray, "..."], truth: Float[np.ndarray, "..."]) -> np.ndarray | float:
    """Root-mean-square error of each channel over the standard deviation of its truth in the window, mean over the channels.

    Raises:
        ValueError: shapes differ, or the truth is not finite.
    """
    pred, truth = _pair(pred, truth)
    with np.errstate(over="ignore", invalid="ignore"):
        return _ratio(np.sqrt(((truth - pred) ** 2).mean(-2)), truth.std(-2)).mean(-1)


def stepwise(pred: Float[np.ndarray, "..."], truth: Float[np.ndarray, "..."], rule: str = "smape") -> Float[np.ndarray, "..."]:
    """Error of each step, ``[... time]``, by which `vpt` judges; see there."""
    pred, truth = _pair(pred, truth)
    if rule == "smape":
        return _relative(pred, truth, 200.0).mean(-1)
    if rule == "nrmse":
        spread = np.sqrt(((truth - truth.mean(-2, keepdims=True)) ** 2).sum(-1).mean(-1))
        with np.errstate(over="ignore", invalid="ignore"):
            return _ratio(np.sqrt(((truth - pred) ** 2).sum(-1)), spread[..., None])
    from trajlab.catalog import unknown

    raise ValueError(unknown("rule", rule, THRESHOLDS))


@dataclass(frozen=True, eq=False)
class ValidTime:
    """For how long predictions were valid, with all that is needed to read the number.

    Attributes:
        steps: whole steps before the error first exceeds the threshold, ``[...]``; `cap` where it never does.
        cap: steps of the window: no value can be larger.
        rule, threshold: see `vpt`.
        spacing: time between steps.
        period: of the system, in the same unit of time; None where it is not known.
        exponent: the largest Lyapunov exponent that `lyapunov_times` is counted with, in inverse time; None where it is not known.
    """

    steps: Any
    cap: int
    rule: str
    threshold: float
    spacing: float = 1.0
    period: float | None = None
    exponent: float | None = None

    @property
    def capped(self) -> Any:
        """Where the window ended before the prediction failed, ``[...]``."""
        return self.steps >= self.cap

    @property
    def time(self) -> Any:
        """In units of time."""
        return self.steps * self.spacing

    @property
    def periods(self) -> Any:
        """In periods; ValueError where the period is not known."""
        if self.period is None:
            raise ValueError("the period is not known; pass vpt(..., period=)")
        return self.time / self.period

    @property
    def lyapunov_times(self) -> Any:
        """In Lyapunov times, 1/exponent; ValueError where the exponent is not known."""
        if self.exponent is None:
            raise ValueError("the exponent is not known; pass vpt(..., exponent=), in inverse time")
        return self.time * self.exponent


def vpt(
    pred: Float[np.ndarray, "..."], truth: Float[np.ndarray, "..."], rule: str = "smape", threshold: float | None = None, *,
    spacing: float = 1.0, period: float | None = None, exponent: float | None = None,
) -> ValidTime:
    """Valid prediction time: until an error of the step first exceeds a threshold.

    ``rule="smape"``: 200 |y - p| / (|y| + |p|), mean over the channels, beyond 30 (Zhang & Gilpin, arXiv:2409.15771).
    ``rule="nrmse"``: \\|y - p\\| / rms \\|y - mean\\| beyond 0.4, norms over the channels, mean and rms over the window (the habit of the
    reservoir literature). The two differ by factors of 2 to 10; the second does not depend on the origin.

    Args:
        threshold: another one than 30 or 0.4.
        spacing: time between steps, in units of which ``period`` and 1/``exponent`` are given.
        period: of the system.
        exponent: largest Lyapunov exponent.

    Raises:
        ValueError: shapes differ, the truth is not finite, there is no such rule, or a spacing, period or exponent is not positive.
    """
    for name, value in (("spacing", spacing), ("period", period), ("exponent", exponent)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value}; a positive number was wanted" + ("" if name == "spacing" else ", or None where it is not known"))
    error = stepwise(pred, truth, rule)
    bound = THRESHOLDS[rule] if threshold is None else threshold
    wrong = error > bound
    steps = np.where(wrong.any(-1), wrong.argmax(-1), error.shape[-1])
    return ValidTime(steps if steps.ndim else int(steps), error.shape[-1], rule, bound, spacing, period, exponent)
