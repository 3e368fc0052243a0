"""Peers whose pairs and regression targets are torchcfm's (Tong et al. 2024), of the extra ``dev``: I-CFM, OT-CFM and SF2M.

torchcfm draws from the global generators of NumPy and PyTorch; both are seeded from the caller's here and put back afterwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from trajlab.catalog import need, unknown
from trajlab.models.snapshot_baselines_net import FlowMethod, FlowTraining, Interval, SnapshotNet, Trained, fitted, intervals
from trajlab.types import Snapshots

__all__ = ["ICFM", "OTCFM", "SF2M", "sf2m_sde"]


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """Global generators that follow the caller's, and are as before afterwards."""
    seed, before = int(torch.randint(1 << 31, (), generator=generator)), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)


class Matched(FlowMethod):
    """Conditional flow matching: the velocity net regresses torchcfm's conditional velocities u(x_s | x_0, x_1)."""

    def matcher(self, sigma: float) -> Any:
        """torchcfm's sampler of one interval, its time from 0 to 1 and sigma in its unit."""
        raise NotImplementedError

    def fit(self, snapshots: Snapshots, generator: torch.Generator) -> Trained:
        units, parts = intervals(snapshots)
        velocity = SnapshotNet(snapshots.x.shape[1], self.config, generator)

        def loss(part: Interval) -> Tensor:
            x0, x1 = part.batch(self.config.batch, generator)
            s, x, u = self.matcher(self.sigma / units.scale).sample_location_and_conditional_flow(x0, x1)
            return (velocity(x, part.start + part.duration * s) - u / part.duration).square().mean()

        with seeded(generator):
            fitted([velocity], loss, parts, self.config)
        return Trained(units, velocity)


@dataclass(frozen=True)
class ICFM(Matched):
    """Independent pairs: x_s ~ N((1 - s) x_0 + s x_1, sigma^2), u = x_1 - x_0.

    Attributes:
        config: of the training.
        sigma: in the unit of x.
    """

    name: ClassVar[str] = "I-CFM"
    config: FlowTraining = field(default_factory=FlowTraining)
    sigma: float = 0.1

    def matcher(self, sigma: float) -> Any:
        return _torchcfm().ConditionalFlowMatcher(sigma=sigma)


@dataclass(frozen=True)
class OTCFM(ICFM):
    """The same with pairs drawn from the exact plan between the cells of a batch."""

    name: ClassVar[str] = "OT-CFM"

    def matcher(self, sigma: float) -> Any:
        return _torchcfm().ExactOptimalTransportConditionalFlowMatcher(sigma=sigma)


@dataclass(frozen=True)
class SF2M(FlowMethod):
    """Simulation-free score and flow matching: Brownian bridges between the pairs of a plan, one net for the velocity and one for
    g = (sigma^2 / 2) grad log p. With z the noise of a bridge and sigma_s = sigma sqrt(T s (1 - s)), the second loss is

        E |(2 sigma_s / sigma^2) g(x_s, s) + z|^2.

    Attributes:
        config: of the training.
        sigma: of the reference, in the unit of x over the root of the unit of time.
        plan: ``exact`` or ``sinkhorn`` (temperature 2 sigma^2 T), within the batch.
        stochastic: carry cells by the SDE rather than by the ODE of the same marginals.

    Raises:
        ValueError: an unknown plan, or a sigma that is not positive.
    """

    name: ClassVar[str] = "SF2M"
    config: FlowTraining = field(default_factory=FlowTraining)
    sigma: float = 0.25
    plan: str = "exact"
    stochastic: bool = False

    def __post_init__(self) -> None:
        if self.plan not in ("exact", "sinkhorn"):
            raise ValueError(unknown("plan", self.plan, ("exact", "sinkhorn")))
        if not self.sigma > 0:
            raise ValueError(f"sigma={self.sigma} came; a positive number was wanted")

    def fit(self, snapshots: Snapshots, generator: torch.Generator) -> Trained:
        units, parts = intervals(snapshots)
        velocity, pull = (SnapshotNet(snapshots.x.shape[1], self.config, generator) for _ in range(2))
        sigma = units.sigma(self.sigma)

        def loss(part: Interval) -> Tensor:
            matcher = _torchcfm().SchrodingerBridgeConditionalFlowMatcher(sigma=sigma * part.duration**0.5, ot_method=self.plan)
            s, x, u, z = matcher.sample_location_and_conditional_flow(*part.batch(self.config.batch, generator), return_noise=True)
            time, weight = part.start + part.duration * s, 2 / sigma * (part.duration * s * (1 - s)).sqrt()
            return (velocity(x, time) - u / part.duration).square().mean() + (weight[:, None] * pull(x, time) + z).square().mean()

        with seeded(generator), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sinkhorn did not converge")  # within a batch the plan is approximate in any case
            fitted([velocity, pull], loss, parts, self.config)
        return Trained(units, velocity, pull, sigma)


def sf2m_sde() -> SF2M:
    """`SF2M`, carried by its SDE."""
    return SF2M(stochastic=True)


def _torchcfm() -> Any:
    return need("torchcfm.conditional_flow_matching", "dev", "this peer")
