"""Drawing from a fitted GeoTDM: padded blocks in, windows out, in chunks of rows whose size does not matter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from trajlab.data.dense import Dense
from trajlab.guidance.classifier_free import ClassifierFree
from trajlab.guidance.constraints import ZeroCentre
from trajlab.guidance.flowchef import FlowChef
from trajlab.metrics.diagnostics import Threshold, Window, hallucination_score
from trajlab.models.geotdm_module import GeoTDMModule
from trajlab.models.given_frames import seen_nodes
from trajlab.models.window_forecaster import continued
from trajlab.samplers.deis import DEIS
from trajlab.samplers.grids import Grid, uniform_lam
from trajlab.samplers.hooks import Hook
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample
from trajlab.samplers.solver import Solver


@dataclass(frozen=True, eq=False)
class Sampling:
    """How a fitted GeoTDM is drawn from.

    Attributes:
        evaluations: calls of the net, on a grid uniform in the log-signal-to-noise.
        solver: of `trajlab.samplers`; third-order DEIS where None.
        weight: of classifier-free guidance; 1 is the conditional model. Needs a model fitted with ``drop`` > 0.
        guide: loss of predicted positions ``[row node time dim]``, in the unit of the data about the scene's own origin, to one number a row;
            the draws are steered towards small values (FlowChef).
        guide_step: step of that steering, in standardised residuals.
        window: log-SNRs over which the hallucination score looks at predictions.
        reject: threshold of that score; draws above it get log-weight -inf.
        rows: scenes times draws that go through the net together.
    """

    evaluations: int = 15
    solver: Solver | None = None
    weight: float = 1.0
    guide: Callable[[Tensor], Tensor] | None = None
    guide_step: float = 0.25
    window: Window = field(default_factory=lambda: Window(0.0, 3.0))
    reject: Threshold | None = None
    rows: int = 256

    def __post_init__(self) -> None:
        if self.evaluations < 2 or self.rows < 1:
            raise ValueError(f"evaluations={self.evaluations} and rows={self.rows}; at least 2 evaluations and 1 row were wanted")

    @property
    def scored(self) -> bool:
        """Whether the hallucination score is wanted."""
        return self.reject is not None


@dataclass(frozen=True)
class Start:
    """Where a run begins, other than from pure noise.

    Attributes:
        rough: windows to start from, ``[scene node predicted dim]``.
        strength: share of the path that is gone back: 1 forgets them, 0 returns them.
    """

    rough: Tensor
    strength: float


@dataclass(frozen=True, eq=False)
class Observed:
    """Frames to come that are known in part.

    Attributes:
        value: ``[scene node predicted dim]``.
        mask: True where known, ``[scene node predicted]``.
    """

    value: Tensor
    mask: Tensor


@torch.no_grad()
def draw(module: GeoTDMModule, block: Dense, rows: Tensor, seed: int, how: Sampling, start: Start | None = None, observed: Observed | None = None,
         reference: Tensor | None = None, progress: bool = False) -> tuple[Tensor, Tensor | None]:
    """One window for every scene of a block.

    Args:
        block: scenes with the given frames (a scene may stand in it many times, once a draw).
        rows: number of each scene's stream of random numbers, ``[scene]``.
        seed: of all streams.
        how: solver, guidance, steering.
        start, observed: where to begin, and what is known of the frames to come.
        reference: the module's forecast of the block, where it is known already.
        progress: show a bar on a terminal.

    Returns:
        Positions of the predicted frames ``[scene node predicted dim]``, 0 in the padding, and the hallucination score a scene where wanted.
    """
    parts = []
    pieces = torch.arange(len(block), device=block.x.device).split(how.rows)
    for piece in track(pieces, "drawing", console=Console(stderr=True), transient=True, disable=not (progress and sys.stderr.isatty())):
        cut = None if start is None else replace(start, rough=start.rough[piece])
        known = None if observed is None else Observed(observed.value[piece], observed.mask[piece])
        expected = module.forecast(block.scenes(piece)) if reference is None else reference[piece]
        parts.append(_piece(module, block.scenes(piece), rows[piece].tolist(), seed, how, expected, cut, known))
    scores = None if parts[0][1] is None else torch.cat([score for _, score in parts if score is not None])
    return torch.cat([x for x, _ in parts]), scores


def _piece(module: GeoTDMModule, block: Dense, rows: list[int], seed: int, how: Sampling, reference: Tensor, start: Start | None,
           observed: Observed | None) -> tuple[Tensor, Tensor | None]:
    config, dtype = module.config, module.scale.dtype
    there = (seen_nodes(block, config.given) if config.given else block.there)[..., None].expand(-1, -1, config.predicted)
    mask = None if bool(there.all()) else there
    scale = module.scale
    denoiser: Any = module.denoiser.given(**module.condition(block, reference=reference))
    if how.weight != 1:
        hidden = module.condition(block, torch.ones(len(block), dtype=torch.bool, device=block.x.device), reference)
        denoiser = ClassifierFree(module.denoiser.given(**_alike(denoiser.condition, hidden, block, config.given)),
                                  module.denoiser.given(**hidden), how.weight)
    noise = RowNoise(torch.Generator().manual_seed(seed), rows)
    grid = uniform_lam(denoiser.path, how.evaluations - 1)
    z = noise.normal(torch.empty(reference.shape, dtype=dtype, device=reference.device))
    hooks = _hooks(module, how, reference, mask, observed)
    if not config.given:
        z = hooks[0].noise(z)
    if start is not None:
        grid, z = _rough(grid, ((start.rough - reference) / scale).to(dtype), z, start.strength)
    else:
        z = z * grid.levels[0].sigma
    found = sample(denoiser, grid, z, how.solver or DEIS(min(3, grid.steps)), generator=noise, hooks=hooks, mask=mask, trace=how.scored)
    score = None
    if how.scored:
        steps = found.trace
        score = hallucination_score([s.prediction.x0 for s in steps], [s.prediction.level.lam for s in steps], how.window, mask=mask)
    return (reference + found.x.to(reference.dtype) * scale) * there[..., None], score


def _alike(condition: dict[str, Tensor], hidden: dict[str, Tensor], block: Dense, given: int) -> dict[str, Tensor]:
    """Both conditions of a guided call with the same names: a mask of the given frames in each."""
    return condition if "seen" in condition or "seen" not in hidden else {**condition, "seen": block.mask[:, :, :given]}


def _hooks(module: GeoTDMModule, how: Sampling, reference: Tensor, mask: Tensor | None, observed: Observed | None) -> list[Hook]:
    hooks: list[Hook] = [] if module.config.given else [ZeroCentre((1, 2), mask)]
    scale = module.scale
    if how.guide is not None:
        guide = how.guide
        hooks.append(FlowChef(lambda z: guide(reference + z.to(reference.dtype) * scale), how.guide_step))
    if observed is not None:
        value = torch.where(observed.mask[..., None], (observed.value - reference) / scale, torch.zeros_like(reference))
        hooks.append(FlowChef.observing(value.to(scale.dtype), observed.mask))
    return hooks


def _rough(grid: Grid, z: Tensor, noise: Tensor, strength: float) -> tuple[Grid, Tensor]:
    """The rest of a grid from the level at which 1 - strength of the path is gone, and the rough windows noised to it."""
    if not 0 < strength <= 1:
        raise ValueError(f"strength={strength:g}; a share of the path within (0, 1] was wanted: small keeps the windows, 1 forgets them")
    first, last = float(grid.lam[0]), float(grid.lam[-1])
    lam = last - strength * (last - first)
    short = uniform_lam(grid.path, max(3, round(strength * grid.steps)), start=lam)
    return short, short.levels[0].alpha * z + short.levels[0].sigma * noise


def onward(block: Dense, made: Tensor, given: int, spacing: float) -> Dense:
    """The block that continues from drawn windows: the last ``given`` frames of what was given and made."""
    seen = (seen_nodes(block, given))[..., None].expand(made.shape[:3])
    x, mask = torch.cat([block.x[:, :, :given], made], 2), torch.cat([block.mask[:, :, :given], seen], 2)
    time = torch.cat([block.time[:, :given], continued(block.time[:, :given], made.shape[2], spacing)], 1)
    return replace(block, x=x[:, :, -given:], mask=mask[:, :, -given:], time=time[:, -given:], extra={}, place=None)
