"""Fitting GeoTDM: windows to padded blocks, a reference forecast, the scale of its residual, and a trained net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trajlab.data.dense import Dense, dense
from trajlab.models.features import Features
from trajlab.models.geotdm_config import GeoTDMConfig
from trajlab.models.geotdm_module import GeoTDMModule, feature_config, reference_of, residual_mask, settings, typical_length
from trajlab.models.window_forecaster import WindowForecaster
from trajlab.paths.centre import centred
from trajlab.paths.levels import LogNormal
from trajlab.paths.regression import Denoising, Loss, denoising_loss
from trajlab.types import Trajectories

if TYPE_CHECKING:
    from trajlab.models.geotdm import GeoTDM


class Windows:
    """Windows in memory as one block, for `trajlab.train.loop.train`; a batch is the block of some scenes and their reference forecasts."""

    def __init__(self, module: GeoTDMModule, windows: Trajectories) -> None:
        from trajlab.data.fields import checksum

        self.block = dense(windows)
        self.reference = None if module.prior is not None else module.forecast(self.block)
        self.fingerprint = checksum(windows)

    def __len__(self) -> int:
        return len(self.block)

    def batch(self, indices: Tensor) -> tuple[Dense, Tensor | None]:
        return self.block.scenes(indices), None if self.reference is None else self.reference[indices]


class ResidualLoss:
    """EDM's denoising loss of standardised residuals, over what was observed."""

    def __init__(self, config: GeoTDMConfig) -> None:
        self.config = config
        axes = None if config.given else (1, 2)
        self.how = Denoising(LogNormal(config.level_mean, config.level_std), axes=axes)

    def __call__(self, module: GeoTDMModule, batch: tuple[Dense, Tensor | None], generator: torch.Generator) -> Loss:
        block, reference = batch
        inner = module.module if hasattr(module, "module") else module  # within DistributedDataParallel
        config: GeoTDMConfig = inner.config
        reference = inner.forecast(block) if reference is None else reference
        mask = residual_mask(block, config.given)
        z = ((block.x[:, :, config.given :] - reference) / inner.scale).to(inner.scale.dtype)
        hide = None
        if config.drop:
            hide = torch.rand(len(block), generator=generator, device=generator.device).to(z.device) < config.drop
        condition = inner.condition(block, hide, reference)
        denoiser = inner.denoiser
        denoiser.net = module
        return denoising_loss(denoiser, z, generator, None if bool(mask.all()) else mask, condition, self.how)


def fit(model: GeoTDM, windows: Trajectories, validation: Trajectories | None, *, minutes: float | None, train: Any, folder: str | Path | None,
        progress: bool, seed: int) -> GeoTDM:
    """See `trajlab.models.geotdm.GeoTDM.fit`."""
    from trajlab.train.config import TrainConfig
    from trajlab.train.loop import train as run

    chosen = train or TrainConfig(minutes=minutes or 20.0, seed=seed, batch=64, lr=2e-3, clip=0.3)
    if minutes is not None and train is not None:
        chosen = replace(train, minutes=minutes, steps=None)
    windows, validation = prepare(model.config, windows, validation)
    reference, chosen_ = fitted_reference(model.config, windows, chosen, folder, progress), chosen
    if model.config.prior == "rollout":
        chosen_ = shared(chosen, 1 - model.config.prior_share)
    module = build(model.config, windows, reference, seed)
    limit(module, windows)
    data = Windows(module, windows)
    standardise(module, data)
    judge = None if validation is None else Windows(module, validation)
    loss = ResidualLoss(model.config)
    result = run(module, loss, data, chosen_, folder=folder, progress=progress,
                 validate=None if judge is None else lambda trained: {"loss": validation_loss(trained, judge, loss)})
    return finish(model, result, windows, chosen)


def prepare(config: GeoTDMConfig, windows: Trajectories, validation: Trajectories | None) -> tuple[Trajectories, Trajectories | None]:
    """Windows of the right number of frames, and a tenth of the runs set aside for validation where none came."""
    from trajlab.data.splits import split

    windows = cut(config, windows, "fit")
    if validation is not None:
        return windows, cut(config, validation, "validation")
    if len(windows.context.get("run", torch.zeros(0)).unique()) < 10:
        return windows, None
    parts = split(windows, (0.9, 0.1, 0.0), by="run")
    return parts.train, parts.validation


def cut(config: GeoTDMConfig, data: Trajectories, what: str) -> Trajectories:
    """Windows of given + predicted frames; longer scenes are cut, half a window apart.

    Raises:
        ValueError: scenes are shorter.
    """
    from trajlab.data.windows import windows

    frames = config.given + config.predicted
    if data.n_frames < frames:
        raise ValueError(f"{what}: the scenes have {data.n_frames} frames, but a window has {config.given} given and {config.predicted} predicted "
                         "ones; record longer scenes, or set given and predicted")
    if not data.n_scenes:
        raise ValueError(f"{what}: there are no scenes")
    return data if data.n_frames == frames else windows(data, frames, hop=max(1, frames // 2))


def shared(train: Any, share: float) -> Any:
    """The training settings with a share of the budget."""
    return replace(train, minutes=train.minutes * share) if train.minutes else replace(train, steps=max(1, round(train.steps * share)))


def fitted_reference(config: GeoTDMConfig, windows: Trajectories, train: Any, folder: str | Path | None, progress: bool) -> WindowForecaster | None:
    """The reference forecast; a roll-out is trained with its share of the budget, a linear one solved for."""
    from trajlab.models.egnn_rollout import EgnnRollout

    reference = reference_of(config)
    if isinstance(reference, EgnnRollout):
        where = None if folder is None else Path(folder) / "reference"
        settings_ = replace(shared(train, config.prior_share), lr=2e-3, clip=1.0, validate_every=None, validate_every_seconds=60.0, keep="best",
                            patience=None)
        return reference.fit(windows.to(dtype=getattr(torch, config.dtype)), config.given, train=settings_, folder=where, progress=progress)
    return None if reference is None else reference.fit(windows, config.given)


def build(config: GeoTDMConfig, windows: Trajectories, reference: WindowForecaster | None, seed: int) -> GeoTDMModule:
    """A module with fitted reference forecast and fresh weights."""
    features = Features.learn(feature_config(config), windows)
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)  # initialisers draw from the global generator; it is put back right after
    module = GeoTDMModule(config, features, reference).to(getattr(torch, config.dtype))
    torch.random.set_rng_state(state)
    return module


def limit(module: GeoTDMModule, windows: Trajectories) -> None:
    """Set how far a reference forecast may go: one and a half times as far as any node went in training."""
    if module.config.prior != "rollout" or not module.config.given:
        return
    block, given = dense(windows), module.config.given
    apart = (block.x[:, :, given:] - filled_last(block, given)).norm(dim=-1)[residual_mask(block, given)]
    if len(apart):
        module.reach.fill_(1.5 * float(apart.max()))


def standardise(module: GeoTDMModule, data: Windows) -> None:
    """Set the unit of length and the scale of the residual.

    Raises:
        ValueError: the reference forecast is exact, or nothing is observed.
    """
    block, given = data.block, module.config.given
    module.unit.fill_(typical_length(block, given))
    mask = residual_mask(block, given)
    if not bool(mask.any()):
        raise ValueError("no node was seen both in the given and in the predicted frames; there is nothing to learn")
    if given:
        reference = data.reference
        if reference is None:  # a learned prior changes while training: its start, the last position, sets the scale
            reference = filled_last(block, given)
        off = block.x[:, :, given:] - reference
    else:
        off = centred(block.x, None if bool(mask.all()) else mask, (1, 2))
    scale = float(off[mask].double().pow(2).mean().sqrt())
    if not scale > 1e-9 * float(module.unit):
        raise ValueError("the reference forecast leaves no residual: these windows are predicted exactly by it, and nothing is left to learn")
    module.scale.fill_(scale)


def filled_last(block: Dense, given: int) -> Tensor:
    """The last position, held."""
    from trajlab.models.given_frames import filled

    return filled(block, given)[:, :, -1:]


@torch.no_grad()
def validation_loss(module: GeoTDMModule, data: Windows, loss: ResidualLoss, rows: int = 128) -> float:
    """The loss on the validation windows, with the same noise every time."""
    generator = torch.Generator().manual_seed(0)
    total = count = 0.0
    for indices in torch.arange(min(len(data), 1024)).split(rows):
        part, number = loss(module, data.batch(indices), generator)
        total, count = total + float(part), count + float(number)
    return total / max(count, 1.0)


def finish(model: GeoTDM, result: Any, windows: Trajectories, chosen: Any) -> GeoTDM:
    """Put the trained module into the model, with where it came from."""
    from dataclasses import asdict

    import trajlab
    from trajlab.data.fields import checksum

    model.module = result.module.eval().requires_grad_(False)
    model.spacing, model.units = float(windows.time.diff(dim=1).mean()), windows.units
    model.about = {
        "method": "geotdm", "version": trajlab.__version__, "config": settings(model.config), "train": asdict(chosen), "steps": result.step,
        "elapsed_s": result.elapsed, "stopped": result.stopped, "data": checksum(windows), "source": dict(windows.source),
        "validation": result.best or {}, "scale": float(model.module.scale), "unit": float(model.module.unit),
    }
    return model
