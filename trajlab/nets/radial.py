"""Bases of distances and speeds, and the small perceptrons that turn them into weights of tensor products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

# c with E[(c f(z))^2] = 1 for normal z, as e3nn samples it (the exact values are 1.67653 and 1.59254): with its values, weights that were
# trained there give the same outputs here.
SILU_SECOND_MOMENT = 1.6791767923989418
TANH_SECOND_MOMENT = 1.5937334472592695


def polynomial_cutoff(u: Tensor, p: int = 6) -> Tensor:
    r"""The envelope 1 - (p+1)(p+2)/2 u^p + p(p+2) u^(p+1) - p(p+1)/2 u^(p+2) for u < 1, else 0 (Gasteiger et al. 2020).

    Value and first two derivatives vanish at u = 1, so that a neighbour enters and leaves smoothly.
    """
    up = u**p
    return torch.where(u < 1, 1 - up * ((p + 1) * (p + 2) / 2 - p * (p + 2) * u + p * (p + 1) / 2 * u * u), torch.zeros_like(u))


class BesselBasis(nn.Module):
    r"""(2/r_c) sin(w_n r/r_c) / (r + 1e-5) times the polynomial cutoff, with trainable w_n that start at n pi.

    Input ``[...]`` in Angstrom, output ``[... basis]``.
    """

    def __init__(self, cutoff: float, size: int = 8, p: int = 6) -> None:
        super().__init__()
        self.cutoff, self.p = cutoff, p
        self.roots = nn.Parameter(torch.arange(1, size + 1, dtype=torch.float32) * math.pi)

    def forward(self, r: Float[Tensor, "..."]) -> Float[Tensor, "... basis"]:
        envelope = (2 / self.cutoff) * polynomial_cutoff(r / self.cutoff, self.p) / (r + 1e-5)
        return torch.sin(r[..., None] * (self.roots / self.cutoff)) * envelope[..., None]


def gaussian_speed_basis(speed: Float[Tensor, "node"], top: float, size: int = 8) -> Float[Tensor, "node basis"]:
    r"""sqrt(size) exp(-((|v| - c_k)/h)^2) / 1.12 with c_k = k h, h = top/(size+1): the published basis, blind far above ``top``."""
    h = top / (size + 1)
    centres = h * torch.arange(1, size + 1, device=speed.device, dtype=speed.dtype)
    return torch.exp(-(((speed[:, None] - centres) / h) ** 2)) * (math.sqrt(size) / 1.12)


class Scaled(nn.Module):
    """A parameter that is used multiplied by a fixed scale, as e3nn normalises its weights: unit variance stored, 1/sqrt(fan-in) applied.

    Frozen, the product is made once and kept.
    """

    def __init__(self, value: Tensor, scale: float) -> None:
        super().__init__()
        self.value, self.scale = nn.Parameter(value), scale
        self._kept: tuple[Any, Tensor] | None = None

    def forward(self) -> Tensor:
        if self.value.requires_grad:
            return self.value * self.scale
        state = (self.value.data_ptr(), self.value._version, self.value.dtype, self.value.device)
        if self._kept is None or self._kept[0] != state:
            self._kept = state, self.value * self.scale
        return self._kept[1]


class WeightNet(nn.Module):
    """A perceptron without biases whose weights are divided by the root of their fan-in and whose SiLU has unit second moment.

    Zero input gives zero output, so that an empty neighbour slot weighs nothing. The last layer is split by ``outputs``: input
    ``[... basis]``, result a list of contiguous ``[... outputs[k]]``.
    """

    def __init__(self, sizes: Sequence[int], outputs: Sequence[int]) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        # the constant of the activation before is folded into the weight: a small product instead of a pass over all edges
        scales = [(SILU_SECOND_MOMENT if k else 1.0) / math.sqrt(size) for k, size in enumerate(sizes)]
        self.layers = nn.ModuleList([Scaled(torch.randn(a, b), scale) for (a, b), scale in zip(pairwise(sizes), scales[:-1], strict=True)])
        self.last = Scaled(torch.randn(sizes[-1], sum(outputs)), scales[-1])

    def forward(self, x: Float[Tensor, "... basis"]) -> list[Float[Tensor, "... out"]]:
        flat = x.reshape(-1, x.shape[-1])
        for layer in self.layers:
            flat = torch.nn.functional.silu(flat @ layer())
        return [(flat @ part).view(*x.shape[:-1], -1) for part in self.last().split(self.outputs, dim=1)]
