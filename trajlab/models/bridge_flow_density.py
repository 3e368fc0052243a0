"""The density that a first snapshot was drawn from, estimated by Gaussian kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["KernelDensity"]

THIN = 1e-8  #: of the largest variance, below which a direction of the cells counts as flat


@dataclass(frozen=True, eq=False)
class KernelDensity:
    """sum_i w_i N(x; cell_i, s^2 C), C the covariance of the cells and s = m^(-1/(dim + 4)), m = 1 / sum w_i^2 (Scott 1992).

    Attributes:
        cells: ``[cell dim]``.
        log_weight: ``[cell]``.
        root: lower factor of s^2 C.
    """

    cells: Tensor
    log_weight: Tensor
    root: Tensor

    @classmethod
    def of(cls, cells: Float[Tensor, "cell dim"], weight: Float[Tensor, "cell"]) -> KernelDensity:
        """From weighted cells.

        Raises:
            ValueError: cells without spread in some direction, which have no density.
        """
        weight = weight / weight.sum()
        off = cells - weight @ cells
        cov = off.mT @ (weight[:, None] * off)
        value = torch.linalg.eigvalsh(cov)
        if not bool(value[0] > THIN * value[-1]):
            raise ValueError(f"the {len(cells)} cells of the first snapshot have no spread in some direction (variances {float(value[0]):.2g} to "
                             f"{float(value[-1]):.2g}), so they have no density in {cells.shape[1]} dimensions; use fewer dimensions or more cells")
        width = float(weight.square().sum()) ** (1 / (cells.shape[1] + 4))
        return cls(cells, weight.log(), width * torch.linalg.cholesky(cov))

    def log_density(self, x: Float[Tensor, "point dim"]) -> Float[Tensor, "point"]:
        """At some points."""
        white, centre = (torch.linalg.solve_triangular(self.root, v.mT, upper=False).mT for v in (x.to(self.cells), self.cells))
        constant = self.root.diagonal().log().sum() + 0.5 * x.shape[1] * torch.log(torch.tensor(2 * torch.pi, dtype=self.cells.dtype))
        return torch.logsumexp(self.log_weight - 0.5 * torch.cdist(white, centre).square(), 1) - constant
