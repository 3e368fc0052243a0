"""Replacement conditioning: an observed segment is kept by putting it, at the noise of every level, in the place of the state there.

    x[mask] <- alpha y + sigma eps

with the *same* eps at all levels of a run (or a known one at each), so that what the net sees is one path of the diffusion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from trajlab.guidance.inversion import Inversion
from trajlab.guidance.masks import check_window, inside, where
from trajlab.paths.gaussian import Level
from trajlab.paths.prediction import Prediction
from trajlab.samplers.hooks import Hook
from trajlab.samplers.noise import RowNoise


@dataclass(frozen=True, eq=False)
class Replacement(Hook):
    """Forecasting, bridging and imputation with an unconditional net. Make it by `drawn` or `inverted`.

    The distribution is that of the net's prior with the segment held, which is not the conditional one (it comes nearer with the cycles of
    `trajlab.guidance.cyclic`). Turns and permutes with its input where value, eps and mask do.

    Attributes:
        value: y ``[batch ...]``, clean; NaN where nothing was observed does no harm.
        mask: ``[batch]`` and further axes of a state (node, time), True where observed.
        eps: ``[batch ...]``, or ``[place batch ...]`` with ``lam``.
        lam: ``[place]``, increasing: then eps is that of the places, linear in lam between them.
        window: log-SNR between which is replaced. The step to sigma = 0 counts as inside where the window is open to the data.
    """

    value: Tensor
    mask: Tensor
    eps: Tensor
    lam: Tensor | None = None
    window: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        check_window(self.window)
        eps = self.eps if self.lam is None else self.eps[0]
        if self.lam is not None and self.lam.shape != self.eps.shape[:1]:
            raise ValueError(f"eps has {len(self.eps)} places and lam {tuple(self.lam.shape)}; one log-SNR a place was wanted")
        if eps.shape != self.value.shape:
            raise ValueError(f"value has shape {tuple(self.value.shape)} and eps {tuple(eps.shape)}; they must be the same")

    @classmethod
    def drawn(cls, value: Tensor, mask: Tensor, generator: torch.Generator | RowNoise, window: tuple[float, float] = (-math.inf, math.inf),
              lam: Tensor | None = None) -> Self:
        """With eps drawn once, each row its own; or, where ``lam`` names places (``grid.lam``), afresh at each of them.

        One eps keeps the segment on one path, but leaves its mark on the rest: on Gaussians the rest varies more than with fresh draws.
        """
        noise = generator if isinstance(generator, RowNoise) else RowNoise(generator)
        if lam is None:
            return cls(value, mask, noise.normal(value), window=window)
        return cls(value, mask, torch.stack([noise.normal(value) for _ in lam]), lam.double(), window)

    @classmethod
    def inverted(cls, inversion: Inversion, mask: Tensor, window: tuple[float, float] = (-math.inf, math.inf)) -> Self:
        """With the latents of an inversion (`trajlab.guidance.inversion.ddim_inversion`) of the whole sample."""
        levels = inversion.grid.levels
        value = inversion.states[-1] / levels[-1].alpha
        eps = [(x - k.alpha * value) / k.sigma for x, k in zip(inversion.states, levels) if k.sigma > 0]
        return cls(value, mask, torch.stack(eps), torch.tensor([k.lam for k in levels if k.sigma > 0], dtype=torch.float64), window)

    def segment(self, level: Level) -> Tensor:
        """The segment at the noise of a level.

        Raises:
            ValueError: eps changes along the run and the rows are at different levels.
        """
        return level.alpha * self.value + level.sigma * self._eps(level)

    def before_model(self, x: Tensor, level: Level) -> Tensor:
        return self._put(x, level)

    def after_step(self, x: Tensor, prediction: Prediction, level: Level) -> Tensor:  # noqa: ARG002
        return self._put(x, level)

    def _put(self, x: Tensor, level: Level) -> Tensor:
        act = inside(self.window, level.lam)
        if isinstance(act, Tensor):
            return torch.where(act, where(self.mask, self.segment(level), x), x)
        return where(self.mask, self.segment(level), x) if act else x

    def _eps(self, level: Level) -> Tensor:
        if self.lam is None:
            return self.eps
        if isinstance(level.lam, Tensor):
            raise ValueError("the inverted segment is known for one level at a time, and rows at different levels came; use Replacement.drawn")
        places = self.lam.tolist()
        upper = next((k for k, lam in enumerate(places) if lam >= level.lam), len(places) - 1)
        if upper == 0 or level.lam >= places[-1]:
            return self.eps[upper]
        share = (level.lam - places[upper - 1]) / (places[upper] - places[upper - 1])
        return torch.lerp(self.eps[upper - 1], self.eps[upper], share)
