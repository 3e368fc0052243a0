"""Multi-marginal Schrodinger bridges with iterative reference refinement (Shen, Berlinghieri & Broderick 2024, arXiv 2408.06277)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

import trajlab
from trajlab.couplings.sinkhorn import Plan
from trajlab.dynamics.references import Reference
from trajlab.models.bridge_draws import drawn_paths
from trajlab.models.bridge_evidence import Evidence
from trajlab.models.bridge_scale import Scale, intervals_of, without
from trajlab.models.bridge_step import bridge_step
from trajlab.models.family import Family, family
from trajlab.models.moment_fit import moment_fit
from trajlab.models.refinement import Refined, Step, refine
from trajlab.models.sbirr_config import SchrodingerBridgeConfig
from trajlab.types import Snapshots, Trajectories

if TYPE_CHECKING:
    from anndata import AnnData

    from trajlab.models.bridge_flow import BridgeFlow, BridgeFlowConfig
    from trajlab.models.fates import Fates

__all__ = ["SchrodingerBridge", "SchrodingerBridgeConfig", "Step"]

JUDGED = 200  #: paths at least by which an iterate is judged


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
        self.validation: list[Step] = []
        self.evidence: Evidence | None = None
        self.theta = torch.zeros(0, dtype=torch.float64)
        self.converged = False
        self._flow: BridgeFlow | None = None

    def fit(self, snapshots: Any, leave_out: Sequence[int] = ()) -> Self:
        """Fit.

        Args:
            snapshots: populations at two times or more.
            leave_out: numbers of snapshots that are not looked at in any way, to be judged by later.

        Raises:
            TypeError: not `Snapshots`.
            ValueError: fewer than two snapshots are left, or a snapshot to hold out that is not an inner one of them.
            Diverged: a reference that blows up (a ValueError).
        """
        if not isinstance(snapshots, Snapshots):
            raise TypeError(f"SchrodingerBridge.fit got a {type(snapshots).__name__}; Snapshots were wanted (tl.from_anndata makes them); "
                            "trajectories of cells that are followed need no bridge")
        self._flow = None
        out, iterations = self.config.hold_out, self.config.iterations
        if out is not None:
            left = [k for k in range(snapshots.n_snapshots) if k not in leave_out]
            if out not in left[1:-1]:
                raise ValueError(f"hold_out={out}; an inner snapshot of those that are fitted, {left[1:-1]}, was wanted")
            judged = self._refined(without(snapshots, (*leave_out, out)), iterations, snapshots.at(out).double(), float(snapshots.time[out]))
            self.validation, iterations = judged.history, judged.chosen
        self.snapshots = without(snapshots, leave_out)
        found = self._refined(self.snapshots, iterations)
        self.history, self.converged = found.history, found.converged
        self.theta, self.evidence = found.theta, found.evidence
        if out is not None and len(found.history) > iterations:  # the number was chosen by the snapshot held out, not by the objective
            self.theta, self.evidence = found.last
        if self.config.growth is not None:
            self.evidence = bridge_step(self.evidence.reference, self.intervals, self.config, growth=self.config.growth)
        return self

    def _refined(self, snapshots: Snapshots, iterations: int, cells: Tensor | None = None, time: float = 0.0) -> Refined:
        """One refinement, judged by the cells of a snapshot that is not among these where some are given."""
        self.scale = Scale.of(snapshots, self.config.scale)
        self.intervals = intervals_of(self.scale.forward(snapshots))
        D = self._diffusion()

        def judge(evidence: Evidence) -> float:
            from trajlab.metrics.distribution import energy_distance

            drawn = drawn_paths(evidence, snapshots.time, torch.tensor([time], dtype=torch.float64), max(JUDGED, len(cells)), self.config.seed)
            return energy_distance(self.scale.back(drawn[:, 0]), cells)

        return refine(self.family, D, self.intervals, self.config, iterations, None if cells is None else judge)

    def _diffusion(self) -> Float[Tensor, "dim dim"]:
        sigma = self.config.sigma
        if sigma is None:
            sigma = moment_fit(self.intervals).sigma
            warnings.warn(f"sigma was estimated from means and covariances of the snapshots ({sigma:.3g} in scaled coordinates), as of a linear "
                          "process without growth. Drift, noise and growth cannot all be told from snapshots: give sigma where it is known",
                          stacklevel=4)
        self.sigma = float(sigma)
        return self.sigma**2 * torch.eye(self.intervals[0].x.shape[1], dtype=torch.float64)

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

    def flow(self, config: BridgeFlowConfig | None = None, **how: Any) -> BridgeFlow:
        """The global flow and score nets, trained at the first call and whenever settings are given; see
        `trajlab.models.bridge_flow.BridgeFlow.fit`."""
        from trajlab.models.bridge_flow import BridgeFlow

        if self._flow is None or config is not None or how:
            self._flow = BridgeFlow(config).fit(self, **how)
        return self._flow

    def simulate(self, cells: Any = None, times: Any = None, kind: str = "sde", n: int | None = None, seed: int = 0) -> Trajectories:
        """Paths from any cells at ``times[0]``, by the `flow`; see `trajlab.models.bridge_flow.BridgeFlow.simulate`."""
        return self.flow().simulate(cells, times, kind, n, seed)

    def velocity(self, x: Any, t: Any) -> Tensor:
        """Drift of the process at any states and times, by the `flow`; see `trajlab.models.bridge_flow.BridgeFlow.velocity`."""
        return self.flow().velocity(x, t)

    def fate(self, terminal: Mapping[str, Any]) -> Fates:
        """Probability of each cell to end in each terminal set; see `trajlab.models.fates.fate`."""
        from trajlab.models.fates import fate

        self._fitted()
        return fate(self, terminal)

    def to_anndata(self, adata: AnnData, **how: Any) -> AnnData:
        """Velocity, fates, pseudo-time and couplings written into ``adata``; see `trajlab.models.cell_answers.to_anndata`."""
        from trajlab.models.cell_answers import to_anndata

        self._fitted()
        return to_anndata(self, adata, **how)

    def _fitted(self) -> Evidence:
        if self.evidence is None:
            raise ValueError("this SchrodingerBridge was not fitted; call fit(snapshots) first")
        return self.evidence

    def provenance(self) -> dict[str, Any]:
        """Method, family, parameters, volatility and version."""
        name = self.config.family if isinstance(self.config.family, str) else type(self.config.family).__name__
        return {"method": "sbirr", "family": name, "theta": self.theta.tolist(), "sigma": self.sigma, "iterations": len(self.history) - 1,
                "seed": self.config.seed, "version": trajlab.__version__}
