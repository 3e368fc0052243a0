"""SeriesDiffusion: draws of the next frames of a series, block after block, by diffusion of the residual of a deterministic forecast."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from trajlab.catalog import load
from trajlab.models.series_diffusion_config import REFERENCES, DiffusionConfig
from trajlab.models.series_diffusion_fit import ResidualModule, Residuals, learned_reference, residuals, shown, trained
from trajlab.models.series_forecaster import SeriesForecaster
from trajlab.models.series_local import LIMIT, Learned, LocalForecaster, Scale
from trajlab.models.tuning import Tuned
from trajlab.samplers.deis import DEIS
from trajlab.samplers.grids import uniform_lam
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample
from trajlab.types import Trajectories

__all__ = ["DiffusionConfig", "SeriesDiffusion"]

HISTORY = 64  #: frames that a reference forecast may look back


class SeriesDiffusion(SeriesForecaster):
    """Draws x = reference + scale z, z from a diffusion model that is shown the last frames and the reference (Karras et al. 2022, EDM).

    The reference learns from each context. Without `fit` the diffusion learns from the same context, from residuals of references that were fitted on
    other parts of it; after `fit` on many series it is that of their residuals, in standard deviations of each series.

    Args:
        config: see `DiffusionConfig`.
    """

    name = "diffusion"

    def __init__(self, config: DiffusionConfig | None = None) -> None:
        self.config = DiffusionConfig() if config is None else config
        self.reference: LocalForecaster | Tuned = load(REFERENCES[self.config.reference])()
        self.module: ResidualModule | None = None

    @property
    def shortest(self) -> int:  # type: ignore[override]
        return 4 * max(self.config.given + self.config.ahead, self.reference.shortest) + 8

    def _fit(self, trajectories: Trajectories | None) -> None:
        if trajectories is None:
            self.module = None
            return
        self.check(trajectories)
        every = [self._residuals(x) for x in trajectories.x.detach().double().cpu().numpy()]
        samples = Residuals(torch.cat([s.told for s in every]), torch.cat([s.off for s in every]))
        self.module = trained(samples, self.config, self.config.seed)

    def _residuals(self, x: np.ndarray) -> Residuals:
        reference = self.reference.chosen(x) if isinstance(self.reference, Tuned) else self.reference
        return residuals(reference, x, Scale.of(x), self.config)  # type: ignore[arg-type]

    def continuation(self, context: Float[np.ndarray, "time dim"], steps: int, draws: int, rng: np.random.Generator) -> np.ndarray:
        module, seed = self.module, int(rng.integers(2**31))
        if module is None:
            module = trained(self._residuals(context), self.config, seed)
        if module.dim != context.shape[1]:
            raise ValueError(f"diffusion was fitted on series of {module.dim} channels, and this one has {context.shape[1]}; fit it on such series")
        generator = torch.Generator().manual_seed(seed)
        reference, scale = learned_reference(self.reference, context), Scale.of(context)
        keep = max(HISTORY, self.config.given)
        past = np.repeat(context[None, -keep:], draws, 0)
        blocks = []
        for _ in range(-(-steps // self.config.ahead)):
            blocks.append(self._block(module, reference, scale, past, generator))
            past = np.concatenate([past, blocks[-1]], 1)[:, -keep:]
        return np.concatenate(blocks, 1)[:, :steps]

    @torch.no_grad()
    def _block(self, module: ResidualModule, reference: Learned, scale: Scale, past: Float[np.ndarray, "draw time dim"],
               generator: torch.Generator) -> Float[np.ndarray, "draw ahead dim"]:
        ahead = self.config.ahead
        expected = np.stack([scale.to(reference.runs(x, [len(x)], [ahead])[0]) for x in past])
        z = scale.to(past)
        denoiser = module.denoiser.given(told=shown(z[:, -self.config.given :], expected))
        grid = uniform_lam(denoiser.path, self.config.evaluations - 1)
        noise = RowNoise(generator)
        start = noise.normal(torch.empty(len(past), ahead, module.dim)) * grid.levels[0].sigma
        off = sample(denoiser, grid, start, DEIS(3), generator=noise).x * module.scale
        drawn = expected + off.double().numpy()
        return scale.back(held(drawn, z[:, -1:]))


def held(drawn: Float[np.ndarray, "draw time dim"], before: Float[np.ndarray, "draw 1 dim"]) -> Float[np.ndarray, "draw time dim"]:
    """Draws that keep their last good frame from where one leaves the limit."""
    out = np.concatenate([before, drawn], 1)
    for k in range(1, out.shape[1]):
        fine = (np.abs(out[:, k]) <= LIMIT).all(1, keepdims=True)
        out[:, k] = np.where(fine, out[:, k], out[:, k - 1])
    return out[:, 1:]
