"""AirPhyNet: forecasts of air quality by a neural differential equation of diffusion and advection between stations.

After K. Hettige et al., AirPhyNet: harnessing physics-guided neural networks for air quality prediction, arXiv 2402.03784 (ICLR 2024), with the
mathematics as stated and these differences: the wind has a direction (upwind, from vectors), the parts that are learned are made once, all
measured quantities and the missing flags enter the encoder, a learned source opens the system, the gate acts on a station, and the forecast is
what is added to damped persistence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from trajlab.data.station_graphs import StationGraph, station_graph
from trajlab.dynamics.graph_transport import diffusion_generator
from trajlab.models import model_files
from trajlab.models.air.air_fit import train_member
from trajlab.models.air.airphynet_config import AirPhyNetConfig
from trajlab.models.air.airphynet_net import StationNet
from trajlab.models.air.calendar import hours
from trajlab.models.air.inputs import Shown, StationScale
from trajlab.models.air.station_forecaster import StationForecaster
from trajlab.types import Forecast, Trajectories

__all__ = ["AirPhyNet"]

PART = 256  #: windows at a time
SCALE = ("mean", "deviation", "level", "wind_hour")


class AirPhyNet(StationForecaster):
    """AirPhyNet, its ablations, and recurrent nets with the same inputs, head and training (``config.core``).

    Args:
        config: settings.
        adjacency: weights between sensors, ``[node node]``, where they have no coordinates; it is made symmetric, and there is no advection then.
        say: told of every member that is trained.

    After `fit`, ``nets`` are the members and ``found`` says how each was trained.
    """

    name = "airphynet"

    def __init__(self, config: AirPhyNetConfig | None = None, adjacency: Tensor | None = None, say: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self.config, self.adjacency, self.say = config or AirPhyNetConfig(), adjacency, say
        self.horizon, self.past = self.config.horizon, self.config.past
        self.nets: list[StationNet] = []
        self.found: list[dict[str, float]] = []
        self.graph: dict[str, Tensor] = {}
        self.name = {"ode": "airphynet", "gru": "station-gru", "graph_gru": "graph-gru"}[self.config.core]

    def _fit(self, series: Trajectories, validation: Trajectories | None) -> None:
        self.scale = StationScale.fit(series, self.config)
        self.graph, self.station = self._places(series)
        self.nets, self.found = [], []
        for k in range(self.config.members):
            seed = self.config.seed + k
            net = self._net(seed)
            self.found.append(train_member((series, validation), self.scale, net, self.config, seed))
            self.nets.append(net.eval())
            if self.say:
                self.say(f"{self.name}, member {k}: {self.found[-1]}")

    def _net(self, seed: int) -> StationNet:
        step = self.config.step * float(hours(torch.tensor(self.spacing), self.clock))
        with torch.random.fork_rng(devices=[]):  # initial weights are torch's; the seed is given back
            torch.manual_seed(seed)
            return StationNet(self.scale, self.config, self.graph, self.station, step)

    def _places(self, series: Trajectories) -> tuple[dict[str, Tensor], Tensor]:
        """Buffers of the graph, and what tells sensors apart: place and level, standardised."""
        count = self.stations
        lon, lat = (series.static[k][:count] if k in series.static else None for k in ("lon", "lat"))
        level = self.scale.level[:, None]
        if lon is None or lat is None:
            adjacency = self._given(count)
            place, graph = torch.zeros(count, 2), {}
        else:
            made = station_graph(lon, lat, radius=1e3 * self.config.radius, floor=1e3 * self.config.floor)
            adjacency = made.conductance() if self.adjacency is None else self._given(count)
            place, graph = torch.stack([lon, lat], 1), _buffers(made)
        total = adjacency.sum(1)
        graph["diffuse"] = diffusion_generator(adjacency / total.max().clamp(min=1e-12)).float()
        graph["walk"] = (adjacency / total.clamp(min=1e-12)[:, None]).float()
        station = torch.cat([place, level], 1).float()
        station = (station - station.mean(0)) / station.std(0, correction=0).clamp(min=1e-6)
        if self.config.core != "ode":
            graph = {"walk": graph["walk"]}
        return graph, station

    def _given(self, count: int) -> Tensor:
        if self.config.core == "ode" and self.config.advection and self.adjacency is None:
            raise ValueError("the series have no static['lon'] and ['lat'], so that wind leads nowhere; give coordinates in degrees, or use "
                             "advection=False and adjacency=")
        if self.config.advection and self.config.core == "ode":
            raise ValueError("advection by wind wants coordinates (static['lon'], ['lat']); with an adjacency alone use advection=False")
        if self.adjacency is None:
            return torch.ones(count, count) - torch.eye(count)
        if self.adjacency.shape != (count, count) or bool((self.adjacency < 0).any()):
            raise ValueError(f"adjacency has shape {tuple(self.adjacency.shape)}; non-negative weights [{count} {count}] were wanted")
        both = (self.adjacency + self.adjacency.T) / 2
        return both - torch.diag(both.diagonal())

    def forecast(self, past: Trajectories, steps: int | None = None, draws: int = 1, generator: torch.Generator | None = None,
                 wind: Tensor | None = None) -> Forecast:
        """As `StationForecaster.forecast`.

        Args:
            past, steps: as there.
            draws, generator: with ``config.kl`` above 0 and a generator, draws of the initial state, member after member; else all are the mean.
            wind: over the whole horizon, ``[node horizon 2]``, towards (east, north), m/s; with ``config.wind="given"`` it is wanted, else refused.

        Raises:
            ValueError: wind is missing, not wanted or of another shape, or as there.
        """
        wanted = self.config.wind == "given"
        if wanted != (wind is not None):
            raise ValueError("this model was trained to be told the wind over the horizon: pass wind= [node horizon 2]" if wanted else
                             "this model expects its own wind; set wind='given' in the config before the fit to tell it one")
        if wind is not None and wind.shape != (past.n_nodes, self.config.horizon, 2):
            raise ValueError(f"wind has shape {tuple(wind.shape)}; [{past.n_nodes} {self.config.horizon} 2] was wanted")
        self._told = wind
        return super().forecast(past, steps, draws, generator)

    def _answer(self, past: Trajectories, steps: int, draws: int, generator: torch.Generator | None) -> Tensor:
        last = torch.tensor([past.n_frames - 1])
        shown = Shown(past, self.scale, self.config, last, self._told)
        drawn = self.config.kl > 0 and generator is not None
        parts = torch.arange(len(shown)).split(PART)
        if not drawn:
            return torch.cat([torch.stack([net(shown.batch(p))[0] for net in self.nets]).mean(0) for p in parts])[None, ..., :steps]
        nets = [self.nets[k % len(self.nets)] for k in range(draws)]
        return torch.stack([torch.cat([net(shown.batch(p), generator)[0] for p in parts]) for net in nets])[..., :steps]

    def physics(self) -> dict[str, list[float]]:
        """What the members learned of the terms: ``k`` (diffusion, rate of the best linked station, 1/h), ``v`` (advection, in units of the wind),
        ``memory`` (of the wind, h), ``damping`` (frames)."""
        out: dict[str, list[float]] = {"damping": [float(n.log_damping.detach().exp()) for n in self.nets]}
        if self.config.core != "ode":
            return out
        step = self.nets[0].core.hours if self.nets else 1.0
        for name, of in (("k", lambda c: c.ode.log_k), ("v", lambda c: c.ode.log_v), ("memory", lambda c: c.log_memory)):
            values = [of(n.core) for n in self.nets]
            if all(v is not None for v in values):
                out[name] = [float(v.detach().exp()) / (step if name == "k" else 1.0) for v in values]
        return out

    def provenance(self) -> dict[str, Any]:
        """What goes into `Forecast.provenance`."""
        return {**super().provenance(), "config": asdict(self.config)}

    def save(self, folder: str | Path) -> Path:
        """Write config, scale and weights.

        Raises:
            ValueError: not fitted.
        """
        if not self.nets:
            raise ValueError("this model was not fitted; call fit(series) first")
        tensors = {f"net{k}.{name}": v for k, net in enumerate(self.nets) for name, v in net.state_dict().items()}
        tensors |= {f"scale.{n}": getattr(self.scale, n) for n in SCALE} | {f"graph.{n}": v for n, v in self.graph.items()}
        record = {**self.provenance(), "method": "airphynet", "groups": list(self.scale.groups), "stations": self.stations, "spacing": self.spacing,
                  "clock": self.clock, "found": self.found}
        tensors["station"] = self.station
        return model_files.write(folder, record, {k: v.detach().clone() for k, v in tensors.items()})  # members share the graph

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ValueError: no such model.
        """
        record, tensors, config = model_files.read(folder, "airphynet", AirPhyNetConfig)
        model = cls(config)
        model.stations, model.spacing, model.clock, model.found = (record[k] for k in ("stations", "spacing", "clock", "found"))
        model.scale = StationScale(*(tensors[f"scale.{n}"] for n in SCALE), tuple(record["groups"]))
        model.graph = {k.removeprefix("graph."): v for k, v in tensors.items() if k.startswith("graph.")}
        model.station = tensors["station"]
        for k in range(config.members):
            net = model._net(config.seed + k)
            net.load_state_dict({n.removeprefix(f"net{k}."): v for n, v in tensors.items() if n.startswith(f"net{k}.")})
            model.nets.append(net.eval())
        return model


def _buffers(made: StationGraph) -> dict[str, Tensor]:
    return {"direction": made.direction.float(), "distance": made.distance.float(), "linked": made.linked}
