"""Training the diffusion of series: residuals of a reference forecast where it was not fitted, and a denoiser of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from trajlab.models.series_diffusion_config import DiffusionConfig
from trajlab.models.series_local import Learned, LocalForecaster, Scale
from trajlab.models.tuning import Tuned
from trajlab.nets.window_perceptron import WindowPerceptron
from trajlab.paths.denoiser import Denoiser, Edm
from trajlab.paths.levels import LogNormal
from trajlab.paths.regression import Denoising, Loss, denoising_loss
from trajlab.paths.schedules import EDM
from trajlab.train.config import TrainConfig

__all__ = ["Residuals", "ResidualModule", "learned_reference", "residuals", "trained"]

PARTS = 4  #: of a context; residuals of each are those of a reference fitted on others


@dataclass(frozen=True, eq=False)
class Residuals:
    """Training samples in standardised units.

    Attributes:
        told: what the net is shown ``[sample told]``.
        off: truth minus reference ``[sample frame dim]``.
    """

    told: Tensor
    off: Tensor

    def __len__(self) -> int:
        return len(self.off)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.told[indices], self.off[indices]


class ResidualModule(nn.Module):
    """F of the preconditioned denoiser of residuals, each frame and channel in units of ``scale``, its standard deviation."""

    scale: Tensor

    def __init__(self, config: DiffusionConfig, dim: int) -> None:
        super().__init__()
        self.config, self.dim = config, dim
        self.net = WindowPerceptron(config.ahead, dim, (config.given + config.ahead) * dim, config.width, config.layers)
        self.register_buffer("scale", torch.ones(config.ahead, dim))

    def forward(self, x: Tensor, clock: Tensor, told: Tensor) -> Tensor:
        return self.net(x, clock, told)

    @property
    def denoiser(self) -> Denoiser:
        """On an EDM path over standardised residuals."""
        path = EDM(sigma_min=self.config.sigma_min, sigma_max=self.config.sigma_max)
        return Denoiser(self, path, precondition=Edm(1.0), clock="quarter_log_rho")


def shown(z: Float[np.ndarray, "batch given dim"], expected: Float[np.ndarray, "batch ahead dim"]) -> Float[Tensor, "batch told"]:
    """The condition of the net: the last frame, the increments before it, and those of the reference forecast, each in rough units."""
    last = z[:, -1:]
    moved = np.concatenate([last, z[:, :-1] - last, expected - last], 1)
    return torch.as_tensor(moved.reshape(len(z), -1), dtype=torch.float32)


def learned_reference(forecaster: LocalForecaster | Tuned, x: Float[np.ndarray, "time dim"]) -> Learned:
    """The reference after it has learned from a context."""
    chosen = forecaster.chosen(x) if isinstance(forecaster, Tuned) else forecaster
    if not isinstance(chosen, LocalForecaster):
        raise TypeError(f"{chosen.name} learns from more than the context; a reference must be a local method")
    return chosen.learn(x)


def residuals(reference: LocalForecaster, x: Float[np.ndarray, "time dim"], scale: Scale, config: DiffusionConfig) -> Residuals:
    """Windows of one series, and what a reference that was fitted elsewhere in it leaves.

    Residuals of the frames that a reference was fitted on are too small. Each quarter of the series is therefore forecast by a reference that was
    fitted on the longest stretch without it.
    """
    told, off, count = [], [], len(x)
    for k in range(PARTS):
        first, last = round(k * count / PARTS), round((k + 1) * count / PARTS)
        rest = x[:first] if first > count - last else x[last:]
        origins = list(range(max(first, config.given, reference.shortest), last - config.ahead + 1))
        runs = reference.learn(rest).runs(x, origins, [config.ahead] * len(origins))
        if not origins:
            continue
        z, expected = scale.to(x), np.stack([scale.to(run) for run in runs])
        told.append(shown(np.stack([z[n - config.given : n] for n in origins]), expected))
        off.append(torch.as_tensor(np.stack([z[n : n + config.ahead] for n in origins]) - expected, dtype=torch.float32))
    return Residuals(torch.cat(told), torch.cat(off))


class ResidualLoss:
    """EDM's denoising loss of standardised residuals."""

    how = Denoising(LogNormal(-0.5, 1.3))

    def __call__(self, module: ResidualModule, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Loss:
        told, off = batch
        return denoising_loss(module.denoiser, off / module.scale, generator, None, {"told": told}, self.how)


def trained(samples: Residuals, config: DiffusionConfig, seed: int) -> ResidualModule:
    """A module trained on residuals; float32."""
    from trajlab.train.loop import train

    with torch.random.fork_rng(devices=[]):  # initialisers draw from the global generator, which is put back
        torch.manual_seed(seed)
        module = ResidualModule(config, samples.off.shape[2])
    module.scale.copy_(samples.off.square().mean(0).sqrt().clamp(min=1e-9))
    budget = {"steps": config.steps} if config.seconds is None else {"minutes": config.seconds / 60}
    how = TrainConfig(**budget, batch=config.batch, lr=config.lr, warmup=20, clip=1.0, ema=0.98, seed=seed, accelerator="cpu", log_every=10**6)
    train(module, ResidualLoss(), samples, how, progress=False)
    return module.eval().requires_grad_(False)
