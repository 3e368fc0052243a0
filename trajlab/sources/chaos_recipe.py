"""How an ensemble of a chaotic system is made: how many trajectories, how densely they are sampled, and what is done to them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from trajlab.catalog import unknown

__all__ = ["CLOCKS", "Recipe"]

CLOCKS = ("period", "lyapunov")


@dataclass(frozen=True)
class Recipe:
    """How an ensemble of a chaotic system is made.

    Attributes:
        n: trajectories; the first ones do not depend on how many there are.
        points: of each trajectory.
        per_period: points a unit of the clock; their distance is exactly the unit over this number.
        clock: the unit: period (the dominant period of the system) or lyapunov (1 / largest exponent of trajlab's own table).
        transient: periods that are thrown away before the first point: each trajectory discards a random length between this and twice this. 0
            begins at the perturbed tabulated start.
        noise: standard deviation of the observation noise, as a fraction of that of each trajectory and coordinate.
        seed: of starts, lengths of transients and noise.
        rtol: relative tolerance of the local error.
        atol: absolute tolerance of the local error.
        failed: what becomes of a trajectory that cannot be continued: raise (an error that names it) or mask (unobserved from there).
        raw: leave angles and phases as they were integrated instead of mapping them to bounded coordinates.
        stochastic: strength of additive noise in the equation itself, dx = f dt + g dW, as a fraction of each coordinate's tabulated standard
            deviation a square root of period; phases and angles have none, and the transient neither. 0 for the deterministic system.
        embedding: coordinates of a delay system: its state at so many even distances from now to one delay ago.

    Raises:
        ValueError: a number is out of range, or the name of a clock or treatment is unknown.
    """

    n: int = 1
    points: int = 1200
    per_period: float = 100.0
    clock: str = "period"
    transient: float = 10.0
    noise: float = 0.0
    seed: int = 0
    rtol: float = 1e-9
    atol: float = 1e-9
    failed: str = "raise"
    raw: bool = False
    stochastic: float = 0.0
    embedding: int = 1

    def __post_init__(self) -> None:
        for name, least in (("n", 1), ("points", 1), ("transient", 0), ("noise", 0), ("seed", 0), ("stochastic", 0), ("embedding", 1)):
            if not least <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)!r}; at least {least} was wanted")
        for name in ("per_period", "rtol", "atol"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)!r}; a positive number was wanted")
        if self.clock not in CLOCKS:
            raise ValueError(unknown("clock", self.clock, CLOCKS))
        if self.failed not in ("raise", "mask"):
            raise ValueError(f"failed={self.failed!r}; 'raise' or 'mask' was wanted")

    @classmethod
    def of(cls, **settings: Any) -> Recipe:
        """From settings by name.

        Raises:
            ValueError: a setting is unknown (with the nearest) or out of range.
        """
        known = [f.name for f in fields(cls)]
        for name in settings:
            if name not in known:
                raise ValueError(unknown("setting of an ensemble", name, known))
        return cls(**settings)
