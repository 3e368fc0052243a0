"""What all forecasters of fixed windows share: the checks, the clock of the answer, and the way from trajectories to a forecast."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

import trajlab
from trajlab.data.dense import Dense, dense
from trajlab.models.given_frames import seen_nodes
from trajlab.types import Forecast, Trajectories

__all__ = ["WindowForecaster", "check_windows", "continued"]


def check_windows(name: str, windows: Trajectories, given: int) -> None:
    """Refuse what cannot be cut into given and predicted frames."""
    if not isinstance(windows, Trajectories):
        raise TypeError(f"{name}.fit got a {type(windows).__name__}; Trajectories were wanted whose scenes are windows of given + predicted frames")
    if not 1 <= given < windows.n_frames:
        raise ValueError(f"{name}: given={given} of windows of {windows.n_frames} frames; at least 1 frame must be given and 1 be left to predict")
    if not windows.n_scenes or not windows.n_nodes:
        raise ValueError(f"{name} cannot be fitted on {windows.n_scenes} scenes with {windows.n_nodes} nodes; give at least one of each")


def continued(time: Tensor, steps: int, spacing: float) -> Float[Tensor, "scene time"]:
    """Clocks ``steps`` frames on from the end of ``time[scene past]``: at the last spacing of each, ``spacing`` where there is one frame only."""
    step = time[:, -1:] - time[:, -2:-1] if time.shape[1] > 1 else torch.full_like(time[:, :1], spacing)
    return time[:, -1:] + step * torch.arange(1, steps + 1, device=time.device, dtype=time.dtype)


class WindowForecaster(ABC):
    """A forecaster of windows: ``given`` frames in, up to ``ahead`` frames out.

    After `fit`, ``given``, ``ahead`` and ``spacing`` (time between frames, in ``units.time``) are set.
    """

    name = "window-forecaster"  #: in provenance and error messages
    horizon_free = False  #: whether it can go on for longer than the windows it was fitted on, and at another spacing

    def __init__(self) -> None:
        self.given, self.ahead, self.spacing = 0, 0, 1.0

    def fit(self, windows: Trajectories, given: int, validation: Trajectories | None = None) -> Self:
        """Fit on windows whose first ``given`` frames are the past and the rest the future.

        Args:
            windows: each scene is one window; ``context["run"]`` says which windows are of one run.
            given: number of given frames.
            validation: windows that choose settings; by default a tenth of the runs is held out for that, and then used for the fit as well.

        Raises:
            ValueError: no frame is given or none left to predict, or nothing to fit on.
            TypeError: the windows are not trajectories.
        """
        check_windows(type(self).__name__, windows, given)
        self.given, self.ahead = given, windows.n_frames - given
        self.spacing = float(windows.time.diff(dim=1).mean())
        if not self.horizon_free:
            self._check_spacing(windows.time)
            if validation is not None:
                check_windows(type(self).__name__, validation, given)
                if (validation.n_frames, validation.dim) != (windows.n_frames, windows.dim):
                    raise ValueError(f"validation has {validation.n_frames} frames in {validation.dim} dimensions, the windows have "
                                     f"{windows.n_frames} in {windows.dim}; they must agree")
        self._fit(windows, validation)
        return self

    def _fit(self, windows: Trajectories, validation: Trajectories | None) -> None:  # noqa: B027
        """Learn; nothing by default."""

    @abstractmethod
    def predict(self, block: Dense, steps: int | None = None) -> Float[Tensor, "scene node time dim"]:
        """The future of the scenes of a block from its first ``given`` frames; further frames are not looked at. 0 in the padding.

        Args:
            block: padded scenes.
            steps: frames to predict, by default as many as the windows of the fit had.
        """

    def forecast(self, past: Trajectories, steps: int | None = None, draws: int = 1, generator: torch.Generator | None = None) -> Forecast:
        """Continue the last ``given`` frames of ``past``.

        A deterministic method gives the same answer in every draw. Nodes that were never seen in these frames are masked out of the forecast.

        Args:
            past: at least the given frames.
            steps: frames to predict, by default as many as the windows of the fit had.
            draws: number of draws.
            generator: of the random numbers, for methods that draw.

        Raises:
            ValueError: too few frames, another spacing than that of the fit, more frames wanted than were learned, or no fit yet.
        """
        used = self.last_given(past)
        steps = self.steps(steps)
        if draws < 1:
            raise ValueError(f"draws={draws}; at least 1 was wanted")
        block = dense(used)
        drawn = self._draws(block, steps, draws, generator)
        out = torch.stack([block.pack(one) for one in drawn])
        seen = block.pack(seen_nodes(block, used.n_frames))
        return Forecast(out, past, continued(past.time, steps, self.spacing), seen[None, :, None].expand(out.shape[:3]).clone(),
                        provenance=self.provenance())

    def _draws(self, block: Dense, steps: int, draws: int, generator: torch.Generator | None) -> Tensor:  # noqa: ARG002
        one = self.predict(block, steps)
        return one.expand(draws, *one.shape)

    def last_given(self, past: Trajectories) -> Trajectories:
        """The last given frames, checked."""
        if not self.given:
            raise ValueError(f"this {type(self).__name__} was not fitted; call fit(windows, given) first")
        if past.n_frames < self.given:
            raise ValueError(f"{type(self).__name__} continues {self.given} given frames, and the past has {past.n_frames}; give it {self.given}")
        return past.last(self.given)

    def steps(self, steps: int | None) -> int:
        """The number of frames to predict, checked."""
        steps = self.ahead if steps is None else steps
        if steps < 1 or (steps > self.ahead and not self.horizon_free):
            raise ValueError(f"{type(self).__name__} was asked for {steps} frames; it was fitted for 1 to {self.ahead}. Fit it on longer windows")
        return steps

    def _check(self, block: Dense) -> None:
        """Refuse blocks that do not fit: before the fit, too short, or of another spacing."""
        if not self.given:
            raise ValueError(f"this {type(self).__name__} was not fitted; call fit(windows, given) first")
        if block.x.shape[2] < self.given:
            raise ValueError(f"{type(self).__name__} wants {self.given} given frames, and the block has {block.x.shape[2]}")
        if not self.horizon_free:
            self._check_spacing(block.time[:, : self.given])

    def _check_spacing(self, time: Tensor) -> None:
        steps = time.diff(dim=1)
        if steps.numel() and bool(((steps - self.spacing).abs() > 1e-3 * self.spacing).any()):
            raise ValueError(f"{type(self).__name__} knows frames by number, so they must be evenly spaced, at {self.spacing:g} as in the fit; "
                             f"these lie {float(steps.min()):g} to {float(steps.max()):g} apart. Resample them")

    def provenance(self) -> dict[str, Any]:
        """What goes into `Forecast.provenance`."""
        return {"method": self.name, "version": trajlab.__version__, "given": self.given, "ahead": self.ahead}

    def state(self) -> dict[str, Tensor]:
        """Everything that was learned, as tensors."""
        return {"frames": torch.tensor([self.given, self.ahead]), "spacing": torch.tensor(self.spacing, dtype=torch.float64)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """What `state` described.

        Raises:
            ValueError: the state is of another class.
        """
        made = cls()
        wanted = set(made.state())
        if set(state) != wanted:
            raise ValueError(f"a state with {sorted(state)} is none of {cls.__name__}, which has {sorted(wanted)}")
        made._load(state)
        return made

    def _load(self, state: Mapping[str, Tensor]) -> None:
        self.given, self.ahead = (int(n) for n in state["frames"])
        self.spacing = float(state["spacing"])
