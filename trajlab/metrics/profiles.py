"""Profiles: curves that add up over scenes (histograms, spectra, displacements), how far two of them are apart, and how far apart
two halves of the reference are.

A distance between two estimated curves is never zero, even where both come from the same law. So every distance is given with
its noise floor, the distance between two halves of the reference, and is taken between samples of the same size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.data.batches import concat
from trajlab.types import Forecast, Trajectories

Distance = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True, eq=False)
class Profile:
    """A curve as the ratio of two sums over scenes, so that it can be had for any subset of them.

    Attributes:
        axis: the centres of the bins, ``[bin]``.
        total: what was counted or summed in each scene, ``[scene bin]``.
        weight: what it is to be divided by, ``[scene bin]``; a scene that was stopped weighs less.
    """

    axis: Float[Tensor, "bin"]
    total: Float[Tensor, "scene bin"]
    weight: Float[Tensor, "scene bin"]

    @property
    def n_scenes(self) -> int:
        return len(self.total)

    def pick(self, which: Int[Tensor, "some"]) -> Self:
        """The profile of some of the scenes."""
        return type(self)(self.axis, self.total[which], self.weight[which])

    def curve(self) -> Float[Tensor, "bin"]:
        """The curve of all scenes together; 0 where nothing was weighed."""
        weight = self.weight.sum(0)
        return torch.where(weight > 0, self.total.sum(0) / weight.clamp_min(torch.finfo(weight.dtype).tiny), 0)

    def band(self) -> Float[Tensor, "bin"]:
        """Standard error of the curve from the spread between scenes (delta method); 0 for a single scene."""
        if self.n_scenes < 2:
            return torch.zeros_like(self.axis)
        residual = self.total - self.curve() * self.weight
        spread = (residual.square().sum(0) * self.n_scenes / (self.n_scenes - 1)).sqrt()
        return torch.where(self.weight.sum(0) > 0, spread / self.weight.sum(0).clamp_min(1e-300), 0)


def l1(curve: Float[Tensor, "bin"], reference: Float[Tensor, "bin"]) -> float:
    """Integral of ``|g - g_ref|`` over the integral of ``g_ref``, on the same bins."""
    total = float(reference.abs().sum())
    if total == 0:
        raise ValueError("the reference curve is zero in every bin; widen the range of the bins or pass frames that were not stopped")
    return float((curve - reference).abs().sum()) / total


def overlap(curve: Float[Tensor, "bin"], reference: Float[Tensor, "bin"]) -> float:
    """Cosine overlap ``<S, S_ref> / (|S| |S_ref|)``: 1 where the curves are proportional."""
    return float(torch.nn.functional.cosine_similarity(curve, reference, dim=0))


@dataclass(frozen=True)
class Compared:
    """A distance and its noise.

    Attributes:
        value: distance between the two curves of all scenes.
        matched: the same with samples of half the size on either side, averaged over random splits.
        floor: the same between two such samples of the reference, averaged over splits.
        spread: standard deviation of ``matched`` over splits.
    """

    value: float
    matched: float
    floor: float
    spread: float

    @property
    def above(self) -> float:
        """How far the distance is above the noise, at equal sample sizes; about 0 for a perfect model."""
        return self.matched - self.floor


def compare(
    candidate: Profile, reference: Profile, distance: Distance, generator: torch.Generator | None = None, splits: int = 8
) -> Compared:
    """The distance of a profile from its reference, beside the distance between random halves of the reference.

    ``matched`` and ``floor`` both compare samples of half as many scenes as the smaller side has, so that they hold the same
    sampling noise; needs 2 scenes on either side (`time_blocks` makes scenes from long runs).

    Raises:
        ValueError: the bins differ, or one side has fewer than 2 scenes.
    """
    if candidate.axis.shape != reference.axis.shape or not torch.allclose(candidate.axis, reference.axis):
        raise ValueError(f"the profiles have different bins ({len(candidate.axis)} and {len(reference.axis)}); use the same range and width for both")
    for name, profile in (("candidate", candidate), ("reference", reference)):
        if profile.n_scenes < 2:
            raise ValueError(f"the {name} has 1 scene, but halves of it are to be compared; cut it into blocks with time_blocks(trajectories, n)")
    generator = generator or torch.Generator().manual_seed(0)
    size = min(candidate.n_scenes, reference.n_scenes) // 2
    matched, floor = [], []
    for _ in range(splits):
        mine, (one, other) = _samples(candidate.n_scenes, size, generator)[0], _samples(reference.n_scenes, size, generator)
        floor.append(distance(reference.pick(one).curve(), reference.pick(other).curve()))
        matched.append(distance(candidate.pick(mine).curve(), reference.pick(other).curve()))
    spread = float(torch.tensor(matched).std()) if splits > 1 else 0.0
    return Compared(distance(candidate.curve(), reference.curve()), sum(matched) / splits, sum(floor) / splits, spread)


def _samples(n: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two disjoint random sets of scenes."""
    order = torch.randperm(n, generator=generator, device=generator.device).cpu()
    return order[:size], order[size : 2 * size]


def histogram(
    values: Float[Tensor, "item time"], scene: Int[Tensor, "item"], alive: Bool[Tensor, "item time"], edges: Float[Tensor, "edge"], n_scenes: int
) -> Float[Tensor, "scene bin"]:
    """Counts of ``values`` in evenly spaced bins, one row a scene; what is not alive or outside the bins is not counted."""
    low, width, bins = float(edges[0]), float(edges[1] - edges[0]), len(edges) - 1
    where = torch.where(alive, values, low - 1).sub(low).div(width).floor()
    good = (where >= 0) & (where < bins)
    flat = (scene[:, None] * bins + where.clamp(0, bins - 1).long())[good]
    return torch.bincount(flat, minlength=n_scenes * bins).reshape(n_scenes, bins).to(edges.dtype)


def bins(low: float, high: float, width: float, device: torch.device | str | None = None) -> Float[Tensor, "edge"]:
    """Edges of evenly spaced bins of the given width from ``low`` to at least ``high``."""
    if not (width > 0 and high > low):
        raise ValueError(f"bins of width {width:g} from {low:g} to {high:g} cannot be made; pass width > 0 and high > low")
    count = int(torch.tensor((high - low) / width).sub(1e-9).ceil())
    return low + width * torch.arange(count + 1, dtype=torch.float64, device=device)


def alive(trajectories: Trajectories) -> Bool[Tensor, "scene time"]:
    """True where every node of a scene was observed: until the frame at which it was stopped."""
    missing = torch.zeros(trajectories.n_scenes, trajectories.n_frames, dtype=torch.long, device=trajectories.x.device)
    return missing.index_add_(0, trajectories.scene, (~trajectories.mask).long()) == 0


def replicas(answer: Forecast | Trajectories) -> Trajectories:
    """Every draw of every scene of a forecast as a scene of its own; trajectories are returned as they are.

    Raises:
        TypeError: neither of the two was passed.
    """
    if isinstance(answer, Trajectories):
        return answer
    if not isinstance(answer, Forecast):
        raise TypeError(f"got a {type(answer).__name__}, but a Forecast or Trajectories was wanted")
    return concat(answer.trajectories(draw) for draw in range(answer.n_draws))


def time_blocks(trajectories: Trajectories, n: int) -> Trajectories:
    """Every scene cut into ``n`` blocks of equal length, each a scene of its own (a rest of frames at the end is left out).

    Blocks of one run are correlated; take them much longer than the correlation time of what is measured.

    Raises:
        ValueError: there are fewer frames than blocks.
    """
    length = trajectories.n_frames // n
    if n < 1 or length < 1:
        raise ValueError(f"cannot cut {trajectories.n_frames} frames into {n} blocks; ask for 1 to {trajectories.n_frames}")
    order = (trajectories.scene[:, None] * n + torch.arange(n, device=trajectories.scene.device)).flatten().argsort(stable=True)

    def cut(value: Tensor) -> Tensor:
        return value[:, : n * length].reshape(len(value) * n, length, *value.shape[2:])

    each = lambda value: None if value is None else value.repeat_interleave(n, 0)  # noqa: E731
    scene = torch.arange(trajectories.n_scenes * n, device=trajectories.scene.device).repeat_interleave(each(trajectories.sizes))
    return trajectories.replace(
        x=cut(trajectories.x)[order], time=cut(trajectories.time), scene=scene, mask=cut(trajectories.mask)[order],
        kind=each(trajectories.kind)[order], extra={k: cut(v)[order] for k, v in trajectories.extra.items()},
        static={k: each(v)[order] for k, v in trajectories.static.items()}, context={k: each(v) for k, v in trajectories.context.items()},
        cell=each(trajectories.cell), pbc=each(trajectories.pbc),
    )
