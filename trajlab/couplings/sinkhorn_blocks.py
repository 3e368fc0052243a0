"""Sinkhorn's iteration with one table in memory: the kernel is made block by block in the place where the plan will be.

The iteration of `trajlab.couplings.sinkhorn` (absorption: Schmitzer 2019; relaxed marginals: Chizat et al. 2018), for populations whose log-kernel
cannot be held beside the kernel. What is absorbed is computed anew instead of being kept, so memory is n m numbers and a block.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from trajlab.couplings.log_kernels import Kernel
from trajlab.couplings.plans import DensePlan, Found
from trajlab.couplings.sinkhorn import SinkhornConfig

__all__ = ["sinkhorn_blocks"]

ENTRIES = 1 << 20  #: of a block: it stays in the cache through all that is done to it
FLOOR = -75.0  #: least exponent: e^-75 is a normal number of float32; a row that is all floor is lifted by the next scaling and absorbed
ABSORB = 20.0  #: |log u| beyond which scalings go into the potentials
MOST = 60.0  #: a scaling is at most e^MOST, which float32 holds
CHECK = 10  #: iterations between looks at the marginal error
LIMIT = 0.999  #: contraction that over-relaxation is set for, at most
WARM = 30  #: iterations at each intermediate temperature


def sinkhorn_blocks(kernel: Kernel, a: Tensor, b: Tensor, config: SinkhornConfig | None = None, why: str = "",
                    start: Tensor | None = None, quiet: bool = False) -> DensePlan:
    """The entropic plan at temperature 1 of a log-kernel, in the kernel's dtype.

    Args:
        kernel: log-kernel by blocks of sources.
        a, b: positive marginals that sum to 1.
        config: as for `trajlab.couplings.sinkhorn`. In float32 an error below about 1e-5 is not reached.
        why: kept in the plan's provenance.
        start: g of the plan of a kernel that has changed a little; nothing is annealed then.
        quiet: no warning where the tolerance is not reached.
    """
    config = config or SinkhornConfig()
    run = _Run(kernel, a, b, config)
    done, error = run.descend(start)
    if error > config.tolerance and not quiet:
        warnings.warn(f"Sinkhorn's iteration stopped after {done} iterations at a marginal error of {error:.2g}, where {config.tolerance:g} was "
                      "wanted; allow more iterations, or a higher temperature", stacklevel=2)
    hard = tuple(math.isinf(rho) for rho in config.rho)
    return DensePlan(run.plan(), a, b, Found("sinkhorn", why, error <= config.tolerance, done, hard), run.f, run.g)  # type: ignore[arg-type]


class _Run:
    """K_ij = exp(l_ij / temperature + f_i + g_j) in place, with scalings u and v beside it; weights a and b are applied to the vectors."""

    def __init__(self, kernel: Kernel, a: Tensor, b: Tensor, config: SinkhornConfig) -> None:
        self.kernel, self.config = kernel, config
        self.a, self.b = a.to(kernel.dtype), b.to(kernel.dtype)
        self.tau = [1.0 if math.isinf(rho) else rho / (1 + rho) for rho in config.rho]
        self.f, self.g = torch.zeros_like(self.a), torch.zeros_like(self.b)
        self.u, self.v = torch.ones_like(self.a), torch.ones_like(self.b)
        n, m = kernel.shape
        self.step = max(1, ENTRIES // m)
        self.K = torch.empty(n, m, dtype=kernel.dtype)

    def descend(self, start: Tensor | None) -> tuple[int, float]:
        temperature, done = 1.0, 0
        if start is not None:
            self.g = start.to(self.g)
        elif self.config.anneal:
            temperature = self._hottest()
        while temperature > 1:
            done += self._stage(temperature, WARM)[0]
            self.f, self.g, temperature = self.f * temperature, self.g * temperature, temperature / 4
        made, error = self._stage(1.0, self.config.iterations)
        return done + made, error

    def plan(self) -> Tensor:
        """The kernel made into the plan, in place."""
        left, right = self.a * self.u, self.b * self.v
        for start, block in self._blocks():
            block.mul_(left[start:start + self.step, None]).mul_(right)
        self.f, self.g = self.f + self.u.log(), self.g + self.v.log()
        return self.K

    def _hottest(self) -> float:
        """The temperature at which the kernel's rows span 50."""
        span = 0.0
        for start, _ in self._blocks():
            rows = self.kernel.rows(start, min(start + self.step, len(self.a)))
            top = rows.amax(1)
            span = max(span, float((top - rows.amin(1)).max()))
        return span / 50

    def _stage(self, temperature: float, most: int) -> tuple[int, float]:
        self.f, self.g = self.f / temperature, self.g / temperature
        self._first(temperature)
        self._absorb(temperature)
        error, omega = math.inf, 1.0
        for k in range(1, most + 1):
            look = k % CHECK == 0 or k == most
            row = self.K @ (self.b * self.v)
            self.u = self._scaled(row, self.f, self.tau[0], self.u, 1.0 if look else omega)
            column = self.K.mT @ (self.a * self.u)
            wanted = self._scaled(column, self.g, self.tau[1], self.v, omega)
            if look:  # sources are right now: what is left is the error of the targets (of their fixed point)
                right = wanted if omega == 1.0 else self._scaled(column, self.g, self.tau[1], self.v, 1.0)
                last, error = error, float((self.b * (self.v - right) * column).abs().sum() / (self.b * right * column).sum())
                if error <= self.config.tolerance and temperature == 1.0:
                    break
                omega = self._omega(omega, error, last)
            self.v = wanted
            if max(float(s.log().abs().max()) for s in (self.u, self.v)) > ABSORB:
                self._absorb(temperature)
        return k, error

    def _scaled(self, other: Tensor, potential: Tensor, tau: float, now: Tensor, omega: float) -> Tensor:
        """1 / other where the marginal is hard; f + log u = tau (f - log other) where it is relaxed. A step in log u is at most MOST."""
        step = (tau - 1) * potential - tau * other.log()
        step = step if omega == 1.0 else omega * step + (1 - omega) * now.log()
        return step.clamp_(-MOST, MOST).exp_()

    def _omega(self, omega: float, error: float, last: float) -> float:
        """Over-relaxation for the contraction seen: the plain iteration would contract by eta = (rate + omega - 1)^2 / (omega^2 rate), for which
        2 / (1 + sqrt(1 - eta)) is the best (Young 1954; Lehmann et al. 2022); 1 where the error grows. Relaxed marginals contract by themselves.
        """
        if min(self.tau) < 1 or error > 1.0 or error > 2 * last:
            return 1.0
        if not 0 < error < last < math.inf:
            return omega
        rate = (error / last) ** (1 / CHECK)
        if rate <= omega - 1:  # relaxed enough
            return omega
        eta = (rate + omega - 1) ** 2 / (omega**2 * rate)
        return max(omega, 2 / (1 + math.sqrt(1 - min(eta, LIMIT))))

    def _first(self, temperature: float) -> None:
        """Both potentials by one half step in logarithms: no row and no column of the kernel starts without mass."""
        n, m = self.kernel.shape
        total = torch.full((m,), -math.inf, dtype=self.kernel.dtype)
        for start, _ in self._blocks():
            part = slice(start, start + self.step)
            rows = self.kernel.rows(start, min(start + self.step, n)).div_(temperature)
            self.f[part] = -self.tau[0] * torch.logsumexp(rows + (self.b.log() + self.g), 1)
            total = torch.logaddexp(total, torch.logsumexp(rows + (self.a.log() + self.f)[part, None], 0))
        self.g = -self.tau[1] * total

    def _absorb(self, temperature: float) -> None:
        self.f, self.g = self.f + self.u.log(), self.g + self.v.log()
        self.u, self.v = torch.ones_like(self.u), torch.ones_like(self.v)
        for start, block in self._blocks():
            rows = self.kernel.rows(start, min(start + self.step, len(self.a)))
            rows = rows / temperature if temperature != 1.0 else rows
            torch.add(rows, self.f[start:start + self.step, None], out=block)
            block.add_(self.g).clamp_(min=FLOOR).exp_()

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        return ((start, self.K[start:start + self.step]) for start in range(0, len(self.K), self.step))
