"""GeoTDM against every baseline on charged particles, one molecule and one scene of pedestrians, at the same budget of training.

    python benchmarks/geotdm.py --quick                        # small models, at most 20 minutes on 2 cores
    python benchmarks/geotdm.py --quick --data-sets charged    # one data set
    python benchmarks/geotdm.py --minutes 20                   # a larger budget for each model that is trained
    python benchmarks/geotdm.py --full                         # the published protocol; for a GPU
    python benchmarks/geotdm.py --report FOLDER                # and one HTML page a data set

Prints, for each data set, errors of the mean forecast, of the draws and of the best of K, CRPS, coverage and collisions of every method,
with the numbers of the literature beside them (as remembered, and after a far larger budget: for orientation); paired bootstrap intervals
over independent systems; the default sampler against 1,000 steps of ancestral sampling; and what a training step costs beside the plain
layers. All methods that are trained have the same minutes on one thread. The molecule's windows come from an sGDML force field and not from the
MD17 files. Data, models and forecasts are kept in ``runs/geotdm``; the same command goes on where it was interrupted. Results go to
``benchmarks/results/geotdm.json``. The exit status is 1 where a bar of ``geotdm.toml`` is missed, each named in a sentence.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Small matrices in several threads spend their time waiting; must be set before torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from trajlab.evaluate.bars import as_text
from trajlab.evaluate.cache import Cache, write_json
from trajlab.evaluate.geotdm import Limits, Verdict, assess
from trajlab.evaluate.geotdm_contenders import contend, samplers
from trajlab.evaluate.geotdm_task import Task

HERE = Path(__file__).resolve().parent
ABSENT = (FileNotFoundError, ConnectionError)


def arguments(given: list[str] | None, names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="small models, at most 20 minutes on 2 cores (the default)")
    how.add_argument("--full", action="store_true", help="the published protocol")
    parser.add_argument("--data-sets", nargs="+", default=names, choices=names, metavar="NAME", help=f"of {', '.join(names)} (all)")
    parser.add_argument("--minutes", type=float, help="of training for each model that is trained (default: as the settings say)")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="save one HTML page a data set there")
    parser.add_argument("--settings", type=Path, default=HERE / "geotdm.toml", help="data sets, contenders, budgets and bars")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data",
                        help="folder of reference files; they are downloaded where it is absent")
    parser.add_argument("--cache", type=Path, default=HERE.parent / "runs" / "geotdm", help="where data, models and forecasts are kept")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "geotdm.json")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="trainings at a time, one thread each (2)")
    parser.add_argument("--no-speed", action="store_true", help="leave out the cost of a training step")
    options = parser.parse_args(given)
    if options.minutes is not None and not options.minutes > 0:
        parser.error(f"--minutes {options.minutes:g}: a positive number was wanted")
    return options


def settings(given: list[str] | None) -> dict[str, Any]:
    """The settings file that the arguments name."""
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--settings", type=Path, default=HERE / "geotdm.toml")
    record: dict[str, Any] = tomllib.loads(early.parse_known_args(given)[0].settings.read_text())
    return record


def main(given: list[str] | None = None) -> int:
    record = settings(given)
    limits = Limits(**record.pop("bars", {}))
    options = arguments(given, list(record))
    data = options.data if options.data.is_dir() else None
    began, found, lost = time.monotonic(), {}, []
    tasks = [Task.of(name, record[name], options.full, options.minutes) for name in options.data_sets]
    say(f"{sum(len(t.trained) for t in tasks)} trainings, {options.processes} at a time: {', '.join(map(budget, tasks))}")
    skipped = work(tasks, options, data)
    for task in tasks:
        if task.name not in skipped:
            verdict = assess(task, options.cache / task.name, data, limits)
            show(task, verdict, options)
            found[task.name] = dict(verdict.found)
            lost += verdict.missed
    if not options.no_speed:
        sentences, found["training step"] = speed(limits)
        lost += sentences
    return finish(options, found, lost, skipped, time.monotonic() - began)


def budget(task: Task) -> str:
    return f"{task.name} {task.epochs} epochs" if task.epochs else f"{task.name} {task.minutes:g} min"


# ---------------------------------------------------------------------------------------------------------------------- the work


class Here:
    """Stands in for a pool of processes where one is enough."""

    def submit(self, call: Any, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:  # handed on by the future, as from another process
            future.set_exception(error)
        return future


@contextmanager
def pool(processes: int) -> Iterator[Any]:
    if processes < 2:
        yield Here()
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), quiet) as made:
        try:
            yield made
        except BaseException:
            made.shutdown(wait=False, cancel_futures=True)  # what runs ends by itself; what waits does not begin
            raise


def quiet() -> None:
    """Of every process: what a library warns of on import has been said once."""
    import warnings

    warnings.filterwarnings("ignore", category=UserWarning)


def work(tasks: list[Task], options: argparse.Namespace, data: Path | None) -> dict[str, str]:
    """Data, trainings and forecasts of all tasks into the cache, several at a time; why a data set was skipped, by its name."""
    skipped: dict[str, str] = {}
    with pool(options.processes) as made:
        dearest = sorted(tasks, key=lambda task: task.source["kind"] != "molecule")  # its windows take minutes, so they are made first
        ready = {made.submit(prepare, task, options.cache / task.name, data): task for task in dearest}
        jobs: dict[Future[Any], str] = {}
        for future in as_completed(ready):
            task = ready[future]
            try:
                say(f"{task.name}: {future.result()}")
            except ABSENT as error:
                skipped[task.name] = f"{type(error).__name__}: {error}"
                say(f"{task.name} is SKIPPED, its reference data are not here ({skipped[task.name]}); name their folder by --data")
                continue
            for name in [task.judged, *(name for name in task.contenders if name != task.judged)]:
                jobs[made.submit(one, task, name, options.cache / task.name, data)] = f"{task.name}, {name}"
        for future in as_completed(jobs):
            say(f"{jobs[future]}: {future.result()}")
    return skipped


def prepare(task: Task, folder: Path, data: Path | None) -> str:
    began = time.monotonic()
    parts = task.windows(Cache(folder), data)
    return f"{' + '.join(str(part.n_scenes) for part in parts)} windows to train, validate and test, {time.monotonic() - began:.0f} s"


def one(task: Task, name: str, folder: Path, data: Path | None) -> str:
    """A contender, and its samplers where it is the judged one."""
    began = time.monotonic()
    entry = contend(task, name, folder, data)
    if name == task.judged:
        samplers(task, folder, data)
    steps = f"{entry.about['steps']} steps, " if "steps" in entry.about else ""
    return f"{steps}{time.monotonic() - began:.0f} s"


# ---------------------------------------------------------------------------------------------------------------------- verdict


def show(task: Task, verdict: Verdict, options: argparse.Namespace) -> None:
    for table in verdict.evaluation.tables:
        print(as_text(table), "\n", flush=True)
    verdict.evaluation.save(options.cache / task.name / "evaluation")
    if options.report is not None:
        from trajlab.report.page import report

        options.report.mkdir(parents=True, exist_ok=True)
        say(f"report: {report(verdict.evaluation).save(options.report / f'{task.name}.html')}")


def speed(limits: Limits) -> tuple[list[str], dict[str, Any]]:
    """A training step of the published layer, plain and ours."""
    import geotdm_speed as cost

    costs = cost.run((4,), 2)
    gain = cost.slowest_gain(costs)
    print(cost.table(costs), "\n", flush=True)
    told = {c.net: vars(c) for c in costs} | {"gain": gain}
    return ([] if gain >= limits.training else [f"a training step is {gain:.2f} times faster than the plain layer's, where at least "
                                                f"{limits.training:g} was wanted"]), told


def finish(options: argparse.Namespace, found: dict[str, Any], lost: list[str], skipped: dict[str, str], seconds: float) -> int:
    about = {"command": sys.argv, "full": options.full, "minutes": options.minutes, "wall_s": round(seconds, 1), "cores": os.cpu_count(),
             "when": time.strftime("%Y-%m-%d %H:%M:%S")}
    where = write_json(options.out, {"about": about, "found": found, "missed": lost, "skipped": skipped})
    say(f"results: {where}, {seconds / 60:.1f} minutes")
    for name, reason in skipped.items():
        print(f"NOT MEASURED: {name} ({reason})")
    print("\n".join(["missed:", *(f"  {line}" for line in lost)]) if lost else "every bar that was measured is reached")
    return 1 if lost or len(skipped) == len(options.data_sets) else 0


def say(text: str) -> None:
    print(f"[geotdm] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
