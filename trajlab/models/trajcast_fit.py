"""Fitting TrajCast: from trajectories to pairs, scales and a trained step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trajlab.dynamics.conservation import spread
from trajlab.models.pairs import PairBatch, Pairs
from trajlab.models.trajcast_config import TrajCastConfig
from trajlab.models.trajcast_step import TrajCastStep
from trajlab.types import Trajectories

if TYPE_CHECKING:
    from trajlab.models.trajcast import TrajCast


class PairLoss:
    """Mean squared error of displacement and velocity, each in units of a root mean square, with equal weights.

    The published loss takes one root mean square for all atoms. With ``scaling="element"`` each element is weighed by the geometric
    mean of its own and the global one: wholly its own would spend accuracy of hydrogen, which carries the error, on heavy atoms.
    With ``second`` > 0 the error after a second step from the model's own output is added with that weight.

    With ``relative`` each system is weighed by the inverse of its mean squared velocity (at most tenfold), so that pairs of several
    temperatures count by their relative errors: what is learnt near rest decides whether a cold start heats up.
    """

    def __init__(self, displacement: Tensor, velocity: Tensor, second: float = 0.0, relative: bool = False) -> None:
        self.displacement, self.velocity, self.second, self.relative = displacement, velocity, second, relative

    def __call__(self, step: TrajCastStep, batch: PairBatch) -> tuple[Tensor, int]:
        """Sum over components and their number, so that shards with different numbers of atoms are weighed right."""
        before = batch.before
        species = step.species(before.kind)
        case = spread(batch.which, before)
        units = self.displacement[case, species][:, None], self.velocity[case, species][:, None]
        if self.relative:
            motion = before.scene_sum((before.v**2).mean(1)) / before.sizes / step.speed_scale**2
            calm = spread(motion.clamp(min=0.1).sqrt(), before)[:, None]
            units = units[0] * calm, units[1] * calm
        d, v = step(before, batch.slots, batch.stride, batch.which, species)
        loss = _squares(d - batch.displacement, v - batch.velocity, units)
        if self.second and batch.then is not None:
            middle = before.replace(x=before.x + d, v=v)
            further, v = step(middle, batch.slots, batch.stride, batch.which, species)
            loss = loss + self.second * _squares(d + further - batch.then[0], v - batch.then[1], units)
        return loss, batch.velocity.numel()


def _squares(d: Tensor, v: Tensor, units: tuple[Tensor, Tensor]) -> Tensor:
    return ((d / units[0]) ** 2).sum() + ((v / units[1]) ** 2).sum()


def scales(pairs: Pairs, elements: tuple[int, ...], deviation: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Root mean squares of the targets, by stride and element and by stride over all atoms: d[s e], v[s e], d[s 1], v[s 1]."""
    before = pairs.states[0]
    rows = []
    for number, frame in enumerate(pairs.frames):
        after = pairs.states[frame]
        stride = spread(pairs.time[:, frame] - pairs.time[:, 0], before)[:, None]
        d, v = after.x - before.x, after.v
        if deviation:
            d, v = d - before.v * stride, v - before.v
        masks = [before.kind == z for z in elements]
        rms = [[float((value[m] ** 2).mean().sqrt()) for m in masks] for value in (d, v)]
        rows.append((*rms, [float((d**2).mean().sqrt())], [float((v**2).mean().sqrt())]))
        if min(*rms[0], *rms[1]) <= 0:
            raise ValueError(f"an element does not move at all over stride {number}; there is nothing to learn from such pairs")
    made = [torch.tensor([row[k] for row in rows], dtype=torch.float64) for k in range(4)]
    return made[0], made[1], made[2], made[3]


@torch.no_grad()
def relative_errors(step: TrajCastStep, pairs: Pairs, batch: int = 64) -> dict[str, float]:
    """Root mean square errors over all atoms and components, relative to the root mean square of d and of v'."""
    sums = torch.zeros(4, dtype=torch.float64)
    for indices in pairs.forward_samples.split(batch):
        b = pairs.batch(indices)
        d, v = step(b.before, b.slots, b.stride, b.which)
        for k, value in enumerate((d - b.displacement, b.displacement, v - b.velocity, b.velocity)):
            sums[k] += (value**2).sum().cpu()
    return {"score": float((sums[0] / sums[1]).sqrt() + (sums[2] / sums[3]).sqrt()), "displacement": float((sums[0] / sums[1]).sqrt()),
            "velocity": float((sums[2] / sums[3]).sqrt())}


def fit(model: TrajCast, trajectories: Trajectories, validation: Trajectories | None, *, minutes: float | None, train: Any,
        folder: str | Path | None, progress: bool, seed: int) -> TrajCast:
    """See `trajlab.models.trajcast.TrajCast.fit`."""
    from trajlab.train.config import TrainConfig
    from trajlab.train.loop import train as run

    settings = train or TrainConfig(minutes=minutes or 20.0, seed=seed)
    if minutes is not None and train is not None:
        settings = replace(train, minutes=minutes, steps=None)
    trajectories, validation = prepare(model.config, trajectories, validation)
    config = model.config
    then = 2 if config.rollout_loss else None
    frames = (1,) if then else tuple(range(1, trajectories.n_frames))
    pairs = Pairs(trajectories, frames, config.cutoff, config.time_reversal, then)
    elements = tuple(sorted(set(pairs.states[0].kind.tolist())))
    strides = tuple(float(trajectories.time[0, frame] - trajectories.time[0, 0]) for frame in frames)
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)  # the nets' initialisers draw from the global generator; it is put back right after
    density = float(pairs.slots[0].mask.sum(1).mean())  # a little high where the slots have a skin
    step = TrajCastStep(config, elements, strides, config.neighbours or max(round(density, 2), 1.0))
    torch.random.set_rng_state(generator_state)
    by_d, by_v, all_d, all_v = scales(pairs, elements, config.targets == "deviation")
    if config.scaling == "element":
        weigh_d, weigh_v = (by_d * all_d).sqrt(), (by_v * all_v).sqrt()
    else:
        by_d, by_v = all_d.expand_as(by_d).clone(), all_v.expand_as(by_v).clone()
        weigh_d, weigh_v = by_d, by_v
    step.displacement_scale.copy_(by_d)
    step.velocity_scale.copy_(by_v)
    step.speed_scale.copy_((pairs.states[0].v ** 2).mean().sqrt())
    judge = None if validation is None else Pairs(validation, frames, config.cutoff)
    loss = PairLoss(weigh_d, weigh_v, config.rollout_loss, config.scaling == "element")
    result = run(step, loss, pairs, settings, folder=folder, progress=progress,
                 validate=None if judge is None else lambda module: relative_errors(module, judge))
    return finish(model, result, trajectories, settings)


def prepare(config: TrajCastConfig, trajectories: Trajectories, validation: Trajectories | None) -> tuple[Trajectories, Trajectories | None]:
    """Check what came, cut it into samples, and set every tenth run aside for validation where none were given."""
    from trajlab.data.splits import Split, split

    if validation is None:
        if len(trajectories.context.get("run", torch.zeros(0)).unique()) < 10:
            return samples(config, trajectories), None
        parts = split(trajectories, (0.9, 0.1, 0.0), by="run")
        return samples(config, parts.train), samples(config, parts.validation)
    if all("run" in part.context for part in (trajectories, validation)):
        Split(trajectories, validation, validation.scenes(slice(0, 0)))  # refuses parts that leak into each other
    return samples(config, trajectories), samples(config, validation)


def samples(config: TrajCastConfig, data: Trajectories) -> Trajectories:
    """Scenes of a start frame and one frame for each stride, from scenes of any length."""
    from trajlab.data.velocities import check_velocities
    from trajlab.data.windows import windows

    if data.n_frames < 2:
        raise ValueError(f"a pair needs two frames, but these trajectories have {data.n_frames}; record at least one stride after each start")
    check_velocities(data)
    offsets = (data.time - data.time[:, :1]).mean(0)
    strides = config.strides or (float(offsets[1]),)
    if config.rollout_loss:
        strides = (strides[0], 2 * strides[0])
    steps = [_frame_at(offsets, stride) for stride in strides]
    if data.n_frames > max(steps) + 1:
        data = windows(data, max(steps) + 1, hop=max(steps))
    return data.frames([0, *steps])


def _frame_at(offsets: Tensor, stride: float) -> int:
    match = ((offsets - stride).abs() < 1e-6 * stride).nonzero().flatten()
    if not len(match):
        have = ", ".join(f"{float(t):g}" for t in offsets[1:6])
        raise ValueError(f"a stride of {stride:g} fs is asked for, but the frames lie {have}{', ...' if len(offsets) > 6 else ''} fs after the first")
    return int(match[0])


def finish(model: TrajCast, result: Any, trajectories: Trajectories, settings: Any) -> TrajCast:
    """Put the trained step into the model, with the limits of its training data and where it came from."""
    from dataclasses import asdict

    import trajlab
    from trajlab.data.fields import checksum
    from trajlab.models.limits import Limits

    step = result.module
    model.step, model.stride = step.eval().requires_grad_(False), step.strides[0]
    model.limits = Limits.measure(trajectories)
    model.about = {
        "method": "trajcast", "version": trajlab.__version__, "config": asdict(model.config), "train": asdict(settings), "steps": result.step,
        "elapsed_s": result.elapsed, "stopped": result.stopped, "data": checksum(trajectories), "source": dict(trajectories.source),
        "validation": result.history[-1] if result.history else {},
    }
    return model
