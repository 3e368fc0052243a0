"""Right-hand sides written from their equations: of the systems that have none to compile in the catalogue they come from, and of those with kinks.

Each takes the components ``x[i]`` and the parameters in alphabetical order, arrays of them flat, row by row; each serves numba, numpy (a component
is a batch of values), torch, and complex numbers: where an equation has a kink, the branch is chosen by the real part, so that the derivative along
an imaginary step is that of the branch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

__all__ = ["PORTED"]


@register_jitable
def positive(x):  # type: ignore[no-untyped-def]
    """1 where x > 0, else 0, in the precision of x (torch would take the default one)."""
    return (x.real > 0) * (0.0 * x.real + 1.0)


@register_jitable
def direction(x):  # type: ignore[no-untyped-def]
    """-1, 0 or 1."""
    return positive(x) - positive(-x)


@register_jitable
def size(x):  # type: ignore[no-untyped-def]
    """The absolute value of a real number, with its slope along an imaginary step."""
    return x * (2.0 * (x.real > 0) - 1.0)


@register_jitable
def lesser(a, b):  # type: ignore[no-untyped-def]
    """The smaller of two numbers."""
    first = 1.0 * (a.real < b.real)
    return first * a + (1.0 - first) * b


@register_jitable
def ramp(x):  # type: ignore[no-untyped-def]
    """x, cut off at -1 and 1."""
    return 0.5 * (size(x + 1.0) - size(x - 1.0))


@register_jitable
def switch(time, tau):  # type: ignore[no-untyped-def]
    """A smooth square wave between 0 and 1 of period tau, with flanks of stiffness 20 tau."""
    return 0.5 + 0.5 * np.tanh(20.0 * tau * np.sin(2.0 * np.pi * time / tau))


@register_jitable
def anishchenko_astakhov(x, eta, mu):  # type: ignore[no-untyped-def]
    """Oscillator with inertial nonlinearity (Anishchenko, Astakhov, Neiman, Vadivasova & Schimansky-Geier 2007)."""
    return mu * x[0] + x[1] - x[0] * x[2], -x[0], -eta * x[2] + eta * positive(x[0]) * x[0] ** 2


@register_jitable
def _beer(x, tau, theta, w, i):  # type: ignore[no-untyped-def]
    drive = 0.0 * x[0]
    for j in range(3):
        drive = drive + w[3 * i + j] / (1.0 + np.exp(-(x[j] + theta[j])))
    return (drive - x[i]) / tau[i]


@register_jitable
def beer_rnn(x, tau, theta, w):  # type: ignore[no-untyped-def]
    """Continuous-time recurrent network of three units (Beer 1995): tau_i x_i' = -x_i + sum_j w_ij sigma(x_j + theta_j)."""
    return _beer(x, tau, theta, w, 0), _beer(x, tau, theta, w, 1), _beer(x, tau, theta, w, 2)


@register_jitable
def _rotlet(r, cos, sin, a, b, bc):  # type: ignore[no-untyped-def]
    """Velocity (radial, azimuthal) at (r, theta) of a rotlet at distance b from the centre of a cylinder of radius a."""
    image = (b / a) ** 2
    kappa = a**2 + image * r**2 - 2.0 * b * r * cos
    zeta = b**2 + r**2 - 2.0 * b * r * cos
    gamma = (1.0 - r**2 / a**2) * (a**2 - image * r**2)
    iota = image * r - b * cos
    nu = a**2 + b**2 - 2.0 * image * r**2
    radial = b * sin * (1.0 / zeta - 1.0 / kappa - bc * gamma / kappa**2)
    return radial, bc * (gamma * iota / kappa**2 + r * nu / (a**2 * kappa)) + iota / kappa - (r - b * cos) / zeta


@register_jitable
def blinking_rotlet(x, a, b, bc, sigma, tau):  # type: ignore[no-untyped-def]
    """Two rotlets in a cylinder that take turns (Meleshko & Aref 1996); r, theta and the time."""
    cos, sin, weight = np.cos(x[1]), np.sin(x[1]), switch(x[2], tau)
    r1, th1 = _rotlet(x[0], cos, sin, a, b, bc)
    r2, th2 = _rotlet(x[0], cos, sin, a, -b, bc)
    return sigma * (weight * r1 + (1.0 - weight) * r2), sigma * (weight * th1 + (1.0 - weight) * th2) / x[0], 1.0


@register_jitable
def ca_two_plus(x, K2, K5, Ka, Kd, Ky, Kz, V0, V1, V4, Vm2, Vm3, Vm5, beta, eps, k, kf, m, n, p):  # type: ignore[no-untyped-def]
    """Oscillations of intracellular calcium (Houart, Dupont & Goldbeter 1999): calcium in the cytosol, in the store, and inositol phosphate."""
    z, y, a = x[0], x[1], x[2]
    pumped = Vm2 * z**2 / (K2**2 + z**2)
    released = Vm3 * z**m / (Kz**m + z**m) * y**2 / (Ky**2 + y**2) * a**4 / (Ka**4 + a**4)
    degraded = Vm5 * a**p / (K5**p + a**p) * z**n / (Kd**n + z**n)
    return V0 + V1 * beta - pumped + released + kf * y - k * z, pumped - released - kf * y, beta * V4 - degraded - eps * a


@register_jitable
def _cell(c, m, x, other, K, Kc, Kd1, Kim, V2, V4, Vm1, Vm3, kd1, vd, vi):  # type: ignore[no-untyped-def]
    """One oscillator of cyclin c, kinase m and protease x, inhibited by the kinase of the other."""
    cyclin = vi * Kim / (Kim + other) - vd * x * c / (Kd1 + c) - kd1 * c
    kinase = Vm1 * c / (Kc + c) * (1.0 - m) / (K + 1.0 - m) - V2 * m / (K + m)
    return cyclin, kinase, Vm3 * m * (1.0 - x) / (K + 1.0 - x) - V4 * x / (K + x)


@register_jitable
def cell_cycle(x, K, Kc, Kd1, Kim, V2, V4, Vm1, Vm3, kd1, vd, vi):  # type: ignore[no-untyped-def]
    """Two mutually inhibiting mitotic oscillators (Romond, Rustici, Gonze & Goldbeter 1999)."""
    c1, m1, x1 = _cell(x[0], x[1], x[2], x[4], K, Kc, Kd1, Kim, V2, V4, Vm1, Vm3, kd1, vd, vi)
    c2, m2, x2 = _cell(x[3], x[4], x[5], x[1], K, Kc, Kd1, Kim, V2, V4, Vm1, Vm3, kd1, vd, vi)
    return c1, m1, x1, c2, m2, x2


@register_jitable
def cellular_neural_network(x, a, b, c, d):  # type: ignore[no-untyped-def]
    """Three cells with piecewise linear outputs (Arena, Caponetto, Fortuna & Porto 1998)."""
    u, v, w = ramp(x[0]), ramp(x[1]), ramp(x[2])
    return -x[0] + d * u - b * v - b * w, -x[1] - b * u + c * v - a * w, -x[2] - b * u + a * v + w


@register_jitable
def circadian_rhythm(x, Ki, k, k1, k2, kd, kdn, km, ks, n, ps, vc, vd, vdn, vm, vmax, vmin):  # type: ignore[no-untyped-def]
    """Circadian clock under light and darkness (Leloup, Gonze & Goldbeter 1999); the last component is the phase of the light."""
    m, cytosol, signal, nucleus = x[0], x[1], x[2], x[3]
    light = vc * (0.5 + 0.5 * np.cos(x[4]) + vmin) * (vmax - vmin)
    made = light * Ki**n / (Ki**n + nucleus**n) - vm * m / (km + m)
    enters = k1 * cytosol - k2 * nucleus
    return (made, ks * m - enters - k * cytosol, k * cytosol - vd * signal / (kd + signal), enters - vdn * nucleus / (kdn + nucleus),
            2.0 * np.pi / ps)


@register_jitable
def colpitts(x, a, b, c, d, e):  # type: ignore[no-untyped-def]
    """Colpitts oscillator with a piecewise linear transistor (Kennedy 1994)."""
    u = x[2] - (e - 1.0)
    return x[1] + a * u * (1.0 - positive(u)), c - x[0] - b * x[1] - x[2], x[1] - d * x[2]


@register_jitable
def _rate(v, offset, slope, shift, scale):  # type: ignore[no-untyped-def]
    return scale * (offset + v) / (1.0 - np.exp(-slope * v - shift))


@register_jitable
def excitable_cell(x, aho, ahr, ahs, ams, amvb, amvo, ans, anvb, anvo, ar, bho, bhr, bmo, bmr, bms, bno, bnr, bns,  # type: ignore[no-untyped-def]
                   gi, gkc, gkv, gl, kc, rho, tscl, vc, vi, vk, vl, vm, vn):  # noqa: ARG001 - the catalogue's parameters
    """Bursting of an excitable cell (Chay 1985): voltage, gate of the potassium channel, calcium."""
    v, n, c = x[0], x[1], x[2]
    alpha_m, beta_m = _rate(v, amvb, ar, amvo, ams), bms * np.exp(-bmr * v - bmo)
    alpha_h, beta_h = ahs * np.exp(-ahr * v - aho), 1.0 / (1.0 + np.exp(-bhr * v - bho))
    alpha_n, beta_n = _rate(v, anvb, ar, anvo, ans), bns * np.exp(-bnr * v - bno)
    mixed = (alpha_m / (alpha_m + beta_m)) ** 3 * alpha_h / (alpha_h + beta_h)
    potassium = (gkv * n**4 + gkc * c / (1.0 + c)) * (vk - v)
    return (gi * mixed * (vi - v) + potassium + gl * (vl - v), tscl * (alpha_n - n * (alpha_n + beta_n)),
            rho * (mixed * (vc - v) - kc * c))


@register_jitable
def fluid_trampoline(x, gamma, psi, w):  # type: ignore[no-untyped-def]
    """A drop that bounces on a vibrating soap film (Gilet & Bush 2009); height, speed and the phase of the film."""
    contact = positive(-x[0])
    return x[1], -1.0 - contact * (x[0] + psi * x[1] * size(x[1])) + gamma * np.cos(x[2]), w


@register_jitable
def _hopfield(x, beta, eps, k, tau, i):  # type: ignore[no-untyped-def]
    drive = 0.0 * x[0]
    for j in range(6):
        drive = drive + k[6 * i + j] * x[j]
    return -x[i] / tau + 0.5 * (1.0 + np.tanh(eps * drive)) - beta


@register_jitable
def hopfield(x, beta, eps, k, tau):  # type: ignore[no-untyped-def]
    """Neural network of six units in continuous time (Lewis & Glass 1992)."""
    return (_hopfield(x, beta, eps, k, tau, 0), _hopfield(x, beta, eps, k, tau, 1), _hopfield(x, beta, eps, k, tau, 2),
            _hopfield(x, beta, eps, k, tau, 3), _hopfield(x, beta, eps, k, tau, 4), _hopfield(x, beta, eps, k, tau, 5))


@register_jitable
def interior_squirmer(x, a, g, tau):  # type: ignore[no-untyped-def]
    """Flow in a disc driven by its wall in two turns (Blake 1971); r, theta and the time."""
    r, on = x[0], switch(x[2], tau)
    radial, around, power = 0.0 * r, 0.0 * r, 1.0 + 0.0 * r
    for i in range(len(a)):
        order = i + 1.0
        power = power * r
        cos, sin = np.cos(order * x[1]), np.sin(order * x[1])
        bend = order * (r**2 - 1.0) / r
        radial = radial + power * bend * ((1.0 - on) * g[i] * cos + on * a[i] * sin)
        around = around + power * (2.0 * r + bend) * (on * a[i] * cos - (1.0 - on) * g[i] * sin)
    return radial, around / r, 1.0


@register_jitable
def _lid(x, y, a, b, u, order):  # type: ignore[no-untyped-def]
    """Velocity of one mode of Stokes flow in a cavity of width a and half height b."""
    q = order * np.pi / a
    front = 2.0 * u / (2.0 * order * np.pi * b + a * np.sinh(2.0 * q * b))
    wall, mid = np.sinh(q * b), np.cosh(q * b)
    along = -order * np.pi * b * wall * np.sinh(q * y) + mid * (order * np.pi * y * np.cosh(q * y) + a * np.sinh(q * y))
    across = b * wall * np.cosh(q * y) - mid * y * np.sinh(q * y)
    return front * np.sin(q * x) * along, order * np.pi * front * np.cos(q * x) * across


@register_jitable
def lid_driven_cavity_flow(x, a, b, tau, u1, u2):  # type: ignore[no-untyped-def]
    """Stokes flow in a cavity with a lid that takes turns (Grover, Ross, Stremler & Kumar 2012); x, y and the time."""
    turn = 2.0 * switch(x[2], tau) - 1.0
    x1, y1 = _lid(x[0], x[1], a, b, u1, 1.0)
    x2, y2 = _lid(x[0], x[1], a, b, u2, 2.0)
    return turn * x1 + x2, turn * y1 + y2, 1.0


@register_jitable
def lorenz96(x, f):  # type: ignore[no-untyped-def]
    """Lorenz' ring of four (Lorenz 1996): x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + f."""
    return ((x[1] - x[2]) * x[3] - x[0] + f, (x[2] - x[3]) * x[0] - x[1] + f, (x[3] - x[0]) * x[1] - x[2] + f, (x[0] - x[1]) * x[2] - x[3] + f)


@register_jitable
def _growth(x, k, r, i):  # type: ignore[no-untyped-def]
    """Growth rate of species i on the resource that limits it."""
    least = r * x[5] / (k[i] + x[5])
    for j in range(1, 5):
        least = lesser(r * x[5 + j] / (k[5 * j + i] + x[5 + j]), least)
    return least


@register_jitable
def _supply(x, uptake, c, d, s, i):  # type: ignore[no-untyped-def]
    used = 0.0 * x[0]
    for j in range(5):
        used = used + c[5 * i + j] * uptake[j]
    return d * (s[i] - x[5 + i]) - used


@register_jitable
def macarthur(x, c, d, k, m, r, s):  # type: ignore[no-untyped-def]
    """Five species that compete for five resources (MacArthur 1969; Huisman & Weissing 1999)."""
    u = (_growth(x, k, r, 0) * x[0], _growth(x, k, r, 1) * x[1], _growth(x, k, r, 2) * x[2], _growth(x, k, r, 3) * x[3],
         _growth(x, k, r, 4) * x[4])
    return (u[0] - m * x[0], u[1] - m * x[1], u[2] - m * x[2], u[3] - m * x[3], u[4] - m * x[4], _supply(x, u, c, d, s, 0),
            _supply(x, u, c, d, s, 1), _supply(x, u, c, d, s, 2), _supply(x, u, c, d, s, 3), _supply(x, u, c, d, s, 4))


@register_jitable
def multi_chua(x, a, b, c, m):  # type: ignore[no-untyped-def]
    """Chua's circuit with a diode of many segments (Yalcin, Suykens & Vandewalle 2000)."""
    current = m[len(m) - 1] * x[0]
    for i in range(1, len(m)):
        current = current + 0.5 * (m[i - 1] - m[i]) * (size(x[0] + c[i]) - size(x[0] - c[i]))
    return a * (x[1] - current), x[0] - x[1] + x[2], -b * x[1]


@register_jitable
def bickley_jet(x, ell, eps, k, omega, sigma, u):  # type: ignore[no-untyped-def]
    """Meandering jet with three Rossby waves (del-Castillo-Negrete & Morrison 1993): distance from its axis, distance along it, time."""
    far, sech = np.tanh(x[0] / ell), 1.0 / np.cosh(x[0] / ell)
    along, across = 0.0 * x[0], 0.0 * x[0]
    for i in range(3):
        phase = k[i] * (x[1] - sigma[i] * x[2])
        along = along + eps[i] * np.cos(phase)
        across = across + eps[i] * k[i] * np.sin(phase)
    return ell * u * sech**2 * across, u * sech**2 * (-1.0 - 2.0 * along * far), omega


@register_jitable
def belousov_zhabotinsky(x, c1, c10, c11, c12, c13, c2, c3, c4, c5, c6, c7, c8, c9, ci, kf, t0, y0, yb1, yb2, yb3, z0):  # type: ignore[no-untyped-def]
    """Belousov-Zhabotinsky reaction, reduced to bromous acid, cerium and bromomalonic acid (Gyorgyi & Field 1992)."""
    bromide = yb1 / y0 * x[1] * x[2] / (yb2 * x[0] + yb3 + kf)
    acid, cerium, malonic = positive(x[0]) * x[0], x[1], x[2]
    radical = (ci - z0 * cerium) * np.sqrt(acid)
    return (t0 * ((c1 * acid + c2) * bromide + c3 * acid**2 + c4 * radical + c5 * acid * cerium - kf * acid),
            t0 * (c6 / z0 * radical + (c7 * acid + c8 * malonic + c9 - kf) * cerium),
            t0 * ((c10 * acid + c11) * bromide + c12 * acid**2 + c13 * cerium * malonic - kf * malonic))


@register_jitable
def chua(x, alpha, beta, m0, m1):  # type: ignore[no-untyped-def]
    """Chua's circuit with a piecewise linear diode (Chua 1969; Matsumoto 1984)."""
    return alpha * (x[1] - x[0] - m1 * x[0] - (m0 - m1) * ramp(x[0])), x[0] - x[1] + x[2], -beta * x[1]


@register_jitable
def san_um_srisuchinwong(x, a):  # type: ignore[no-untyped-def]
    """A flow with a hyperbolic tangent and an absolute value (San-Um & Srisuchinwong 2012)."""
    return x[1] - x[0], -x[2] * np.tanh(x[0]), -a + x[0] * x[1] + size(x[1])


@register_jitable
def sprott_more(x):  # type: ignore[no-untyped-def]
    """A flow without equilibria whose damping changes sign (Sprott 2020)."""
    return x[1], -x[0] - direction(x[2]) * x[1], x[1] ** 2 - np.exp(-(x[0] ** 2))


@register_jitable
def stick_slip_oscillator(x, a, alpha, b, beta, eps, gamma, t0, vs, w):  # type: ignore[no-untyped-def]
    """Driven oscillator with dry friction on a moving belt (Awrejcewicz & Holicke 1999); position, velocity and the phase of the drive."""
    slip = x[1] - vs
    friction = t0 * direction(slip) - alpha * x[1] + beta * slip**3
    return x[1], eps * (gamma * np.cos(x[2]) - friction) + a * x[0] - b * x[0] ** 3, w


#: name of the system -> right-hand side (x, parameters in alphabetical order)
PORTED: dict[str, Callable[..., Any]] = {
    "AnishchenkoAstakhov": anishchenko_astakhov, "BeerRNN": beer_rnn, "BelousovZhabotinsky": belousov_zhabotinsky,
    "BickleyJet": bickley_jet, "BlinkingRotlet": blinking_rotlet, "BlinkingVortex": blinking_rotlet, "CaTwoPlus": ca_two_plus,
    "CaTwoPlusQuasiperiodic": ca_two_plus, "CellCycle": cell_cycle, "CellularNeuralNetwork": cellular_neural_network, "Chua": chua,
    "CircadianRhythm": circadian_rhythm, "Colpitts": colpitts, "ExcitableCell": excitable_cell, "FluidTrampoline": fluid_trampoline,
    "Hopfield": hopfield, "InteriorSquirmer": interior_squirmer, "LidDrivenCavityFlow": lid_driven_cavity_flow, "Lorenz96": lorenz96,
    "MacArthur": macarthur, "MultiChua": multi_chua, "SanUmSrisuchinwong": san_um_srisuchinwong, "SprottMore": sprott_more,
    "StickSlipOscillator": stick_slip_oscillator,
}
