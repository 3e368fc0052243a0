"""A linear process fitted to means and covariances of snapshots alone: its volatility is not biased by the plans between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.models.bridge_evidence import Interval

__all__ = ["MomentFit", "moment_fit"]

ROUNDS = 200


class MomentFit(NamedTuple):
    """Drift A x + b and isotropic volatility."""

    A: Tensor
    b: Tensor
    sigma: float
    loss: float


def moment_fit(intervals: Sequence[Interval], ridge: float = 1e-3, D: Float[Tensor, "dim dim"] | None = None) -> MomentFit:
    """argmin over A, b, sigma of the sum over intervals of  log det S + tr(S^-1 C_next) + r^T S^-1 r,

        S = Phi C Phi^T + cov(T),   r = m_next - Phi m - c,

    by L-BFGS from A = 0; with ``D`` the noise is given. Re-estimating
    sigma from paths or plans instead is biased upwards: paths carry the noise they were drawn with.

    Raises:
        ValueError: all snapshots hold one cell, or all cells are alike: there is no spread to take the noise from.
    """
    pieces = [(*_moments(one.x, one.a), *_moments(one.y, one.b), one.duration) for one in intervals]
    dim = len(pieces[0][0])
    spread = sum(float(c.diagonal().mean()) for _, c, *_ in pieces) / len(pieces)
    long = sum(gap for *_, gap in pieces) / len(pieces)
    if not spread > 0 and D is None:
        raise ValueError("every snapshot holds a single cell, or cells that are all alike: the noise cannot be told from them; give sigma")
    A = torch.zeros(dim, dim, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(dim, dtype=torch.float64, requires_grad=True)
    log = torch.tensor(0.5 * torch.log(torch.tensor(0.1 * spread / long + 1e-12)).item(), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([A, b, log] if D is None else [A, b], max_iter=ROUNDS, line_search_fn="strong_wolfe", history_size=20)

    def loss() -> Tensor:
        noise = (2 * log).exp() * torch.eye(dim, dtype=torch.float64) if D is None else D
        total = ridge * long**2 * A.square().sum()
        for mean, cov, next_mean, next_cov, gap in pieces:
            step = LinearSDE(A, b, noise).transition(gap)
            S = step.phi @ cov @ step.phi.mT + step.cov
            off = next_mean - step.phi @ mean - step.c
            factor = torch.linalg.cholesky(S + (1e-10 * spread + 1e-300) * torch.eye(dim, dtype=torch.float64))
            inner = torch.cholesky_solve(next_cov + torch.outer(off, off), factor)
            total = total + 2 * factor.diagonal().log().sum() + inner.diagonal().sum()
        return total

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    value = float(optimiser.step(closure))
    return MomentFit(A.detach(), b.detach(), float(log.detach().exp()), value)


def _moments(x: Float[Tensor, "cell dim"], weight: Float[Tensor, "cell"]) -> tuple[Tensor, Tensor]:
    mean = weight @ x
    off = x - mean
    return mean, off.mT @ (weight[:, None] * off)
