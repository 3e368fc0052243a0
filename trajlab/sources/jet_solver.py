"""Vorticity and a passive scalar in a doubly periodic plane box, by a pseudo-spectral method.

omega_t + div(u omega) = nu Laplacian omega and theta_t + div(u theta) = kappa Laplacian theta, with u = (-psi_y, psi_x), Laplacian psi = omega.
Viscous terms are integrated exactly (integrating factor), the rest by the classical Runge-Kutta method; products are dealiased by the 2/3 rule
(Orszag 1971; Canuto, Hussaini, Quarteroni & Zang 1988). The frame is the one in which the mean velocity over the box is zero.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.sampled_velocity import SampledVelocity

__all__ = ["Box", "Course", "evolve"]

LIMIT = 1.3  #: Courant number above which the Runge-Kutta method is unstable for the shortest wave that is kept: 2.83/(2 pi/3)


class Box:
    """Wave numbers of an even grid ``[x y]`` over a square that repeats itself, and what is done with them."""

    def __init__(self, points: int, length: float) -> None:
        if points < 16 or points % 2 or not (np.isfinite(length) and length > 0):
            raise ValueError(f"{points} points over a length of {length:g}; an even number of at least 16 and a positive length were wanted")
        self.points, self.length, self.step = points, length, length / points
        whole, half = np.fft.fftfreq(points, 1.0 / points), np.arange(points // 2 + 1, dtype=float)
        self.kx, self.ky = 2.0 * np.pi / length * whole[:, None], 2.0 * np.pi / length * half[None]
        self.k2 = self.kx**2 + self.ky**2
        self.kept = (np.abs(whole)[:, None] < points / 3) & (half[None] < points / 3)
        self.highest = 2.0 * np.pi / length * (-(-points // 3) - 1)  #: largest wave number along an axis that is kept
        self.inverse = np.where(self.k2 > 0, -1.0 / np.where(self.k2 > 0, self.k2, 1.0), 0.0)  #: of the Laplacian

    @property
    def axis(self) -> np.ndarray:
        """Places along x or y, the middle of the box being 0."""
        return self.step * (np.arange(self.points) - self.points // 2)

    def to_waves(self, values: Any) -> Any:
        import scipy.fft

        return scipy.fft.rfft2(values, workers=1)

    def to_places(self, waves: Any) -> Any:
        import scipy.fft

        return scipy.fft.irfft2(waves, s=(self.points, self.points), workers=1)

    def stream(self, vorticity: Any) -> Any:
        """Waves of psi from waves of omega."""
        return self.inverse * vorticity

    def velocity(self, vorticity: Any) -> np.ndarray:
        """``[... x y 2]`` from omega ``[... x y]`` at places."""
        psi = self.stream(self.to_waves(vorticity))
        return np.stack([self.to_places(-1j * self.ky * psi), self.to_places(1j * self.kx * psi)], -1)

    def gradient(self, values: Any) -> np.ndarray:
        """``[... x y 2]``, derivatives along x and y of values ``[... x y]`` at places."""
        waves = self.to_waves(values)
        return np.stack([self.to_places(1j * self.kx * waves), self.to_places(1j * self.ky * waves)], -1)

    def finer(self, values: Any, times: int) -> np.ndarray:
        """The trigonometric interpolant of ``[... x y]`` on a grid that is finer by a whole factor."""
        import scipy.fft

        n, m = self.points, times * self.points
        waves = self.to_waves(values) * self.kept
        wide = np.zeros((*waves.shape[:-2], m, m // 2 + 1), dtype=complex)
        wide[..., : n // 2, : n // 2 + 1], wide[..., -(n // 2) :, : n // 2 + 1] = waves[..., : n // 2, :], waves[..., n // 2 :, :]
        return scipy.fft.irfft2(wide, s=(m, m), workers=1) * times**2


class Course(NamedTuple):
    """``vorticity[time x y]``, ``scalar[time x y]``, and the number of steps that were taken."""

    vorticity: Float[np.ndarray, "time x y"]
    scalar: Float[np.ndarray, "time x y"]
    steps: int


def evolve(vorticity: Any, scalar: Any, length: float, viscosity: float, diffusivity: float, times: Any, cfl: float = 0.7,
           dt: float | None = None) -> Course:
    """The flow at given times, from its vorticity and scalar at the first of them.

    Args:
        vorticity, scalar: ``[x y]``, equally many even points along both axes, the last one a step before the period ends; the mean vorticity is 0.
        length: of the period along both axes.
        viscosity, diffusivity: nu and kappa, length^2 over time, not negative.
        times: ``[time]``, rising.
        cfl: largest (|u| + |v|) dt over the grid step, from which steps are found before each of the times.
        dt: longest step, in place of that; refused where it breaks the limit of stability.

    Raises:
        ValueError: shapes, numbers or times as they must not be, fields that do not repeat, a step that is too long, a run that blows up.
    """
    box, state, clock = _checked(vorticity, scalar, length, viscosity, diffusivity, times, cfl)
    kappas = np.array([viscosity, diffusivity])[:, None, None]
    frames, total, energy = [box.to_places(state)], 0, _energy(box, state)
    for now, then in itertools.pairwise(clock):
        steps = _steps(box, state, then - now, cfl, dt, now)
        state, total = _advance(box, state, kappas, (then - now) / steps, steps), total + steps
        found = _energy(box, state)
        if not np.isfinite(found) or found > 1.5 * energy + 1e-12:
            raise ValueError(f"the flow blew up between t = {now:g} and {then:g} (kinetic energy {energy:.3g}, then {found:.3g}); it is not "
                             f"resolved: take more points than {box.points}, a higher viscosity than {viscosity:g}, or a smaller cfl than {cfl:g}")
        energy = found
        frames.append(box.to_places(state))
    return Course(np.stack([f[0] for f in frames]), np.stack([f[1] for f in frames]), total)


def _checked(vorticity: Any, scalar: Any, length: float, viscosity: float, diffusivity: float, times: Any, cfl: float) -> tuple[Box, Any, np.ndarray]:
    omega, theta = np.asarray(vorticity, dtype=float), np.asarray(scalar, dtype=float)
    if omega.ndim != 2 or omega.shape[0] != omega.shape[1] or theta.shape != omega.shape:
        raise ValueError(f"vorticity of shape {omega.shape} and scalar of shape {theta.shape}; [x y] with as many points along x as y was wanted")
    box, clock = Box(len(omega), length), np.asarray(times, dtype=float)
    if clock.ndim != 1 or len(clock) < 2 or not np.isfinite(clock).all() or not (np.diff(clock) > 0).all():
        raise ValueError(f"times of shape {clock.shape} must be finite and rise, and be at least 2")
    if not (np.isfinite([viscosity, diffusivity]).all() and min(viscosity, diffusivity) >= 0 and 0 < cfl <= LIMIT):
        raise ValueError(f"viscosity {viscosity:g}, diffusivity {diffusivity:g}, cfl {cfl:g}; two numbers of at least 0 and one above 0 and at most "
                         f"{LIMIT:g} were wanted")
    for name, values in (("vorticity", omega), ("scalar", theta)):
        SampledVelocity.stream(values, (box.axis, box.axis), periodic=(length, length), name=name)  # refuses what does not repeat or is not finite
    if abs(omega.mean()) > 1e-9 * max(float(np.abs(omega).max()), 1e-300):
        raise ValueError(f"the mean vorticity is {omega.mean():.3g}; in a periodic box it must be 0: subtract it")
    return box, box.to_waves(np.stack([omega, theta])) * box.kept, clock


def _energy(box: Box, state: Any) -> float:
    """Mean of |u|^2/2 from waves, by Parseval's theorem."""
    weight = np.full(box.points // 2 + 1, 2.0)
    weight[[0, -1]] = 1.0
    return float(-0.5 * (weight * np.abs(state[0]) ** 2 * box.inverse).sum() / box.points**4)


def _steps(box: Box, state: Any, span: float, cfl: float, dt: float | None, now: float) -> int:
    """How many steps to take over the span."""
    psi = box.stream(state[0])
    fastest = float((np.abs(box.to_places(-1j * box.ky * psi)) + np.abs(box.to_places(1j * box.kx * psi))).max())
    if dt is None:
        return max(1, int(np.ceil(span * fastest / (cfl * box.step))))
    steps = max(1, int(np.ceil(span / dt - 1e-9)))
    if fastest * span / steps > LIMIT * box.step:
        raise ValueError(f"dt = {dt:g} at t = {now:g} is a Courant number of {fastest * span / steps / box.step:.3g}, above the limit of stability "
                         f"{LIMIT:g}; take dt of at most {LIMIT * box.step / fastest:.3g}, or leave it out")
    return steps


def _advance(box: Box, state: Any, kappas: np.ndarray, h: float, steps: int) -> Any:
    half = np.exp(-0.5 * h * kappas * box.k2)
    whole = half * half
    for _ in range(steps):
        a = _rates(box, state)
        b = _rates(box, half * (state + 0.5 * h * a))
        c = _rates(box, half * state + 0.5 * h * b)
        d = _rates(box, whole * state + h * half * c)
        state = whole * (state + h / 6.0 * a) + h / 3.0 * half * (b + c) + h / 6.0 * d
    return state


def _rates(box: Box, state: Any) -> Any:
    """-div(u omega) and -div(u theta) as waves."""
    psi = box.stream(state[0])
    u, v, omega, theta = box.to_places(np.stack([-1j * box.ky * psi, 1j * box.kx * psi, state[0], state[1]]))
    flux = box.to_waves(np.stack([u * omega, u * theta, v * omega, v * theta]))
    return -1j * box.kept * (box.kx * flux[:2] + box.ky * flux[2:])
