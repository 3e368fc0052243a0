"""What a reference configuration costs: ``python -m trajlab.sources.timing uracil copper --folder sgdml_models``.

CPU milliseconds of one energy-and-force call on one thread, divided by the batch, with positions that change from call to call.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from trajlab.dynamics.particles import Particles, Potential
from trajlab.sources import TABLE
from trajlab.sources.sampling import replicate
from trajlab.sources.simulate import build


def milliseconds(potential: Potential, start: Particles, batch: int, calls: int = 9) -> float:
    """The median CPU time of a configuration in a batch of ``batch`` replicas of ``start``, in ms, after one call to warm up."""
    generator = torch.Generator().manual_seed(0)
    p = replicate(start, batch)
    taken = []
    for _ in range(calls + 1):
        p = p.replace(x=p.x + 1e-3 * torch.randn(p.x.shape, generator=generator, dtype=p.x.dtype))
        began = time.process_time()
        potential(p)
        taken.append(time.process_time() - began)
    return 1e3 * sorted(taken[1:])[calls // 2] / batch


def table(names: Sequence[str], folder: str | Path | None = None, batches: Sequence[int] = (1, 16, 64)) -> str:
    """Lines of text: name, atoms and the milliseconds of a configuration in each batch size."""
    lines = [f"{'system':20s} {'atoms':>5s} " + " ".join(f"batch {b:>3d}" for b in batches) + "   (CPU ms per configuration, one thread)"]
    for name in names:
        potential, start = build(name, folder)
        lines.append(f"{name:20s} {len(start.x):5d} " + " ".join(f"{milliseconds(potential, start, b):9.3f}" for b in batches))
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(TABLE), help="systems of trajlab.sources.TABLE, or xtb:<molecule>")
    parser.add_argument("--folder", help="local model files instead of downloads")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(table(options.names, options.folder))
