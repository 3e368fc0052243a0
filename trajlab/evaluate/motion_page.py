"""Forecasts of agents on a plane judged: errors, likelihood, calibration, what can be driven, and windows seen from above."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trajlab.evaluate.drawn import drawn_scenes
from trajlab.evaluate.forecasts import comparable, judge_forecast
from trajlab.evaluate.motion_figures import motion_figures
from trajlab.evaluate.motion_scenes import motion_scenes
from trajlab.evaluate.motion_tables import chances, driven, errors, paired, reach, tidy
from trajlab.evaluate.results import Evaluation
from trajlab.metrics.forecasts import by_scene
from trajlab.metrics.motion_scores import MotionScores, MotionScoresConfig, motion_scores
from trajlab.models.linear_forecasts import ConstantVelocity, LastPosition
from trajlab.models.motion.baselines import TurnRate
from trajlab.types import Forecast, Trajectories

__all__ = ["MotionPage", "is_motion", "judge_motion", "judge_windows", "simple_motion"]

FAST = 3.5  #: m/s: who is faster is no pedestrian


@dataclass(frozen=True)
class MotionPage:
    """What a page of motion shows.

    Attributes:
        title: of the page.
        scenes: windows seen from above.
        vehicles: whether agents are held against what a vehicle can drive; None: where lengths were recorded or somebody is fast.
        config: of the scores.
        notes: sentences for the summary.
        tables: further tables, such as how the data were read.
    """

    title: str = ""
    scenes: int = 4
    vehicles: bool | None = None
    config: MotionScoresConfig | None = None
    notes: Any = ()
    tables: Any = ()


def is_motion(forecast: Forecast) -> bool:
    """Whether a forecast carries Gaussian paths of agents on a plane in metres and seconds."""
    units = forecast.past.units
    return forecast.past.dim == 2 and {"logits", "mean", "covariance"} <= set(forecast.mixture) and (units.length, units.time) == ("m", "s")


def judge_windows(forecast: Forecast, truth: Trajectories | None = None) -> Evaluation:
    """A forecast of windows judged as what it is: `judge_motion` where it carries Gaussian paths on a plane, else `judge_forecast`."""
    return judge_motion(forecast, truth) if is_motion(forecast) else judge_forecast(forecast, truth)


def judge_motion(forecast: Forecast, truth: Trajectories | None = None, baselines: Mapping[str, Forecast] | None = None, *, lanes: Any = None,
                 page: MotionPage | None = None) -> Evaluation:
    """What can be said about forecasts of agents on a plane, in metres and seconds, ready for the report.

    Args:
        forecast: draws, and a mixture of paths where the method has one.
        truth: the same nodes, with the frames of the forecast among its frames. In windows around one agent (``static["focal"]``) that agent is
            judged alone. Without truth the forecast is shown and not judged.
        baselines: other forecasts of the same windows by name; by default those of `simple_motion`. ``{}`` for none.
        lanes: a `trajlab.data.lanes.LaneMap`, for pictures and the road.
        page: what is shown.

    Raises:
        TypeError: not a `Forecast` and `Trajectories`.
        ValueError: not in the plane, in other units, or the truth has other nodes or times.
    """
    if not isinstance(forecast, Forecast):
        raise TypeError(f"judge_motion takes a Forecast, got {type(forecast).__name__}")
    units = forecast.past.units
    if forecast.past.dim != 2 or (units.length, units.time) != ("m", "s"):
        raise ValueError(f"a forecast in {forecast.past.dim} dimensions, {units.length} and {units.time} came; motion is judged in the plane, in m "
                         "and s")
    page = page or MotionPage()
    limits = (page.config or MotionScoresConfig()).feasibility if _vehicles(forecast, page) else None
    name, head = str(forecast.provenance.get("method") or "forecast"), forecast.provenance.get("head")
    name = f"{name}, {head} head" if head else name
    title = page.title or f"{name}: {forecast.past.n_scenes} windows"
    provenance: dict[str, Any] = {"forecast": dict(forecast.provenance), "data": dict(forecast.past.source)}
    if truth is None:
        text = f"{_said(name, forecast)} Nobody knows yet what came, so the forecast is shown and not judged."
        return Evaluation(title, _listed(text, list(page.notes)), [reach(forecast), *page.tables], [], [], provenance,
                          drawn_scenes({name: forecast}, None, page.scenes), motion=motion_scenes(forecast, None, page.scenes, None, lanes, limits))
    forecast, truth, notes = comparable(_short_mixture(forecast, truth), truth)
    truth, more = _focal(truth)
    others = simple_motion(forecast, limits is not None) if baselines is None else \
        {k: comparable(_short_mixture(v, truth), truth)[0] for k, v in baselines.items()}
    runs = {name: forecast, **others}
    lanes_judged = lanes if lanes is not None and len(lanes.areas) else None
    scores = {who: motion_scores(one, truth, _config(one, page.config), lanes_judged, stopped="skip") for who, one in runs.items()}
    first = scores[name]
    tables = [errors(scores), *paired(name, scores, truth), *chances(scores), driven(scores, limits), *page.tables]
    notes = [*_lines(name, scores), *page.notes, *notes, *more, *first.notes]
    rank = by_scene(first.agents["point_ade"], first.scene)
    return Evaluation(title, _listed(_said(name, forecast), notes), tables, motion_figures(scores), [], provenance,
                      drawn_scenes(runs, truth, page.scenes, rank), motion=motion_scenes(forecast, truth, page.scenes, rank, lanes, limits))


def simple_motion(forecast: Forecast, vehicles: bool = False) -> dict[str, Forecast]:
    """Constant velocity, and turn rate (vehicles) or the last position (others), after the same past; not the method of the forecast itself."""
    past, steps, found = forecast.past, forecast.draws.shape[2], {}
    for method, least in ((ConstantVelocity(), 2), (TurnRate(), 3) if vehicles else (LastPosition(), 1)):
        if past.n_frames >= least and method.name != forecast.provenance.get("method"):
            method.given, method.ahead = past.n_frames, steps  # nothing is learned from windows
            method.spacing = float((forecast.time[:, :1] - past.time[:, -1:]).mean())
            found[method.name.replace("-", " ")] = replace(method.forecast(past, steps), time=forecast.time)
    return found


def _vehicles(forecast: Forecast, page: MotionPage) -> bool:
    if page.vehicles is not None:
        return page.vehicles
    past = forecast.past
    if "length" in past.static or past.n_frames < 2:
        return "length" in past.static
    step = past.x.diff(dim=1).norm(dim=-1) / past.time.diff(dim=1)[past.scene]
    both = past.mask[:, 1:] & past.mask[:, :-1]
    return bool(both.any()) and float(step[both].double().quantile(0.95) if both.sum() < 1e6 else step[both].double().mean()) > FAST


def _short_mixture(forecast: Forecast, truth: Trajectories) -> Forecast:
    """With a mixture over the frames that the truth has too; its draws are cut elsewhere."""
    kept = int((forecast.time <= truth.time[:, -1:] + 1e-6).all(0).sum()) if len(truth.time) == len(forecast.time) else 0
    if not kept or kept == forecast.draws.shape[2] or "mean" not in forecast.mixture:
        return forecast
    cut = {k: v[:, :, :kept] if k in ("mean", "covariance") else v for k, v in forecast.mixture.items()}
    return replace(forecast, draws=forecast.draws[:, :, :kept], time=forecast.time[:, :kept], mask=forecast.mask[:, :, :kept], mixture=cut)


def _focal(truth: Trajectories) -> tuple[Trajectories, list[str]]:
    if "focal" not in truth.static:
        return truth, []
    focal = truth.static["focal"].bool()
    return truth.replace(mask=truth.mask & focal[:, None]), [] if bool(focal.all()) else ["Each window is around one agent, which is judged alone."]


def _config(forecast: Forecast, config: MotionScoresConfig | None) -> MotionScoresConfig | None:
    """A single path is its best of any number."""
    if config is None or not config.errors.best_of:
        return config
    paths = forecast.mixture["logits"].shape[-1] if "logits" in forecast.mixture else forecast.n_draws
    return replace(config, errors=replace(config.errors, best_of=min(config.errors.best_of, paths)))


def _said(name: str, forecast: Forecast) -> str:
    gaussian = "logits" in forecast.mixture
    count = forecast.mixture["logits"].shape[-1] if gaussian else forecast.n_draws
    paths = f"{count} Gaussian paths" if gaussian else f"{count} draws"
    paths = paths if count > 1 else "one Gaussian path" if gaussian else "one path"
    horizon = float((forecast.time[:, -1] - forecast.past.time[:, -1]).mean())
    windows = f"{forecast.past.n_scenes} windows" if forecast.past.n_scenes > 1 else "one window"
    agents = f"each of {forecast.past.n_nodes} agents" if forecast.past.n_nodes > 1 else "one agent"
    return f"{name}: {paths} for {agents} in {windows}, over {horizon:.3g} s ({forecast.draws.shape[2]} frames)."


def _listed(text: str, lines: list[str]) -> str:
    return text + ("\n\n" + "\n".join(f"- {' '.join(line.split())}" for line in lines) if lines else "")


def _lines(name: str, scores: Mapping[str, MotionScores]) -> list[str]:
    one = scores[name]
    both = lambda of: f"{tidy(of.mean('point_ade')):.3g} m, FDE {tidy(of.mean('point_fde')):.3g} m"  # noqa: E731
    lines = [f"ADE {both(one)}.", *(f"{who}: ADE {both(other)}." for who, other in scores.items() if who != name)]
    if "coverage 0.68" in one.agents:
        found = one.mean("coverage 0.95")
        word = "too narrow" if found < 0.92 else "too wide" if found > 0.98 else "about right"
        lines.append(f"Of the true positions {one.mean('coverage 0.68'):.0%} lie in the 68 % region and {found:.0%} in the 95 % region: {word}.")
    return lines
