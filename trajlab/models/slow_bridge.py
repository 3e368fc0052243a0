"""The bridge step without approximation, for validation: a simulated kernel, Sinkhorn, and simulated paths drawn by weight.

    p(y | x) ~ 1/M sum_m N(y; m_h(X^m_{T-h}), S_h(X^m_{T-h}))

over M Euler-Maruyama paths from each cell, m_h and S_h the linear-noise law of the last step alone. It is exact as M
grows and h falls, and slow: about M (h/T)^{d/2} paths are effective for a pair,
which is plenty in two dimensions and hopeless in five; a ``split`` before the end raises it, at the price of a linear-noise law from there on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.couplings.sinkhorn import Plan, SinkhornConfig, sinkhorn
from trajlab.dynamics.bridges import pairs_of
from trajlab.dynamics.references import Reference
from trajlab.dynamics.splitting import Split, split
from trajlab.models.bridge_evidence import Interval

__all__ = ["SlowBridge", "slow_bridge"]


@dataclass(frozen=True, eq=False)
class SlowBridge:
    """One interval.

    Attributes:
        interval: its cells.
        simulated: the paths of every source cell.
        kernel: log-densities, ``[source target]``.
        plan: the coupling.
    """

    interval: Interval
    simulated: Split
    kernel: Tensor
    plan: Plan

    @property
    def effective(self) -> float:
        """Effective number of simulated paths behind a pair, on average over the plan."""
        rows = torch.stack([self.simulated.ess(cell, self.interval.y) for cell in range(len(self.interval.x))])
        return float((self.plan.P * rows).sum() / self.plan.P.sum())

    def paths(self, n: int, generator: torch.Generator) -> Float[Tensor, "path step_plus_1 dim"]:
        """Paths of the bridge on its grid of equal steps: a pair from the plan, then a path of its source by weight, ended at its target.

        Raises:
            ValueError: fewer than one path.
        """
        if n < 1:
            raise ValueError(f"n={n} paths; at least 1 was wanted")
        source, target = pairs_of(self.plan.P, n, generator)
        return self.simulated.paths(source, self.interval.y[target], generator)


def slow_bridge(reference: Reference, interval: Interval, generator: torch.Generator, simulations: int = 2000, steps: int = 40,
                config: SinkhornConfig | None = None) -> SlowBridge:
    """Simulate, and couple.

    Args:
        reference: the process.
        interval: two neighbouring snapshots.
        generator: of the paths.
        simulations: of each source cell.
        steps: of the Euler-Maruyama chain; all but the last are simulated.
        config: of the coupling.

    Raises:
        ValueError: fewer than one simulation or two steps.
    """
    if simulations < 1 or steps < 2:
        raise ValueError(f"slow_bridge: {simulations} simulations in {steps} steps; at least one simulation and two steps were wanted")
    found = split(reference, interval.x, interval.duration, generator, (steps - 1) / steps, simulations, steps)
    kernel = found.log_density(interval.y)
    return SlowBridge(interval, found, kernel, sinkhorn(kernel, interval.a, interval.b, config))
