"""What forecasters that learn from the context alone share: standardised channels, and free runs that are held where they leave the data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.models.series_forecaster import SeriesForecaster

__all__ = ["LIMIT", "Learned", "LocalForecaster", "Runner", "Scale", "held"]

LIMIT = 20.0  #: standard deviations of the context from its mean that a free run may reach


#: What was learned from standardised values: ``runner(z, origins, steps)`` is one free run ``[step dim]`` after each ``z[:origin]``.
Runner = Callable[[np.ndarray, Sequence[int], Sequence[int]], list[np.ndarray]]


@dataclass(frozen=True, eq=False)
class Scale:
    """Mean and standard deviation of each channel of a context, ``[dim]``; the deviation of a constant channel is taken as 1."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, x: Float[np.ndarray, "time dim"]) -> Scale:
        mean, std = x.mean(0), x.std(0)
        flat = std <= 1e-13 * np.abs(x).max(0)
        return cls(np.where(flat, x[-1], mean), np.where(flat, 1.0, std))

    def to(self, x: np.ndarray) -> np.ndarray:
        """Standardised values."""
        return np.ascontiguousarray((x - self.mean) / self.std)

    def back(self, z: np.ndarray) -> np.ndarray:
        return z * self.std + self.mean


def held(run: Float[np.ndarray, "step dim"], last: Float[np.ndarray, "dim"], limit: float = LIMIT) -> Float[np.ndarray, "step dim"]:
    """A free run that keeps its last good value (``last`` where there is none) from where a value leaves +-limit or is not finite."""
    wrong = ~(np.abs(run) <= limit).all(1)
    if not wrong.any():
        return run
    stop, out = int(wrong.argmax()), run.copy()
    out[stop:] = out[stop - 1] if stop else last
    return out


@dataclass(frozen=True, eq=False)
class Learned:
    """A method after it has learned from a context: it can go on from there or from any later history of the same series."""

    scale: Scale
    runner: Runner

    def runs(self, x: Float[np.ndarray, "time dim"], origins: Sequence[int], steps: Sequence[int]) -> list[np.ndarray]:
        """Free runs ``[step dim]`` in the units of the series, one after each history ``x[:origin]``."""
        z = self.scale.to(x)
        runs = self.runner(z, origins, steps)
        return [self.scale.back(held(run, np.clip(z[origin - 1], -LIMIT, LIMIT))) for run, origin in zip(runs, origins)]


class LocalForecaster(SeriesForecaster):
    """A method that learns from standardised values of the context, and from nothing else."""

    scale_free = True  #: another unit or origin of a channel gives the same forecast in that unit

    @abstractmethod
    def learned(self, z: Float[np.ndarray, "time dim"], design: Any = None) -> Runner:
        """Learn from a standardised context."""

    def design(self, z: Float[np.ndarray, "time dim"]) -> Any:  # noqa: ARG002
        """What `learned` can share between settings of equal `design_key`; None where there is nothing."""
        return None

    @property
    def design_key(self) -> Any:
        return None

    def learn(self, x: Float[np.ndarray, "time dim"], designs: dict[Any, Any] | None = None) -> Learned:
        """Learn from a context in its own units; ``designs`` keeps what several settings share for one and the same context.

        Raises:
            ValueError: the context is too short.
        """
        if len(x) < self.shortest:
            raise ValueError(f"{self.name} needs a context of at least {self.shortest} frames, got {len(x)}; give a longer past")
        scale, key = Scale.of(x), self.design_key
        z = scale.to(x)
        if key is None or designs is None:
            return Learned(scale, self.learned(z))
        if key not in designs:
            designs[key] = self.design(z)
        return Learned(scale, self.learned(z, designs[key]))

    def continuation(self, context: Float[np.ndarray, "time dim"], steps: int, draws: int, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        return self.learn(context).runs(context, [len(context)], [steps])[0][None]
