"""UniPC (Zhao et al. 2023): an exponential Adams-Bashforth predictor, and a corrector that costs no call.

The predictor makes a step with the polynomial through the last p predictions. The net is then called at the predicted state, as the next step
needs anyway, and the step is made again with the polynomial that goes through that new prediction too: order p + 1. The last step
is not corrected, for which a call would be needed. ``exact`` integrates the polynomials exactly. ``bh1`` and ``bh2`` are the published weights,

    x_t = carry x + c h phi_1(z) m_s + c B(h) sum_i a_i (m_i - m_s)/r_i,     B(h) = h (bh1) or (e^z - 1) h/z (bh2),

where a solves as many equations as there are differences. B then cancels out: the weights are the exact ones, except where only one
difference is there (predictor of order 2, corrector of order 1), for which a = 1/2 whatever h. With c, z, carry as in `dpm_solver`.
"""

from __future__ import annotations

from dataclasses import dataclass

from trajlab.catalog import unknown
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.samplers.deis import adams
from trajlab.samplers.dpm_solver import check_kind
from trajlab.samplers.dpm_solver_pp import LOWER_FINAL, step_orders
from trajlab.samplers.grids import Grid
from trajlab.samplers.solver import Solver, enough, finished, finite, transfer
from trajlab.samplers.tables import Stage, Table


@dataclass(frozen=True)
class UniPC(Solver):
    """UniPC of ``order`` p: one call a step; the error falls at order p + 1. Orders warm up from 1.

    A grid that ends with ``denoise`` gives the net's clean prediction at the last node, which was predicted and not corrected. In noise
    prediction a grid with lam = inf as its last node is the more accurate: its last but one node is corrected with the same number of calls, but
    then what hooks make of the clean prediction holds up to that correction only.

    Attributes:
        order: predictions that the predictor looks back on, 1 to 5.
        kind: ``eps`` or ``x0``.
        weights: ``exact``, ``bh1`` or ``bh2``.
        lower_final: on grids of fewer steps than this the order falls to 1 over the last steps; 0 never. By default what served best on
            mixtures of trajectories: 17 for noise prediction, and as multistep DPM-Solver++ for the clean one.

    Raises:
        ValueError: an unknown kind or unknown weights, or an order outside 1 to 5.
    """

    order: int = 3
    kind: str = "eps"
    weights: str = "exact"
    lower_final: int | None = None

    def __post_init__(self) -> None:
        check_kind("UniPC", self.kind)
        if self.weights not in ("exact", "bh1", "bh2"):
            raise ValueError(unknown("weights of UniPC", self.weights, ("exact", "bh1", "bh2")))
        if not 1 <= self.order <= 5:
            raise ValueError(f"order {self.order} came; 1 to 5 was wanted (higher ones are unstable)")

    @property
    def _below(self) -> int:
        if self.lower_final is not None:
            return self.lower_final
        return 17 if self.kind == "eps" else LOWER_FINAL.get(self.order, 6)

    def plan(self, grid: Grid) -> Table:
        enough(f"UniPC({self.order})", self.order, grid)
        finite("UniPC", grid, self.kind)
        levels, last, stages = grid.levels, grid.steps - 1, []
        for k, order in enumerate(step_orders(grid, self.order, self._below)):
            s, t, past = levels[k], levels[k + 1], levels[k - order + 1 : k + 1][::-1]
            carry, ahead = self._step(grid.path, past, s, t)
            # After a correction the prediction at s is there already: only the first step calls before it predicts.
            stages.append(Stage(t, None if k else s, (carry,), tuple(ahead), self.kind, node=k == last))
            if k < last:
                stages.append(self._corrected(grid.path, past, s, t))
        return finished(grid, stages)

    def _corrected(self, path: GaussianPath, past: list[Level], s: Level, t: Level) -> Stage:
        """Call at the predicted state, and make the step again from the state before it."""
        if s.alpha == 0:
            return Stage(t, t, (1.0,), (), self.kind)
        carry, both = self._step(path, [t, *past], s, t)
        return Stage(t, t, (0.0, carry), tuple(both), self.kind)

    def _step(self, path: GaussianPath, nodes: list[Level], s: Level, t: Level) -> tuple[float, list[float]]:
        """Weights of the state at s and of the predictions at ``nodes``."""
        if self.weights == "exact" or len(nodes) != 2:
            return adams(path, nodes, s, t, self.kind)
        carry, whole = transfer(s, t, self.kind)
        h, here = t.lam - s.lam, nodes.index(s)
        half = (whole if self.weights == "bh2" else (-t.sigma if self.kind == "eps" else t.alpha) * h) / 2
        tilt = half * h / (nodes[1 - here].lam - s.lam)
        weights = [tilt, tilt]
        weights[here] = whole - tilt
        return carry, weights


def unipc_x0() -> UniPC:
    """UniPC of order 3 on the clean prediction, for guidance and constraints."""
    return UniPC(kind="x0")


def unipc_bh1() -> UniPC:
    """UniPC of order 3 on the clean prediction, with the published weights for B(h) = h."""
    return UniPC(kind="x0", weights="bh1")


def unipc_bh2() -> UniPC:
    """UniPC of order 3 on the clean prediction, with the published weights for B(h) = e^h - 1."""
    return UniPC(kind="x0", weights="bh2")
