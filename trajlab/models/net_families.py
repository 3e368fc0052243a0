"""Drifts that are nets: gradients of a potential, or free; fitted by Adam, whose state is kept from one reference step to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, skip_init, vector_to_parameters

from trajlab.dynamics.references import CallableReference, Reference
from trajlab.models.bridge_evidence import Evidence, Interval
from trajlab.models.family import Family

__all__ = ["FreeField", "GradientField"]


@dataclass
class Net(Family):
    """Settings that both families share.

    Attributes:
        width: of the hidden layers.
        layers: hidden ones, with SiLU between: a ReLU potential has a piecewise constant gradient.
        steps: of Adam in each reference step.
        batch: rows in each.
        rate: of learning.
        decay: of the weights.
        seed: of first weights and batches.

    Raises:
        ValueError: a setting that is not positive (decay may be 0).
    """

    width: int = 64
    layers: int = 2
    steps: int = 300
    batch: int = 512
    rate: float = 3e-3
    decay: float = 1e-4
    seed: int = 0
    _net: nn.Module | None = field(default=None, repr=False)
    _optimiser: torch.optim.Optimizer | None = field(default=None, repr=False)
    _scale: tuple[Tensor, Tensor] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        wrong = [n for n in ("width", "layers", "steps", "batch", "rate") if not getattr(self, n) > 0]
        if wrong or self.decay < 0:
            raise ValueError(f"{type(self).__name__}: {', '.join(f'{n}={getattr(self, n)}' for n in [*wrong, 'decay'])}; positive values were wanted "
                             "(decay may be 0)")

    def outputs(self, dim: int) -> int:
        """Values of the net at a state."""
        return dim

    def start(self, intervals: Sequence[Interval], D: Tensor) -> Tensor:
        cells = torch.cat([intervals[0].x, *(one.y for one in intervals)])
        deviation = cells.std(0, correction=0)
        self._scale = cells.mean(0), torch.where(deviation > 1e-12, deviation, 1.0)
        sizes = [len(D)] + [self.width] * self.layers
        self._generator = torch.Generator().manual_seed(self.seed)
        parts: list[nn.Module] = []
        for a, b in pairwise(sizes):
            parts += [self._linear(a, b), nn.SiLU()]
        last = self._linear(self.width, self.outputs(len(D)))
        nn.init.zeros_(last.weight)  # Brownian motion at first
        self._net = nn.Sequential(*parts, last)
        self._optimiser = torch.optim.AdamW(self._net.parameters(), self.rate, weight_decay=self.decay)
        return parameters_to_vector(self._net.parameters()).detach().clone()

    def _linear(self, a: int, b: int) -> nn.Linear:
        layer = skip_init(nn.Linear, a, b, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_((2 * torch.rand(b, a, generator=self._generator, dtype=torch.float64) - 1) * (3 / a) ** 0.5)
            layer.bias.zero_()
        return layer

    def reference(self, theta: Tensor, D: Tensor) -> Reference:
        net = nn.Sequential(*[skip_init(nn.Linear, part.in_features, part.out_features, dtype=torch.float64) if isinstance(part, nn.Linear) else part
                              for part in self._net])
        vector_to_parameters(theta.clone(), net.parameters())
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        return CallableReference(lambda x: self.field(net, x), D)

    def field(self, net: nn.Module, x: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
        """The drift."""
        mean, deviation = self._scale
        return net((x - mean) / deviation)

    def refit(self, evidence: Evidence, theta: Tensor | None) -> Tensor:
        x, u, weight = evidence.regression
        if theta is not None:
            vector_to_parameters(theta.clone(), self._net.parameters())  # which are views of it
        inverse = torch.linalg.inv(evidence.reference.D)
        scale = (weight[:, None] * (u @ inverse) * u).sum() / weight.sum()
        for _ in range(self.steps):
            rows = torch.multinomial(weight, min(self.batch, len(x)), replacement=True, generator=self._generator)
            off = u[rows] - self.field(self._net, x[rows])
            loss = ((off @ inverse) * off).sum(1).mean() / scale
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
        return parameters_to_vector(self._net.parameters()).detach().clone()


class FreeField(Net):
    """f = a net with as many outputs as dimensions."""


class GradientField(Net):
    """f = -grad V, V a net with one output: it cannot represent cycles."""

    def outputs(self, dim: int) -> int:  # noqa: ARG002
        return 1

    def field(self, net: nn.Module, x: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
        mean, deviation = self._scale
        outer = torch.is_grad_enabled()
        with torch.enable_grad():
            here = x if x.requires_grad else x.detach().requires_grad_()
            slope = torch.autograd.grad(net((here - mean) / deviation).sum(), here, create_graph=outer)[0]
        return -slope if outer else -slope.detach()
