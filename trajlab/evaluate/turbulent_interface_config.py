"""Settings of the procedure for turbulent interfaces."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from trajlab.sources.jet import JetConfig

__all__ = ["InterfaceConfig"]


@dataclass(frozen=True)
class InterfaceConfig:
    """Settings of the procedure.

    Attributes:
        jet: of the first run; the seeds of the others follow.
        runs: how many.
        starts: times of the frames at which interfaces are found and particles start.
        durations: integration times, rising.
        stride: every so-many-th grid point is a start along both axes.
        clusters, clustering: layers of the scalar and the algorithm, see `trajlab.metrics.interface.cluster_levels`.
        keep: see `trajlab.metrics.interface.find_interface`.
        outside, inside: how far conditional averages reach on either side, in Taylor microscales.
        bins: to a Taylor microscale.
        band: width, on either side, of what jumps and correlations are found over, in Taylor microscales.
        columns: groups of columns of a run, blocks for the errors.
        step: of the Runge-Kutta method of the particles, at most, in h/U.
        reach: of the active FTLE, in the parameter of the barrier field, h^3/U.
        looks: time between looks at the interface for its mean motion.

    Raises:
        ValueError: numbers out of their ranges, or times that the jet does not have.
    """

    jet: JetConfig = field(default_factory=lambda: JetConfig(spin_up=30.0, duration=26.0))
    runs: int = 3
    starts: tuple[float, ...] = (30.0, 35.0, 40.0)
    durations: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    stride: int = 2
    clusters: int = 4
    clustering: str = "kmeans"
    keep: float = 0.1
    outside: float = 1.5
    inside: float = 0.75
    bins: int = 16
    band: float = 0.5
    columns: int = 4
    step: float = 0.125
    reach: float = 2.0
    looks: float = 2.0

    def __post_init__(self) -> None:
        first, last = self.jet.spin_up, self.jet.spin_up + self.jet.duration
        if not self.starts or not self.durations or any(b <= a for a, b in zip((0.0, *self.durations), self.durations, strict=False)):
            raise ValueError(f"starts {self.starts} and durations {self.durations}; at least one start and positive rising durations were wanted")
        if min(self.starts) < first - 1e-9 or max(self.starts) + self.durations[-1] > last + 1e-9:
            raise ValueError(f"particles move from {min(self.starts):g} to {max(self.starts) + self.durations[-1]:g}, but frames of the jet are kept "
                             f"from {first:g} to {last:g}; change jet.spin_up, jet.duration, starts or durations")
        if self.runs < 1 or self.columns < 1 or self.runs * self.columns < 2 or self.stride < 1 or self.bins < 2 or self.clusters < 3:
            raise ValueError(f"runs={self.runs}, columns={self.columns}, stride={self.stride}, bins={self.bins}, clusters={self.clusters}; "
                             "at least 1, 1 (and 2 blocks in all), 1, 2 and 3 were wanted")
        for name in ("outside", "inside", "band", "step", "reach", "looks"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} = {getattr(self, name):g}; a positive number was wanted")
        if (self.jet.points // self.stride) < max(16, self.columns) or self.jet.points % self.stride:
            raise ValueError(f"stride {self.stride} of {self.jet.points} points; at least 16 starts, evenly along the whole axis, were wanted")
