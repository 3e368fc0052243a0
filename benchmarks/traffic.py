"""Kinematic heads of motion forecasters against a head without kinematics: pedestrians, recorded and simulated cars, with all and with little data.

    python benchmarks/traffic.py                          # all parts
    python benchmarks/traffic.py --quick                  # one seed, fewer steps and shares; misses may be chance
    python benchmarks/traffic.py --only table checks      # some parts: table checks best heads
    python benchmarks/traffic.py --sets sumo ngsim        # some data sets of the part heads
    python benchmarks/traffic.py --data DIR               # folder with eth_ucy/, commonroad/, sumo/; else they are downloaded or simulated

Parts: baselines on all test windows of ETH/UCY (table); Monte Carlo, the recursion and the cost of joint covariances (checks); the
best of 20 paths of a small perceptron (best); and every head on every data set with 100, 10 and 1 % of the training windows over three seeds, with
paired bootstrap intervals against the head without kinematics, and sentences computed from them (heads). All heads have the same perceptron, loss and
optimiser steps. Windows and scores are kept in ``runs/traffic``; the same command goes on where it was interrupted. What must be reached is in
`traffic.toml`; the exit status is 1 where something is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Small matrices in several threads spend their time waiting; must be set before torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch

from trajlab.evaluate.bars import as_text
from trajlab.evaluate.cache import Cache, key_of, write_json
from trajlab.evaluate.kinematics_cost import cost
from trajlab.evaluate.parallel import sweep
from trajlab.evaluate.results import Table
from trajlab.evaluate.traffic_cells import BASELINES, SCORES, Cell, Settings, measured
from trajlab.evaluate.traffic_checks import agreement, agreement_table, best_of_20, pedestrian_rows, recursion_error
from trajlab.evaluate.traffic_data import MotionSet
from trajlab.evaluate.traffic_tables import Scored, Sheet, sheet_table
from trajlab.evaluate.traffic_verdict import best_missed, checks_missed, helped, on_par, propagation, sheets_missed, smoothness

HERE = Path(__file__).resolve().parent
BESIDE = HERE.parents[1] / "shared" / "data" / "traffic"
ABSENT = (FileNotFoundError, ConnectionError, ImportError)
FOUND = dict[str, Any]


def arguments(given: list[str] | None, sets: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, fewer steps and shares; misses may be chance")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--sets", nargs="+", choices=sets, metavar="SET", default=list(sets), help=f"of {', '.join(sets)}")
    parser.add_argument("--data", type=Path, default=BESIDE if BESIDE.is_dir() else None, metavar="DIR", help="folder of reference files")
    parser.add_argument("--settings", type=Path, default=HERE / "traffic.toml", help="data sets, rows, budgets and bars")
    parser.add_argument("--cache", type=Path, default=HERE.parent / "runs" / "traffic", help="where windows and scores are kept")
    parser.add_argument("--fresh", action="store_true", help="measure again what the cache has")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "traffic.json")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="trainings at a time, one thread each (2)")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--settings", type=Path, default=HERE / "traffic.toml")
    plan = tomllib.loads(early.parse_known_args(given)[0].settings.read_text())
    options = arguments(given, list(plan["sets"]))
    torch.set_num_threads(1)
    began, found = time.monotonic(), {"about": about(options), "plan": plan}
    lost = [line for name in PARTS if name in options.only for line in PARTS[name](plan, options, found)]
    seconds = time.monotonic() - began
    found |= {"missed": lost, "wall_s": round(seconds, 1)}
    if len(options.only) == len(PARTS) and len(options.sets) == len(plan["sets"]) and not options.quick:
        say(f"figures: {write_json(options.out, found)}")
    say(f"{seconds / 60:.1f} minutes\n")
    for name, reason in found.get("skipped", {}).items():
        print(f"NOT MEASURED: {name} ({reason})")
    if options.quick and lost:
        print("one seed and few steps: misses may be chance")
    print("\n".join(["missed:", *(f"  {line}" for line in lost)]) if lost else "every bar that was measured is reached")
    return 1 if lost or len(found.get("skipped", {})) == len(options.sets) else 0


def about(options: argparse.Namespace) -> dict[str, Any]:
    from importlib.metadata import version

    versions = {name: version(name) for name in ("trajlab", "torch", "numpy")} | {"python": sys.version.split()[0]}
    return {"command": sys.argv, "quick": options.quick, "versions": versions, "cores": os.cpu_count(), "when": time.strftime("%Y-%m-%d %H:%M:%S")}


def show(table: Table) -> None:
    print(as_text(table), "\n", flush=True)


def say(text: str) -> None:
    print(f"[traffic] {text}", flush=True)


# ------------------------------------------------------------------------------------------------------- without training


def table(plan: Mapping[str, Any], options: argparse.Namespace, found: FOUND) -> list[str]:
    """Baselines on ETH/UCY."""
    from trajlab.sources.pedestrian_cards import card
    from trajlab.sources.pedestrians import SCENES

    wanted = plan["table"]
    folder = None if options.data is None else options.data / "eth_ucy"
    try:
        files = [card(name).path(folder) for scene in wanted["two"] for name in SCENES[scene]]
    except ABSENT as error:
        say(f"table: left out, {error}")
        return []
    shown, found["pedestrians"] = pedestrian_rows(files[0].parent, wanted)
    show(shown)
    return checks_missed({"pedestrians": found["pedestrians"]}, plan["checks"], plan["table"])


def checks(plan: Mapping[str, Any], options: argparse.Namespace, found: FOUND) -> list[str]:
    """Monte Carlo, the recursion and the cost of joint covariances."""
    samples = plan["checks"]["samples"]
    made = {"agreement": agreement(samples), "recursion": recursion_error(), "cost": cost(repeats=25 if options.quick else 100)}
    show(agreement_table(made["agreement"], samples))
    print("; ".join(f"{name}: {error:.1e} off the recursion" for name, error in made["recursion"].items()), "\n")
    rows = [[name, *(f"{1e3 * one[k]:.0f}" for k in ("joint", "marginal", "sums")), one["joint/marginal"], one["joint/sums"]]
            for name, one in made["cost"].items()]
    note = ("32 agents, 6 modes, 80 steps, float32, one thread, forward. Marginal propagation is made of cumulative sums and what goes into them; "
            "sums: as many bare ones as joint propagation takes.")
    show(Table("Cost of propagation", ["formulation", "joint, us", "marginal, us", "sums, us", "joint / marginal", "joint / sums"], rows, note))
    found["checks"] = made
    return checks_missed(made, plan["checks"], plan["table"])


# ---------------------------------------------------------------------------------------------------------- best of twenty


def best(plan: Mapping[str, Any], options: argparse.Namespace, found: FOUND) -> list[str]:
    """Twenty paths, winner takes all."""
    settings = plan["best"]
    seeds = settings["quick_seeds"] if options.quick else settings["seeds"]
    steps = round(settings["steps"] * (plan["quick"]["factor"] if options.quick else 1.0))
    folder = None if options.data is None else str(options.data / "eth_ucy")
    store, records = Cache(options.cache / "best"), []
    tasks = [(scene, seed, steps, folder) for scene in settings["at_most"] for seed in seeds]
    keys = {task: store.path(task[0], key_of(task=task)) for task in tasks}
    todo = [task for task in tasks if options.fresh or not keys[task].is_file()]
    try:
        for k, record in sweep(best_of_20, todo, workers=options.processes):
            write_json(keys[todo[k]], record)
            say(f"best of 20, {record['scene']}, seed {record['seed']}: {record['ADE']:.3f} / {record['FDE']:.3f} m, {record['seconds']:.0f} CPU s")
    except ABSENT as error:
        say(f"best of 20: left out, {error}")
        return []
    records = [json.loads(keys[task].read_text()) for task in tasks]
    rows = [[r["scene"], r["seed"], r["windows"], r["agents"], r["parameters"], r["steps"], f"{r['ADE']:.3f} / {r['FDE']:.3f}", f"{r['miss']:.1%}",
             f"{r['seconds']:.0f}"] for r in records]
    note = ("Twenty paths of a perceptron that sees neither neighbours nor a map; minADE and minFDE are chosen for each agent and separately. "
            "Best-of-20 alone rewards spreading.")
    columns = ["scene", "seed", "windows", "agents", "parameters", "steps", "ADE / FDE, m", "beyond 2 m", "CPU s"]
    show(Table("Best of 20, at least two pedestrians", columns, rows, note))
    found["best of 20"] = records
    return best_missed(records, settings["at_most"])


# -------------------------------------------------------------------------------------------------------------------- heads


def heads(plan: Mapping[str, Any], options: argparse.Namespace, found: FOUND) -> list[str]:
    """Every head on every data set, share and seed."""
    settings = Settings(plan["rows"], plan["train"], str(options.cache), None if options.data is None else str(options.data))
    seeds = plan["quick"]["seeds"] if options.quick else plan["seeds"]
    sets = [MotionSet.of(name, plan["sets"][name], plan, options.quick) for name in options.sets]
    skipped: dict[str, str] = {}
    for data in list(sets):
        try:
            parts = data.windows(settings.cache, settings.data)
            say(f"{data.name}: {' + '.join(str(p.n_scenes) for p in parts)} windows to train, validate and test")
        except ABSENT as error:
            skipped[data.name] = f"{type(error).__name__}: {error}"
            sets.remove(data)
    found["skipped"] = skipped
    train(cells_of(plan, sets, seeds), settings, options)
    sheets = [sheet(plan, data, share, seeds, settings) for data in sets for share in data.shares]
    for one in sheets:
        show(sheet_table(one, plan["plain"]))
    said = {"Where does a kinematic head help, and by how much?": helped(sheets, plan["plain"]),
            "Does joint propagation beat the marginal one?": propagation(sheets),
            f"Is the {plan['judged']} head on par with the {plan['plain']} head?": on_par(sheets, plan["judged"], plan["plain"]),
            "How smooth are mean paths (rms acceleration)?": smoothness([s for s in sheets if s.share == 1.0], plan["plain"])}
    for question, lines in said.items():
        print("\n".join([question, *(f"- {line}" for line in lines)]), "\n", flush=True)
    found["heads"] = {one.name: {name: {**{s: row.mean(s) for s in SCORES}, "ADE by seed": row.by_seed("ADE"), "NLL by seed": row.by_seed("NLL"),
                                        "seconds": row.seconds} for name, row in one.rows.items()} for one in sheets}
    found["answers"] = said
    return sheets_missed(sheets, plan["bars"], plan["judged"], plan["plain"])


def cells_of(plan: Mapping[str, Any], sets: Sequence[MotionSet], seeds: Sequence[int]) -> list[Cell]:
    """All that is to be measured; what learns nothing has one seed and all of the windows."""
    made = []
    for data in sets:
        for share in data.shares:
            trained = [Cell(data, row, share, seed) for row in (*plan["rows"], "Kalman") for seed in seeds]
            made += trained + [Cell(data, row, share, seeds[0]) for row in BASELINES if row != "Kalman" and share == max(data.shares)]
    return made


def train(cells: Sequence[Cell], settings: Settings, options: argparse.Namespace) -> None:
    """Into the cache, dearest first, several at a time."""
    if options.fresh:
        for cell in cells:
            cell.path(settings).unlink(missing_ok=True)
    size = {c.data.name: c.data.windows(settings.cache, settings.data)[0].n_frames for c in cells}
    todo = sorted((c for c in cells if not c.path(settings).is_file()), key=lambda c: -c.steps * size[c.data.name])
    say(f"{len(cells)} cells, {len(todo)} to be measured, {options.processes} at a time")
    began = time.monotonic()
    for done, (k, record) in enumerate(sweep(measured, [(cell, settings) for cell in todo], workers=options.processes), 1):
        if done % 20 == 0 or done == len(todo):
            say(f"{done} of {len(todo)} cells, {time.monotonic() - began:.0f} s; last: {todo[k]}, {record['seconds']:.1f} CPU s")


def sheet(plan: Mapping[str, Any], data: MotionSet, share: float, seeds: Sequence[int], settings: Settings) -> Sheet:
    """From the cache."""
    mine = [c for c in cells_of(plan, [data], seeds) if c.share == share]
    rows = {row: Scored.of([c for c in mine if c.row == row], settings) for row in (*plan["rows"], *BASELINES) if any(c.row == row for c in mine)}
    parts = data.windows(settings.cache, settings.data)
    used = tuple(share_size(part.n_scenes, share) for part in parts[:2])
    return Sheet(data, share, rows, parts[2].context[data.cluster], (*used, parts[2].n_scenes), plan["level"])


def share_size(count: int, share: float) -> int:
    """Windows of a share; see `trajlab.evaluate.traffic_data.share_of_windows`."""
    from trajlab.evaluate.traffic_data import FEWEST

    return min(count, max(FEWEST, round(share * count)))


PARTS = {"table": table, "checks": checks, "best": best, "heads": heads}

if __name__ == "__main__":
    sys.exit(main())
