"""Markov jump processes inferred: exact fits, the shipped network, both together, and deeptime, on the same paths, with the same scores.

    python benchmarks/jumps.py                        # about 5 minutes on one thread
    python benchmarks/jumps.py --quick                # fewer sets and tasks; misses may be chance
    python benchmarks/jumps.py --only ratchet flips   # some parts: ratchet flips few suite panel simulator network sizes intervals
    python benchmarks/jumps.py --data DIR             # folder with cav.csv of R's msm, for the part on panel data

Rows: the crude estimate (changes over time), maximum likelihood (MLE), the posterior mode under a Gamma prior (MAP-EM), the network alone, and the
default, which lets the network start and centre the exact fit. Where labels may be wrong, MLE and MAP-EM are told so (not how often), and are shown
without the noise model too; the network and the default are told nothing. deeptime's Markov state models (with the matrix logarithm) and its
`rate_matrix` are there where looks are evenly spaced. All times are CPU seconds of the process on one thread, after a small problem to compile and to
load the weights. What must be reached is in `jumps.toml`; the exit status is 1 where something is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch

from trajlab.dynamics.jumps.simulate import simulate
from trajlab.evaluate.bars import as_text
from trajlab.evaluate.cache import write_json
from trajlab.evaluate.jumps import AUTO, MAP, MLE, NETWORK, answered, methods, ours
from trajlab.evaluate.jumps_coverage import coverage
from trajlab.evaluate.jumps_known import KnownJumps, judged, known_table, run_known
from trajlab.evaluate.jumps_network import network_figures, network_table
from trajlab.evaluate.jumps_panel import heart_transplants, panel_figures
from trajlab.evaluate.jumps_peers import installed
from trajlab.evaluate.jumps_speed import large, simulated_rates
from trajlab.evaluate.jumps_suite import Cell, score_cell
from trajlab.evaluate.jumps_verdict import cell_tables, misses, softly, verdict
from trajlab.evaluate.results import Table
from trajlab.sources.jump_processes import jump_process

HERE = Path(__file__).resolve().parent
BESIDE = HERE.parents[1] / "shared" / "data" / "jumps"
QUICK = {"sets": 3, "tasks": 12, "fresh": 200, "paths": 10_000, "coverage": 20}


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer sets and tasks; misses may be chance")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--no-peers", action="store_true", help="without deeptime")
    parser.add_argument("--data", type=Path, default=BESIDE if BESIDE.is_dir() else None, metavar="DIR", help="folder with cav.csv of R's msm")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "jumps.json")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    torch.set_num_threads(1)
    plan = tomllib.loads((HERE / "jumps.toml").read_text())
    began = time.process_time()
    found: dict[str, Any] = {"versions": versions(), "quick": options.quick}
    warm()
    if not installed():
        print("deeptime: not installed, its rows are left out (pip install 'trajlab[dev]')\n")
    lost = [line for name in options.only for line in PARTS[name](plan[name], options, found)]
    found |= {"missed": lost, "CPU seconds": time.process_time() - began}
    if len(options.only) == len(PARTS) and not options.quick:
        write_json(options.out, found)
        print(f"figures: {options.out}")
    print(f"{found['CPU seconds']:.0f} CPU s\n")
    if options.quick and lost:
        print("few sets and tasks: misses may be chance")
    print("\n".join(["missed:", *lost]) if lost else "every bar is reached")
    return 1 if lost else 0


def versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("trajlab", "numpy", "numba", "scipy", "torch", *(("deeptime",) if installed() else ()))
    return {name: version(name) for name in names} | {"python": sys.version.split()[0]}


def warm() -> None:
    """Compile, and read the weights, before anything is timed."""
    paths = simulate(np.array([[-1.0, 1.0], [1.0, -1.0]]), 20, (5.0, 10), seed=0)
    for noisy in (False, True):
        for method in methods(noisy).values():
            answered(method, paths)
    answered(ours(method="map", noise="none", reversible=True), paths)


def rows(noisy: bool, options: argparse.Namespace) -> dict[str, Any]:
    """Methods by name; deeptime's where it is there."""
    return dict(methods(noisy, installed() and not options.no_peers))


# ---------------------------------------------------------------------------------------------------------- the flashing ratchet


def sampled(plan: Mapping[str, Any], seeds: Sequence[int], paths: int, V: float = 1.0, noise: float = 0.0) -> KnownJumps:
    """The discrete flashing ratchet with V = r = b = 1 (or another V), looked at from its stationary state."""
    q = jump_process("flashing_ratchet", V=V).q
    name = f"Flashing ratchet, V = {V:g}, {paths} paths x {plan['looks']} looks up to {plan['horizon']:g}" + (f", {noise:.0%} flips" if noise else "")
    make = lambda seed: simulate(q, paths, (plan["horizon"], plan["looks"]), noise=noise, seed=seed)  # noqa: E731
    return KnownJumps(name, q, make, seeds, noise)


def shown(case: KnownJumps, methods_: Mapping[str, Any], found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Run, print, keep."""
    scores = run_known(case, methods_)
    print(as_text(known_table(case, scores)), "\n", flush=True)
    found[case.name] = {"seeds": list(case.seeds), "figures": scores}
    return scores


def ratchet(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Many clean paths; and V = 0, where the entropy production is zero."""
    chosen = rows(False, options)
    case = sampled(plan, plan["seeds"], plan["paths"])
    lost = judged(shown(case, chosen, found), plan["bars"], case.name)
    still = sampled(plan, plan["seeds"], plan["paths"], V=0.0)
    balanced = {f"{MAP}, reversible": ours(method="map", noise="none", reversible=True)}
    return lost + judged(shown(still, chosen | balanced, found), plan["equilibrium_bars"], still.name)


def flips(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Wrong labels of unknown share."""
    lost = []
    for noise in plan["noise"]:
        case = sampled(plan | ratchet_looks(), plan["seeds"], ratchet_looks()["paths"], noise=noise)
        scores = shown(case, rows(True, options), found)
        lost += judged(scores, plan["bars"], case.name)
        for method in (AUTO, MAP):
            level = scores[method]["level"]
            if not abs(level / noise - 1) <= plan["level"]:
                lost.append(f"{case.name}, {method}: level {level:.4g} where {noise:g} within {plan['level']:.0%} was wanted")
    return lost


def few(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Fewer clean paths, where priors matter."""
    seeds, lost = plan["seeds"][: QUICK["sets"] if options.quick else None], []
    for paths in plan["paths"]:
        case = sampled(ratchet_looks(), seeds, paths)
        scores = shown(case, rows(False, options), found)
        lost += judged(scores, plan["bars"][str(paths)], case.name)
        print(ahead(scores), "\n")
    return lost


def ratchet_looks() -> Mapping[str, Any]:
    return tomllib.loads((HERE / "jumps.toml").read_text())["ratchet"]


def ahead(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Whether the network has the smaller error of rates, in a sentence."""
    network, exact = scores[NETWORK]["RMSE"], min(scores[MLE]["RMSE"], scores[MAP]["RMSE"])
    word = "the network alone is ahead" if network < exact else "the network alone does not win"
    return f"{word}: RMSE {network:.3g}, {exact:.3g} of the better of MLE and MAP-EM"


# ------------------------------------------------------------------------------------------------------------- random processes


def suite(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Cells of the published prior."""
    cells = [Cell.of(c) for c in plan["cells"]]
    if options.quick:
        cells = [replace(c, tasks=QUICK["tasks"]) for c in cells if c.paths <= 50]
    scores = [score_cell(c, plan["seed"], found=rows(c.noise > 0, options), say=_say) for c in cells]
    for table in cell_tables(scores, plan["seed"]):
        print(as_text(table), "\n")
    print("\n".join(verdict(scores)), "\n")
    told = softly(scores)
    lines = ["above what was expected, within the scatter of draws:", *told] if told else ["medians of the default are as expected"]
    print("\n".join(lines), "\n", flush=True)
    found["suite"] = {"seed": plan["seed"], "cells": [s.as_record() for s in scores], "verdict": verdict(scores), "above expectation": told}
    return misses(scores, plan)


def network(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """What the shipped network says of its own accuracy, on fresh tasks."""
    figures = network_figures(QUICK["fresh"] if options.quick else plan["tasks"], plan["seed"])
    print(as_text(network_table(figures)), "\n", flush=True)
    found["network"] = figures.as_record() | {"seed": plan["seed"]}
    low, high = plan["coverage"]
    lost = [] if figures.nll <= plan["nll"] else [f"network: NLL {figures.nll:.3f} nats a link where at most {plan['nll']:g} was wanted"]
    if not low <= figures.coverage.value <= high:
        lost.append(f"network: 90 % intervals cover {figures.coverage} of log-rates, where {low:g} to {high:g} was wanted")
    return lost


def intervals(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Whether intervals cover, over many simulated sets."""
    lost = []
    low, high = plan["coverage"]
    for kind, methods_ in plan["methods"].items():
        seen = []
        for method in methods_:
            sets = plan["posterior_sets"] if method == "posterior" else plan["sets"]
            seen += coverage([method], min(sets, QUICK["coverage"]) if options.quick else sets, plan["seed"], plan["level"], kind=kind)
        print(as_text(coverage_table(seen, kind, plan)), "\n", flush=True)
        found[f"intervals, {kind}"] = {"seed": plan["seed"], "rows": [vars(c) for c in seen]}
        for c in seen if kind == "even" else []:
            for what, share in (("rates", c.rates), ("stationary law", c.stationary), ("slowest time", c.slowest)):
                if not np.isnan(share) and not low <= share <= high:
                    lost.append(f"intervals, {c.method}: {what} covered {share:.3f} where {low:g} to {high:g} was wanted")
    return lost


def coverage_table(seen: Sequence[Any], kind: str, plan: Mapping[str, Any]) -> Table:
    heads = ["method", "sets", "rates", "±", "below", "stationary law", "slowest time", "one-sided", "upper / lower", "CPU s a set"]
    table = [[c.method, c.sets, c.rates, c.error, c.below, *(None if np.isnan(v) else v for v in (c.stationary, c.slowest)), c.open, c.width,
              c.seconds] for c in seen]
    title = f"{plan['level']:.0%} intervals, 3 states and 50 paths ({kind}), seed {plan['seed']}: share that holds the truth"
    return Table(title, heads, table, plan["note"])


# ---------------------------------------------------------------------------------------------------- panel data, sizes, simulation


def panel(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Deaths of known date, beside R's msm."""
    if options.data is None or not (options.data / "cav.csv").is_file():
        print("panel data: no folder with cav.csv of R's msm (--data DIR); left out\n")
        return []
    seen = panel_figures(heart_transplants(options.data))
    table = [["-2 log-likelihood at msm's starting rates", f"{seen.start:.4f}", f"{plan['start']:.4f}"],
             ["-2 log-likelihood at the optimum", f"{seen.optimum:.4f}", f"{plan['optimum']:.4f}"], ["CPU s of the fit", f"{seen.seconds:.2f}", None]]
    print(as_text(Table("Heart transplants: 622 patients, deaths of known date", ["figure", "trajlab", "msm's manual"], table)), "\n", flush=True)
    found["panel"] = {"start": seen.start, "optimum": seen.optimum, "seconds": seen.seconds, "q": seen.q.tolist()}
    lost = []
    for name, value in (("start", seen.start), ("optimum", seen.optimum)):
        if not abs(value - plan[name]) <= plan[f"{name}_tolerance"]:
            lost.append(f"panel, {name}: -2 log-likelihood {value:.4f} where {plan[name]:.4f} was wanted")
    return lost + ([] if seen.seconds <= plan["seconds"] else [f"panel: fit in {seen.seconds:.2f} CPU s where {plan['seconds']:g} was wanted"])


def sizes(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Many states: how long exact fits take."""
    lost = []
    for n in plan["states"][: 1 if options.quick else None]:
        case = large(n, plan["seed"])
        chosen = rows(False, options)
        few_rows = {name: chosen[name] for name in chosen if n <= 20 or name not in (MLE, NETWORK)}
        scores = shown(case, few_rows, found)
        for method in (MAP, AUTO):
            if not scores[method]["seconds"] <= plan["seconds"][str(n)]:
                lost.append(f"{case.name}, {method}: {scores[method]['seconds']:.2f} CPU s where {plan['seconds'][str(n)]:g} was wanted")
    return lost


def simulator(plan: Mapping[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Paths a second."""
    counts = {way: min(plan[way], QUICK["paths"]) if options.quick else plan[way] for way in ("with", "without")}
    rates = simulated_rates(counts, plan["seed"])
    fastest = max(r.cpu for r in rates.values())
    note = ("Six states, 21 jumps and 100 looks a path, regular looks; CPU seconds of all threads. The fastest would take "
            f"{13.5e6 / fastest:.0f} CPU s for 13.5 million paths, 300 of each of 45 000 processes.")
    table = [[name, r.paths, f"{r.cpu:,.0f}", f"{r.wall:,.0f}"] for name, r in rates.items()]
    heads = ["method", "paths", "paths a CPU second", "paths a second"]
    print(as_text(Table(f"Simulation, seed {plan['seed']}", heads, table, note)), "\n", flush=True)
    found["simulator"] = {name: vars(r) for name, r in rates.items()}
    best = {way: max(r.cpu for name, r in rates.items() if name.endswith(way)) for way in plan["bars"]}
    return [f"simulator, {way}: {best[way]:,.0f} paths a CPU second where {bar:,} were wanted" for way, bar in plan["bars"].items()
            if not best[way] >= bar]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


PARTS = {"ratchet": ratchet, "flips": flips, "few": few, "suite": suite, "panel": panel, "simulator": simulator, "network": network, "sizes": sizes,
         "intervals": intervals}


if __name__ == "__main__":
    sys.exit(main())
