"""Compiled integrators of small systems of bodies with unit mass: the steps of the published data sets, and adaptive steps with error control.

The force on body i is ``sum_j w(|d|^2, c_ij) d`` with ``d = x_i - x_j`` and, by law,

- `COULOMB`: ``w = c / |d|^3``, ``c_ij = q_i q_j``,
- `HOOKE`: ``w = -0.1 c``, ``c_ij`` in {0, 1},
- `NEWTON`: ``w = -c / (|d|^2 + 0.1^2)^(3/2)``, ``c_ij = m_i m_j``.

All arrays are float64: ``x, v [scene body 3]``, couplings ``c [scene body body]``. A checker of annotations must not wrap what is compiled:
hence `no_type_check`.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np

COULOMB, HOOKE, NEWTON = 0, 1, 2
STIFFNESS, SOFTENING = 0.1, 0.1

# Dormand and Prince (1980), RK5(4)7M; the last row of A is the solution of order 5 (first same as last), ERROR the difference to order 4.
A = np.array([
    [0, 0, 0, 0, 0, 0],
    [1 / 5, 0, 0, 0, 0, 0],
    [3 / 40, 9 / 40, 0, 0, 0, 0],
    [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
    [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
    [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
    [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
])
ERROR = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])


@numba.njit(cache=True)
@no_type_check
def forces(law, x, c, f):
    """Write the forces on all bodies of one system into ``f``; the potential energy is returned."""
    f[:] = 0.0
    energy = 0.0
    for i in range(len(x)):
        for j in range(i):
            d0, d1, d2 = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
            r2 = d0 * d0 + d1 * d1 + d2 * d2
            if law == COULOMB:
                u = c[i, j] / np.sqrt(r2)
                w = u / r2
            elif law == HOOKE:
                w = -STIFFNESS * c[i, j]
                u = -0.5 * w * r2
            else:
                r2 += SOFTENING * SOFTENING
                u = -c[i, j] / np.sqrt(r2)
                w = u / r2
            energy += u
            f[i, 0] += w * d0
            f[i, 1] += w * d1
            f[i, 2] += w * d2
            f[j, 0] -= w * d0
            f[j, 1] -= w * d1
            f[j, 2] -= w * d2
    return energy


@numba.njit(cache=True)
@no_type_check
def led(law, x, v, c, lead, cap):
    """Velocities ``[scene time body 3]`` moved on by ``lead`` times the (capped) force."""
    out = v.copy()
    f = np.empty(x.shape[2:])
    for b in range(x.shape[0]):
        for k in range(x.shape[1]):
            forces(law, x[b, k], c[b], f)
            for i in range(x.shape[2]):
                for a in range(3):
                    out[b, k, i, a] += lead * min(max(f[i, a], -cap), cap)
    return out


@numba.njit(cache=True)
@no_type_check
def energies(law, x, v, c, lead, cap):
    """Total energy ``[scene time]`` of states ``[scene time body 3]``; velocities are moved on by ``lead`` times the (capped) force first."""
    out = np.empty(x.shape[:2])
    f = np.empty(x.shape[2:])
    v = led(law, x, v, c, lead, cap)
    for b in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[b, k] = forces(law, x[b, k], c[b], f)
            for i in range(x.shape[2]):
                for a in range(3):
                    out[b, k] += 0.5 * v[b, k, i, a] ** 2
    return out


@numba.njit(cache=True)
@no_type_check
def euler(law, x, v, c, dt, every, frames, cap):
    """Symplectic Euler, ``v += dt F; x += dt v``, each component of a force cut off at ``cap``.

    States after ``every, 2 every, ...`` steps, ``[scene time body 3]``: the start itself is not among them.
    """
    out = np.empty((x.shape[0], frames, x.shape[1], 3))
    speed = np.empty_like(out)
    f = np.empty(x.shape[1:])
    for b in range(x.shape[0]):
        p, u = x[b].copy(), v[b].copy()
        for step in range(frames * every):
            forces(law, p, c[b], f)
            for i in range(len(p)):
                for a in range(3):
                    u[i, a] += dt * min(max(f[i, a], -cap), cap)
                    p[i, a] += dt * u[i, a]
            if (step + 1) % every == 0:
                out[b, step // every] = p
                speed[b, step // every] = u
    return out, speed


@numba.njit(cache=True)
@no_type_check
def add(y, h, k):
    """``y += h k``, flat arrays."""
    for n in range(y.size):
        y[n] += h * k[n]


@numba.njit(cache=True)
@no_type_check
def verlet(law, x, v, c, dt, every, frames):
    """Velocity Verlet. States after ``0, every, 2 every, ...`` steps, ``[scene time body 3]``."""
    out = np.empty((x.shape[0], frames, x.shape[1], 3))
    speed = np.empty_like(out)
    f = np.empty(x.shape[1:])
    flat = f.reshape(f.size)
    for b in range(x.shape[0]):
        p, u = x[b].copy(), v[b].copy()
        position, velocity = p.reshape(p.size), u.reshape(u.size)
        forces(law, p, c[b], f)
        for frame in range(frames):
            out[b, frame] = p
            speed[b, frame] = u
            if frame + 1 < frames:
                for _ in range(every):
                    add(velocity, 0.5 * dt, flat)
                    add(position, dt, velocity)
                    forces(law, p, c[b], f)
                    add(velocity, 0.5 * dt, flat)
    return out, speed


@numba.njit(cache=True)
@no_type_check
def slope(law, y, c, k):
    """``k = (v, F)`` of a state ``y = (x, v)``, both ``[2 body 3]``."""
    k[0] = y[1]
    forces(law, y[0], c, k[1])


@numba.njit(cache=True)
@no_type_check
def nearest(x, scale):
    """Distance of every body to its nearest neighbour, at most 1."""
    scale[:] = 1.0
    for i in range(len(x)):
        for j in range(i):
            r = np.sqrt((x[i, 0] - x[j, 0]) ** 2 + (x[i, 1] - x[j, 1]) ** 2 + (x[i, 2] - x[j, 2]) ** 2)
            scale[i] = min(scale[i], r)
            scale[j] = min(scale[j], r)


@numba.njit(cache=True)
@no_type_check
def attempt(law, y, k, c, h, work):
    """One Dormand-Prince step of ``y [2 body 3]`` from its slope ``k[0]``: the new state goes to ``work``, its slope to ``k[6]``."""
    slopes, new = k.reshape(7, y.size), work.reshape(y.size)
    for s in range(1, 7):
        work[:] = y
        for r in range(s):
            add(new, h * A[s, r], slopes[r])
        slope(law, work, c, k[s])


@numba.njit(cache=True)
@no_type_check
def trouble(k, y, h, tolerance, scale):
    """The largest error of a step in units of what is allowed: relative to the nearest neighbour for positions, to the speed for velocities."""
    worst = 0.0
    nearest(y[0], scale)
    for i in range(y.shape[1]):
        for a in range(3):
            for part in range(2):
                error = 0.0
                for s in range(7):
                    error += h * ERROR[s] * k[s, part, i, a]
                size = scale[i] if part == 0 else max(1.0, abs(y[1, i, a]))
                worst = max(worst, abs(error) / (tolerance * size + 1e-15))
    return worst


@numba.njit(cache=True)
@no_type_check
def dormand_prince(law, x, v, c, times, tolerance, limit):
    """Adaptive Runge-Kutta steps of order 5 that end at each of ``times``.

    Returns:
        States ``[scene time body 3]``, and the number of steps of each scene; -1 where it took more than ``limit``.
    """
    out = np.zeros((x.shape[0], len(times), x.shape[1], 3))
    speed, steps = np.zeros_like(out), np.zeros(x.shape[0], dtype=np.int64)
    y, work, k = np.empty((2, x.shape[1], 3)), np.empty((2, x.shape[1], 3)), np.empty((7, 2, x.shape[1], 3))
    scale = np.empty(x.shape[1])
    for b in range(x.shape[0]):
        y[0], y[1] = x[b], v[b]
        slope(law, y, c[b], k[0])
        now, h = 0.0, 1e-3
        for frame in range(len(times)):
            while times[frame] - now > 1e-13 and steps[b] >= 0:
                take = min(h, times[frame] - now)
                attempt(law, y, k, c[b], take, work)
                worst = trouble(k, y, take, tolerance, scale)
                if worst <= 1.0:
                    now += take
                    y[:] = work
                    k[0] = k[6]
                grown = take * min(5.0, max(0.2, 0.9 * (worst + 1e-10) ** -0.2))
                h = max(h, grown) if worst <= 1.0 and take < h else grown  # a step cut short by a frame says nothing against h
                steps[b] = steps[b] + 1 if steps[b] < limit else -1
            out[b, frame] = y[0]
            speed[b, frame] = y[1]
    return out, speed, steps
