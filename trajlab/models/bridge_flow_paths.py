"""Paths of a global flow, in scaled coordinates, and what they may start from."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.dynamics.bridges import root
from trajlab.dynamics.linear_noise import Diverged
from trajlab.dynamics.references import Reference
from trajlab.models.bridge_flow_net import FlowNets
from trajlab.samplers.ode import integrate

__all__ = ["Drifts", "diffuse", "flow_along", "repeats", "start_cells", "states", "within"]


class Drifts(NamedTuple):
    """The fields of a process: nets, plus the drift of the reference where they are residuals of it. After ``last`` there is the reference alone."""

    nets: FlowNets
    reference: Reference | None
    D: Tensor
    last: float
    residual: bool

    def both(self, x: Float[Tensor, "cell dim"], t: Float[Tensor, "cell"]) -> tuple[Float[Tensor, "cell dim"], Float[Tensor, "cell dim"]]:
        """Velocity of the ODE, and score."""
        velocity, score = self.nets(x, t)
        return (velocity + self.reference.drift(x) if self.residual else velocity), score

    def flow(self, x: Float[Tensor, "cell dim"], t: Float[Tensor, "cell"]) -> Float[Tensor, "cell dim"]:
        return self.both(x, t)[0]

    def score(self, x: Float[Tensor, "cell dim"], t: Float[Tensor, "cell"]) -> Float[Tensor, "cell dim"]:
        return self.both(x, t)[1]

    def drift(self, x: Float[Tensor, "cell dim"], t: Float[Tensor, "cell"]) -> Float[Tensor, "cell dim"]:
        """v + D score / 2, and the drift of the reference for times after the last snapshot.

        Raises:
            ValueError: such a time, and no reference.
        """
        late = t > self.last
        velocity, score = self.both(x, t.clamp(max=self.last))
        found = velocity + score @ self.D / 2
        if not bool(late.any()):
            return found
        if self.reference is None:
            raise ValueError(f"times after the last snapshot, {self.last:g}, follow the reference, which was not written with this flow; ask the "
                             "flow of the bridge itself")
        return torch.where(late[:, None], self.reference.drift(x), found)


def diffuse(drifts: Drifts, x: Float[Tensor, "cell dim"], clock: Float[Tensor, "time"], h: float, generator: torch.Generator,
            ) -> Float[Tensor, "cell time dim"]:
    """Paths of the SDE by Euler and Maruyama's method, in steps of at most h, with drifts at the middle of each.

    Raises:
        Diverged: a path leaves every bound.
    """
    noise, found = root(drifts.D[None])[0].mT, [x]
    for start, stop in pairwise(clock.tolist()):
        steps = math.ceil((stop - start) / h - 1e-9)
        for k in range(steps):
            tau = (stop - start) / steps
            t = torch.full((len(x),), start + (k + 0.5) * tau, dtype=x.dtype)
            x = x + tau * drifts.drift(x, t) + tau**0.5 * torch.randn(x.shape, generator=generator, dtype=x.dtype) @ noise
        found.append(bounded(x, stop))
    return torch.stack(found, 1)


def flow_along(drifts: Drifts, x: Float[Tensor, "cell dim"], clock: Float[Tensor, "time"], h: float) -> Float[Tensor, "cell time dim"]:
    """Paths of the ODE by Runge and Kutta's method of order 4, in steps of at most 2.5 h.

    Raises:
        Diverged: a path leaves every bound.
    """
    found = [x]
    for start, stop in pairwise(clock.tolist()):
        steps = math.ceil((stop - start) / (2.5 * h) - 1e-9)
        if steps:
            x = integrate(drifts.flow, x, torch.linspace(start, stop, steps + 1, dtype=x.dtype)).x
        found.append(bounded(x, stop))
    return torch.stack(found, 1)


def bounded(x: Float[Tensor, "cell dim"], t: float) -> Float[Tensor, "cell dim"]:
    if not bool(torch.isfinite(x).all()):
        path = int((~torch.isfinite(x)).any(1).nonzero()[0])
        raise Diverged(f"path {path} leaves every bound before time {t:g}; start nearer to the cells that the bridge was fitted to, or end sooner")
    return x


def repeats(cells: int, n: int | None) -> Int[Tensor, "path"]:
    """The cell of each of n paths, evenly; one path a cell by default.

    Raises:
        ValueError: fewer than one.
    """
    n = cells if n is None else n
    if n < 1:
        raise ValueError(f"n={n} paths; at least 1 was wanted")
    return torch.arange(n) * cells // n


def start_cells(cells: Float[Tensor, "cell dim"], weight: Float[Tensor, "cell"], n: int | None,
                generator: torch.Generator) -> Float[Tensor, "path dim"]:
    """Cells of the first snapshot, each its expected number of times, up or down; as many as there are by default.

    Raises:
        ValueError: fewer than one.
    """
    n = len(repeats(len(cells), n))
    place = (torch.rand((), generator=generator, dtype=torch.float64) + torch.arange(n)) / n * weight.sum()
    return cells[torch.searchsorted(weight.cumsum(0), place, right=True).clamp(max=len(cells) - 1)]


def states(x: Any, dim: int, what: str) -> Float[Tensor, "cell dim"]:
    """States as a float64 tensor.

    Raises:
        ValueError: another shape, none, or a value that is not finite.
    """
    found = (x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x, dtype=np.float64))).double()
    if found.ndim != 2 or found.shape[1] != dim or not len(found):
        raise ValueError(f"{what} of shape {tuple(found.shape)}; [cell {dim}], at least one cell, was wanted, as the snapshots have it")
    bad = (~torch.isfinite(found)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(f"{what}[{row}, {column}] is {float(found[row, column])}; finite values were wanted. Leave such cells out")
    return found


def within(t: Any, clock: Float[Tensor, "snapshot"], beyond: bool = False, rising: bool = True) -> Float[Tensor, "time"]:
    """Times as a float64 tensor of one axis.

    Raises:
        ValueError: none, times that are not finite, do not rise where they should, or are outside the snapshots.
    """
    found = torch.as_tensor(t, dtype=torch.float64).reshape(-1)
    first, last = float(clock[0]), float(clock[-1])
    shown = f"times {found.tolist()[:6]} of a flow between {first:g} and {last:g}"
    if not len(found) or not bool(torch.isfinite(found).all()) or (rising and bool((found.diff() <= 0).any())):
        raise ValueError(f"{shown}; finite{' and rising' if rising else ''} times were wanted, at least one")
    if float(found.min()) < first:
        raise ValueError(f"{shown}; times from {first:g} on were wanted: nothing is known of what came before the first snapshot")
    if not beyond and float(found.max()) > last:
        raise ValueError(f"{shown}; times up to {last:g} were wanted: after the last snapshot only the SDE is known, kind='sde', or velocity")
    return found
