"""`sample`: from noise to samples, in one re-entrant call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from trajlab.paths.denoiser import Denoises
from trajlab.samplers.deis import DEIS
from trajlab.samplers.grids import Grid
from trajlab.samplers.hooks import Hook, Step
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.solver import Solver
from trajlab.samplers.tables import Run

#: What is used where no solver is named: the best at 8 to 15 calls on exact, unguided denoisers (``benchmarks/samplers.py``).
DEFAULT = DEIS(order=3)


@dataclass(frozen=True)
class Samples:
    """What a run gives.

    Attributes:
        x: ``[batch ...]``, the samples.
        nfe: calls of the denoiser.
        trace: the nodes in order, where asked for.
    """

    x: Tensor
    nfe: int
    trace: list[Step] = field(default_factory=list)


def sample(
    denoiser: Denoises,
    grid: Grid,
    start: Shaped[Tensor, "batch *event"] | Sequence[int],
    solver: Solver | None = None,
    *,
    generator: torch.Generator | RowNoise | None = None,
    hooks: Sequence[Hook] = (),
    mask: Bool[Tensor, "batch *part"] | None = None,
    watch: Callable[[Step], None] | None = None,
    trace: bool = False,
) -> Samples:
    """Solve from the first node of a grid to its end. Nothing is kept between calls, and a row does not depend on its batch mates.

    Gradients are kept only where ``start`` asks for them. Large runs on a CPU that nobody watches go through one compiled pass a call
    (`trajlab.samplers.fused`), which equals the plain loop up to rounding; so do a row alone and in a large batch.

    Args:
        denoiser: a `Denoiser`, an exact one, or a guided one.
        grid: the nodes and the end.
        start: the state at the first node ``[batch ...]``, or the shape of samples to start from the path's noise.
        solver: third-order `DEIS` by default.
        generator: where random numbers come from; needed for a start from a shape and for stochastic solvers. Each row has its own stream;
            `RowNoise(generator, rows=[5])` gives row 5 of a larger batch alone.
        hooks: constraints, steering, observations; they act in this order.
        mask: ``[batch]`` and any number of further axes of a state, True where there is something; what is hidden stays zero, and a net
            that has an argument ``mask`` is given it.
        watch: called with a `Step` at every node.
        trace: keep the steps in the result.

    Returns:
        The samples. State and result have the dtype of ``start`` (half precision is raised to float32), float32 for a shape.

    Raises:
        ValueError: the start is not finite, the mask has another shape than a state, or what the solver refuses.
        TypeError: the denoiser's path is not the grid's.
    """
    if getattr(denoiser, "path", grid.path) != grid.path:
        raise TypeError(f"the denoiser is on {denoiser.path}, and the grid on {grid.path}; make the grid on denoiser.path")
    noise = generator if isinstance(generator, RowNoise) else RowNoise(generator)
    drawn = not isinstance(start, Tensor)
    x = start if isinstance(start, Tensor) else _prior(grid, tuple(start), noise)
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    hidden = None if mask is None else shaped(mask, x)
    _check(x, hidden)
    steps: list[Step] = []
    run = Run(denoiser, tuple(hooks), noise, hidden, {} if mask is None else {"mask": mask}, _watchers(watch, steps if trace else None))
    if drawn:
        for hook in run.hooks:
            x = hook.noise(x)
    out = (solver or DEFAULT).run(grid, run, x)
    return Samples(out, run.nfe, steps)


def _prior(grid: Grid, shape: tuple[int, ...], noise: RowNoise) -> Tensor:
    """The path's own noise, at the level of the first node (which may lie a little inside the path's end)."""
    first, z = grid.path.level(grid.path.ends[0]), noise.normal(torch.empty(shape))
    return grid.path.prior(shape, z) * (grid.levels[0].sigma / first.sigma)


def shaped(mask: Tensor, x: Tensor) -> Tensor:
    """A mask with the axes and dtype of a state.

    Raises:
        ValueError: its axes are not the first ones of the state.
    """
    if mask.shape != x.shape[: mask.ndim] or mask.ndim < 1:
        raise ValueError(f"the mask has shape {tuple(mask.shape)} and the state {tuple(x.shape)}; the mask's axes must be the state's first ones "
                         "(batch, then node and time, as far as it goes)")
    return mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)).to(x)


def _check(x: Tensor, hidden: Tensor | None) -> None:
    bad = ~torch.isfinite(x)
    if hidden is not None:
        bad = bad & (hidden != 0)
    if bool(bad.any()):
        row = int(bad.flatten(1).any(1).nonzero()[0])
        raise ValueError(f"the start is not finite in {int(bad.sum())} places, first in row {row}; drop or impute them, or hide them with a mask")
    if not x.is_floating_point():
        raise ValueError(f"the start has dtype {x.dtype}; a floating-point tensor was wanted")


def _watchers(watch: Callable[[Step], None] | None, steps: list[Step] | None) -> Callable[[Step], None] | None:
    if steps is None:
        return watch

    def both(step: Step) -> None:
        steps.append(step)
        if watch is not None:
            watch(step)

    return both
