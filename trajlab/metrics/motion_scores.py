"""One call that gives all that applies to a forecast of motion in the plane, for each agent."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.metrics.calibration import pit_histogram
from trajlab.metrics.forecasts import by_agent
from trajlab.metrics.motion_axes import along_across, at_horizons, horizons, path_headings
from trajlab.metrics.motion_calibration import coverage_of, draw_levels, draw_spread, mixture_levels, mixture_pit, mixture_spread, reliability
from trajlab.metrics.motion_case import MotionCase, motion_case
from trajlab.metrics.motion_collisions import Futures, future_collisions, off_road
from trajlab.metrics.motion_errors import BOX, box_miss, path_errors
from trajlab.metrics.motion_feasibility import drivable, roughness
from trajlab.metrics.motion_likelihood import kde_nll, nll_joint, nll_marginal
from trajlab.metrics.motion_record import MotionScores, MotionScoresConfig
from trajlab.metrics.probabilistic import energy_score, mean_crps
from trajlab.types import Forecast, Trajectories

__all__ = ["MotionScores", "MotionScoresConfig", "motion_scores"]

BINS = 10  #: of the PIT


def motion_scores(
    forecast: Forecast, truth: Trajectories, config: MotionScoresConfig | None = None, lanes: Any = None, stopped: str = "refuse",
) -> MotionScores:
    """Judge a forecast of motion in the plane, in SI units.

    Args:
        forecast: draws, and a mixture in the frame of the draws where the method has one.
        truth: what came; it may hold the whole window. Recorded headings and sizes are used where there are some.
        config: the choices.
        lanes: a map, for the road.
        stopped: of a forecast that ended early, see `trajlab.metrics.forecasts.aligned`.

    Raises:
        TypeError: not a `Forecast` and `Trajectories`, or a map without ``inside``.
        ValueError: positions that have not two dimensions, nodes or times that differ, fewer paths than the best of K wants, a value that is not
            finite, or a covariance that is not positive definite, where it is scored.
    """
    config = config or MotionScoresConfig()
    case = motion_case(forecast, truth, config, stopped)
    futures, said = case.futures, case.said
    errors = path_errors(said, futures.truth, futures.scene, case.mask, config.errors)
    horizon, by_horizon, apart = _axes(case)
    chances, curve = _chances(case)
    agents = {**errors.agents, **apart, **chances, **future_collisions(_few(futures, config.draws), config.bodies), **_driven(case)}
    agents |= {} if lanes is None else _road(case, lanes)
    scene = futures.scene
    run = truth.context["run"].long()[scene] if "run" in truth.context else scene
    notes = () if errors.scenes else ("Modes are those of single agents, so there are no joint errors; score draws (paths='draws') for these.",)
    notes += () if case.even else ("The draws are weighted, so that energy score, CRPS and coverage, which count every draw once, are left out.",)
    best_of = config.errors.best_of or said.n_modes
    return MotionScores(agents, errors.scenes, scene, run, horizon, by_horizon, *curve, best_of, notes)


def _few(futures: Futures, draws: int) -> Futures:
    return Futures(futures.draws[:draws], futures.truth, futures.scene, futures.mask, futures.heading, futures.start, futures.start_heading,
                   futures.size)


def _axes(case: MotionCase) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Horizons, errors at them, and mean errors along and across the true heading."""
    said, futures, mask = case.said, case.futures, case.mask
    truth = futures.truth.double()
    hidden = lambda value: torch.where(mask[..., None], value, 0.0)  # noqa: E731
    parts = along_across(hidden(said.point - truth), torch.where(mask, futures.heading, 0.0))
    best_of = case.config.errors.best_of or said.n_modes
    kept = said.top(best_of) if not said.equal else said
    off = along_across(torch.stack([hidden(kept.path[:, k].double() - truth) for k in range(kept.n_modes)]), torch.where(mask, futures.heading, 0.0))
    horizon = horizons(case.ahead, case.config.horizon)
    values = {"point": parts.norm(dim=-1), "mean": hidden(said.mean - truth).norm(dim=-1), "min": off[:best_of].norm(dim=-1).amin(0),
              "along": parts[..., 0], "across": parts[..., 1]}
    at = {name: at_horizons(value, mask, case.ahead, horizon) for name, value in values.items()}
    apart = {"along": by_agent(parts[..., 0].abs(), mask), "across": by_agent(parts[..., 1].abs(), mask)}
    exact = [h for h in BOX if len(case.ahead) and float((case.ahead - h).abs().amin(-1).max()) < 1e-3]  # where there is a frame at just that time
    boxes = torch.tensor(exact, dtype=torch.float64, device=truth.device)
    if len(boxes):
        offset = torch.stack([at_horizons(off[..., k], mask, case.ahead, boxes) for k in (0, 1)], -1)
        missed = box_miss(offset[:best_of], case.speed.nan_to_num(0.0), boxes)
        apart["box_miss"] = missed.nanmean(-1)
    return horizon, at, apart


def _chances(case: MotionCase) -> tuple[dict[str, Tensor], tuple[Tensor | None, Tensor | None, Tensor | None]]:
    """Likelihood, scoring rules and calibration: of the mixture, else of the draws."""
    said, futures, mask, config = case.said, case.futures, case.mask, case.config
    found: dict[str, Tensor] = {}
    draws = torch.where(mask[..., None], futures.draws, 0.0)
    truth = torch.where(mask[..., None], futures.truth, 0.0)
    if case.even and len(draws) > 1:
        each = torch.arange(len(truth), device=mask.device)
        found |= {"energy": energy_score(draws, truth, each, mask), "crps": mean_crps(draws, truth, each, mask)}
    level = pit = spread = None
    if said.covariance is not None:
        mixture = (said.probability, said.path, said.covariance)
        joint = nll_joint(*mixture, truth, mask)
        found |= {"nll_joint": joint, "nll_joint_step": joint / mask.sum(-1), "nll_marginal": nll_marginal(*mixture, truth, mask)}
        generator = torch.Generator().manual_seed(config.seed)
        level = mixture_levels(*mixture, truth, mask, config.region, config.samples, generator)
        pit, spread = _bins(mixture_pit(*mixture, truth, _said_headings(case, said.point))[mask]), mixture_spread(*mixture)
    elif case.even and len(draws) > 2:
        level, spread = draw_levels(draws, truth, mask), draw_spread(draws)
        pit = _draw_pit(draws, truth, _said_headings(case, torch.cat((draws, truth[None])).double().mean(0)), mask) if bool(mask.any()) else None
    if case.even and len(draws) > 2:
        found["kde_nll"] = kde_nll(draws, truth, mask)
    if level is None or not bool(mask.any()):
        return found, (None, None, None)
    found |= {f"coverage {p:g}": coverage_of(level, p) for p in config.levels} | {"spread": by_agent(spread, mask)}
    at = torch.linspace(0, 1, 21, dtype=torch.float64, device=mask.device)
    return found, (at, reliability(level, at), pit)


def _said_headings(case: MotionCase, path: Tensor) -> Float[Tensor, "node time"]:
    """Axes for the PIT: those of the true path would depend on where the truth lies in the forecast, and no forecast would be calibrated along them.
    They are of the predicted path; for draws, of the mean of draws and truth, which leaves every rank of the truth among them equally likely."""
    unseen = torch.where(case.predicted[..., None], case.said.mean, 0.0)
    path = torch.where(case.mask[..., None], path, unseen)
    return path_headings(path, case.futures.start, case.futures.start_heading)


def _draw_pit(draws: Tensor, truth: Tensor, heading: Tensor, mask: Tensor) -> Float[Tensor, "2 bin"]:
    """Of the ranks of the truth among the draws, along and across."""
    off = along_across(draws.double() - truth.double(), heading)
    zero = torch.zeros_like(off[0])
    return torch.stack([pit_histogram(off[..., k:k + 1], zero[..., k:k + 1], mask, BINS) for k in (0, 1)])


def _bins(pit: Float[Tensor, "seen 2"], bins: int = BINS) -> Float[Tensor, "2 bin"]:
    place = (pit * bins).long().clamp(0, bins - 1)
    return torch.stack([torch.bincount(place[:, k], minlength=bins).double() for k in (0, 1)]) * bins / len(pit)


def _driven(case: MotionCase) -> dict[str, Tensor]:
    """Feasibility and roughness of whole paths, with the last given position before them; agents that are never scored have none."""
    futures, limits = case.futures, case.config.feasibility
    start = futures.start[:, None]
    there = torch.cat((case.started[:, None], case.predicted), 1) & case.mask.any(-1, keepdim=True)
    if case.mask.shape[1] < 2:
        return {}
    whole = lambda path: torch.cat((start.expand(*path.shape[:-2], 1, 2), path.double()), -2)  # noqa: E731
    modes = case.said.path.transpose(0, 1)[:case.config.draws] if case.said.equal else case.said.path.transpose(0, 1)
    rates = drivable(whole(modes), case.steps, there, limits).rate
    weight = case.said.probability.T[:len(rates)].double()
    found = {"infeasible": (rates * weight).sum(0) / weight.sum(0)}
    if case.said.covariance is not None:
        found["infeasible_of_draws"] = drivable(whole(futures.draws[:case.config.draws]), case.steps, there, limits).rate.mean(0)
    seen = torch.cat((case.started[:, None], case.mask), 1)
    found["infeasible_of_truth"] = drivable(whole(futures.truth), case.steps, seen, limits).rate
    found["rms_acceleration"], found["rms_jerk"] = roughness(whole(case.said.point), case.steps, there)
    found["rms_acceleration_of_truth"] = roughness(whole(futures.truth), case.steps, seen)[0]
    return found


def _road(case: MotionCase, lanes: Any) -> dict[str, Tensor]:
    share, leaves = off_road(case.futures.draws[:case.config.draws], case.mask, lanes)
    return {"off_road": share, "leaves_road": leaves, "off_road_of_truth": off_road(case.futures.truth[None], case.mask, lanes)[0]}
