"""Scoring rules of draws, CRPS and energy score, and with `trajlab.metrics.calibration` all that is asked of a probabilistic forecast.

Estimators from M draws are named. ``fair`` divides sums over pairs of draws by M (M - 1), so that the expected score doesn't depend on M and is best
for draws from the true law (Ferro 2014, Q. J. R. Meteorol. Soc. 140, 1917); ``plain`` divides by M^2, the score of the M points themselves, which
favours more draws. A single draw is read as a point forecast: its CRPS is the absolute error, its energy score the distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.metrics.calibration import SpreadSkill, coverage, pit_histogram, spread_skill
from trajlab.metrics.forecasts import aligned, by_agent, by_scene, scored
from trajlab.types import Forecast, Trajectories

__all__ = ["Probabilistic", "SpreadSkill", "coverage", "crps", "crps_gaussian", "energy_score", "mean_crps", "pit_histogram",
           "probabilistic", "spread_skill"]

Estimator = Literal["fair", "plain"]
CHUNK = 8_000_000  #: numbers held at a time


def _pairs(draws: int, estimator: str) -> int:
    """By what the sum over ordered pairs of draws is divided."""
    if estimator not in ("fair", "plain"):
        raise ValueError(f"estimator={estimator!r}: 'fair' or 'plain' was wanted")
    return max(draws * (draws - 1), 1) if estimator == "fair" else draws * draws


def crps(draws: Float[Tensor, "draw *event"], truth: Float[Tensor, "*event"], estimator: Estimator = "fair") -> Float[Tensor, "*event"]:
    """Continuous ranked probability score of each coordinate, E|X - y| - E|X - X'|/2, in the unit of the draws; float64.

    By sorting, as sum_{i<j} |x_i - x_j| = sum_i (2 i - M - 1) x_(i). Gneiting and Raftery 2007, J. Am. Stat. Assoc. 102, 359.

    Raises:
        ValueError: the estimator is unknown.
    """
    pairs, count = _pairs(len(draws), estimator), len(draws)
    x = draws.double() - truth.double()  # about the truth: the differences of far draws would cancel
    weight = torch.arange(1 - count, count, 2, dtype=torch.float64, device=x.device).reshape(-1, *[1] * truth.ndim)
    return x.abs().mean(0) - (x.sort(0).values * weight).sum(0) / pairs


def crps_gaussian(
    mean: Float[Tensor, "*event"], std: Float[Tensor, "*event"], truth: Float[Tensor, "*event"]
) -> Float[Tensor, "*event"]:
    """CRPS of a normal law: s (z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)), z = (y - mean)/s (Gneiting et al. 2005)."""
    z = (truth - mean) / std
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return std * (z * (2 * torch.special.ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))


def mean_crps(
    draws: Float[Tensor, "draw node time dim"], truth: Float[Tensor, "_node _time _dim"], scene: Int[Tensor, "_node"],
    mask: Bool[Tensor, "_node _time"] | None = None, estimator: Estimator = "fair",
) -> Float[Tensor, "scene"]:
    """CRPS of each scene: the mean over coordinates, seen frames, then agents; NaN where nothing was seen.

    Raises:
        ValueError: shapes do not fit, a scored value is not finite, or the estimator is unknown.
    """
    draws, truth, mask = scored(draws, truth, scene, mask)
    step = max(1, CHUNK // max(1, draws[:, :1].numel()))
    parts = [crps(draws[:, a:a + step], truth[a:a + step], estimator).mean(-1) for a in range(0, len(truth), step)]
    return by_scene(by_agent(torch.cat(parts), mask), scene)


def energy_score(
    draws: Float[Tensor, "draw node time dim"], truth: Float[Tensor, "_node _time _dim"], scene: Int[Tensor, "_node"],
    mask: Bool[Tensor, "_node _time"] | None = None, over: Literal["position", "path", "scene"] = "position", estimator: Estimator = "fair",
) -> Float[Tensor, "scene"]:
    """Energy score of each scene, E|X - y| - E|X - X'|/2 with Euclidean norms: does not depend on the axes (Gneiting and Raftery 2007).

    Args:
        draws, truth, scene, mask: as everywhere.
        over: what one vector is: a ``position`` of an agent at a frame (then averaged over seen frames and agents), the whole ``path`` of an
            agent, which sees correlations over time (averaged over agents), or the whole ``scene``, which sees those between agents too.
            Norms of longer vectors are larger: compare like with like.
        estimator: ``fair`` or ``plain``.

    Raises:
        ValueError: shapes do not fit, a scored value is not finite, or a name is unknown.
    """
    if over not in ("position", "path", "scene"):
        raise ValueError(f"over={over!r}: 'position', 'path' or 'scene' was wanted")
    draws, truth, mask = scored(draws, truth, scene, mask)
    pairs = 2 * _pairs(len(draws), estimator)
    if over == "scene":
        return _scene_energy(draws, truth, scene, mask, pairs)
    parts = [error.sqrt().mean(-1) - spread.sqrt().sum((-2, -1)) / pairs for _, error, spread in _squares(draws, truth, over == "position")]
    value = torch.cat(parts)
    agents = by_agent(value.reshape(mask.shape), mask) if over == "position" else torch.where(mask.any(-1), value, math.nan)
    return by_scene(agents, scene)


def _scene_energy(draws: Tensor, truth: Tensor, scene: Tensor, mask: Tensor, pairs: int) -> Float[Tensor, "scene"]:
    scenes, count = int(scene.max()) + 1 if len(scene) else 0, len(draws)
    error = torch.zeros(scenes, count, dtype=torch.float64, device=draws.device)
    spread = error.new_zeros(scenes, count, count)
    for rows, e, s in _squares(draws, truth, each_frame=False):
        error.index_add_(0, scene[rows], e)
        spread.index_add_(0, scene[rows], s)
    seen = torch.zeros(scenes, dtype=torch.long, device=mask.device).index_add_(0, scene, mask.sum(-1))
    return torch.where(seen > 0, error.sqrt().mean(-1) - spread.sqrt().sum((-2, -1)) / pairs, math.nan)


def _squares(draws: Tensor, truth: Tensor, each_frame: bool) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """In chunks of items (nodes, or nodes x frames): squared distances to the truth ``[item draw]`` and between draws ``[item draw draw]``."""
    nodes, frames, dim = truth.shape
    items, size = (nodes * frames, dim) if each_frame else (nodes, frames * dim)
    flat, true = draws.reshape(len(draws), items, size), truth.reshape(items, size)
    step = max(1, CHUNK // (len(draws) * max(len(draws), size)))
    for begin in range(0, items, step):
        rows = slice(begin, begin + step)
        x = (flat[:, rows].double() - true[rows].double()).transpose(0, 1)
        yield rows, x.square().sum(-1), torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()


@dataclass(frozen=True, eq=False)
class Probabilistic:
    """Scores of a forecast; ``crps`` and ``energy`` are what a paired comparison takes.

    Attributes:
        crps: of each scene, ``[scene]``.
        energy: energy score of positions of each scene, ``[scene]``.
        coverage: by level; NaN where there are too few draws for it.
        pit: density of the PIT in 10 bins, ``[bin]``.
        spread_skill: None for a single draw.
        estimator: ``fair`` or ``plain``.
    """

    crps: Float[Tensor, "scene"]
    energy: Float[Tensor, "scene"]
    coverage: Mapping[float, float]
    pit: Float[Tensor, "bin"]
    spread_skill: SpreadSkill | None
    estimator: str

    def table(self) -> dict[str, float]:
        """The figures by name."""
        covered = {f"coverage {level:g}": value for level, value in self.coverage.items()}
        ratio = {} if self.spread_skill is None else {"spread/error": self.spread_skill.ratio}
        return {"crps": float(self.crps.nanmean()), "energy score": float(self.energy.nanmean()), **covered, **ratio}


def probabilistic(
    forecast: Forecast, truth: Trajectories, levels: Sequence[float] = (0.5, 0.8, 0.9), estimator: Estimator = "fair", stopped: str = "refuse"
) -> Probabilistic:
    """All of these of a forecast; ``truth`` may hold the whole window. See `trajlab.metrics.forecasts.aligned` for the errors raised."""
    draws, true, scene, mask = aligned(forecast, truth, stopped)
    most = (len(draws) - 1) / (len(draws) + 1)
    has = [p for p in levels if p <= most + 1e-12]
    covered = dict(zip(has, coverage(draws, true, has, mask).tolist())) if has else {}
    skill = spread_skill(draws, true, mask, min(5, int(mask.sum()))) if len(draws) > 1 else None
    return Probabilistic(mean_crps(draws, true, scene, mask, estimator), energy_score(draws, true, scene, mask, "position", estimator),
                         {p: covered.get(p, math.nan) for p in levels}, pit_histogram(draws, true, mask), skill, estimator)
