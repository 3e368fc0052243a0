"""Settings of a `Motion` forecaster. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from trajlab.catalog import unknown

__all__ = ["BACKBONES", "INPUTS", "MotionConfig"]

BACKBONES = ("mlp", "social")
INPUTS = ("position", "displacement", "velocity", "heading", "mask", "size", "kind")
CHOICES: dict[str, tuple[str, ...]] = {
    "backbone": BACKBONES, "loss": ("wta", "likelihood"), "regression": ("nll", "distance"), "heading": ("auto", "recorded", "path", "world"),
    "velocity": ("auto", "recorded", "difference"), "draws": ("paths", "modes"),
}


@dataclass(frozen=True)
class MotionConfig:
    """What a `Motion` forecaster is.

    Attributes:
        given: frames of the past, where `Motion.fit` isn't told.
        predicted: frames of the future; 0 takes what windows have left. Longer scenes are cut.
        backbone: ``mlp`` (each agent by itself) or ``social`` (attention over time and agents).
        width, layers: of the backbone (blocks of encoder and decoder of ``social``).
        heads: of the attention.
        dropout: of the backbone.
        inputs: of `INPUTS`, what is told of each agent; empty for all that the windows have.
        head, propagation, moments, modes, turning, floor, learn_floor, slip, uncertain_start, persistence, knots, hardest, tightest: see
            `trajlab.models.motion.head_settings.HeadSettings`, whose ``formulation`` is ``head``.
        wheelbase: of a bicycle, in lengths of the agent; 2.8 m where no length was recorded.
        heading: of the agents' frames: ``recorded``, of the given ``path``, those of the ``world``, or ``auto``: recorded where there is one.
        velocity: at time zero: ``recorded``, ``difference`` of the last two positions, or ``auto``.
        loss: ``wta``, the mode nearest to the truth is trained, and the logits to name it; or ``likelihood`` of the whole mixture.
        regression: of that mode: ``nll`` of its Gaussians, or mean ``distance`` (no covariance is trained then).
        classify: weight of the cross-entropy of the logits.
        spread: weight (1/m) of the mean distance over all modes; it trains mean paths where a wide covariance leaves the likelihood no force.
        joint: modes are those of the scene: chosen, weighed and drawn for all its agents together.
        mirror: random mirror images while training.
        draws: ``paths`` are drawn from modes and controls; ``modes`` gives the mean paths of the modes, the likeliest first.

    Raises:
        ValueError: an unknown name, or a number out of range.
    """

    given: int = 8
    predicted: int = 0
    backbone: str = "mlp"
    width: int = 128
    layers: int = 2
    heads: int = 4
    dropout: float = 0.0
    inputs: tuple[str, ...] = ()
    head: str = "acceleration"
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
    wheelbase: float = 0.6
    heading: str = "auto"
    velocity: str = "auto"
    loss: str = "wta"
    regression: str = "nll"
    classify: float = 1.0
    spread: float = 0.1
    joint: bool = False
    mirror: bool = False
    draws: str = "paths"

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"MotionConfig: {unknown(name, str(getattr(self, name)), known)}")
        object.__setattr__(self, "inputs", tuple(self.inputs))
        strange = [name for name in self.inputs if name not in INPUTS]
        if strange:
            raise ValueError(f"MotionConfig: {unknown('input', strange[0], INPUTS)}")
        if min(self.given, self.width, self.layers, self.heads) < 1 or self.predicted < 0:
            raise ValueError(f"MotionConfig: given={self.given}, predicted={self.predicted}, width={self.width}, layers={self.layers}, "
                             f"heads={self.heads}; positive numbers were wanted (predicted may be 0)")
        if self.backbone == "social" and self.width % self.heads:
            raise ValueError(f"MotionConfig: width={self.width} is no multiple of heads={self.heads}")
        if min(self.classify, self.spread) < 0 or not 0 <= self.dropout < 1 or not self.wheelbase > 0:
            raise ValueError(f"MotionConfig: classify={self.classify}, spread={self.spread}, dropout={self.dropout}, wheelbase={self.wheelbase}; "
                             "weights of at least 0, a dropout within [0, 1) and a positive wheelbase were wanted")
        self.head_settings()

    def head_settings(self) -> Any:
        """Those of the head."""
        from trajlab.models.motion.head_settings import HeadSettings

        return HeadSettings(formulation=self.head, propagation=self.propagation, moments=self.moments, modes=self.modes, turning=self.turning,
                            floor=self.floor, learn_floor=self.learn_floor, slip=self.slip, uncertain_start=self.uncertain_start,
                            persistence=self.persistence, knots=self.knots, hardest=self.hardest, tightest=self.tightest)

    @classmethod
    def best_of_20(cls) -> Self:
        """Twenty paths, the nearest trained: what a perceptron without neighbours reaches on best-of-20 scores of pedestrians."""
        return cls(width=256, inputs=("displacement",), head="velocity", modes=20, regression="distance", classify=0.0, spread=0.05, mirror=True,
                   draws="modes")

    @classmethod
    def vehicles(cls, head: str = "bicycle") -> Self:
        """One Gaussian path for vehicles, 1 s given at 10 Hz."""
        return cls(given=11, head=head)

    @classmethod
    def social(cls) -> Self:
        """Six joint modes of all agents of a scene by attention, sized for two cores."""
        return cls(backbone="social", width=64, layers=2, modes=6, joint=True)
