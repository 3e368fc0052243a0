"""Guided bridges: linear-noise bridges weighted to be draws of the true one, which also says how good the approximation is.

    log w = log N(y; m_T, S_T) + sum_k log N(X_{k+1}; X_k + h f(X_k), h D) - sum_k log N(X_{k+1}; m_{k+1} + P_k (X_k - m_k), Q_k)

The mean of w estimates the density p(y | x) of the Euler chain, and paths weighted by w are draws of its bridge. The effective number of paths,
(sum w)^2 / sum w^2, is the diagnostic: below some percent the linear-noise bridge is not a good proposal. Compare Schauer et al. (2017).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.bridges import apply, bridge_paths, root
from trajlab.dynamics.linear_noise import LinearNoise
from trajlab.dynamics.references import Reference
from trajlab.dynamics.smoothing import pair_log_density

__all__ = ["Guided", "guided"]

FEW = 0.05  #: share of effective paths below which the approximation is doubtful


class Guided(NamedTuple):
    """Paths ``[path step+1 dim]`` of one pair, their log-weights (mean weight: the density), log p(y | x), and the share of effective paths."""

    paths: Tensor
    log_weight: Tensor
    log_density: float
    effective: float

    @property
    def doubtful(self) -> bool:
        """Whether too few paths carry the weight for the linear-noise bridge to be trusted."""
        return self.effective < FEW


def guided(reference: Reference, law: LinearNoise, y: Float[Tensor, "dim"], n: int, generator: torch.Generator) -> Guided:
    """Weighted bridges from one start to one end.

    Args:
        reference: the process.
        law: linear-noise law of the start, or of the pair after smoothing (one row).
        y: end.
        n: paths.
        generator: of the paths.

    Raises:
        ValueError: a law of more than one start, or fewer than two paths.
    """
    if len(law.m) != 1 or n < 2:
        raise ValueError(f"guided: a law of {len(law.m)} starts and {n} paths; one start and at least two paths were wanted")
    ends = y.expand(n, -1)
    mine = law.of(torch.zeros(n, dtype=torch.long))
    path = bridge_paths(mine, ends, generator)
    here, there = path[:, :-1], path[:, 1:]
    true = normal(there - here - law.h * reference.drift(here), root((law.h * reference.D.to(path))[None, None]))
    guess = normal(there - law.m[:, 1:] - apply(law.P, here - law.m[:, :-1]), root(law.Q))
    weight = float(pair_log_density(law, y[None])[0]) + (true - guess).sum(1)
    share = weight.softmax(0)
    return Guided(path, weight, float(weight.logsumexp(0)) - math.log(n), float(1 / share.square().sum()) / n)


def normal(off: Float[Tensor, "*batch dim"], factor: Float[Tensor, "*one dim dim"]) -> Float[Tensor, "*batch"]:
    """log N(off; 0, L L^T)."""
    white = torch.linalg.solve_triangular(factor, off[..., None], upper=False)[..., 0]
    return -0.5 * white.square().sum(-1) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * off.shape[-1] * math.log(2 * math.pi)
