"""The point with the least mean distance from a set of draws: the forecast that a distance score asks for."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

__all__ = ["geometric_median"]

ITERATIONS = 60
TOLERANCE = 1e-6  #: of the spread of the draws; the iteration stops where no point moves further


def geometric_median(draws: Float[Tensor, "draw *item dim"]) -> Float[Tensor, "*item dim"]:
    """argmin_y of the mean over draws of |draw - y|, for every item on its own, in float64.

    A forecast that is scored by a distance has the least expected score at this point of its predictive distribution, as the mean has for squared
    distances (Gneiting 2011, Making and Evaluating Point Forecasts). It turns, reflects and shifts with the draws, which a median by coordinate
    does not. Weiszfeld's iteration, with the step of Vardi & Zhang (2000) where it lands on a draw.
    """
    draws = draws.double()
    middle = draws.mean(0)
    spread = (draws - middle).norm(dim=-1).mean(0)
    if len(draws) < 3 or not bool(spread.gt(0).any()):
        return middle  # of one or two draws every point between them is a median
    floor = (1e-12 * spread).clamp(min=1e-300)[..., None]
    for _ in range(ITERATIONS):
        apart = draws - middle
        far = apart.norm(dim=-1, keepdim=True)
        there = far <= floor
        weight = (1 / far.clamp(min=1e-300)).masked_fill(there, 0.0)
        pull = (weight * apart).sum(0)
        step = pull / weight.sum(0).clamp(min=1e-300)
        held = there.sum(0) / pull.norm(dim=-1, keepdim=True).clamp(min=1e-300)  # a draw holds the point with a force of one
        step = step * (1 - held).clamp(min=0.0)
        middle = middle + step
        if not bool((step.norm(dim=-1) > TOLERANCE * spread).any()):
            break
    return middle
