"""Adaptive DPM-Solver 12 and 23 (Lu et al. 2022), with a step of its own for every row, so that a row does not depend on its batch mates.

From lam a step of length h is made at the lower and the higher order from the same calls. With the error

    E = RMS over vectors of |high - low| / delta,   delta = max(atol, rtol max(|low|, |low of the accepted step before|))

the higher is accepted if E <= 1, and h becomes min(theta h E^(-1/order), what is left). |.| is the root mean square over the last axis, not
the absolute value of each component as published, so that E, and with it the whole run, does not change when the sample is turned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.paths.bridge import spread
from trajlab.paths.gaussian import GaussianPath
from trajlab.samplers.dpm_solver import check_kind
from trajlab.samplers.grids import Grid
from trajlab.samplers.solver import Solver
from trajlab.samplers.tables import Run


@dataclass(frozen=True)
class Adapted:
    """What every row took.

    Attributes:
        calls: ``[batch]``, predictions that the row needed; the run made as many as its slowest rows asked for.
        steps: ``[batch]``, steps accepted.
        rejected: ``[batch]``, steps made again.
    """

    calls: Int[Tensor, " batch"]
    steps: Int[Tensor, " batch"]
    rejected: Int[Tensor, " batch"]


@dataclass(frozen=True)
class DPMSolverAdaptive(Solver):
    """DPM-Solver-12 (``order`` 2) or 23 (``order`` 3). Of the grid it takes the ends alone: the nodes between are its own.

    A rejected step keeps its first prediction. Rows that have arrived stay in the batch, frozen, so that hooks, masks and conditions keep
    their rows; what is predicted for them goes nowhere. Where the grid ends at sigma = 0, the last finite node is the end, and its clean
    prediction the sample. Hooks' `after_step` and watchers see a level with a number for every row.

    Attributes:
        order: 2 or 3, the order of the solution that is kept.
        kind: ``eps`` as published, or ``x0``: fewer calls and, from high noise, far smaller worst errors.
        first: length of the first step, in log-SNR.
        atol, rtol: absolute and relative tolerance, for standardised data.
        theta: caution in the next step.
        most: steps, accepted or not, after which a run is given up.
        tell: called at the end with an `Adapted`.

    Raises:
        ValueError: another order, an unknown kind, or a number that is not positive.
        RuntimeError: in a run, when a row is not finite or has not arrived after ``most`` steps.
    """

    order: int = 3
    kind: str = "eps"
    first: float = 0.05
    atol: float = 0.0078
    rtol: float = 0.05
    theta: float = 0.9
    most: int = 1000
    tell: Callable[[Adapted], Any] | None = None

    def __post_init__(self) -> None:
        if self.order not in (2, 3):
            raise ValueError(f"order {self.order} came; adaptive DPM-Solver has order 2 (12) and 3 (23)")
        check_kind("adaptive DPM-Solver", self.kind)
        for name in ("first", "atol", "rtol", "theta", "most"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} came; a positive number was wanted")

    def run(self, grid: Grid, run: Run, x: Tensor) -> Tensor:
        if grid.levels[0].alpha == 0:
            raise ValueError("adaptive DPM-Solver cannot start at alpha = 0 (lam = -inf): no step from there is finite; start later")
        stop = grid.levels[-1] if grid.levels[-1].sigma > 0 else grid.levels[-2]
        x = run.begin(x, grid.levels[0])
        walk = _Walk(self, grid.path, run, x, grid.levels[0].lam, stop.lam)
        for _ in range(self.most):
            if bool(walk.arrived.all()):
                break
            walk.attempt()
        walk.check()
        x, calls = walk.x, walk.calls
        if grid.end == "denoise" or stop is not grid.levels[-1]:
            x, found = run.predict(x, stop)
            x, calls = run.arrived(found.x0, found, grid.path.level(float("inf"))), calls + 1
        if self.tell is not None:
            self.tell(Adapted(calls, walk.steps, walk.rejected))
        return x


class _Walk:
    """Where every row is on its way: local to one run."""

    def __init__(self, solver: DPMSolverAdaptive, path: GaussianPath, run: Run, x: Tensor, start: float, stop: float) -> None:
        self.solver, self.path, self.run_, self.x, self.stop = solver, path, run, x, stop
        self.lam = torch.full((len(x),), start, dtype=torch.float64, device=x.device)
        self.h = (stop - self.lam).clamp(max=solver.first)
        self.low, self.kept = x, torch.zeros_like(x)
        self.stale = torch.ones_like(self.lam, dtype=torch.bool)
        self.error = torch.zeros_like(self.lam)
        self.calls, self.steps, self.rejected = (torch.zeros_like(self.lam, dtype=torch.long) for _ in range(3))

    @property
    def arrived(self) -> Tensor:
        return self.lam >= self.stop

    def attempt(self) -> None:
        """One step of every row that has not arrived, accepted or not."""
        going, order = ~self.arrived, self.solver.order
        self._renew(going)
        low, high, found = (self._second if order == 2 else self._third)()
        self.calls += going * (order - 1)
        self.error = self._error(low, high)
        good = going & (self.error <= 1)
        there = self.lam + self.h
        # What is left was taken whole: there is no rounding to leave a sliver.
        there = torch.where(self.stop - there < 1e-9, torch.full_like(there, self.stop), there)
        self.lam = torch.where(good, there, self.lam)
        if bool(good.any()):
            # Hooks and watchers see every row where it now stands; what hooks do to a row that did not move is dropped.
            after = self.run_.arrived(_pick(good, high, self.x), found, self.path.level(self.lam, like=high))
            self.x, self.low = _pick(good, after, self.x), _pick(good, low, self.low)
        self.stale = self.stale | good
        self.steps += good
        self.rejected += going & ~good
        wanted = self.solver.theta * self.h * self.error ** (-1 / order)
        self.h = torch.where(going, torch.minimum(wanted, self.stop - self.lam), torch.zeros_like(self.h))
        self._finite(going)

    def _renew(self, going: Tensor) -> None:
        """The prediction where a row stands, if the row has moved since its last."""
        needs = going & self.stale
        if bool(needs.any()):
            x, found = self.run_.predict(self.x, self.path.level(self.lam, like=self.x))
            self.x, self.kept = _pick(needs, x, self.x), _pick(needs, found.view(self.solver.kind), self.kept)
            self.calls += needs
            self.stale = self.stale & ~needs

    def _second(self) -> tuple[Tensor, Tensor, Any]:
        """Order 1, and 2 with r1 = 1/2."""
        carry, whole, _ = self._weights(1.0)
        change, found = self._inner(0.5, None)
        low = carry * self.x + whole * self.kept
        return low, low + whole * change, found

    def _third(self) -> tuple[Tensor, Tensor, Any]:
        """Order 2 with r1 = 1/3, and 3 with r1 = 1/3, r2 = 2/3."""
        carry, whole, slope = self._weights(1.0)
        first, _ = self._inner(1 / 3, None)
        last, found = self._inner(2 / 3, first)
        euler = carry * self.x + whole * self.kept
        return euler + 1.5 * whole * first, euler + 1.5 * slope * last, found

    def _inner(self, r: float, first: Tensor | None) -> tuple[Tensor, Any]:
        """The change of the prediction up to the fraction r of the step; ``first``, the change up to half of r, straightens the way there."""
        carry, whole, slope = self._weights(r)
        u = carry * self.x + whole * self.kept
        if first is not None:
            u = u + 2 * slope * first
        _, found = self.run_.predict(u, self.path.level(self.lam + r * self.h, like=u))
        return found.view(self.solver.kind) - self.kept, found

    def _weights(self, r: float) -> tuple[Tensor, Tensor, Tensor]:
        """Of the state, the prediction, and its change, in a step of r h; float64, then in the dtype of x."""
        h = r * self.h
        (alpha, sigma), (alpha_t, sigma_t) = self.path.scales(self.lam), self.path.scales(self.lam + h)
        noisy = self.solver.kind == "eps"
        carry, scale, z = (alpha_t / alpha, -sigma_t, h) if noisy else (sigma_t / sigma, -alpha_t, -h)
        grown = torch.expm1(z)
        phi = torch.where(z == 0, torch.ones_like(z), grown / torch.where(z == 0, torch.ones_like(z), z))
        return tuple(spread(w, self.x) for w in (carry, scale * grown, scale * (phi - 1)))

    def _error(self, low: Tensor, high: Tensor) -> Tensor:
        """E of every row; what a mask hides does not count."""
        solver = self.solver
        delta = (solver.rtol * torch.maximum(_size(low), _size(self.low))).clamp(min=solver.atol)
        part = (_size(high - low) / delta).double() ** 2
        if self.run_.mask is None:
            return part.flatten(1).mean(1).sqrt()
        there = _size(self.run_.mask.expand_as(low)).double().expand_as(part).flatten(1) > 0
        return ((part.flatten(1) * there).sum(1) / there.sum(1).clamp(min=1)).sqrt()

    def _finite(self, going: Tensor) -> None:
        bad = going & ~torch.isfinite(self.error)
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            raise RuntimeError(f"row {row} is not finite after a step from lam = {float(self.lam[row]):g}; the denoiser's output there is not, "
                               "or has grown beyond bounds")

    def check(self) -> None:
        """Refuse to go on with rows that did not arrive."""
        late = (~self.arrived).nonzero()
        if len(late):
            row = int(late[0])
            raise RuntimeError(f"{len(late)} rows have not arrived after {self.solver.most} steps; row {row} is at lam = {float(self.lam[row]):g} of "
                               f"{self.stop:g} with steps of {float(self.h[row]):g}. Loosen atol and rtol, raise most, or stop the grid earlier")


def _size(x: Float[Tensor, "batch *event"]) -> Tensor:
    """Root mean square over the last axis, of every vector."""
    return x.abs()[:, None] if x.ndim == 1 else x.square().mean(-1, keepdim=True).sqrt()


def _pick(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def dpm_solver_12() -> DPMSolverAdaptive:
    """Adaptive DPM-Solver of orders 1 and 2."""
    return DPMSolverAdaptive(order=2)


def dpm_solver_23() -> DPMSolverAdaptive:
    """Adaptive DPM-Solver of orders 2 and 3."""
    return DPMSolverAdaptive(order=3)
