"""Solver schedules: one tuple of decisions a step (the unified solver framework, USF: Liu et al. 2023), as data that can be searched and stored.

Every step is ``x_t = a x_s + sum_j c_j m_j``; the decisions choose the coefficients. With u = lam - lam_s and K the kernel of the kind,

    sum_j c_j m_j = int K(u) p(u) du,     p the polynomial through the last predictions ("full"), or its Taylor terms with each derivative from
                                          the lowest differences ("low"); ``exact`` keeps K, ``simple`` puts its mean (as DPM-Solver++2M does)
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trajlab.catalog import unknown
from trajlab.paths.denoiser import level_range
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.samplers.grids import Grid, explicit
from trajlab.samplers.quadrature import POINTS, WEIGHTS, lagrange
from trajlab.samplers.solver import Solver, finished, finite, transfer
from trajlab.samplers.tables import Stage, Table

LAGUERRE = np.polynomial.laguerre.laggauss(8)
KINDS, ESTIMATES, SCALINGS = ("eps", "x0"), ("full", "low"), ("exact", "simple")
HIGHEST = 4


@dataclass(frozen=True)
class Decision:
    """How one step is made.

    Attributes:
        width: of the step in log-SNR, relative to the other steps; only the last may be 0 (see `SolverSchedule.grid`).
        kind: prediction that is expanded, ``eps`` or ``x0``.
        order: predictions that are used, 1 to 4; fewer where the run is still short.
        estimate: of derivatives: ``full`` (Lagrange) or ``low`` (each from the lowest differences); they differ at order 3.
        corrector: redo the step with the prediction at its end (UniC, Zhao et al. 2023), which costs no call; has no effect on the last.
        scaling: ``exact`` integrals, or ``simple``: B(h) as in DPM-Solver++2M.

    Raises:
        ValueError: an unknown choice, an order outside 1 to 4, or a width that is not a number >= 0.
    """

    width: float = 1.0
    kind: str = "eps"
    order: int = 3
    estimate: str = "full"
    corrector: bool = False
    scaling: str = "exact"

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("estimate", ESTIMATES), ("scaling", SCALINGS)):
            if getattr(self, name) not in known:
                raise ValueError(unknown(f"{name} of a step", str(getattr(self, name)), known))
        if not 1 <= self.order <= HIGHEST:
            raise ValueError(f"order {self.order} came; 1 to {HIGHEST} was wanted")
        if not (math.isfinite(self.width) and self.width >= 0):
            raise ValueError(f"width {self.width} came; a finite number >= 0 was wanted")


@dataclass(frozen=True)
class SolverSchedule(Solver):
    """One `Decision` a step; a single one stands for every step, so that ``SolverSchedule()`` is third-order DEIS on any grid.

    `grid` gives the nodes that were found with the decisions. `plan` takes any grid of as many steps, and one that ends at lam = +inf too: the
    last step then goes to the clean end at the decision's order, with the integral over the noise prediction to sigma = 0 (order 1 is the
    usual denoising call, to which x0 always falls back).

    Attributes:
        decisions: one a step, or one for all.
        start, stop: log-SNRs between which `grid` lays its nodes; the path's range by default.
        clean: whether `grid` ends at sigma = 0, or at ``stop``.

    Raises:
        ValueError: no decision, or a width of 0 anywhere but at the end.
    """

    decisions: tuple[Decision, ...] = (Decision(),)
    start: float | None = None
    stop: float | None = None
    clean: bool = True

    def __post_init__(self) -> None:
        if not self.decisions:
            raise ValueError("a schedule wants at least one decision, and none came")
        flat = [k for k, d in enumerate(self.decisions[: -1 if self.clean else None]) if d.width == 0]
        if flat:
            raise ValueError(f"step {flat[0]} has width 0; every step but the one to the clean end needs a width above 0")

    @property
    def nfe(self) -> int:
        """Calls of the denoiser on its own `grid`."""
        return len(self.decisions)

    def grid(self, path: GaussianPath) -> Grid:
        """The schedule's nodes: ``start`` + cumulative widths, scaled so that all of them reach ``stop``. With ``clean`` the last step goes to
        sigma = 0 instead of to ``stop``; its width is then the distance of the last call from ``stop``."""
        first, last = level_range(path)
        first, last = first if self.start is None else self.start, last if self.stop is None else self.stop
        width = np.array([d.width for d in self.decisions])
        total = width.sum()
        lam = [first, *(first + (last - first) * np.cumsum(width) / (total if total > 0 else 1.0)).tolist()]
        lam[-1] = math.inf if self.clean else last
        return explicit(path, lam, "denoise" if self.clean else "stop")

    def plan(self, grid: Grid) -> Table:
        decisions = self.decisions * grid.steps if len(self.decisions) == 1 else self.decisions
        if len(decisions) != grid.steps:
            raise ValueError(f"this schedule decides {len(decisions)} steps and the grid has {grid.steps}; use schedule.grid(path)")
        if decisions[0].kind == "eps":
            finite("SolverSchedule", grid, "eps")
        levels, stages, called = grid.levels, [], False
        for k, decision in enumerate(decisions):
            past = levels[max(0, k - decision.order + 1) : k + 1][::-1]
            s, t = levels[k], levels[k + 1]
            correct = decision.corrector and k < grid.steps - 1 and t.sigma > 0 and s.alpha > 0
            weight, weights = step_weights(decision, past, s, t)
            stages.append(Stage(t, None if called else s, (weight,), tuple(weights), decision.kind, node=not correct))
            if correct:
                weight, weights = step_weights(decision, [t, *past], s, t)
                stages.append(Stage(t, t, (0.0, weight), tuple(weights), decision.kind))
            called = correct
        return finished(grid, stages)

    def to_json(self) -> str:
        """The schedule as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The schedule that `to_json` wrote.

        Raises:
            ValueError: the text is not such a schedule.
        """
        try:
            found: dict[str, Any] = json.loads(text)
            return cls(**{**found, "decisions": tuple(Decision(**d) for d in found["decisions"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is not a solver schedule ({error}); SolverSchedule.to_json writes one") from error


def step_weights(decision: Decision, nodes: Sequence[Level], s: Level, t: Level) -> tuple[float, list[float]]:
    """Weights of the state and of the predictions at ``nodes`` (newest first; a corrector's begin with t itself) for the step s -> t."""
    kind = decision.kind
    weight, first = transfer(s, t, kind)
    endless = not math.isfinite(t.lam)
    if len(nodes) == 1 or s.alpha == 0 or (endless and kind == "x0"):
        return weight, [first] + [0.0] * (len(nodes) - 1)
    places = [k.lam - s.lam for k in nodes]
    u, mass = _measure(decision, s, t, first, endless)
    basis = lagrange(places, u)
    if decision.estimate == "low" and len(nodes) == 3 and places[0] == 0:
        # p = e0 + [01] u + [012] u (u - u1) loses the correction of its slope: [012] u^2 remains.
        gaps = [math.prod(here - other for other in places if other != here) for here in places]
        basis = basis + places[1] * u / np.array(gaps)[:, None]
    return weight, [float(w) for w in basis @ mass]


def _measure(decision: Decision, s: Level, t: Level, first: float, endless: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and masses of the step's integral over u = lam - lam_s; the masses sum to the first-order weight."""
    if endless:
        # int_0^inf e^-u p(u) du, whatever the scaling: an infinite step has no mean.
        return LAGUERRE[0], first * LAGUERRE[1]
    h = t.lam - s.lam
    u = 0.5 * h * (POINTS + 1)
    if decision.scaling == "simple":
        return u, 0.5 * first * WEIGHTS
    if decision.kind == "eps":
        return u, -0.5 * h * t.sigma * np.exp(h - u) * WEIGHTS
    return u, 0.5 * h * t.alpha * np.exp(u - h) * WEIGHTS
