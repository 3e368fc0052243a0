"""The nets of sensor graphs: a shared head on damped persistence, and the cores that say how the forecast differs from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trajlab.dynamics.graph_transport import advection_generator, upwind_rates
from trajlab.models.air.airphynet_config import AirPhyNetConfig
from trajlab.models.air.inputs import Batch, StationScale, inverse
from trajlab.nets.graph_ode import GraphODE

__all__ = ["GraphGRUCore", "GRUCore", "ODECore", "StationNet"]

SCALE_WIND = 3.0  #: m/s, of the perceptrons' input
STATION = 3  #: channels that say which sensor: place (east, north) and level, standardised


class Encoder(nn.Module):
    """A gated recurrent unit over the past of every sensor."""

    def __init__(self, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Dropout(dropout))
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, past: Float[Tensor, "window node step feature"]) -> Float[Tensor, "window node width_and_features"]:
        """The last state, beside the last features."""
        rows = past.flatten(0, 1)
        told = self.gru(self.inner(rows))[0][:, -1]
        return torch.cat([told, rows[:, -1]], -1).unflatten(0, past.shape[:2])


class ODECore(nn.Module):
    """AirPhyNet: the encoder's state goes on by gated diffusion and advection with a source; a linear decoder reads it.

    Args:
        features: of a step of the past.
        config: which terms.
        graph: ``direction``, ``distance``, ``linked`` and ``diffuse`` (the generator of diffusion a step), as far as there are.
        station: ``[node 3]``.
        hours: length of a step.
    """

    def __init__(self, features: int, config: AirPhyNetConfig, graph: Mapping[str, Tensor], station: Tensor, hours: float) -> None:
        super().__init__()
        self.config, self.hours = config, hours
        for name, value in graph.items():
            self.register_buffer(name, value)
        self.register_buffer("station", station)
        width, latent = config.width, config.latent
        self.encoder = Encoder(features, width, config.dropout)
        self.start = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(width + features, latent * (2 if config.kl else 1)))
        self.ode = GraphODE(latent, config.calendar + STATION + 2, width, diffusion=config.diffusion, advection=config.advection,
                            source=config.source, dropout=config.dropout, solver=config.solver)
        self.decoder = nn.Linear(latent, 1)
        self.log_memory = nn.Parameter(torch.tensor(math.log(12.0)))  # of the wind, hours
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor | None]:
        """What is added to damped persistence at the beginning and after every step, ``[window node knot]``, and the Kullback-Leibler term.

        With ``generator`` the initial state is drawn from the posterior, where the config has one; else it is its mean.
        """
        told, kl = self.start(self.encoder(batch.past)), None
        if self.config.kl:
            told, spread = told.chunk(2, -1)
            log = spread.clamp(-6, 3)
            kl = (0.5 * (told.square() + (2 * log).exp() - 1) - log).sum(-1).mean()
            if generator is not None:
                told = told + log.exp() * torch.randn(told.shape, generator=generator, dtype=told.dtype)
        z = torch.tanh(told) if not self.config.kl else told
        path = self.path(z, batch)
        return self.decoder(path)[..., 0].transpose(1, 2), kl

    def path(self, z: Tensor, batch: Batch) -> Float[Tensor, "window knot node latent"]:
        """The latent state at the beginning and after every step."""
        wind = self.wind(batch)
        shape = wind.shape[:3]
        context = torch.cat([batch.ahead[:, :, None].expand(*shape, -1), self.station.expand(*shape, -1), wind / SCALE_WIND], -1)
        advect = None
        if self.config.advection:
            rates = upwind_rates(wind, self.direction, self.distance, self.linked)
            advect = advection_generator(rates) * (3600.0 * self.hours)
        return self.ode(z, context, self.hours / 24, diffuse=self.diffuse if self.config.diffusion else None, advect=advect)

    def wind(self, batch: Batch) -> Float[Tensor, "window knot node 2"]:
        """Over the horizon: given, or the last seen one that decays to the mean of the hour, with a learned memory."""
        if self.config.wind == "given":
            return batch.expected_wind
        after = self.hours * torch.arange(batch.ahead.shape[1], dtype=batch.wind.dtype, device=batch.wind.device)
        share = torch.exp(-after / self.log_memory.exp())[:, None, None]
        return batch.expected_wind + share * (batch.wind[:, None] - batch.expected_wind)


class GRUCore(nn.Module):
    """The encoder, and a perceptron that says all steps at once. Nothing passes between sensors but the mean of all in the features."""

    def __init__(self, features: int, config: AirPhyNetConfig, graph: Mapping[str, Tensor], station: Tensor, hours: float) -> None:  # noqa: ARG002
        super().__init__()
        self.register_buffer("station", station)
        self.encoder = Encoder(features, config.width, config.dropout)
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.width + features + STATION, config.width), nn.SiLU(),
                                  nn.Linear(config.width, config.knots + 1))
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, None]:  # noqa: ARG002
        """As `ODECore.forward`."""
        told = self.encoder(batch.past)
        return self.head(torch.cat([told, self.station.expand(*told.shape[:2], -1)], -1)), None


class GraphGRUCore(nn.Module):
    """DCRNN-lite: a gated recurrent unit whose products are diffusion convolutions of two steps, as encoder and decoder (Li et al., 2018)."""

    def __init__(self, features: int, config: AirPhyNetConfig, graph: Mapping[str, Tensor], station: Tensor, hours: float) -> None:  # noqa: ARG002
        super().__init__()
        self.config, width = config, config.width
        self.register_buffer("walk", graph["walk"])
        self.register_buffer("station", station)
        self.drop = nn.Dropout(config.dropout)
        self.encode = nn.ModuleList([nn.Linear(3 * (features + width), 2 * width), nn.Linear(3 * (features + width), width)])
        inputs = config.calendar + STATION + 1
        self.decode = nn.ModuleList([nn.Linear(3 * (inputs + width), 2 * width), nn.Linear(3 * (inputs + width), width)])
        self.read = nn.Linear(width, 1)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, None]:  # noqa: ARG002
        """As `ODECore.forward`."""
        windows, nodes, steps, _ = batch.past.shape
        h = batch.past.new_zeros(windows, nodes, self.config.width)
        for k in range(steps):
            h = self._cell(self.drop(batch.past[:, :, k]), h, self.encode)
        out = [self.read(h)]
        station = self.station.expand(windows, -1, -1)
        for k in range(batch.ahead.shape[1]):
            known = torch.cat([out[-1], station, batch.ahead[:, k, None].expand(-1, nodes, -1)], -1)
            h = self._cell(known, h, self.decode)
            out.append(self.read(h))
        return torch.cat(out, -1), None

    def _cell(self, x: Tensor, h: Tensor, layers: nn.ModuleList) -> Tensor:
        gates = torch.sigmoid(layers[0](self._spread(torch.cat([x, h], -1))))
        reset, update = gates.chunk(2, -1)
        new = torch.tanh(layers[1](self._spread(torch.cat([x, reset * h], -1))))
        return update * h + (1 - update) * new

    def _spread(self, x: Tensor) -> Tensor:
        once = self.walk @ x
        return torch.cat([x, once, self.walk @ once], -1)


CORES = {"ode": ODECore, "gru": GRUCore, "graph_gru": GraphGRUCore}


class StationNet(nn.Module):
    """q(h) = level + (last - level) exp(-h/tau) + s r(h), the forecast in transformed units: damped persistence with a learned e-folding time,
    and what the core adds at the ends of steps, interpolated linearly; s is the deviation of the training series.

    Args:
        scale: of the training series.
        config, graph, station, hours: as in `ODECore`.
    """

    def __init__(self, scale: StationScale, config: AirPhyNetConfig, graph: Mapping[str, Tensor], station: Tensor, hours: float) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("level", scale.level.float())
        self.register_buffer("deviation", scale.deviation[:1].float())
        self.core = CORES[config.core](scale.features(config), config, graph, station, hours)
        self.log_damping = nn.Parameter(torch.tensor(math.log(config.damping)))
        frames = torch.arange(1, config.horizon + 1, dtype=torch.float32)
        low = ((frames / config.step).ceil() - 1).long()
        self.register_buffer("low", low)
        self.register_buffer("share", frames / config.step - low)
        self.register_buffer("frames", frames)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Float[Tensor, "window node time"], Tensor | None]:
        """The forecast in original units, and the Kullback-Leibler term where there is one."""
        if self.training and self.config.noise > 0:
            batch = replace(batch, past=batch.past + self.config.noise * torch.randn_like(batch.past))
        r, kl = self.core(batch, generator)
        r = r[..., self.low] * (1 - self.share) + r[..., self.low + 1] * self.share
        left = torch.exp(-self.frames / self.log_damping.exp())
        q = self.level[:, None] + (batch.last - self.level)[..., None] * left + self.deviation * r
        return inverse(q, self.config.transform), kl
