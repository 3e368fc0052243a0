"""How motion is scored, and the scores of motion: by name, for each agent, with what a table, a picture or a paired bootstrap takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.metrics.forecasts import by_scene
from trajlab.metrics.motion_calibration import REGIONS
from trajlab.metrics.motion_collisions import Bodies
from trajlab.metrics.motion_errors import MotionErrorConfig
from trajlab.metrics.motion_feasibility import FeasibilityConfig
from trajlab.metrics.motion_hypotheses import PATHS

__all__ = ["MotionScores", "MotionScoresConfig"]


@dataclass(frozen=True)
class MotionScoresConfig:
    """How motion is scored.

    Attributes:
        paths: what errors are of: the modes of the ``mixture``, the ``draws``, or ``auto``, the mixture where there is one.
        errors: best of K, misses, Brier terms.
        bodies: what collides.
        feasibility: what can be driven.
        levels: whose coverage is given an agent.
        region: of the coverage of mixtures, see `trajlab.metrics.motion_calibration`.
        horizon: time between the horizons at which errors are given, s.
        draws: at most this many are looked at for collisions, feasibility and the road, for these take longest; the first ones.
        samples: of the Monte Carlo for levels of mixtures, seeded with ``seed``.

    Raises:
        ValueError: a name is unknown or a number is out of range.
    """

    paths: str = "auto"
    errors: MotionErrorConfig = field(default_factory=MotionErrorConfig)
    bodies: Bodies = field(default_factory=Bodies)
    feasibility: FeasibilityConfig = field(default_factory=FeasibilityConfig)
    levels: Any = (0.5, 0.68, 0.95)
    region: str = "highest_density"
    horizon: float = 1.0
    draws: int = 20
    samples: int = 99
    seed: int = 0

    def __post_init__(self) -> None:
        if self.paths not in PATHS:
            raise ValueError(unknown("kind of paths", self.paths, PATHS))
        if self.region not in REGIONS:
            raise ValueError(unknown("region", self.region, REGIONS))
        if self.draws < 1 or self.samples < 1 or not all(0 < p < 1 for p in self.levels):
            raise ValueError(f"MotionScoresConfig: draws={self.draws}, samples={self.samples}, levels={self.levels}: positive counts and levels "
                             "between 0 and 1 were wanted")


@dataclass(frozen=True, eq=False)
class MotionScores:
    """Scores of each agent by name, float64, NaN where there is none. What does not apply to a forecast is absent.

    | name | what |
    |---|---|
    | ``min_*``, ``miss``, ``brier_min_*``, ``point_*``, ``mean_*``, ``expected_*`` | ADE and FDE, m; `trajlab.metrics.motion_errors` |
    | ``box_miss`` | outside the speed-scaled box, mean of those of 3, 5 and 8 s that the forecast reaches |
    | ``along``, ``across`` | mean absolute error of the point path along and across the true heading, m |
    | ``nll_joint`` (nats a path), ``nll_joint_step`` (over seen frames), ``nll_marginal`` (nats a frame) | of a mixture |
    | ``kde_nll`` | of draws, nats a frame |
    | ``energy``, ``crps`` | of equally likely draws, m |
    | ``coverage 0.68``, ... | share of frames inside the region of that level |
    | ``spread`` | sharpness: standard deviation an axis, m |
    | ``collision``, ``collision_with_truth``, ``collision_of_truth`` | `trajlab.metrics.motion_collisions` |
    | ``off_road``, ``leaves_road``, ``off_road_of_truth`` | shares of positions, of paths, of true positions |
    | ``infeasible``, ``infeasible_of_draws``, ``infeasible_of_truth`` | shares of transitions: of the paths by probability, of draws, of what came |
    | ``rms_acceleration``, ``rms_jerk``, ``rms_acceleration_of_truth`` | of the point path, m/s^2 and m/s^3 |

    Attributes:
        agents: name to ``[node]``.
        scenes: joint scores, name to ``[scene]``.
        scene: of each node.
        run: the independent recording of each node (``context["run"]``, else its scene), what a paired bootstrap resamples.
        horizon: times ahead, s, ``[horizon]``.
        by_horizon: each ``[node horizon]``, m: ``point``, ``mean``, ``min`` (least of the K likeliest paths, or first K draws),
            ``along``, ``across`` (signed, of the point path).
        levels, shares: the reliability curve ``[level]``; None without a distribution.
        pit: along and across the predicted path (axes of the true one would depend on the truth), density in 10 bins ``[2 bin]``; None without a
            distribution.
        best_of: the K of the best of K.
        notes: what was left out, in words.
    """

    agents: Mapping[str, Float[Tensor, "node"]]
    scenes: Mapping[str, Tensor]
    scene: Int[Tensor, "node"]
    run: Int[Tensor, "node"]
    horizon: Float[Tensor, "horizon"]
    by_horizon: Mapping[str, Tensor]
    levels: Tensor | None
    shares: Tensor | None
    pit: Tensor | None
    best_of: int
    notes: tuple[str, ...] = ()

    def mean(self, name: str, by: str = "agent") -> float:
        """Over all agents that have the score, or over scenes of means over their agents.

        Raises:
            ValueError: there is no such score here, or ``by`` is neither ``agent`` nor ``scene``.
        """
        if by not in ("agent", "scene"):
            raise ValueError(f"by={by!r}: 'agent' or 'scene' was wanted")
        if name in self.scenes:
            return float(self.scenes[name].nanmean())
        if name not in self.agents:
            raise ValueError(unknown("score of motion", name, [*self.agents, *self.scenes]))
        value = self.agents[name]
        return float((by_scene(value, self.scene) if by == "scene" else value).nanmean())

    def table(self, by: str = "agent") -> dict[str, float]:
        """All means by name."""
        return {name: self.mean(name, by) for name in (*self.agents, *self.scenes)}

    def record(self) -> dict[str, Any]:
        """All of it but the values of single agents, as plain numbers and lists for JSON."""
        listed = lambda value: None if value is None else value.tolist()  # noqa: E731
        return {"scores": self.table(), "best_of": self.best_of, "agents": int(sum(~self.agents["min_ade"].isnan())), "horizon": listed(self.horizon),
                "by_horizon": {k: v.abs().nanmean(0).tolist() for k, v in self.by_horizon.items()}, "levels": listed(self.levels),
                "shares": listed(self.shares), "pit": listed(self.pit), "notes": list(self.notes)}
