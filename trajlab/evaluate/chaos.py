"""The forecasting benchmark of chaotic systems: series, forecasts and scores, kept one by one so that a killed run goes on; then the verdict.

    outcome = judge(run(shipped("quick"), Path("runs/chaos")))         # trajlab.evaluate.chaos_verdict
    print(outcome.text)
    report(outcome.evaluation).save("report.html")
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajlab.catalog import unknown
from trajlab.evaluate.cache import write_json
from trajlab.evaluate.chaos_data import Made, Series, SeriesRecipe, make
from trajlab.evaluate.chaos_entries import check_entries
from trajlab.evaluate.chaos_suite import ChaosSuite
from trajlab.evaluate.chaos_task import Task, perform
from trajlab.evaluate.parallel import processors, sweep

__all__ = ["Run", "Where", "run"]

EVERY = 15.0  #: seconds between lines about the progress


@dataclass(frozen=True)
class Where:
    """Where it is computed, which does not change results.

    Attributes:
        workers: local processes.
        cluster: address of a Dask scheduler, or ``slurm:...``; see `trajlab.evaluate.parallel.sweep`.
        say: receives lines about the progress.
    """

    workers: int | None = None
    cluster: str | None = None
    say: Callable[[str], None] = print


@dataclass(frozen=True, eq=False)
class Run:
    """What was computed.

    Attributes:
        suite: what was asked for.
        records: one a forecast, in order.
        known: period, exponent and dimension of every system.
        left_out: (system, protocol, why) where there are no series.
        computed: forecasts that were not in the folder yet.
        seconds: wall time.
        workers: processes, or the cluster.
    """

    suite: ChaosSuite
    records: list[dict[str, Any]]
    known: Mapping[str, Mapping[str, Any]]
    left_out: list[tuple[str, str, str]]
    computed: int
    seconds: float
    workers: str


def run(suite: ChaosSuite, folder: Path, where: Where | None = None) -> Run:
    """Compute whatever is not in the folder yet.

    Every forecast is one file under ``folder/forecasts``, named by what it was made of, and written by a rename: whenever the process is killed, what
    is finished stays, and the same call goes on from there to the same results.

    Raises:
        ValueError, TypeError: an unknown system or forecaster (with the nearest), or no series at all.
    """
    where, begin = where or Where(), time.monotonic()
    systems = _systems(suite)
    check_entries(suite.forecasters)
    made = _series(suite, systems, folder, where)
    tasks = _tasks(suite, [series for one in made for series in one.series])
    if not tasks:
        reasons = "; ".join(f"{m.recipe.system}, protocol {m.recipe.protocol.name}: {m.why}" for m in made)
        raise ValueError(f"there is not one series to forecast: {reasons}")
    records, computed = _records(tasks, folder / "forecasts", where)
    left_out = [(m.recipe.system, m.recipe.protocol.name, m.why) for m in made if m.why]
    known = {m.recipe.system: m.recipe.chaos for m in made}
    workers = where.cluster or f"{where.workers or processors()} local processes"
    return Run(suite, records, known, left_out, computed, time.monotonic() - begin, workers)


def _systems(suite: ChaosSuite) -> tuple[str, ...]:
    from trajlab.sources.chaos import names

    timed = [*names("ode"), *names("delay")]
    for name in suite.systems:
        if name not in timed:
            if name in names("map"):
                raise ValueError(f"{name} is a map: it has no period, by which the protocols sample")
            raise ValueError(unknown("chaotic system", name, timed))
    return suite.systems or tuple(timed)


def _series(suite: ChaosSuite, systems: Sequence[str], folder: Path, where: Where) -> list[Made]:
    recipes = [SeriesRecipe.of(name, protocol, suite) for name in systems for protocol in suite.protocols.values()]
    where.say(f"{len(systems)} systems, protocols {', '.join(suite.protocols)}: {len(recipes)} integrations of {suite.starts} series each")
    tasks = [(recipe, str((folder / "series").resolve())) for recipe in recipes]
    found = dict(sweep(make, tasks, workers=where.workers))  # always local: they are files of this machine
    made = [found[k] for k in range(len(tasks))]
    for one in made:
        if one.why:
            where.say(f"  without {one.recipe.system}, protocol {one.recipe.protocol.name}: {one.why}")
    return made


def _tasks(suite: ChaosSuite, series: Sequence[Series]) -> list[Task]:
    return [Task(entry, one, suite.protocols[one.protocol], noise, suite.draws, suite.seed)
            for one in series for noise in suite.noise for entry in suite.forecasters]


def _records(tasks: Sequence[Task], folder: Path, where: Where) -> tuple[list[dict[str, Any]], int]:
    """The records of all tasks in order, and how many had to be computed."""
    paths = [folder / f"{task.name}-{task.key}.json" for task in tasks]
    todo = [k for k, path in enumerate(paths) if not path.is_file()]
    where.say(f"{len(tasks)} forecasts; {len(tasks) - len(todo)} of them are there already")
    progress = _Progress(len(todo), where.say)
    for k, record in sweep(perform, [tasks[k] for k in todo], workers=where.workers, cluster=where.cluster):
        write_json(paths[todo[k]], record)
        progress.step()
    return [_read(path) for path in paths], len(todo)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


class _Progress:
    """A line every now and then: how many are done, how fast, and what is left."""

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self.total, self.say, self.done, self.begin = total, say, 0, time.monotonic()
        self.told = self.begin

    def step(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.told >= EVERY or (self.done == self.total and now - self.begin > EVERY):
            self.told = now
            rate = self.done / max(now - self.begin, 1e-9)
            self.say(f"  {self.done} of {self.total} forecasts, {rate:.3g} a second, {(self.total - self.done) / rate:.0f} s left")
