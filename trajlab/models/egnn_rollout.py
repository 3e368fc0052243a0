"""EgnnRollout: a deterministic forecast, one learned step after another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.data.dense import Dense, dense
from trajlab.models.egnn_rollout_config import EgnnRolloutConfig
from trajlab.models.egnn_step import EgnnStep, links
from trajlab.models.features import Features
from trajlab.models.given_frames import filled, scene_mean
from trajlab.models.linear_forecasts import held_out
from trajlab.models.window_forecaster import WindowForecaster
from trajlab.train.config import TrainConfig
from trajlab.types import Trajectories

__all__ = ["EgnnRollout", "EgnnRolloutConfig"]

CHUNK = 256  #: scenes rolled out at a time
JUDGED = 256  #: at most so many windows are rolled out at each validation


@dataclass(frozen=True)
class _Unrolls:
    """Training samples: a stretch of ``history + unroll`` frames of each window, from a frame drawn for the batch.

    Neighbours are those at the last given frame. Hidden frames are filled from seen ones and do not count as targets.
    """

    block: Dense
    x: Tensor
    features: Features
    given: int
    history: int
    unroll: int

    def __len__(self) -> int:
        return len(self.block)

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        some, long = self.block.scenes(indices), self.history + self.unroll
        start = int(torch.randint(0, self.x.shape[2] - long + 1, (), generator=generator))
        node, pair, adjacent = self.features.of(some, self.given)
        mask = some.mask[:, :, start + self.history : start + long]
        return {"x": self.x[indices, :, start : start + long], "mask": mask, "node": node, "pair": pair, "links": links(some.there, adjacent, node)}


class _Loss:
    """Mean distance (or its square) to the truth in units of ``scale`` a step, over what was seen."""

    def __init__(self, history: int, scale: Float[Tensor, "step"], squared: bool) -> None:
        self.history, self.scale, self.squared = history, scale, squared

    def __call__(self, step: EgnnStep, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        past, truth = batch["x"][:, :, : self.history], batch["x"][:, :, self.history :]
        out = step.unroll(past, truth.shape[2], batch["node"], batch["pair"], batch["links"])
        error = (((out - truth) / self.scale.to(out)[:, None]) ** 2).sum(-1)
        error = error if self.squared else (error + 1e-6).sqrt()
        return (error * batch["mask"]).sum(), batch["mask"].sum().clamp(min=1)


class EgnnRollout(WindowForecaster):
    """An E(n)-equivariant graph network that steps from frame to frame, trained through a few steps of its own roll-out.

    Each step sees the last ``history`` frames, the features and the neighbours at the last given frame. The roll-out may be longer than the
    windows of the fit; the frame spacing must be theirs. It turns, reflects, shifts and (without ``identity``) permutes with its input.

    Args:
        config: see `EgnnRolloutConfig`.
    """

    name = "egnn-rollout"

    def __init__(self, config: EgnnRolloutConfig | None = None) -> None:
        super().__init__()
        self.config = EgnnRolloutConfig() if config is None else config
        self.step: EgnnStep | None = None
        self.features: Features | None = None
        self.about: dict[str, Any] = {}

    def fit(
        self, windows: Trajectories, given: int, validation: Trajectories | None = None, *, minutes: float | None = None,
        train: TrainConfig | None = None, folder: str | Path | None = None, progress: bool = False,
    ) -> Self:
        """Train on windows, and keep the weights whose roll-out over the predicted frames is best on the validation windows.

        Args:
            windows, given, validation: as for all forecasters of windows; a tenth of the runs is set aside where no validation is given.
            minutes: budget of training; 5 where neither this nor ``train`` is given.
            train: settings of the training; ``minutes`` overrides its budget.
            folder: where checkpoints go.
            progress: show a progress bar.

        Raises:
            ValueError: fewer given frames than the history, or what the features refuse.
        """
        self._settings = _settings(minutes, train), folder, progress
        return super().fit(windows, given, validation)

    def _fit(self, windows: Trajectories, validation: Trajectories | None) -> None:
        from trajlab.train.loop import train as run

        if self.given < self.config.history:
            raise ValueError(f"a step of EgnnRollout looks at {self.config.history} frames, and {self.given} are given; "
                             "give more, or take a shorter history")
        settings, folder, progress = self._settings
        self.features = Features.learn(self.config.features, windows)
        if validation is None:
            out = held_out(windows)
            validation = windows.scenes(out.nonzero().flatten()) if bool(out.any()) else None
            windows = windows.scenes((~out).nonzero().flatten())
        samples = self._samples(windows)
        with torch.random.fork_rng(devices=[]):  # initialisers draw from the global generator, which is put back
            torch.manual_seed(settings.seed)
            self.step = self._net(windows.x.dtype)
        scale = self._measure(samples)
        judge = None if validation is None else _Judge(self, dense(validation.scenes(slice(0, JUDGED))))
        settings = settings if judge else replace(settings, keep="last", patience=None)
        result = run(self.step, _Loss(self.config.history, scale, self.config.loss == "squared"), samples, settings, folder, judge, progress)
        self.step.eval().requires_grad_(False)
        self.about = {"steps": result.step, "elapsed_s": result.elapsed, "validation": result.best}

    def _net(self, dtype: torch.dtype) -> EgnnStep:
        features, config = self.features, self.config
        if features is None:
            raise ValueError("this EgnnRollout was not fitted; call fit(windows, given) first")
        return EgnnStep(features.n_node, features.n_pair, config.width, config.layers, config.history).to(dtype)

    def _samples(self, windows: Trajectories) -> _Unrolls:
        block, history = dense(windows), self.config.history
        x = filled(block, windows.n_frames)
        x = (x - scene_mean(x[:, :, :1], block.there)) * block.there[..., None, None]
        return _Unrolls(block, x, self.features, self.given, history, min(self.config.unroll, windows.n_frames - history))  # type: ignore[arg-type]

    def _measure(self, samples: _Unrolls) -> Float[Tensor, "step"]:
        """Set the units of the net; root mean square error of constant velocity after 1, 2, ... steps."""
        step, there, x = self.step, samples.block.there, samples.x
        if step is None:
            raise ValueError("this EgnnRollout was not fitted; call fit(windows, given) first")
        x = x[there].double()
        ahead = torch.arange(1, samples.unroll + 1)
        stray = [(x[:, 1 + k :] - x[:, 1:-k] - k * (x[:, 1:-k] - x[:, : -k - 1])).square().sum(-1).mean().sqrt() for k in ahead.tolist()]
        scale = torch.stack(stray).clamp(min=1e-12)
        here = (samples.x - scene_mean(samples.x, there))[there].double()
        for name, value in (("length", here), ("speed", x.diff(dim=1)), ("bend", x.diff(dim=1).diff(dim=1))):
            getattr(step, name).copy_(value.square().mean().sqrt().clamp(min=1e-12))
        return scale

    def steps(self, steps: int | None) -> int:
        """Any number: a roll-out has no end."""
        steps = self.ahead if steps is None else steps
        if steps < 1:
            raise ValueError(f"{steps} steps of roll-out; at least 1 was wanted")
        return steps

    @torch.no_grad()
    def predict(self, block: Dense, steps: int | None = None) -> Float[Tensor, "scene node time dim"]:
        self._check(block)
        if self.step is None or self.features is None:
            raise ValueError("this EgnnRollout was not fitted; call fit(windows, given) first")
        chunks = torch.arange(len(block), device=block.x.device).split(CHUNK)
        made = [self._rolled(self.step, self.features, block.scenes(scenes), self.steps(steps)) for scenes in chunks]
        return torch.cat(made) if made else block.x.new_zeros(0, block.x.shape[1], self.steps(steps), block.x.shape[3])

    def _rolled(self, step: EgnnStep, features: Features, block: Dense, steps: int) -> Tensor:
        past = filled(block, self.given)[:, :, -self.config.history :]
        origin = scene_mean(past[:, :, -1:], block.there)
        node, pair, adjacent = features.of(block, self.given)
        dtype = next(step.parameters()).dtype
        told = (value.to(dtype) for value in (node, pair, links(block.there, adjacent, node)))
        out = step.unroll(((past - origin) * block.there[..., None, None]).to(dtype), steps, *told)
        return (out.to(past.dtype) + origin) * block.there[..., None, None]

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "config": asdict(self.config), "train": self.about}

    def state(self) -> dict[str, Tensor]:
        """Everything that was learned, as tensors; the config is kept apart."""
        if self.step is None or self.features is None:
            raise ValueError("this EgnnRollout was not fitted; call fit(windows, given) first")
        net = {f"net.{name}": value for name, value in self.step.state_dict().items()}
        return {**super().state(), "kinds": torch.tensor(self.features.kinds), "slots": torch.tensor(self.features.slots), **net}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], config: EgnnRolloutConfig | None = None) -> Self:
        """What `state` described, with the config of then.

        Raises:
            ValueError: a state of something else.
        """
        made = cls(config)
        if not {"kinds", "slots", "frames"} <= set(state):
            raise ValueError(f"a state with {sorted(state)} is none of {cls.__name__}")
        made._load(state)
        made.features = Features(made.config.features, tuple(state["kinds"].tolist()), int(state["slots"]))
        net = {name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")}
        made.step = made._net(net["embed.weight"].dtype).eval().requires_grad_(False)
        made.step.load_state_dict(net)
        return made


class _Judge:
    """Mean distance to the truth over the predicted frames of some windows, by the whole roll-out."""

    def __init__(self, model: EgnnRollout, block: Dense) -> None:
        self.model, self.block = model, block

    def __call__(self, module: torch.nn.Module) -> dict[str, float]:
        model, block = self.model, self.block
        model.step = module  # type: ignore[assignment]  # with averaged weights
        apart = (model.predict(block) - block.x[:, :, model.given :]).norm(dim=-1)
        seen = block.mask[:, :, model.given :]
        value = float((apart * seen).sum() / seen.sum().clamp(min=1))
        return {"ade": value if math.isfinite(value) else float("inf")}


def _settings(minutes: float | None, train: TrainConfig | None) -> TrainConfig:
    if train is None:
        minutes = 5.0 if minutes is None else minutes
        return TrainConfig(minutes=minutes, batch=64, lr=2e-3, clip=1.0, keep="best", validate_every_seconds=60 * minutes / 6)
    return train if minutes is None else replace(train, minutes=minutes, steps=None)


