"""Hyperbolic barriers by the variational theory: shrink lines x' = e_1(C) through strong local maxima of stretching.

Sources: Haller (2011), Farazmand & Haller (2012), Haller & Beron-Vera (2012).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.cauchy_green import Tensor, cauchy_green, eigen, flow_tensor
from trajlab.dynamics.fields import VectorField
from trajlab.dynamics.flow_maps import FlowMap, even_axes, flow_map

__all__ = ["LineConfig", "ShrinkLine", "follow", "seeds", "shrink_lines", "trace"]

Direction = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class LineConfig:
    """How shrink lines are drawn.

    Attributes:
        step: length of a step along the line; None for the grid spacing.
        length: of each line at most, in both senses together; None for the larger extent of the grid.
        apart: distance between seeds, and from a line to the seeds it makes needless; None for 5 grid spacings.
        most: number of lines.
        share: seeds are among the highest ``share`` of lambda_2.
        patience: a line ends where the conditions lambda_2 > 1 and <e_2, (Hessian of lambda_2) e_2> <= 0 fail over more than this length; None for
            5 grid spacings.
        degenerate: relative difference of the eigenvalues below which a point counts as one where they agree.
    """

    step: float | None = None
    length: float | None = None
    apart: float | None = None
    most: int = 20
    share: float = 0.2
    patience: float | None = None
    degenerate: float = 1e-3


@dataclass(frozen=True, eq=False)
class ShrinkLine:
    """A barrier: ``points[point 2]`` evenly along it, ``stretch[point]``, the root of lambda_2, and the seed.

    ``kind`` is ``"repelling"`` from a forward map, ``"attracting"`` from a backward one.
    """

    points: Float[np.ndarray, "point 2"]
    stretch: Float[np.ndarray, "point"]
    seed: Float[np.ndarray, "2"]
    kind: str = "repelling"


def shrink_lines(flow: VectorField, axes: tuple[np.ndarray, ...], t0: float = 0.0, duration: float | None = None, *, steps: int | None = None,
                 config: LineConfig | None = None) -> list[ShrinkLine]:
    """Barriers at t0 that repel (attract, for a negative duration) most over the duration, strongest first.

    The grid gives the seeds; along the lines C is computed where it is needed.

    Args:
        flow, t0, duration, steps: see `trajlab.dynamics.flow_maps.flow_map`.
        axes: of the grid.

    Raises:
        ValueError: not two axes, or as `flow_map`.
    """
    if not isinstance(axes, tuple) or len(axes) != 2 or flow.dim != 2:
        raise ValueError(f"{flow.name}: shrink lines are curves in the plane; a flow in 2-D and a tuple of two axes were wanted")
    found = flow_map(flow, axes, t0, duration, steps=steps)
    return trace(found, flow_tensor(flow, t0, found.duration, found.steps), config or LineConfig())


def trace(found: FlowMap, tensor: Tensor, config: LineConfig) -> list[ShrinkLine]:
    """Lines for the seeds of a map, with C from ``tensor``."""
    spacing = min(even_axes(found.axes, "grid"))
    extent = max(float(a[-1] - a[0]) for a in found.axes)
    step, apart, patience = config.step or spacing, config.apart or 5.0 * spacing, config.patience or 5.0 * spacing
    places = seeds(found, apart, config.share)[: 3 * config.most]
    box = np.array([[a[0], a[-1]] for a in found.axes])
    half = max(1, round(0.5 * (config.length or extent) / step))

    def direction(x: np.ndarray, along: np.ndarray, _: np.ndarray) -> np.ndarray:
        values, vectors = eigen(tensor(x))
        e = vectors[..., 0]
        ended = (values[:, 1] - values[:, 0] < config.degenerate * values[:, 1]) | ((x < box[:, 0]) | (x > box[:, 1])).any(1)
        return np.where(ended[:, None], np.nan, e * np.where((e * along).sum(1) < 0.0, -1.0, 1.0)[:, None])

    first = eigen(tensor(places))[1][..., 0] if len(places) else np.zeros((0, 2))
    paths = follow(direction, np.concatenate([places, places]), np.concatenate([first, -first]), step, half)
    kind, kept = "repelling" if found.duration > 0 else "attracting", []
    for i, seed in enumerate(places):
        if len(kept) == config.most:
            break
        if any(np.linalg.norm(line.points - seed, axis=1).min() < apart for line in kept):
            continue
        both = [_good(paths[:, k], tensor, spacing, round(patience / step)) for k in (i + len(places), i)]
        points = np.concatenate([both[0][:0:-1], both[1]])
        if len(points) > 2:
            kept.append(ShrinkLine(points, np.sqrt(eigen(tensor(points))[0][:, 1]), seed, kind))
    return kept


def seeds(found: FlowMap, apart: float, share: float) -> Float[np.ndarray, "seed 2"]:
    """Grid points with the largest lambda_2 within a distance, among the highest ``share`` of all, highest first; none at the border."""
    from scipy.ndimage import maximum_filter

    high = eigen(cauchy_green(found.gradient))[0][..., 1]
    filled = np.where(np.isfinite(high), high, -np.inf)
    size = [2 * max(1, round(apart / h)) + 1 for h in even_axes(found.axes, "grid")]
    peak = (filled == maximum_filter(filled, size=size, mode="nearest")) & (filled >= np.nanquantile(high, 1.0 - share)) & (filled > 1.0)
    peak[[0, -1]] = peak[:, [0, -1]] = False
    order = np.argsort(-filled[peak], kind="stable")
    return found.start[peak][order]


def follow(direction: Direction, x: np.ndarray, along: np.ndarray, step: float | np.ndarray, count: int,
           ended: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """Lines x' = +-direction from places ``[line 2]``, by the classical Runge-Kutta method with the sign of each slope set by the one before.

    Args:
        direction: (places ``[line 2]``, previous slopes ``[line 2]``, numbers of the lines) -> slopes with a non-negative product with the previous
            ones; NaN ends a line.
        step: length of a step, one or ``[line]``.
        ended: (places before, places after, numbers of the lines) -> whether each line is done.

    Returns:
        ``[count + 1, line, 2]``, NaN from where a line ended.
    """
    path, rows = np.full((count + 1, *x.shape), np.nan), np.arange(len(x))
    path[0], step = x, np.broadcast_to(np.asarray(step, dtype=np.float64), len(x))[:, None]
    for n in range(count):
        k1 = direction(x, along, rows)
        k2 = direction(x + 0.5 * step * k1, k1, rows)
        k3 = direction(x + 0.5 * step * k2, k2, rows)
        k4 = direction(x + step * k3, k3, rows)
        along = (k1 + 2.0 * k2 + 2.0 * k3 + k4) / 6.0
        new = x + step * along
        path[n + 1, rows] = new
        alive = np.isfinite(new).all(1)
        if ended is not None:
            alive &= ~ended(x, new, rows)
        x, along, rows, step = new[alive], along[alive], rows[alive], step[alive]
        if not len(rows):
            break
    return path


def _good(path: np.ndarray, tensor: Tensor, spacing: float, patience: int) -> np.ndarray:
    """The part of a half-line ``[point 2]`` before it ends or loses normal repulsion for longer than ``patience`` steps."""
    path = path[np.isfinite(path).all(1)]
    values, vectors = eigen(tensor(path))
    normal = spacing * vectors[..., 1]
    bend = eigen(tensor(path + normal))[0][:, 1] - 2.0 * values[:, 1] + eigen(tensor(path - normal))[0][:, 1]
    bad, run, last = ~((values[:, 1] > 1.0) & ~(bend > 0.0)), 0, 0  # a neighbour that is not known does not speak against a point
    for i, wrong in enumerate(bad):
        run = run + 1 if wrong else 0
        if run > patience:
            break
        last = i if not wrong else last
    return path[: last + 1]
