"""Hyper-parameters of the EGNN roll-out, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trajlab.models.features_config import FeatureConfig

__all__ = ["EgnnRolloutConfig"]


@dataclass(frozen=True)
class EgnnRolloutConfig:
    """One frozen record says which net, which features and what is trained.

    Attributes:
        width: scalars a node and hidden units of the perceptrons.
        layers: rounds of message passing.
        history: frames that one step looks at; 2 are position and velocity.
        unroll: steps of the roll-out that training goes through, from a random frame of the window; 1 trains single steps. A window with fewer
            frames left shortens it. Under a short budget 1 is best where the step is nearly exact, and more where roll-outs of it drift.
        loss: ``"distance"``, mean distance to the truth, in units of the error of constant velocity at each step; or ``"squared"``, its square.
        features: of nodes and pairs, and who talks to whom.

    Raises:
        ValueError: a number out of range, or an unknown loss.
    """

    width: int = 64
    layers: int = 4
    history: int = 2
    unroll: int = 4
    loss: Literal["distance", "squared"] = "distance"
    features: FeatureConfig = field(default_factory=FeatureConfig)

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.unroll) < 1 or self.history < 2:
            raise ValueError(f"width={self.width}, layers={self.layers}, unroll={self.unroll}, history={self.history}; at least 1 was wanted of "
                             "each, and a history of at least 2 frames, which hold the velocity")
        if self.loss not in ("distance", "squared"):
            raise ValueError(f"loss={self.loss!r}; 'distance' or 'squared' was wanted")
