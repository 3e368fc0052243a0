"""Transport along random directions, where it is a matter of sorting: for populations too large for exact transport."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.couplings.populations import two, weights

__all__ = ["sliced"]


def sliced(x: Any, y: Any, p: int = 1, directions: int = 256, seed: int = 0, a: Any = None, b: Any = None) -> float:
    """(mean over unit vectors u of W_p^p(<u, x>, <u, y>))^(1/p)  (Rabin et al. 2012; Bonneel et al. 2015), in the unit of x.

    In d dimensions it is about W_p / sqrt(d) for a shift: not comparable with W_p, nor between dimensions.

    Args:
        x, y: points ``[cell dim]``.
        p: 1 or 2.
        directions: number of unit vectors, drawn with ``seed``; one direction where there is one dimension.
        a, b: weights, uniform by default.

    Raises:
        ValueError: another p, no directions, a value that is not finite, an empty population, different dimensions, or bad weights.
    """
    if p not in (1, 2) or directions < 1:
        raise ValueError(f"p={p} and directions={directions} came; p of 1 or 2 and at least one direction were wanted")
    x, y = two(x, y)
    a, b = weights("the first population", a, len(x)), weights("the second population", b, len(y))
    dim = x.shape[1]
    u = torch.randn(dim, directions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u = torch.ones(1, 1, dtype=torch.float64) if dim == 1 else u / u.norm(dim=0)
    costs = [_line(*_sorted(x @ part, a), *_sorted(y @ part, b), p) for part in u.to(x).split(max(1, (1 << 21) // (len(x) + len(y))), dim=1)]
    return float(torch.cat(costs).mean()) ** (1 / p)


def _sorted(values: Float[Tensor, "cell direction"], w: Float[Tensor, "cell"]) -> tuple[Tensor, Tensor]:
    """Values in order and their cumulated weights, ``[direction cell]``."""
    values, order = values.T.contiguous().sort(dim=1)
    return values, w.to(values)[order].cumsum(1)


def _line(x: Tensor, cx: Tensor, y: Tensor, cy: Tensor, p: int) -> Float[Tensor, "direction"]:
    """W_p^p on the line: the integral over levels of |quantile of x - quantile of y|^p, constant between the levels where either jumps."""
    level = torch.cat([cx, cy], 1).sort(dim=1).values.clamp(max=1.0)
    width = level.diff(dim=1, prepend=torch.zeros_like(level[:, :1]))
    middle = level - width / 2
    pick = lambda values, c: values.gather(1, torch.searchsorted(c, middle).clamp(max=values.shape[1] - 1))  # noqa: E731
    return (width * (pick(x, cx) - pick(y, cy)).abs() ** p).sum(1)
