"""The simplest forecasts of a series: its last value, its mean, its last period again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.models.series_local import LocalForecaster, Runner

__all__ = ["Mean", "Persistence", "Seasonal", "SeasonalConfig", "season"]


def season(x: Float[np.ndarray, "time dim"]) -> int:
    """Period of a series in frames: where the autocorrelation, summed over standardised channels, is largest after its first zero.

    The biased estimate, which prefers short lags, finds it among lags up to half the series, and the unbiased one puts it right within a tenth.
    Where the correlation has no zero there is no period, and the answer is 1.
    """
    count = len(x)
    z = x - x.mean(0)
    z = z / np.maximum(z.std(0), 1e-300)
    power = np.abs(np.fft.rfft(z, 2 * count, axis=0)) ** 2
    biased = np.fft.irfft(power.sum(1))[: count // 2 + 1]
    below = np.flatnonzero(biased <= 0)
    if not len(below) or not biased[0] > 0:
        return 1
    rough = int(below[0]) + int(biased[below[0] :].argmax())
    low, high = max(int(0.9 * rough), 1), int(1.1 * rough) + 1
    return low + int((biased / np.arange(count, count - count // 2 - 1, -1))[low:high].argmax())


class Persistence(LocalForecaster):
    """The last value for ever."""

    name = "persistence"
    shortest = 1

    def learned(self, z: Float[np.ndarray, "time dim"], design: Any = None) -> Runner:  # noqa: ARG002
        return lambda z, origins, steps: [np.repeat(z[o - 1 : o], n, 0) for o, n in zip(origins, steps)]


class Mean(LocalForecaster):
    """The mean of the context for ever."""

    name = "mean"
    shortest = 1

    def learned(self, z: Float[np.ndarray, "time dim"], design: Any = None) -> Runner:  # noqa: ARG002
        dim = z.shape[1]
        return lambda z, origins, steps: [np.zeros((n, dim)) for n in steps]  # noqa: ARG005


@dataclass(frozen=True)
class SeasonalConfig:
    """Settings of `Seasonal`.

    Attributes:
        period: frames of a period; None finds it by `season`.

    Raises:
        ValueError: a period below 1.
    """

    period: int | None = None

    def __post_init__(self) -> None:
        if self.period is not None and self.period < 1:
            raise ValueError(f"period={self.period}; at least 1 frame was wanted, or None to find it")


class Seasonal(LocalForecaster):
    """The last period again and again (the seasonal naive forecast)."""

    name = "seasonal"

    def __init__(self, config: SeasonalConfig | None = None) -> None:
        self.config = config or SeasonalConfig()

    @property
    def shortest(self) -> int:  # type: ignore[override]
        return max(2, self.config.period or 2)

    def learned(self, z: Float[np.ndarray, "time dim"], design: Any = None) -> Runner:  # noqa: ARG002
        period = self.config.period or season(z)

        def run(z: np.ndarray, origins: Sequence[int], steps: Sequence[int]) -> list[np.ndarray]:
            return [np.resize(z[o - period : o], (n, z.shape[1])) for o, n in zip(origins, steps)]

        return run
