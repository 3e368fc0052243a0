"""The learned one-step map of TrajCast: net, scales and conservation in one module."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trajlab.catalog import load
from trajlab.dynamics.conservation import conserve, spread
from trajlab.dynamics.particles import Particles
from trajlab.models.trajcast_config import TrajCastConfig
from trajlab.nets import TABLE as NETS
from trajlab.nets.neighbourhood import Neighbourhood, Slots
from trajlab.nets.settings import NetSettings

HEAVIEST = 118


def build_net(config: TrajCastConfig, species: int, neighbours: float) -> nn.Module:
    """The net that a configuration names."""
    settings = NetSettings(species, config.channels, config.blocks, config.cutoff, config.l_max, config.radial, config.width, config.bessel,
                           config.speed_functions, config.speed_max, neighbours)
    net: nn.Module = load(NETS[config.net])(settings)
    return net


class TrajCastStep(nn.Module):
    """(x, v) -> (displacement, new velocity) a stride later, in physical units.

    Args:
        config: the hyper-parameters.
        elements: atomic numbers the model knows, rising.
        strides: femtoseconds, one for each stride it was trained on.
        neighbours: typical number of neighbours.
    """

    def __init__(self, config: TrajCastConfig, elements: tuple[int, ...], strides: tuple[float, ...], neighbours: float) -> None:
        super().__init__()
        self.config, self.elements, self.strides, self.neighbours = config, tuple(elements), tuple(strides), float(neighbours)
        self.dtype = getattr(torch, config.dtype)
        self.net = build_net(config, len(elements), neighbours).to(self.dtype)
        lookup = torch.full((HEAVIEST + 1,), -1, dtype=torch.long)
        lookup[list(elements)] = torch.arange(len(elements))
        self.register_buffer("lookup", lookup, persistent=False)
        table = torch.ones(len(strides), len(elements), dtype=torch.float64)
        for name in ("displacement_scale", "velocity_scale"):
            self.register_buffer(name, table.clone())
        self.register_buffer("speed_scale", torch.ones((), dtype=torch.float64))

    def species(self, kind: Int[Tensor, "node"]) -> Int[Tensor, "node"]:
        """Index of each element; a ValueError names one that the model has never seen."""
        index = self.lookup[kind.clamp(0, HEAVIEST)]
        if bool((index < 0).any()):
            at = int((index < 0).nonzero()[0])
            from ase.data import chemical_symbols

            known = ", ".join(chemical_symbols[z] for z in self.elements)
            number = int(kind[at])
            name = chemical_symbols[number] if 0 <= number < len(chemical_symbols) else f"atomic number {number}"
            raise ValueError(f"atom {at} is {name}, but this model was trained on {known} alone; train on data that hold {name}")
        return index

    def forward(
        self, p: Particles, slots: Slots, stride: Float[Tensor, "scene"], which: Int[Tensor, "scene"], species: Tensor | None = None
    ) -> tuple[Float[Tensor, "node 3"], Float[Tensor, "node 3"]]:
        """One step. ``which`` says, a scene, which of the trained strides ``stride`` is. Everything outside the net is float64."""
        species = self.species(p.kind) if species is None else species
        drift = spread(p.scene_sum(p.mass[:, None] * p.v) / p.scene_sum(p.mass)[:, None], p)
        peculiar = p.v - drift  # a net that sees only peculiar velocities is Galilean-invariant by construction
        hood = Neighbourhood.of(p.x, slots, self.config.cutoff, self.dtype)
        speed = peculiar if self.config.net == "trajcast" else peculiar / self.speed_scale
        relative = spread(stride / max(self.strides), p).to(self.dtype)
        raw = self.net(species, speed.to(self.dtype), hood, relative).to(p.x.dtype)
        case = spread(which, p)
        displacement = raw[:, 0] * self.displacement_scale[case, species][:, None]
        velocity = raw[:, 1] * self.velocity_scale[case, species][:, None]
        if self.config.targets == "deviation":
            displacement = displacement + p.v * spread(stride, p)[:, None]
            velocity = velocity + p.v
        return conserve(p, displacement, velocity, stride)
