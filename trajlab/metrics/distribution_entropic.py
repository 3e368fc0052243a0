"""The Sinkhorn divergence of two populations."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from trajlab.couplings.populations import distances, two, weights
from trajlab.couplings.sinkhorn import SinkhornConfig, sinkhorn

__all__ = ["sinkhorn_divergence"]


def sinkhorn_divergence(x: Any, y: Any, epsilon: float | None = None, power: float = 2, a: Any = None, b: Any = None,
                        config: SinkhornConfig | None = None) -> float:
    """S(x, y) = T(x, y) - (T(x, x) + T(y, y)) / 2  with  T = min_P sum P c + epsilon KL(P | a b^T),  c = |x - y|^power
    (Genevay et al. 2018; Feydy et al. 2019). Zero for equal populations and not below; for epsilon -> 0 the transport cost, W2^2 for power 2.

    Args:
        x, y: points ``[cell dim]``.
        epsilon: temperature, in the unit of the cost; by default .05 of the median cost between the populations. Give one where methods are
            compared.
        power: of the distance: 2, or 1.
        a, b: weights, positive; uniform by default.
        config: of the iteration; a marginal error of 1e-6 by default.

    Raises:
        ValueError: a value that is not finite, an empty population, different dimensions, bad weights, an epsilon or power that is not positive.
    """
    x, y = two(x, y)
    a, b = weights("the first population", a, len(x)), weights("the second population", b, len(y))
    x, a, y, b = x[(a > 0).to(x.device)], a[a > 0], y[(b > 0).to(x.device)], b[b > 0]
    if epsilon is None:
        epsilon = 0.05 * float(distances(x, y, power).median()) or 1.0
    if not epsilon > 0 or not power > 0:
        raise ValueError(f"epsilon={epsilon} and power={power} came; positive ones were wanted")
    config = config or SinkhornConfig(tolerance=1e-6)
    return _cost(x, y, a, b, epsilon, power, config) - (_cost(x, x, a, a, epsilon, power, config) + _cost(y, y, b, b, epsilon, power, config)) / 2


def _cost(x: Tensor, y: Tensor, a: Tensor, b: Tensor, epsilon: float, power: float, config: SinkhornConfig) -> float:
    """The value of the dual, epsilon (a f + b g), which errs with the square of the marginals' error."""
    plan = sinkhorn(-distances(x, y, power) / epsilon, a.to(x), b.to(x), config)
    return epsilon * float(a.to(x) @ plan.f + b.to(x) @ plan.g)
