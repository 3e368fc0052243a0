"""Couplings of large snapshots: seconds, memory and marginal errors against bars, each case in a process of its own.

    python benchmarks/cells_scale.py                 # all cases, about three minutes
    python benchmarks/cells_scale.py exact-2000      # these alone
    python benchmarks/cells_scale.py --seed 1

Populations are mixtures of twelve clusters in 50 dimensions whose scales fall like those of principal components; from one snapshot to the next the
clusters move. A case couples the intervals between five snapshots, one after the other. Peak memory is the largest resident set of the process, the
interpreter and libraries (about 0.25 GB) and the populations with it. Where exact transport can be run, on a subsample of 5,000 cells a snapshot, the
mean cost of the case's method there is given over the exact one: the price of the method. Exit status 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

DIM, SNAPSHOTS, CLUSTERS, TOLERANCE = 50, 5, 12, 1e-3
SUBSAMPLE = 5000


@dataclass(frozen=True)
class Case:
    """Snapshots of so many cells by one method.

    Attributes:
        cells: of a snapshot.
        method: as for `couple`.
        warm: temperature over the mean within-cluster squared distance; None: unregularised.
        memory: what couple is allowed.
        seconds, gigabytes: the bars.
        even: equal weights.
    """

    cells: int
    method: str
    warm: float | None
    memory: str
    seconds: float
    gigabytes: float
    even: bool = True


CASES = {
    "exact-2000": Case(2000, "auto", None, "1.5GB", 60, 2),
    "sinkhorn-2000": Case(2000, "auto", 0.2, "1.5GB", 60, 2),
    "weighted-2000": Case(2000, "auto", None, "1.5GB", 60, 2, even=False),
    "meta-20000": Case(20_000, "auto", None, "4GB", 300, 6),
    "entropic-20000": Case(20_000, "auto", 0.2, "4GB", 300, 6),
    "weighted-20000": Case(20_000, "auto", 0.2, "4GB", 300, 6, even=False),
    "minibatch-20000": Case(20_000, "minibatch", None, "4GB", 300, 6),
}


def populations(cells: int, seed: int) -> tuple:
    """Snapshots ``[cell dim]``, float32, and the mean squared distance within a cluster."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, DIM + 1) ** -0.5
    centre, move = (3 * torch.randn(CLUSTERS, DIM, generator=generator) for _ in range(2))
    snapshots = []
    for k in range(SNAPSHOTS):
        kind = torch.randint(CLUSTERS, (cells,), generator=generator)
        snapshots.append((centre[kind] + 0.2 * k * move[kind] + torch.randn(cells, DIM, generator=generator)) * scale)
    return snapshots, 2 * float(scale.square().sum())


def run(name: str, seed: int) -> dict:
    """One case, in this process."""
    import torch

    from trajlab.couplings.chosen import CoupleConfig, couple

    torch.set_num_threads(1)
    case = CASES[name]
    snapshots, within = populations(case.cells, seed)
    generator = torch.Generator().manual_seed(seed)
    weights = [None if case.even else torch.rand(case.cells, generator=generator) + 0.5 for _ in snapshots]
    temperature = None if case.warm is None else case.warm * within
    config = CoupleConfig(seed=seed, tolerance=TOLERANCE)
    began, cpu, errors, costs, why = time.monotonic(), time.process_time(), [], [], ""
    for x, y, a, b in zip(snapshots, snapshots[1:], weights, weights[1:]):
        plan = couple(x, y, a, b, temperature=temperature, memory=case.memory, method=case.method, config=config)
        plan.sample(10_000, generator)
        errors.append(plan.marginal_error)
        costs.append(plan.mean_cost(x, y))
        method, why = plan.found.method, plan.found.why
    return {"case": name, "method": method, "why": why, "seconds": time.monotonic() - began, "cpu": time.process_time() - cpu,
            "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, "error": max(errors), "cost": sum(costs) / len(costs)}


def price(method: str, seed: int) -> float:
    """Mean cost of a method over the exact one, on one interval of SUBSAMPLE cells."""
    from trajlab.couplings.chosen import CoupleConfig, couple

    (x, y, *_), _ = populations(SUBSAMPLE, seed)
    best = couple(x, y, method="exact").mean_cost(x, y)
    return couple(x, y, method=method, config=CoupleConfig(seed=seed)).mean_cost(x, y) / best


def scale(names: list[str] | None = None, seed: int = 0, prices: bool = True) -> int:
    """All cases or these, each in a fresh process; prints a table and returns the exit status."""
    bad = [name for name in names or [] if name not in CASES]
    if bad:
        raise SystemExit(f"no case {bad[0]!r}; there are: {', '.join(CASES)}")
    print(f"{SNAPSHOTS} snapshots of {DIM} dimensions, seed {seed}; bars in brackets")
    print(f"{'case':17} {'method':11} {'seconds':>14} {'CPU s':>7} {'peak GB':>12} {'marginal error':>15} {'mean cost':>10}")
    missed = False
    for name in names or CASES:
        row, case = _apart("--case", name, seed), CASES[name]
        miss = row["seconds"] > case.seconds or row["gigabytes"] > case.gigabytes or row["error"] > TOLERANCE
        missed |= miss
        took, held = f"{row['seconds']:.1f} [{case.seconds:g}]", f"{row['gigabytes']:.2f} [{case.gigabytes:g}]"
        print(f"{name:17} {row['method']:11} {took:>14} {row['cpu']:7.1f} {held:>12} {row['error']:15.1e} {row['cost']:10.3f}" + "  MISSED" * miss,
              flush=True)
    for method in ("meta_cells", "minibatch", "low_rank") if prices and not names else ():
        print(f"mean cost of {method} over the exact one, {SUBSAMPLE} cells: {_apart('--price', method, seed)['price']:.3f}", flush=True)
    return int(missed)


def _apart(what: str, name: str, seed: int) -> dict:
    """The last line of a fresh process, as JSON."""
    done = subprocess.run([sys.executable, __file__, what, name, "--seed", str(seed)], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed with status {done.returncode}; its message stands above")
    return json.loads(done.stdout.splitlines()[-1])


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="cases; all where none is given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--price", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.case or options.price:
        print(json.dumps(run(options.case, options.seed) if options.case else {"price": price(options.price, options.seed)}))
        return 0
    return scale(options.names, options.seed)


if __name__ == "__main__":
    sys.exit(main())
