"""Whole paths of a bridge through all snapshots, at any times."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.dynamics.bridges import bridge_paths, root
from trajlab.dynamics.smoothing import smoothed
from trajlab.models.bridge_evidence import Evidence

__all__ = ["chains", "drawn_paths"]


def chains(evidence: Evidence, n: int, generator: torch.Generator) -> Int[Tensor, "path snapshot"]:
    """Cells that paths pass through: the last spread evenly over its snapshot's weights, each earlier one drawn from the plan's column. Backwards,
    because where populations grow the plans keep the marginals of their targets: paths are lineages of the last cells."""
    last = evidence.plans[-1].P.sum(0).cumsum(0)
    place = (torch.rand((), generator=generator, dtype=torch.float64) + torch.arange(n)) / n * last[-1]
    cells = [torch.searchsorted(last, place, right=True).clamp(max=len(last) - 1)]
    for plan in reversed(evidence.plans):
        columns = plan.P.mT[cells[-1]].cumsum(1)
        pick = torch.rand(n, 1, generator=generator, dtype=torch.float64) * columns[:, -1:]
        cells.append(torch.searchsorted(columns, pick, right=True)[:, 0].clamp(max=columns.shape[1] - 1))
    return torch.stack(cells[::-1], 1)


def drawn_paths(evidence: Evidence, clock: Float[Tensor, "snapshot"], times: Float[Tensor, "time"], n: int, seed: int,
                ) -> Float[Tensor, "path time dim"]:
    """States of n paths at times within the snapshots', in scaled coordinates. Between grid points paths are Brownian bridges of the noise."""
    generator = torch.Generator().manual_seed(seed)
    cells = chains(evidence, n, generator)
    found = torch.empty(n, len(times), evidence.reference.dim, dtype=torch.float64)
    noise = root(evidence.reference.D[None])[0]
    for k, (one, law) in enumerate(zip(evidence.intervals, evidence.laws)):
        last = k + 1 == len(evidence.intervals)
        inside = (times >= clock[k]) & ((times <= clock[k + 1]) if last else (times < clock[k + 1]))
        ends = one.y[cells[:, k + 1]]
        law = smoothed(evidence.reference, law.of(cells[:, k]), ends, evidence.smoothing)
        path = bridge_paths(law, ends, generator)  # drawn in any case, so that times do not matter to it
        for index in inside.nonzero().flatten().tolist():
            place = (float(times[index]) - float(clock[k])) / law.h
            place = round(place) if abs(place - round(place)) < 1e-9 else place  # a snapshot is a snapshot, in spite of rounding
            left = min(int(place + 1e-9), law.steps - 1)
            share = min(max(place - left, 0.0), 1.0)
            wobble = (law.h * share * (1 - share)) ** 0.5 * torch.randn(n, len(noise), generator=generator, dtype=torch.float64) @ noise.mT
            found[:, index] = (1 - share) * path[:, left] + share * path[:, left + 1] + wobble
    return found
