"""Samplers side by side: error to the exact end and overhead a step, for trajlab and for diffusers, in one run.

    python benchmarks/samplers.py                  # tables, overhead, schedule search; a few minutes
    python benchmarks/samplers.py --orders         # slopes of convergence instead
    python benchmarks/samplers.py --search         # the schedule search alone
    python benchmarks/samplers.py --overhead       # the overhead alone
    python benchmarks/samplers.py --plots FOLDER   # and pictures; with --orders those of the slopes
    python benchmarks/samplers.py --seed 7         # other mixtures, other starts

Data are Gaussian mixtures, whose denoiser is known: a ring of 8 narrow modes in 2-D, and trajectories of 8 frames x 2 coordinates on 5 smooth
mean paths (16-D). Errors are medians over 256 starts of the L2 distance to the end of the exact probability-flow ODE at sigma = 0, from
the noise end of the DDPM-linear table of 1000 steps. Calls count evaluations of the denoiser, the last, denoising one included. States are
float32. The exit status is 1 where a bar of ``samplers.toml`` is missed; figures go to ``benchmarks/results/samplers.json``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import tomllib
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import samplers_peers as peers
import torch

from trajlab.catalog import find
from trajlab.evaluate import samplers as measure
from trajlab.evaluate.bars import as_text
from trajlab.evaluate.cache import write_json
from trajlab.evaluate.results import Table
from trajlab.paths.schedules import VPLinear, VPTable
from trajlab.samplers.evolution import EvolutionConfig
from trajlab.samplers.grids import uniform_lam
from trajlab.samplers.sample import DEFAULT
from trajlab.samplers.search import ScheduleSpace, search_schedule
from trajlab.samplers.solver import Solver
from trajlab.sources.mixtures import GaussianMixture

HERE = Path(__file__).resolve().parent
SHAPE, STEPS = (32, 20, 8, 3), 20  #: of the timed runs
STEPS_OF_ORDERS = (20, 40, 80, 160, 320)
CALLS_OF_SEARCH = 5
STARTS, FRESH = 256, 512  #: starts that are judged, and held-out ones of the search
DEFAULT_ROW = "DEFAULT = DEIS3 eps, uniform_lam"


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of mixtures and starts (0)")
    parser.add_argument("--orders", action="store_true", help="slopes of convergence instead of the tables")
    parser.add_argument("--search", action="store_true", help="the schedule search alone")
    parser.add_argument("--overhead", action="store_true", help="the overhead alone")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="save pictures there")
    parser.add_argument("--repeats", type=int, default=15, help="timed runs of each contender (15)")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "samplers.json")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    torch.set_num_threads(1)
    plan = tomllib.loads((HERE / "samplers.toml").read_text())
    began, found, lost = time.monotonic(), {"seed": options.seed, "versions": versions()}, []
    alone = [part for part, chosen in ((orders, options.orders), (search, options.search), (overhead, options.overhead)) if chosen]
    parts = alone[:1] or [errors, defaults, overhead, search]
    for part in parts:
        lost += part(plan, options, found)
    if not alone:
        write_json(options.out, found)
        print(f"\nfigures: {options.out}")
    print(f"{time.monotonic() - began:.0f} s on one thread\n")
    print("\n".join(["missed:", *lost]) if lost else "every bar is reached")
    return 1 if lost else 0


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("trajlab", "torch", "diffusers")} | {"python": sys.version.split()[0]}


# ------------------------------------------------------------------------------------------------------------------------ errors


@cache
def problems(seed: int, count: int = 1) -> list[measure.Problem]:
    """``count`` fresh 16-D mixtures, and a ring with fresh weights."""
    g = torch.Generator().manual_seed(seed)
    ring = GaussianMixture.ring()
    fresh = GaussianMixture(ring.mean, ring.covariance, 0.5 + torch.rand(len(ring.mean), generator=g))
    flat = measure.Problem.make("2-D ring", fresh, VPTable(), g, STARTS)
    return [flat, *(measure.Problem.make("16-D trajectories", GaussianMixture.smooth_paths(g), VPTable(), g, STARTS) for _ in range(count))]


def rows_of(plan: dict[str, Any], path: Any) -> dict[str, tuple[Solver, str]]:
    """Solvers that follow the ODE on a table, by the name of their row, with their grid; the default first."""
    found = {DEFAULT_ROW: (DEFAULT, "uniform_lam")}
    for name, solver in measure.solvers().items():
        if measure.grid_for(solver, path, "uniform_lam", 20) is None or measure.draws(solver, path):
            continue
        grids = measure.GRIDS if name in plan["every_grid"] else ["uniform_lam"]
        found |= {f"{name}, {grid}": (solver, grid) for grid in grids}
    return found


def attempt(call: Callable[[], tuple[float, int]]) -> tuple[float | str, int]:
    """What a contender gives, or how it failed; a failure is shown in its row, never hidden."""
    try:
        return call()
    except Exception as error:  # whatever a peer raises belongs into its row
        return f"{type(error).__name__}: {error}"[:60], 0


def cell(value: float | str, made: int, calls: int) -> str:
    shown = value if isinstance(value, str) else f"{value:.3g}" if value < 1e6 else "not finite"
    return shown if made in (calls, 0) else f"{shown} ({made})"


def errors(plan: dict[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """The table of errors, trajlab above diffusers."""
    calls, rows = plan["calls"], rows_of(plan, VPTable())
    found["errors"] = {}
    for problem in problems(options.seed):
        table = {f"trajlab: {name}": [own(problem, solver, grid, n) for n in calls] for name, (solver, grid) in rows.items()}
        table |= {f"diffusers: {name}": [attempt(lambda: peers.error_of(peer, problem, n)) for n in calls]  # noqa: B023
                  for name, peer in peers.PEERS.items() if name not in peers.STOCHASTIC}
        note = "In brackets: calls made, where they are fewer. A dash: too few calls for the solver."
        shown = [[name, *(cell(value, made, n) for (value, made), n in zip(values, calls))] for name, values in table.items()]
        print(as_text(Table(f"{problem.name}: median distance to the exact clean end, by calls", ["sampler", *map(str, calls)], shown, note)), "\n")
        found["errors"][problem.name] = {name: [value for value, _ in values] for name, values in table.items()}
    adaptive(options, found)
    if options.plots:
        import samplers_plots

        samplers_plots.errors(options.plots, calls, found["errors"])
        samplers_plots.paths(options.plots, problems(options.seed)[0])
    return []


def own(problem: measure.Problem, solver: Solver, grid: str, calls: int) -> tuple[float | str, int]:
    nodes = measure.grid_for(solver, problem.path, grid, calls)
    return ("-", 0) if nodes is None else attempt(lambda: problem.error_of(solver, nodes))


def adaptive(options: argparse.Namespace, found: dict[str, Any]) -> None:
    """Solvers that have no table and draw no noise: they go their own way on a grid of ten steps."""
    flat, grid, rows = problems(options.seed), uniform_lam(VPTable(), 10), []
    for name, solver in measure.solvers().items():
        if measure.plan_of(solver, grid) is None and not measure.draws(solver, grid.path):
            rows.append([name, *(x for problem in flat for x in attempt(lambda: problem.error_of(solver, grid)))])  # noqa: B023
    heads = [x for problem in flat for x in (problem.name, "calls")]
    if rows:
        title, note = "Solvers without a table, on uniform_lam with ten steps", "Calls are those of the slowest sample."
        print(as_text(Table(title, ["sampler", *heads], rows, note)), "\n")
    found["without a table"] = rows


def defaults(plan: dict[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """The default against DDIM and DPM-Solver++(2M) at 10 calls, over several mixtures; the bars are for the worst."""
    rows, worst, calls = [], {"ddim": 0.0, "dpmpp_2m": 0.0}, 10
    known = measure.solvers()
    for number, problem in enumerate(problems(options.seed + 1, plan["mixtures"])[1:]):
        mine, _ = own(problem, DEFAULT, "uniform_lam", calls)
        rivals = {"ddim": [own(problem, known["ddim"], "uniform_t", calls)[0], peers.error_of(peers.PEERS["DDIM leading"], problem, calls)[0]],
                  "dpmpp_2m": [own(problem, known["dpmpp_2m"], "uniform_lam", calls)[0] if "dpmpp_2m" in known else float("inf"),
                               peers.error_of(peers.PEERS["DPM++2M lu"], problem, calls)[0]]}
        ratios = {name: float(mine) / min(map(float, values)) for name, values in rivals.items()}
        worst = {name: max(worst[name], ratio) for name, ratio in ratios.items()}
        rows.append([number + 1, mine, *rivals["ddim"], ratios["ddim"], *rivals["dpmpp_2m"], ratios["dpmpp_2m"]])
    heads = ["mixture", DEFAULT_ROW, "ddim, uniform_t", "DDIM leading", "ratio", "dpmpp_2m, uniform_lam", "DPM++2M lu", "ratio"]
    title = f"16-D, {calls} calls, fresh mixtures: the default against first order and against DPM-Solver++(2M)"
    print(as_text(Table(title, heads, rows, "Ratios are to the better of the two implementations.")), "\n")
    found["defaults"] = {"columns": heads, "rows": rows, "worst": worst}
    limits = {name: plan["bars"][name] for name in worst}
    return [f"error over that of {name}: {ratio:.3g} where at most {limits[name]} was wanted" for name, ratio in worst.items()
            if not ratio <= limits[name]]


# ---------------------------------------------------------------------------------------------------------------------- overhead


def overhead(plan: dict[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Microseconds a step beside a net that costs nothing."""
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(options.seed))
    grid = uniform_lam(VPTable(), STEPS)
    known = {name: solver for name, solver in measure.solvers().items() if measure.plan_of(solver, grid) is not None}
    runs = {f"trajlab: {name}": measure.bare_run(solver, grid, x) for name, solver in known.items()}
    runs |= {f"diffusers: {name}": peers.bare_run(peers.PEERS[name], STEPS, x) for name in peers.TIMED}
    spent = measure.medians(runs, options.repeats)
    # Like with like: a solver of second order does less than one of third.
    rivals = {order: 1e6 * spent[f"diffusers: {name}"] / STEPS for order, name in peers.RIVALS.items()}
    rows, lost, bars = [], [], plan["bars"]
    for name, seconds in spent.items():
        step, solver, shares = 1e6 * seconds / STEPS, known.get(name.removeprefix("trajlab: ")), {}
        if solver is not None and measure.is_multistep(solver, grid.path):
            order = "noise" if any(stage.noise for stage in solver.plan(grid).stages) else "2" if measure.looks_back(solver, grid.path) <= 2 else "3"
            shares[order] = step / rivals[order]
            lost += too_slow(name, step, order, shares[order], bars)
        rows.append([name, step, *(step / rival for rival in rivals.values()), peers.RIVALS[order] if shares else "",
                     "" if solver is None else planning(solver, grid)])
    note = ("CPU time of one thread, medians of runs taken in turns, net and noise for nothing. The table is made once for a grid, compiled code is "
            "loaded once a process; diffusers' set_timesteps is not counted either. Multistep solvers must keep within "
            f"{bars['step_us']:g} us and {bars['dpmpp_share']:g} of their rival: {peers.RIVALS['2']} for those that combine at most two predictions, "
            f"{peers.RIVALS['noise']} for those that add noise, {peers.RIVALS['3']} for others.")
    heads = ["sampler", "us a step", *(f"over {name}" for name in peers.RIVALS.values()), "rival", "table, us"]
    print(as_text(Table(f"Overhead on a float32 tensor of shape {SHAPE}, {STEPS} steps", heads, rows, note)), "\n")
    found["overhead"] = {row[0]: row[1] for row in rows}
    if options.plots:
        import samplers_plots

        samplers_plots.overhead(options.plots, found["overhead"])
    return lost


def too_slow(name: str, step: float, order: str, share: float, bars: dict[str, Any]) -> list[str]:
    """Bars that a multistep solver misses."""
    lost = []
    if not step <= bars["step_us"]:
        lost.append(f"{name}: {step:.1f} us a step where at most {bars['step_us']:g} was wanted")
    if not share <= bars["dpmpp_share"]:
        lost.append(f"{name}: {share:.3f} of diffusers' {peers.RIVALS[order]} where at most {bars['dpmpp_share']:g} was wanted")
    return lost


def planning(solver: Solver, grid: Any) -> float:
    """Microseconds that a table takes."""
    return 1e6 * measure.medians({"": lambda: lambda: solver.plan(grid)}, 3, 1)[""]


# ------------------------------------------------------------------------------------------------------------------------ orders


def orders(plan: dict[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Slopes in the last interval, against the orders of the file."""
    path, g = VPLinear(), torch.Generator().manual_seed(options.seed)
    mixture = GaussianMixture.ring(radial=0.3, tangential=0.3)
    problem = measure.Problem.make("ring", mixture, path, g, STARTS, float(path.level_at(1 - 0.02).lam))
    rows, lost, seen = [], [], {}
    for name, wanted in plan["orders"].items():
        try:
            solver = find(wanted.get("solver", name), "samplers")(**wanted.get("options", {}))
        except ValueError as error:
            lost.append(f"{name}: {error}")
            continue
        seen[name] = measure.convergence(problem, solver, wanted["grid"], STEPS_OF_ORDERS)
        order, due = measure.slope(seen[name], STEPS_OF_ORDERS), wanted.get("order")
        rows.append([name, wanted["grid"], *seen[name], order, due])
        if due is not None and not abs(order - due) <= plan["bars"]["order"]:
            lost.append(f"{name}: slope {order:.2f} where {due} within {plan['bars']['order']} was wanted")
    note = f"VP-linear from t = 0 to 0.98, {STARTS} starts, states float64, no denoising call; slope in the last interval."
    heads = ["solver", "grid", *map(str, STEPS_OF_ORDERS), "slope", "order"]
    print(as_text(Table("Convergence on a ring of 8 modes of width 0.3: mean distance to the exact ODE, by steps", heads, rows, note)), "\n")
    found["orders"] = {row[0]: row[-2] for row in rows}
    if options.plots:
        import samplers_plots

        samplers_plots.orders(options.plots, STEPS_OF_ORDERS, {n: e for n, e in seen.items() if "order" in plan["orders"][n]})
    return lost


# ------------------------------------------------------------------------------------------------------------------------ search


def search(plan: dict[str, Any], options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """A schedule of 5 calls searched on some starts, against every fixed solver on every grid, on others; mean distances."""
    rows, lost, g = [], [], torch.Generator().manual_seed(options.seed + 2)
    for name, mixture in (("2-D ring", GaussianMixture.ring()), ("16-D trajectories", GaussianMixture.smooth_paths(g))):
        seen = measure.Problem.make(name, mixture, VPTable(), g, STARTS)
        fresh = measure.Problem.make(name, mixture, VPTable(), g, FRESH)
        best = search_schedule(mixture.denoiser(seen.path), CALLS_OF_SEARCH, seen.start.float(), g, target=seen.end,
                               config=EvolutionConfig(**plan["search"]))
        mine = fresh.mean_of(best.solver, best.grid)
        rival, theirs = min(fixed(plan, fresh).items(), key=lambda item: item[1])
        rows.append([name, best.score, mine, rival, theirs, theirs / mine])
        if not theirs / mine >= plan["bars"]["search"]:
            lost.append(f"search, {name}: {theirs / mine:.2f} times better than {rival} where {plan['bars']['search']} was wanted")
        print(f"{name}, searched schedule (lam of the call: width, kind, order, estimate, corrector, scaling):")
        for lam, d in zip(best.grid.lam.tolist(), best.solver.decisions):
            print(f"  {lam:6.2f}: {d.width:.2f} {d.kind} {d.order} {d.estimate} {'corrected' if d.corrector else '-'} {d.scaling}")
    heads = ["data", "searched, its own samples", "searched, held-out", "best fixed", "held-out", "ratio"]
    note = "Best fixed: of all solvers on all grids, and of the seeds of the search, chosen on the held-out samples themselves."
    print("\n" + as_text(Table(f"Schedule search, {CALLS_OF_SEARCH} calls: mean distance to the exact clean end", heads, rows, note)), "\n")
    found["search"] = {"columns": heads, "rows": rows}
    return lost


def fixed(plan: dict[str, Any], problem: measure.Problem) -> dict[str, float]:
    """Mean distances of every solver that follows the ODE, on every grid, and of the fixed schedules that a search starts from."""
    found = {}
    for name, (solver, grid) in rows_of({**plan, "every_grid": measure.solvers()}, problem.path).items():
        nodes = measure.grid_for(solver, problem.path, grid, CALLS_OF_SEARCH)
        if nodes is not None:
            found[name] = problem.mean_of(solver, nodes)
    for number, seed in enumerate(ScheduleSpace(CALLS_OF_SEARCH).seeds()):
        found[f"seed {number} of the search"] = problem.mean_of(seed, seed.grid(problem.path))
    return found


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)  # diffusers tells at every run what its schedulers change
    sys.exit(main())
