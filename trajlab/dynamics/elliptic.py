"""Elliptic barriers: closed curves whose every piece is stretched by the same factor lambda, the outermost around each vortex core.

They are closed null-geodesics of C - lambda^2 1, the closed orbits of
eta = sqrt((lambda_2 - lambda^2)/(lambda_2 - lambda_1)) e_1 +- sqrt((lambda^2 - lambda_1)/(lambda_2 - lambda_1)) e_2, for which |eta| = 1 and
eta.C eta = lambda^2; found by return maps to a section from the core outwards: each start on it
is given the stretch for which its curve closes. Source: Haller & Beron-Vera (2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.dynamics.cauchy_green import Tensor, eigen
from trajlab.dynamics.flow_maps import even_axes
from trajlab.dynamics.shrink_lines import follow

__all__ = ["EllipticBarrier", "EllipticConfig", "elliptic_barriers", "null_direction", "vortex_cores"]


@dataclass(frozen=True)
class EllipticConfig:
    """How closed curves are looked for.

    Attributes:
        stretches: factors lambda between which curves are looked for; the closer, the sooner curves near the rim of a vortex are found.
        starts: on the section, from ``inner`` times the reach to the reach.
        inner: see ``starts``.
        pieces: steps in a circle of the radius of the start; a curve may take four times as many.
        refinements: bisections of the stretch.
        tolerance: a curve is closed if it comes back to within this share of its radius.
    """

    stretches: tuple[float, ...] = (0.9, 0.95, 0.98, 1.0, 1.02, 1.05, 1.1)
    starts: int = 24
    inner: float = 0.05
    pieces: int = 80
    refinements: int = 12
    tolerance: float = 1e-3


@dataclass(frozen=True, eq=False)
class EllipticBarrier:
    """A closed curve ``points[point 2]`` around a core, which is stretched by the factor ``stretch``; ``sign`` is that of its direction field."""

    points: Float[np.ndarray, "point 2"]
    stretch: float
    sign: int
    core: Float[np.ndarray, "2"]

    @property
    def area(self) -> float:
        """Enclosed area."""
        x, y = (self.points - self.core).T
        return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def null_direction(tensor: Float[np.ndarray, "place 2 2"], stretch: Float[np.ndarray, "place"],
                   sign: Float[np.ndarray, "place"]) -> Float[np.ndarray, "place 2"]:
    """eta at places, up to its sign; NaN where lambda^2 lies outside of the eigenvalues, or where these agree."""
    values, vectors = eigen(tensor)
    low, high, square = values[:, 0], values[:, 1], stretch**2
    with np.errstate(invalid="ignore", divide="ignore"):
        first, second = np.sqrt((high - square) / (high - low)), sign * np.sqrt((square - low) / (high - low))
    return first[:, None] * vectors[..., 0] + second[:, None] * vectors[..., 1]


def elliptic_barriers(tensor: Tensor, cores: Any, reach: float, config: EllipticConfig | None = None,
                      outermost: bool = True) -> list[EllipticBarrier]:
    """Closed null-geodesics around cores.

    Args:
        tensor: C at places, from `trajlab.dynamics.cauchy_green.grid_tensor` (fast) or `flow_tensor` (exact).
        cores: ``[core 2]``, a point inside of each vortex, see `vortex_cores`.
        reach: length of the sections, which start at the cores and run along the first axis.
        outermost: only the curve with the largest area around each core; otherwise all that were found, largest first.

    Raises:
        ValueError: cores of another shape, a reach or a stretch that is not positive.
    """
    config = config or EllipticConfig()
    cores = np.asarray(cores, dtype=np.float64)
    if cores.ndim != 2 or cores.shape[1] != 2:
        raise ValueError(f"cores of shape {cores.shape}; [core 2] was wanted")
    if not reach > 0 or len(config.stretches) < 2 or not min(config.stretches) > 0:
        raise ValueError(f"reach {reach:g} and stretches {config.stretches}; positive numbers, and at least two stretches, were wanted")
    found: list[EllipticBarrier] = []
    for core in cores:
        around = sorted(_around(tensor, core, reach, config), key=lambda curve: -curve.area)
        found += around[:1] if outermost else around
    return found


def _around(tensor: Tensor, core: np.ndarray, reach: float, config: EllipticConfig) -> list[EllipticBarrier]:
    """Through each start there may pass a curve of some stretch: where the return lands inside for one stretch and outside for the next."""
    radii, stretches, signs = np.linspace(config.inner, 1.0, config.starts) * reach, np.sort(config.stretches), (1.0, -1.0)
    sign, r, stretch = (a.ravel() for a in np.meshgrid(signs, radii, stretches, indexing="ij"))
    miss = (_returns(tensor, core, r, stretch, sign, config)[0] - r).reshape(2, len(radii), len(stretches))
    crossed = miss[..., :-1] * miss[..., 1:] <= 0.0
    which, start, place = np.nonzero(crossed)
    if not len(which):
        return []
    sign, r, low, high = np.array(signs)[which], radii[start], stretches[place], stretches[place + 1]
    side = np.sign(miss[which, start, place])
    for _ in range(config.refinements):
        middle = 0.5 * (low + high)
        same = np.sign(_returns(tensor, core, r, middle, sign, config)[0] - r) == side
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    stretch = 0.5 * (low + high)
    back, paths = _returns(tensor, core, r, stretch, sign, config)
    return [EllipticBarrier(path, float(stretch[i]), int(sign[i]), core) for i, path in enumerate(paths)
            if abs(back[i] - r[i]) < config.tolerance * r[i]]


def _returns(tensor: Tensor, core: np.ndarray, r: np.ndarray, stretch: np.ndarray, sign: np.ndarray,
             config: EllipticConfig) -> tuple[np.ndarray, list[np.ndarray]]:
    """Radius ``[start]`` after one turn around the core, NaN without one, and the curves up to there."""
    angle = np.zeros((4 * config.pieces + 1, len(r)))
    turned = np.zeros(len(r), dtype=int)  # steps up to where a line ended or came round

    def direction(x: np.ndarray, along: np.ndarray, rows: np.ndarray) -> np.ndarray:
        eta = null_direction(tensor(x), stretch[rows], sign[rows])
        return eta * np.where((eta * along).sum(1) < 0.0, -1.0, 1.0)[:, None]

    def round_once(before: np.ndarray, after: np.ndarray, rows: np.ndarray) -> np.ndarray:
        (x, y), (u, v) = (before - core).T, (after - core).T
        angle[turned[rows] + 1, rows] = angle[turned[rows], rows] + np.arctan2(x * v - y * u, x * u + y * v)
        turned[rows] += 1
        return angle[turned[rows], rows] >= 2.0 * np.pi

    start = core + np.stack([r, np.zeros_like(r)], -1)
    path = follow(direction, start, np.tile([0.0, 1.0], (len(r), 1)), 2.0 * np.pi / config.pieces * r, len(angle) - 1, round_once) - core
    back, curves = np.full(len(r), np.nan), []
    for i, n in enumerate(turned):
        n = int(n) if angle[n, i] >= 2.0 * np.pi else 0
        curves.append(core + path[:n, i])
        if n >= 3:
            back[i] = _radius_at(angle[n - 3 : n + 1, i], np.linalg.norm(path[n - 3 : n + 1, i], axis=1))
    return back, curves


def _radius_at(angle: np.ndarray, radius: np.ndarray) -> float:
    """Radius at a full turn, by the cubic through the last four points (Lagrange)."""
    total = 0.0
    for i in range(4):
        others = np.delete(angle, i)
        total += radius[i] * float(np.prod((2.0 * np.pi - others) / (angle[i] - others)))
    return total


def vortex_cores(field: Float[np.ndarray, "x y"], axes: Sequence[np.ndarray], apart: float, share: float = 0.1) -> Float[np.ndarray, "core 2"]:
    """Grid points where the size of a field, such as the Lagrangian-averaged vorticity less its mean, is largest within a distance.

    Args:
        apart: distance; a core is also at least that far from the border.
        share: cores are among the highest ``share`` of all points.

    Raises:
        ValueError: the field does not fit the axes.
    """
    from scipy.ndimage import maximum_filter

    if field.shape != tuple(len(a) for a in axes) or len(axes) != 2:
        raise ValueError(f"a field of shape {field.shape} on axes of {[len(a) for a in axes]} points")
    size = np.where(np.isfinite(field), np.abs(field), -np.inf)
    reach = [max(1, round(apart / h)) for h in even_axes(axes, "grid")]
    peak = (size == maximum_filter(size, size=[2 * n + 1 for n in reach], mode="nearest")) & (size >= np.quantile(size, 1.0 - share))
    inner = np.zeros_like(peak)
    inner[reach[0] : -reach[0], reach[1] : -reach[1]] = True
    i, j = np.nonzero(peak & inner)
    order = np.argsort(-size[i, j], kind="stable")
    return np.stack([np.asarray(axes[0])[i], np.asarray(axes[1])[j]], -1)[order]
