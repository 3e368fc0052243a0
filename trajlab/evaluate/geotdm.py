"""Forecasters of windows against each other on one data set: a table of errors, paired comparisons, samplers, figures, and the bars missed.

    task = Task.of("charged", tomllib.loads(text)["charged"])
    verdict = assess(task, Path("runs/geotdm/charged"), None, Limits())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trajlab.evaluate.cache import Cache
from trajlab.evaluate.drawn import drawn_scenes
from trajlab.evaluate.forecast_figures import Scored, coverage_figure, forecast_figures, pit_figure
from trajlab.evaluate.geotdm_contenders import Entry, Samplers, contend, samplers
from trajlab.evaluate.geotdm_task import Task
from trajlab.evaluate.molecule_draws import molecule_tables, potential_of
from trajlab.evaluate.results import Evaluation, Table
from trajlab.metrics.collisions import collisions
from trajlab.metrics.displacement import DisplacementConfig, displacement_of
from trajlab.metrics.paired import Paired, paired_bootstrap
from trajlab.metrics.probabilistic import Probabilistic, probabilistic
from trajlab.types import Trajectories

__all__ = ["Limits", "Score", "Verdict", "assess", "judged_against", "samplers_compared"]

REMEMBERED = "as remembered, far larger budget"
LEVEL = 0.8  #: of the intervals whose coverage is shown
SHOWN = ("last position", "window Gaussian")  #: contenders that are played beside the judged one, where there are such


@dataclass(frozen=True)
class Limits:
    """What must be reached.

    Attributes:
        level: of the paired bootstrap intervals: the judged contender must be better than every other one.
        evaluations: error at few evaluations over that at many, at most.
        sampling: CPU time of many over that of few, at least.
        training: CPU time of a training step of the published layer written plainly over ours, at least.
    """

    level: float = 0.95
    evaluations: float = 1.05
    sampling: float = 50.0
    training: float = 1.5


@dataclass(frozen=True)
class Score:
    """What is known of a contender on the test windows.

    Attributes:
        entry: the contender.
        errors: displacement errors of its forecast.
        chances: CRPS, coverage and calibration of its draws.
        collisions: share of agents that collide, where they can.
    """

    entry: Entry
    errors: Any
    chances: Probabilistic
    collisions: float | None

    @classmethod
    def of(cls, entry: Entry, truth: Trajectories, task: Task) -> Score:
        forecast = entry.forecast
        best = min(task.best_of, forecast.n_draws)
        rate = None if task.collision is None else collisions(forecast, truth, task.collision).table()["collisions"]
        scored = task.scored(truth)
        return cls(entry, displacement_of(forecast, scored, DisplacementConfig(best_of=best)), probabilistic(forecast, scored, (LEVEL,)), rate)

    @property
    def judged(self) -> dict[str, Tensor]:
        """The two figures that contenders are compared by, of every system: of the point forecast that a distance asks for, and of the draws."""
        return {"ADE of the median forecast": self.errors.per_scene["ade_of_median"], "CRPS": self.chances.crps}

    def numbers(self) -> dict[str, float | None]:
        """Plain values for the record."""
        covered = self.chances.coverage[LEVEL] if self.entry.forecast.n_draws > 1 else None
        return {**self.errors.table(), "crps": float(self.chances.crps.nanmean()), "coverage_80": covered, "collisions": self.collisions,
                "parameters": self.entry.parameters, "minutes": self.entry.minutes}


@dataclass(frozen=True)
class Verdict:
    """What was found on one data set.

    Attributes:
        evaluation: tables and figures for the report.
        found: all numbers, as plain values.
        missed: bars that were not reached, as sentences.
    """

    evaluation: Evaluation
    found: Mapping[str, Any]
    missed: list[str]


def assess(task: Task, folder: Path, data: Path | None, limits: Limits | None = None) -> Verdict:
    """Run whatever is not in the cache, and judge the last contender against all others.

    Args:
        task: the data set and its contenders.
        folder: of the cache.
        data: folder of reference files, or None to download them.
        limits: the bars.

    Raises:
        FileNotFoundError, ConnectionError: a reference file is missing.
        ValueError: a setting is refused, or there are too few independent systems for an interval.
    """
    limits = limits or Limits()
    truth = task.windows(Cache(folder), data)[2]
    scores = {name: Score.of(contend(task, name, folder, data), truth, task) for name in task.contenders}
    run = truth.context[task.cluster]
    pairs = judged_against(scores, task.judged, run, limits.level)
    tables = [errors_table(task, scores, truth), paired_table(task.judged, pairs, int(run.unique().numel()), limits.level)]
    lost = [_not_better(task.judged, other, what, found) for (other, what), found in pairs.items() if not found.beats]
    tables += molecule_tables({name: scores[name].entry.forecast for name in scores if scores[name].entry.forecast.n_draws > 1}, truth,
                              potential_of(task, data))
    sampled = samplers(task, folder, data)
    found: dict[str, Any] = {"scores": {name: score.numbers() for name, score in scores.items()},
                             "pairs": {f"{other}: {what}": vars(p) for (other, what), p in pairs.items()}}
    if sampled is not None:
        table, told, sentences = samplers_compared(sampled, task.scored(_windows_of(truth, sampled)), task.cluster, limits)
        tables.append(table)
        lost += sentences
        found["samplers"] = told
    return Verdict(_evaluation(task, scores, truth, tables, lost), found, [f"{task.name}: {sentence}" for sentence in lost])


def judged_against(scores: Mapping[str, Score], judged: str, run: Tensor, level: float = 0.95) -> dict[tuple[str, str], Paired]:
    """The judged contender against each other one, by each judged figure: ratios of means with paired bootstrap intervals over systems."""
    mine = scores[judged].judged
    return {(name, what): paired_bootstrap(value, score.judged[what], run, statistic="ratio", level=level)
            for name, score in scores.items() if name != judged for what, value in mine.items()}


def _not_better(judged: str, other: str, what: str, found: Paired) -> str:
    return (f"{what} of {judged} is {found.first:.4g}, {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] times that of {other} "
            f"({found.second:.4g}), where an interval below 1 was wanted ({found.level:.0%}, {found.runs} independent systems)")


# ---- tables


def errors_table(task: Task, scores: Mapping[str, Score], truth: Trajectories) -> Table:
    """Every contender, then the published numbers."""
    best = f"best of {task.best_of}"
    columns = ["method", "ADE, median forecast", "FDE", "ADE, mean forecast", "ADE, draws", "FDE", f"ADE, {best}", "FDE", "CRPS"]
    columns.append(f"inside {LEVEL:.0%}")
    columns += ["collisions"] * (task.collision is not None) + ["parameters", "minutes"]
    rows = [_row(score, task) for score in scores.values()]
    rows += [_published(name, pair, task, len(columns)) for name, pair in task.published.rows.items()]
    unit = "" if str(truth.units.length) == "1" else f" In {truth.units.length}."
    note = (f"{truth.n_scenes} test windows of {task.given} + {truth.n_frames - task.given} frames. The median forecast is the geometric median of "
            "the draws at each frame, which has the least expected distance; draws: mean over them."
            + unit + (_collision_note(scores, truth, task) if task.collision is not None else "")
            + (f" Published numbers are on {task.published.data}." if task.published.rows else ""))
    return Table(f"{task.title}: errors at the same budget", columns, rows, note)


def _row(score: Score, task: Task) -> list[Any]:
    e, many = score.errors, score.entry.forecast.n_draws > 1
    errors = [e.mean(name) for name in ("ade_of_median", "fde_of_median", "ade_of_mean", "ade", "fde", "best_ade", "best_fde")]
    told = [score.collisions] if task.collision is not None else []
    covered = score.chances.coverage[LEVEL] if many else None
    return [score.entry.name, *errors, float(score.chances.crps.nanmean()), covered, *told, score.entry.parameters, score.entry.minutes or None]


def _published(name: str, pair: Sequence[float], task: Task, columns: int) -> list[Any]:
    """A row that cannot be taken for one of ours."""
    before = {"draws": 3, "best": 5}[task.published.column]
    row: list[Any] = [f"published: {name} ({REMEMBERED})", *[None] * before, *pair]
    return row + [None] * (columns - len(row))


def _collision_note(scores: Mapping[str, Score], truth: Trajectories, task: Task) -> str:
    forecast = next(iter(scores.values())).entry.forecast
    rate = collisions(forecast, truth, task.collision or 1.0).table()["collisions of the truth"]
    return f" Collisions: share of agents that come closer than {task.collision:g} to another; {rate:.3g} of the true ones do."


def paired_table(judged: str, pairs: Mapping[tuple[str, str], Paired], systems: int, level: float) -> Table:
    """Ratios with intervals, and whether the judged contender is better."""
    rows = [[other, what, p.value, f"{p.low:.3f} to {p.high:.3f}", "yes" if p.beats else "NO"] for (other, what), p in pairs.items()]
    note = (f"Ratios of means, {judged} over the other; paired bootstrap over {systems} independent systems; better: the {level:.0%} interval "
            "lies below 1.")
    return Table(f"{judged} against every other method", ["against", "by", "ratio", "interval", "better"], rows, note)


def samplers_compared(found: Samplers, truth: Trajectories, cluster: str, limits: Limits) -> tuple[Table, dict[str, Any], list[str]]:
    """The default sampler beside the long one: a table, its numbers, and the bars missed."""
    few, many = (_sampler_scores(forecast, truth) for forecast in (found.few, found.many))
    run, lost = truth.context[cluster], []
    pairs = {what: paired_bootstrap(value, many[what], run, statistic="ratio", level=limits.level) for what, value in few.items()}
    for what, pair in pairs.items():
        if not pair.value <= limits.evaluations:
            lost.append(f"{what} at {found.calls[0]} evaluations is {pair.value:.3f} times that at {found.calls[1]}, where at most "
                        f"{limits.evaluations:g} was wanted")
    if not found.gain >= limits.sampling:
        lost.append(f"the default sampler is {found.gain:.1f} times faster than {found.calls[1]} steps, where at least {limits.sampling:g} was "
                    "wanted")
    rows: list[list[Any]] = [[f"{calls} evaluations", *(v.nanmean().item() for v in scores.values()), 1e3 * seconds]
                             for calls, scores, seconds in zip(found.calls, (few, many), found.seconds, strict=True)]
    rows.append(["ratio", *(p.value for p in pairs.values()), 1 / found.gain])
    rows.append(["interval", *(f"{p.low:.3f} to {p.high:.3f}" for p in pairs.values()), None])
    note = (f"The default against ancestral sampling, {found.few.n_draws} draws of the same {truth.n_scenes} windows. CPU time of one thread, "
            f"end to end, a trajectory (one draw of one window): {found.gain:.1f} times less.")
    told = {"calls": list(found.calls), "seconds": list(found.seconds), "gain": found.gain, "ratios": {what: vars(p) for what, p in pairs.items()}}
    return Table("Few evaluations against many", ["sampler", *few, "ms a trajectory"], rows, note), told, lost


def _sampler_scores(forecast: Any, truth: Trajectories) -> dict[str, Tensor]:
    """Scores whose expectation does not depend on the number of draws."""
    return {"ADE, mean over draws": displacement_of(forecast, truth).per_scene["ade"], "CRPS": probabilistic(forecast, truth, ()).crps}


def _windows_of(truth: Trajectories, found: Samplers) -> Trajectories:
    from trajlab.evaluate.geotdm_contenders import some

    return some(truth, found.few.past.n_scenes)


# ---- report


def _evaluation(task: Task, scores: Mapping[str, Score], truth: Trajectories, tables: list[Table], lost: list[str]) -> Evaluation:
    judged = scores[task.judged]
    ordered = {task.judged: judged, **{name: score for name, score in scores.items() if name != task.judged}}
    shown = {name: Scored(score.entry.forecast, score.errors) for name, score in ordered.items()}
    scored = task.scored(truth)
    pictures = [*forecast_figures(shown, truth.units, scored), coverage_figure(judged.entry.forecast, scored), pit_figure(judged.chances.pit)]
    played = {name: score.entry.forecast for name, score in ordered.items() if name == task.judged or name in SHOWN}
    scenes = drawn_scenes(played, truth, 5, judged.errors.per_scene["ade_of_median"])
    return Evaluation(task.title, _summary(task, lost), tables, pictures, [], _provenance(task, scores), scenes)


def _summary(task: Task, lost: list[str]) -> str:
    budget = f"{task.epochs} epochs" if task.epochs else f"{task.minutes:g} minutes"
    heading = f"{budget} of training for each method that is trained. " + (f"{len(lost)} bars are missed." if lost else "Every bar is reached.")
    return heading + ("\n\n" + "\n".join(f"- {line}" for line in lost) if lost else "")


def _provenance(task: Task, scores: Mapping[str, Score]) -> dict[str, Any]:
    import trajlab

    about = {name: dict(score.entry.about) for name, score in scores.items()}
    return {"trajlab": trajlab.__version__, "torch": torch.__version__, "task": task.provenance(), "contenders": about}
