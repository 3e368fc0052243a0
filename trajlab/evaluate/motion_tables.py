"""Tables of forecasts of motion: errors, probabilities, what can be driven, and who is ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from trajlab.evaluate.forecasts import FEWEST_RUNS
from trajlab.evaluate.results import Table
from trajlab.metrics.motion_axes import at_horizons, horizons
from trajlab.metrics.motion_calibration import draw_spread, mixture_spread
from trajlab.metrics.motion_feasibility import FeasibilityConfig
from trajlab.metrics.motion_hypotheses import hypotheses
from trajlab.metrics.motion_record import MotionScores
from trajlab.metrics.paired import paired_bootstrap
from trajlab.types import Forecast, Trajectories

__all__ = ["chances", "driven", "errors", "paired", "reach", "tidy"]

# Columns and the scores in them.
POINT = {"ADE, m": "point_ade", "FDE, m": "point_fde", "along, m": "along", "across, m": "across"}
BEST = {"ADE, best path": "min_ade", "FDE, best path": "min_fde", "missed": "miss", "joint ADE, best": "joint_min_ade"}
CHANCE = {"NLL of the path, nats a frame": "nll_joint_step", "NLL of positions, nats a frame": "nll_marginal", "energy score, m": "energy",
          "CRPS, m": "crps", "inside 50 %": "coverage 0.5", "inside 68 %": "coverage 0.68", "inside 95 %": "coverage 0.95", "spread, m": "spread"}
DRIVEN = {"rms acceleration, m/s²": "rms_acceleration", "infeasible": "infeasible", "draws infeasible": "infeasible_of_draws",
          "collide": "collision", "off the road": "off_road"}
TRUTH = {"rms acceleration, m/s²": "rms_acceleration_of_truth", "infeasible": "infeasible_of_truth", "collide": "collision_of_truth",
         "off the road": "off_road_of_truth"}


def _row(one: MotionScores, columns: Mapping[str, str]) -> list[float | None]:
    known = {*one.agents, *one.scenes}
    return [tidy(one.mean(key)) if key in known else None for key in columns.values()]


def tidy(value: float) -> float:
    """Rounding errors of straight paths are nothing."""
    return 0.0 if abs(value) < 1e-9 else value


def errors(scores: Mapping[str, MotionScores]) -> Table:
    """Distances from the truth, of the point forecast and of the best path."""
    rows = [[who, *_row(one, POINT), one.best_of, *_row(one, BEST)] for who, one in scores.items()]
    agents = int((~next(iter(scores.values())).agents["min_ade"].isnan()).sum())
    return Table("Errors of the forecast", ["method", *POINT, "paths", *BEST], rows,
                 f"Means over {agents} agents with a truth. ADE: distance from the truth averaged over the predicted frames; FDE: at the last one "
                 "that was seen. Of the likeliest mode, or of the mean of equally likely draws. Along and across the true heading: mean absolute "
                 "errors. The best path is the nearest of all that are counted under paths, and compares methods with equally many. Missed: the "
                 "best path ends more than 2 m off. Joint: all agents of a window choose the same draw.")


def chances(scores: Mapping[str, MotionScores]) -> list[Table]:
    """Likelihood, scores of the draws, coverage; nothing where all say a single path."""
    rows: list[list[Any]] = [[who, *_row(one, CHANCE)] for who, one in scores.items() if {"nll_joint", "energy", "spread"} & set(one.agents)]
    return [] if not rows else [Table(
        "Probabilities", ["method", *CHANCE], rows,
        "NLL of the path: minus the log-density of the whole path, divided by its frames; of positions: of each position by itself. Energy score and "
        "CRPS are of the draws. Inside: share of true positions in the region of that probability, to be equal to it. Spread: standard deviation an "
        "axis.")]


def driven(scores: Mapping[str, MotionScores], limits: FeasibilityConfig | None) -> Table:
    """Roughness, limits of vehicles, collisions and the road, beside those of what came."""
    truth = next(iter(scores.values()))
    columns = {k: v for k, v in DRIVEN.items() if limits is not None or "infeasible" not in k}
    rows: list[list[Any]] = [[who, *_row(one, columns)] for who, one in scores.items()]
    rows.append(["what came", *(truth.mean(TRUTH[k]) if TRUTH.get(k) in truth.agents else None for k in columns)])
    note = "Root mean square of the acceleration vector of the point forecast, by differences. "
    if limits is not None:
        note += (f"Infeasible: share of transitions with a change of speed beyond {limits.acceleration:g} m/s² or a curvature beyond "
                 f"{limits.curvature:g} 1/m. ")
    note += "Collide: share of agents whose path meets that of another of the same draw."
    return Table("How the paths move", ["method", *columns], rows, note)


def paired(name: str, scores: Mapping[str, MotionScores], truth: Trajectories) -> list[Table]:
    """The judged method against each other, where there are recordings or stretches of time enough for an interval."""
    first, rows = scores[name], []
    seen, run = ~first.agents["point_ade"].isnan(), first.run
    if int(run[seen].unique().numel()) < FEWEST_RUNS and "block" in truth.context:
        run = truth.context["block"].long()[first.scene]
    count = int(run[seen].unique().numel())
    for who, other in scores.items() if count >= FEWEST_RUNS else ():
        if who == name:
            continue
        both = [paired_bootstrap(first.agents[key][seen], other.agents[key][seen], run[seen], statistic="ratio")
                for key in ("point_ade", "point_fde")]
        rows.append([who, *(cell for one in both for cell in (one.value, f"{one.low:.3g} – {one.high:.3g}", one.beats))])
    columns = ["against", "ADE", "95 % interval", "smaller", "FDE", "95 % interval", "smaller"]
    return [] if not rows else [Table(
        f"{name} against the others", columns, rows,
        f"Ratios of the means, {name} over the other, with intervals of a paired bootstrap over {count} independent recordings or stretches of "
        "time.")]


def reach(forecast: Forecast) -> Table:
    """How far a forecast goes and how wide it is, at whole seconds, where there is no truth to judge it by."""
    past, said = forecast.past, hypotheses(forecast, "auto")
    ahead = (forecast.time - past.time[:, -1:])[past.scene]
    mask = past.mask[:, -1:] & forecast.mask.all(0)
    start = torch.where(mask[:, :1], past.x[:, -1].double(), 0.0)[:, None]
    way = (torch.where(mask[..., None], said.mean.double(), 0.0) - start).norm(dim=-1)
    at = horizons(ahead, 1.0)
    columns: dict[str, torch.Tensor] = {"distance of the mean path, m": way}
    if said.covariance is not None:
        columns["spread, m"] = mixture_spread(said.probability, said.path, said.covariance)
    elif forecast.n_draws > 1:
        columns["spread, m"] = draw_spread(forecast.draws)
    values = {name: at_horizons(value, mask, ahead, at).nanmean(0) for name, value in columns.items()}
    rows: list[list[Any]] = [[f"{float(t):g}", *(float(v[k]) for v in values.values())] for k, t in enumerate(at)]
    return Table("What is said", ["time ahead, s", *values], rows, "Means over agents; spread: standard deviation an axis.")
