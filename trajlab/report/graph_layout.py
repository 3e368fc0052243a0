"""Places of the states of a graph in the plane: their distances tell how many jumps apart they are."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["layout"]

SWEEPS = 300
WEAK = 0.1  #: of the fastest rate out of either end: slower links do not draw states together


def layout(rates: Float[np.ndarray, "state state"]) -> Float[np.ndarray, "state 2"]:
    """Places that minimise ``sum (|x_i - x_j| - d_ij)^2 / d_ij^2`` over pairs, d the number of jumps between two states, by majorisation from a
    circle (Kamada and Kawai 1989; Gansner, Koren and North 2004). The longest axis lies flat; the same rates give the same places.
    """
    n = len(rates)
    if n == 1:
        return np.zeros((1, 2))
    away = _jumps_apart(rates)
    weight = np.where(np.eye(n, dtype=bool), 0.0, away.clip(1e-9) ** -2.0)
    tries = [_settled(start, away, weight) for start in (_circle(away), _scaled(away))]
    return _flat(min(tries, key=lambda x: round(float((weight * (_between(x) - away) ** 2).sum()), 6)))


def _settled(x: np.ndarray, away: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Majorisation from a start."""
    scale = np.linalg.pinv(np.diag(weight.sum(1)) - weight)
    for _ in range(SWEEPS):
        between = _between(x)
        pull = weight * away / np.where(between > 1e-9, between, np.inf)
        x = scale @ (pull.sum(1)[:, None] * x - pull @ x)
    return x - x.mean(0)


def _between(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[:, None] - x, axis=-1)


def _circle(away: np.ndarray) -> np.ndarray:
    angle = np.empty(len(away))
    angle[_around(away)] = 2 * np.pi * np.arange(len(away)) / len(away)
    return np.stack([np.cos(np.pi / 2 - angle), np.sin(np.pi / 2 - angle)], 1) * max(away.max() / 2, 0.5)


def _scaled(away: np.ndarray) -> np.ndarray:
    """Classical scaling (Torgerson 1952), which unrolls chains."""
    centred = away**2 - (away**2).mean(0)
    values, vectors = np.linalg.eigh(-(centred - centred.mean(1, keepdims=True)) / 2)
    axes = vectors[:, :-3:-1]
    return axes * np.sign(axes[np.abs(axes).argmax(0), [0, 1]]) * np.sqrt(np.maximum(values[:-3:-1], 0))


def _jumps_apart(rates: np.ndarray) -> np.ndarray:
    """Fewest jumps between two states over links that matter, ``[state state]``; groups that are not linked lie one jump further than all others."""
    from scipy.sparse.csgraph import shortest_path

    off = rates - np.diag(np.diag(rates))
    both = np.maximum(off, off.T)
    top = both.max(1)
    near = (both > 0) & (both >= WEAK * np.minimum(top[:, None], top))
    away = shortest_path(near.astype(float), directed=False, unweighted=True)
    far = away[np.isfinite(away)].max() + 1.0
    return np.where(np.isfinite(away), away, far)


def _around(away: np.ndarray) -> list[int]:
    """An order around the circle in which neighbours are near: the nearest that is left, always."""
    order = [0]
    while len(order) < len(away):
        left = [k for k in range(len(away)) if k not in order]
        order.append(min(left, key=lambda k: (away[order[-1], k], away[order[0], k], k)))
    return order


def _flat(x: np.ndarray) -> np.ndarray:
    """Turned so that it is widest along the first axis, where it is clearly longer than wide, with the first state to the left."""
    spread, axes = np.linalg.eigh(x.T @ x)
    if spread[1] < 1.5 * spread[0]:
        return x
    y = x @ axes[:, ::-1]
    highest = y[np.abs(y[:, 1]).argmax(), 1]
    return y * np.array([-1.0 if y[0, 0] > 0 else 1.0, -1.0 if highest < 0 else 1.0])
