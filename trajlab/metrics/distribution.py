"""How far two populations are apart, cells at one time, say, and what a method says they are.

Every distance between two finite samples of one law is above zero (the energy distance and the MMD, which are unbiased, scatter about it): read each
beside `finite_sample_floor`, the distance of two halves of one population. Transport is measured as W1, the mean Euclidean cost, and as W2, the root
of the mean squared cost; published tables call either of them "EMD".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from trajlab.catalog import unknown
from trajlab.couplings.exact import transport_cost
from trajlab.couplings.populations import off_diagonal_mean, pair_mean, population, two, weights
from trajlab.metrics.distribution_entropic import sinkhorn_divergence
from trajlab.metrics.distribution_kernels import mmd
from trajlab.metrics.distribution_sliced import sliced

__all__ = ["DISTANCES", "Distance", "energy_distance", "finite_sample_floor", "mmd", "sinkhorn_divergence", "sliced", "w1", "w2", "wasserstein"]

Distance = Callable[[Any, Any], float]


def wasserstein(x: Any, y: Any, p: int = 1, a: Any = None, b: Any = None) -> float:
    """W_p = (min over plans of sum_ij P_ij |x_i - y_j|^p)^(1/p), exactly, in the unit of x.

    Args:
        x, y: points ``[cell dim]``; the sizes may differ.
        p: 1 (mean Euclidean cost) or 2 (root of the mean squared cost). W1 <= W2.
        a, b: weights, uniform by default.

    Raises:
        ValueError: another p, a value that is not finite (row and column are named), an empty population, different dimensions, bad weights.
    """
    if p not in (1, 2):
        raise ValueError(f"p={p} came; 1 (mean cost) or 2 (root of the mean squared cost) was wanted")
    cost = transport_cost(x, y, a, b, power=p)
    return cost if p == 1 else math.sqrt(max(cost, 0.0))


def w1(x: Any, y: Any) -> float:
    """`wasserstein` with p = 1."""
    return wasserstein(x, y, 1)


def w2(x: Any, y: Any) -> float:
    """`wasserstein` with p = 2."""
    return wasserstein(x, y, 2)


def energy_distance(x: Any, y: Any, a: Any = None, b: Any = None) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| (Szekely & Rizzo 2013), in the unit of x; pairs of a cell with itself are left out, so that it is
    unbiased: zero in expectation, and below zero about half the time, for two samples of one law.

    Args:
        x, y: points ``[cell dim]``, at least two each.
        a, b: weights, uniform by default. With weights the mean within a population is over pairs of different cells with the product of theirs.

    Raises:
        ValueError: as `wasserstein`; or a population of one cell.
    """
    x, y = two(x, y, least=2)
    a, b = weights("the first population", a, len(x)), weights("the second population", b, len(y))
    return 2 * pair_mean(x, y, a, b) - off_diagonal_mean(x, a) - off_diagonal_mean(y, b)


#: Distances by the names that tables use.
DISTANCES: dict[str, Distance] = {"W1": w1, "W2": w2, "energy": energy_distance, "sinkhorn": sinkhorn_divergence, "mmd": mmd, "sliced": sliced}


def finite_sample_floor(x: Any, distance: str | Distance = "W1", splits: int = 3, seed: int = 0) -> float:
    """The mean distance of two halves of a population, drawn at random.

    A perfect model that drew as many cells would not do better at half the size; at the full size the floor is lower, W1 of d-dimensional
    laws falling as n^(-1/d) for d > 2 (Fournier & Guillin 2015).

    Args:
        x: points ``[cell dim]``, at least four.
        distance: a name in `DISTANCES`, or a function of two populations.
        splits: random splits to average.
        seed: of the splits.

    Raises:
        ValueError: an unknown name, too few cells, a value that is not finite, or no splits.
    """
    if isinstance(distance, str):
        if distance not in DISTANCES:
            raise ValueError(unknown("distance", distance, DISTANCES))
        distance = DISTANCES[distance]
    if splits < 1:
        raise ValueError(f"splits={splits} came; at least 1 was wanted")
    x = population("the population", x, least=4)
    generator, half = torch.Generator().manual_seed(seed), len(x) // 2
    orders = [torch.randperm(len(x), generator=generator).to(x.device) for _ in range(splits)]
    return math.fsum(distance(x[order[:half]], x[order[half : 2 * half]]) for order in orders) / splits
