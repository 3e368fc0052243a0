"""DPM-Solver (Lu et al. 2022): single-step exponential Runge-Kutta of order 1, 2, 3 for the probability-flow ODE, in the log-SNR.

With h = lam_t - lam_s, z = h and c = -sigma_t (noise prediction; carry = alpha_t/alpha_s), or z = -h and c = alpha_t (clean prediction, which
is single-step DPM-Solver++; carry = sigma_t/sigma_s), phi_k the exponential functions, and m_s, m_1, m_2 the predictions at lam_s,
lam_s + r1 h, lam_s + r2 h:

    order 1   x_t = carry x + c h phi_1(z) m_s                                              (DDIM)
    order 2   x_t = carry x + c h phi_1(z) [m_s + (m_1 - m_s) / (2 r1)]                     m_1 after a step of order 1
    order 3   u_2 = carry_2 x + c_2 r2 h [phi_1(r2 z) m_s + (r2/r1) phi_2(r2 z) (m_1 - m_s)]
              x_t = carry x + c h [phi_1(z) m_s + phi_2(z) (m_2 - m_s) / r2]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from trajlab.catalog import unknown
from trajlab.paths.gaussian import GaussianPath, Level
from trajlab.samplers.grids import Grid
from trajlab.samplers.solver import Solver, finished, finite, transfer
from trajlab.samplers.tables import Stage, Table

#: Fractions of a step where its inner calls are made, by order.
INNER = {1: (), 2: (1 / 2,), 3: (1 / 3, 2 / 3)}


@dataclass(frozen=True)
class DPMSolver(Solver):
    """Single-step DPM-Solver: ``order`` calls for every interval of the grid.

    In noise prediction an order above 1 multiplies any change of the denoiser within a step by about (rho_s - rho_t) / (2 rho_t), and so explodes
    on few steps from high noise. Use the clean prediction there, which does not, or ``longest``.

    Attributes:
        order: 1 to 3.
        kind: ``eps``, or ``x0`` for single-step DPM-Solver++.
        r1: where in a step the first inner call is made; by default 1/2 at order 2 and 1/3 at order 3.
        r2: the second inner call of order 3. The error falls at third order for 2/3 alone (Hochbruck and Ostermann 2005), at second otherwise.
        longest: the longest step, in log-SNR, that is taken at ``order``; longer ones are taken at first order, with one call. log 3 is a
            cautious choice; infinite by default.

    Raises:
        ValueError: an unknown kind, an order outside 1 to 3, inner points that are not 0 < r1 < r2 <= 1, or ``longest`` not positive.
    """

    order: int = 3
    kind: str = "eps"
    r1: float | None = None
    r2: float = 2 / 3
    longest: float = math.inf

    def __post_init__(self) -> None:
        check_kind("DPM-Solver", self.kind)
        if self.order not in INNER:
            raise ValueError(f"order {self.order} came; single-step DPM-Solver has orders 1, 2 and 3")
        points = (0.0, *self.fractions)
        if any(a >= b for a, b in pairwise(points)) or points[-1] > 1:
            raise ValueError(f"inner points r1 = {self.r1}, r2 = {self.r2:g} came; 0 < r1 < r2 <= 1 was wanted (r1 <= 1 at order 2)")
        if not self.longest > 0:
            raise ValueError(f"longest = {self.longest:g}; a positive length in log-SNR was wanted, math.inf for no limit")

    @property
    def fractions(self) -> tuple[float, ...]:
        """The inner points of a step."""
        default = INNER[self.order]
        first = default[:1] if self.r1 is None else (self.r1,) * (self.order > 1)
        return first + (self.r2,) * (self.order == 3)

    def plan(self, grid: Grid) -> Table:
        finite(f"DPM-Solver({self.order})", grid, self.kind)
        levels = grid.levels
        steps = [(s, t, self.fractions if t.lam - s.lam <= self.longest else ()) for s, t in pairwise(levels)]
        return finished(grid, single_steps(grid.path, steps, self.kind))


@dataclass(frozen=True)
class DPMSolverFast(Solver):
    """DPM-Solver-fast: as many calls as the grid has intervals, in steps of order 3 as far as that goes, the rest at order 2 and 1.

    Inner calls lie at the fractions that the order needs, not at the grid's nodes: in the log-SNR, third order wants 1/3 and 2/3.

    Attributes:
        kind: ``eps``, or ``x0``.
        even: let all steps be of the same length, counted in the grid's intervals, whatever their order; otherwise a step of order k spans k
            intervals, so that its ends are nodes of the grid.

    Raises:
        ValueError: an unknown kind.
    """

    kind: str = "eps"
    even: bool = True

    def __post_init__(self) -> None:
        check_kind("DPM-Solver-fast", self.kind)

    def plan(self, grid: Grid) -> Table:
        finite("DPM-Solver-fast", grid, self.kind)
        # Only a first-order step can start without data or end without noise.
        first, last = grid.levels[0].alpha == 0, grid.levels[-1].sigma == 0
        inside = range(first, grid.steps - last)
        orders = fast_orders(len(inside)) if inside else []
        places = [inside.start + sum(orders[:k]) for k in range(len(orders) + 1)]
        if self.even and orders:
            places = [inside.start + len(inside) * k / len(orders) for k in range(len(orders) + 1)]
        orders, places = [1] * first + orders + [1] * last, [0] * first + places + [grid.steps] * last
        levels = _between(grid, places)
        steps = [(s, t, INNER[order]) for (s, t), order in zip(pairwise(levels), orders)]
        return finished(grid, single_steps(grid.path, steps, self.kind))


def fast_orders(calls: int) -> list[int]:
    """Orders of the steps of DPM-Solver-fast, which sum to ``calls``.

    Raises:
        ValueError: no call.
    """
    if calls < 1:
        raise ValueError(f"{calls} calls came; DPM-Solver-fast needs at least one")
    threes, rest = divmod(calls, 3)
    return [3] * (threes - 1) + [2, 1] if rest == 0 else [3] * threes + [rest]


def _between(grid: Grid, places: Sequence[float]) -> list[Level]:
    """The grid's levels at indices that need not be whole: log-SNR is interpolated."""
    lam = grid.lam.tolist()
    low = [min(int(p), grid.steps) for p in places]
    return grid.path.levels([lam[k] if p == k else lam[k] + (p - k) * (lam[k + 1] - lam[k]) for k, p in zip(low, places)])


def single_steps(path: GaussianPath, steps: Sequence[tuple[Level, Level, tuple[float, ...]]], kind: str) -> list[Stage]:
    """The stages of steps (from, to, inner fractions); steps without data at their start or without noise at their end are of first order."""
    steps = [(s, t, () if t.sigma == 0 or s.alpha == 0 else fractions) for s, t, fractions in steps]
    inner = iter(path.levels([s.lam + r * (t.lam - s.lam) for s, t, fractions in steps for r in fractions]))
    return [stage for s, t, fractions in steps for stage in single_step(s, [next(inner) for _ in fractions], t, kind)]


def single_step(s: Level, inner: Sequence[Level], t: Level, kind: str) -> list[Stage]:
    """The stages of one step s -> t; its order is one more than there are inner levels (at most two)."""
    carry, whole = transfer(s, t, kind)
    if not inner:
        return [Stage(t, s, (carry,), (whole,), kind)]
    h, m1 = t.lam - s.lam, inner[0]
    r1, (keep, first) = (m1.lam - s.lam) / h, transfer(s, m1, kind)
    stages = [Stage(m1, s, (keep,), (first,), kind, node=False)]
    if len(inner) == 1:
        tilt = whole / (2 * r1)
        return [*stages, Stage(t, m1, (0.0, carry), (tilt, whole - tilt), kind)]
    m2 = inner[1]
    r2, (keep, first) = (m2.lam - s.lam) / h, transfer(s, m2, kind)
    bend, tilt = second(m2, r2 * h, kind) * r2 / r1, second(t, h, kind) / r2
    return [*stages, Stage(m2, m1, (0.0, keep), (bend, first - bend), kind, node=False),
            Stage(t, m2, (0.0, 0.0, carry), (tilt, 0.0, whole - tilt), kind)]


def second(t: Level, h: float, kind: str) -> float:
    """c h phi_2(z): the weight, in a step of length h to t, of what a prediction changes over the step."""
    return -t.sigma * h * phi(2, h) if kind == "eps" else t.alpha * h * phi(2, -h)


def phi(k: int, z: float) -> float:
    """phi_k(z) = int_0^1 e^((1-u) z) u^(k-1)/(k-1)! du, by its series where the recursion phi_(k+1) = (phi_k - 1/k!)/z would lose digits."""
    if abs(z) < 0.5:
        term, total = 1 / math.factorial(k), 0.0
        for j in range(k + 1, k + 15):
            total, term = total + term, term * z / j
        return total
    value = math.expm1(z) / z
    for j in range(1, k):
        value = (value - 1 / math.factorial(j)) / z
    return value


def check_kind(name: str, kind: str) -> None:
    """Refuse readings other than noise and clean sample."""
    if kind not in ("eps", "x0"):
        raise ValueError(unknown(f"kind for {name}", kind, ("eps", "x0")))


def dpm_solver_2s() -> DPMSolver:
    """Single-step DPM-Solver of order 2."""
    return DPMSolver(order=2)


def dpm_solver_3s() -> DPMSolver:
    """Single-step DPM-Solver of order 3."""
    return DPMSolver(order=3)
