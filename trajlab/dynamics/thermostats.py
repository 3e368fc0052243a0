"""Thermostats that act once a stride, around a map of fixed stride: NVE (none), Langevin and CSVR.

Each is a frozen dataclass with `before` (called ahead of the map) and `after`. Langevin is the default of the house: it works on
every degree of freedom, while a global thermostat such as CSVR cannot repair a wrong distribution among them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.dynamics import kinetics
from trajlab.dynamics.geometry import masses, with_velocities
from trajlab.dynamics.kinetics import NormalSource
from trajlab.dynamics.particles import Particles
from trajlab.units import AMU_A2_FS2, BOLTZMANN

TINY = 1e-15
Random = torch.Generator | NormalSource


@dataclass(frozen=True)
class Ramp:
    """A target that moves linearly: T(k) = start + (stop - start) k/steps, K; ``stop`` from step ``steps`` on.

    Raises:
        ValueError: a temperature is not positive, or there are no steps.
    """

    start: float
    stop: float
    steps: int

    def __post_init__(self) -> None:
        _positive("Ramp", start=self.start, stop=self.stop, steps=self.steps)

    def at(self, step: int) -> float:
        return self.start + (self.stop - self.start) * min(max(step, 0), self.steps) / self.steps


@runtime_checkable
class Thermostat(Protocol):
    """``step`` counts the strides done since the start; only ramps look at it."""

    def before(self, p: Particles, interval_fs: float, generator: Random, step: int = 0) -> Particles: ...

    def after(self, p: Particles, interval_fs: float, generator: Random, step: int = 0) -> Particles: ...


@dataclass(frozen=True)
class NVE:
    """No thermostat: the map alone."""

    def before(self, p: Particles, interval_fs: float, generator: Random, step: int = 0) -> Particles:  # noqa: ARG002
        return p

    def after(self, p: Particles, interval_fs: float, generator: Random, step: int = 0) -> Particles:  # noqa: ARG002
        return p

    def scenes(self, which: Tensor) -> Self:  # noqa: ARG002
        return self


@dataclass(frozen=True)
class _Heated:
    """What Langevin and CSVR share: the target temperature, K (a number, a `Ramp`, or one number a system), and tau, fs."""

    temperature_K: float | Ramp | tuple[float, ...]
    tau_fs: float

    def __post_init__(self) -> None:
        if not isinstance(self.temperature_K, Ramp | int | float):
            object.__setattr__(self, "temperature_K", tuple(float(t) for t in self.temperature_K))
        values = self.temperature_K if isinstance(self.temperature_K, tuple) else (self.temperature_K,)
        _positive(type(self).__name__, tau_fs=self.tau_fs, **{"temperature_K": min(v.start if isinstance(v, Ramp) else v for v in values)})

    def target(self, step: int, p: Particles) -> float | Float[Tensor, "scene"]:
        """The temperature wanted after ``step`` strides.

        Raises:
            ValueError: one temperature a system was given, but for another number of systems.
        """
        if isinstance(self.temperature_K, Ramp):
            return self.temperature_K.at(step)
        if not isinstance(self.temperature_K, tuple):
            return self.temperature_K
        if len(self.temperature_K) != p.n_scenes:
            raise ValueError(f"{type(self).__name__} has {len(self.temperature_K)} temperatures for {p.n_scenes} systems; "
                             "give one each, or one for all")
        return p.v.new_tensor(self.temperature_K)

    def scenes(self, which: Tensor) -> Self:
        """The thermostat of some of the systems (``which[scene]`` is True)."""
        if not isinstance(self.temperature_K, tuple):
            return self
        return type(self)(tuple(t for t, stays in zip(self.temperature_K, which.tolist()) if stays), self.tau_fs)


@dataclass(frozen=True)
class Langevin(_Heated):
    """Half an Ornstein-Uhlenbeck step before the map and half after it (as in OBABO), each followed by `remove_momentum`.

    v <- c v + sqrt(1 - c^2) sqrt(k_B T/m) xi with c = exp(-D/(2 tau)). The mass-weighted projection keeps the canonical
    distribution on the remaining degrees of freedom. ``tau_fs`` is 1/friction.

    Raises:
        ValueError: the temperature or tau is not positive.
    """

    def before(self, p: Particles, interval_fs: float, generator: Random, step: int = 0) -> Particles:
        return self._half(p, interval_fs, generator, step)

    def after(self, p: Particles, interval_fs: float, generator: Random, step: int = 0) -> Particles:
        return self._half(p, interval_fs, generator, step + 1)

    def _half(self, p: Particles, interval_fs: float, generator: Random, step: int) -> Particles:
        keep = math.exp(-interval_fs / (2 * self.tau_fs))
        width = (1 - keep * keep) * BOLTZMANN / AMU_A2_FS2
        target = self.target(step, p)
        kick = kinetics.normal(p, generator) * masses(p).root
        kick *= (width * target).sqrt()[p.scene, None] if isinstance(target, Tensor) else math.sqrt(width * target)
        return kinetics.remove_momentum(with_velocities(p, kick.add_(p.v, alpha=keep)))


@dataclass(frozen=True)
class CSVR(_Heated):
    """Canonical sampling by velocity rescaling (Bussi, Donadio, Parrinello 2007), once after every stride, for each system alone.

    With n degrees of freedom, K0 = n k_B T/2, c1 = exp(-D/tau), c2 = (1 - c1) K0/(n K), R normal and S chi-square of n - 1:
    alpha^2 = c1 + c2 (R^2 + S) + 2 R sqrt(c1 c2), alpha has the sign of R + sqrt(c1/c2), and v <- V + alpha (v - V). The sign
    matters for few degrees of freedom, where leaving it out breaks ergodicity. V is never scaled. A system with K = 0 cannot be
    scaled and draws Maxwell-Boltzmann velocities instead; one without degrees of freedom is left alone.

    R^2 + S needs n squares of normal numbers: they are taken from one row of 3N, so that every system uses its stream evenly.

    Raises:
        ValueError: the temperature or tau is not positive.
    """

    def before(self, p: Particles, interval_fs: float, generator: Random, step: int = 0) -> Particles:  # noqa: ARG002
        return p

    def after(self, p: Particles, interval_fs: float, generator: Random, step: int = 0) -> Particles:
        peculiar, n = kinetics.peculiar(p), kinetics.degrees_of_freedom(p)
        energy = p.scene_sum(masses(p).column * peculiar.square()).sum(1)
        noise = kinetics.normal(p, generator)
        first, rest = _chi_square(p, noise, n)
        target = self.target(step + 1, p)
        c1 = math.exp(-interval_fs / self.tau_fs)
        c2 = (1 - c1) * BOLTZMANN / AMU_A2_FS2 * target / energy
        root = first + (c1 / c2).sqrt()
        alpha = (c2 * (root * root + rest)).sqrt().copysign(root)
        resting = energy * AMU_A2_FS2 <= TINY * BOLTZMANN * target  # to rounding: a scale factor would blow that up
        usual = (n > 0) & ~resting
        if bool(usual.all()):
            return with_velocities(p, torch.addcmul(p.v, (alpha - 1).index_select(0, p.scene)[:, None], peculiar))
        frozen = ((n > 0) & resting)[p.scene, None]
        fresh = kinetics.maxwell_boltzmann(p, target, _Given(noise)).v - peculiar
        change = torch.where(usual, alpha - 1, 0.0)[p.scene, None] * peculiar
        return with_velocities(p, p.v + torch.where(frozen, fresh, change))


@dataclass(frozen=True)
class _Given:
    """Numbers that were drawn already, as a source."""

    numbers: Tensor

    def normal(self, p: Particles) -> Tensor:  # noqa: ARG002
        return self.numbers


def _chi_square(p: Particles, noise: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """R and S of every system from its 3N normal numbers: R is its first, S the sum of the squares of its last n - 1."""
    m = masses(p)
    counted = m.place < (n - 1).index_select(0, p.scene)[:, None]
    return noise[:, 0].index_select(0, m.first), p.scene_sum((noise * noise * counted).sum(1))


def by_name(name: str, temperature_K: float | Ramp | tuple[float, ...] = 300.0, tau_fs: float = 350.0) -> Any:
    """A thermostat by name: ``nve``, ``langevin`` or ``csvr`` (in any case).

    Raises:
        ValueError: no such thermostat, or a bad temperature or tau.
    """
    known = {"nve": NVE, "langevin": Langevin, "csvr": CSVR}
    if name.lower() not in known:
        raise ValueError(unknown("thermostat", name, known))
    return NVE() if name.lower() == "nve" else known[name.lower()](temperature_K, tau_fs)


def _positive(what: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{what} got {name}={value}; a positive number was wanted")


def describe(thermostat: Any) -> dict[str, Any]:
    """A thermostat as plain values, for provenance and restart files; `described` undoes it."""
    values = asdict(thermostat) if is_dataclass(thermostat) else {}
    return {"name": type(thermostat).__name__, **values}


def described(values: Mapping[str, Any]) -> Any:
    """The thermostat that `describe` gave.

    Raises:
        ValueError: it is none of the thermostats here.
    """
    name, heat = values["name"], values.get("temperature_K")
    if isinstance(heat, Mapping):
        heat = Ramp(**heat)
    elif isinstance(heat, list | tuple):
        heat = tuple(heat)
    return by_name(name, heat, values["tau_fs"]) if name.lower() != "nve" else NVE()
