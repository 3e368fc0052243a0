"""What peers with a net share: one velocity net over all intervals, trained without simulation, and its flow from the snapshot before.

Inside, cells are centred and divided by one number, the root of their mean variance over dimensions, and time is in units of the mean spacing of the
snapshots, so that one learning rate serves all data. Nets are float32.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trajlab.models.snapshot_baselines import SnapshotMethod, drawn, gap
from trajlab.samplers.ode import integrate
from trajlab.types import Snapshots

__all__ = ["FlowMethod", "FlowTraining", "Interval", "SnapshotNet", "Trained", "Units", "fitted", "intervals"]


@dataclass(frozen=True)
class FlowTraining:
    """The net and its training.

    Attributes:
        width, layers: of the hidden layers.
        iterations: each sees one batch of every interval.
        batch: pairs of an interval.
        lr: of Adam.
        steps: of the integrator from snapshot to snapshot, Runge-Kutta of order 4 for the ODE; ten times as many Euler-Maruyama for the SDE.

    Raises:
        ValueError: a number that is not positive.
    """

    width: int = 64
    layers: int = 3
    iterations: int = 1500
    batch: int = 128
    lr: float = 1e-3
    steps: int = 10

    def __post_init__(self) -> None:
        if not min(self.width, self.layers, self.iterations, self.batch, self.lr, self.steps) > 0:
            raise ValueError(f"{self} came; positive numbers were wanted")


class SnapshotNet(nn.Module):
    """A perceptron of the state and the time, with SELU units."""

    def __init__(self, dim: int, config: FlowTraining, generator: torch.Generator) -> None:
        super().__init__()
        sizes = [dim + 1, *[config.width] * config.layers, dim]
        self.layers = nn.ModuleList(nn.utils.skip_init(nn.Linear, i, o) for i, o in pairwise(sizes))  # no draw from the global generator
        with torch.no_grad():
            for layer in self.layers:
                for value in layer.parameters():  # the law of torch, from a generator
                    value.uniform_(-1, 1, generator=generator).div_(layer.in_features**0.5)

    def forward(self, x: Float[Tensor, "cell dim"], time: Float[Tensor, "cell"]) -> Float[Tensor, "cell dim"]:
        h = torch.cat([x, time[:, None].to(x)], 1)
        for layer in self.layers[:-1]:
            h = nn.functional.selu(layer(h))
        return self.layers[-1](h)


class Units(NamedTuple):
    """Inside = (outside - centre) / scale, and time = (time - first) / spacing; a sigma is multiplied by sqrt(spacing) / scale."""

    centre: Tensor
    scale: float
    first: float
    spacing: float

    def sigma(self, outside: float) -> float:
        return outside * self.spacing**0.5 / self.scale


class Interval(NamedTuple):
    """Two neighbouring snapshots inside: states float32, weights, start and duration in spacings."""

    x0: Tensor
    x1: Tensor
    a: Tensor
    b: Tensor
    start: float
    duration: float

    def batch(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n cells of each, drawn independently by weight."""
        return tuple(x[torch.multinomial(w, n, replacement=True, generator=generator)] for x, w in ((self.x0, self.a), (self.x1, self.b)))


def intervals(snapshots: Snapshots) -> tuple[Units, list[Interval]]:
    """All intervals in units that suit a net.

    Raises:
        ValueError, TypeError: as `gap`.
    """
    clock = snapshots.time.tolist()
    here = [gap(snapshots, t) for t in clock[:-1] or clock]
    cells = torch.cat([here[0].x0, *(g.x1 for g in here)])
    centre, spacing = cells.mean(0), (clock[-1] - clock[0]) / len(here)
    units = Units(centre, float((cells - centre).square().mean().sqrt()) or 1.0, clock[0], spacing)
    inside = lambda x: ((x - centre) / units.scale).float()  # noqa: E731
    found = [Interval(inside(g.x0), inside(g.x1), g.a, g.b, (t - clock[0]) / spacing, g.duration / spacing) for g, t in zip(here, clock)]
    return units, found


#: The loss of the nets on a batch of an interval.
Loss = Callable[[Interval], Tensor]


def fitted(nets: Sequence[nn.Module], loss: Loss, parts: Sequence[Interval], config: FlowTraining) -> None:
    """Adam on the mean loss over all intervals, with the learning rate falling to zero along a half cosine over the last half."""
    optimiser = torch.optim.Adam([p for net in nets for p in net.parameters()], lr=config.lr)
    rate = lambda k: 0.5 + 0.5 * math.cos(math.pi * max(0.0, 2 * k / config.iterations - 1))  # noqa: E731
    fall = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    for _ in range(config.iterations):
        optimiser.zero_grad()
        torch.stack([loss(part) for part in parts]).mean().backward()
        optimiser.step()
        fall.step()


class Trained(NamedTuple):
    """A velocity net, and where the process is stochastic, a net of (sigma^2 / 2) times the score, with its sigma; all inside."""

    units: Units
    velocity: SnapshotNet
    pull: SnapshotNet | None = None
    sigma: float = 0.0

    def flow(self, x: Float[Tensor, "cell dim"], start: float, stop: float, steps: int) -> Float[Tensor, "cell dim"]:
        """The end of dx/dt = v(x, t), inside, at times in spacings."""
        field = lambda point, t: self.velocity(point, start + (stop - start) * t) * (stop - start)  # noqa: E731
        with torch.no_grad():
            return integrate(field, x, torch.linspace(0, 1, steps + 1, dtype=torch.float64)).x

    def diffuse(self, x: Float[Tensor, "cell dim"], start: float, stop: float, steps: int, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        """The end of one path each of dx = (v + (sigma^2 / 2) score) dt + sigma dW, by Euler-Maruyama."""
        h = (stop - start) / steps
        with torch.no_grad():
            for k in range(steps):
                t = torch.full((len(x),), start + (k + 0.5) * h)
                x = x + h * (self.velocity(x, t) + self.pull(x, t)) + self.sigma * h**0.5 * torch.randn(x.shape, generator=generator)
        return x


class FlowMethod(SnapshotMethod):
    """A net over all intervals; the cells of the snapshot before are carried to the time that is asked for.

    Attributes:
        config: of the training.
        stochastic: whether they go by the SDE, where the method has one.
    """

    config: FlowTraining
    stochastic: bool = False

    @abstractmethod
    def fit(self, snapshots: Snapshots, generator: torch.Generator) -> Trained:
        """The nets.

        Raises:
            ValueError: fewer than two snapshots.
            TypeError: no `Snapshots`.
        """

    def at(self, snapshots: Snapshots, time: float, generator: torch.Generator) -> Float[Tensor, "cell dim"]:
        here = gap(snapshots, time)
        model = self.fit(snapshots, generator)
        units = model.units
        start, stop = (((t - units.first) / units.spacing) for t in (float(snapshots.time[here.index]), time))
        x = here.x0[drawn(here.a, here.size, generator)]
        x, steps = ((x - units.centre) / units.scale).float(), self.config.steps
        if stop > start:
            x = model.diffuse(x, start, stop, 10 * steps, generator) if self.stochastic else model.flow(x, start, stop, steps)
        return x.double() * units.scale + units.centre
