"""Fitting a `Motion` forecaster: windows to rows, what is held out, and the loop."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trajlab.data.dense import Dense, dense
from trajlab.models.motion.losses import MotionLoss
from trajlab.models.motion.module import MotionModule
from trajlab.models.motion.motion_config import MotionConfig
from trajlab.models.motion.rows import Layout, Rows, available, mirrored, rows_of
from trajlab.types import Trajectories

if TYPE_CHECKING:
    from trajlab.models.motion.motion import Motion
    from trajlab.train.config import TrainConfig

__all__ = ["default_training", "fit"]

FEWEST = 10  #: runs (or blocks of time) of which a tenth can be held out
JUDGED = 256  #: scenes of a validation at a time


def default_training(minutes: float | None = None, seed: int = 0) -> TrainConfig:
    """AdamW, 3000 steps of 256 agents, a cosine schedule and averaged weights."""
    from trajlab.train.config import TrainConfig

    budget: dict[str, Any] = {"steps": 3000} if minutes is None else {"minutes": minutes}
    return TrainConfig(**budget, batch=256, lr=3e-3, optimiser="adamw", weight_decay=1e-4, clip=5.0, ema=0.99, seed=seed)


class RowData:
    """Rows for `trajlab.train.loop.train`; mirrored at random where wanted."""

    def __init__(self, rows: Rows, config: MotionConfig, layout: Layout, fingerprint: str) -> None:
        self.rows, self.mirror, self.signs, self.fingerprint = rows, config.mirror, layout.signs, fingerprint

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> Rows:
        some = self.rows.scenes(indices)
        return mirrored(some, torch.rand(len(indices), generator=generator) < 0.5, self.signs) if self.mirror else some


class Judge:
    """The mean loss over rows that were held out."""

    def __init__(self, rows: Rows, loss: MotionLoss) -> None:
        self.rows, self.loss = rows, loss

    def __call__(self, module: torch.nn.Module) -> dict[str, float]:
        total = count = 0.0
        device = next(module.parameters()).device
        for indices in torch.arange(len(self.rows)).split(JUDGED):
            value, number = self.loss(module, self.rows.scenes(indices).to(device))
            total, count = total + float(value), count + float(number)
        return {"loss": total / max(count, 1.0)}


def fit(model: Motion, windows: Trajectories, validation: Trajectories | None, *, train: TrainConfig, folder: str | Path | None, progress: bool,
        ) -> Motion:
    """See `trajlab.models.motion.motion.Motion.fit`; windows are of the right length and spacing."""
    from trajlab.data.fields import checksum
    from trajlab.train.loop import train as run

    config = model.config
    given, dt = model.given, model.spacing
    if validation is None:
        windows, validation = held_out(windows)
    block = dense(windows)
    layout = Layout(config.inputs or available(block, given), tuple(sorted(set(windows.kind.tolist()))))
    rows = prepared(block, config, layout, (given, dt))
    module = build(config, layout, (given, model.ahead), dt, train.seed)
    module.measure(rows)
    loss = MotionLoss(config)
    judge = None if validation is None else Judge(prepared(dense(validation), config, layout, (given, dt)), loss)
    chosen = train if judge is not None else replace(train, patience=None, keep="last")
    result = run(module, loss, RowData(rows, config, layout, checksum(windows)), chosen, folder=folder, progress=progress, validate=judge)
    model.module = result.module.eval().requires_grad_(False)
    model.units = windows.units
    model.about = {"train": asdict(chosen), "steps": result.step, "elapsed_s": result.elapsed, "stopped": result.stopped, "data": checksum(windows),
                   "source": dict(windows.source), "validation": result.best or {}, "skipped": result.skipped}
    return model


def prepared(block: Dense, config: MotionConfig, layout: Layout, clock: tuple[int, float]) -> Rows:
    """Rows to learn from: agents by themselves where nothing is shared within a scene."""
    rows = rows_of(block, clock[0], config, layout, clock[1])
    if config.backbone == "mlp" and not config.joint:
        return rows.alone()
    useful = (rows.known & rows.future.any(-1)).any(1)
    return rows.map(lambda value: value[useful])


def held_out(windows: Trajectories) -> tuple[Trajectories, Trajectories | None]:
    """A tenth of the runs for validation (of the blocks of time where there are few runs), if there are ten."""
    for name in ("run", "block"):
        group = windows.context.get(name)
        if group is not None and len(group.unique()) >= FEWEST:
            kept = torch.searchsorted(group.unique(), group) % FEWEST != FEWEST - 1
            return windows.scenes(kept.nonzero()[:, 0]), windows.scenes((~kept).nonzero()[:, 0])
    return windows, None


def build(config: MotionConfig, layout: Layout, frames: tuple[int, int], dt: float, seed: int) -> MotionModule:
    """A module with fresh weights."""
    with torch.random.fork_rng(devices=[]):  # initialisers draw from the global generator, which is put back
        torch.manual_seed(seed)
        return MotionModule(config, layout, frames, dt)
