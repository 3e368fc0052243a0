"""How straight a flow is, and how much kinetic energy it spends (Liu et al. 2023).

    energy = int E|v(x_t, t)|^2 dt = transport + straightness,   transport = E|x_1 - x_0|^2,   straightness = int E|x_1 - x_0 - v(x_t, t)|^2 dt

along the generated paths. The straightness is 0 if and only if one Euler step is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Straightness:
    """Means over the batch, summed over an event: of the deviation from straight paths, of the energy, and of the squared displacement.

    Attributes:
        straightness: 0 for straight paths.
        energy: of the paths; never less than the transport.
        transport: mean |x_1 - x_0|^2; never less than the squared Wasserstein-2 distance of the ends.
        end: ``[batch ...]``, where the paths ended.
    """

    straightness: float
    energy: float
    transport: float
    end: Tensor


def straightness(velocity: Velocity, start: Float[Tensor, "batch *event"], steps: int = 100) -> Straightness:
    """Integrate dx/dt = velocity(x, t) from t = 0 to 1 by the midpoint rule, and see how straight that was.

    Velocities are asked for inside (0, 1) only, but for t = 0; the error falls as steps^-2.

    Args:
        velocity: called with ``[batch ...]`` and t ``[batch]``, float64 (of a denoiser: `trajlab.samplers.ode.flow_field`).
        start: ``[batch ...]``, states at t = 0.
        steps: intervals; two calls each.

    Raises:
        ValueError: ``steps`` < 1.
    """
    if steps < 1:
        raise ValueError(f"steps={steps}; at least one was wanted")
    h, x, energy = 1 / steps, start, 0.0
    with torch.no_grad():
        for k in range(steps):
            now = torch.full((len(x),), k * h, dtype=torch.float64, device=x.device)
            middle = velocity(x + h / 2 * velocity(x, now), now + h / 2)
            energy += h * _square(middle)
            x = x + h * middle
    # The displacement is the mean of these velocities, so the deviation from it is their variance: exact, not only as h -> 0.
    transport = _square(x - start)
    return Straightness(max(energy - transport, 0.0), energy, transport, x)


def _square(x: Tensor) -> float:
    return float((x.double() ** 2).flatten(1).sum(1).mean())
