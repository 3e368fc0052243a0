"""PM2.5 of Beijing, 24 to 72 h ahead: AirPhyNet, its ablations, recurrent nets and plain baselines, on the same windows, with the same scores.

    python benchmarks/air_quality.py                    # about 8 minutes on two cores
    python benchmarks/air_quality.py --quick            # one member a net, fewer steps, main and metr: 2 minutes; misses may be chance
    python benchmarks/air_quality.py --only main metr   # some parts: main more metr
    python benchmarks/air_quality.py --data DIR         # folder with airquality/prsa/*.csv.gz and sensors/los_*.csv.gz

Data: UCI's Beijing Multi-Site Air Quality (12 stations, hourly, four years). The test is the last fifth of the time, with a forecast every 7 h;
statistics come from the first 70 % and settings from the next 10 %. No forecast is told any weather after its last given hour, but for one row that
says so. What must be reached is in `air_quality.toml`; the exit status is 1 where something is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch

from trajlab.evaluate.air_quality import DAMPED, NETS, OURS, Job, Run, error_table, judged, plain_methods, run, verdict, work
from trajlab.evaluate.air_quality_extra import few_table, metr_la_persistence, metr_la_table, sparse_table, sudden_table
from trajlab.evaluate.air_quality_protocol import Protocol, Task
from trajlab.evaluate.bars import as_text
from trajlab.evaluate.cache import write_json
from trajlab.evaluate.parallel import sweep
from trajlab.models.air.airphynet import AirPhyNet
from trajlab.models.air.airphynet_config import AirPhyNetConfig
from trajlab.models.air.baselines import DampedPersistence
from trajlab.sources.air_quality import metr_la_week, prsa

HERE = Path(__file__).resolve().parent
BESIDE = HERE.parents[1] / "shared" / "data" / "traffic"
PHYSICS = {"k": "diffusion, 1/h", "v": "advection, of the wind", "memory": "memory of the wind, h", "damping": "damping, h"}


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one member a net, fewer steps; misses may be chance")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--workers", type=int, default=None, help="processes that train, one thread each; as many as processors by default")
    parser.add_argument("--data", type=Path, default=BESIDE if BESIDE.is_dir() else None, metavar="DIR", help="folder with airquality/ and sensors/")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "air_quality.json")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    torch.set_num_threads(1)
    if options.quick:
        options.only = [name for name in options.only if name != "more"]
    plan = tomllib.loads((HERE / "air_quality.toml").read_text())
    if options.data is None:
        print("no data: give --data DIR with airquality/prsa/*.csv.gz (UCI 501, Beijing Multi-Site Air Quality)")
        return 1
    began, wall = time.process_time(), time.monotonic()
    found: dict[str, Any] = {"quick": options.quick, "plan": plan, "versions": versions()}
    runs: dict[str, Run] = {}
    lost = [line for name in PARTS if name in options.only for line in PARTS[name](plan, options, found, runs)]
    found |= {"missed": lost, "CPU seconds": time.process_time() - began, "seconds": time.monotonic() - wall}
    if len(options.only) == len(PARTS) and not options.quick:
        write_json(options.out, found)
        print(f"figures: {options.out}")
    print(f"{found['CPU seconds']:.0f} CPU s, {found['seconds']:.0f} s\n")
    if options.quick and lost:
        print("one member and few steps: misses may be chance")
    print("\n".join(["missed:", *lost]) if lost else "every bar is reached")
    return 1 if lost else 0


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("trajlab", "torch", "numpy")} | {"python": sys.version.split()[0]}


def common(plan: Mapping[str, Any], options: argparse.Namespace) -> AirPhyNetConfig:
    return AirPhyNetConfig(**(plan["nets"] | (plan["quick"] if options.quick else {})))


def task_of(plan: Mapping[str, Any], options: argparse.Namespace) -> Task:
    p = plan["protocol"]
    return Task(prsa(options.data / "airquality"), Protocol(tuple(p["horizons"]), p["past"], p["every"]))


def main_part(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any], runs: dict[str, Run]) -> list[str]:
    """Every method on every horizon, with all data; on sudden changes, with sparse data, and with fewer stations."""
    task, settings = task_of(plan, options), common(plan, options)
    for name, method in plain_methods(task.longest).items():
        runs[name] = run(name, method, task)
        if isinstance(method, DampedPersistence) and method.choice:
            print(f"{name}: an e-folding time of {method.e_fold:g} h was chosen on the validation part", flush=True)
    make = lambda name, config, nodes=(): Job(name, options.data / "airquality", task.protocol, config, nodes)  # noqa: E731
    jobs = {("all data", name): make(name, settings) for name in NETS}
    if "more" in options.only:
        fewer, dropped = settings.but(members=min(plan["sparse"]["members"], settings.members)), plan["sparse"]["dropped"]
        jobs |= {(d, name): make(name, fewer.but(share=1 - d)) for d in dropped for name in plan["sparse"]["names"]}
        jobs[("few", OURS)] = make(OURS, settings, tuple(plan["few"]["stations"]))
    done: dict[Any, Run] = {}
    keys = list(jobs)
    for k, one in sweep(work, [jobs[key] for key in keys], workers=options.workers):
        done[keys[k]] = one
        print(f"{one.name}, {keys[k][0]}: {one.seconds:.0f} CPU s", flush=True)
    runs |= {name: done[("all data", name)] for name in NETS}
    show(task, plan, found, runs)
    if "more" in options.only:
        more(task, plan, found, runs, done)
    return baseline(runs, plan["bars"]) + judged(runs, plan["bars"]["gain"])


def show(task: Task, plan: Mapping[str, Any], found: dict[str, Any], runs: Mapping[str, Run]) -> None:
    """The main table, what physics was learned, and sudden changes."""
    note = "The row that is told the wind is no forecast: it says what a perfect forecast of the wind would be worth."
    print("\n" + as_text(error_table(list(runs.values()), f"PM2.5 at 12 stations of Beijing, {len(task.origins())} windows", note)), "\n")
    print("\n".join(verdict(runs)), "\n")
    for name, r in runs.items():
        if len(r.physics) > 1:
            told = "; ".join(f"{PHYSICS[k]}: {', '.join(f'{v:.3g}' for v in values)}" for k, values in r.physics.items())
            print(f"{name} learned {told}")
    table, record = sudden_table(task, runs, plan["sudden"]["share"])
    print("\n" + as_text(table), "\n", flush=True)
    found["main"], found["sudden"] = {name: r.as_record() for name, r in runs.items()}, record


def more(task: Task, plan: Mapping[str, Any], found: dict[str, Any], runs: Mapping[str, Run], done: Mapping[Any, Run]) -> None:
    """Sparse data and fewer stations."""
    dropped = plan["sparse"]["dropped"]
    less = {d: {name: done[(d, name)] for name in plan["sparse"]["names"]} for d in dropped}
    print(as_text(sparse_table(task, runs, less)), "\n", flush=True)
    found["sparse"] = {str(d): {name: r.as_record() for name, r in part.items()} for d, part in less.items()}
    table, found["few"] = few_table(task, plan["few"]["stations"], done[("few", OURS)], runs)
    print(as_text(table), "\n", flush=True)


def baseline(runs: Mapping[str, Run], bars: Mapping[str, Any]) -> list[str]:
    """Whether damped persistence has the figures that the protocol gives."""
    pairs = zip(runs[DAMPED].scores.items(), bars["baseline"], strict=True)
    return [f"{h} h: {DAMPED} has MAE {s.mae:.2f} where {wanted:g} was wanted; is the protocol another?" for (h, s), wanted in pairs
            if not abs(s.mae - wanted) <= bars["baseline_tolerance"]]


def nothing(*_: Any) -> list[str]:
    """Sparse data and fewer stations are run along with the main part, by the same workers."""
    return []


def metr(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any], runs: dict[str, Run]) -> list[str]:  # noqa: ARG001
    """A week of METR-LA: persistence as published by the protocol, and diffusion on roads by the same classes."""
    if not (options.data / "sensors" / "los_speed.csv.gz").is_file():
        print("METR-LA: no sensors/los_speed.csv.gz; left out\n")
        return []
    series, adjacency = metr_la_week(options.data)
    wanted, scores = plan["metr_la"], {"persistence": metr_la_persistence(series)}
    task = Task(series, Protocol((3, 6, 12), 12, 1 if not options.quick else 3))
    settings = AirPhyNetConfig.traffic().but(members=1, steps=wanted["steps"] // (3 if options.quick else 1), batch=8, check_every=100)
    for name, kind in (("neural ODE with diffusion on roads", {}), ("graph GRU (DCRNN-lite)", {"core": "graph_gru"})):
        method = AirPhyNet(settings.but(**kind), adjacency).fit(task.train, task.validation)
        scores[name] = task.scores(task.answers(method), at=True)
    print(as_text(metr_la_table(scores)), "\n", flush=True)
    found["metr_la"] = {name: {h: [s.mae, s.rmse] for h, s in one.items()} for name, one in scores.items()}
    pairs = zip(scores["persistence"].items(), wanted["mae"], wanted["rmse"], strict=True)
    return [f"METR-LA, {5 * h} min: persistence has {s.mae:.3f} / {s.rmse:.3f} where {mae:g} / {rmse:g} was wanted" for (h, s), mae, rmse in pairs
            if not max(abs(s.mae - mae), abs(s.rmse - rmse)) <= wanted["tolerance"]]


PARTS = {"main": main_part, "more": nothing, "metr": metr}

if __name__ == "__main__":
    sys.exit(main())
