"""Clusters of a signal, for first guesses of what hidden states look like."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

__all__ = ["clusters"]

MOST = 5000  #: points that are clustered; the others are put to the nearest centre
TRIES = 8
ROUNDS = 60


def clusters(x: Float[np.ndarray, "seen dim"], count: int, seed: int = 0) -> tuple[Float[np.ndarray, "state dim"], Int[np.ndarray, "seen"]]:
    """Centres and the cluster of each value, by k-means from several starts (Arthur and Vassilvitskii 2007), ordered by the first dimension.

    Distances are in units of the standard deviation of each dimension.

    Raises:
        ValueError: there are fewer distinct values than clusters, or a dimension is constant.
    """
    spread = x.std(0)
    if not (spread > 0).all():
        raise ValueError(f"dimension {int(np.argmin(spread))} of the signal is constant; leave it out")
    if len(np.unique(x[: 100 * MOST], axis=0)) < count:
        raise ValueError(f"the signal has fewer than {count} distinct values; {count} states cannot be told apart")
    rng = np.random.default_rng(seed)
    z = x / spread
    some = z if len(z) <= MOST else z[rng.choice(len(z), MOST, replace=False)]
    starts = [_spread_out(some, count, rng) for _ in range(TRIES)]
    if x.shape[1] == 1:
        starts.append(np.quantile(some, (np.arange(count) + 0.5) / count, axis=0))
    best = min((_settled(some, centre) for centre in starts), key=lambda found: found[1])[0]
    best = best[np.lexsort(best.T[::-1])]
    number = _nearest(z, best)[0]
    for i in np.flatnonzero(np.bincount(number, minlength=count) == 0):  # a centre that has no value takes the nearest
        number[((z - best[i]) ** 2).sum(1).argmin()] = i
    return best * spread, number


def _nearest(z: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distance = ((z[:, None] - centre) ** 2).sum(-1)
    number = distance.argmin(1)
    return number, distance[np.arange(len(z)), number]


def _spread_out(z: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """First centres, each drawn with a probability that grows with the squared distance from those before."""
    chosen = [z[rng.integers(len(z))]]
    for _ in range(count - 1):
        distance = _nearest(z, np.stack(chosen))[1]
        total = distance.sum()
        chosen.append(z[rng.choice(len(z), p=distance / total)] if total > 0 else z[rng.integers(len(z))])
    return np.stack(chosen)


def _settled(z: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, float]:
    """Centres moved to the middle of what is nearest to them until they stay, and the sum of squared distances."""
    for _ in range(ROUNDS):
        number, _ = _nearest(z, centre)
        size = np.bincount(number, minlength=len(centre))
        total = np.stack([np.bincount(number, weights=column, minlength=len(centre)) for column in z.T], 1)
        moved = np.where(size[:, None] > 0, total / np.maximum(size, 1)[:, None], centre)
        if np.array_equal(moved, centre):
            break
        centre = moved
    return centre, float(_nearest(z, centre)[1].sum())
