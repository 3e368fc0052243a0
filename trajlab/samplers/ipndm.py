"""iPNDM (Zhang & Chen 2023): classical Adams-Bashforth weights on noise predictions, moved by the first-order transfer.

    x_t = T(x_s, sum_j w_j e_j; s -> t),    T(x, e; s -> t) = (alpha_t/alpha_s) x + (sigma_t - alpha_t sigma_s/alpha_s) e

The weights w are those of equal steps. Where steps in sigma/alpha are not equal (nearly always), the order is two at most, whatever the
number of predictions; `DEIS` has the weights that belong to the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

from trajlab.samplers.grids import Grid
from trajlab.samplers.solver import Solver, enough, finished, finite, transfer
from trajlab.samplers.tables import Stage, Table

#: Adams-Bashforth weights for equal steps, newest prediction first.
ADAMS: dict[int, tuple[float, ...]] = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


@dataclass(frozen=True)
class IPNDM(Solver):
    """Improved PNDM: a step of ``order`` predictions, warmed up from one, one call a step.

    Attributes:
        order: number of predictions, 1 to 4. One is DDIM.

    Raises:
        ValueError: an order outside 1 to 4.
    """

    order: int = 4

    def __post_init__(self) -> None:
        if self.order not in ADAMS:
            raise ValueError(f"iPNDM looks back on 1 to 4 predictions, and order={self.order} came")

    def plan(self, grid: Grid) -> Table:
        enough("iPNDM", self.order, grid)
        finite("iPNDM", grid, "eps")
        stages = []
        for k, (s, t) in enumerate(zip(grid.levels, grid.levels[1:])):
            state, noise = transfer(s, t, "eps")
            stages.append(Stage(t, s, (state,), tuple(noise * w for w in ADAMS[min(k + 1, self.order)]), "eps"))
        return finished(grid, stages)
