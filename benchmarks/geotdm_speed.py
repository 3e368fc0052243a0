"""What the nets of GeoTDM cost: ``python benchmarks/geotdm_speed.py [--batch 1 4 8] [--repeats N]``.

Training step (forward, backward, Adam) and denoising step (forward) of the published EGTN, width 128 and 6 layers, on a molecule of the size of
aspirin (21 atoms, 180 edges, 10 given and 20 future frames), one thread, float32: our fast form against the layers written straight from
their equations with torch_geometric messages and pairwise temporal attention, with the same weights; and FrameChannels, our sibling that mixes frames
linearly, at its own size. Time is CPU time of the process (median of the repeats); memory is how far training steps raise the peak of resident
memory, each in a process of its own. Exit status 1 if the fast form is less than 1.5 times faster in training at any batch, or if
its output (positions of order one) differs from the plain one by more than 1e-5.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import torch
from geotdm_plain import PlainEGTN
from torch import Tensor, nn

from trajlab.nets.egtn import EGTN
from trajlab.nets.frame_channels import FrameChannels

ATOMS, EDGES, GIVEN, FUTURE, NODE, PAIR = 21, 180, 10, 20, 30, 4
NETS = {"plain": "EGTN, plain PyG", "fast": "EGTN, ours", "channels": "FrameChannels"}
BAR = 1.5
CLOSE = 1e-5


@dataclass(frozen=True)
class Cost:
    """Of one net at one batch size: CPU milliseconds a training step and a denoising step, MB that training adds, parameters."""

    net: str
    batch: int
    train_ms: float
    step_ms: float
    memory_mb: float
    parameters: int


def inputs(batch: int) -> dict[str, Tensor]:
    """Random molecules that jitter; atoms talk to the nearest, 90 pairs both ways."""
    g = torch.Generator().manual_seed(0)
    r = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    x = r(batch, ATOMS, 1, 3) * 2 + 0.2 * r(batch, ATOMS, GIVEN + FUTURE, 3)
    start = x[:, :, 0]
    one, two = torch.triu_indices(ATOMS, ATOMS, 1)
    near = (start[:, one] - start[:, two]).norm(dim=-1).argsort(1)[:, : EDGES // 2]
    adjacent = torch.zeros(batch, ATOMS, ATOMS, dtype=torch.bool)
    for k, pairs in enumerate(near):
        adjacent[k, one[pairs], two[pairs]] = adjacent[k, two[pairs], one[pairs]] = True
    return {"given": x[:, :, :GIVEN], "future": x[:, :, GIVEN:], "clock": 1000 * torch.rand(batch, generator=g), "node": r(batch, ATOMS, NODE),
            "pair": r(batch, ATOMS, ATOMS, PAIR), "adjacent": adjacent}


def build(name: str) -> nn.Module:
    """A net of `NETS`; the plain and the fast one have the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "channels":
            return FrameChannels(GIVEN, FUTURE, NODE, PAIR)
        net = EGTN(NODE, PAIR)
        return PlainEGTN(net) if name == "plain" else net


def milliseconds(work: Callable[[], Any], repeats: int) -> float:
    """Median CPU time of the process, after one call that is not counted."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return 1e3 * statistics.median(taken)


def resident_mb(peak: bool) -> float:
    """Resident memory of the process, now (where the system tells) or its peak."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM" if peak else "VmRSS")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def forget_peak() -> None:
    """The peak of resident memory starts again from now, where the system can."""
    forget = Path("/proc/self/clear_refs")
    if forget.exists():
        forget.write_text("5")


def measure(name: str, batch: int, repeats: int = 5) -> Cost:
    """Time and memory of one net; call it in a fresh process, for the peak of memory never falls."""
    torch.set_num_threads(1)
    net, call = build(name), inputs(batch)
    if name == "channels":  # a fixed number of slots a batch: the molecules of a batch share their bonds
        call["adjacent"] = call["adjacent"][:1].expand(batch, -1, -1)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-5)

    def train() -> None:
        optimiser.zero_grad()
        net(**call).square().mean().backward()
        optimiser.step()

    def denoise() -> None:
        with torch.no_grad():
            net(**call)

    denoise()
    forget_peak()
    before = resident_mb(peak=False)
    train_ms = milliseconds(train, repeats)
    memory = resident_mb(peak=True) - before
    return Cost(name, batch, train_ms, milliseconds(denoise, repeats), memory, sum(p.numel() for p in net.parameters()))


def difference(batch: int = 1) -> float:
    """Largest difference of the fast and the plain output, in the unit of the positions."""
    call = inputs(batch)
    with torch.no_grad():
        plain, fast = (build(name)(**call) for name in ("plain", "fast"))
    return float((plain - fast).abs().max())


def run(batches: tuple[int, ...] = (1, 4, 8), repeats: int = 5, nets: tuple[str, ...] = tuple(NETS)) -> list[Cost]:
    """Every net at every batch size, each in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return [pool.apply(measure, (name, batch, repeats)) for batch in batches for name in nets]


def table(costs: list[Cost]) -> str:
    """One line a net and batch size, with how many times faster and smaller than the plain net it is."""
    plain = {c.batch: c for c in costs if c.net == "plain"}
    lines = [f"{'net':18s}{'parameters':>11s}{'batch':>6s}{'train ms':>10s}{'faster':>8s}{'step ms':>9s}{'faster':>8s}{'MB':>7s}{'smaller':>9s}"]
    for c in costs:
        p = plain.get(c.batch, c)
        lines.append(f"{NETS[c.net]:18s}{c.parameters:11,d}{c.batch:6d}{c.train_ms:10.1f}{p.train_ms / c.train_ms:7.1f}x{c.step_ms:9.1f}"
                     f"{p.step_ms / c.step_ms:7.1f}x{c.memory_mb:7.0f}{p.memory_mb / max(c.memory_mb, 1):8.1f}x")
    return "\n".join(lines)


def slowest_gain(costs: list[Cost]) -> float:
    """How many times faster a training step of the fast form is than of the plain one, at the batch size where that is least."""
    by = {(c.net, c.batch): c.train_ms for c in costs}
    return min(by["plain", batch] / ms for (net, batch), ms in by.items() if net == "fast")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    apart = difference()
    costs = run(tuple(given.batch), given.repeats)
    gain = slowest_gain(costs)
    print(table(costs))
    print(f"outputs of the fast and the plain form differ by {apart:.1e} (at most {CLOSE:g})")
    print(f"a training step is at least {gain:.1f} times faster (wanted: {BAR})")
    return int(gain < BAR or apart > CLOSE)


if __name__ == "__main__":
    sys.exit(main())
