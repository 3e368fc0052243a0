"""Training the nets of sensor graphs: absolute errors over what was seen, stopped by later series."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trajlab.models.air.airphynet_config import AirPhyNetConfig
from trajlab.models.air.airphynet_net import StationNet
from trajlab.models.air.inputs import Batch, Shown, StationScale
from trajlab.train.config import TrainConfig
from trajlab.train.loop import train
from trajlab.types import Trajectories

__all__ = ["chosen_origins", "train_member"]

WEEK = 168  #: frames of a block of sparse data
EVERY = 7  #: frames between the windows of a validation
PART = 256  #: windows at a time


class SeenError:
    """Mean absolute error over what was seen, in original units, plus the Kullback-Leibler term with weight ``kl``."""

    def __init__(self, kl: float) -> None:
        self.kl = kl

    def __call__(self, module: nn.Module, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        said, kl = module(batch, generator if self.kl else None)
        if batch.target is None or batch.seen is None:
            raise ValueError("a batch without targets cannot train; give windows with a whole horizon")
        error = ((said - batch.target).abs() * batch.seen).sum() / batch.seen.sum().clamp(min=1)
        return error if kl is None else error + self.kl * kl


class Judge:
    """Mean absolute error of windows every few frames of the validation series, mean over windows."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown

    @torch.no_grad()
    def __call__(self, module: nn.Module) -> dict[str, float]:
        wrong: list[Tensor] = []
        for part in torch.arange(len(self.shown)).split(PART):
            batch = self.shown.batch(part)
            count = batch.seen.sum((1, 2))  # type: ignore[union-attr]
            error = ((module(batch)[0] - batch.target).abs() * batch.seen).sum((1, 2)) / count.clamp(min=1)  # type: ignore[operator]
            wrong.append(error[count > 0])
        return {"error": float(torch.cat(wrong).mean())}


def chosen_origins(series: Trajectories, config: AirPhyNetConfig) -> Tensor:
    """Last given frames of training windows; with ``share`` below 1 only those whose whole window lies in weeks that were kept.

    Raises:
        ValueError: the series are too short, or nothing is left.
    """
    span = config.past + config.horizon
    if series.n_frames < span:
        raise ValueError(f"the series have {series.n_frames} frames; at least {span} (past + horizon) were wanted")
    rows = torch.arange(config.past - 1, series.n_frames - config.horizon)
    if config.share < 1:
        weeks = torch.div(rows, WEEK, rounding_mode="floor")
        count = int(weeks[-1]) + 1
        keep = torch.randperm(count, generator=torch.Generator().manual_seed(config.seed))[: max(1, round(config.share * count))]
        rows = rows[torch.isin(weeks, keep)]
    return rows


def train_member(parts: tuple[Trajectories, Trajectories | None], scale: StationScale, net: StationNet, config: AirPhyNetConfig,
                 seed: int) -> dict[str, float]:
    """Train one net in place; the best weights of the validation are kept where there is one. Returns its error and the step it was found at."""
    series, later = parts
    shown = Shown(series, scale, config, chosen_origins(series, config))
    judge = None
    if later is not None and later.n_frames >= config.past + config.horizon:
        judge = Judge(Shown(later, scale, config, torch.arange(config.past - 1, later.n_frames - config.horizon, EVERY)))
    how = TrainConfig(steps=config.steps, batch=min(config.batch, len(shown)), lr=config.lr, warmup=max(1, config.steps // 10), optimiser="adamw",
                      weight_decay=config.weight_decay, clip=20.0, ema=0.98, seed=seed, accelerator="cpu", log_every=10**6,
                      validate_every=min(config.check_every, config.steps), patience=None if judge is None else config.patience,
                      keep="last" if judge is None else "best")
    result = train(net, SeenError(config.kl), shown, how, validate=judge, progress=False)
    found = {"seconds": result.elapsed, "step": float(result.step)}
    if result.best is not None:
        found |= {"step": float(result.best["step"]), "error": float(result.best["validation"]["error"])}
    return found
