"""Watchdogs of a roll-out: a system that leaves what its model has seen is stopped alone, with a named reason.

Limits are those of the training data (`Limits`), widened by the factors of `Watch`, since a long run visits rarer states than a
training set holds. Speeds, displacements and finiteness are looked at every step, bonds and temperature every few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trajlab.dynamics import kinetics
from trajlab.dynamics.particles import Particles
from trajlab.models.limits import Limits, are_metals, bonded_pairs, pair_name, symbol

__all__ = ["Guard", "Limits", "Watch", "select"]

HUGE = 1e30


@dataclass(frozen=True)
class Watch:
    """How far beyond the training data a system may go.

    Attributes:
        bond_long: bonds of the start frame may grow to this many times the longest of their kind in training (metals excepted).
        bond_short: ... and shrink to this many times the shortest.
        speed, displacement: times the largest of the element in training.
        temperature: times the lowest and the highest instantaneous temperature in training.
        band_K: a temperature band in K, instead of ``temperature``; give one when a ramp leaves the training temperature on purpose.
        every: steps between two looks at bonds and temperature.

    Raises:
        ValueError: a factor is not positive or a band is empty.
    """

    bond_long: float = 1.5
    bond_short: float = 0.6
    speed: float = 1.5
    displacement: float = 1.5
    temperature: tuple[float, float] = (0.3, 2.0)
    band_K: tuple[float, float] | None = None
    every: int = 10

    def __post_init__(self) -> None:
        for name in ("bond_long", "speed", "displacement", "every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Watch got {name}={getattr(self, name)}; a positive number was wanted")
        for name in ("temperature", "band_K"):
            band = getattr(self, name)
            if band is not None and not (len(band) == 2 and band[0] < band[1]):
                raise ValueError(f"Watch got {name}={band}; a lower and a higher number were wanted")


class Guard:
    """The watchdogs of the systems ``p``, which start here. Without limits only non-finite values and ``band_K`` stop a system."""

    def __init__(self, p: Particles, stride: float, limits: Limits | None, watch: Watch) -> None:
        self.stride, self.limits, self.watch = stride, limits, watch
        scale = stride / limits.stride if limits else 1.0
        self.top_speed = self._per_node(p, limits.max_speed if limits else {}, watch.speed)
        self.top_move = self._per_node(p, limits.max_displacement if limits else {}, watch.displacement * scale)
        self.square = torch.cat((self.top_move, self.top_speed)).square()
        self._set_bonds(p)
        self.band = watch.band_K
        if self.band is None and limits is not None:
            self.band = (watch.temperature[0] * limits.temperature[0], watch.temperature[1] * limits.temperature[1])

    def _per_node(self, p: Particles, table: Any, factor: float) -> Tensor:
        top = torch.full_like(p.mass, HUGE)
        for z in p.kind.unique().tolist():
            top[p.kind == z] = factor * table.get(symbol(z), HUGE)
        return top

    def _set_bonds(self, p: Particles) -> None:
        self.i = None
        if self.limits is None or not self.limits.bonds:
            return
        i, j, shift = bonded_pairs(p)
        names = [pair_name(a, b) for a, b in zip(p.kind[i].tolist(), p.kind[j].tolist())]
        known = [k for k, name in enumerate(names) if name in self.limits.bonds]  # a kind of bond training never had has no limits
        if not known:
            return
        self.i, self.j, self.shift = i[known], j[known], None if shift is None else shift[known]
        extremes = p.x.new_tensor([self.limits.bonds[names[k]] for k in known])
        self.short = self.watch.bond_short * extremes[:, 0]
        loose = are_metals(p.kind[self.i]) & are_metals(p.kind[self.j])
        self.long = torch.where(loose, HUGE, self.watch.bond_long * extremes[:, 1])

    def keep(self, nodes: Tensor) -> None:
        """Go on with some of the systems: ``nodes[node]`` is True for those that stay."""
        if self.i is not None:
            stays = nodes[self.i]
            renumbered = nodes.cumsum(0) - 1
            self.i, self.j = renumbered[self.i[stays]], renumbered[self.j[stays]]
            self.short, self.long = self.short[stays], self.long[stays]
            self.shift = None if self.shift is None else self.shift[stays]
        self.top_speed, self.top_move = self.top_speed[nodes], self.top_move[nodes]
        self.square = torch.cat((self.top_move, self.top_speed)).square()

    def check_move(self, p: Particles, displacement: Tensor, velocity: Tensor) -> dict[int, str]:
        """Reasons by system, from what a propagator answered; empty when all is well."""
        squares = torch.cat((displacement, velocity)).square().sum(1)
        if bool((squares <= self.square).all()):  # NaN and infinity are not below anything
            return {}
        n = len(displacement)
        reasons: dict[int, str] = {}
        for values, top, what, unit in ((squares[:n], self.top_move, "displacement", "A"), (squares[n:], self.top_speed, "speed", "A/fs")):
            factor = getattr(self.watch, what)
            for node in (~(values <= top.square())).nonzero().flatten().tolist():
                scene = int(p.scene[node])
                value = math.sqrt(float(values[node])) if math.isfinite(float(values[node])) else math.inf
                text = f"{what}: {_name(p, node)} at {value:.4g} {unit} exceeds {factor:g} x {float(top[node]) / factor:.4g} {unit} of training"
                reasons.setdefault(scene, text if math.isfinite(value) else f"not finite: the {what} of {_name(p, node)}")
        return reasons

    def check_state(self, p: Particles) -> dict[int, str]:
        """Reasons by system from bonds and temperature."""
        reasons = self._bonds(p) if self.i is not None else {}
        if self.band is not None:
            heat = kinetics.temperature(p)
            cold, hot = heat < self.band[0], heat > self.band[1]
            bad = (cold | hot) & (kinetics.degrees_of_freedom(p) > 0)
            for scene in bad.nonzero().flatten().tolist():
                reasons.setdefault(scene, f"temperature: {float(heat[scene]):.0f} K is outside {self.band[0]:.0f} to {self.band[1]:.0f} K")
        return reasons

    def _bonds(self, p: Particles) -> dict[int, str]:
        vector = p.x.index_select(0, self.i) - p.x.index_select(0, self.j)
        length = (vector if self.shift is None else vector + self.shift).norm(dim=1)
        good = (length >= self.short) & (length <= self.long)
        if bool(good.all()):
            return {}
        reasons: dict[int, str] = {}
        for k in (~good).nonzero().flatten().tolist():
            i, j = int(self.i[k]), int(self.j[k])
            long = float(length[k]) > float(self.long[k])
            verb, factor, limit = ("exceeds", self.watch.bond_long, self.long) if long else ("is below", self.watch.bond_short, self.short)
            name = pair_name(int(p.kind[i]), int(p.kind[j]))
            low, high = sorted((_local(p, i), _local(p, j)))
            reasons.setdefault(int(p.scene[i]), f"bond: {name} {low} and {high} at {float(length[k]):.3g} A {verb} {factor:g} x "
                                                f"{float(limit[k]) / factor:.3g} A of training")
        return reasons


def select(p: Particles, scenes: Tensor, nodes: Tensor) -> Particles:
    """Some of the systems, packed anew; ``scenes[scene]`` and ``nodes[node]`` are True for those that stay."""
    number = scenes.cumsum(0) - 1
    pick = lambda value: None if value is None else value[scenes]  # noqa: E731
    return Particles(p.x[nodes], p.v[nodes], p.mass[nodes], p.kind[nodes], number[p.scene[nodes]], int(scenes.sum()), pick(p.cell), pick(p.pbc))


def _local(p: Particles, node: int) -> int:
    return node - int((p.scene < p.scene[node]).sum())


def _name(p: Particles, node: int) -> str:
    return f"{symbol(int(p.kind[node]))} {_local(p, node)}"
