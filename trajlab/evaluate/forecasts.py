"""Forecasts of windows judged: displacement errors, scores of the draws, calibration, and windows to be played beside what came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trajlab.evaluate.drawn import drawn_scenes
from trajlab.evaluate.forecast_figures import Scored, coverage_figure, forecast_figures, named, pit_figure, spread_figure
from trajlab.evaluate.molecule_draws import molecule_tables
from trajlab.evaluate.results import Evaluation, Table
from trajlab.metrics.displacement import DisplacementConfig, displacement
from trajlab.metrics.forecasts import aligned
from trajlab.metrics.paired import Paired, paired_bootstrap
from trajlab.metrics.probabilistic import Probabilistic, probabilistic
from trajlab.models.linear_forecasts import ConstantVelocity, LastPosition
from trajlab.types import Forecast, Trajectories

__all__ = ["is_rollout", "judge_forecast", "simple_forecasts"]

LEVELS = (0.5, 0.8, 0.9)
FEWEST_RUNS = 6  #: independent runs below which no interval is given


def judge_forecast(
    forecast: Forecast, truth: Trajectories | None = None, baselines: Mapping[str, Forecast] | None = None, *,
    config: DisplacementConfig | None = None, scenes: int = 5, title: str = "",
) -> Evaluation:
    """What can be said about a forecast of many windows, in any unit and in 2 or 3 dimensions, ready for the report.

    Args:
        forecast: draws of what comes after its past.
        truth: the same nodes, with the frames of the forecast among its frames (it may hold the whole windows). Where it ends earlier than
            the forecast, the forecast is judged until there. Without it there are no errors, and the report shows the draws alone.
        baselines: other forecasts of the same windows by name; by default the last position and constant velocity. ``{}`` for none.
        config: the choices of the displacement errors (best of K, all agents or the first).
        scenes: how many windows to play.
        title: of the page.

    Raises:
        TypeError: not a `Forecast` and `Trajectories`.
        ValueError: the truth has other nodes or times, or a forecast is not finite where it is judged.
    """
    if not isinstance(forecast, Forecast):
        raise TypeError(f"judge_forecast takes a Forecast, got {type(forecast).__name__}; trajlab.judge takes roll-outs as Trajectories")
    name, units = _name(forecast), forecast.past.units
    head = title or f"{name}: {forecast.past.n_scenes} windows"
    if truth is None:
        note = f"{forecast.n_draws} draws of {forecast.draws.shape[2]} frames. No truth was given, so the draws are shown and not judged."
        pictures = [spread_figure(forecast, units)] if forecast.n_draws > 1 else []
        return Evaluation(head, note, [], pictures, [], _provenance(forecast, None), drawn_scenes({name: forecast}, None, scenes))
    forecast, truth, notes = comparable(forecast, truth)
    others = simple_forecasts(forecast) if baselines is None else {k: comparable(v, truth)[0] for k, v in baselines.items()}
    runs = {name: forecast, **others}
    scored = {who: Scored(one, displacement(*aligned(one, truth, "skip"), _config(one, config))) for who, one in runs.items()}
    chances = {who: probabilistic(one, truth, LEVELS, stopped="skip") for who, one in runs.items()}
    tables = [_errors(scored, chances, str(units.length)), *_paired(scored, chances, truth), *_calibration(runs, chances)]
    tables += molecule_tables(runs, truth)
    pictures = forecast_figures(scored, units, truth)
    if forecast.n_draws > 1:
        pictures += [coverage_figure(forecast, truth), pit_figure(chances[name].pit)]
    rank = scored[name].errors.per_scene["ade_of_median"]
    return Evaluation(head, _summary(name, scored, chances, notes, units.length), tables, pictures, [], _provenance(forecast, truth),
                      drawn_scenes(runs, truth, scenes, rank))


def is_rollout(forecast: Forecast) -> bool:
    """Whether a forecast is a roll-out of molecular dynamics (one draw with velocities and masses, in Angstrom and femtoseconds), which
    `trajlab.evaluate.molecular.judge` judges, and not a forecast of windows."""
    units = forecast.past.units
    moves = "velocity" in forecast.extra and "mass" in forecast.past.static
    return forecast.n_draws == 1 and forecast.past.dim == 3 and moves and (units.length, units.time) == ("angstrom", "fs") \
        and "given" not in forecast.provenance


def simple_forecasts(forecast: Forecast) -> dict[str, Forecast]:
    """The last position and constant velocity after the same past; the latter only where the past has two frames."""
    past, steps = forecast.past, forecast.draws.shape[2]
    spacing = float((forecast.time[:, :1] - past.time[:, -1:]).mean())
    found = {}
    for name, method, given in (("last position", LastPosition(), 1), ("constant velocity", ConstantVelocity(), 2)):
        if past.n_frames >= given:
            method.given, method.ahead, method.spacing = past.n_frames, steps, spacing  # nothing is learned from windows
            found[name] = replace(method.forecast(past, steps), time=forecast.time)
    return found


def comparable(forecast: Forecast, truth: Trajectories) -> tuple[Forecast, Trajectories, list[str]]:
    """Forecast and truth over the frames that both have, nodes that the past never saw hidden, and what was left out in words.

    Raises:
        TypeError: not `Trajectories`.
        ValueError: no frame of the forecast is before the end of the truth, or nodes differ.
    """
    if not isinstance(truth, Trajectories):
        raise TypeError(f"the truth must be Trajectories, got {type(truth).__name__}")
    notes, steps = [], forecast.draws.shape[2]
    if truth.n_nodes != forecast.past.n_nodes or truth.n_scenes != forecast.past.n_scenes:
        raise ValueError(f"the forecast has {forecast.past.n_nodes} nodes in {forecast.past.n_scenes} scenes, the truth {truth.n_nodes} in "
                         f"{truth.n_scenes}; judge a forecast by the windows it was made for")
    gap = forecast.time[:, :1] - forecast.past.time[:, -1:]
    kept = int((forecast.time <= truth.time[:, -1:] + 1e-3 * gap).all(0).sum())
    if not kept:
        raise ValueError(f"the truth ends at {float(truth.time[0, -1]):g}, before the forecast begins at {float(forecast.time[0, 0]):g} (first "
                         "scene); pass trajectories that hold the frames of the forecast")
    if kept < steps:
        notes.append(f"The truth ends after {kept} of the {steps} predicted frames; later ones are not judged.")
        forecast = cut(forecast, kept)
    unseen = ~forecast.past.mask.any(1)
    if bool(unseen.any()):
        notes.append(f"{int(unseen.sum())} nodes were never seen in the given frames and are not judged.")
        truth = truth.replace(mask=truth.mask & ~unseen[:, None])
    ended = sum(bool(reason) for reason in forecast.stopped)
    if ended:
        notes.append(f"{ended} windows ended early; they are judged until then, which flatters them.")
    return forecast, truth, notes


def cut(forecast: Forecast, steps: int) -> Forecast:
    """The first frames of a forecast."""
    return replace(forecast, draws=forecast.draws[:, :, :steps], time=forecast.time[:, :steps], mask=forecast.mask[:, :, :steps],
                   extra={k: v[:, :, :steps] for k, v in forecast.extra.items()})


def _config(forecast: Forecast, config: DisplacementConfig | None) -> DisplacementConfig | None:
    """A deterministic baseline has one draw, which is its best of any number."""
    return replace(config, best_of=1) if config is not None and config.best_of and forecast.n_draws == 1 else config


def _errors(scored: Mapping[str, Scored], chances: Mapping[str, Probabilistic], length: str) -> Table:
    best = next(iter(scored.values())).errors.best_of
    names = {"ade_of_median": "ADE, median forecast", "fde_of_median": "FDE, median forecast", "ade_of_mean": "ADE, mean forecast",
             "fde_of_mean": "FDE, mean forecast", "ade": "ADE, mean over draws", "fde": "FDE, mean over draws",
             "best_ade": f"ADE, best of {best}", "best_fde": f"FDE, best of {best}", "joint_best_ade": f"joint ADE, best of {best}",
             "joint_best_fde": f"joint FDE, best of {best}"}
    rows: list[list[Any]] = [[who, *(one.errors.mean(key) for key in names), float(chances[who].crps.nanmean())] for who, one in scored.items()]
    unit = f" In {named(length)}." if named(length) else ""
    return Table("Errors of the forecast", ["method", *names.values(), "CRPS"], rows,
                 "ADE is the distance from the truth averaged over the predicted frames, FDE that at the last one; each window counts once, by the "
                 "mean over its nodes. The mean forecast is the mean of the draws, the median forecast their geometric median at each "
                 "frame. The best of K is chosen by node, the joint one for all nodes of a "
                 "window together. CRPS is averaged over coordinates; of a single draw it is the absolute error." + unit)


def _paired(scored: Mapping[str, Scored], chances: Mapping[str, Probabilistic], truth: Trajectories) -> list[Table]:
    run = truth.context.get("run", torch.arange(truth.n_scenes, device=truth.x.device))
    judged, *others = scored
    seen = ~chances[judged].crps.isnan()
    if not others or int(run[seen].unique().numel()) < FEWEST_RUNS:
        return []

    def against(first: Tensor, second: Tensor) -> Paired:
        return paired_bootstrap(first, second, run, statistic="ratio")

    rows: list[list[Any]] = []
    for who in others:
        ade = against(scored[judged].errors.per_scene["ade_of_median"], scored[who].errors.per_scene["ade_of_median"])
        crps = against(chances[judged].crps, chances[who].crps)
        rows.append([who, ade.value, _interval(ade), ade.beats, crps.value, _interval(crps), crps.beats])
    columns = ["against", "ADE, median forecast", "95 % interval", "smaller", "CRPS", "95 % interval", "smaller"]
    return [Table(f"{judged} against the others", columns, rows,
                  f"Ratios of the means, {judged} over the other; the intervals are of a paired bootstrap over {int(run.unique().numel())} "
                  "independent runs, and a method is called better where the interval lies below 1.")]


def _interval(paired: Paired) -> str:
    return f"{paired.low:.3g} – {paired.high:.3g}"


def _calibration(runs: Mapping[str, Forecast], chances: Mapping[str, Probabilistic]) -> list[Table]:
    many = {who: chances[who] for who, one in runs.items() if one.n_draws > 1}
    if not many:
        return []
    rows: list[list[Any]] = [[who, *one.coverage.values(), one.spread_skill.ratio if one.spread_skill else None, float(one.energy.nanmean())]
            for who, one in many.items()]
    columns = ["method", *(f"inside the {level:.0%} interval" for level in LEVELS), "spread / error", "energy score"]
    return [Table("Calibration of the draws", columns, rows,
                  "Share of true coordinates inside the central intervals of the draws, and the spread of the draws over the error of their mean "
                  "(corrected for the number of draws): calibrated draws have the nominal shares and 1.")]


def _summary(name: str, scored: Mapping[str, Scored], chances: Mapping[str, Probabilistic], notes: list[str], length: str) -> str:
    unit = f" {named(length)}" if named(length) else ""
    one = scored[name]
    lines = [f"ADE of the median forecast {one.errors.mean('ade_of_median'):.4g}{unit}, FDE {one.errors.mean('fde_of_median'):.4g}{unit}; "
             f"CRPS {float(chances[name].crps.nanmean()):.4g}{unit}."]
    lines += [f"{who}: ADE {other.errors.mean('ade_of_median'):.4g}{unit}." for who, other in scored.items() if who != name]
    forecast = one.forecast
    text = f"{name}: {forecast.n_draws} draws of {forecast.draws.shape[2]} frames for each of {forecast.past.n_scenes} windows."
    return text + "\n\n" + "\n".join(f"- {line}" for line in [*lines, *notes])


def _name(forecast: Forecast) -> str:
    return str(forecast.provenance.get("method") or "forecast")


def _provenance(forecast: Forecast, truth: Trajectories | None) -> dict[str, Any]:
    return {"forecast": dict(forecast.provenance), **({} if truth is None else {"truth": dict(truth.source)})}
