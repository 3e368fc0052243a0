"""What a net predicts on a Gaussian path, and every other reading of the same prediction."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.gaussian import Level

#: The readings: clean sample, noise, VP velocity alpha eps - sigma x0, score, and the flow's velocity dx/dt.
KINDS = ("x0", "eps", "v", "score", "velocity")


class Prediction:
    """One prediction at a state, read as ``x0``, ``eps``, ``v``, ``score`` or ``velocity``; each is computed when first asked for.

    x and any one of them give the rest: x = alpha x0 + sigma eps, score = -eps / sigma, v = alpha eps - sigma x0,
    velocity = alpha' x0 + sigma' eps, primes d/dt.

    Args:
        x: ``[batch ...]``, the state.
        level: where on the path it is.
        kind: one of `KINDS`.
        value: ``[batch ...]``, the prediction.

    Raises:
        ValueError: the kind is unknown.
    """

    __slots__ = ("_found", "level", "x")

    def __init__(self, x: Tensor, level: Level, kind: str, value: Tensor) -> None:
        if kind not in KINDS:
            raise ValueError(unknown("kind of prediction", kind, KINDS))
        self.x, self.level, self._found = x, level, {kind: value}

    @property
    def x0(self) -> Float[Tensor, "batch *event"]:
        return self.view("x0")

    @property
    def eps(self) -> Float[Tensor, "batch *event"]:
        return self.view("eps")

    @property
    def v(self) -> Float[Tensor, "batch *event"]:
        return self.view("v")

    @property
    def score(self) -> Float[Tensor, "batch *event"]:
        return self.view("score")

    @property
    def velocity(self) -> Float[Tensor, "batch *event"]:
        return self.view("velocity")

    @property
    def kind(self) -> str:
        """The reading that it was made with, which loses no digits."""
        return next(iter(self._found))

    def view(self, kind: str) -> Float[Tensor, "batch *event"]:
        """The prediction read as ``kind``.

        Raises:
            ValueError: the kind is unknown, or is not determined at this level (eps where sigma = 0, for instance).
        """
        found = self._found.get(kind)
        if found is None:
            if kind not in KINDS:
                raise ValueError(unknown("kind of prediction", kind, KINDS))
            found = self._found[kind] = self._read(kind)
        return found

    def replaced(self, kind: str, value: Tensor) -> Prediction:
        """Another prediction at the same state."""
        return Prediction(self.x, self.level, kind, value)

    def _read(self, kind: str) -> Tensor:
        had, value = next(iter(self._found.items()))
        p, q = READ[had](self.level)
        r, s = READ[kind](self.level)
        # value = p x0 + q eps and x = alpha x0 + sigma eps give the wanted r x0 + s eps = (weight of value) value + (weight of x) x.
        alpha, sigma = self.level.alpha, self.level.sigma
        det = p * sigma - q * alpha
        if isinstance(det, float) and det == 0:
            raise ValueError(f"{kind} cannot be had from {had} at alpha = {alpha:g}, sigma = {sigma:g}; predict x0 there, or end the grid before it")
        on_value, on_x = (r * sigma - s * alpha) / det, (p * s - q * r) / det
        if isinstance(on_x, float):
            return value * on_value if on_x == 0 else (value * on_value).add_(self.x, alpha=on_x)
        return on_value * value + on_x * self.x


#: Each reading as a combination (weight of x0, weight of eps) at a level.
READ: dict[str, Any] = {
    "x0": lambda _: (1.0, 0.0),
    "eps": lambda _: (0.0, 1.0),
    "v": lambda k: (-k.sigma, k.alpha),
    "score": lambda k: (0.0, -_inverse(k.sigma)),
    "velocity": lambda k: (k.dalpha, k.dsigma),
}


def _inverse(sigma: Any) -> Any:
    if isinstance(sigma, float) and sigma == 0:
        raise ValueError("the score is not determined at sigma = 0; end the grid before it, or read x0")
    return 1 / sigma
