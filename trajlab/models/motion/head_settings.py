"""What a kinematic head is. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from trajlab.catalog import unknown

__all__ = ["HEADS", "TURNINGS", "HeadSettings"]

#: names of `trajlab.dynamics.kinematics`, which needs torch, and the head without kinematics
HEADS = ("position", "velocity", "acceleration", "speed_heading", "bicycle", "unicycle")
PROPAGATIONS = ("joint", "marginal")
MOMENTS = ("exact", "linear")
#: what the second output of bicycle and unicycle means
TURNINGS = ("lateral", "curvature", "yaw_rate", "steering")


@dataclass(frozen=True)
class HeadSettings:
    """Settings of a `trajlab.models.motion.head.KinematicHead`.

    Attributes:
        formulation: ``position`` (no kinematics: residual on constant velocity), or a name of `trajlab.dynamics.kinematics.FORMULATIONS`.
        propagation, moments: see `trajlab.dynamics.kinematics.propagate`.
        modes: Gaussian paths of a mixture.
        turning: of bicycle and unicycle, what the net predicts: ``lateral`` acceleration (divided by speed squared it is a curvature of the path,
            and outputs have the size of the task at any speed), ``curvature``, ``yaw_rate`` or ``steering``.
        floor: standard deviation of an observation, m, added to every position; trained from there where ``learn_floor``.
        slip: what no bicycle can follow, for bicycle and unicycle: noise of the position itself, predicted for each step, which starts at this
            share of the spread across; 0 for none. Without it an agent at rest is certain not to move sideways, and the likelihood of those that
            move off and turn swamps the gradient of all others.
        uncertain_start: predict a standard deviation of the velocity at time zero (of speed and heading where the head has these), too.
        persistence: correlation of the controls' noise of neighbouring steps.
        knots: controls are predicted at so many times, evenly spaced, and linear between; None predicts every step.
        hardest: m/s^2, bound of accelerations of the mean path (bicycle, unicycle, speed and heading), smooth.
        tightest: 1/m, bound of the curvature of the mean path, smooth.

    Raises:
        ValueError: an unknown name, or a number out of range.
    """

    formulation: str = "acceleration"
    propagation: str = "joint"
    moments: str = "exact"
    modes: int = 1
    turning: str = "lateral"
    floor: float = 0.05
    learn_floor: bool = True
    slip: float = 1.0
    uncertain_start: bool = False
    persistence: float = 0.0
    knots: int | None = None
    hardest: float = 8.0
    tightest: float = 0.3

    def __post_init__(self) -> None:
        for what, value, known in (("kinematic head", self.formulation, HEADS), ("propagation", self.propagation, PROPAGATIONS),
                                   ("moments", self.moments, MOMENTS), ("turning", self.turning, TURNINGS)):
            if value not in known:
                raise ValueError(unknown(what, value, known))
        if self.modes < 1 or (self.knots is not None and self.knots < 2):
            raise ValueError(f"modes={self.modes}, knots={self.knots}; at least 1 mode and 2 knots (or None) were wanted")
        if not self.floor > 0 or not self.hardest > 0 or not self.tightest > 0:
            raise ValueError(f"floor={self.floor}, hardest={self.hardest}, tightest={self.tightest}; positive numbers were wanted")
        if not self.slip >= 0:
            raise ValueError(f"slip={self.slip}; a share of at least 0 was wanted")
        if not -1 < self.persistence < 1:
            raise ValueError(f"persistence={self.persistence}; a correlation of neighbouring steps within (-1, 1) was wanted")
        if self.persistence and (self.propagation == "marginal" or self.formulation in ("position", "speed_heading")):
            raise ValueError(f"noise that persists is there for joint propagation of velocity, acceleration, bicycle and unicycle, not for "
                             f"{self.propagation} {self.formulation}")
