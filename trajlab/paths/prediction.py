"""What a net predicts on a Gaussian path, and every other reading of the same prediction."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.gaussian import Level

#: The readings: clean sample, noise, VP velocity alpha eps - sigma x0, score, and the flow's velocity dx/dt.
KINDS = ("x0", "eps", "v", "score", "velocity")


@runtime_checkable
class Reading(Protocol):
    """How a clean prediction comes from something that is no reading of its own: the raw output of a preconditioned net. Hashable."""

    def weights(self, level: Level) -> tuple[Any, Any, Any]:
        """Three weights, of which the last two are those of x and of the raw output in x0."""


class Prediction:
    """One prediction at a state, read as ``x0``, ``eps``, ``v``, ``score`` or ``velocity``; each is computed when first asked for.

    x and any one of them give the rest: x = alpha x0 + sigma eps, score = -eps / sigma, v = alpha eps - sigma x0,
    velocity = alpha' x0 + sigma' eps, primes d/dt.

    Args:
        x: ``[batch ...]``, the state.
        level: where on the path it is.
        kind: one of `KINDS`.
        value: ``[batch ...]``, the prediction.

    Attributes:
        raw: ``[batch ...]``, what it was made from: the value, or the output of a preconditioned net.
        reading: what ``raw`` is: a kind, or a `Reading`.

    Raises:
        ValueError: the kind is unknown.
    """

    __slots__ = ("_found", "level", "raw", "reading", "x")

    def __init__(self, x: Tensor, level: Level, kind: str, value: Tensor) -> None:
        if kind not in KINDS:
            raise ValueError(unknown("kind of prediction", kind, KINDS))
        self.x, self.level, self.raw, self.reading, self._found = x, level, value, kind, {kind: value}

    @classmethod
    def read(cls, x: Tensor, level: Level, reading: Reading, raw: Tensor) -> Self:
        """The prediction of a preconditioned net: x0 = (weight of x) x + (weight of raw) raw, computed when first asked for."""
        made = cls.__new__(cls)
        made.x, made.level, made.raw, made.reading, made._found = x, level, raw, reading, {}
        return made

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
        return self.reading if isinstance(self.reading, str) else "x0"

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
        on_value, on_x = conversion(self.level, self.reading, kind)
        if isinstance(on_x, float):
            return self.raw * on_value if on_x == 0 else (self.raw * on_value).add_(self.x, alpha=on_x)
        return on_value * self.raw + on_x * self.x


def conversion(level: Level, had: str | Reading, wanted: str) -> tuple[Any, Any]:
    """Weights (of the raw value, of x) that make the reading ``wanted`` of what is read as ``had``.

    value = p x0 + q eps and x = alpha x0 + sigma eps give the wanted r x0 + s eps.

    Raises:
        ValueError: it is not determined at this level.
    """
    if not isinstance(had, str):
        _, skip, out = had.weights(level)
        on_x0, on_x = conversion(level, "x0", wanted)
        return on_x0 * out, on_x0 * skip + on_x
    if had == wanted:
        return 1.0, 0.0
    p, q = READ[had](level)
    r, s = READ[wanted](level)
    alpha, sigma = level.alpha, level.sigma
    det = p * sigma - q * alpha
    if isinstance(det, float) and det == 0:
        raise ValueError(f"{wanted} cannot be had from {had} at alpha = {alpha:g}, sigma = {sigma:g}; predict x0 there, or end the grid before it")
    return (r * sigma - s * alpha) / det, (p * s - q * r) / det


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
