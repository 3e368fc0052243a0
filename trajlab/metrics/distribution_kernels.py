"""Maximum mean discrepancy of two populations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.couplings.populations import distances, off_diagonal_mean, pair_mean, two, weights

__all__ = ["median_distance", "mmd"]

SEEN = 1000  #: cells, evenly spaced over the rows, that the median distance is taken of


def mmd(x: Any, y: Any, bandwidth: float | None = None, scales: Sequence[float] = (0.5, 1.0, 2.0), a: Any = None, b: Any = None) -> float:
    """The squared discrepancy  E k(X, X') + E k(Y, Y') - 2 E k(X, Y)  (Gretton et al. 2012), unbiased: pairs of a cell with itself are left out,
    so that it is zero in expectation for equal laws. The kernel is a mixture over scales s,

        k(x, y) = mean_s exp(-|x - y|^2 / (2 s^2 h^2)).

    Args:
        x, y: points ``[cell dim]``, at least two each.
        bandwidth: h, in the unit of x; by default the median distance between cells of both populations together. Values with different
            bandwidths are not comparable: where methods are compared, give one.
        scales: s.
        a, b: weights, uniform by default.

    Raises:
        ValueError: a value that is not finite, fewer than two cells, different dimensions, bad weights, or a scale or bandwidth that is not positive.
    """
    x, y = two(x, y, least=2)
    a, b = weights("the first population", a, len(x)), weights("the second population", b, len(y))
    h = median_distance(torch.cat([x, y])) if bandwidth is None else float(bandwidth)
    if not h > 0 or not len(scales) or not min(scales) > 0:
        raise ValueError(f"bandwidth={h:g} and scales={tuple(scales)} came; positive ones were wanted" +
                         (": most cells are equal, so that their median distance is zero" if bandwidth is None and h == 0 else ""))

    def kernel(left: Float[Tensor, "some dim"], right: Float[Tensor, "other dim"]) -> Float[Tensor, "some other"]:
        square = distances(left, right, 2)
        return sum((square / (-2 * (s * h) ** 2)).exp() for s in scales) / len(scales)

    return off_diagonal_mean(x, a, kernel, 1.0) + off_diagonal_mean(y, b, kernel, 1.0) - 2 * pair_mean(x, y, a, b, kernel)


def median_distance(x: Float[Tensor, "cell dim"]) -> float:
    """The median distance of different cells, of at most `SEEN` of them."""
    some = x[torch.linspace(0, len(x) - 1, min(len(x), SEEN)).round().long()]
    return float(torch.pdist(some).median())
