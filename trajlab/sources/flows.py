"""Reference flows of the literature on transport barriers, with their gradients: linear saddle, double gyre, Bickley jet, ABC, Taylor-Green, Duffing.

Sources: Shadden, Lekien & Marsden (2005) (double gyre), Rypina, Brown, Beron-Vera, Kocak, Olascoaga & Udovydchenkov (2007) (Bickley jet),
Dombre, Frisch, Greene, Henon, Mehr & Soward (1986) (ABC), Taylor & Green (1937).
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np

from trajlab.catalog import load, unknown
from trajlab.dynamics.flow_fields import Flow
from trajlab.sources import FLOWS

__all__ = ["abc_flow", "bickley_jet", "double_gyre", "duffing", "flow", "linear_saddle", "taylor_green"]

TURN = 2.0 * math.pi
DAY = 86400.0  #: seconds


def flow(name: str, **parameters: Any) -> Flow:
    """The reference flow of this name with its customary parameters, or others.

    Raises:
        ValueError: there is none of this name.
        TypeError: a parameter that it does not have.
    """
    if name not in FLOWS:
        raise ValueError(unknown("flow", name, FLOWS))
    return load(FLOWS[name])(**parameters)


def _flow(name: str, both: Any, dim: int, parameters: dict[str, float], **more: Any) -> Flow:
    """The velocity, and its derivative along a vector, from the function that gives both."""
    for key, value in parameters.items():
        if not np.isfinite(value):
            raise ValueError(f"{name}: {key} = {value}; a finite number was wanted")

    @nb.njit
    def velocity(t, x, p):  # type: ignore[no-untyped-def]
        return both(t, x, p)[:dim]

    @nb.njit
    def along_2(t, x, v, p):  # type: ignore[no-untyped-def]
        _, _, a, b, c, d = both(t, x, p)
        return a * v[0] + b * v[1], c * v[0] + d * v[1]

    @nb.njit
    def along_3(t, x, v, p):  # type: ignore[no-untyped-def]
        _, _, _, a, b, c, d, e, f, g, h, i = both(t, x, p)
        return a * v[0] + b * v[1] + c * v[2], d * v[0] + e * v[1] + f * v[2], g * v[0] + h * v[1] + i * v[2]

    return Flow(velocity, dim, np.array(list(parameters.values()), dtype=np.float64), tuple(parameters), name, along_2 if dim == 2 else along_3,
                both=both, **more)


def linear_saddle(s: float = 1.0) -> Flow:
    """Linear saddle x' = s x, y' = -s y: its FTLE is |s| everywhere, over any duration."""

    @nb.njit
    def both(_, x, p):  # type: ignore[no-untyped-def]
        s = p[0]
        return s * x[0], -s * x[1], s, 0.0, 0.0, -s

    return _flow("linear_saddle", both, 2, {"s": s}, box=((-1.0, 1.0), (-1.0, 1.0)), duration=2.0)


def double_gyre(A: float = 0.1, eps: float = 0.25, omega: float = TURN / 10) -> Flow:
    """Double gyre on [0, 2] x [0, 1], two vortices whose border swings.

    The stream function is A sin(pi f) sin(pi y) with f = a x^2 + (1 - 2a) x, a = eps sin(omega t). The field is invariant under (x, y, t) ->
    (2 - x, 1 - y, -t), so that the backward FTLE from t = 0 at (2 - x, 1 - y) equals the forward one at (x, y).
    """

    @nb.njit
    def both(t, x, p):  # type: ignore[no-untyped-def]
        a = p[1] * np.sin(p[2] * t)
        f, fx = (a * x[0] + 1.0 - 2.0 * a) * x[0], 2.0 * a * x[0] + 1.0 - 2.0 * a
        sf, cf, sy, cy = np.sin(np.pi * f), np.cos(np.pi * f), np.sin(np.pi * x[1]), np.cos(np.pi * x[1])
        b = np.pi * p[0]
        ux = -b * np.pi * cf * fx * cy
        return -b * sf * cy, b * cf * sy * fx, ux, b * np.pi * sf * sy, b * sy * (2.0 * a * cf - np.pi * sf * fx * fx), -ux

    @nb.njit
    def laplacian(t, x, p):  # type: ignore[no-untyped-def]
        a = p[1] * np.sin(p[2] * t)
        f, fx = (a * x[0] + 1.0 - 2.0 * a) * x[0], 2.0 * a * x[0] + 1.0 - 2.0 * a
        sf, cf, q = np.sin(np.pi * f), np.cos(np.pi * f), fx * fx + 1.0
        along_y = np.pi**2 * p[0] * np.cos(np.pi * x[1]) * (2.0 * a * cf - np.pi * sf * q)
        along_x = -(np.pi**2) * p[0] * np.sin(np.pi * x[1]) * fx * (6.0 * a * sf + np.pi * cf * q)
        return -along_y, along_x

    return _flow("double_gyre", both, 2, {"A": A, "eps": eps, "omega": omega}, laplacian=laplacian, box=((0.0, 2.0), (0.0, 1.0)), duration=10.0)


def bickley_jet(U: float = 62.66e-6, L: float = 1.77, r0: float = 6.371, eps: tuple[float, float, float] = (0.0075, 0.15, 0.3)) -> Flow:
    """Bickley jet with three waves, in Mm and seconds.

    The stream function is U L (-tanh(y/L) + sech^2(y/L) sum eps_n cos(k_n (x - c_n t))), k_n = 2 n/r0, with speeds c_2 = 0.205 U, c_3 = 0.461 U
    and c_1 = c_3 + (sqrt 5 - 1)/2 k_2/k_1 (c_2 - c_3); x repeats after pi r0.
    """
    if len(eps) != 3 or not (L > 0 and r0 > 0):
        raise ValueError(f"bickley_jet: eps = {eps}, L = {L:g}, r0 = {r0:g}; three amplitudes and positive lengths were wanted")
    c2, c3 = 0.205 * U, 0.461 * U
    speeds = (c3 + (math.sqrt(5.0) - 1.0) * (c2 - c3), c2, c3)

    @nb.njit
    def both(t, x, p):  # type: ignore[no-untyped-def]
        u0, length = p[0], p[1]
        th = np.tanh(x[1] / length)
        s = 1.0 - th * th
        wave, slope, bend = 0.0, 0.0, 0.0  # sums of eps cos, eps k sin, eps k^2 cos
        for n in range(3):
            k = 2.0 * (n + 1) / p[2]
            angle = k * (x[0] - p[6 + n] * t)
            c = p[3 + n] * np.cos(angle)
            wave, slope, bend = wave + c, slope + k * p[3 + n] * np.sin(angle), bend + k * k * c
        ux = -2.0 * u0 * s * th * slope
        uy = 2.0 * u0 * s / length * (-th + (s - 2.0 * th * th) * wave)
        return u0 * s * (1.0 + 2.0 * th * wave), -u0 * length * s * slope, ux, uy, -u0 * length * s * bend, -ux

    given = {"U": U, "L": L, "r0": r0} | {f"eps_{n + 1}": e for n, e in enumerate(eps)} | {f"c_{n + 1}": c for n, c in enumerate(speeds)}
    return _flow("bickley_jet", both, 2, given, box=((0.0, math.pi * r0), (-3.0, 3.0)), periods=(math.pi * r0, None), duration=40 * DAY)


def taylor_green(A: float = 1.0, k: float = 1.0, nu: float = 0.0) -> Flow:
    """Taylor-Green vortices, steady or decaying.

    The stream function A exp(-2 nu k^2 t) sin(k x) sin(k y) solves Navier-Stokes exactly, and the Laplacian of u is -2 k^2 u. Momentum barriers,
    Eulerian and Lagrangian, are its streamlines; ``nu = 0`` is the steady flow.
    """

    @nb.njit
    def both(t, x, p):  # type: ignore[no-untyped-def]
        k = p[1]
        b = p[0] * k * np.exp(-2.0 * p[2] * k * k * t)
        sx, cx, sy, cy = np.sin(k * x[0]), np.cos(k * x[0]), np.sin(k * x[1]), np.cos(k * x[1])
        return -b * sx * cy, b * cx * sy, -b * k * cx * cy, b * k * sx * sy, -b * k * sx * sy, b * k * cx * cy

    @nb.njit
    def laplacian(t, x, p):  # type: ignore[no-untyped-def]
        c = 2.0 * p[1] ** 3 * p[0] * np.exp(-2.0 * p[2] * p[1] ** 2 * t)
        return c * np.sin(p[1] * x[0]) * np.cos(p[1] * x[1]), -c * np.cos(p[1] * x[0]) * np.sin(p[1] * x[1])

    if not k > 0:
        raise ValueError(f"taylor_green: k = {k:g}; a positive wave number was wanted")
    length = TURN / k
    return _flow("taylor_green", both, 2, {"A": A, "k": k, "nu": nu}, laplacian=laplacian, box=((0.0, length),) * 2, periods=(length,) * 2,
                 duration=TURN / abs(A) / k**2 if A else None)


def abc_flow(A: float = math.sqrt(3.0), B: float = math.sqrt(2.0), C: float = 1.0, nu: float = 0.0) -> Flow:
    """Arnold-Beltrami-Childress flow in 3-D, steady or decaying.

    The velocity is exp(-nu t) (A sin z + C cos y, B sin x + A cos z, C sin y + B cos x). It equals its own vorticity and is
    minus its own Laplacian; decaying, it solves Navier-Stokes exactly.
    """

    @nb.njit
    def both(t, x, p):  # type: ignore[no-untyped-def]
        d = np.exp(-p[3] * t)
        a, b, c = d * p[0], d * p[1], d * p[2]
        sx, cx, sy, cy, sz, cz = np.sin(x[0]), np.cos(x[0]), np.sin(x[1]), np.cos(x[1]), np.sin(x[2]), np.cos(x[2])
        return a * sz + c * cy, b * sx + a * cz, c * sy + b * cx, 0.0, -c * sy, a * cz, b * cx, 0.0, -a * sz, -b * sx, c * cy, 0.0

    @nb.njit
    def laplacian(t, x, p):  # type: ignore[no-untyped-def]
        d = -np.exp(-p[3] * t)
        return (d * (p[0] * np.sin(x[2]) + p[2] * np.cos(x[1])), d * (p[1] * np.sin(x[0]) + p[0] * np.cos(x[2])),
                d * (p[2] * np.sin(x[1]) + p[1] * np.cos(x[0])))

    return _flow("abc_flow", both, 3, {"A": A, "B": B, "C": C, "nu": nu}, laplacian=laplacian, curl_laplacian=laplacian, box=((0.0, TURN),) * 3,
                 periods=(TURN,) * 3, duration=5.0)


def duffing(delta: float = 0.15, eps: float = 0.3, omega: float = 1.0) -> Flow:
    """Forced and damped Duffing oscillator.

    The system is x' = y, y' = x - x^3 - delta y + eps cos(omega t); areas shrink as exp(-delta t)."""

    @nb.njit
    def both(t, x, p):  # type: ignore[no-untyped-def]
        return x[1], x[0] - x[0] ** 3 - p[0] * x[1] + p[1] * np.cos(p[2] * t), 0.0, 1.0, 1.0 - 3.0 * x[0] ** 2, -p[0]

    return _flow("duffing", both, 2, {"delta": delta, "eps": eps, "omega": omega}, box=((-2.0, 2.0), (-1.5, 1.5)), duration=TURN)
