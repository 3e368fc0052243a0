"""A plane jet with a passive scalar, computed here: turbulent-like, for in two dimensions no vortex is stretched.

The jet U (1 - tanh^2(y/h)) (Bickley 1937) along x carries the scalar with the same profile and starts with small seeded disturbances, in a
square that repeats itself. Lengths are in half-widths h, velocities in the first velocity U of the centre line, times in h/U. Vortices roll up,
pair and are thrown out as pairs, and wind the scalar into a convoluted border with the ambient fluid; the cascade and the entrainment of a
turbulent jet are not those of this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.sampled_velocity import SampledVelocity
from trajlab.sources.jet_solver import Box, evolve

__all__ = ["LABEL", "Jet", "JetConfig", "plane_jet", "plane_jet_flow"]

LABEL = "turbulent-like: 2-D has no vortex stretching"
MODES = 24  #: waves along an axis that are disturbed at most


@dataclass(frozen=True)
class JetConfig:
    """Settings of the jet.

    Attributes:
        points: along either axis; even.
        length: of the box, in half-widths of the jet.
        reynolds: U h/nu.
        schmidt: nu/kappa, the Schmidt (or Prandtl) number of the scalar.
        noise: root mean square of the disturbances of the velocity on the centre line, over U.
        spin_up: time before the first frame that is kept.
        duration: of the frames that are kept.
        interval: between frames; the duration is a multiple of it.
        cfl: largest Courant number of the steps.
        seed: of the disturbances, which are the same for any number of points.

    Raises:
        ValueError: a number that is not positive, or not finite.
    """

    points: int = 256
    length: float = 28.0
    reynolds: float = 1000.0
    schmidt: float = 1.0
    noise: float = 0.05
    spin_up: float = 30.0
    duration: float = 30.0
    interval: float = 0.5
    cfl: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("length", "reynolds", "schmidt", "noise", "duration", "interval"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"jet: {name} = {value:g}; a positive number was wanted")
        if not (np.isfinite(self.spin_up) and self.spin_up >= 0) or self.length < 12.0:
            raise ValueError(f"jet: spin_up = {self.spin_up:g}, length = {self.length:g}; a time of at least 0, and a box of at "
                             "least 12 half-widths, in which the profile repeats, were wanted")
        frames = self.duration / self.interval
        if abs(frames - round(frames)) > 1e-6 or frames < 3:
            raise ValueError(f"jet: duration {self.duration:g} is {frames:g} intervals of {self.interval:g}; a whole number of at least 3 was wanted")


@dataclass(frozen=True, eq=False)
class Jet:
    """A computed jet on the grid, in the frame in which the mean velocity over the box is zero.

    Attributes:
        vorticity: ``[time x y]``, omega = v_x - u_y, in U/h.
        scalar: ``[time x y]``, from 0 (ambient) to 1, but for what the truncated waves overshoot.
        times: ``[time]``, in h/U.
        axis: ``[point]``, places along x and y, in h; the period is ``config.length``.
        drift: velocity along x, in U, that is to be added for a frame in which the ambient fluid starts at rest.
        config: of the run.
        provenance: program, version, method, label, units.
    """

    vorticity: Float[np.ndarray, "time x y"]
    scalar: Float[np.ndarray, "time x y"]
    times: Float[np.ndarray, "time"]
    axis: Float[np.ndarray, "point"]
    drift: float
    config: JetConfig
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def box(self) -> Box:
        return Box(self.config.points, self.config.length)

    @property
    def viscosity(self) -> float:
        return 1.0 / self.config.reynolds

    @property
    def velocity(self) -> Float[np.ndarray, "time x y 2"]:
        """In U."""
        return self.box.velocity(self.vorticity)

    def flow(self, finer: int = 2) -> SampledVelocity:
        """The velocity between the grid points and frames: the spline of the stream function on a grid that is finer by this factor."""
        box = self.box
        psi = box.to_places(box.stream(box.to_waves(self.vorticity)))
        axis = np.arange(finer * len(self.axis)) * (box.step / finer) + self.axis[0]
        psi = box.finer(psi, finer) if finer > 1 else psi
        return SampledVelocity.stream(psi, (axis, axis), self.times, periodic=(box.length, box.length), name="plane jet")

    @property
    def energy(self) -> Float[np.ndarray, "time"]:
        """Mean of |u|^2/2 over the box; its rate of change is -2 nu times the enstrophy."""
        return 0.5 * (self.velocity**2).sum(-1).mean((1, 2))

    @property
    def enstrophy(self) -> Float[np.ndarray, "time"]:
        """Mean of omega^2/2; its rate of change is -nu times the mean of |grad omega|^2."""
        return 0.5 * (self.vorticity**2).mean((1, 2))

    @property
    def palinstrophy(self) -> Float[np.ndarray, "time"]:
        """Mean of |grad omega|^2/2."""
        return 0.5 * (self.box.gradient(self.vorticity) ** 2).sum(-1).mean((1, 2))

    @property
    def resolution(self) -> float:
        """Smallest k_max eta over the frames, eta = (nu^3/chi)^(1/6) with the dissipation of enstrophy chi; about 1 or more is resolved."""
        chi = 2.0 * self.viscosity * self.palinstrophy.max()
        return float(self.box.highest * (self.viscosity**3 / max(chi, 1e-300)) ** (1.0 / 6.0))


def plane_jet(config: JetConfig | None = None) -> Jet:
    """Plane jet with a passive scalar, turbulent-like in 2-D, computed by a pseudo-spectral method.

    A grid of 256 x 256 points over 60 h/U takes about 20 s of one processor.

    Raises:
        ValueError: as `JetConfig` and `trajlab.sources.jet_solver.evolve`.
    """
    from trajlab import __version__

    c = config or JetConfig()
    box = Box(c.points, c.length)
    omega, theta = _start(box, c)
    kept = c.spin_up + c.interval * np.arange(round(c.duration / c.interval) + 1)
    before = np.arange(0.0, c.spin_up, max(c.interval, 1.0))  # steps are found anew at each of these times
    clock = np.concatenate([before[before < c.spin_up - 1e-9], kept])
    found = evolve(omega, theta, c.length, 1.0 / c.reynolds, 1.0 / (c.reynolds * c.schmidt), clock, c.cfl)
    first = len(found.scalar) - len(kept)
    told = {"program": "trajlab.sources.jet", "version": __version__, "label": LABEL, "config": asdict(c), "steps": found.steps,
            "method": "pseudo-spectral vorticity, integrating factor and Runge-Kutta 4, 2/3 rule",
            "units": {"length": "h", "time": "h/U", "velocity": "U"}}
    drift = float((1.0 - np.tanh(box.axis) ** 2).mean())
    return Jet(found.vorticity[first:], found.scalar[first:], kept, box.axis, drift, c, told)


def plane_jet_flow(**settings: Any) -> SampledVelocity:
    """The flow of a jet with these settings of `JetConfig`, after its computation.

    Raises:
        TypeError: a setting that it does not have.
        ValueError: as `plane_jet`.
    """
    return plane_jet(JetConfig(**settings)).flow()


def _start(box: Box, c: JetConfig) -> tuple[np.ndarray, np.ndarray]:
    """Vorticity and scalar at the beginning: the profile, and waves of random phase under it, strongest near the one that grows most."""
    y = box.axis
    profile = 1.0 - np.tanh(y) ** 2
    rng = np.random.default_rng(c.seed)
    base = 2.0 * np.pi / c.length
    most = min(MODES, box.points // 3 - 1)
    psi = np.zeros((box.points, box.points))
    phases = rng.uniform(0.0, 2.0 * np.pi, (MODES + 1, 2 * MODES + 1))
    for i in range(1, most + 1):
        for j in range(-most, most + 1):
            k = base * np.hypot(i, j)
            size = k**2 * np.exp(-((k / 1.2) ** 2)) / k
            if size > 1e-6:
                psi += size * np.cos(base * (i * y[:, None] + j * y[None]) + phases[i, j + MODES])
    psi *= np.exp(-((y / 2.0) ** 2))
    slope = box.to_places(1j * box.kx * box.to_waves(psi))
    middle = slope[:, np.abs(y) <= 0.5]
    psi *= c.noise / np.sqrt((middle**2).mean())
    mean = -box.to_places(1j * box.ky * box.to_waves(np.tile(profile, (box.points, 1))))
    omega = mean + box.to_places(-box.k2 * box.to_waves(psi))
    return omega - omega.mean(), np.tile(profile, (box.points, 1))
