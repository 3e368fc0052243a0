"""What is asked of two populations before they are compared or coupled: points that are finite, of one dimension, with weights that can be."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["distances", "drawn", "off_diagonal_mean", "pair_mean", "population", "two", "weights"]

BLOCK = 1 << 22  #: distances held at once where only their mean is wanted


def population(name: str, x: Any, least: int = 1) -> Float[Tensor, "cell dim"]:
    """The points as float64 ``[cell dim]``.

    Args:
        name: what messages call it.
        x: tensor or array, numbers of any type.
        least: cells that are needed.

    Raises:
        TypeError: no array of numbers.
        ValueError: another number of axes, too few cells, or a value that is not finite; its row and column are named.
    """
    try:
        x = torch.as_tensor(x).detach().double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} is a {type(x).__name__}; a tensor or array of shape [cell dim] was wanted") from error
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; [cell dim] was wanted" + (", so [:, None] for one dimension" if x.ndim == 1 else ""))
    if len(x) < least:
        raise ValueError(f"{name} has {len(x)} cells; at least {least} {'was' if least == 1 else 'were'} wanted")
    bad = ~torch.isfinite(x)
    if bool(bad.any()):
        row, column = bad.nonzero()[0].tolist()
        raise ValueError(f"{name} is {float(x[row, column])} in row {row}, column {column} ({int(bad.sum())} such values); leave these cells out or "
                         "fill them in before populations are compared")
    return x


def two(x: Any, y: Any, least: int = 1) -> tuple[Tensor, Tensor]:
    """Two populations in one space.

    Raises:
        TypeError, ValueError: as `population` does, or the dimensions differ.
    """
    x, y = population("the first population", x, least), population("the second population", y, least)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"the first population has {x.shape[1]} dimensions and the second {y.shape[1]}; both must be in one space, that of the "
                         "same principal components, say")
    return x, y.to(x.device)


def weights(name: str, w: Any, n: int) -> Float[Tensor, "cell"]:
    """Weights as float64 that sum to 1; uniform where None.

    Raises:
        ValueError: not n finite non-negative numbers, or all of them zero.
    """
    if w is None:
        return torch.full((n,), 1 / n, dtype=torch.float64)
    w = torch.as_tensor(w).detach().double().cpu()
    if w.shape != (n,) or not bool(torch.isfinite(w).all()) or bool((w < 0).any()) or not float(w.sum()) > 0:
        low = float(w.min()) if w.numel() else math.nan
        raise ValueError(f"the weights of {name} have shape {tuple(w.shape)}, the least is {low:g} and their sum {float(w.sum()):g}; {n} finite "
                         "numbers, zero or more and not all zero, were wanted")
    return w / w.sum()


def drawn(w: Float[Tensor, "item"], n: int, generator: torch.Generator) -> Int[Tensor, "draw"]:
    """n draws of items by weight, one from each of n equal strata of the cumulated weight, in rising order: an item of weight w comes n w times,
    rounded up or down, n w on average. Equal weights give each of n items once.

    Raises:
        ValueError: fewer than one draw.
    """
    if n < 1:
        raise ValueError(f"{n} draws were asked for; at least 1 was wanted")
    total = w.double().cumsum(0)
    u = torch.rand(n, generator=generator, dtype=torch.float64, device=generator.device).cpu().clamp(1e-6, 1 - 1e-6)  # clear of rounded edges
    place = (torch.arange(n, dtype=torch.float64) + u) / n * total[-1].cpu()
    return torch.searchsorted(total.cpu(), place).clamp(max=len(w) - 1).to(w.device)


def distances(x: Float[Tensor, "source dim"], y: Float[Tensor, "target dim"], power: float = 1) -> Float[Tensor, "source target"]:
    """Euclidean distances to a power; exact zeros for equal points, which distances by a matrix product have not."""
    d = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    return d if power == 1 else d**power


def pair_mean(x: Tensor, y: Tensor, a: Tensor, b: Tensor, kernel: Any = distances) -> float:
    """sum_ij a_i b_j kernel(x_i, y_j), block by block."""
    rows = max(1, BLOCK // len(y))
    return math.fsum(float(w @ (kernel(part, y) @ b.to(x))) for part, w in zip(x.split(rows), a.to(x).split(rows)))


def off_diagonal_mean(x: Tensor, a: Tensor, kernel: Any = distances, diagonal: float = 0.0) -> float:
    """The mean over pairs of different cells,  sum_{i != j} a_i a_j k_ij / (1 - sum_i a_i^2): unbiased for the expectation over two draws.

    Args:
        x, a: points, and weights that sum to 1.
        kernel: of blocks of points; the distance by default.
        diagonal: its value at equal points.

    Raises:
        ValueError: one cell holds all the weight.
    """
    alone = float((a**2).sum())
    if alone >= 1 - 1e-12:
        raise ValueError("one cell holds all the weight of a population; an unbiased distance compares pairs of different cells")
    return (pair_mean(x, x, a, a, kernel) - diagonal * alone) / (1 - alone)
