"""Hooks: where physics, observations and steering enter a run, whatever the solver."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trajlab.paths.gaussian import Level
from trajlab.paths.prediction import Prediction


class Hook:
    """Does nothing; a subclass overrides what it needs.

    Every method gets tensors ``[batch ...]`` and returns one of the same shape; none may change its argument in place. With a mask the
    executor zeroes hidden entries after every method. A hook keeps no state between runs: what it must remember within one run it sets
    up in `start`.
    """

    def start(self, x: Tensor, level: Level) -> Tensor:
        """The start of a run, at the first node."""
        return x

    def noise(self, z: Tensor) -> Tensor:
        """Every draw of noise inside a run."""
        return z

    def before_model(self, x: Tensor, level: Level) -> Tensor:
        """The state before every call of the denoiser, inner stages included; the returned state replaces it."""
        return x

    def on_x0(self, x0: Tensor, x: Tensor, level: Level) -> Tensor:
        """The predicted clean sample after every call; the solver goes on with what is returned."""
        return x0

    def after_step(self, x: Tensor, prediction: Prediction, level: Level) -> Tensor:
        """The new state at every node of the grid; ``prediction`` is the step's last, ``level`` that of the new state."""
        return x


@dataclass(frozen=True)
class Step:
    """What a watcher is told at every node.

    Attributes:
        index: 0 at the first node reached.
        level: that node.
        x: the state there.
        prediction: the last one made on the way there.
    """

    index: int
    level: Level
    x: Tensor
    prediction: Prediction
