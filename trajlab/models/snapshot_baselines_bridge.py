"""The Schrödinger bridge of a Brownian reference between two snapshots: entropic transport, then Brownian bridges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.couplings.populations import distances, drawn
from trajlab.couplings.sinkhorn import SinkhornConfig, sinkhorn
from trajlab.models.snapshot_baselines import Gap, PairMethod, between_pairs

__all__ = ["EntropicBridge"]


@dataclass(frozen=True)
class EntropicBridge(PairMethod):
    """Pairs from the plan closest to Brownian motion dX = sigma dW over the gap T, then Brownian bridges (Leonard 2014):

        P = argmin sum P |x - y|^2 + 2 sigma^2 T KL(P | a b^T),     x_s = (1 - s) x + s y + sigma sqrt(T s (1 - s)) z.

    Attributes:
        sigma: in the unit of x over the root of the unit of time.
        noise: False leaves out z: closer in W1 in many dimensions, with too little spread.
        tolerance: on the L1 error of the plan's marginals.

    Raises:
        ValueError: a sigma that is not positive.
    """

    name: ClassVar[str] = "entropic transport, Brownian bridge"
    sigma: float = 0.2
    noise: bool = True
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if not (self.sigma > 0 and math.isfinite(self.sigma)):
            raise ValueError(f"sigma={self.sigma} came; a positive number was wanted (ExactInterpolation is the limit of none)")

    def inside(self, gap: Gap, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        kernel = distances(gap.x0, gap.x1, 2) / (-2 * self.sigma**2 * gap.duration)
        plan = sinkhorn(kernel, gap.a, gap.b, SinkhornConfig(tolerance=self.tolerance))
        entry = drawn(plan.P.flatten(), gap.size, generator)
        middle = between_pairs(gap.x0[entry // len(gap.x1)], gap.x1[entry % len(gap.x1)], gap.s)
        spread = self.sigma * math.sqrt(gap.duration * gap.s * (1 - gap.s)) if self.noise else 0.0
        return middle + spread * torch.randn(middle.shape, generator=generator, dtype=middle.dtype)
