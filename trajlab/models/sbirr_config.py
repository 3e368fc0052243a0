"""Hyper-parameters of Schrodinger bridges with reference refinement, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

SCALES = ("none", "one", "each")
ACCELERATIONS = ("none", "likelihood", "squarem")


@dataclass(frozen=True)
class SchrodingerBridgeConfig:
    """One frozen record says which family of references, how much noise, and how far the refinement goes.

    Attributes:
        family: of reference drifts, a name of `trajlab.models.family.FAMILIES` or a `Family`.
        options: of the family, such as ``{"shape": "symmetric", "ridge": 0.3}``.
        sigma: volatility, length/sqrt(time) in the scaled coordinates; None to estimate it from means and covariances of the snapshots.
        iterations: of reference refinement, at most; 0 is the bridge of the first reference alone.
        steps: of the grid of each interval, on which paths and the linear-noise law live.
        paths: pairs drawn from each plan, anew at each time of the grid, for the reference step where it is not in closed form.
        tolerance: on the L1 error of the marginals of each plan.
        settle: the refinement stops where no parameter changes by more than this, relatively.
        acceleration: of the reference steps: ``none``; ``likelihood``: after two of them, likelihood steps (families of few parameters), by which the
            objective cannot rise; ``squarem``: extrapolation from every three, kept where the objective does not rise.
        smoothing: passes that linearise the reference about the bridge of each likely pair, for references that are not linear: 0 or 1.
        split: replicates of every cell that are simulated over the first half of each interval before the linear-noise law takes over, in the
            log-kernel of references that are not linear (several wells); 0 for none, 200 is a good number.
        patience: or where the objective has risen so many times running.
        hold_out: number of an inner snapshot that is left out first, to choose the number of iterations by the energy distance to it; None to stop
            by the objective alone.
        scale: of the coordinates: ``none``, ``one`` divisor for all dimensions (distances keep their meaning), or one for ``each``.
        growth: penalty on the source marginals of the last plans, for populations that grow: small lets cells multiply; None for balanced plans.
        seed: of the paths.

    Raises:
        ValueError: a number out of range, or an unknown scale.
    """

    family: Any = "ou"
    options: Mapping[str, Any] = field(default_factory=dict)
    sigma: float | None = None
    iterations: int = 10
    steps: int = 40
    paths: int = 100
    tolerance: float = 1e-6
    settle: float = 1e-3
    acceleration: Literal["none", "likelihood", "squarem"] = "none"
    smoothing: int = 0
    split: int = 0
    patience: int = 3
    hold_out: int | None = None
    scale: Literal["none", "one", "each"] = "one"
    growth: float | None = None
    seed: int = 0

    @classmethod
    def mechanistic(cls, family: str, sigma: float, iterations: int = 20, **changes: Any) -> Self:
        """A known law with unknown parameters, in its own coordinates."""
        return cls(family=family, sigma=sigma, iterations=iterations, scale="none", **changes)

    def __post_init__(self) -> None:
        whole = {"iterations": self.iterations + 1, "steps": self.steps - 1, "paths": self.paths, "patience": self.patience,
                 "smoothing": self.smoothing + 1, "split": self.split + 1}
        wrong = [name for name, value in whole.items() if value < 1]
        real = {"sigma": self.sigma, "tolerance": self.tolerance, "settle": self.settle, "growth": self.growth}
        wrong += [name for name, value in real.items() if value is not None and not value > 0]
        if wrong:
            raise ValueError(f"SchrodingerBridgeConfig: {', '.join(f'{n} = {getattr(self, n)}' for n in wrong)}; positive values were wanted "
                             "(iterations, smoothing and split may be 0, steps must be 2 or more)")
        if self.scale not in SCALES:
            raise ValueError(f"SchrodingerBridgeConfig: scale={self.scale!r}; one of {SCALES} was wanted")
        if self.acceleration not in ACCELERATIONS:
            raise ValueError(f"SchrodingerBridgeConfig: acceleration={self.acceleration!r}; one of {ACCELERATIONS} was wanted")
