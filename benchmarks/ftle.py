"""FTLE of the double gyre, 401 x 201 points over T = 10: accuracy, exact laws, and CPU time beside numbacs where that is installed.

    python benchmarks/ftle.py                          # under a minute
    python benchmarks/ftle.py --picture ridges.png     # FTLE with its ridges, there (default: runs/)
    python benchmarks/ftle.py --pictures docs/pictures # the pictures of the how-to page
    python benchmarks/ftle.py --peer VENV/bin/python   # the interpreter that has numbacs, if another one

The reference integrates the tangent map with 8 times the steps. numbacs (0.2.0) needs a Fortran compiler to install, and is measured in a process of
its own: its default DOP853 flow map and FTLE from differences on the main grid. All times are CPU seconds of one thread, medians of 3 runs
after one to warm up. The exit status is 1 where a bar is missed; the bar on time applies where numbacs could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np

from trajlab.dynamics.flow_maps import FlowMap, flow_map
from trajlab.dynamics.ftle import exponents, ftle, ridges
from trajlab.evaluate.bars import Bar, as_text, bar_table, missed
from trajlab.evaluate.cache import write_json
from trajlab.evaluate.results import Table
from trajlab.metrics.uncertainty import Estimate
from trajlab.report.flow_pictures import Panel, draw
from trajlab.sources.flows import flow

HERE = Path(__file__).resolve().parent
STEPS, FINER, RUNS = 50, 8, 3
BARS = [Bar("99th percentile of the error", at_most=1e-3), Bar("forward against mirrored backward", at_most=1e-9),
        Bar("largest |det DF - 1| of the reference", at_most=1e-6), Bar("CPU over numbacs", at_most=1.5)]


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=401, help="along x (401); half as many along y")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the Runge-Kutta method ({STEPS})")
    parser.add_argument("--picture", type=Path, metavar="FILE", default=HERE.parent / "runs" / "ftle-ridges.png")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw the pictures of the how-to page instead")
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON", help="an interpreter with numbacs")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "ftle.json")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    if options.pictures:
        import ftle_pictures

        ftle_pictures.draw_all(options.pictures)
        return 0
    gyre = flow("double_gyre")
    axes = gyre.axes(options.points)
    found, seconds = timed(lambda: flow_map(gyre, axes, steps=options.steps, workers=1))
    field = exponents(found)
    finer = flow_map(gyre, axes, steps=FINER * options.steps)
    reference = exponents(finer)
    backward = flow_map(gyre, axes, 0.0, -gyre.duration, steps=options.steps)
    error = np.abs(field - reference)
    figures = {
        "99th percentile of the error": float(np.quantile(error, 0.99)),
        "forward against mirrored backward": float(np.abs(field - exponents(backward)[::-1, ::-1]).max()),
        "largest |det DF - 1| of the reference": float(np.abs(finer.volume - 1.0).max()),
    }
    peer = numbacs(options, len(axes[0]), len(axes[1]), gyre.duration)
    bars = BARS if peer else BARS[:3]
    if peer:
        figures["CPU over numbacs"] = seconds / peer[1]
    print(as_text(contenders(axes, field, reference, seconds, options.steps, peer)), "\n")
    estimates = {name: Estimate(value, float("nan")) for name, value in figures.items()}
    print(as_text(bar_table(bars, {"trajlab": estimates}, "trajlab", "Bars")), "\n")
    if not peer:
        print("numbacs is not installed for this interpreter and was not measured; --peer names another one\n")
    draw_ridges(options.picture, found, backward)
    spent = {"trajlab": seconds, "numbacs": peer and peer[1]}
    write_json(options.out, {"CPU seconds": spent, "figures": figures, "largest error": float(error.max()),
                             "points": [len(a) for a in axes], "steps": options.steps, "versions": versions()})
    print(f"picture: {options.picture}\nfigures: {options.out}\n")
    lost = missed(bars, estimates)
    print("\n".join(["missed:", *lost]) if lost else "every bar is reached")
    return 1 if lost else 0


def timed(call: Callable[[], FlowMap]) -> tuple[FlowMap, float]:
    """The result, and the median of the CPU seconds after a run to warm up."""
    found, spent = call(), []
    for _ in range(RUNS):
        began = time.process_time()
        found = call()
        exponents(found)
        spent.append(time.process_time() - began)
    return found, statistics.median(spent)


def numbacs(options: argparse.Namespace, nx: int, ny: int, duration: float) -> tuple[np.ndarray, float] | None:
    """FTLE field and CPU seconds of numbacs, or None where it is not installed."""
    there = subprocess.run([options.peer, "-c", "import numbacs"], capture_output=True, check=False)
    if there.returncode:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "field.npy"
        command = [options.peer, str(HERE / "ftle_peer.py"), str(nx), str(ny), str(duration), str(RUNS), str(file)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"NUMBA_NUM_THREADS": "1"})
        return np.load(file), statistics.median(json.loads(told.stdout.splitlines()[-1])["seconds"])


def contenders(axes: tuple[np.ndarray, ...], field: np.ndarray, reference: np.ndarray, seconds: float, steps: int,
               peer: tuple[np.ndarray, float] | None) -> Table:
    """Fields against the reference; points at the border are left out, where differences on the grid have none."""
    gyre = flow("double_gyre")
    rows = [_row(f"trajlab: tangent, {steps} steps", field, reference, seconds)]
    rows.append(_row(f"trajlab: cross, {steps} steps", ftle(gyre, axes, steps=steps, by="cross"), reference, None))
    rows.append(_row(f"trajlab: main grid, {steps} steps", ftle(gyre, axes, steps=steps, by="grid"), reference, None))
    if peer:
        rows.append(_row("numbacs: main grid, DOP853", peer[0], reference, peer[1]))
    heads = ["field", "CPU s", "median error", "99th percentile", "largest", "highest value / reference"]
    return Table(f"Double gyre, {len(axes[0])} x {len(axes[1])}, T = {gyre.duration:g}: FTLE against the refined tangent map", heads, rows,
                 "Interior points, two from the border; CPU seconds of one thread.")


def _row(name: str, field: np.ndarray, reference: np.ndarray, seconds: float | None) -> list[float | str | None]:
    inner = (slice(2, -2), slice(2, -2))
    error, high = np.abs(field - reference)[inner], field[inner].max() / reference[inner].max()
    return [name, seconds, float(np.median(error)), float(np.quantile(error, 0.99)), float(error.max()), float(high)]


def draw_ridges(path: Path, forward: FlowMap, backward: FlowMap) -> None:
    panels = [Panel(title, found.axes, exponents(found), "FTLE", points=ridges(found).points)
              for title, found in (("Forward: ridges repel", forward), ("Backward: ridges attract", backward))]
    draw(path, panels)


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("trajlab", "numpy", "numba")} | {"python": sys.version.split()[0]}


if __name__ == "__main__":
    sys.exit(main())
