"""Integrate a velocity field in generative time, forwards (0 to 1) or backwards, on given times: explicit Runge-Kutta.

Nothing here knows of paths: ``field(x, t)`` is any velocity, t being ``[batch]``, float64. `flow_field` makes one of a denoiser;
`trajlab.samplers.dopri5` chooses its steps itself; `trajlab.samplers.flow_ode` has the solvers for Gaussian paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.bridge import spread
from trajlab.paths.denoiser import Denoises

Field = Callable[[Tensor, Tensor], Tensor]


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method: ``a[i]`` the weights of the slopes so far in inner point i + 1, ``b`` those of the step, ``c`` the places."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int


TABLEAUS = {
    "euler": Tableau((), (1.0,), (0.0,), 1),
    "midpoint": Tableau(((0.5,),), (0.0, 1.0), (0.0, 0.5), 2),
    "heun": Tableau(((1.0,),), (0.5, 0.5), (0.0, 1.0), 2),
    "rk4": Tableau(((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), (0.0, 0.5, 0.5, 1.0), 4),
}

@dataclass(frozen=True)
class Flow:
    """Where a field took a batch.

    Attributes:
        x: ``[batch ...]``, the end.
        nfe: calls of the field.
        steps: ``[batch]``, steps that each row tried (accepted or not).
        trace: states at the times that were asked for, the first included, where asked for.
    """

    x: Tensor
    nfe: int
    steps: Tensor
    trace: list[Tensor] = field(default_factory=list)


def integrate(field: Field, x: Float[Tensor, "batch *event"], times: Sequence[float] | Tensor, method: str = "rk4", *,
              trace: bool = False) -> Flow:
    """dx/dt = field(x, t) from ``times[0]`` to ``times[-1]``, one Runge-Kutta step between neighbours.

    Args:
        field: ``field(x, t) -> velocity``; x ``[batch ...]``, t ``[batch]`` float64.
        x: the state at ``times[0]``.
        times: rising or falling.
        method: ``euler``, ``midpoint``, ``heun`` or ``rk4``.
        trace: keep the state at every time.

    Raises:
        ValueError: an unknown method, or times that neither rise nor fall throughout.
    """
    if method not in TABLEAUS:
        raise ValueError(unknown("method", method, TABLEAUS))
    rule, places, kept = TABLEAUS[method], monotone(times), [x]
    for start, stop in pairwise(places):
        slopes: list[Tensor] = []
        point, h = x, stop - start
        for weights, place in zip((*rule.a, rule.b), rule.c):
            slopes.append(field(point, torch.full((len(x),), start + place * h, dtype=torch.float64, device=x.device)))
            point = combined(x, slopes, weights, h)
        x = point
        if trace:
            kept.append(x)
    steps = len(places) - 1
    return Flow(x, steps * len(rule.b), torch.full((len(x),), steps, device=x.device), kept if trace else [])


def monotone(times: Sequence[float] | Tensor) -> list[float]:
    """The times as numbers, refused where they neither rise nor fall."""
    places = torch.as_tensor(times, dtype=torch.float64)
    steps = places.diff()
    if places.ndim != 1 or len(places) < 2 or not (bool((steps > 0).all()) or bool((steps < 0).all())):
        raise ValueError(f"at least two times that rise, or fall, throughout were wanted; shape {tuple(places.shape)} came: {places.tolist()[:8]}")
    return places.tolist()


def combined(x: Tensor, slopes: Sequence[Tensor], weights: Sequence[float], h: float | Tensor) -> Tensor:
    """x + h sum_j weights[j] slopes[j]; h a number or ``[batch]``."""
    total = sum_of(slopes, weights)
    return x + total * h if isinstance(h, float) else x + spread(h, x) * total


def sum_of(slopes: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """sum_j weights[j] slopes[j]."""
    total = slopes[0] * weights[0]
    for weight, slope in zip(weights[1:], slopes[1:]):
        if weight:
            total = total.add(slope, alpha=weight)
    return total


def flow_field(denoiser: Denoises, **condition: Any) -> Field:
    """The velocity of the probability-flow ODE as ``field(x, t)``, for the integrators in t.

    In t, unlike in the coordinate of `trajlab.samplers.flow_ode`, an end where alpha' or sigma' is infinite, or sigma = 0, cannot be reached.
    """

    def field(x: Tensor, t: Tensor) -> Tensor:
        return denoiser(x, denoiser.path.level(denoiser.path.lam_of(t), like=x), **condition).velocity

    return field
