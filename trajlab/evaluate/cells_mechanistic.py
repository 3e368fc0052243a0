"""Systems whose law is known but for its parameters: bridges with that family of references against Brownian ones, on every other snapshot."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from trajlab.evaluate.cells import HeldOut, scored
from trajlab.models.bridge_scale import without
from trajlab.models.sbirr import SchrodingerBridge, SchrodingerBridgeConfig
from trajlab.types import Snapshots

__all__ = ["KnownSystem", "Refined", "refined"]


@dataclass(frozen=True)
class KnownSystem:
    """What is fitted.

    Attributes:
        name: of the row.
        snapshots: even ones are fitted, odd ones held out.
        family: of references.
        sigma: the volatility, known.
        iterations: of refinement.
        bands: the range of each parameter that counts as found.
        options: further settings of the bridge.
    """

    name: str
    snapshots: Snapshots
    family: str
    sigma: float
    iterations: int
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refined:
    """What came of it.

    Attributes:
        system: the system.
        refined, brownian: distances to the held-out snapshots after and without refinement.
        parameters: by name.
        iterations: that were made.
        seconds: CPU time of the refined fit.
        objective: at the end.
    """

    system: KnownSystem
    refined: Sequence[HeldOut]
    brownian: Sequence[HeldOut]
    parameters: Mapping[str, float]
    iterations: int
    seconds: float
    objective: float

    @property
    def w1(self) -> float:
        return fmean(s.w1 for s in self.refined)

    @property
    def ratio(self) -> float:
        """Mean W1 over that of the Brownian bridge."""
        return self.w1 / fmean(s.w1 for s in self.brownian)

    @property
    def outside(self) -> list[str]:
        """Parameters out of their bands."""
        return [f"{name} = {self.parameters[name]:.3f} outside {low:g} to {high:g}" for name, (low, high) in self.system.bands.items()
                if not low <= self.parameters[name] <= high]


def refined(system: KnownSystem, cells: int = 400, seed: int = 0) -> Refined:
    """Fit the even snapshots with and without refinement, and measure the odd ones.

    Args:
        system: what is fitted.
        cells: predicted at each time, with the noise of the paths.
        seed: of pairs and paths.
    """
    began = time.process_time()
    config = SchrodingerBridgeConfig.mechanistic(system.family, system.sigma, system.iterations, seed=seed, **system.options)
    bridge = _even(system.snapshots, config)
    seconds = time.process_time() - began
    still = _even(system.snapshots, SchrodingerBridgeConfig.mechanistic("brownian", system.sigma, 0, seed=seed))
    lowest = min((step.objective for step in bridge.history), default=float("nan"))
    return Refined(system, _odd(bridge, system, cells), _odd(still, system, cells), bridge.parameters, len(bridge.history) - 1, seconds, lowest)


def _even(snapshots: Snapshots, config: SchrodingerBridgeConfig) -> SchrodingerBridge:
    return SchrodingerBridge(config).fit(without(snapshots, range(1, snapshots.n_snapshots, 2)))


def _odd(bridge: SchrodingerBridge, system: KnownSystem, cells: int) -> list[HeldOut]:
    last = float(bridge.snapshots.time[-1])
    held = [k for k in range(1, system.snapshots.n_snapshots, 2) if float(system.snapshots.time[k]) < last]
    drawn = bridge.bridge([float(system.snapshots.time[k]) for k in held], cells).x.double()
    return [scored(system.name, k, drawn[:, place], system.snapshots.at(k).double()) for place, k in enumerate(held)]
