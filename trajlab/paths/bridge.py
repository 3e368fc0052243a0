"""The linear-Gaussian bridge: where a point is at generative time t, and how it moves there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Coefficients(NamedTuple):
    """Values and derivatives with respect to t, float64, each of the shape of t.

    ``cdc`` is the product c c', which stays finite where c' does not (c = sqrt(t (1-t)) has c c' = (1 - 2t)/2).
    """

    a: Tensor
    b: Tensor
    c: Tensor
    da: Tensor
    db: Tensor
    dc: Tensor
    cdc: Tensor


@dataclass(frozen=True)
class Point:
    """Where a path is, and what it does there.

    Attributes:
        x: ``[batch ...]``, the point x_t.
        velocity: ``[batch ...]``, the conditional velocity dx_t/dt given both ends and the noise.
        t: ``[batch]``, float64.
        noise: z, ``[batch ...]``, or None where c = 0.
    """

    x: Tensor
    velocity: Tensor
    t: Tensor
    noise: Tensor | None = None


class Path(ABC):
    """x_t = a(t) x_src + b(t) x_dat + c(t) z with t from 0 (source) to 1 (data) and z ~ N(0, I).

    A subclass gives `coefficients`, analytically and in float64; nothing here is a finite difference.
    """

    #: Whether the source is N(0, I); then the score is known even where c = 0.
    gaussian_source: bool = False

    @abstractmethod
    def coefficients(self, t: Tensor) -> Coefficients:
        """The coefficients at ``t`` (any shape), float64."""

    def at(self, t: Tensor, source: Float[Tensor, "batch *event"], data: Float[Tensor, "batch *event"],
           noise: Float[Tensor, "batch *event"] | None = None) -> Point:
        """The point and its velocity, t drawn by the caller.

        Raises:
            ValueError: t is not one number a sample within [0, 1], the ends differ in shape, or c > 0 somewhere and no noise came.
        """
        check_times(t, len(data))
        if source.shape != data.shape:
            raise ValueError(f"source has shape {tuple(source.shape)} and data {tuple(data.shape)}; they must be the same")
        k = self.coefficients(t.double())
        if noise is None and bool((k.c > 0).any()):
            raise ValueError(f"{type(self).__name__} has a noise term; pass noise of shape {tuple(data.shape)}")
        a, b, c, da, db, dc = (spread(w, data) for w in k[:6])
        x, velocity = a * source + b * data, da * source + db * data
        if noise is not None:
            x = x + c * noise
            velocity = velocity + torch.where(c > 0, dc, torch.zeros_like(dc)) * noise
        return Point(x, velocity, t.double(), noise)


def spread(weight: Tensor, like: Tensor) -> Tensor:
    """A weight a sample ``[batch]`` (or one number), in the dtype of ``like`` and with axes to multiply it by."""
    weight = weight.to(like)
    return weight.reshape(-1, *[1] * (like.ndim - 1)) if weight.ndim else weight


def check_times(t: Tensor, batch: int) -> None:
    """Refuse generative times that are not one number a sample within [0, 1]."""
    if t.shape != (batch,):
        raise ValueError(f"t has shape {tuple(t.shape)}; one number a sample, shape ({batch},), was wanted")
    if not bool(((t >= 0) & (t <= 1)).all()):
        raise ValueError(f"t runs from {float(t.min()):g} to {float(t.max()):g}; generative time lies within [0, 1], 0 the source and 1 the data")
