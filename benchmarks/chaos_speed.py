"""How fast ensembles of chaotic systems are made, beside scipy and beside dysts, on one thread; all times are CPU seconds.

    python benchmarks/chaos_speed.py             # everything; a few minutes
    python benchmarks/chaos_speed.py --part all  # all systems, cold and warm, alone; or scipy, or dysts
    python benchmarks/chaos_speed.py --seed 7    # other starts

1. All 129 ordinary differential equations, 12 starts x 1,200 points, 100 a period, tolerances 1e-9, in a fresh process that finds no compiled code:
   with compilation (cold), and once more (warm).
2. scipy's DOP853 at the same tolerances and points, over the compiled right-hand sides of dysts; both for one trajectory; median over 10 systems.
   Over the first period the trajectories are compared with scipy's at the same tolerances, which must agree, and at 1e-12, which tells the error.
3. dysts' own generator with its defaults (Radau, 1e-12), over 60 points of its compiled right-hand sides, scaled to 1,200 points: an extrapolation.

The exit status is 1 where a bar is missed. Orbits of a few systems leave for infinity now and then whatever the tolerance
(`trajlab.sources.chaos_names.ESCAPING`); they are told and do not count; any other trajectory that ends early does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from trajlab.evaluate.bars import Bar, as_text, missed
from trajlab.evaluate.cache import write_json
from trajlab.evaluate.results import Table
from trajlab.metrics.uncertainty import Estimate
from trajlab.sources.chaos import ChaoticSystem, chaos, names
from trajlab.sources.chaos_names import ESCAPING
from trajlab.sources.chaos_starts import starts

HERE = Path(__file__).resolve().parent
STARTS, POINTS, PER_PERIOD, TOLERANCE = 12, 1200, 100, 1e-9
BESIDE = ("Lorenz", "Rossler", "Chen", "Halvorsen", "Thomas", "Aizawa", "HyperRossler", "Lorenz84", "NoseHoover", "DoublePendulum")
EXTRAPOLATED, SHORT = ("Lorenz", "Rossler", "Chen", "Thomas", "DoublePendulum", "Aizawa"), 60
BARS = (
    Bar("warm", at_most=5.0, unit="s"), Bar("cold", at_most=90.0, unit="s"), Bar("ended early", at_most=0.0),
    Bar("scipy / trajlab", at_least=50.0), Bar("difference from scipy", at_most=1e-9),
)


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("all", "scipy", "dysts"), help="one part alone")
    parser.add_argument("--seed", type=int, default=0, help="of the starts (0)")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "chaos_speed.json")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    if options.child:
        print(json.dumps(every_system(options.seed)))
        return 0
    parts = {"all": part_all, "scipy": part_scipy, "dysts": part_dysts}
    found: dict[str, Any] = {}
    told: dict[str, Any] = {"seed": options.seed, "versions": {n: version(n) for n in ("trajlab", "dysts", "scipy", "numba", "numpy")}}
    for name, part in parts.items():
        if options.part in (None, name):
            told[name] = part(options.seed, found)
            print()
    lost = missed([bar for bar in BARS if options.part is None or bar.figure in found], found)
    print("\n".join(f"{bar.figure}: {found[bar.figure]} (bar: {bar.limit})" for bar in BARS if bar.figure in found))
    if options.part is None:
        write_json(options.out, told | {"figures": {name: value.value for name, value in found.items()}})
        print(f"figures: {options.out}")
    print("\n".join(["missed:", *lost]) if lost else "every bar is reached")
    return 1 if lost else 0


def plain(value: float) -> Estimate:
    return Estimate(value, float("nan"))


def cpu(call: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """The least CPU seconds of a few calls, and what the last one gave."""
    least, value = float("inf"), None
    for _ in range(repeats):
        began = time.process_time()
        value = call()
        least = min(least, time.process_time() - began)
    return least, value


# ------------------------------------------------------------------------------------------------------------------- all systems


def made(system: ChaoticSystem, seed: int, n: int = STARTS, tolerance: float = TOLERANCE) -> Any:
    return system.trajectories(n, POINTS, PER_PERIOD, transient=0, seed=seed, rtol=tolerance, atol=tolerance, failed="mask")


def every_system(seed: int, which: list[str] | None = None) -> dict[str, Any]:
    """Each system first and again: seconds of compilation, of a second run, rows that ended early, or the error."""
    return {"systems": {name: twice(name, seed) for name in which or names("ode")}, "cpu": time.process_time()}


def twice(name: str, seed: int) -> dict[str, Any]:
    try:
        system = chaos(name)
        first, _ = cpu(lambda: made(system, seed))
        again, found = cpu(lambda: made(system, seed))
    except (ValueError, ArithmeticError, TypeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"first": first, "again": again, "early": (~found.mask.all(1)).nonzero().flatten().tolist()}


def part_all(seed: int, found: dict[str, Estimate]) -> dict[str, Any]:
    """In a process of its own, with an empty folder for compiled code."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        command = [sys.executable, str(Path(__file__).resolve()), "--child", "--seed", str(seed)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the process that makes all systems failed:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    systems = told["systems"]
    good = {name: row for name, row in systems.items() if "error" not in row}
    warm = sum(row["again"] for row in good.values())
    slowest = sorted(good, key=lambda name: -good[name]["again"])[:10]
    rows = [[name, 1e3 * good[name]["again"], good[name]["first"] - good[name]["again"]] for name in slowest]
    title = f"{len(systems)} systems, {STARTS} starts x {POINTS} points at {TOLERANCE:g}: the slowest"
    print(as_text(Table(title, ["system", "ms for all starts", "s of compilation"], rows)))
    bad = [f"{name}: {row['error']}" for name, row in systems.items() if "error" in row]
    bad += [f"{name}: rows {row['early']} ended early" for name, row in good.items() if row["early"] and name not in ESCAPING]
    print("\n".join([*bad, *(f"{name}: rows {row['early']} left for infinity, as some of its orbits do"
                             for name, row in good.items() if row["early"] and name in ESCAPING)]))
    found |= {"warm": plain(warm), "cold": plain(told["cpu"] - warm), "ended early": plain(float(len(bad)))}
    return systems


# ------------------------------------------------------------------------------------------------------------------------- scipy


def catalogue(name: str) -> Any:
    """The system as dysts has it, its right-hand side compiled."""
    from dysts import flows

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(flows, name)()
    theirs.rhs(theirs.ic, 0.0)
    if theirs.has_jacobian():
        theirs.jac(theirs.ic, 0.0)
    return theirs


def by_scipy(theirs: Any, x0: np.ndarray, times: np.ndarray, tolerance: float) -> np.ndarray:
    from scipy.integrate import solve_ivp

    return solve_ivp(lambda t, x: theirs.rhs(x, t), (times[0], times[-1]), x0, "DOP853", times, rtol=tolerance, atol=tolerance).y.T


def beside(name: str, seed: int) -> dict[str, Any]:
    """One system by trajlab and by scipy."""
    system, theirs = chaos(name), catalogue(name)
    times, x0 = system.period / PER_PERIOD * np.arange(POINTS), starts(system.start, STARTS, seed)[0]
    made(system, seed)
    ours, _ = cpu(lambda: made(system, seed), 5)
    scipy, same = cpu(lambda: by_scipy(theirs, x0, times, TOLERANCE), 2)
    raw = system.trajectories(1, POINTS, PER_PERIOD, transient=0, seed=seed, raw=True).x[0].numpy()
    first = slice(PER_PERIOD + 1)
    exact = by_scipy(theirs, x0, times[first], 1e-12)
    apart, error = (float(np.abs(raw[first] - other[first]).max() / np.abs(exact).max()) for other in (same, exact))
    return {"system": name, "ours": ours / STARTS, "scipy": scipy, "ratio": scipy / ours * STARTS, "apart": apart, "error": error}


def part_scipy(seed: int, found: dict[str, Estimate], which: tuple[str, ...] = BESIDE) -> list[dict[str, Any]]:
    told = [beside(name, seed) for name in which]
    rows = [[r["system"], 1e3 * r["ours"], 1e3 * r["scipy"], r["ratio"], r["apart"], r["error"]] for r in told]
    columns = ["system", "trajlab ms", "scipy ms", "ratio", "from scipy", "from 1e-12"]
    note = "Last columns: largest difference over the first period, over the largest component; scipy's at the same tolerance, and at 1e-12."
    print(as_text(Table(f"DOP853 at {TOLERANCE:g}, {POINTS} points, for one trajectory", columns, rows, note)))
    found |= {"scipy / trajlab": plain(float(np.median([r["ratio"] for r in told]))), "difference from scipy": plain(max(r["apart"] for r in told))}
    return told


# ------------------------------------------------------------------------------------------------------------------------- dysts


def extrapolated(name: str, seed: int) -> dict[str, Any]:
    """One system by trajlab and, on a short stretch, by dysts."""
    system, theirs = chaos(name), catalogue(name)
    made(system, seed, tolerance=1e-12)
    ours, _ = cpu(lambda: made(system, seed, tolerance=1e-12), 3)
    short, _ = cpu(lambda: theirs.make_trajectory(SHORT, pts_per_period=PER_PERIOD))
    return {"system": name, "ours": ours / STARTS, "dysts": short * POINTS / SHORT, "ratio": short * POINTS / SHORT / ours * STARTS}


def part_dysts(seed: int, found: dict[str, Estimate], which: tuple[str, ...] = EXTRAPOLATED) -> list[dict[str, Any]]:
    told = [extrapolated(name, seed) for name in which]
    rows = [[r["system"], 1e3 * r["ours"], r["dysts"], r["ratio"]] for r in told]
    title = f"dysts with its defaults (Radau, 1e-12), extrapolated from {SHORT} to {POINTS} points, and trajlab at 1e-12, for one trajectory"
    print(as_text(Table(title, ["system", "trajlab ms", "dysts s", "ratio"], rows)))
    found["dysts (extrapolated) / trajlab"] = plain(float(np.median([r["ratio"] for r in told])))
    print(f"median ratio: {found['dysts (extrapolated) / trajlab'].value:.0f}")
    return told


if __name__ == "__main__":
    sys.exit(main())
