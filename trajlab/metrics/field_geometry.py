"""What the Jacobian of a learned field tells: whether the field is a gradient, and how many dimensions the data have.

Everything takes callables on batches whose rows do not see each other: ``field(x) -> y`` of the shape of x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vjp

from trajlab.catalog import unknown

Map = Callable[[Tensor], Tensor]
MODES = ("forward", "reverse")


def asymmetry(field: Map, x: Float[Tensor, "batch *event"], generator: torch.Generator, probes: int = 16) -> Float[Tensor, " batch"]:
    """|J - J^T|_F / |J + J^T|_F at every row: 0 for a gradient field, 1 on average for one without any symmetry.

    Both norms by Hutchinson: E|(J -+ J^T) e|^2 over random signs e, one Jacobian-vector and one vector-Jacobian product a probe. The signs are
    the same for all rows, so a row does not depend on its batch.

    Raises:
        ValueError: fewer than one probe.
    """
    if probes < 1:
        raise ValueError(f"probes={probes} came; at least 1 was wanted")
    apart = together = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    _, back = vjp(field, x)
    for _ in range(probes):
        sign = torch.randint(0, 2, x.shape[1:], generator=generator, device=generator.device).to(x) * 2 - 1
        probe = sign.expand_as(x).contiguous()
        forth, (adjoint,) = jvp(field, (x,), (probe,))[1].double(), back(probe)
        apart = apart + (forth - adjoint).flatten(1).square().sum(1)
        together = together + (forth + adjoint).flatten(1).square().sum(1)
    return (apart / together).sqrt()


def jacobian(field: Map, x: Float[Tensor, "batch *event"], *, mode: str = "reverse", chunk: int = 1) -> Float[Tensor, "batch d d"]:
    """dy/dx of every row, over flattened events.

    Args:
        field: may change the batch only row by row.
        x: where.
        mode: ``reverse`` (vector-Jacobian products, one graph kept) or ``forward`` (Jacobian-vector products; no graph, so also for maps that
            run a whole sampler).
        chunk: products computed at once, by adding rows to the batch: only for fields that take any number of rows.

    Raises:
        ValueError: an unknown mode, or a chunk below 1.
    """
    if mode not in MODES or chunk < 1:
        raise ValueError(unknown("mode", mode, MODES) if mode not in MODES else f"chunk={chunk} came; at least 1 was wanted")
    batch, size = len(x), x[0].numel()
    rows = []
    for first in range(0, size, chunk):
        part = min(size, first + chunk) - first
        unit = torch.eye(size, dtype=x.dtype, device=x.device)[first : first + part]
        wide = x.repeat(part, *[1] * (x.ndim - 1))
        tangent = unit.repeat_interleave(batch, 0).reshape(wide.shape)
        found = jvp(field, (wide,), (tangent,))[1] if mode == "forward" else vjp(field, wide)[1](tangent)[0]
        rows.append(found.detach().reshape(part, batch, size))
    out = torch.cat(rows).transpose(0, 1)
    return out.mT if mode == "forward" else out


@dataclass(frozen=True)
class Dimension:
    """Singular values, and the dimension read off them.

    Attributes:
        values: ``[batch d]``, falling.
        dims: ``[batch]``, integers.
    """

    values: Tensor
    dims: Tensor


def score_dimension(score: Map, x: Float[Tensor, "batch *event"], sigma: float, *, threshold: float = 0.5, rigid: int = 0,
                    chunk: int = 1) -> Dimension:
    """Dimension of the data near x, from the singular values of sigma^2 times the score's Jacobian: 1 across the data, sigma^2/(v + sigma^2)
    along a direction of variance v (Stanczuk et al. 2024).

    Depends on the scale: what is narrower than sigma counts as nothing. A gauge (a divergence-free part of the field that leaves the samples as
    they are) moves these values; `flow_dimension` does not feel it.

    Args:
        score: the score at noise level ``sigma`` of x0 + sigma eps.
        x: points near the data at that level.
        sigma: the level, in units of the data.
        threshold: values above it are across.
        rigid: dimensions that are the frame's and not the data's, and are taken off: 6 for free molecules in space under an equivariant net (3 in a
            zero-mean subspace).
        chunk: as in `jacobian`.

    Raises:
        ValueError: sigma is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"sigma={sigma:g} came; a positive noise level was wanted")
    values = torch.linalg.svdvals(sigma**2 * jacobian(score, x, chunk=chunk).double())
    return Dimension(values, (values <= threshold).sum(1) - rigid)


def flow_dimension(flow: Map, x: Float[Tensor, "batch *event"], scale: float = 1.0, *, threshold: float | None = None, rigid: int = 0,
                   mode: str = "forward", chunk: int = 1) -> Dimension:
    """Dimension of the data where the flow's ends are, from the singular values of d x_end / d x_start: times the scale of the start's noise,
    the widths of the data along them, and the last noise level across.

    Args:
        flow: from states at the first noise level to the end, for instance a solver on the probability-flow ODE.
        x: starts.
        scale: standard deviation of the start's noise (sigma_max, or 1 where the start is N(0, I)); values are multiplied by it.
        threshold: widths above it count; where None, the largest ratio of neighbours is the gap, so with no narrow direction the answer is
            wrong: look at the values.
        rigid: as in `score_dimension`.
        mode: ``forward`` keeps no graph through the flow; ``reverse`` for nets without forward derivatives.
        chunk: as in `jacobian`.

    Raises:
        ValueError: the scale is not positive.
    """
    if not scale > 0:
        raise ValueError(f"scale={scale:g} came; the positive standard deviation of the start was wanted")
    values = scale * torch.linalg.svdvals(jacobian(flow, x, mode=mode, chunk=chunk).double())
    if threshold is not None:
        return Dimension(values, (values > threshold).sum(1) - rigid)
    ratio = values[:, :-1] / values[:, 1:].clamp(min=1e-300)
    return Dimension(values, ratio.argmax(1) + 1 - rigid)
