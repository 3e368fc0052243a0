"""Motion: probabilistic forecasts of agents on a plane, a backbone and a kinematic head put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

import trajlab
from trajlab.data.dense import Dense, dense
from trajlab.models.motion.frames import AgentFrames, agent_frames
from trajlab.models.motion.losses import shared_logits
from trajlab.models.motion.mixture import Answer, PathMixture
from trajlab.models.motion.module import MotionModule
from trajlab.models.motion.motion_config import MotionConfig
from trajlab.models.motion.rows import Layout, rows_of
from trajlab.models.motion.samples import mode_paths, sampled
from trajlab.models.window_forecaster import WindowForecaster, continued
from trajlab.types import Forecast, Trajectories
from trajlab.units import Units

if TYPE_CHECKING:
    from trajlab.train.config import TrainConfig

__all__ = ["Motion", "MotionConfig"]


class Motion(WindowForecaster):
    """Config in, `fit` on windows, and the verb `forecast`, whose answer carries a mixture of Gaussian paths beside its draws."""

    name = "motion"

    def __init__(self, config: MotionConfig | None = None) -> None:
        super().__init__()
        self.config = config or MotionConfig()
        self.module: MotionModule | None = None
        self.units = Units()
        self.about: dict[str, Any] = {}

    # ---- fitting

    def fit(  # type: ignore[override]  # more settings than the base class has
        self, windows: Trajectories, given: int | None = None, validation: Trajectories | None = None, *, minutes: float | None = None,
        train: TrainConfig | None = None, folder: str | Path | None = None, progress: bool = False, seed: int = 0,
    ) -> Self:
        """Fit on windows whose first ``given`` frames are the past.

        Agents may come late or leave early: what was not observed counts nothing.

        Args:
            windows: scenes on a plane, in m and s; longer scenes are cut where the config says how many frames are predicted.
            given: frames of the past; those of the config where it is left out.
            validation: other windows, which choose the weights (with ``train.keep="best"``, the default); where it is left out, a tenth of the runs
                (or of the blocks of time) is held out if there are ten of them.
            minutes: training budget; ``train`` says everything else.
            folder: where checkpoints and metrics go; a fit that was killed goes on from there.
            progress: show a bar on a terminal.
            seed: of weights, order and mirror images (where ``train`` does not say).

        Raises:
            ValueError: windows that are too short, unevenly spaced or not in two dimensions, or that leave nothing to learn.
            TypeError: the windows are not trajectories.
        """
        from dataclasses import replace

        from trajlab.models.motion.motion_fit import default_training, fit

        chosen = train or replace(default_training(minutes, seed), keep="best")
        if minutes is not None and train is not None:
            chosen = replace(train, minutes=minutes, steps=None)
        given = self.config.given if given is None else given
        self._training = {"train": chosen, "folder": folder, "progress": progress}
        self._run = fit
        parts = [None if part is None else self._cut(part, given) for part in (windows, validation)]
        return super().fit(parts[0], given, parts[1])  # type: ignore[arg-type]

    def _cut(self, windows: Trajectories, given: int) -> Trajectories:
        """Windows of given + predicted frames, where the config says how many these are."""
        from trajlab.data.windows import windows as cut

        wanted = given + self.config.predicted
        if not self.config.predicted or not isinstance(windows, Trajectories) or windows.n_frames <= wanted:
            return windows
        return cut(windows, wanted, hop=max(1, wanted // 2), whole="node")

    def _fit(self, windows: Trajectories, validation: Trajectories | None) -> None:
        self._run(self, windows, validation, **self._training)
        del self._run, self._training

    @property
    def fitted(self) -> MotionModule:
        """The trained module; a ValueError before `fit` or `load`."""
        if self.module is None:
            raise ValueError("this Motion was not fitted; call fit(windows, given), or Motion.load(folder)")
        return self.module

    # ---- the verb

    def mixture(self, block: Dense, steps: int | None = None) -> PathMixture:
        """What comes after the given frames of a block, ``[scene node]``, in the world.

        Raises:
            ValueError: see `WindowForecaster.predict`.
        """
        found, frames, _ = self._said(block)
        return self._placed(found, frames).first(self.steps(steps))

    @torch.no_grad()
    def _said(self, block: Dense) -> tuple[PathMixture, AgentFrames, Any]:
        """Mixture in the agents' frames, these, and the rows that were read."""
        module = self.fitted
        self._check(block)
        short = Dense(block.x[:, :, : self.given], block.mask[:, :, : self.given], block.there, block.kind, block.time[:, : self.given],
                      {k: v[:, :, : self.given] for k, v in block.extra.items()}, block.static, block.context, block.place)
        device = next(module.parameters()).device
        rows = rows_of(short, self.given, self.config, module.layout, self.spacing).to(device)
        mixture = module(rows)
        if self.config.joint:
            mixture = shared_logits(mixture, rows.known)
        return mixture, agent_frames(short, self.given, self.config.heading), rows

    @staticmethod
    def _placed(mixture: PathMixture, frames: AgentFrames) -> PathMixture:
        kind = frames.origin
        return PathMixture(mixture.logits.to(kind), mixture.mean.to(kind), mixture.covariance.to(kind)).rotated(frames.angle.to(kind), kind)

    def predict(self, block: Dense, steps: int | None = None) -> Float[Tensor, "scene node time dim"]:
        """The mean path of the likeliest mode, 0 in the padding."""
        mixture = self.mixture(block, steps)
        best = mixture.picked(mixture.mean, mixture.logits.argmax(-1).unsqueeze(0))[0]
        return torch.where(block.there[..., None, None], best, 0.0)

    def forecast(self, past: Trajectories, steps: int | None = None, draws: int = 20, generator: torch.Generator | None = None, *,  # type: ignore[override]
                 seed: int | None = None, progress: bool = False, evaluations: int | None = None) -> Forecast:  # noqa: ARG002
        """Continue the last given frames.

        Args:
            past: at least the given frames, spaced as in training.
            steps: frames to predict, by default as many as the windows of the fit had.
            draws: paths of each agent (see `MotionConfig.draws`).
            generator: of the random numbers; ``seed`` makes one.
            seed, progress, evaluations: as other forecasters of windows have them; the last two change nothing.

        Returns:
            Draws, and under ``mixture`` the parameters of a `PathMixture`: ``logits[node mode]``, ``mean[node mode time 2]``,
            ``covariance[node mode time 2 2]``.

        Raises:
            ValueError: too few frames, another spacing or unit than that of the fit, or more frames wanted than were learned.
        """
        used = self.last_given(past)
        if used.units != self.units:
            raise ValueError(f"the past is in {used.units}, and this Motion was fitted in {self.units}; convert it")
        steps = self.steps(steps)
        if draws < 1:
            raise ValueError(f"draws={draws}; at least 1 was wanted")
        generator = torch.Generator().manual_seed(seed or 0) if generator is None else generator
        block = dense(used)
        mixture, frames, rows = self._said(block)
        with torch.no_grad():
            drawn = mode_paths(mixture, draws) if self.config.draws == "modes" else sampled(self.fitted, rows, mixture, draws, generator)
        placed, world = self._placed(mixture, frames).first(steps), frames.to_world(drawn[..., :steps, :].to(frames.origin))
        packed = PathMixture(*(block.pack(value) for value in (placed.logits, placed.mean, placed.covariance)))
        seen = block.pack(rows.known.to(block.x.device))
        answer = Answer(torch.stack([block.pack(one) for one in world]), continued(past.time, steps, self.spacing),
                        seen[None, :, None].expand(draws, len(seen), steps).clone(), self.provenance() | {"seed": seed})
        return packed.to_forecast(past, answer)

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "head": self.config.head, "config": asdict(self.config), "data": self.about.get("data")}

    # ---- files

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``model.json`` into a folder, each by a temporary file and a rename."""
        from trajlab.models.model_files import write

        module = self.fitted
        record = {"method": self.name, "version": trajlab.__version__, "config": asdict(self.config), "inputs": list(module.layout.inputs),
                  "kinds": list(module.layout.kinds), "frames": [self.given, self.ahead], "spacing": self.spacing, "units": asdict(self.units),
                  "about": self.about}
        return write(folder, record, module.state_dict())

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> Self:
        """Read what `save` wrote. A version of trajlab other than the one that wrote it is told in a warning.

        Raises:
            ValueError: the folder holds no model, or one of another kind.
        """
        from trajlab.models.model_files import read

        record, tensors, config = read(folder, cls.name, MotionConfig)
        model = cls(config)
        model.given, model.ahead = record["frames"]
        model.spacing, model.units, model.about = record["spacing"], Units(**record["units"]), record["about"]
        module = MotionModule(config, Layout(tuple(record["inputs"]), tuple(record["kinds"])), (model.given, model.ahead), model.spacing)
        module.load_state_dict(tensors)
        model.module = module.to(device).eval().requires_grad_(False)
        return model

    def state(self) -> dict[str, Tensor]:
        return super().state() | {f"module/{name}": value for name, value in self.fitted.state_dict().items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:  # noqa: ARG003
        """Not there: weights alone do not say what kind of net they are of."""
        raise ValueError("a Motion is made from a folder: Motion.load(folder)")
