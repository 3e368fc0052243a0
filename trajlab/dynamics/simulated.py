"""Euler-Maruyama paths of reference processes (constant diffusion, a whole population at once)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.bridges import root
from trajlab.dynamics.linear_noise import finite
from trajlab.dynamics.references import Reference

__all__ = ["simulated"]


def simulated(reference: Reference, x: Float[Tensor, "cell dim"], duration: float, steps: int,
              generator: torch.Generator) -> Float[Tensor, "cell step_plus_1 dim"]:
    """X_{k+1} = X_k + h f(X_k) + h^1/2 L xi,  from every row of ``x``.

    Raises:
        ValueError: a duration or number of steps that is not positive.
        Diverged: a path that is not finite.
    """
    if not duration > 0 or steps < 1:
        raise ValueError(f"paths over {duration:g} in {steps} steps; a positive time and at least one step were wanted")
    h, noise = duration / steps, root(reference.D[None])[0].to(x)
    path = [x]
    for _ in range(steps):
        xi = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device).to(x.device)
        path.append(path[-1] + h * reference.drift(path[-1]) + h**0.5 * xi @ noise.mT)
    found = torch.stack(path, 1)
    finite(found, found, x, duration)
    return found
