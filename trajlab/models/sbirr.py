"""Multi-marginal Schrodinger bridges with iterative reference refinement (Shen, Berlinghieri & Broderick 2024, arXiv 2408.06277)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

import trajlab
from trajlab.couplings.sinkhorn import Plan, SinkhornConfig, sinkhorn
from trajlab.dynamics.linear_noise import linear_noise
from trajlab.dynamics.references import Reference
from trajlab.models.bridge_draws import drawn_paths
from trajlab.models.bridge_evidence import Evidence, Interval
from trajlab.models.bridge_scale import Scale, intervals_of
from trajlab.models.moment_fit import moment_fit
from trajlab.models.reference_families import Brownian, Family, family
from trajlab.models.sbirr_config import SchrodingerBridgeConfig
from trajlab.types import Snapshots, Trajectories

__all__ = ["SchrodingerBridge", "SchrodingerBridgeConfig", "Step"]


@dataclass(frozen=True)
class Step:
    """One iteration.

    Attributes:
        objective: KL of the bridge from the reference, up to a constant; it falls as far as the linear-noise law is exact.
        score: energy distance to the snapshot held out, None where none was.
        error: largest marginal error of the plans.
        theta: parameters of the reference of this iteration.
    """

    objective: float
    score: float | None
    error: float
    theta: tuple[float, ...]


class SchrodingerBridge:
    """The process closest to a reference that passes through all snapshots, the reference refined within its family.

    Two steps in turn lower  KL(Q | P_theta)  with Q_{t_k} the snapshots: the bridge step (entropic plans between neighbouring snapshots, whose
    log-kernel is the transition density of the reference) and the reference step (the drift of the bridges regressed on the family). For linear
    references both are exact; for others the transition is that of the linear-noise approximation.

    Args:
        config: see `SchrodingerBridgeConfig`.
    """

    def __init__(self, config: SchrodingerBridgeConfig | None = None) -> None:
        self.config = config or SchrodingerBridgeConfig()
        self.family: Family = family(self.config.family, **self.config.options)
        self.history: list[Step] = []
        self.evidence: Evidence | None = None
        self.theta = torch.zeros(0, dtype=torch.float64)
        self.converged = False

    def fit(self, snapshots: Snapshots) -> Self:
        """Fit to all snapshots.

        Raises:
            TypeError: not `Snapshots`.
            ValueError: fewer than two snapshots, or a reference that blows up between them.
        """
        if not isinstance(snapshots, Snapshots):
            raise TypeError(f"SchrodingerBridge.fit got a {type(snapshots).__name__}; Snapshots were wanted (tl.from_anndata makes them); "
                            "trajectories of cells that are followed need no bridge")
        iterations = self.config.iterations
        if self.config.hold_out is not None:
            iterations = self._chosen(snapshots)
        self.snapshots, self.scale = snapshots, Scale.of(snapshots, self.config.scale)
        self.intervals = intervals_of(self.scale.forward(snapshots))
        self.D = self._diffusion()
        best, self.converged = self._refined(self.intervals, iterations, None)
        self.evidence, self.theta = best
        if self.config.growth is not None:
            self.evidence = self._bridged(self.evidence.reference, self.intervals, None, self.config.growth)
        return self

    # ---- the two steps

    def _refined(self, intervals: Sequence[Interval], iterations: int, judge: Any) -> tuple[tuple[Evidence, Tensor], bool]:
        """Iterate; returns the iterate of lowest objective (or best score) and whether it settled."""
        theta = self.family.start(intervals, self.D)
        reference = Brownian().reference(torch.zeros(0), self.D) if theta is None else self.family.reference(theta, self.D)
        self.history, kept, best, rising, settled = [], None, float("inf"), 0, False
        plans: Sequence[Plan] | None = None
        for step in range(iterations + 1):
            evidence = self._bridged(reference, intervals, plans)
            plans = evidence.plans
            score = None if judge is None else judge(evidence)
            values = () if theta is None else tuple(theta.tolist())
            self.history.append(Step(evidence.objective, score, max(p.error for p in plans), values))
            figure = evidence.objective if score is None else score
            rising = rising + 1 if len(self.history) > 1 and evidence.objective > self.history[-2].objective else 0
            if figure < best or kept is None:
                best, kept = figure, (evidence, torch.zeros(0, dtype=torch.float64) if theta is None else theta)
            if step == iterations or settled or (rising >= self.config.patience and judge is None):
                break
            new = self.family.refit(evidence, theta)
            settled = theta is not None and bool(((new - theta).abs() <= self.config.settle * theta.abs().clamp(min=1e-6)).all())
            theta, reference = new, self.family.reference(new, self.D)
        return kept, settled  # type: ignore[return-value]

    def _bridged(self, reference: Reference, intervals: Sequence[Interval], plans: Sequence[Plan] | None, growth: float | None = None) -> Evidence:
        """The bridge step: laws and plans of every interval."""
        how = SinkhornConfig(self.config.tolerance)
        if growth is not None:
            how = replace(how, rho=(growth, float("inf")))
        laws = [linear_noise(reference, one.x, one.duration, self.config.steps) for one in intervals]
        found = [sinkhorn(law.log_density(one.y), one.a, one.b, how) for one, law in zip(intervals, laws)]
        return Evidence(reference, intervals, laws, found, self.config.paths, self.config.seed)

    def _diffusion(self) -> Float[Tensor, "dim dim"]:
        dim = self.snapshots.x.shape[1]
        sigma = self.config.sigma
        if sigma is None:
            sigma = moment_fit(self.intervals).sigma
        self.sigma = float(sigma)
        return self.sigma**2 * torch.eye(dim, dtype=torch.float64)

    def _chosen(self, snapshots: Snapshots) -> int:
        """The number of iterations whose bridge is nearest to a snapshot left out of the fit."""
        from trajlab.metrics.distribution import energy_distance
        from trajlab.models.bridge_scale import without

        rest, cells, time = without(snapshots, self.config.hold_out)
        other = SchrodingerBridge(replace(self.config, hold_out=None, growth=None))
        other.snapshots, other.scale = rest, Scale.of(rest, self.config.scale)
        other.intervals = intervals_of(other.scale.forward(rest))
        other.D = other._diffusion()

        def judge(evidence: Evidence) -> float:
            drawn = drawn_paths(evidence, rest.time, torch.tensor([time], dtype=torch.float64), max(200, len(cells)), self.config.seed)
            return energy_distance(other.scale.back(drawn[:, 0]), cells)

        other._refined(other.intervals, self.config.iterations, judge)
        scores = [step.score for step in other.history]
        self.validation = scores
        return min(range(len(scores)), key=lambda k: scores[k])  # type: ignore[arg-type, return-value]

    # ---- what it is for

    @property
    def plans(self) -> Sequence[Plan]:
        """The plan of every interval."""
        return self._fitted().plans

    @property
    def reference(self) -> Reference:
        """The refined reference, in scaled coordinates."""
        return self._fitted().reference

    @property
    def parameters(self) -> dict[str, float]:
        """Named parameters of the reference, where its family has names."""
        return dict(zip(self.family.names, self.theta.tolist()))

    def bridge(self, times: Sequence[float] | Tensor, n: int = 400, seed: int | None = None) -> Trajectories:
        """Paths of the bridge at given times: each path is a scene of one node, and passes through a cell at every snapshot.

        Args:
            times: within the first and the last snapshot, rising, in their unit.
            n: number of paths.
            seed: of the paths; the configured one by default.

        Raises:
            ValueError: no fit yet, times outside the snapshots or not rising, or fewer than one path.
        """
        evidence, asked = self._fitted(), torch.as_tensor(times, dtype=torch.float64).reshape(-1)
        first, last = float(self.snapshots.time[0]), float(self.snapshots.time[-1])
        if not len(asked) or bool((asked.diff() <= 0).any()) or float(asked.min()) < first or float(asked.max()) > last:
            raise ValueError(f"times {asked.tolist()[:6]} of a bridge between {first:g} and {last:g}; rising times within these were wanted. "
                             "What comes after the last snapshot is simulated, not bridged")
        if n < 1:
            raise ValueError(f"n={n} paths; at least 1 was wanted")
        drawn = self.scale.back(drawn_paths(evidence, self.snapshots.time, asked, n, self.config.seed if seed is None else seed))
        return Trajectories(drawn, asked.expand(n, -1).clone(), torch.arange(n), units=self.snapshots.units, source=self.provenance())

    def _fitted(self) -> Evidence:
        if self.evidence is None:
            raise ValueError("this SchrodingerBridge was not fitted; call fit(snapshots) first")
        return self.evidence

    def provenance(self) -> dict[str, Any]:
        """Method, family, parameters, volatility and version."""
        name = self.config.family if isinstance(self.config.family, str) else type(self.config.family).__name__
        return {"method": "sbirr", "family": name, "theta": self.theta.tolist(), "sigma": self.sigma, "iterations": len(self.history) - 1,
                "seed": self.config.seed, "version": trajlab.__version__}
