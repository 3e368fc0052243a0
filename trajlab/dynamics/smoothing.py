"""Smoothing passes: the linear-noise law of single pairs, linearised about the mean of their bridge instead of the path from the start.

Where an end is far from where its start leads, or the field is curved, one pass brings the density and the paths of the bridge much closer to the
truth; it cannot help a process with two wells (see `trajlab.dynamics.splitting`). Same device as iterated smoothers (Garcia-Fernandez et al. 2017).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.bridges import apply
from trajlab.dynamics.linear_noise import LinearNoise, backwards, finite
from trajlab.dynamics.linear_sde import symmetric
from trajlab.dynamics.references import Reference

__all__ = ["pair_log_density", "smoothed"]


def smoothed(reference: Reference, law: LinearNoise, y: Float[Tensor, "pair dim"], passes: int = 1) -> LinearNoise:
    """The law of each pair after some passes:  m' = f(mu) + Df(mu) (m - mu),  S' = Df(mu) S + S Df(mu)^T + D,  mu the mean of the bridge to ``y``.

    Args:
        reference: the process.
        law: of each pair's start, row by row (`LinearNoise.of`).
        y: ends.
        passes: one is enough; a linear process needs none and is returned as it is.

    Raises:
        ValueError: fewer ends than starts or more, or a negative number of passes.
        Diverged: the linearised process blows up.
    """
    if passes < 0 or len(y) != len(law.m):
        raise ValueError(f"{passes} smoothing passes of {len(law.m)} starts to {len(y)} ends; none or more, row by row, were wanted")
    if reference.linear is not None:
        return law
    for _ in range(passes):
        law = _about(reference, law, bridge_means(law, y))
    return law


def bridge_means(law: LinearNoise, y: Float[Tensor, "pair dim"]) -> Float[Tensor, "pair step_plus_1 dim"]:
    """Means of the bridges on the whole grid:  m_s + S_s G_s^T S_T^-1 (y - m_T)."""
    pull = torch.linalg.solve(law.S[:, -1], (y - law.m[:, -1])[..., None])[..., 0]
    return law.m + apply(law.S @ law.G.mT, pull[:, None])


def pair_log_density(law: LinearNoise, y: Float[Tensor, "pair dim"]) -> Float[Tensor, "pair"]:
    """log p(y | x), row by row."""
    factor = torch.linalg.cholesky(law.S[:, -1])
    white = torch.linalg.solve_triangular(factor, (y - law.m[:, -1])[..., None], upper=False)[..., 0]
    two_pi = torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64))
    return -factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * y.shape[1] * two_pi - 0.5 * white.square().sum(-1)


def _about(reference: Reference, law: LinearNoise, mu: Float[Tensor, "pair step_plus_1 dim"]) -> LinearNoise:
    """One pass: the midpoint rule, which for the linearised process needs its coefficients at the grid points and half-way between them."""
    h, D = law.h, reference.D.to(mu)
    half = (mu[:, :-1] + mu[:, 1:]) / 2
    first, second = reference.jacobian(mu[:, :-1]), reference.jacobian(half)
    f_first, f_second = reference.drift(mu[:, :-1]), reference.drift(half)
    eye = torch.eye(mu.shape[-1], dtype=mu.dtype, device=mu.device)
    m, S = [law.m[:, 0]], [torch.zeros(len(mu), *eye.shape, dtype=mu.dtype, device=mu.device)]
    P = eye + h * second @ (eye + h / 2 * first)
    for k in range(law.steps):
        here = m[-1] + h / 2 * (f_first[:, k] + apply(first[:, k], m[-1] - mu[:, k]))
        m.append(m[-1] + h * (f_second[:, k] + apply(second[:, k], here - half[:, k])))
        grown = first[:, k] @ S[-1]
        grown = second[:, k] @ (S[-1] + h / 2 * (grown + grown.mT + D))
        S.append(symmetric(S[-1] + h * (grown + grown.mT + D)))
    covs, means = torch.stack(S, 1), torch.stack(m, 1)
    finite(means, covs, law.m[:, 0], h * law.steps)
    Q = symmetric(covs[:, 1:] - P @ covs[:, :-1] @ P.mT)
    return replace(law, m=means, P=P, S=covs, Q=Q, G=backwards(P), about=mu)
