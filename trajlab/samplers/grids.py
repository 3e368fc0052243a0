"""Grids: the log-SNR of every node of a run, increasing towards the data, and what is done at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.denoiser import level_range
from trajlab.paths.gaussian import GaussianPath, Level

#: Ends of a grid.
ENDS = ("denoise", "stop")


@dataclass(frozen=True)
class Grid:
    """Nodes of a run.

    Attributes:
        path: whose levels they are.
        lam: ``[node]``, float64, log-SNR, strictly increasing: noise decreases along a run. The last may be +inf (sigma = 0).
        end: ``denoise``: one more call at the last node, whose clean prediction is the sample; ``stop``: the state at the last node is.

    Raises:
        ValueError: fewer than two nodes, a node that is not a number, or noise that does not decrease; or an unknown end.
    """

    path: GaussianPath
    lam: Tensor
    end: str = "denoise"

    def __post_init__(self) -> None:
        lam = torch.as_tensor(self.lam, dtype=torch.float64)
        object.__setattr__(self, "lam", lam)
        if self.end not in ENDS:
            raise ValueError(unknown("end of a grid", str(self.end), ENDS))
        if lam.ndim != 1 or len(lam) < 2:
            raise ValueError(f"a grid wants one axis and at least two nodes; lam of shape {tuple(lam.shape)} came")
        if bool(torch.isnan(lam).any()):
            raise ValueError(f"node {int(torch.isnan(lam).nonzero()[0])} of the grid is not a number")
        wrong = (lam.diff() <= 0).nonzero()
        if len(wrong):
            k = int(wrong[0])
            raise ValueError(f"noise must decrease along a grid, but lam goes from {float(lam[k]):g} at node {k} to {float(lam[k + 1]):g}; "
                             "sort the nodes so that log(alpha/sigma) increases, and drop repeats")

    @property
    def steps(self) -> int:
        """Number of intervals."""
        return len(self.lam) - 1

    @cached_property
    def levels(self) -> list[Level]:
        """The levels of the nodes, as numbers."""
        return self.path.levels(self.lam)

    def ended(self, end: str) -> Self:
        """The same nodes with another end."""
        return replace(self, end=end)


def _bounds(path: GaussianPath, steps: int, start: float | None, stop: float | None) -> tuple[float, float]:
    """Default bounds, checked."""
    if steps < 1:
        raise ValueError(f"a grid wants at least one step, and steps={steps} came")
    first, last = level_range(path)
    first, last = first if start is None else start, last if stop is None else stop
    if not first < last:
        raise ValueError(f"a run starts at lam = {first:g} and would stop at {last:g}; noise must decrease, so stop must be larger")
    return first, last


def uniform_lam(path: GaussianPath, steps: int, start: float | None = None, stop: float | None = None, end: str = "denoise") -> Grid:
    """Nodes uniform in the log-SNR from ``start`` to ``stop`` (defaults: the path's range, at most -7 to 7).

    Raises:
        ValueError: ``steps`` < 1, or ``start`` is not below ``stop`` (so for every grid of this file).
    """
    return Grid(path, torch.linspace(*_bounds(path, steps, start, stop), steps + 1, dtype=torch.float64), end)


def uniform_t(path: GaussianPath, steps: int, start: float | None = None, stop: float | None = None, end: str = "denoise") -> Grid:
    """Nodes uniform in the path's t, between log-SNRs ``start`` and ``stop``."""
    return power_t(path, steps, start, stop, end, power=1.0)


def power_t(path: GaussianPath, steps: int, start: float | None = None, stop: float | None = None, end: str = "denoise",
            power: float = 2.0) -> Grid:
    """Nodes uniform in (1 - t)^(1/power): 2 is the quadratic grid of DDIM and DEIS, dense near the data."""
    bounds = torch.tensor(_bounds(path, steps, start, stop), dtype=torch.float64)
    tau = (1 - path.t_of(bounds)).clamp(0, 1) ** (1 / power)
    lam = path.lam_of(1 - torch.linspace(float(tau[0]), float(tau[1]), steps + 1, dtype=torch.float64) ** power)
    return Grid(path, _pinned(lam, bounds), end)


def karras(path: GaussianPath, steps: int, start: float | None = None, stop: float | None = None, end: str = "denoise", rho: float = 7.0) -> Grid:
    """Nodes uniform in (sigma/alpha)^(1/rho) (Karras et al. 2022)."""
    bounds = torch.tensor(_bounds(path, steps, start, stop), dtype=torch.float64)
    root = torch.exp(-bounds / rho)
    lam = -rho * torch.log(torch.linspace(float(root[0]), float(root[1]), steps + 1, dtype=torch.float64))
    return Grid(path, _pinned(lam, bounds), end)


def explicit(path: GaussianPath, lam: Sequence[float] | Tensor, end: str = "denoise") -> Grid:
    """The nodes that are given, as log-SNR."""
    return Grid(path, torch.as_tensor(lam, dtype=torch.float64), end)


def at_times(path: GaussianPath, t: Sequence[float] | Tensor, end: str = "denoise") -> Grid:
    """The nodes that are given, as generative times.

    Raises:
        ValueError: a time outside [0, 1], or what `Grid` refuses.
    """
    t = torch.as_tensor(t, dtype=torch.float64)
    if not bool(((t >= 0) & (t <= 1)).all()):
        raise ValueError(f"t runs from {float(t.min()):g} to {float(t.max()):g}; generative time lies within [0, 1]")
    return Grid(path, path.lam_of(t), end)


#: Grids by name: ``GRIDS[name](path, steps)``.
GRIDS = {"uniform_lam": uniform_lam, "uniform_t": uniform_t, "quadratic_t": power_t, "karras": karras}


def _pinned(lam: Tensor, bounds: Tensor) -> Tensor:
    """The ends, without the rounding of there and back."""
    lam = lam.clone()
    lam[0], lam[-1] = bounds
    if not math.isfinite(float(lam[0])):
        raise ValueError("a grid cannot start at infinite noise; pass start=, a finite log-SNR")
    return lam
