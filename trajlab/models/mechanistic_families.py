"""Families of known laws: Lotka-Volterra, the repressilator, vortices and a spring."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from trajlab.models.parametric_families import LEAST, Parametric

__all__ = ["LambOseen", "LotkaVolterra", "Repressilator", "Spring", "Vortex"]


def _lotka_volterra(x: Tensor, theta: Tensor) -> Tensor:
    prey, predator = x[:, 0], x[:, 1]
    alpha, beta, gamma, delta = theta
    return torch.stack([alpha * prey - beta * prey * predator, delta * prey * predator - gamma * predator], 1)


def _lotka_volterra_slope(x: Tensor, theta: Tensor) -> Tensor:
    prey, predator = x[:, 0], x[:, 1]
    alpha, beta, gamma, delta = theta
    return torch.stack([alpha - beta * predator, -beta * prey, delta * predator, delta * prey - gamma], 1).reshape(-1, 2, 2)


def _repressilator(x: Tensor, theta: Tensor) -> Tensor:
    beta, n, k, gamma = theta
    other = x.roll(1, 1).clamp(min=1e-8)  # each is repressed by the one before it
    return beta / (1 + (other / k) ** n) - gamma * x


def _repressilator_slope(x: Tensor, theta: Tensor) -> Tensor:
    beta, n, k, gamma = theta
    other = x.roll(1, 1).clamp(min=1e-8)
    q = (other / k) ** n
    fall = torch.where(x.roll(1, 1) > 1e-8, -beta * n * q / (other * (1 + q) ** 2), 0.0)
    dim = x.shape[1]
    before = torch.eye(dim, dtype=x.dtype, device=x.device).roll(-1, 1)  # row i picks the species before it
    return fall[:, :, None] * before - gamma * torch.eye(dim, dtype=x.dtype, device=x.device)


def _vortex(x: Tensor, theta: Tensor) -> Tensor:
    s, x0, y0, stretch = theta
    return s * torch.stack([(x[:, 1] - y0) * torch.exp(-stretch), -(x[:, 0] - x0)], 1)


def _lamb_oseen(x: Tensor, theta: Tensor) -> Tensor:
    strength, x0, y0, stretch = theta
    a, b = (x[:, 0] - x0) * torch.exp(-stretch), x[:, 1] - y0
    square = (a**2 + b**2).clamp(min=1e-12)
    return (strength * -torch.expm1(-square) / square)[:, None] * torch.stack([-b, a], 1)


def _spring(x: Tensor, theta: Tensor) -> Tensor:
    return -theta[0] * x


#: dx/dt = alpha x - beta x y, dy/dt = delta x y - gamma y (Lotka 1925)
LotkaVolterra = partial(Parametric, _lotka_volterra, ("alpha", "beta", "gamma", "delta"), (True,) * 4, ((LEAST,) * 4,), _lotka_volterra_slope)
#: dx_i/dt = beta / (1 + (x_{i-1} / k)^n) - gamma x_i, cyclic (Elowitz & Leibler 2000, without proteins)
Repressilator = partial(Parametric, _repressilator, ("beta", "n", "k", "gamma"), (True,) * 4, ((LEAST, 1.0, 1.0, LEAST), (5.0, 2.0, 1.0, 1.0)),
                        _repressilator_slope)
#: dx/dt = s (y - y0) e^-l, dy/dt = -s (x - x0): an elliptic vortex, linear in x
Vortex = partial(Parametric, _vortex, ("s", "x0", "y0", "l"), (False,) * 4, ((0.1, 0.0, 0.0, 0.0), (-0.1, 0.0, 0.0, 0.0)),
                 linear=True)
#: Gamma (1 - e^{-r^2}) / r around a core at (x0, y0), the first axis stretched by e^-l (Lamb 1932, Oseen 1912)
LambOseen = partial(Parametric, _lamb_oseen, ("strength", "x0", "y0", "l"), (False,) * 4, ((0.1, 0.0, 0.0, 0.0), (-0.1, 0.0, 0.0, 0.0)))
#: dx/dt = -k x
Spring = partial(Parametric, _spring, ("k",), (True,), ((LEAST,),), linear=True)
