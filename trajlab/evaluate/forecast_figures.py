"""Figures of forecasts of windows: error and spread against the horizon, coverage and PIT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.evaluate.figures import numbers
from trajlab.evaluate.results import Curve, Figure
from trajlab.metrics.calibration import coverage
from trajlab.metrics.displacement import Displacement
from trajlab.metrics.forecasts import aligned
from trajlab.types import Forecast, Trajectories
from trajlab.units import Units

__all__ = ["Scored", "coverage_figure", "forecast_figures", "pit_figure", "spread_figure"]


@dataclass(frozen=True)
class Scored:
    """A forecast with its displacement errors."""

    forecast: Forecast
    errors: Displacement


def forecast_figures(scored: Mapping[str, Scored], units: Units, truth: Trajectories) -> list[Figure]:
    """Errors against the horizon with the spread of the draws, and the spread itself."""
    name, first = next(iter(scored.items()))
    ahead = _ahead(first.forecast)
    across = f"time ahead{_in(units.time)}"
    curves = []
    for who, one in scored.items():
        far, middle, mask = _far(one.forecast, truth)
        curves.append(Curve("mean forecast" if who == name and one.forecast.n_draws > 1 else who, ahead, _over(middle, mask)))
        if who == name and one.forecast.n_draws > 1:
            each = np.stack([_over(draw, mask) for draw in far])
            spread = _over(far.std(0), mask)
            curves.append(Curve("draws", ahead, each.mean(0), spread))
            curves.append(Curve("best draw", ahead, _over(far.amin(0), mask)))
    note = (f"{name}; means over the nodes of all windows. The best draw is chosen at each frame. The band is the standard deviation between draws "
            "of the distance from the truth, averaged.")
    found = [Figure("Error against the horizon", across, f"distance from the truth{_in(units.length)}", curves, note=note)]
    return found + ([_skill(name, first.forecast, truth, ahead, across, units)] if first.forecast.n_draws > 1 else [])


def _skill(name: str, forecast: Forecast, truth: Trajectories, ahead: np.ndarray, across: str, units: Units) -> Figure:
    draws, true, _, mask = aligned(forecast, truth, "skip")
    error = _over((draws.double().mean(0) - true.double()).square().mean(-1), mask) ** 0.5
    variance = _over(draws.double().var(0).mean(-1), mask)
    curves = [Curve("rms error of the mean forecast", ahead, error), Curve("spread of the draws", ahead, (variance * (1 + 1 / len(draws))) ** 0.5)]
    return Figure("Spread and error", across, f"root mean square a coordinate{_in(units.length)}", curves,
                  note=f"{name}; the two agree where the draws are calibrated. The spread is corrected for the number of draws.")


def spread_figure(forecast: Forecast, units: Units) -> Figure:
    """How far the draws lie apart, where there is no truth to compare with; for more than one draw."""
    mask = forecast.mask.all(0)
    shown = torch.where(mask[..., None], forecast.draws.double(), 0.0)
    return Figure("Spread of the draws", f"time ahead{_in(units.time)}", f"standard deviation a coordinate{_in(units.length)}",
                  [Curve("", _ahead(forecast), _over(shown.var(0).mean(-1), mask) ** 0.5)])


def coverage_figure(forecast: Forecast, truth: Trajectories) -> Figure:
    """Share of the truth inside central intervals against their level; for more than one draw."""
    draws, true, _, mask = aligned(forecast, truth, "skip")
    most = (len(draws) - 1) / (len(draws) + 1)
    levels = np.linspace(0.05, most, 12) if most > 0.05 else np.array([most])
    inside = coverage(draws, true, levels.tolist(), mask)
    return Figure("Coverage of the intervals", "level of the central interval", "share of the truth inside",
                  [Curve("exact calibration", np.array([0.0, 1.0]), np.array([0.0, 1.0])), Curve("draws", levels, numbers(inside))],
                  note="Below the diagonal the draws are too narrow, above it too wide.")


def pit_figure(pit: Float[Tensor, "bin"]) -> Figure:
    """Where the truth lies among the draws."""
    centres = (np.arange(len(pit)) + 0.5) / len(pit)
    curves = [Curve("exact calibration", np.array([0.0, 1.0]), np.ones(2)), Curve("draws", centres, numbers(pit), style="bar")]
    return Figure("Where the truth lies among the draws", "share of draws below the truth", "density", curves,
                  note="Probability integral transform: flat for calibrated draws, a bowl where they are too narrow, a hill where they are too wide.")


def _ahead(forecast: Forecast) -> np.ndarray:
    return numbers((forecast.time - forecast.past.time[:, -1:]).mean(0))


def named(unit: str) -> str:
    """A unit as it is written beside a number; nothing where there is none."""
    return {"1": "", "angstrom": "Å"}.get(unit, unit)


def _in(unit: str) -> str:
    return f", {named(unit)}" if named(unit) else ""


def _far(forecast: Forecast, truth: Trajectories) -> tuple[Float[Tensor, "draw node time"], Float[Tensor, "node time"], Bool[Tensor, "node time"]]:
    """Distances of the draws and of their mean from the truth."""
    draws, true, _, mask = aligned(forecast, truth, "skip")
    draws = torch.where(mask[..., None], draws, 0.0).double()
    true = torch.where(mask[..., None], true, 0.0).double()
    return (draws - true).norm(dim=-1), (draws.mean(0) - true).norm(dim=-1), mask


def _over(value: Float[Tensor, "node time"], mask: Bool[Tensor, "node time"]) -> np.ndarray:
    """Mean over the seen nodes at each frame."""
    return numbers(torch.where(mask, value, 0.0).sum(0) / mask.sum(0))
