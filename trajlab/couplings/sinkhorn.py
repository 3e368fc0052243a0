"""Entropic transport on any log-kernel: the plan closest to a reference process with given marginals, by Sinkhorn's iteration with absorption.

    min_P KL(P | a_i b_j e^{l_ij}) + rho_1 KL(P 1 | a) + rho_2 KL(P^T 1 | b)

Potentials f, g with P_ij = a_i b_j exp(l_ij + f_i + g_j). The iteration runs on the kernel, with scalings u and v that are folded into f and g where
they grow (Schmitzer 2019), which is 10 to 20 times faster than logarithms throughout. Relaxed marginals: Chizat et al. 2018.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Plan", "SinkhornConfig", "sinkhorn"]

ABSORB = 50.0  #: |log u| beyond which scalings are folded into the potentials
CHECK = 10  #: iterations between looks at the marginal error
PATIENCE = 100  #: iterations before Newton's method takes over, where both marginals are hard
DENSE = 1500  #: targets at most for that: a step factorises a matrix of that size
NEWTON = 60  #: its steps, at most
WARM = 30  #: iterations at each intermediate temperature


@dataclass(frozen=True)
class SinkhornConfig:
    """How far the iteration goes.

    Attributes:
        tolerance: on the L1 error of the marginals (of the fixed point where they are relaxed): 1e-3 is enough to draw paths, 1e-6 to compare
            objectives.
        iterations: at most, at the last temperature.
        rho: penalties on the source and target marginals, ``math.inf`` for hard ones.
        anneal: start at the temperature max|l - max l| / 50 and divide by 4 down to 1; needed where l spans hundreds.

    Raises:
        ValueError: a tolerance, number or penalty that is not positive.
    """

    tolerance: float = 1e-3
    iterations: int = 5000
    rho: tuple[float, float] = (math.inf, math.inf)
    anneal: bool = True

    def __post_init__(self) -> None:
        if not (self.tolerance > 0 and self.iterations > 0 and min(self.rho) > 0):
            raise ValueError(f"SinkhornConfig: tolerance={self.tolerance}, iterations={self.iterations}, rho={self.rho}; positive values were wanted")


@dataclass(frozen=True, eq=False)
class Plan:
    """A transport plan.

    Attributes:
        P: ``[source target]``.
        f, g: potentials, ``[source]`` and ``[target]``.
        error: L1 error of the marginals (of the fixed point where relaxed).
        iterations: made.
        converged: whether the error is below the tolerance.
    """

    P: Tensor
    f: Tensor
    g: Tensor
    error: float
    iterations: int
    converged: bool

    def objective(self, log_kernel: Float[Tensor, "source target"], a: Float[Tensor, "source"]) -> float:
        """sum_ij P_ij (log P_ij - log a_i - l_ij): the divergence of the plan from the reference process, up to a constant."""
        inner = torch.where(self.P > 0, self.P.log() - a.log()[:, None] - log_kernel, 0.0)
        return float((self.P * inner).sum())


def sinkhorn(log_kernel: Float[Tensor, "source target"], a: Float[Tensor, "..."] | None = None, b: Float[Tensor, "..."] | None = None,
             config: SinkhornConfig | None = None, start: tuple[Tensor, Tensor] | None = None) -> Plan:
    """The entropic plan at temperature 1 of a log-kernel, in its dtype (float32 is twice as fast and good to an error of 1e-4).

    Args:
        log_kernel: log-density of every target given every source, or minus a cost over a temperature.
        a, b: marginals, positive; uniform by default. They are scaled to sum to 1.
        config: see `SinkhornConfig`.
        start: potentials to start from, for a kernel that has changed a little.

    Raises:
        ValueError: a kernel that is not finite, or marginals that do not fit or are not positive.
    """
    config = config or SinkhornConfig()
    if log_kernel.ndim != 2 or not log_kernel.numel() or not bool(torch.isfinite(log_kernel).all()):
        raise ValueError(f"a log-kernel of shape {tuple(log_kernel.shape)} with {int((~torch.isfinite(log_kernel)).sum())} entries that are not "
                         "finite; finite [source target] was wanted. A reference that puts no mass on the targets has such a kernel: widen its noise")
    a, b = (marginal(value, n, log_kernel, what) for value, n, what in zip((a, b), log_kernel.shape, ("source", "target")))
    f, g = (torch.zeros_like(a), torch.zeros_like(b)) if start is None else start
    shift = log_kernel.amax(1) if math.isinf(config.rho[0]) else torch.zeros_like(a)  # a hard marginal's potentials take up what is taken off here
    shifted = log_kernel - shift[:, None]
    top = shifted.min().abs().item()
    done = 0
    if config.anneal and start is None:
        temperature = top / 50
        while temperature > 1:
            f, g, _, made = _stage(shifted / temperature, a, b, f / temperature, g / temperature, config, WARM)
            f, g, done, temperature = f * temperature, g * temperature, done + made, temperature / 4
    f = f if start is None else f + shift
    hard, small = all(math.isinf(rho) for rho in config.rho), len(b) <= DENSE and shifted.dtype == torch.float64
    f, g, error, made = _stage(shifted, a, b, f, g, config, min(PATIENCE, config.iterations) if hard and small else config.iterations)
    if hard and small and error > config.tolerance and made < config.iterations:
        done += made
        f, g, error, made = _newton(shifted, a, b, g, config.tolerance)
        if error > config.tolerance:
            done += made
            f, g, error, made = _stage(shifted, a, b, f, g, config, config.iterations)
    P = a[:, None] * b * (shifted + f[:, None] + g).exp()
    plan = Plan(P, f - shift, g, error, done + made, error <= config.tolerance)
    if not plan.converged:
        warnings.warn(f"Sinkhorn's iteration stopped after {plan.iterations} iterations at a marginal error of {error:.2g}, where "
                      f"{config.tolerance:g} was wanted; allow more iterations, or a reference with more noise", stacklevel=2)
    return plan


def marginal(value: Tensor | None, n: int, like: Tensor, what: str) -> Float[Tensor, "item"]:
    """Weights that sum to 1."""
    if value is None:
        return torch.full((n,), 1 / n, dtype=like.dtype, device=like.device)
    if value.shape != (n,) or not bool((value > 0).all()) or not bool(torch.isfinite(value).all()):
        raise ValueError(f"{what} weights of shape {tuple(value.shape)}, the least {float(value.min()) if value.numel() else math.nan:g}; {n} "
                         "positive numbers were wanted. Leave out cells of weight zero")
    value = value.to(like)
    return value / value.sum()


def _stage(kernel: Tensor, a: Tensor, b: Tensor, f: Tensor, g: Tensor, config: SinkhornConfig, most: int) -> tuple[Tensor, Tensor, float, int]:
    """Iterations at one temperature; returns the potentials, the error and the number made."""
    tau = [1.0 if math.isinf(rho) else rho / (1 + rho) for rho in config.rho]
    g = tau[1] * -torch.logsumexp(kernel + (a.log() + f)[:, None], 0) if bool((g == 0).all()) else g
    K, u, v, error, done = _absorbed(kernel, a, b, f, g), torch.ones_like(a), torch.ones_like(b), math.inf, 0
    while done < most:
        kept = u, v
        for _ in range(min(CHECK, most - done)):  # looks at finiteness, size and error cost as much as an iteration, so they are rare
            last = v
            # u multiplies the sources: e^{f} -> u e^{f}; with a relaxed marginal the power tau acts on the whole potential
            u = _scaled(K @ v, a, f, tau[0])
            v = _scaled(K.T @ u, b, g, tau[1])
            done += 1
        if not bool(torch.isfinite(u).all() and torch.isfinite(v).all() and (u > 0).all() and (v > 0).all()):
            # a row lost its mass: from the last good scalings on one step in logarithms
            g = g + kept[1].log()
            f = tau[0] * -torch.logsumexp(kernel + (b.log() + g), 1)
            g = tau[1] * -torch.logsumexp(kernel + (a.log() + f)[:, None], 0)
            K, u, v = _absorbed(kernel, a, b, f, g), torch.ones_like(a), torch.ones_like(b)
            continue
        error = _error(K, u, last, v, b, config)
        if max(float(u.log().abs().max()), float(v.log().abs().max())) > ABSORB:
            f, g = f + u.log(), g + v.log()
            K, u, v = _absorbed(kernel, a, b, f, g), torch.ones_like(a), torch.ones_like(b)
        if error <= config.tolerance:
            break
    return f + u.log(), g + v.log(), error, done


def _newton(kernel: Tensor, a: Tensor, b: Tensor, g: Tensor, tolerance: float) -> tuple[Tensor, Tensor, float, int]:
    """Newton's method on the concave semi-dual  h(g) = sum a f(g) + sum b g  with the source marginal right throughout, for plans that are nearly
    one to one, where Sinkhorn's iteration takes thousands of steps (Tang et al. 2024):  gradient b - P^T 1,  -Hessian diag(P^T 1) - P^T diag(1/a) P.
    """
    inner, damping, best = kernel + b.log(), 1e-14, None
    step = 0
    while step < NEWTON:
        step += 1
        f = -torch.logsumexp(inner + g, 1)
        height = float(a @ f + b @ g)
        P = a[:, None] * (inner + f[:, None] + g).exp()
        column = P.sum(0)
        slope = b - column
        error = float(slope.abs().sum())
        if best is None or error < best[2]:
            best = f, g, error
        if error <= tolerance:
            break
        curve = torch.diag(column) - P.mT @ (P / a[:, None])
        top = float(curve.diagonal().max())
        direction, share = None, 1.0
        while direction is None:
            # the constant shift is free: one rank fixes it
            factor, bad = torch.linalg.cholesky_ex(curve + top * (damping * torch.eye(len(b), dtype=b.dtype, device=b.device) + 1 / len(b)))
            direction = torch.cholesky_solve(slope[:, None], factor)[:, 0] if not int(bad) else None
            damping *= 1 if direction is not None else 100
        gain = float(slope @ direction)
        while share > 1e-9:
            trial = g + share * direction
            reached = -torch.logsumexp(inner + trial, 1)
            if float(a @ reached + b @ trial) >= height + 1e-4 * share * gain - 1e-14 * abs(height):
                break
            share /= 2
        g = trial
        damping = max(damping / 10, 1e-14) if share > 0.5 else damping
    return *best, step


def _absorbed(kernel: Tensor, a: Tensor, b: Tensor, f: Tensor, g: Tensor) -> Tensor:
    return a[:, None] * b * (kernel + f[:, None] + g).exp()


def _scaled(other: Tensor, weight: Tensor, potential: Tensor, tau: float) -> Tensor:
    """The scaling that makes a marginal right: weight / other for hard marginals; with tau < 1, f -> -tau log(sum), written relative to f."""
    hard = weight / other
    return hard if tau == 1.0 else hard**tau * torch.exp((tau - 1) * potential)


def _error(K: Tensor, u: Tensor, v: Tensor, v_new: Tensor, b: Tensor, config: SinkhornConfig) -> float:
    """Of the target marginal after the source one was made right; where the target is relaxed, of its fixed point."""
    column = v * (K.T @ u)
    wanted = b if math.isinf(config.rho[1]) else v_new * (K.T @ u)
    return float((column - wanted).abs().sum() / wanted.sum())
