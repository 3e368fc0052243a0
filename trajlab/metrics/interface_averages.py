"""Averages of fields conditioned on the signed distance to an interface, with errors over blocks.

Neighbouring points are not independent, so errors come from blocks (columns of the grid, or runs): each average is the ratio of two sums over blocks,
and its error that of the jackknife in which blocks are left out one at a time (Quenouille 1956; Tukey 1958).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.metrics.uncertainty import Estimate

__all__ = ["Conditional", "conditional_average", "side_correlation"]


@dataclass(frozen=True, eq=False)
class Conditional:
    """Averages of a field in bins of the signed distance.

    Attributes:
        edges: ``[bin + 1]`` of the distance.
        sums, counts: ``[block bin]``, of the values and how many there are.
    """

    edges: Float[np.ndarray, "edge"]
    sums: Float[np.ndarray, "block bin"]
    counts: Float[np.ndarray, "block bin"]

    @property
    def centres(self) -> Float[np.ndarray, "bin"]:
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def mean(self) -> Float[np.ndarray, "bin"]:
        """NaN in bins without values."""
        return _ratio(self.sums.sum(0), self.counts.sum(0))

    @property
    def error(self) -> Float[np.ndarray, "bin"]:
        """Standard errors of the means by the jackknife over blocks."""
        return _jackknife(_ratio(*self._without()))

    def of(self, statistic: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> Estimate:
        """``statistic(edges, sums[bin], counts[bin])`` of all blocks, with its error."""
        whole = statistic(self.edges, self.sums.sum(0), self.counts.sum(0))
        parts = np.array([statistic(self.edges, s, n) for s, n in zip(*self._without())])
        return Estimate(float(whole), float(_jackknife(parts)))

    def jump(self, width: float, gap: float = 0.0) -> Estimate:
        """Average inside minus average outside of the interface, over distances from ``gap`` to ``gap + width`` on either side.

        Raises:
            ValueError: no bin lies within.
        """
        centres = self.centres
        near = (np.abs(centres) >= gap) & (np.abs(centres) <= gap + width)
        if not (near & (centres > 0)).any() or not (near & (centres < 0)).any():
            raise ValueError(f"no bin between {gap:g} and {gap + width:g} from the interface; there are {len(centres)} from {centres[0]:g} to "
                             f"{centres[-1]:g}")

        def difference(_: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> float:
            sides = [float(_ratio(sums[side].sum(), counts[side].sum())) for side in (near & (centres > 0), near & (centres < 0))]
            return sides[0] - sides[1]

        return self.of(difference)

    def thickness(self, reach: float) -> Estimate:
        """Of the layer in which the average changes: the range of the average within ``reach`` of the interface, over its steepest slope there."""
        near = np.abs(self.centres) <= reach

        def ratio(_: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> float:
            used = near & (counts > 0)
            mean = _ratio(sums, counts)[used]
            if len(mean) < 3 or np.ptp(mean) == 0:
                return float("nan")
            return float(np.ptp(mean) / np.abs(np.gradient(mean, self.centres[used])).max())

        return self.of(ratio)

    def _without(self) -> tuple[np.ndarray, np.ndarray]:
        return self.sums.sum(0) - self.sums, self.counts.sum(0) - self.counts


def conditional_average(distance: Any, values: Any, blocks: Any, edges: Any) -> Conditional:
    """Average values by distance.

    Args:
        distance, values: of one shape; NaN in either leaves a point out.
        blocks: whole numbers that can be broadcast to this shape, equal within a block.
        edges: ``[bin + 1]``, rising.

    Raises:
        ValueError: shapes disagree, edges do not rise, fewer than 2 blocks have values.
    """
    d, f, b = _aligned(distance, values, blocks)
    edges = np.asarray(edges, dtype=float)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges of shape {edges.shape}; at least 2 rising numbers were wanted")
    bins = np.digitize(d, edges) - 1
    good = (bins >= 0) & (bins < len(edges) - 1)
    names, block = np.unique(b[good], return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{len(names)} blocks with values between {edges[0]:g} and {edges[-1]:g}; errors need at least 2")
    index, size = block * (len(edges) - 1) + bins[good], len(names) * (len(edges) - 1)
    shape = (len(names), len(edges) - 1)
    return Conditional(edges, np.bincount(index, f[good], size).reshape(shape), np.bincount(index, minlength=size).reshape(shape).astype(float))


def side_correlation(distance: Any, values: Any, blocks: Any, reach: float) -> Estimate:
    """Pearson's correlation between a field and the side of the interface, within ``reach`` of it.

    Args: as for `conditional_average`.

    Raises:
        ValueError: as there, or all points lie on one side.
    """
    d, f, b = _aligned(distance, values, blocks)
    near = np.abs(d) <= reach
    f, side = f[near], (d[near] > 0).astype(float)
    names, block = np.unique(b[near], return_inverse=True)
    if len(names) < 2 or side.min(initial=1.0) == side.max(initial=0.0):
        raise ValueError(f"{len(names)} blocks and {len(f)} points within {reach:g} of the interface; at least 2 blocks, and both sides, were wanted")
    f = f - f.mean()
    moments = np.stack([np.bincount(block, w, len(names)) for w in (np.ones_like(f), f, side, f * f, f * side)], -1)
    return Estimate(float(_pearson(moments.sum(0))), float(_jackknife(_pearson(moments.sum(0) - moments))))


def _aligned(distance: Any, values: Any, blocks: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    d, f = np.asarray(distance, dtype=float), np.asarray(values, dtype=float)
    if d.shape != f.shape:
        raise ValueError(f"distances of shape {d.shape} and values of shape {f.shape}; they must agree")
    try:
        b = np.broadcast_to(np.asarray(blocks), d.shape)
    except ValueError as error:
        raise ValueError(f"blocks of shape {np.shape(blocks)} for values of shape {d.shape}; what can be broadcast was wanted") from error
    good = np.isfinite(d) & np.isfinite(f)
    return d[good], f[good], b[good]


def _ratio(sums: Any, counts: Any) -> Any:
    return np.where(counts > 0, sums / np.where(counts > 0, counts, 1.0), np.nan)


def _jackknife(parts: np.ndarray) -> Any:
    """Standard error from what is found without each of the blocks ``[block ...]``."""
    n = len(parts)
    return np.sqrt((n - 1) / n * ((parts - parts.mean(0)) ** 2).sum(0))


def _pearson(moments: np.ndarray) -> Any:
    n, f, s, ff, fs = np.moveaxis(moments, -1, 0)
    spread = np.sqrt(np.maximum((n * ff - f * f) * (n * s - s * s), 1e-300))
    return (n * fs - f * s) / spread
