"""Where a roll-out starts: the frame, the thermostat, and checks that both make sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trajlab.dynamics import kinetics, thermostats
from trajlab.dynamics.particles import Particles, Propagator
from trajlab.dynamics.thermostats import Ramp, Thermostat
from trajlab.models.limits import Limits
from trajlab.types import Trajectories
from trajlab.units import Units

RELAX = 50  #: strides of relaxation time, by default


def start_of(start: Particles | Trajectories, moving: bool = True) -> tuple[Trajectories, Particles]:
    """The past that a forecast continues, and its last frame as particles; with ``moving`` False velocities may be missing.

    Raises:
        TypeError: neither of the two.
        ValueError: no velocities or masses, other units, or a node of the last frame was not observed.
    """
    if isinstance(start, Particles):
        clock = start.x.new_zeros(start.n_scenes, 1)
        return Trajectories(start.x[:, None], clock, start.scene, kind=start.kind, extra={"velocity": start.v[:, None]},
                            static={"mass": start.mass}, cell=start.cell, pbc=start.pbc, units=Units.md()), start
    if not isinstance(start, Trajectories):
        raise TypeError(f"a roll-out starts from Particles or Trajectories, not from {type(start).__name__}")
    p = Particles.of(start if moving or "velocity" in start.extra else start.replace(extra={"velocity": torch.zeros_like(start.x)}))
    if not bool(start.mask[:, -1].all()):
        node = int((~start.mask[:, -1]).nonzero()[0])
        raise ValueError(f"node {node} (scene {int(start.scene[node])}) was not observed in the last frame; start from a frame where all were")
    return start, p


def check_start(p: Particles) -> None:
    """Refuse a start that is not finite, or whose atoms stand still.

    Raises:
        ValueError: says which system, and how to draw velocities.
    """
    bad = ~(torch.isfinite(p.x) & torch.isfinite(p.v)).all(1)
    if bool(bad.any()):
        node = int(bad.nonzero()[0])
        raise ValueError(f"atom {node} (system {int(p.scene[node])}) starts with a position or velocity that is not finite: {p.x[node].tolist()}, "
                         f"{p.v[node].tolist()}")
    still = (kinetics.temperature(p) < 1e-9) & (kinetics.degrees_of_freedom(p) > 0)
    if bool(still.any()):
        raise ValueError(f"the atoms of system {int(still.nonzero()[0])} all have the same velocity (zero, most likely): it starts at 0 K. Pass "
                         "velocities='maxwell_boltzmann' with a temperature_K, or draw them with trajlab.dynamics.kinetics.maxwell_boltzmann")


def tiled(p: Particles, draws: int) -> Particles:
    """``draws`` copies of every system, one whole batch after the other."""
    if draws == 1:
        return p
    again = lambda value: None if value is None else value.repeat(draws, *[1] * (value.ndim - 1))  # noqa: E731
    scene = (torch.arange(draws, device=p.x.device)[:, None] * p.n_scenes + p.scene).flatten()
    return Particles(again(p.x), again(p.v), again(p.mass), again(p.kind), scene, draws * p.n_scenes, again(p.cell), again(p.pbc))


def limits_of(propagator: Propagator) -> Limits | None:
    """The limits that a propagator carries, if any."""
    limits = getattr(propagator, "limits", None)
    return Limits.from_dict(limits) if isinstance(limits, Mapping) else limits


def build_thermostat(thermostat: Any, temperature: Any, tau_fs: float | None, propagator: Propagator, past: Trajectories) -> Thermostat:
    """A thermostat from a name, a temperature and a time constant, each with its default.

    Raises:
        ValueError: no such thermostat, or no temperature can be told.
    """
    if not isinstance(thermostat, str):
        return thermostat
    if thermostat.lower() == "nve":
        return thermostats.NVE()
    heat = temperature if temperature is not None else known_temperature(propagator, past)
    if heat is None:
        raise ValueError(f"the thermostat {thermostat!r} needs a temperature: pass temperature_K, or thermostat='nve' for none (the start has no "
                         "context['temperature'] and the model no training temperature)")
    return thermostats.by_name(thermostat, heat, RELAX * propagator.stride if tau_fs is None else tau_fs)


def known_temperature(propagator: Propagator, past: Trajectories) -> float | tuple[float, ...] | None:
    """The temperature that the start declares, or at which the model was trained."""
    if "temperature" in past.context:
        declared = past.context["temperature"].double().flatten().tolist()
        return declared[0] if len(set(declared)) == 1 else tuple(declared)
    limits = limits_of(propagator)
    return None if limits is None else limits.mean_temperature


def first_temperature(thermostat: Any, temperature: Any, propagator: Propagator, past: Trajectories, draws: int) -> float | Tensor:
    """The temperature at which velocities are drawn.

    Raises:
        ValueError: none can be told.
    """
    heat = getattr(thermostat, "temperature_K", None)
    heat = heat if heat is not None else temperature if temperature is not None else known_temperature(propagator, past)
    if heat is None:
        raise ValueError("velocities='maxwell_boltzmann' needs a temperature: pass temperature_K")
    if isinstance(heat, Ramp):
        return heat.start
    return torch.tensor(heat, dtype=torch.float64, device=past.x.device).repeat(draws) if isinstance(heat, tuple) else heat
