"""Settings of the global flow and score nets of a Schrodinger bridge, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trajlab.train.config import TrainConfig

__all__ = ["BridgeFlowConfig"]


@dataclass(frozen=True)
class BridgeFlowConfig:
    """The nets, what they are trained on, and the steps of simulations.

    Attributes:
        width: of the hidden layers.
        layers: hidden ones, with SiLU.
        frequencies: sines and cosines of the time, beside the time itself; None for as many as there are intervals, at least 3.
        residual: whether the velocity is the drift of the refined reference plus a net; else it is the net alone.
        pool: states at each time of an interval that the nets are trained on; where the reference is not linear, their targets are means over four
            times as many pairs.
        substeps: of simulations, in the shortest interval.

    Raises:
        ValueError: a number that is not positive.
    """

    width: int = 64
    layers: int = 3
    frequencies: int | None = None
    residual: bool = True
    pool: int = 256
    substeps: int = 50

    def __post_init__(self) -> None:
        whole = {name: getattr(self, name) for name in ("width", "layers", "frequencies", "pool", "substeps")}
        wrong = [f"{name}={value!r}" for name, value in whole.items()
                 if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1)]
        if wrong:
            raise ValueError(f"BridgeFlowConfig: {', '.join(wrong)}; whole numbers of at least 1 were wanted")


def training(minutes: float | None, seed: int, **changes: Any) -> TrainConfig:
    """The usual training: 3,000 steps of 256 states, or as many as the minutes allow."""
    budget = {"steps": 3000} if minutes is None else {"minutes": minutes}
    return TrainConfig(**{**budget, "batch": 256, "lr": 4e-3, "warmup": 50, "clip": 1.0, "ema": 0.99, "accelerator": "cpu", "seed": seed, **changes})
