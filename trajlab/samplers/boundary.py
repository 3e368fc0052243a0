"""Optimal boundary conditions (Ma et al. 2023, "Solving diffusion ODEs with optimal boundary conditions for better image super-resolution").

An ODE sampler is a function x = h(x_T, y) of its start and condition. One start is chosen on reference pairs (y_i, z_i),

    x_T* = argmin over candidates of sum_i M(h(x_T, y_i), z_i),

and used for all y from then on. Under a distance this *is* regression: the best start gives the conditional mean under the squared one (for
Gaussian data it is x_T = 0), and all that samples would differ by is gone. Choose M so that it sees what matters: a spectrum, a statistic of steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.paths.denoiser import Denoises
from trajlab.samplers.grids import Grid
from trajlab.samplers.hooks import Hook
from trajlab.samplers.sample import sample
from trajlab.samplers.solver import Solver

#: ``metric(outputs, targets)`` gives one loss a pair ``[pair]``; smaller is better.
Metric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Boundary:
    """A chosen start.

    Attributes:
        start: ``[*event]``, the state at the first node, in the frame of the reference pairs.
        losses: ``[candidate]``, mean loss over the pairs.
        best: which candidate it was.
        size: root mean square of the start over that of noise at its level. Well below 1: the metric regresses.
        regression: whether the metric rewards averaging (`rewards_averaging`), so that diversity is gone.
    """

    start: Tensor
    losses: Tensor
    best: int
    size: float
    regression: bool

    @property
    def gain(self) -> float:
        """Loss of the chosen start over the mean loss of all candidates."""
        return float(self.losses[self.best] / self.losses.mean())

    def starts(self, batch: int) -> Float[Tensor, "batch *event"]:
        """The start for every row of a batch."""
        return self.start.expand(batch, *self.start.shape)


def choose_start(denoiser: Denoises, grid: Grid, targets: Float[Tensor, "pair *event"], metric: Metric,
                 candidates: Float[Tensor, "candidate *other"] | int, *, solver: Solver | None = None,
                 generator: torch.Generator | None = None, hooks: Sequence[Hook] = ()) -> Boundary:
    """The candidate of least mean loss over reference pairs; every candidate costs one deterministic run over all pairs.

    Args:
        denoiser: under the conditions y_i of the pairs, row by row: ``denoiser.given(past=y)``.
        grid: where the ODE is solved.
        targets: z_i.
        metric: ``metric(outputs, targets)`` gives one loss a pair.
        candidates: states at the first node, or how many to draw from its noise. They must fit all conditions (same nodes and frames).
        solver: a deterministic one; the default of `sample`.
        generator: for candidates that are drawn.
        hooks: as in `sample`.

    Warns:
        UserWarning: the metric rewards averaging, as distances do.

    Raises:
        ValueError: no candidates, candidates of another shape than the targets, no generator to draw them, or losses that are not one finite
            number a pair.
    """
    starts = _starts(grid, targets, candidates, generator)
    regression = rewards_averaging(metric, targets)
    if regression:
        warnings.warn("under this metric the average of two outputs never does worse than they do, as under every distance: choosing a start by it "
                      "is regression, and what samples of a condition differ by is gone. Use a metric of spectra or of statistics", stacklevel=2)
    losses = []
    for start in starts:
        out = sample(denoiser, grid, start.expand_as(targets), solver, hooks=hooks).x
        losses.append(_loss(metric, out, targets).mean())
    mean = torch.stack(losses)
    best = int(mean.argmin())
    size = float(starts[best].square().mean().sqrt()) / grid.levels[0].sigma
    return Boundary(starts[best].clone(), mean, best, size, regression)


def rewards_averaging(metric: Metric, targets: Float[Tensor, "pair *event"]) -> bool:
    """Whether M((a + b)/2, z) <= (M(a, z) + M(b, z))/2 on probes: convex in the output, as every distance is.

    Probes are the target and its reflection about the mean of the targets, two other targets, and noise of the targets' size (fixed
    seed). Metrics of spectra or of statistics fail: the middle of two samples is smoother than either.
    """
    fixed = torch.Generator().manual_seed(0)
    size = targets.double().square().mean().sqrt().to(targets)
    noise = [targets + size * torch.randn(targets.shape, generator=fixed, dtype=torch.float64).to(targets) for _ in range(2)]
    middle = targets.mean(0) if len(targets) > 1 else torch.zeros_like(targets[0])
    probes = [(targets, 2 * middle - targets), (targets.roll(1, 0), targets.roll(2, 0)), (noise[0], noise[1]), (targets, noise[0])]
    for a, b in probes:
        ends, between = (_loss(metric, a, targets) + _loss(metric, b, targets)) / 2, _loss(metric, (a + b) / 2, targets)
        if bool((between > ends + 1e-5 * ends.abs().clamp(min=1e-12)).any()):
            return False
    return True


def _loss(metric: Metric, out: Tensor, targets: Tensor) -> Tensor:
    loss = metric(out, targets)
    if loss.shape != (len(targets),) or not bool(torch.isfinite(loss).all()):
        raise ValueError(f"the metric gave {tuple(loss.shape)}, {int((~torch.isfinite(loss)).sum())} of them not finite; one finite loss a pair, "
                         f"shape ({len(targets)},), was wanted")
    return loss


def _starts(grid: Grid, targets: Tensor, candidates: Tensor | int, generator: torch.Generator | None) -> Tensor:
    if isinstance(candidates, int):
        if candidates < 1 or generator is None:
            raise ValueError(f"{candidates} candidates {'without' if generator is None else 'with'} a generator were asked for; draw at least one, "
                             "with generator=torch.Generator().manual_seed(...)")
        drawn = torch.randn(candidates, *targets.shape[1:], generator=generator, device=generator.device, dtype=targets.dtype)
        return drawn.to(targets.device) * grid.levels[0].sigma
    if candidates.shape[1:] != targets.shape[1:] or not len(candidates):
        raise ValueError(f"candidates have shape {tuple(candidates.shape)} and targets {tuple(targets.shape)}; at least one candidate, "
                         "with events of the targets' shape, was wanted")
    return candidates.to(targets)
