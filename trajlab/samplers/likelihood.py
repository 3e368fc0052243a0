"""Exact log-likelihood by the probability-flow ODE (Chen et al. 2018, Grathwohl et al. 2019, Song et al. 2021):

    log p_1(x_1) = log p_0(x_0) - int_0^1 div v(x_t, t) dt        along dx/dt = v
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.bridge import spread
from trajlab.paths.denoiser import Denoises, level_range
from trajlab.samplers.dopri5 import Control, dopri5, rms
from trajlab.samplers.flow_ode import angle
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.ode import Field
from trajlab.samplers.sample import shaped

TRACES = ("exact", "hutchinson")


@dataclass(frozen=True)
class LogLikelihood:
    """What the ODE says of a batch.

    Attributes:
        log_density: ``[batch]``, float64, in nats, with respect to the volume of the subspace in which a row lives.
        latent: ``[batch ...]``, where the ODE takes it at the noise end.
        dims: ``[batch]``, the dimension of that subspace.
        nfe: calls of the field (each with its derivatives).
    """

    log_density: Tensor
    latent: Tensor
    dims: Tensor
    nfe: int

    @property
    def bits_per_dim(self) -> Tensor:
        """-log2 p a dimension, ``[batch]``."""
        return -self.log_density / (math.log(2) * self.dims)


@dataclass(frozen=True)
class Divergence:
    """How div v is computed, and where x lives.

    Attributes:
        trace: ``exact`` (as many derivatives as numbers in a row: small nets) or ``hutchinson`` (mean of e^T J e over random signs e,
            the same ones along a row's whole path, so that the ODE stays smooth; unbiased for the log-density given the path).
        probes: random vectors of Hutchinson's estimate.
        centred: axes over which x has zero mean (counting the batch as 0): ``(1,)`` for the nodes of every frame, which leaves (n - 1) dim
            dimensions a frame, ``(1, 2)`` for nodes and frames together. Without it every number counts.
        chunk: derivatives computed at once; more is faster and takes more memory. 1 also serves nets that cannot be batched over
            derivatives.

    Raises:
        ValueError: an unknown trace, or probes or a chunk below 1.
    """

    trace: str = "exact"
    probes: int = 1
    centred: tuple[int, ...] = ()
    chunk: int = 1

    def __post_init__(self) -> None:
        if self.trace not in TRACES:
            raise ValueError(unknown("trace", self.trace, TRACES))
        if self.probes < 1 or self.chunk < 1:
            raise ValueError(f"probes={self.probes}, chunk={self.chunk} came; both must be at least 1")


class Subspace:
    """The linear subspace in which rows live: hidden entries zero, means over some axes zero. Its projector is symmetric.

    Args:
        x: a batch, for its shape.
        centred: axes of zero mean.
        hidden: the mask shaped as x multiplies it, or None.

    Raises:
        ValueError: an axis that is not one of x, or the batch.
    """

    def __init__(self, x: Tensor, centred: tuple[int, ...] = (), hidden: Tensor | None = None) -> None:
        if any(not 0 < axis < x.ndim for axis in centred):
            raise ValueError(f"centred={centred} came for a state of shape {tuple(x.shape)}; axes from 1 (nodes) to {x.ndim - 1} were wanted")
        self.axes, self.hidden = tuple(centred), hidden
        there = torch.ones_like(x) if hidden is None else hidden.expand_as(x)
        self.count = there.sum(self.axes, keepdim=True).clamp(min=1) if self.axes else None
        lost = 0 if self.count is None else (there.sum(self.axes) > 0).reshape(len(x), -1).sum(1)
        self.dims = there.reshape(len(x), -1).double().sum(1) - lost

    def __call__(self, x: Tensor) -> Tensor:
        """The nearest point in it."""
        x = x if self.hidden is None else x * self.hidden
        if self.count is None:
            return x
        x = x - x.sum(self.axes, keepdim=True) / self.count
        return x if self.hidden is None else x * self.hidden


def divergence(field: Field, x: Tensor, t: Tensor, inside: Subspace, how: Divergence, probes: Tensor | None) -> tuple[Tensor, Tensor]:
    """(field, its divergence within the subspace ``[batch]``): the trace of P J P, by vector-Jacobian products; the field is P times it.

    Memory: one graph of the field, and ``how.chunk`` vectors.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        out = inside(field(inside(x), t))
    size, total = x[0].numel(), x.new_zeros(len(x), dtype=torch.float64)
    vectors = size if probes is None else len(probes)
    for first in range(0, vectors, how.chunk):
        part = range(first, min(vectors, first + how.chunk))
        basis = _units(part, x, size) if probes is None else probes[part.start : part.stop]
        if len(part) == 1:
            found = torch.autograd.grad(out, x, basis[0], retain_graph=True)[0][None]
        else:
            found = torch.autograd.grad(out, x, basis, retain_graph=True, is_grads_batched=True)[0]
        total = total + (found.double() * basis).reshape(len(part), len(x), -1).sum((0, 2))
    return out.detach(), total if probes is None else total / vectors


def _units(part: range, x: Tensor, size: int) -> Tensor:
    """Unit vectors, the same for every row: ``[part batch ...]``."""
    basis = torch.zeros(len(part), 1, size, dtype=x.dtype, device=x.device)
    basis[torch.arange(len(part)), 0, torch.arange(part.start, part.stop)] = 1
    return basis.expand(-1, len(x), -1).reshape(len(part), *x.shape)


def flow_log_density(field: Field, x: Float[Tensor, "batch *event"], start: float, stop: float, prior: Callable[[Tensor, Subspace], Tensor], *,
                     how: Divergence = Divergence(), control: Control = Control(),  # noqa: B008
                     generator: torch.Generator | RowNoise | None = None, mask: Bool[Tensor, "batch *part"] | None = None) -> LogLikelihood:
    """log-density of x, which the flow of any field makes at t = ``stop`` of a law that is known at ``start``.

    Args:
        field: ``field(x, t) -> velocity``, t ``[batch]`` float64, differentiable in x by autograd. Rows must not see each other.
        x: points, ``[batch ...]``.
        start, stop: times of the known law and of x.
        prior: log-density at ``start``, ``prior(latent, subspace) -> [batch]``; `standard_normal` is one.
        how: trace and subspace.
        control: tolerances; they hold for the log-density too.
        generator: for Hutchinson's signs, a stream for each row.
        mask: ``[batch]`` and further first axes of x, True = there; hidden entries count for nothing.

    Raises:
        ValueError: x is not centred although it should be, no generator for random signs, or a mask of another shape.
        RuntimeError: a row cannot be followed.
    """
    hidden = None if mask is None else shaped(mask, x)
    inside = Subspace(x, how.centred, hidden)
    x = _placed(x if hidden is None else torch.where(hidden.expand_as(x) > 0, x, torch.zeros_like(x)), inside)
    probes = _signs(x, inside, how, generator)
    shape = x.shape

    def augmented(y: Tensor, t: Tensor) -> Tensor:
        velocity, spread_out = divergence(field, y[:, :-1].reshape(shape), t, inside, how, probes)
        return torch.cat([velocity.reshape(len(y), -1), spread_out[:, None].to(y)], 1)

    def norm(error: Tensor, y: Tensor, new: Tensor) -> Tensor:
        place = rms(error[:, :-1], inside.dims.clamp(min=1)) / _allowed(control, y[:, :-1], new[:, :-1], inside.dims.clamp(min=1))
        return torch.maximum(place, error[:, -1].double().abs() / (control.atol + control.rtol * new[:, -1].double().abs()))

    y = torch.cat([x.reshape(len(x), -1), x.new_zeros(len(x), 1)], 1)
    flow = dopri5(augmented, y, stop, start, control, norm=norm)
    latent = flow.x[:, :-1].reshape(shape)
    # Going back, the last number is minus the integral of div v from start to stop.
    return LogLikelihood(prior(latent, inside).double() + flow.x[:, -1].double(), latent, inside.dims, flow.nfe)


def _allowed(control: Control, x: Tensor, new: Tensor, count: Tensor) -> Tensor:
    return control.atol + control.rtol * torch.maximum(rms(x, count), rms(new, count))


def _placed(x: Tensor, inside: Subspace) -> Tensor:
    """x in its subspace; refused where it is far from it, because the density would be that of another point."""
    near = inside(x)
    off = float((x - near).abs().max()) if x.numel() else 0.0
    if not off <= 1e-4 * (1 + float(near.abs().max())):
        raise ValueError(f"x is {off:.3g} off zero mean over axes {inside.axes}, or not finite; subtract the mean first, or leave centred out")
    return near


def _signs(x: Tensor, inside: Subspace, how: Divergence, generator: torch.Generator | RowNoise | None) -> Tensor | None:
    if how.trace == "exact":
        return None
    noise = generator if isinstance(generator, RowNoise) else RowNoise(generator)
    signs = [torch.where(noise.normal(x) >= 0, torch.ones_like(x), -torch.ones_like(x)) for _ in range(how.probes)]
    return torch.stack([inside(s) for s in signs])


def standard_normal(latent: Tensor, inside: Subspace, scale: float = 1.0) -> Float[Tensor, " batch"]:
    """log N(latent; 0, scale^2) in the subspace."""
    square = latent.reshape(len(latent), -1).double().square().sum(1)
    return -0.5 * (square / scale**2 + inside.dims * math.log(2 * math.pi * scale**2))


@dataclass(frozen=True)
class LikelihoodConfig:
    """Settings of `log_likelihood`.

    Attributes:
        start, stop: log-SNR between which the ODE is solved; the path's range, at most -7 to 7, if None.
        data_scale: standard deviation of the data, for the law at the start: N(0, alpha^2 data_scale^2 + sigma^2). At alpha/sigma = e^start
            this errs by about (mean, and departures of the covariance, of the data) e^start; start earlier where that matters.
        divergence: trace and subspace.
        control: tolerances.
    """

    start: float | None = None
    stop: float | None = None
    data_scale: float = 1.0
    divergence: Divergence = field(default_factory=Divergence)
    control: Control = field(default_factory=lambda: Control(1e-6, 1e-6))


def log_likelihood(denoiser: Denoises, x: Float[Tensor, "batch *event"], config: LikelihoodConfig = LikelihoodConfig(), *,
                   generator: torch.Generator | RowNoise | None = None, mask: Bool[Tensor, "batch *part"] | None = None,
                   **condition: Any) -> LogLikelihood:
    """Log-density of data under a denoiser: of x as a draw of x0 + rho eps with rho = e^-stop (1e-3 by default), whatever the path.

    Solved in the angle of `trajlab.samplers.flow_ode`, on z = x_t / sqrt(alpha^2 + sigma^2), whose slope x0/cos(th) - tan(th) z has the divergence
    div x0 / cos(th) - dims tan(th); the change of volume from z to x/alpha is -dims log sin(th).

    Args:
        denoiser: whose net is differentiable in x by autograd.
        x: data, ``[batch ...]``; in zero-mean subspaces already centred.
        config: range, prior, trace, tolerances.
        generator: for Hutchinson's signs.
        mask: ``[batch]`` and further first axes of x, True = there; also handed to the denoiser.
        condition: handed to the denoiser.

    Raises:
        ValueError: an empty range of log-SNR, and what `flow_log_density` refuses.
    """
    path = denoiser.path
    first, last = level_range(path)
    first, last = first if config.start is None else config.start, last if config.stop is None else config.stop
    if not (first < last and math.isfinite(first) and math.isfinite(last)):
        raise ValueError(f"the ODE would run from lam = {first:g} to {last:g}; finite log-SNRs, start below stop, were wanted")
    start, stop = path.level(first), path.level(last)
    if mask is not None:
        condition["mask"] = mask

    def slope(z: Tensor, place: Tensor) -> Tensor:
        rho = torch.tan(-place)
        lam = -torch.log(rho)
        scale = spread(torch.hypot(*path.scales(lam)), z)
        x0 = denoiser(z * scale, path.level(lam, like=z), **condition).x0
        return x0 / spread(torch.sin(-place), z) - z / spread(rho, z)

    along, width = math.cos(-angle(stop)), math.hypot(config.data_scale * start.alpha, start.sigma) / math.hypot(start.alpha, start.sigma)
    found = flow_log_density(slope, x * along, angle(start), angle(stop), lambda z, inside: standard_normal(z, inside, width),
                             how=config.divergence, control=config.control, generator=generator, mask=mask)
    return LogLikelihood(found.log_density + found.dims * math.log(along), found.latent, found.dims, found.nfe)
