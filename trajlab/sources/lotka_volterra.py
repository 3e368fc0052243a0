"""Snapshots of predators and prey: the stochastic Lotka-Volterra system."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.sources.snapshots_simulated import SnapshotRecipe, fresh_snapshots
from trajlab.types import Snapshots

__all__ = ["TRUTH", "lotka_volterra"]

#: alpha (birth of prey), beta (prey eaten), gamma (death of predators), delta (predators born of prey), each by unit time
TRUTH = (1.0, 0.4, 0.4, 0.1)
#: As in the snapshots of Shen, Berlinghieri & Broderick (2024): additive noise.
RECIPE = SnapshotRecipe(tuple(float(t) for t in range(9)), cells=50, sigma=0.1)


def lotka_volterra(recipe: SnapshotRecipe = RECIPE, theta: Sequence[float] = TRUTH) -> Snapshots:
    """dx = (alpha x - beta x y) dt + noise, dy = (delta x y - gamma y) dt + noise  (Lotka 1925), from U[5, 5.1] x U[4, 4.1].

    Args:
        recipe: nine snapshots 1 apart of 50 cells with additive noise 0.1 by default; ``SnapshotRecipe(range(11), 200, 0.02, "proportional")`` is
            that of the forecasting task of the same authors (2025, arXiv 2505.16082).
        theta: alpha, beta, gamma, delta.

    Raises:
        ValueError: not four parameters, or the process left the finite numbers.
    """
    if len(theta) != 4:
        raise ValueError(f"lotka_volterra: {len(theta)} parameters came; alpha, beta, gamma and delta were wanted")
    alpha, beta, gamma, delta = map(float, theta)

    def drift(x: Float[Tensor, "cell dim"]) -> Float[Tensor, "cell dim"]:
        meetings = x[:, 0] * x[:, 1]
        return torch.stack([alpha * x[:, 0] - beta * meetings, delta * meetings - gamma * x[:, 1]], 1)

    return fresh_snapshots(drift, (5.0, 4.0), (5.1, 4.1), recipe, ("prey", "predators"), system="lotka_volterra", theta=tuple(theta))
