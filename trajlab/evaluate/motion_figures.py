"""Figures of forecasts of motion: error against the horizon, reliability, PIT along and across the heading."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trajlab.evaluate.figures import numbers
from trajlab.evaluate.results import Curve, Figure
from trajlab.metrics.motion_record import MotionScores

__all__ = ["along_figure", "horizon_figure", "motion_figures", "motion_pit_figure", "reliability_figure"]


def motion_figures(scores: Mapping[str, MotionScores]) -> list[Figure]:
    """All figures of forecasts of the same agents, the judged one first; those of calibration where there is a distribution."""
    name, first = next(iter(scores.items()))
    found = [horizon_figure(scores), along_figure(name, first)]
    if first.levels is not None:
        found.append(reliability_figure(scores))
    return found + ([motion_pit_figure(name, first)] if first.pit is not None else [])


def horizon_figure(scores: Mapping[str, MotionScores]) -> Figure:
    """Distance of the point forecast from the truth at whole seconds, and of the best path of the judged method."""
    curves = []
    for k, (name, one) in enumerate(scores.items()):
        curves.append(Curve(name, numbers(one.horizon), numbers(one.by_horizon["point"].nanmean(0))))
        if k == 0 and one.best_of > 1:
            curves.append(Curve(f"{name}, best of {one.best_of}", numbers(one.horizon), numbers(one.by_horizon["min"].nanmean(0))))
    return Figure("Error against the horizon", "time ahead, s", "distance from the truth, m", curves,
                  note="Mean over agents at each time. The point forecast is the likeliest mode, or the mean of equally likely draws; the best path "
                       "is chosen at each time.")


def along_figure(name: str, scores: MotionScores) -> Figure:
    """Errors along and across the true heading."""
    at = numbers(scores.horizon)
    curves = [Curve(f"{which} the heading", at, numbers(scores.by_horizon[which].square().nanmean(0).sqrt())) for which in ("along", "across")]
    return Figure("Along and across", "time ahead, s", "root mean square error, m", curves,
                  note=f"{name}, point forecast; axes of the true heading at each time. Along: wrong speed. Across: wrong turn or lane.")


def reliability_figure(scores: Mapping[str, MotionScores]) -> Figure:
    """Share of true positions inside regions of the plane against their probability."""
    curves = [Curve("exact calibration", np.array([0.0, 1.0]), np.array([0.0, 1.0]))]
    for name, one in scores.items():
        if one.levels is not None and one.shares is not None:
            curves.append(Curve(name, numbers(one.levels), numbers(one.shares)))
    return Figure("Reliability", "probability of the region", "share of true positions inside", curves,
                  note="Below the diagonal a forecast is too narrow, above it too wide. Regions of highest density.")


def motion_pit_figure(name: str, scores: MotionScores) -> Figure:
    """Where the truth lies in the forecast, along and across the true heading."""
    pit = np.zeros((2, 1)) if scores.pit is None else numbers(scores.pit)
    at = (np.arange(pit.shape[1]) + 0.5) / pit.shape[1]
    curves = [Curve("exact calibration", np.array([0.0, 1.0]), np.ones(2)), Curve("along the heading", at, pit[0], style="bar"),
              Curve("across the heading", at, pit[1], style="bar")]
    return Figure("Where the truth lies in the forecast", "probability of less", "density", curves,
                  note=f"{name}; probability integral transform. Flat where calibrated, a bowl where too narrow, a hill where too wide; high at the "
                       "left along the heading: forecasts were too fast.")
