"""A Schrodinger bridge as what predicts a snapshot that was left out, and the settings that it is used with where nothing is known of the system."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.couplings.exact import emd
from trajlab.dynamics.bridges import bridge_moments, pairs_of
from trajlab.models.sbirr import SchrodingerBridge, SchrodingerBridgeConfig
from trajlab.models.snapshot_baselines import SnapshotMethod, gap
from trajlab.types import Snapshots

__all__ = ["SPREAD", "BridgePrediction", "default_config", "mean_cells"]

LARGEST = 3000  #: cells of a snapshot, for exact pairing
SPREAD = 0.2  #: deviation of the noise over a mean interval, in units of the overall deviation of the cells


def default_config(snapshots: Snapshots) -> SchrodingerBridgeConfig:
    """Brownian reference with volatility 0.2 in scaled coordinates over the root of the mean interval: little more than exact transport, with plans
    that are smooth. Refined linear references did not bring held-out cells nearer."""
    return SchrodingerBridgeConfig(family="brownian", sigma=SPREAD / math.sqrt(float(snapshots.time.diff().mean())), iterations=0)


def mean_cells(bridge: SchrodingerBridge, time: float, n: int, seed: int = 0) -> Float[Tensor, "cell dim"]:
    """The bridges' means at a time for the n likeliest pairs: a prediction without noise, nearer in W1 and W2 than paths are in many dimensions, and
    of too little spread. The pairing is the plan's limit without entropy, that of greatest likelihood under the reference with the plan's marginals,
    max sum_ij P_ij log p(y_j | x_i):  for a Brownian reference exact transport. Above `LARGEST` cells pairs are drawn from the plan."""
    here = gap(bridge.snapshots, time)
    evidence, plan = bridge.evidence, bridge.plans[here.index]
    law, one = evidence.laws[here.index], evidence.intervals[here.index]  # type: ignore[union-attr]
    generator = torch.Generator().manual_seed(seed)
    if max(plan.P.shape) <= LARGEST:
        marginals = (one.a, one.b) if bridge.config.growth is None else (plan.P.sum(1), plan.P.sum(0))  # relaxed ones are those of the plan
        source, target = emd(-law.log_density(one.y), None, *marginals).pairs(n, generator)
    else:
        source, target = pairs_of(plan.P, n, generator)
    place = here.s * law.steps
    left = min(int(place + 1e-9), law.steps - 1)
    mine, ends, share = law.of(source), one.y[target], place - left
    low = bridge_moments(mine, ends, left).mean if left else one.x[source]
    high = bridge_moments(mine, ends, left + 1).mean
    return bridge.scale.back(torch.lerp(low, high, share) if share > 1e-9 else low)


@dataclass(frozen=True)
class BridgePrediction(SnapshotMethod):
    """A bridge through the other snapshots.

    Attributes:
        config: of the bridge; `default_config` of the snapshots that are seen where None.
        noise: whole paths instead of their means.
    """

    name: ClassVar[str] = "Schrodinger bridge"
    config: SchrodingerBridgeConfig | None = None
    noise: bool = False

    def at(self, snapshots: Snapshots, time: float, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        seed = int(torch.randint(2**31, (), generator=generator))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an estimated volatility is told once, by who asked for it
            bridge = SchrodingerBridge(replace(self.config or default_config(snapshots), seed=seed)).fit(snapshots)
        n = gap(snapshots, time).size
        return bridge.bridge([time], n).x[:, 0].double() if self.noise else mean_cells(bridge, time, n, seed)
