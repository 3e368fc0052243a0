"""FlowChef (Patel et al. 2024): steering by the gradient of a loss on the predicted clean sample, with nothing sent back through the net.

    x <- x - s (alpha + sigma) dL/dD,        D the clean prediction of the step

The paper takes the rectified path, where alpha + sigma = 1. A state on another path is alpha + sigma times the rectified state of the same
signal-to-noise ratio, so the factor makes a first-order run the same on every path.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from trajlab.guidance.masks import check_window, fits, inside
from trajlab.paths.gaussian import Level
from trajlab.paths.prediction import Prediction
from trajlab.samplers.hooks import Hook
from trajlab.samplers.sample import shaped


@dataclass(frozen=True, eq=False)
class FlowChef(Hook):
    """Steers towards a small loss. Make it by `observing` or `linear` for observations, or with any differentiable loss.

    Equivariant where the loss is invariant (with the observed values turned along).

    Attributes:
        loss: clean samples ``[batch ...]`` to one number a row ``[batch]``: a *sum* over entries (a mean would weaken with the size).
        step: s. For L = ||A D - y||^2, 2 s ||A^T A|| <= 1, else steps overshoot; `linear` warns.
        window: log-SNR of the new node between which steering acts; end it before the last node to leave the last step free on a grid
            that stops there.
        last: whether the step to sigma = 0 is steered too. On leaves half of the residual of off; off gives a last word to the net.

    Raises:
        ValueError: the step is not positive, or the window no interval.
    """

    loss: Callable[[Tensor], Tensor]
    step: float = 0.25
    window: tuple[float, float] = (-math.inf, math.inf)
    last: bool = True

    def __post_init__(self) -> None:
        check_window(self.window)
        if not self.step > 0:
            raise ValueError(f"step = {self.step:g}; a positive step was wanted, for a sum of squares up to 1/2")

    @classmethod
    def observing(cls, value: Tensor, mask: Tensor, step: float = 0.25, window: tuple[float, float] = (-math.inf, math.inf),
                  last: bool = True) -> Self:
        """L = sum over the observed entries of (D - value)^2: filled frames, end points, sparse sensors.

        Args:
            value: ``[batch ...]``; what is not observed may be anything, NaN too.
            mask: ``[batch]`` and further axes of a state, True where observed.
            step, window, last: as above.

        Warns:
            UserWarning: 2 s > 1.
        """
        _warn_if_large(step, 1.0)
        return cls(Misfit(value, mask=mask), step, window, last)

    @classmethod
    def linear(cls, operator: Callable[[Tensor], Tensor], value: Tensor, event: tuple[int, ...], step: float = 0.25,
               window: tuple[float, float] = (-math.inf, math.inf), last: bool = True) -> Self:
        """L = ||A D - value||^2 with a linear operator on ``[batch *event]``, whose norm is found by power iteration.

        Raises:
            ValueError: the operator is not linear.

        Warns:
            UserWarning: 2 s ||A^T A|| > 1.
        """
        _warn_if_large(step, squared_norm(operator, event, value))
        return cls(Misfit(value, operator), step, window, last)

    def after_step(self, x: Tensor, prediction: Prediction, level: Level) -> Tensor:
        act = inside(self.window, level.lam)
        if not isinstance(act, Tensor) and (not act or (level.sigma == 0 and not self.last)):
            return x
        scale = self.step * (level.alpha + level.sigma)
        if isinstance(act, Tensor):
            scale = scale * (act & ((level.sigma > 0) | self.last))
        return x - scale * self.gradient(prediction.x0)

    def gradient(self, x0: Tensor) -> Tensor:
        """dL/dD ``[batch ...]``.

        Raises:
            ValueError: the loss is not one number a row, or does not depend on D differentiably.
        """
        with torch.enable_grad():
            x0 = x0.detach().requires_grad_(True)
            loss = self.loss(x0)
            if loss.shape != x0.shape[:1]:
                raise ValueError(f"the loss has shape {tuple(loss.shape)}; one number a row, shape ({len(x0)},), was wanted (sum the rest)")
            if not loss.requires_grad:
                raise ValueError("the loss does not depend on the clean sample through differentiable operations")
            return torch.autograd.grad(loss.sum(), x0)[0]


@dataclass(frozen=True, eq=False)
class Misfit:
    """||A D - value||^2 a row, over the entries of the mask.

    Attributes:
        value: what was observed.
        operator: A; the identity where None.
        mask: on A D, True where observed; everything where None.
    """

    value: Tensor
    operator: Callable[[Tensor], Tensor] | None = None
    mask: Tensor | None = None

    def __call__(self, x0: Tensor) -> Tensor:
        seen = x0 if self.operator is None else self.operator(x0)
        fits("the observed value", self.value, seen)
        off = seen - self.value.to(seen)
        if self.mask is not None:
            # `where` on the value, not on the difference: the derivative of a hidden NaN would be NaN.
            off = seen - torch.where(shaped(self.mask, seen) != 0, self.value.to(seen), seen.detach())
        return (off**2).flatten(1).sum(1)


def squared_norm(operator: Callable[[Tensor], Tensor], event: tuple[int, ...], like: Tensor, iterations: int = 30) -> float:
    """||A^T A||, the largest squared singular value of an operator on ``[batch *event]``; a lower bound that is tight after few iterations.

    Raises:
        ValueError: A(0) is not 0, or A(x + y) not A(x) + A(y).
    """
    seeded = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1, *event, generator=seeded, dtype=torch.float64).to(device=like.device) for _ in range(2))
    a, b = a.to(like.dtype), b.to(like.dtype)
    whole, parts = operator(a + 2 * b), operator(a) + 2 * operator(b)
    if not torch.allclose(whole, parts, rtol=1e-4, atol=1e-5 * float(parts.abs().max() + 1e-30)):
        raise ValueError("the operator is not linear: A(x + 2 y) differs from A(x) + 2 A(y); pass the loss itself to FlowChef(loss=...)")
    norm = 0.0
    for _ in range(iterations):
        a = a / a.norm()
        seen, back = torch.func.vjp(operator, a)
        (a,) = back(seen.detach())
        norm = float(a.norm())
        if norm == 0:
            break
    return norm


def _warn_if_large(step: float, norm: float) -> None:
    if 2 * step * norm > 1 + 1e-6:
        warnings.warn(f"2 s ||A^T A|| = {2 * step * norm:.3g} > 1: steering overshoots; use step <= {0.5 / norm:.3g}", UserWarning, stacklevel=3)
