"""Drift, velocity, score and eta of a linear-Gaussian bridge, each from what is known of the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.bridge import Coefficients, Path, check_times, spread

#: The readings: dx/dt in the mean, its part without the bridge's noise, grad log p_t, and E[z | x_t].
READINGS = ("drift", "velocity", "score", "eta")


@dataclass(frozen=True)
class Reading:
    """What is known at states on a path, and everything that follows from it. A Gaussian path's single prediction is a `Prediction` instead.

        eta = -c score,   drift = velocity - c c' score;  and where the source is N(0, I), with s = a^2 + c^2 and s' half its derivative:
        score = (b drift - b' x) / (b' s - b s')

    Args:
        path: the path.
        x: ``[batch ...]``, the states.
        t: ``[batch]``, where on the path they are.
        known: values ``[batch ...]`` by name, of `READINGS`.

    Raises:
        ValueError: an unknown name, nothing known, times outside [0, 1], or, from the readings, one that does not follow from what is known:
            the score where c = 0 and the source is not N(0, I), for instance.
    """

    path: Path
    x: Tensor
    t: Tensor
    known: dict[str, Tensor]

    def __post_init__(self) -> None:
        check_times(self.t, len(self.x))
        if not self.known:
            raise ValueError(f"nothing is known; give one or two of {', '.join(READINGS)}")
        for name in self.known:
            if name not in READINGS:
                raise ValueError(unknown("reading", name, READINGS))

    @cached_property
    def _k(self) -> Coefficients:
        k = self.path.coefficients(self.t.double())
        return Coefficients(*(spread(w, self.x) for w in k))

    @cached_property
    def _gaussian(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights b, b' and b' s - b s' of a source N(0, I)."""
        k = self.path.coefficients(self.t.double())
        span = k.db * (k.a**2 + k.c**2) - k.b * (torch.where(k.a == 0, k.a, k.a * k.da) + k.cdc)
        return spread(k.b, self.x), spread(k.db, self.x), spread(span, self.x)

    @cached_property
    def _quiet(self) -> bool:
        """Whether the bridge's noise plays no part at any of these times: drift and velocity are then the same."""
        return not bool(((self._k.c > 0) | (self._k.cdc != 0)).any())

    @cached_property
    def score(self) -> Float[Tensor, "batch *event"]:
        """grad log p_t."""
        if "score" in self.known:
            return self.known["score"]
        k, drift = self._k, self.known.get("drift")
        if "eta" in self.known and bool((k.c > 0).all()):
            return -self.known["eta"] / k.c
        if self.path.gaussian_source:
            b, db, span = self._gaussian
            flow, span = (drift, span) if drift is not None else (self.known["velocity"], span + b * k.cdc)
            if bool((span != 0).all()):
                return (b * flow - db * self.x) / span
        if drift is not None and "velocity" in self.known and bool((k.cdc != 0).all()):
            return (self.known["velocity"] - drift) / k.cdc
        raise ValueError(self._reason("score"))

    @cached_property
    def eta(self) -> Float[Tensor, "batch *event"]:
        """E[z | x_t]."""
        if "eta" in self.known:
            return self.known["eta"]
        if not bool((self._k.c > 0).any()):
            raise ValueError(f"{type(self.path).__name__} has no noise z at these times (c = 0), so there is no eta; ask for the score or the drift")
        return -self._k.c * self.score

    @cached_property
    def drift(self) -> Float[Tensor, "batch *event"]:
        """E[dx_t/dt | x_t]: the velocity of the deterministic flow."""
        if "drift" in self.known:
            return self.known["drift"]
        if "velocity" in self.known:
            return self.known["velocity"] + self._push
        if self.path.gaussian_source and ("score" in self.known or "eta" in self.known):
            b, db, span = self._gaussian
            if bool((b != 0).all()):
                return (db * self.x + span * self.score) / b
        raise ValueError(self._reason("drift"))

    @cached_property
    def velocity(self) -> Float[Tensor, "batch *event"]:
        """E[I' | x_t]: the drift without the part of the bridge's noise."""
        return self.known["velocity"] if "velocity" in self.known else self.drift - self._push

    @property
    def _push(self) -> Tensor | float:
        """c' E[z | x_t] = -c c' score: what the bridge's noise adds to the velocity. From eta where c' is finite, else from the score."""
        if self._quiet:
            return 0.0
        if "eta" in self.known and "score" not in self.known and bool(torch.isfinite(self._k.dc).all()):
            return self._k.dc * self.known["eta"]
        if "score" in self.known or "eta" in self.known or self.path.gaussian_source:
            return -self._k.cdc * self.score
        raise ValueError(self._reason("other of drift and velocity"))

    def _reason(self, wanted: str) -> str:
        known = " and ".join(self.known)
        if wanted == "score" and not bool((self._k.c > 0).all()) and not self.path.gaussian_source:
            return (f"the score cannot be had where c = 0 and the source is not N(0, I) (from {known}); "
                    "use a path with gamma > 0 and keep t inside (0, 1), or integrate the drift alone")
        return (f"the {wanted} does not follow from {known} on {type(self.path).__name__} at these times; "
                "know the drift or velocity, and the score or eta, at times inside (0, 1)")
