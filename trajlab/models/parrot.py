"""Context parroting: what followed the most similar stretch of the past, said again (Zhang & Gilpin, arXiv:2409.15771 and 2505.11349)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.models.series_local import LocalForecaster, Runner

__all__ = ["Parrot", "ParrotConfig", "nearest_end"]


@dataclass(frozen=True)
class ParrotConfig:
    """Settings of `Parrot`.

    Attributes:
        window: frames that are compared; cut to a third of the context where that is shorter.

    Raises:
        ValueError: a window below 1.
    """

    window: int = 50

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window={self.window}; at least 1 frame was wanted")


def nearest_end(z: Float[np.ndarray, "time dim"], window: int) -> int:
    """Where the stretch ends that is nearest (least squares over all channels) to the last ``window`` frames and does not overlap them."""
    count = len(z)
    last = z[count - window :]
    windows = np.lib.stride_tricks.sliding_window_view(z[: count - window], window, axis=0)  # [start dim window]
    square = ((windows - last.T) ** 2).sum((1, 2))
    return int(square.argmin()) + window


class Parrot(LocalForecaster):
    """The continuation of the nearest earlier window, repeated from its start where it comes to the end of the context."""

    name = "parrot"
    shortest = 3

    def __init__(self, config: ParrotConfig | None = None) -> None:
        self.config = config or ParrotConfig()

    def learned(self, z: Float[np.ndarray, "time dim"], design: Any = None) -> Runner:  # noqa: ARG002
        def run(z: np.ndarray, origins: Sequence[int], steps: Sequence[int]) -> list[np.ndarray]:
            runs = []
            for origin, count in zip(origins, steps):
                past = z[:origin]
                end = nearest_end(past, min(self.config.window, origin // 3))
                runs.append(np.resize(past[end:], (count, z.shape[1])))
            return runs

        return run
