"""Bridges between snapshots of cells: systems whose law is known, and embryoid bodies with one time left out, beside peers, null models and floors.

    python benchmarks/cells.py             # everything but --scale; a few minutes on one thread
    python benchmarks/cells.py --quick     # one seed, no trained peers, 5 components
    python benchmarks/cells.py --known     # the known systems alone
    python benchmarks/cells.py --embryoid  # the embryoid bodies alone
    python benchmarks/cells.py --scale     # seconds and memory of couplings of 10 000 and 100 000 cells instead
    python benchmarks/cells.py --data DIR  # where the published files are; downloaded where left out and not found

Known systems: even snapshots are fitted, odd ones are predicted by 400 paths. Embryoid bodies: 2750 cells, 550 at each of five times, each principal
component standardised over all cells (held-out ones included, as published tables do); every inner time is left out in turn and predicted from the
others. W1 is the mean Euclidean transport cost, W2 the root of the mean squared cost. Seconds are CPU seconds of one thread. The exit status is 1
where a bar of ``cells.toml`` is missed; figures go to ``benchmarks/results/cells.json``.

What was tuned on what: volatilities of the known systems are those of their simulation (of the published fit for the vortices), iterations are fixed
beforehand. The bridge's default spread of 0.2 is one of four (0.1, 0.2, 0.3, 0.5) compared on these embryoid bodies in 5 components; its predictions
by means hardly depend on it: with a Brownian reference they are exact transport at the fraction of the clock. Which clock is taken is chosen by the
snapshots that are seen: here always the plain one, since smooth progress by transport cost ("exact_ot, progress") is nearer at the first time left
out and farther at the third. Training lengths of the nets are those of a few CPU seconds, not tuned to this table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import tomllib
import warnings
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch

from trajlab.catalog import load
from trajlab.evaluate.bars import as_text
from trajlab.evaluate.cache import write_json
from trajlab.evaluate.cells import HeldOut, held_out_table, leave_one_out, means
from trajlab.evaluate.cells_bridge import BridgePrediction
from trajlab.evaluate.cells_mechanistic import KnownSystem, Refined, refined
from trajlab.evaluate.results import Table
from trajlab.models import SNAPSHOT_METHODS
from trajlab.models.time_warp import TimeWarp
from trajlab.sources.lotka_volterra import RECIPE as LV
from trajlab.sources.lotka_volterra import lotka_volterra
from trajlab.sources.repressilator import RECIPE as REPRESSILATOR
from trajlab.sources.repressilator import repressilator
from trajlab.sources.snapshot_vortex import RECIPE as VORTEX
from trajlab.sources.snapshot_vortex import snapshot_vortex
from trajlab.sources.snapshots_cells import cell_snapshots

HERE = Path(__file__).resolve().parent
BESIDE = HERE.parents[1] / "shared" / "data" / "cells"
DEFAULT = "Schrodinger bridge, means (default)"
EXACT = "exact_ot"


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, no trained peers, 5 components")
    parser.add_argument("--known", action="store_true", help="the known systems alone")
    parser.add_argument("--embryoid", action="store_true", help="the embryoid bodies alone")
    parser.add_argument("--scale", action="store_true", help="large couplings instead")
    parser.add_argument("--data", type=Path, default=BESIDE if BESIDE.is_dir() else None, metavar="DIR", help="folder of the published files")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "cells.json")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    torch.set_num_threads(1)
    if options.scale:
        import cells_scale

        return int(cells_scale.main([]))
    plan = tomllib.loads((HERE / "cells.toml").read_text())
    began, found = time.process_time(), {"versions": versions()}
    parts = [part for part, chosen in ((known, options.known), (embryoid, options.embryoid)) if chosen] or [known, embryoid]
    lost = [line for part in parts for line in part(plan, options, found)]
    if len(parts) == 2 and not options.quick:
        write_json(options.out, found)
        print(f"figures: {options.out}")
    print(f"{time.process_time() - began:.0f} CPU s\n")
    print("\n".join(["missed:", *lost]) if lost else "every bar is reached")
    return 1 if lost else 0


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("trajlab", "torch", "POT")} | {"python": sys.version.split()[0]}


# ----------------------------------------------------------------------------------------------------------------- known systems


def systems(plan: dict[str, Any], options: argparse.Namespace) -> list[tuple[str, int, KnownSystem]]:
    """What is fitted: name in the file of bars, seed, system; the published cells first, then cells simulated to the same recipe."""
    made = {"lotka_volterra": lambda s: lotka_volterra(_seeded(LV, s)), "repressilator": lambda s: repressilator(_seeded(REPRESSILATOR, s)),
            "vortex": lambda s: snapshot_vortex(_seeded(VORTEX, s))}
    seeds, found = plan["quick_seeds" if options.quick else "seeds"], []
    for name, own in plan["systems"].items():
        build = lambda title, cells, own=own: KnownSystem(  # noqa: E731
            title, cells, own["family"], own["sigma"], own["iterations"], {k: tuple(v) for k, v in own.get("bands", {}).items()})
        found.append((name, seeds[0], build(f"{name}, published cells", cell_snapshots(own["published"], options.data))))
        found += [(name, seed, build(f"{name}, simulated", made[name](seed + 1))) for seed in (seeds if name in made else [])]
    return found


def _seeded(recipe: Any, seed: int) -> Any:
    from dataclasses import replace

    return replace(recipe, seed=seed)


def known(plan: dict[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Refined against Brownian bridges, parameters against their bands."""
    rows: list[list[Any]] = []
    runs: dict[tuple[str, str], list[Refined]] = {}
    found["known"] = []
    for name, seed, system in systems(plan, options):
        one = refined(system, seed=seed)
        runs.setdefault((name, system.name), []).append(one)
        parameters = ", ".join(f"{key} {value:.3g}" for key, value in one.parameters.items())
        rows.append([system.name, seed, one.w1, fmean(s.w2 for s in one.refined), one.w1 / one.ratio, one.ratio, parameters,
                     one.iterations, one.seconds])
        found["known"].append({"name": system.name, "seed": seed, "w1": [s.w1 for s in one.refined], "w2": [s.w2 for s in one.refined],
                               "brownian w1": [s.w1 for s in one.brownian], "parameters": dict(one.parameters), "seconds": one.seconds})
    heads = ["system", "seed", "mean W1", "mean W2", "Brownian W1", "ratio", "parameters", "iterations", "CPU s"]
    note = ("Odd snapshots, 400 paths each. The published vortices are particles in the velocity field of an ocean model; the simulated one follows "
            "an elliptic linear field. Of simulated cells the bars hold for W1 averaged over the seeds, and for the parameters of each.")
    print(as_text(Table("Known systems: bridges with a refined reference", heads, rows, note)), "\n")
    return [line for (name, _), group in runs.items() for line in missed(group, plan["systems"][name])]


def missed(group: list[Refined], bars: dict[str, Any]) -> list[str]:
    """Bars that a system misses: each seed's parameters and seconds, and the means of W1 and of the ratio over the seeds."""
    where = group[0].system.name
    lost = [f"{where}: {line}" for one in group for line in one.outside]
    w1, ratio, seconds = fmean(one.w1 for one in group), fmean(one.ratio for one in group), max(one.seconds for one in group)
    if not w1 <= bars["w1"]:
        lost.append(f"{where}: mean W1 {w1:.3f} where at most {bars['w1']:g} was wanted")
    if not ratio <= bars.get("ratio", float("inf")):
        lost.append(f"{where}: {ratio:.2f} of the Brownian bridge's W1 where at most {bars['ratio']:g} was wanted")
    if not seconds <= bars["seconds"]:
        lost.append(f"{where}: {seconds:.1f} CPU s where at most {bars['seconds']:g} were wanted")
    return lost


# --------------------------------------------------------------------------------------------------------------- embryoid bodies


def methods(plan: dict[str, Any], trained: bool) -> dict[str, Any]:
    """Makers of the rows by name: ours first."""
    ours = {DEFAULT: BridgePrediction, "Schrodinger bridge, paths": lambda: BridgePrediction(noise=True), "exact_ot, warped time": TimeWarp,
            "exact_ot, progress": lambda: TimeWarp(clock="progress")}
    names = [*plan["transport"], *plan["null"], *(plan["trained"] if trained else [])]
    return ours | {name: load(SNAPSHOT_METHODS[name]) for name in names}


def embryoid(plan: dict[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """One time left out, in 5, 20 and 50 components."""
    lost: list[str] = []
    found["embryoid"] = {}
    dimensions = plan["dimensions"][:1] if options.quick else plan["dimensions"]
    for dim in dimensions:
        cells = cell_snapshots("embryoid", options.data, components=dim, standardise=True)
        scores = leave_one_out(cells, methods(plan, dim == dimensions[0] and not options.quick), say=_say)
        title = f"Embryoid bodies, {dim} principal components: one time left out, seed 0"
        print(as_text(held_out_table(scores, cells, title)), "\n")
        found["embryoid"][str(dim)] = [json.loads(json.dumps(vars(score))) for score in scores]
        lost += judged(dim, scores, plan["embryoid"])
    return lost


def judged(dim: int, scores: list[HeldOut], bars: dict[str, Any]) -> list[str]:
    """Bars that the embryoid bodies miss."""
    mine, exact, lost = means(scores, DEFAULT)[0], means(scores, EXACT)[0], []
    if dim == 5:
        folds = sorted((s.index, s.w1) for s in scores if s.method == EXACT)
        off = max(abs(w - wanted) for (_, w), wanted in zip(folds, bars["exact"]))
        if not off <= bars["exact_tolerance"]:
            lost.append(f"exact transport is {off:.4f} off the known distances, {bars['exact_tolerance']:g} was wanted: not the published protocol")
        if not mine <= bars["w1"]:
            lost.append(f"embryoid bodies, 5 components: mean W1 {mine:.3f} where at most {bars['w1']:g} was wanted")
        spent = sum(s.seconds for s in scores if s.method == DEFAULT)
        if not spent <= bars["seconds"]:
            lost.append(f"embryoid bodies, 5 components: {spent:.0f} CPU s where at most {bars['seconds']:g} were wanted")
    if dim == 50 and not mine <= bars["w1_50"]:
        lost.append(f"embryoid bodies, 50 components: mean W1 {mine:.3f} where at most {bars['w1_50']:g} was wanted")
    if not mine <= bars["over_exact"] * exact:
        lost.append(f"embryoid bodies, {dim} components: mean W1 {mine:.3f} is {mine / exact:.3f} of exact transport's, where {bars['over_exact']:g} "
                    "was wanted")
    return lost


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    sys.exit(main())
