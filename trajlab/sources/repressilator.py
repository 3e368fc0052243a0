"""Snapshots of the repressilator: three genes, each of which represses the next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.sources.snapshots_simulated import SnapshotRecipe, fresh_snapshots
from trajlab.types import Snapshots

__all__ = ["TRUTH", "repressilator", "repressilator_proteins"]

#: beta (largest rate of transcription), n (Hill exponent), k (concentration of half repression), gamma (decay)
TRUTH = (10.0, 3.0, 1.0, 1.0)
#: As in the snapshots of Shen, Berlinghieri & Broderick (2024): additive noise.
RECIPE = SnapshotRecipe(tuple(0.75 * k for k in range(11)), cells=50, sigma=0.1)
FORECAST = SnapshotRecipe(tuple(float(t) for t in range(11)), cells=200, sigma=0.02, noise="proportional")
NAMES = ("mRNA 1", "mRNA 2", "mRNA 3")
LEAK = 1e-5  #: of transcription, in the system with proteins


def repressilator(recipe: SnapshotRecipe = RECIPE, theta: Sequence[float] = TRUTH) -> Snapshots:
    """dm_i = (beta / (1 + (m_{i-1} / k)^n) - gamma m_i) dt + noise, cyclic (Elowitz & Leibler 2000, mRNA alone), from U[1, 1.1]^2 x U[2, 2.1].

    Args:
        recipe: eleven snapshots 0.75 apart of 50 cells with additive noise 0.1 by default.
        theta: beta, n, k, gamma.

    Raises:
        ValueError: not four parameters, or the process left the finite numbers.
    """
    if len(theta) != 4:
        raise ValueError(f"repressilator: {len(theta)} parameters came; beta, n, k and gamma were wanted")
    beta, n, k, gamma = map(float, theta)

    def drift(x: Float[Tensor, "cell dim"]) -> Float[Tensor, "cell dim"]:
        return beta / (1 + (x.roll(1, 1).clamp(min=1e-8) / k) ** n) - gamma * x

    return fresh_snapshots(drift, (1.0, 1.0, 2.0), (1.1, 1.1, 2.1), recipe, NAMES, system="repressilator", theta=tuple(theta))


def repressilator_proteins(recipe: SnapshotRecipe = FORECAST) -> Snapshots:
    """The mRNA of the system with proteins, of which nothing is seen:

        dm_i = (1e-5 + 10 / (1 + p_{i-1}^3) - m_i) dt + noise,   dp_i = (m_i - p_i) dt + noise,

    mRNA from U[1, 1.1]^2 x U[2, 2.1], proteins from U[0, 0.1]. What is seen is not Markov.

    Raises:
        ValueError: the process left the finite numbers.
    """

    def drift(x: Float[Tensor, "cell dim"]) -> Float[Tensor, "cell dim"]:
        m, p = x[:, :3], x[:, 3:]
        return torch.cat([LEAK + 10 / (1 + p.roll(1, 1).clamp(min=0) ** 3) - m, m - p], 1)

    whole = fresh_snapshots(drift, (1.0, 1.0, 2.0, 0, 0, 0), (1.1, 1.1, 2.1, 0.1, 0.1, 0.1), recipe, system="repressilator with proteins")
    return whole.replace(x=whole.x[:, :3], names=NAMES)
