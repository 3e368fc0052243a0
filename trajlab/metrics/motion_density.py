"""Densities of mixtures at samples from them: a loop over positions, samples and modes that would need large arrays otherwise."""

from __future__ import annotations

import math

import numba as nb
import numpy as np

__all__ = ["denser"]


@nb.njit(cache=True, nogil=True)
def exceeds(scale: np.ndarray, x: float, y: float, first: int, bar: float) -> bool:
    """Whether the density at a place is above the bar: the terms are positive, so that the sum may stop as soon as it is. ``first`` is the mode to
    begin with. ``scale[mode 6]``: mean, 1/l11, l21, 1/l22, height of each mode."""
    modes, total = len(scale), 0.0
    for step in range(modes):
        k = (first + step) % modes
        u = (x - scale[k, 0]) * scale[k, 2]
        v = (y - scale[k, 1] - scale[k, 3] * u) * scale[k, 4]
        square = u * u + v * v
        if square < 1400.0:
            total += scale[k, 5] * math.exp(-0.5 * square)
        if total > bar:
            return True
    return False


@nb.njit(cache=True, nogil=True)
def density(scale: np.ndarray, x: float, y: float) -> float:
    """Of a mixture of plane Gaussians, without the factor 1/(2 pi); ``scale`` as for `exceeds`."""
    total = 0.0
    for k in range(len(scale)):
        u = (x - scale[k, 0]) * scale[k, 2]
        v = (y - scale[k, 1] - scale[k, 3] * u) * scale[k, 4]
        total += scale[k, 5] * math.exp(-0.5 * (u * u + v * v))
    return total


@nb.njit(cache=True, nogil=True)
def denser(
    cumulative: np.ndarray, mean: np.ndarray, root: np.ndarray, truth: np.ndarray, uniform: np.ndarray, normal: np.ndarray,
) -> np.ndarray:
    """How many samples of each mixture have a higher density than the truth, ``[item]``.

    Args:
        cumulative: sums of the probabilities of the modes, ``[item mode]``.
        mean, root: means ``[item mode 2]`` and lower Cholesky factors ``[item mode 2 2]``.
        truth: ``[item 2]``.
        uniform, normal: random numbers ``[item sample]`` and ``[item sample 2]``.
    """
    items, samples = uniform.shape
    modes = cumulative.shape[1]
    above = np.zeros(items)
    scale = np.empty((modes, 6))
    for i in range(items):
        before = 0.0
        for k in range(modes):
            scale[k, 0], scale[k, 1], scale[k, 3] = mean[i, k, 0], mean[i, k, 1], root[i, k, 1, 0]
            scale[k, 2], scale[k, 4] = 1 / root[i, k, 0, 0], 1 / root[i, k, 1, 1]
            scale[k, 5] = (cumulative[i, k] - before) * scale[k, 2] * scale[k, 4]
            before = cumulative[i, k]
        bar = density(scale, truth[i, 0], truth[i, 1])
        for j in range(samples):
            k = 0
            while k < modes - 1 and uniform[i, j] > cumulative[i, k]:
                k += 1
            x = mean[i, k, 0] + root[i, k, 0, 0] * normal[i, j, 0]
            y = mean[i, k, 1] + root[i, k, 1, 0] * normal[i, j, 0] + root[i, k, 1, 1] * normal[i, j, 1]
            if exceeds(scale, x, y, k, bar):
                above[i] += 1
    return above
