"""What propagating a joint covariance costs, beside the marginal one and beside bare cumulative sums of as many arrays."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from trajlab.dynamics.kinematics import FORMULATIONS, Controls, Start, propagate

__all__ = ["cost"]

#: cumulative sums of joint propagation: means (speed, heading, two positions where there are headings) and entries of the covariance
SUMS = {"velocity": 5, "acceleration": 12, "speed_heading": 5, "bicycle": 14, "unicycle": 14}


def cost(agents: int = 32, modes: int = 6, steps: int = 80, repeats: int = 25) -> dict[str, dict[str, float]]:
    """Milliseconds of a forward pass, the least of ``repeats``, on one thread and in float32.

    Returns:
        For each formulation ``joint``, ``marginal``, ``sums`` (as many bare cumulative sums ``[agents modes steps]`` as joint propagation takes), and
        the ratios ``joint/marginal`` and ``joint/sums``.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {name: _of(name, agents, modes, (steps, repeats)) for name in FORMULATIONS}
    finally:
        torch.set_num_threads(threads)


def _of(name: str, agents: int, modes: int, size: tuple[int, int]) -> dict[str, float]:
    steps, repeats = size
    g = torch.Generator().manual_seed(0)
    mean = 0.05 * torch.randn(agents, modes, steps, 2, generator=g) + torch.tensor([5.0, 0.0] if name == "speed_heading" else [0.0, 0.0])
    controls = Controls(mean, 0.1 + 0.1 * torch.rand(agents, modes, steps, 2, generator=g))
    start = Start(torch.zeros(agents, 1, 2), torch.tensor([8.0, 0.0]).expand(agents, 1, 2), torch.zeros(agents, 1))
    bare = torch.randn(SUMS[name], agents, modes, steps, generator=g)
    runs: dict[str, Callable[[], object]] = {
        kind: lambda kind=kind: propagate(name, controls, start, 0.1, propagation=kind) for kind in ("joint", "marginal")}
    runs["sums"] = lambda: torch.cumsum(bare, -1)
    found = dict.fromkeys(runs, float("inf"))
    with torch.no_grad():
        for _ in range(repeats):  # in turn, so that load of the machine falls on all
            for kind, run in runs.items():
                begin = time.perf_counter()
                run()
                found[kind] = min(found[kind], 1e3 * (time.perf_counter() - begin))
    return {**found, "joint/marginal": found["joint"] / found["marginal"], "joint/sums": found["joint"] / found["sums"]}
