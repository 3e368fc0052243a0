"""Interval splitting: simulate the process itself up to a time s, and use the linear-noise law only from there. The remedy for several wells.

    p(y | x) ~ 1/R sum_r N(y; m_T(x_s^r), S_T(x_s^r)),    s = share T; share 0 is the linear-noise law, share near 1 the simulated kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.dynamics.bridges import bridge_paths
from trajlab.dynamics.linear_noise import STEPS, LinearNoise, linear_noise
from trajlab.dynamics.references import Reference
from trajlab.dynamics.simulated import simulated

__all__ = ["Split", "split"]

BLOCK = 2_000_000  #: entries of a mixture at a time


@dataclass(frozen=True, eq=False)
class Split:
    """Replicates of every start up to the split, and the laws from there.

    Attributes:
        prefix: simulated paths, ``[cell_replicate step+1 dim]``, replicates of a cell together.
        law: from their ends.
        replicates: of each cell.
    """

    prefix: Tensor
    law: LinearNoise
    replicates: int

    def log_density(self, y: Float[Tensor, "other dim"]) -> Float[Tensor, "cell other"]:
        """log p(y | x) of every start and every y, in blocks of starts."""
        cells = len(self.prefix) // self.replicates
        block = max(1, BLOCK // (self.replicates * len(y)))
        found = []
        for first in range(0, cells, block):
            some = torch.arange(first * self.replicates, min(first + block, cells) * self.replicates)
            each = self.law.of(some).log_density(y).reshape(-1, self.replicates, len(y))
            found.append(each.logsumexp(1) - math.log(self.replicates))
        return torch.cat(found)

    def ess(self, cell: int, y: Float[Tensor, "other dim"]) -> Float[Tensor, "other"]:
        """Effective number of replicates behind the density at each y: few means that the estimate rests on few paths."""
        weight = self.law.of(self._of(cell)).log_density(y).softmax(0)
        return 1 / weight.square().sum(0)

    def paths(self, cell: Int[Tensor, "pair"], y: Float[Tensor, "pair dim"], generator: torch.Generator) -> Float[Tensor, "pair step_plus_1 dim"]:
        """One bridge of each pair: a replicate drawn by its term's weight, its simulated beginning, and a linear-noise bridge to the end. The grid
        is that of the beginning followed by that of the rest."""
        chosen = []
        for one, end in zip(cell.tolist(), y):
            mine = self._of(one)
            weight = self.law.of(mine).log_density(end[None])[:, 0].softmax(0)
            chosen.append(mine[torch.multinomial(weight, 1, generator=generator)])
        pick = torch.cat(chosen)
        return torch.cat([self.prefix[pick], bridge_paths(self.law.of(pick), y, generator)[:, 1:]], 1)

    def _of(self, cell: int) -> Tensor:
        return torch.arange(cell * self.replicates, (cell + 1) * self.replicates)


def split(reference: Reference, x: Float[Tensor, "cell dim"], duration: float, generator: torch.Generator, share: float = 0.5,
          replicates: int = 200, steps: int = STEPS) -> Split:
    """Simulate to ``share`` of the duration, take the linear-noise law from there.

    Raises:
        ValueError: a share outside 0 to 1 (both excluded), or fewer than one replicate.
    """
    if not 0 < share < 1 or replicates < 1 or steps < 2:
        raise ValueError(f"split: share={share}, replicates={replicates}, steps={steps}; a share between 0 and 1, at least one replicate and two "
                         "steps were wanted (share 0 is linear_noise itself)")
    early = min(max(1, round(share * steps)), steps - 1)
    many = x.double().repeat_interleave(replicates, 0)
    prefix = simulated(reference, many, share * duration, early, generator)
    return Split(prefix, linear_noise(reference, prefix[:, -1], (1 - share) * duration, steps - early), replicates)
