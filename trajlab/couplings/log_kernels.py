"""Log-kernels that are computed a block of source rows at a time: of squared distances, of Gaussian transitions, of any function, of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Called", "Gaussian", "Kernel", "Squared", "Stored"]


class Kernel:
    """``rows(start, stop)``: log-densities of all m targets given the sources from ``start`` to ``stop``.

    Attributes:
        shape: n sources, m targets.
        dtype: of what ``rows`` gives.
    """

    shape: tuple[int, int]
    dtype: torch.dtype

    def rows(self, start: int, stop: int) -> Float[Tensor, "row target"]:
        raise NotImplementedError


class Squared(Kernel):
    """l_ij = -|x_i - y_j|^2 / temperature, by a matrix product.

    Points are centred first: in float32 the error is about 1e-7 (|x|^2 + |y|^2) / temperature of the centred points, so below 1e-3 unless the
    temperature is less than a ten thousandth of the variance.
    """

    def __init__(self, x: Float[Tensor, "source dim"], y: Float[Tensor, "target dim"], temperature: float, dtype: torch.dtype) -> None:
        middle, scale = y.double().mean(0), temperature**-0.5
        self.x, self.y = (((value.double() - middle) * scale).to(dtype) for value in (x, y))
        self.x2, self.y2 = self.x.square().sum(1), self.y.square().sum(1)
        self.shape, self.dtype = (len(x), len(y)), dtype

    def rows(self, start: int, stop: int) -> Float[Tensor, "row target"]:
        block = torch.addmm(self.y2, self.x[start:stop], self.y.mT, alpha=-2.0)
        return block.add_(self.x2[start:stop, None]).clamp_(min=0).neg_()


class Gaussian(Squared):
    """log N(y_j; m_i, S) up to its constant, for a covariance that all sources share: whitened once, then squared distances.

    Args:
        mean: where each source is expected, ``[source dim]``.
        cov: S, ``[dim dim]``.
        y: targets.
    """

    def __init__(self, mean: Float[Tensor, "source dim"], cov: Float[Tensor, "dim dim"], y: Float[Tensor, "target dim"], dtype: torch.dtype) -> None:
        factor = torch.linalg.cholesky(cov.double())
        white = [torch.linalg.solve_triangular(factor, (v.double() - y.double().mean(0)).mT, upper=False).mT for v in (mean, y)]
        super().__init__(*white, 2.0, dtype)


@dataclass(frozen=True)
class Called(Kernel):
    """Any function of (sources, targets) that gives their log-kernel, asked for blocks of sources."""

    function: Callable[[Tensor, Tensor], Tensor]
    x: Tensor
    y: Tensor
    dtype: torch.dtype = torch.float64

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return len(self.x), len(self.y)

    def rows(self, start: int, stop: int) -> Float[Tensor, "row target"]:
        block = self.function(self.x[start:stop], self.y)
        wanted = (len(self.x[start:stop]), len(self.y))
        if not isinstance(block, Tensor) or block.shape != wanted:
            raise ValueError(f"the log-kernel gave {tuple(getattr(block, 'shape', ()))} of type {type(block).__name__} for {wanted[0]} sources and "
                             f"{wanted[1]} targets; a tensor of shape {wanted} was wanted")
        if not bool(torch.isfinite(block).all()):
            raise ValueError(f"the log-kernel has {int((~torch.isfinite(block)).sum())} entries that are not finite among the sources {start} to "
                             f"{start + wanted[0] - 1}; widen the reference's noise, or look for cells that are not finite")
        return block.to(self.dtype)


@dataclass(frozen=True)
class Stored(Kernel):
    """A table ``[source target]``."""

    table: Tensor
    dtype: torch.dtype = torch.float64

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return tuple(self.table.shape)  # type: ignore[return-value]

    def rows(self, start: int, stop: int) -> Float[Tensor, "row target"]:
        return self.table[start:stop].to(self.dtype)
