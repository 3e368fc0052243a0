"""Interfaces of a scalar field: clusters of its values as layers, the borders between them, and the signed distance to a border.

The border of the outermost layer is the turbulent/non-turbulent interface (TNTI), the borders of the layers within are internal interfaces. The
algorithm that splits the values is our choice: k-means in one dimension (Lloyd 1982), or a Gaussian mixture (Dempster, Laird & Rubin 1977).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from trajlab.catalog import unknown
from trajlab.dynamics.flow_maps import even_axes
from trajlab.dynamics.sampled_velocity import SampledVelocity

__all__ = ["Interface", "cluster_levels", "find_interface"]

SPLITS = ("kmeans", "gaussian")
NEAREST = 12  #: pieces of the curves to which exact distances are computed
BINS = 1024  #: of the values, on which a mixture is fitted


def cluster_levels(scalar: Any, clusters: int = 4, *, by: str = "kmeans", seed: int = 0, restarts: int = 8,
                   iterations: int = 300) -> Float[np.ndarray, "level"]:
    """Levels, rising, that split the values of a scalar into clusters: ``clusters - 1`` of them.

    Args:
        scalar: of any shape.
        by: ``"kmeans"``, levels half-way between the means; ``"gaussian"``, levels at which two components of a mixture are equally likely.
        seed: of the starts.
        restarts: random starts besides one from quantiles of the distinct values; the best is kept.

    Raises:
        ValueError: fewer than 2 clusters, fewer distinct values than clusters, values that are not finite, or an unknown algorithm.
    """
    values = np.sort(np.asarray(scalar, dtype=float).ravel())
    if by not in SPLITS:
        raise ValueError(unknown("way to cluster", by, SPLITS))
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {values.size} values of the scalar are not finite; fill or cut them out before")
    distinct = values[np.concatenate([[True], np.diff(values) > 0])] if len(values) else values
    if clusters < 2 or len(distinct) < clusters:
        raise ValueError(f"{clusters} clusters of {len(distinct)} distinct values; at least 2 clusters and as many values were wanted")
    rng = np.random.default_rng(seed)
    total, square = (np.concatenate([[0.0], np.cumsum(values**power)]) for power in (1, 2))
    best, least = None, np.inf
    for trial in range(restarts + 1):
        even = (np.arange(clusters) + 0.5) / clusters
        start = np.quantile(distinct, even) if trial == 0 else np.sort(rng.choice(distinct, clusters, replace=False))
        levels, loss = _lloyd(values, total, square, start, iterations)
        if loss < least:
            best, least = levels, loss
    if best is None:
        raise ValueError(f"every start of k-means lost a cluster; take fewer than {clusters} clusters")
    return best if by == "kmeans" else _mixture(values, best, iterations)


def _lloyd(values: np.ndarray, total: np.ndarray, square: np.ndarray, centres: np.ndarray, iterations: int) -> tuple[np.ndarray, float]:
    """Lloyd's algorithm on sorted values, with sums over them: a cluster is a range."""
    cuts = np.zeros(0, dtype=int)
    for _ in range(iterations):
        levels = 0.5 * (centres[1:] + centres[:-1])
        now = np.concatenate([[0], np.searchsorted(values, levels), [len(values)]])
        count = np.diff(now)
        if (count == 0).any():
            return levels, np.inf
        centres = np.diff(total[now]) / count
        if np.array_equal(now, cuts):
            break
        cuts = now
    return 0.5 * (centres[1:] + centres[:-1]), float((np.diff(square[now]) - count * centres**2).sum())


def _mixture(values: np.ndarray, levels: np.ndarray, iterations: int) -> np.ndarray:
    """Expectation-maximization on a histogram from a split into clusters; levels where neighbouring components are equally likely."""
    weight, edges = np.histogram(values, BINS)
    place, floor = 0.5 * (edges[1:] + edges[:-1]), ((edges[-1] - edges[0]) / BINS) ** 2
    share = (np.digitize(place, levels)[None] == np.arange(len(levels) + 1)[:, None]).astype(float)
    for _ in range(iterations):
        mass = np.maximum((share * weight).sum(1), 1e-9)
        mean = (share * weight * place).sum(1) / mass
        spread = (share * weight * (place - mean[:, None]) ** 2).sum(1) / mass + floor
        log = np.log(mass / weight.sum())[:, None] - 0.5 * np.log(spread)[:, None] - 0.5 * (place - mean[:, None]) ** 2 / spread[:, None]
        new = np.exp(log - log.max(0))
        new /= new.sum(0)
        if np.abs(new - share).max() < 1e-6:
            break
        share = new
    order = np.argsort(mean)
    found = []
    for a, b in itertools.pairwise(order):
        between = (place >= mean[a]) & (place <= mean[b])
        ahead = np.flatnonzero(between & (log[b] > log[a]))
        found.append(place[ahead[0]] - 0.5 * (edges[1] - edges[0]) if len(ahead) else 0.5 * (mean[a] + mean[b]))
    return np.maximum.accumulate(np.array(found))


@dataclass(frozen=True, eq=False)
class Interface:
    """The border of the region in which a scalar exceeds a level, without islands and holes.

    Attributes:
        level: of the scalar.
        axes: ``x[x]`` and ``y[y]``.
        periods: of the axes, None where they do not repeat.
        inside: ``[x y]``, the region, with its holes filled and without its islands.
        aside: ``[x y]``, grid points of islands and holes, which belong to neither side.
        curves: the border, each ``[point 2]``, broken where an axis repeats.
    """

    level: float
    axes: tuple[np.ndarray, np.ndarray]
    periods: tuple[float | None, float | None]
    inside: Bool[np.ndarray, "x y"]
    aside: Bool[np.ndarray, "x y"]
    curves: tuple[np.ndarray, ...]

    @property
    def length(self) -> float:
        """Of all curves together."""
        return float(sum(np.linalg.norm(np.diff(c, axis=0), axis=1).sum() for c in self.curves))

    @property
    def pieces(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last points ``[piece 2]`` of the straight pieces of the curves."""
        return np.concatenate([c[:-1] for c in self.curves]), np.concatenate([c[1:] for c in self.curves])

    def distance(self, stride: int = 1) -> Float[np.ndarray, "x y"]:
        """Signed distance of every ``stride``-th grid point along both axes to the curves: positive inside, negative outside.

        Distances are those to the straight pieces of the curves, over the seam of axes that repeat where that is shorter.
        """
        from scipy.spatial import cKDTree

        x, y = (a[::stride] for a in self.axes)
        points = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
        first, last = self.pieces
        origin = np.array([a[0] for a in self.axes])
        sizes = np.array([p or 0.0 for p in self.periods])

        def home(places: np.ndarray) -> np.ndarray:
            return np.where(sizes > 0, np.mod(places - origin, np.where(sizes > 0, sizes, 1.0)), places - origin)

        middle = home(0.5 * (first + last))
        near = cKDTree(np.minimum(middle, np.where(sizes > 0, np.nextafter(sizes, 0.0), np.inf)), boxsize=sizes)
        k = min(NEAREST, len(middle))
        _, at = near.query(np.minimum(home(points), np.where(sizes > 0, np.nextafter(sizes, 0.0), np.inf)), k)
        at = at.reshape(len(points), k)
        offset = home(points)[:, None] - middle[at]
        offset -= sizes * np.round(offset / np.where(sizes > 0, sizes, 1.0))
        half = 0.5 * (last - first)[at]
        size = (half**2).sum(-1)
        along = np.clip((offset * half).sum(-1) / np.maximum(size, 1e-300), -1.0, 1.0)
        apart = np.sqrt(((offset - along[..., None] * half) ** 2).sum(-1)).min(1).reshape(len(x), len(y))
        return np.where(self.inside[::stride, ::stride], apart, -apart)


def find_interface(scalar: Any, axes: Sequence[Any], level: float, periods: tuple[float | None, float | None] = (None, None),
                   keep: float = 0.1) -> Interface:
    """The border of the region above a level.

    Args:
        scalar: ``[x y]``.
        axes: ``x[x]`` and ``y[y]``, rising in even steps.
        periods: length after which an axis repeats, its grid stopping one step short of it; or None.
        keep: pieces of the region, connected over the sides of grid cells, that are smaller than this share of the largest are islands; 1 keeps the
            largest alone. What is below the level is a hole unless it reaches the end of an axis that does not repeat, or is the largest such part.

    Raises:
        ValueError: shapes disagree, values are not finite, an axis is uneven, a field does not repeat where it should, a level that no border has.
    """
    values, places = np.asarray(scalar, dtype=float), tuple(np.asarray(a, dtype=float) for a in axes)
    if not (np.isfinite(level) and 0.0 <= keep <= 1.0):
        raise ValueError(f"level {level:g}, keep = {keep:g}; a finite level and a share from 0 to 1 were wanted")
    repeats = tuple(p if p else False for p in periods)
    SampledVelocity.stream(values, places, periodic=repeats, name="scalar")  # refuses what does not repeat, is not finite or not even
    above = values > level
    if above.all() or not above.any():
        raise ValueError(f"no border at the level {level:g}: the scalar runs from {values.min():.4g} to {values.max():.4g}")
    closed = tuple(p is not None for p in periods)
    body = _large(above, closed, keep)
    outside = _ambient(~body, closed)
    inside = ~outside
    height = np.where(inside, 1.0, -1.0) * np.maximum(np.abs(values - level), 1e-12 * max(float(np.ptp(values)), 1e-300))
    return Interface(float(level), places, tuple(periods), inside, inside != above, _zero(height, places, closed))


def _parts(mask: np.ndarray, closed: tuple[bool, ...]) -> np.ndarray:
    """Numbers ``[x y]`` from 1 of the parts of a mask that hang together, also over the seam of closed axes; 0 elsewhere."""
    from scipy.ndimage import label
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    found, count = label(mask)
    pairs = [np.stack([np.take(found, 0, i), np.take(found, -1, i)]) for i, shut in enumerate(closed) if shut]
    if not pairs or not count:
        return found
    joined = np.concatenate(pairs, 1)
    joined = joined[:, (joined > 0).all(0)]
    _, names = connected_components(coo_matrix((np.ones(joined.shape[1]), joined), shape=(count + 1, count + 1)), directed=False)
    return np.where(found > 0, names[found] + 1, 0)


def _large(mask: np.ndarray, closed: tuple[bool, ...], keep: float) -> np.ndarray:
    parts = _parts(mask, closed)
    size = np.bincount(parts.ravel())
    size[0] = 0
    return (size >= max(keep * size.max(), 1))[parts] & mask


def _ambient(mask: np.ndarray, closed: tuple[bool, ...]) -> np.ndarray:
    """The parts of a mask that reach the end of an open axis, and the largest part."""
    parts = _parts(mask, closed)
    size = np.bincount(parts.ravel())
    size[0] = 0
    good = np.zeros(len(size), dtype=bool)
    good[size.argmax()] = True
    for i, shut in enumerate(closed):
        if not shut:
            good[np.take(parts, [0, -1], i).ravel()] = True
    good[0] = False
    return good[parts]


def _zero(height: np.ndarray, axes: tuple[np.ndarray, ...], closed: tuple[bool, ...]) -> tuple[np.ndarray, ...]:
    """Curves of value zero, linear along the sides of cells; closed axes get their first point again at the end."""
    from contourpy import contour_generator

    steps = even_axes(axes, "grid")
    x, y = (np.append(a, a[-1] + h) if shut else a for a, h, shut in zip(axes, steps, closed))
    padded = np.pad(height, [(0, int(shut)) for shut in closed], mode="wrap")
    return tuple(line for line in contour_generator(x, y, padded.T).lines(0.0) if len(line) > 1)
