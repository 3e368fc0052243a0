"""``trajlab benchmark chaos``: forecasters of chaotic systems against each other, with a verdict."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trajlab.cli.options import parse, subject

BENCHMARKS = {"chaos": "forecasters of chaotic systems"}


@dataclass(frozen=True)
class Options:
    """Forecast chaotic systems with every forecaster and say whether the judged one is ahead of the cheap bar (NVAR, echo state network and parrot).

    Each (system, protocol, noise, forecaster, start) is kept in the folder of results: a run that was killed goes on when the command is given again.
    Ends with status 0 where the claim holds or cannot be judged (too few systems, no bar), and 1 where it does not hold.

    Attributes:
        quick: fewer starts; a few minutes on two processors.
        full: all systems with a continuous time, and more starts.
        forecasters: names of forecasters, or module:name of your own SeriesForecaster, class or instance.
        systems: names of systems.
        protocols: A (100 points a period, 1000 to learn from) or B (30 points a Lyapunov time, 512 to learn from), or both.
        noise: standard deviations of the noise on the context, over those of the channels.
        starts: series of each system.
        seed: of starts and noise.
        judged: the forecaster that the claim is made for; where it is not among the forecasters, the best outside the bar is taken.
        out: folder of results, report and of what is kept.
        suite: a TOML file like the shipped trajlab/evaluate/suites/chaos.toml, instead of that.
        workers: local processes of one thread each; as many as there are processors if not given.
        cluster: address of a Dask scheduler (tcp://host:8786), or slurm:jobs=8,cores=4,memory=8GB,queue=cpu for a Slurm cluster.
    """

    quick: bool = False
    full: bool = False
    forecasters: tuple[str, ...] | None = None
    systems: tuple[str, ...] | None = None
    protocols: tuple[str, ...] | None = None
    noise: tuple[float, ...] | None = None
    starts: int | None = None
    seed: int | None = None
    judged: str | None = None
    out: Path = Path("runs/chaos")
    suite: Path | None = None
    workers: int | None = None
    cluster: str | None = None


def run(arguments: Sequence[str]) -> None:
    """Run a benchmark, print its tables and verdict, write its files; ends with status 1 where the claim does not hold."""
    _, rest = subject(arguments, "benchmark", list(BENCHMARKS), "benchmark")
    given = parse(Options, separated(rest), "benchmark chaos")
    if given.quick and given.full:
        raise ValueError("--quick and --full exclude each other; leave both out for the whole suite of chosen systems")
    if given.suite is not None and not given.suite.is_file():
        raise FileNotFoundError(f"{given.suite} does not exist; a suite has the form of trajlab/evaluate/suites/chaos.toml")
    if not chaos(given):
        sys.exit(1)


def separated(arguments: Sequence[str]) -> list[str]:
    """Lists may be given with spaces or with commas: ``--systems Lorenz,Rossler``; a cluster's settings keep theirs."""
    found: list[str] = []
    for before, argument in zip(["", *arguments], arguments):
        whole = argument.startswith("--") or before in ("--cluster", "--out", "--suite")
        found += [argument] if whole else [part for part in argument.split(",") if part]
    return found


def chaos(given: Options) -> bool:
    """Run the suite; whether the claim holds, or cannot be judged."""
    one_thread()
    from trajlab.evaluate.chaos import Where, run
    from trajlab.evaluate.chaos_suite import shipped
    from trajlab.evaluate.chaos_verdict import judge, write
    from trajlab.report.page import report

    changes = {name: getattr(given, name) for name in ("forecasters", "systems", "protocols", "noise", "starts", "seed", "judged")}
    suite = shipped("quick" if given.quick else "full" if given.full else "", given.suite, **changes)
    outcome = judge(run(suite, given.out, Where(given.workers, given.cluster, say)))
    files = write(outcome, given.out)
    page = report(outcome.evaluation).save(given.out / "report.html")
    print(f"\n{outcome.text}\n")
    without = "" if "parquet" in files else " (no parquet: pip install pyarrow)"
    print(f"results: {', '.join(map(str, files.values()))}{without}\nreport: {page}")
    return outcome.verdict != "behind"


def one_thread() -> None:
    """Small matrices on few cores: threads that wait for each other cost many times what they bring. Read by the libraries when they are loaded."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def say(line: str) -> None:
    """Progress, which is no result, goes to standard error."""
    print(line, file=sys.stderr, flush=True)
