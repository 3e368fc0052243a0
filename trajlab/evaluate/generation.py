"""Scores of generated trajectories that train a small net: can it tell them from real ones, and is it of use on real ones when trained on them.

Both follow Yoon et al. 2019 (TimeGAN) as Han et al. 2024 (GeoTDM, arXiv 2410.13027) use them for geometric trajectories, with a small equivariant
net, several seeds, parts that share no run, and beside each score the same figure where real data of the same size take the place of the generated.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trajlab.data.batches import concat
from trajlab.evaluate.judges import Block, Continuer, Judge, JudgeConfig, block_of, built, cross_entropy, length_scale, square_error, trained
from trajlab.metrics.uncertainty import Estimate
from trajlab.types import Trajectories

__all__ = ["GenerationScore", "JudgeConfig", "classification_score", "prediction_score"]


@dataclass(frozen=True)
class GenerationScore:
    """A score and its control, over seeds.

    Attributes:
        values: of the generated data, one a seed.
        controls: the same with other real data in place of the generated.
        ideal: what generated data from the true law give: a number, or None where it is the control.
    """

    values: tuple[float, ...]
    controls: tuple[float, ...]
    ideal: float | None = None

    @property
    def value(self) -> Estimate:
        """Mean and standard error over seeds."""
        return _over_seeds(self.values)

    @property
    def control(self) -> Estimate:
        return _over_seeds(self.controls)

    def __str__(self) -> str:
        ideal = "" if self.ideal is None else f", ideal {self.ideal:.3f}"
        return f"{self.value} (real against real: {self.control}{ideal}; {len(self.values)} seeds)"


def classification_score(real: Trajectories, generated: Trajectories, config: JudgeConfig | None = None) -> GenerationScore:
    """Cross-entropy on test scenes of a net that tells generated from real; higher is better, ln 2 where it cannot, 0 where it always can.

    Each seed halves the real runs: one half is real, the other stands in for the generated data in the control. 60 % of the runs of either
    side train the net, 20 % choose its best step and 20 % are scored; both sides have as many scenes in each part.

    Args:
        real, generated: scenes with the same numbers of frames and dimensions and the same units. Scenes of one
            ``context["run"]`` stay together; without it every scene is a run.
        config: the net and its training.

    Raises:
        ValueError: frames, dimensions or units differ, or there are too few runs.
    """
    config = config or JudgeConfig()
    _alike(real, generated)
    values, controls = [], []
    for seed in range(config.seed, config.seed + config.seeds):
        generator = torch.Generator().manual_seed(seed)
        one, other = _shares(real, (0.5, 0.5), generator)
        values.append(_classified(one, generated, config, seed))
        controls.append(_classified(one, _some(other, min(other.n_scenes, generated.n_scenes), generator), config, seed))
    return GenerationScore(tuple(values), tuple(controls), math.log(2))


def prediction_score(real: Trajectories, generated: Trajectories, given: int, config: JudgeConfig | None = None) -> GenerationScore:
    """Mean square error on real scenes of a net that is trained on generated ones to continue ``given`` frames; lower is better.

    In the unit of length squared, over seen coordinates. Each seed halves the real runs: one half is scored, the other trains the net of the
    control, on as many scenes as the generated data have at most.

    Raises:
        ValueError: frames, dimensions or units differ, ``given`` leaves no frame to predict, or there are too few runs.
    """
    config = config or JudgeConfig()
    _alike(real, generated)
    if not 1 <= given < real.n_frames:
        raise ValueError(f"given={given} of {real.n_frames} frames: at least 1 must be given and 1 predicted")
    values, controls = [], []
    for seed in range(config.seed, config.seed + config.seeds):
        generator = torch.Generator().manual_seed(seed)
        test, other = _shares(real, (0.5, 0.5), generator)
        scenes = min(other.n_scenes, generated.n_scenes)
        for source, into in ((generated, values), (other, controls)):
            chosen = torch.randperm(source.n_scenes, generator=generator)[:scenes].sort().values
            into.append(_predicted(source.scenes(chosen), test, given, config, seed))
    return GenerationScore(tuple(values), tuple(controls))


def _over_seeds(values: tuple[float, ...]) -> Estimate:
    mean = sum(values) / len(values)
    if len(values) < 2:
        return Estimate(mean, math.nan)
    return Estimate(mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values)))


def _alike(real: Trajectories, generated: Trajectories) -> None:
    if (real.n_frames, real.dim) != (generated.n_frames, generated.dim):
        raise ValueError(f"the real scenes have {real.n_frames} frames in {real.dim} dimensions and the generated {generated.n_frames} in "
                         f"{generated.dim}; cut them to the same frames")
    if real.units != generated.units:
        raise ValueError(f"the real scenes are in {real.units} and the generated in {generated.units}; convert one of them")


def _shares(trajectories: Trajectories, fractions: tuple[float, ...], generator: torch.Generator) -> list[Trajectories]:
    """Random parts of the runs."""
    run = trajectories.context.get("run", torch.arange(trajectories.n_scenes))
    row = run.unique(return_inverse=True)[1].cpu()
    runs = int(row.max()) + 1 if len(row) else 0
    ends = [0] + [round(runs * sum(fractions[: k + 1])) for k in range(len(fractions))]
    if min(b - a for a, b in itertools.pairwise(ends)) < 1:
        raise ValueError(f"{runs} independent runs cannot be shared out as {fractions}; more runs are needed (scenes of one run stay together)")
    place = torch.randperm(runs, generator=generator)[row]
    return [trajectories.scenes(((place >= a) & (place < b)).nonzero()[:, 0]) for a, b in itertools.pairwise(ends)]


def _classified(real: Trajectories, other: Trajectories, config: JudgeConfig, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    parts = zip(*(_shares(side, (0.6, 0.2, 0.2), generator) for side in (real, other)))
    pairs = [tuple(_some(side, min(one.n_scenes, two.n_scenes), generator) for side in (one, two)) for one, two in parts]
    kinds, scale = torch.cat([real.kind, other.kind]).unique(), length_scale(pairs[0][0])
    blocks = [_labelled(*pair, scale, kinds, config) for pair in pairs]
    module = built(lambda: Judge(real.n_frames, blocks[0], config), seed)
    return trained(module, cross_entropy, blocks, config, seed)


def _predicted(source: Trajectories, test: Trajectories, given: int, config: JudgeConfig, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    parts = [*_shares(source, (0.8, 0.2), generator), test]
    kinds, scale = torch.cat([source.kind, test.kind]).unique(), length_scale(test)  # one unit for the score and its control
    blocks = [block_of(part, torch.zeros(part.n_scenes), scale, kinds, config) for part in parts]
    module = built(lambda: Continuer(given, source.n_frames, blocks[0], config), seed)
    return trained(module, square_error, blocks, config, seed) * scale**2


def _some(trajectories: Trajectories, scenes: int, generator: torch.Generator) -> Trajectories:
    return trajectories.scenes(torch.randperm(trajectories.n_scenes, generator=generator)[:scenes].sort().values)


def _labelled(real: Trajectories, other: Trajectories, scale: float, kinds: Tensor, config: JudgeConfig) -> Block:
    label = torch.cat([torch.ones(real.n_scenes), torch.zeros(other.n_scenes)])
    bare = [t.replace(context={}, static={} if config.features is None else t.static, extra={} if config.features is None else t.extra, source={})
            for t in (real, other)]
    return block_of(concat(bare), label, scale, kinds, config)
