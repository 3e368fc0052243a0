"""What every forecaster of motion must beat: a velocity, a turn or an acceleration of the last given frames, gone on with; or a fitted line.

All turn, reflect and shift with their input and use given frames only, in physical time. With d the displacement of the last given step and s the
time ahead in such steps:

| class | forecast |
|---|---|
| `trajlab.models.linear_forecasts.LastPosition` | x |
| `trajlab.models.linear_forecasts.ConstantVelocity` | x + s d |
| `HeadingNoise` | x + s R(e) d, e normal with a standard deviation of 25 degrees, one for each draw and agent (Schöller et al. 2020) |
| `TurnRate` | x + R(phi) d + ... + R(s phi) d, phi the angle between the last two displacements |
| `ConstantAcceleration` | x + s d + s (s + 1)/2 (d - d'), d' the displacement before |
| `MeanVelocity` | x + s times the mean displacement of all given steps |
| `LinearFit` | the line of least squares through all given positions |
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.data.dense import Dense
from trajlab.models.given_frames import filled
from trajlab.models.motion.frames import turned
from trajlab.models.window_forecaster import WindowForecaster, continued
from trajlab.types import Trajectories

__all__ = ["ConstantAcceleration", "HeadingNoise", "LinearFit", "MeanVelocity", "TurnRate", "ahead"]

STILL = 0.02  #: m, below which a step has no direction


def ahead(block: Dense, given: int, steps: int, spacing: float) -> Float[Tensor, "scene time"]:
    """Time from the last given frame to each of the next, by the clock of the block where it goes on so far."""
    time = block.time
    there = time.shape[1] >= given + steps
    future = time[:, given : given + steps] if there else continued(time[:, :given], steps, spacing)
    return future - time[:, given - 1, None]


class Extrapolation(WindowForecaster):
    """A forecaster that goes on from its given frames by a formula."""

    horizon_free = True
    least = 2  #: given frames

    def _fit(self, windows: Trajectories, validation: Trajectories | None) -> None:  # noqa: ARG002
        if self.given < self.least:
            raise ValueError(f"{type(self).__name__} looks at {self.least} given frames or more, and given={self.given}; give more")

    def predict(self, block: Dense, steps: int | None = None) -> Float[Tensor, "scene node time dim"]:
        self._check(block)
        future = ahead(block, self.given, self.steps(steps), self.spacing)
        path, time = filled(block, self.given), block.time[:, : self.given]
        gone = self._gone(path, time, future.to(path.dtype))
        return path[:, :, -1:] + gone

    @abstractmethod
    def _gone(self, path: Float[Tensor, "scene node past dim"], time: Float[Tensor, "scene past"], future: Float[Tensor, "scene time"],
              ) -> Float[Tensor, "scene node time dim"]:
        """Displacement from the last given position after the times ``future``."""


def _steps(path: Tensor, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The last displacement, the one before as if it had taken as long, ``[scene node 1 dim]``, and the time of a step, ``[scene 1]``."""
    step = time.diff(dim=1).to(path.dtype)
    last, before = path[:, :, -1:] - path[:, :, -2:-1], path[:, :, -2:-1] - path[:, :, -3:-2]
    return last, before * (step[:, -1] / step[:, -2])[:, None, None, None], step[:, -1:]


class TurnRate(Extrapolation):
    """Goes on turning and at the same speed (CTRV). The turn is the angle between the last two displacements, 0 if either is below 2 cm.

    ``R(phi) d + ... + R(s phi) d = sin(s phi/2) / sin(phi/2) R((s + 1) phi/2) d``, at any s.

    Raises:
        ValueError: positions that have not two dimensions, fewer than 3 given frames.
    """

    name = "turn-rate"
    least = 3

    def _gone(self, path: Tensor, time: Tensor, future: Tensor) -> Tensor:
        _plane(self, path)
        last, before, step = _steps(path, time)
        turn = torch.atan2(before[..., 0] * last[..., 1] - before[..., 1] * last[..., 0], (before * last).sum(-1))
        turn = torch.where(torch.minimum(last.norm(dim=-1), before.norm(dim=-1)) < STILL, 0.0, turn)
        s = (future / step)[:, None]
        small = turn.abs() < 1e-7
        ratio = torch.where(small, s, torch.sin(s * turn / 2) / torch.sin(torch.where(small, 1.0, turn) / 2))
        return ratio[..., None] * turned(last.expand(*s.shape[:1], last.shape[1], s.shape[2], 2), (s + 1) * turn / 2)


class ConstantAcceleration(Extrapolation):
    """Goes on speeding up, slowing down or turning as in the last two steps, by the explicit Euler step: x + s d + s (s + 1)/2 (d - d')."""

    name = "constant-acceleration"
    least = 3

    def _gone(self, path: Tensor, time: Tensor, future: Tensor) -> Tensor:
        last, before, step = _steps(path, time)
        s = (future / step)[:, None, :, None]
        return s * last + s * (s + 1) / 2 * (last - before)


class MeanVelocity(Extrapolation):
    """Goes on at the mean velocity of all given frames."""

    name = "mean-velocity"

    def _gone(self, path: Tensor, time: Tensor, future: Tensor) -> Tensor:
        velocity = (path[:, :, -1:] - path[:, :, :1]) / (time[:, -1] - time[:, 0]).to(path.dtype)[:, None, None, None]
        return future[:, None, :, None] * velocity


class LinearFit(Extrapolation):
    """Goes on along the line of least squares through the given positions, from where that line is at the last given frame."""

    name = "linear-fit"

    def _gone(self, path: Tensor, time: Tensor, future: Tensor) -> Tensor:
        at = (time - time.mean(1, keepdim=True)).to(path.dtype)
        middle = path.mean(2, keepdim=True)
        slope = (at[:, None, :, None] * (path - middle)).sum(2, keepdim=True) / at.square().sum(1)[:, None, None, None]
        line = middle + (at[:, -1:] + future)[:, None, :, None] * slope
        return line - path[:, :, -1:]


class HeadingNoise(Extrapolation):
    """Constant velocity whose draws leave at a random angle to it; the mean path is not turned.

    Schöller, Aravantinos, Lay and Knoll, "What the constant velocity model can teach us about pedestrian motion prediction" (2020).

    Args:
        degrees: standard deviation of the angle.

    Raises:
        ValueError: it is not positive; positions that have not two dimensions; draws without a generator.
    """

    name = "heading-noise"

    def __init__(self, degrees: float = 25.0) -> None:
        super().__init__()
        if not 0 < degrees < 360:
            raise ValueError(f"degrees={degrees}; a standard deviation above 0 and below 360 degrees was wanted")
        self.degrees = degrees

    def _gone(self, path: Tensor, time: Tensor, future: Tensor) -> Tensor:
        step = (time[:, -1:] - time[:, -2:-1]).to(path.dtype)
        return (future / step)[:, None, :, None] * (path[:, :, -1:] - path[:, :, -2:-1])

    def _draws(self, block: Dense, steps: int, draws: int, generator: torch.Generator | None) -> Tensor:
        if generator is None:
            raise ValueError("HeadingNoise draws random numbers; pass generator=torch.Generator().manual_seed(...)")
        straight, last = self.predict(block, steps), filled(block, self.given)[:, :, -1:]
        _plane(self, straight)
        angle = torch.deg2rad(torch.tensor(self.degrees)) * torch.randn(draws, *straight.shape[:2], 1, generator=generator, dtype=torch.float64)
        return last + turned((straight - last).expand(draws, *straight.shape), angle.to(straight))

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "degrees": self.degrees}

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"degrees": torch.tensor(self.degrees, dtype=torch.float64)}

    def _load(self, state: Mapping[str, Tensor]) -> None:
        super()._load(state)
        self.degrees = float(state["degrees"])


def _plane(model: WindowForecaster, path: Tensor) -> None:
    if path.shape[-1] != 2:
        raise ValueError(f"{type(model).__name__} turns on a plane, and positions have {path.shape[-1]} dimensions; take two of them")
