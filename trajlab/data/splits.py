"""Training, validation and test parts that do not know each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from trajlab.types import Trajectories
from trajlab.units import UNITLESS, factor

__all__ = ["Split", "check_split", "split"]

GAP_PS = 1.0  # molecular dynamics decorrelates within about a picosecond


@dataclass(frozen=True, eq=False)
class Split:
    """Three parts of one data set, and the least time between two of them within a run."""

    train: Trajectories
    validation: Trajectories
    test: Trajectories
    gap: float = 0.0

    def __post_init__(self) -> None:
        check_split(self)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {part.n_scenes} x {part.n_frames}" for name, part in _parts(self).items())
        return f"Split({sizes} scenes x frames, gap {self.gap:g})"


def split(
    trajectories: Trajectories, fractions: Sequence[float] = (0.8, 0.1, 0.1), *, by: str = "run", gap: float | None = None,
    generator: torch.Generator | None = None,
) -> Split:
    """Cut a data set into training, validation and test parts by independent runs or by blocks of time.

    Args:
        trajectories: whole runs, or windows and pairs that carry ``context["run"]`` and the clock of their run.
        fractions: of the runs, or of the time, for training, validation and test; they add up to 1.
        by: ``"run"``: each run goes to one part. ``"time"``: of each run the beginning is for training, the end for testing.
        gap: least time between the parts within a run, in the unit of the clock; what falls into it is dropped. By default 1 ps in
            molecular dynamics (an energy unit is stored) and 0 elsewhere.
        generator: shuffles the runs; without it the last runs are the test.

    Raises:
        ValueError: random frames were asked for, the fractions are not three that add up to 1, there are fewer runs than parts, a part
            would be empty, or the parts leak into each other.
    """
    if by not in ("run", "time"):
        raise ValueError(
            f"by={by!r}: 'run' or 'time' was wanted. Frames of one run resemble their neighbours, so a split by random frames tests a method "
            "on what it was trained on"
        )
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] <= 0:
        raise ValueError(f"fractions={tuple(fractions)}; three that add up to 1 were wanted, the first not 0")
    if "run" not in trajectories.context:
        run = torch.arange(trajectories.n_scenes, device=trajectories.x.device)
        trajectories = trajectories.replace(context={**trajectories.context, "run": run})
    gap = _default_gap(trajectories) if gap is None else float(gap)
    parts = _by_run(trajectories, fractions, generator) if by == "run" else _by_time(trajectories, fractions, gap)
    return Split(*parts, gap=gap if by == "time" else 0.0)


def check_split(parts: Split, gap: float | None = None) -> None:
    """Refuse parts that share a run closer in time than the gap.

    Parts of different provenance (another seed, another file) are different runs, even if these have the same numbers.

    Raises:
        ValueError: with the parts, the run, and the times that meet; or a part does not say which runs it was cut from.
    """
    gap = parts.gap if gap is None else gap
    for (one, a), (two, b) in itertools.combinations(_parts(parts).items(), 2):
        for part in (a, b):
            if part.n_scenes and "run" not in part.context:
                raise ValueError("a part has no context['run'], so nobody can tell whether it leaks; split() and windows() fill it in")
        if not a.n_scenes or not b.n_scenes or dict(a.source) != dict(b.source):
            continue
        for run in set(a.context["run"].tolist()) & set(b.context["run"].tolist()):
            _apart(one, _spans(a, run), two, _spans(b, run), run, gap)


def _parts(parts: Split) -> dict[str, Trajectories]:
    return {f.name: getattr(parts, f.name) for f in fields(parts) if f.name != "gap"}


def _spans(part: Trajectories, run: int) -> Tensor:
    """Begin and end of each scene of a run, sorted by their begin, ``[scene 2]``."""
    time = part.time[part.context["run"] == run]
    return time[time[:, 0].argsort()][:, [0, -1]]


def _apart(one: str, a: Tensor, two: str, b: Tensor, run: int, gap: float) -> None:
    for first, early, second, late in ((one, a, two, b), (two, b, one, a)):
        before = torch.searchsorted(early[:, 0].contiguous(), late[:, 0].contiguous(), right=True)
        ends = early[:, 1].cummax(0).values[(before - 1).clamp_min(0)]
        between = torch.where(before > 0, late[:, 0] - ends, float("inf"))
        least, at = between.min(0)
        if float(least) <= 0 or float(least) < gap - 1e-9 * abs(gap):
            raise ValueError(
                f"the split leaks: in run {run} the {first} part ends at time {float(ends[at]):g} and the {second} part begins at "
                f"{float(late[at, 0]):g}, {float(least):g} later (a gap of {gap:g} and no shared frame was wanted). "
                "Split by runs, or by time with a gap, before cutting windows that overlap"
            )


def _default_gap(trajectories: Trajectories) -> float:
    units = trajectories.units
    return 0.0 if UNITLESS in (units.energy, units.time) else GAP_PS * factor("time", "ps", units.time)


def _by_run(trajectories: Trajectories, fractions: Sequence[float], generator: torch.Generator | None) -> list[Trajectories]:
    run = trajectories.context["run"]
    runs, count = torch.unique(run, return_counts=True)
    wanted = sum(f > 0 for f in fractions)
    if len(runs) < wanted:
        raise ValueError(f"{len(runs)} runs cannot be split into {wanted} parts; record more independent runs, or split by='time'")
    if generator is not None:
        order = torch.randperm(len(runs), generator=generator, device=generator.device).to(runs.device)
        runs, count = runs[order], count[order]
    share = (count.cumsum(0) - 0.5 * count) / count.sum()
    bounds = [round(float((share < f).sum())) for f in itertools.accumulate(fractions)]
    bounds = _no_part_empty([0, *bounds[:2], len(runs)], fractions)
    return [trajectories.scenes(torch.isin(run, runs[b:e]).nonzero().flatten()) for b, e in itertools.pairwise(bounds)]


def _no_part_empty(bounds: list[int], fractions: Sequence[float]) -> list[int]:
    """Move the bounds so that every part that was asked for has at least one run, and one that was not has none."""
    least = [int(f > 0) for f in fractions]
    for k in (2, 1):
        bounds[k] = min(bounds[k], bounds[k + 1] - least[k]) if least[k] else bounds[k + 1]
    for k in (1, 2):
        bounds[k] = max(bounds[k], bounds[k - 1] + least[k - 1])
    return bounds


def _by_time(trajectories: Trajectories, fractions: Sequence[float], gap: float) -> list[Trajectories]:
    run, time = trajectories.context["run"], trajectories.time
    _, which = torch.unique(run, return_inverse=True)
    n_runs = int(which.max()) + 1 if len(which) else 0
    begin = torch.full((n_runs,), float("inf"), dtype=time.dtype, device=time.device).scatter_reduce_(0, which, time[:, 0], "amin")
    end = torch.full((n_runs,), -float("inf"), dtype=time.dtype, device=time.device).scatter_reduce_(0, which, time[:, -1], "amax")
    gaps = gap * (sum(f > 0 for f in fractions) - 1)
    usable = ((end - begin) - gaps)[which, None]
    if bool((usable <= 0).any()):
        short = int((usable[:, 0] <= 0).nonzero()[0])
        raise ValueError(
            f"run {int(run[short])} lasts {float((end - begin)[which[short]]):g} {trajectories.units.time}, less than the gaps of {gap:g} between "
            "its parts; record longer runs, choose a smaller gap, or split by='run'"
        )
    low, after, parts = begin[which, None], torch.ge, []
    for name, fraction in zip(("training", "validation", "test"), fractions, strict=True):
        high = low + fraction * usable * (1 + 1e-12)
        inside = (after(time, low) & (time <= high)) if fraction > 0 else torch.zeros_like(time, dtype=torch.bool)
        parts.append(_inside(trajectories, inside, n_runs, name, fraction, gap))
        # A frame on a bound goes to the earlier part where there is no gap.
        low, after = (high + gap, torch.ge if gap > 0 else torch.gt) if fraction > 0 else (low, after)
    return parts


def _inside(trajectories: Trajectories, inside: Tensor, n_runs: int, name: str, fraction: float, gap: float) -> Trajectories:
    """Whole runs are cut at frames that lie inside in all scenes; windows are kept where all of their frames lie inside."""
    if n_runs == trajectories.n_scenes:
        frames = inside.all(0).nonzero().flatten()
        empty = not len(frames)
        kept = trajectories.scenes(slice(0, 0)) if empty else trajectories.frames(frames)
    else:
        kept = trajectories.scenes(inside.all(1).nonzero().flatten())
        empty = not kept.n_scenes
    if empty and fraction > 0:
        raise ValueError(
            f"the {name} part would be empty: no scene lies within its {fraction:.0%} of the time with a gap of {gap:g} {trajectories.units.time}; "
            "record longer runs, choose a smaller gap, or split by='run'"
        )
    return kept
