"""Rectified flow with reflow, and stochastic interpolants, between snapshots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from trajlab.catalog import load, unknown
from trajlab.couplings import TABLE as COUPLINGS
from trajlab.models.snapshot_baselines_net import FlowMethod, FlowTraining, Interval, SnapshotNet, Trained, fitted, intervals
from trajlab.paths.interpolants import Interpolant, antithetic, drift_integrand
from trajlab.types import Snapshots

__all__ = ["RectifiedFlow", "SnapshotInterpolant", "interpolant_ot"]


@dataclass(frozen=True)
class RectifiedFlow(FlowMethod):
    """Rectified flow (Liu, Gong & Liu 2023): the velocity net regresses x_1 - x_0 along straight lines between pairs; then every cell is paired with
    where the flow takes it, and a new net is trained on these pairs. Reflow never raises the transport cost and makes paths straight, so that
    fewer steps are needed; it does not lead to optimal transport in general.

    Attributes:
        config: of each training.
        reflows: how often cells are paired anew; 0 is the flow of independent pairs.

    Raises:
        ValueError: a negative number of reflows.
    """

    name: ClassVar[str] = "rectified flow"
    config: FlowTraining = field(default_factory=FlowTraining)
    reflows: int = 1

    def __post_init__(self) -> None:
        if self.reflows < 0:
            raise ValueError(f"reflows={self.reflows} came; zero or more was wanted")

    def fit(self, snapshots: Snapshots, generator: torch.Generator) -> Trained:
        units, parts = intervals(snapshots)
        draw = lambda part: part.batch(self.config.batch, generator)  # noqa: E731
        model = self._straight(units, parts, draw, generator)
        for _ in range(self.reflows):
            ends = {p.start: model.flow(p.x0, p.start, p.start + p.duration, self.config.steps) for p in parts}

            def draw(part: Interval, ends: dict[float, Tensor] = ends) -> tuple[Tensor, Tensor]:
                rows = torch.multinomial(part.a, self.config.batch, replacement=True, generator=generator)
                return part.x0[rows], ends[part.start][rows]

            model = self._straight(units, parts, draw, generator)
        return model

    def _straight(self, units: Any, parts: list[Interval], draw: Any, generator: torch.Generator) -> Trained:
        net = SnapshotNet(parts[0].x0.shape[1], self.config, generator)

        def loss(part: Interval) -> Tensor:
            x0, x1 = draw(part)
            s = torch.rand(len(x0), generator=generator)
            x = torch.lerp(x0, x1, s[:, None])
            return (net(x, part.start + part.duration * s) - (x1 - x0) / part.duration).square().mean()

        fitted([net], loss, parts, self.config)
        return Trained(units, net)


@dataclass(frozen=True)
class SnapshotInterpolant(FlowMethod):
    """A stochastic interpolant (Albergo, Boffi & Vanden-Eijnden 2023) in every interval, of which the probability-flow ODE is learned,

        x_s = (1 - s) x_0 + s x_1 + sigma sqrt(T s (1 - s)) z,     v(x, s) = E[x_1 - x_0 + gamma' z | x_s = x].

    Attributes:
        config: of the training.
        sigma: in the unit of x over the root of the unit of time.
        coupling: ``independent``, or ``minibatch_ot``: pairs of the exact plan within a batch.

    Raises:
        ValueError: an unknown coupling, or a sigma that is not positive.
    """

    name: ClassVar[str] = "stochastic interpolant"
    config: FlowTraining = field(default_factory=FlowTraining)
    sigma: float = 0.25
    coupling: str = "independent"

    def __post_init__(self) -> None:
        known = ("independent", "minibatch_ot")
        if self.coupling not in known:
            raise ValueError(unknown("coupling", self.coupling, known))
        if not self.sigma > 0:
            raise ValueError(f"sigma={self.sigma} came; a positive number was wanted")

    def fit(self, snapshots: Snapshots, generator: torch.Generator) -> Trained:
        units, parts = intervals(snapshots)
        net, couple = SnapshotNet(snapshots.x.shape[1], self.config, generator), load(COUPLINGS[self.coupling])()

        def loss(part: Interval) -> Tensor:
            x0, x1 = part.batch(self.config.batch, generator)
            x1 = x1[couple(x0, x1, generator=generator)]
            path = Interpolant("linear", "brownian", scale=units.sigma(self.sigma) * part.duration**0.5)
            s = torch.rand(len(x0), generator=generator, dtype=torch.float64).clamp(1e-4, 1 - 1e-4)
            two = antithetic(path, s, x0, x1, torch.randn(x0.shape, generator=generator))
            # inside an interval the path's time is s: its velocity is the net's times the duration
            return sum(drift_integrand(net(p.x, part.start + part.duration * s.float()) * part.duration, p).mean() for p in two) / part.duration**2

        fitted([net], loss, parts, self.config)
        return Trained(units, net)


def interpolant_ot() -> SnapshotInterpolant:
    """`SnapshotInterpolant` of pairs of the exact plan within a batch."""
    return SnapshotInterpolant(coupling="minibatch_ot")
