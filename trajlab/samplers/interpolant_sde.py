"""Stochastic differential equations with the marginals of a path and a diffusion that is free (Albergo, Boffi & Vanden-Eijnden 2023).

    forwards   dx = (v + eps s) dt + sqrt(2 eps) dW,        backwards   dx = (v - eps s) dt + sqrt(2 eps) dW (dt < 0)

have the law of x_t for every eps(t) >= 0, where v is the velocity whose ODE has it and s the score. `integrate_sde` takes any v and s; the
solver `InterpolantSDE` takes a denoiser on a Gaussian path and solves the linear part exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.denoiser import Denoises
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.samplers.grids import Grid
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.ode import Field, Flow, monotone
from trajlab.samplers.solver import Solver, finished
from trajlab.samplers.tables import Stage, Table

METHODS = ("euler", "heun")


def integrate_sde(drift: Field, score: Field, x: Float[Tensor, "batch *event"], times: Sequence[float] | Tensor,
                  diffusion: float | Callable[[float], float], *, generator: torch.Generator | RowNoise, method: str = "heun",
                  trace: bool = False) -> Flow:
    """One draw from ``times[0]`` to ``times[-1]``, forwards where they rise and backwards where they fall.

    ``euler`` is Euler-Maruyama, of weak order 1. ``heun`` averages the drift at both ends of a step along the same noise; because the diffusion
    does not depend on x it is of weak order 2.

    Args:
        drift: ``drift(x, t) -> v``, x ``[batch ...]``, t ``[batch]`` float64; the velocity of the ODE (for an interpolant with noise: including
            gamma' z).
        score: ``score(x, t) -> s``. Called only where eps > 0. Where it diverges at an end (gamma = 0), stop short of it, or let eps vanish.
        x: the state at ``times[0]``.
        times: rising or falling.
        diffusion: eps, in units of x^2 a unit of t: a number, or a function of t.
        generator: where noise comes from, a stream for each row.
        method: ``euler`` or ``heun``.
        trace: keep the state at every time.

    Returns:
        The end; ``nfe`` counts calls of the drift.

    Raises:
        ValueError: an unknown method, times that neither rise nor fall throughout, or a negative eps.
    """
    if method not in METHODS:
        raise ValueError(unknown("method", method, METHODS))
    noise = generator if isinstance(generator, RowNoise) else RowNoise(generator)
    places, kept, nfe = monotone(times), [x], 0

    def slope(point: Tensor, t: float, eps: float, sign: float) -> Tensor:
        nonlocal nfe
        nfe += 1
        clock = torch.full((len(point),), t, dtype=torch.float64, device=point.device)
        return drift(point, clock) if eps == 0 else drift(point, clock).add(score(point, clock), alpha=sign * eps)

    for start, stop in pairwise(places):
        h, first, second = stop - start, _rate(diffusion, start), _rate(diffusion, stop)
        sign = math.copysign(1.0, h)
        before = slope(x, start, first, sign)
        # The variance of a step is the integral of 2 eps: left point for Euler, trapezium for Heun.
        variance = abs(h) * (2 * first if method == "euler" else first + second)
        kick = noise.normal(x) * math.sqrt(variance) if variance > 0 else 0.0
        moved = x + h * before + kick
        x = moved if method == "euler" else x + 0.5 * h * (before + slope(moved, stop, second, sign)) + kick
        if trace:
            kept.append(x)
    return Flow(x, nfe, torch.full((len(x),), len(places) - 1, device=x.device), kept if trace else [])


def _rate(diffusion: float | Callable[[float], float], t: float) -> float:
    eps = float(diffusion(t) if callable(diffusion) else diffusion)
    if not (eps >= 0 and math.isfinite(eps)):
        raise ValueError(f"the diffusion is {eps:g} at t = {t:g}; it must be finite and not negative")
    return eps


def score_field(denoiser: Denoises, **condition: Any) -> Field:
    """The score as ``score(x, t)``, beside `trajlab.samplers.ode.flow_field`."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        return denoiser(x, denoiser.path.level(denoiser.path.lam_of(t), like=x), **condition).score

    return field


@dataclass(frozen=True)
class InterpolantSDE(Solver):
    """The same equation on a Gaussian path, its linear part solved exactly. With eps dt = eta sigma^2 d lam it reads

        d(x/sigma) = [(1 + eta) e^lam x0 - eta x/sigma] d lam + sqrt(2 eta) dW

    so that, eta fixed over a step (its value in the middle), with h the step in lam,

        x_t = (sigma_t/sigma_s) e^(-eta h) x + alpha_t (1 - e^(-(1+eta) h)) x0 + sigma_t sqrt(1 - e^(-2 eta h)) z

    ``euler`` holds x0 fixed (eta = 0: DDIM; eta = 1: SDE-DPM-Solver++ of order 1); ``heun`` lets it go linearly to its value at the point so reached
    (weak order 2, two calls a step). A step to sigma = 0 is x0.

    Attributes:
        diffusion: eta, or eps if ``per`` is ``t``: a number, or a function of the level.
        per: ``lam``: diffusion is eta, without a unit (0: the probability-flow ODE, 1: the reverse SDE of Song et al. 2021); ``t``: it is eps, a
            unit of the path's t.
        method: ``euler`` or ``heun``.

    Raises:
        ValueError: an unknown method or unit; in `plan`, a diffusion that is negative or not finite.
    """

    diffusion: float | Callable[[Level], float] = 1.0
    per: str = "lam"
    method: str = "heun"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(unknown("method", self.method, METHODS))
        if self.per not in ("lam", "t"):
            raise ValueError(unknown("unit of diffusion", self.per, ("lam", "t")))

    def plan(self, grid: Grid) -> Table:
        stages: list[Stage] = []
        for s, t in pairwise(grid.levels):
            eta, h = self.eta(grid.path, s, t), t.lam - s.lam
            decay = math.exp(-eta * h) if eta > 0 else 1.0
            weight = t.alpha * -math.expm1(-(1 + eta) * h)
            first = Stage(t, s, (t.sigma / s.sigma * decay,), (weight,), "x0", t.sigma * math.sqrt(max(0.0, 1 - decay**2)))
            if self.method == "euler" or not math.isfinite(h):
                stages.append(first)
                continue
            # int_0^h e^((1+eta)(u-h)) (u/h) du, times (1 + eta): the share of the end's x0 in a straight line between both.
            share = t.alpha * _ramp((1 + eta) * h)
            stages += [Stage(t, s, first.states, first.predictions, "x0", first.noise, node=False),
                       Stage(t, t, (1.0,), (share, -share), "x0")]
        return finished(grid, stages)

    def eta(self, path: GaussianPath, s: Level, t: Level) -> float:
        """The diffusion of a step, as eta."""
        ends = [k.lam for k in (s, t) if math.isfinite(k.lam)]
        middle = path.level(sum(ends) / len(ends)) if ends else s
        found = float(self.diffusion(middle) if callable(self.diffusion) else self.diffusion)
        if self.per == "t" and found != 0:
            found /= middle.sigma**2 * (middle.dalpha / middle.alpha - middle.dsigma / middle.sigma)
        if not (found >= 0 and math.isfinite(found)):
            raise ValueError(f"the diffusion of the step from lam = {s.lam:g} to {t.lam:g} is {found:g}; it must be finite and not negative")
        return found


def _ramp(q: float) -> float:
    """1 - (1 - e^-q)/q, without loss of digits at small q."""
    return q / 2 - q**2 / 6 + q**3 / 24 - q**4 / 120 if q < 1e-3 else 1 + math.expm1(-q) / q
