"""The stream batch of StreamDiffusion (Kodaira et al. 2023), for online forecasting: one call of the net a tick.

Every tick brings a frame: what is to be refined (a persistence forecast, the last sample moved on) and its condition (the window observed
up to now). n frames, each at another of n noise levels, go through the net together, each row with its own level:

    enter   x_1 = alpha_1 frame + sigma_1 eps_1;      move   x_(k+1) = alpha_(k+1) D_k + sigma_(k+1) eps_(k+1);      leave   D_n.

The noises eps_k belong to levels and are fixed when the stream begins (else the output flickers). M frames cost M + n - 1 calls, not M n, and
each comes out n - 1 ticks after it went in, exactly as it would alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.denoiser import Denoises
from trajlab.paths.prediction import Prediction
from trajlab.samplers.grids import Grid
from trajlab.samplers.hooks import Hook
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import shaped
from trajlab.samplers.tables import Run


@dataclass(frozen=True)
class Row:
    """One frame on its way.

    Attributes:
        frame: its number, from 0.
        x: ``[stream *event]``, its state at the level that it has reached.
        condition: tensors ``[stream ...]`` for the denoiser.
        mask: ``[stream ...]``, True where there is something.
    """

    frame: int
    x: Tensor
    condition: dict[str, Tensor] = field(default_factory=dict)
    mask: Tensor | None = None


@dataclass(frozen=True)
class Buffer:
    """The whole state of a stream between ticks. Ticks return a new one; the old one stays good, to try again from.

    Attributes:
        noise: ``[level stream *event]``, eps of every level.
        waiting: the frame that waits at each level; the first level's place is the entrance and always empty.
        frames: frames taken in so far.
        calls: calls of the denoiser so far.
    """

    noise: Float[Tensor, "level stream *event"]
    waiting: tuple[Row | None, ...]
    frames: int = 0
    calls: int = 0


@dataclass(frozen=True)
class Output:
    """A refined frame.

    Attributes:
        frame: its number.
        x: ``[stream *event]``.
    """

    frame: int
    x: Tensor


@dataclass(frozen=True)
class StreamBatch:
    """A stream over the nodes of a grid, every node a level (the grid's end does not matter: the last clean prediction leaves).

    Attributes:
        denoiser: must take levels that differ by row, as `Denoiser` does, and treat rows alone (no batch normalisation).
        grid: its nodes are the n levels; two or more.
        renoise: ``noise``: the fixed noise of the next level, as published; ``ddim``: the noise that the net saw, which makes it DDIM from
            the first level.
        hooks: as in `sample`; they meet levels of one number a row.

    Raises:
        ValueError: an unknown renoise, a last node without noise, or a first node at infinite noise, where the frame would be lost.
        TypeError: the denoiser's path is not the grid's.
    """

    denoiser: Denoises
    grid: Grid
    renoise: str = "noise"
    hooks: tuple[Hook, ...] = ()

    def __post_init__(self) -> None:
        if self.renoise not in ("noise", "ddim"):
            raise ValueError(unknown("way to noise again", self.renoise, ("noise", "ddim")))
        if getattr(self.denoiser, "path", self.grid.path) != self.grid.path:
            raise TypeError(f"the denoiser is on {self.denoiser.path}, and the grid on {self.grid.path}; make the grid on denoiser.path")
        if self.grid.levels[-1].sigma == 0 or self.grid.levels[0].alpha == 0:
            raise ValueError("a stream wants finite log-SNRs: the first node must keep something of the frame, "
                             "and the last must have noise to remove")

    @property
    def levels(self) -> int:
        """n, how many frames are under way at once."""
        return len(self.grid.levels)

    def begin(self, like: Float[Tensor, "stream *event"], generator: torch.Generator | RowNoise) -> Buffer:
        """An empty buffer for frames of this shape and dtype, with the noise of every level. Each stream's noise is its own."""
        rows = generator if isinstance(generator, RowNoise) else RowNoise(generator)
        noise = [rows.normal(like) for _ in range(self.levels)]
        for hook in self.hooks:
            noise = [hook.noise(z) for z in noise]
        return Buffer(torch.stack(noise), (None,) * self.levels)

    def tick(self, buffer: Buffer, frame: Float[Tensor, "stream *event"] | None = None, condition: dict[str, Tensor] | None = None,
             mask: Bool[Tensor, "stream *part"] | None = None) -> tuple[Buffer, Output | None]:
        """Take a frame in, call the net once for all frames under way, and let the one at the last level out (None while the pipe fills).

        Args:
            buffer: from `begin` or the last tick.
            frame: clean, as far as one knows; None takes nothing in, to drain the pipe.
            condition: tensors ``[stream ...]`` of this frame; all frames under way must have the same names and shapes.
            mask: of this frame, True where there is something.

        Raises:
            ValueError: the frame has another shape than the stream, is not finite, or its condition does not fit the others.
        """
        waiting, frames = list(buffer.waiting), buffer.frames
        if frame is not None:
            waiting[0], frames = self._enter(buffer, frame, condition or {}, mask), frames + 1
        places = [k for k, row in enumerate(waiting) if row is not None]
        moved: list[Row | None] = [None] * self.levels
        if not places:
            return replace(buffer, frames=frames), None
        found, out = self._predict([(k, waiting[k]) for k in places]), None
        for k, prediction in zip(places, found):
            row = waiting[k]
            if k == self.levels - 1:
                out = Output(row.frame, prediction.x0)
            else:
                moved[k + 1] = replace(row, x=self._next(prediction, k + 1, buffer.noise, row.mask))
        return Buffer(buffer.noise, tuple(moved), frames, buffer.calls + 1), out

    def drain(self, buffer: Buffer) -> tuple[Buffer, list[Output]]:
        """The frames still under way, in order, with one call a level left."""
        outputs = []
        while any(row is not None for row in buffer.waiting):
            buffer, out = self.tick(buffer)
            outputs += [out] if out is not None else []
        return buffer, outputs

    def through(self, buffer: Buffer, frames: Iterable[Tensor]) -> Iterator[Output]:
        """All frames without conditions, refined, in order; the pipe is drained at the end."""
        for frame in frames:
            buffer, out = self.tick(buffer, frame)
            if out is not None:
                yield out
        yield from self.drain(buffer)[1]

    def alone(self, buffer: Buffer, frame: Float[Tensor, "stream *event"], condition: dict[str, Tensor] | None = None,
              mask: Bool[Tensor, "stream *part"] | None = None) -> Output:
        """The same frame by itself, level after level: n calls, and the output that the stream gives."""
        row = self._enter(buffer, frame, condition or {}, mask)
        for k in range(self.levels):
            (prediction,) = self._predict([(k, row)])
            if k < self.levels - 1:
                row = replace(row, x=self._next(prediction, k + 1, buffer.noise, row.mask))
        return Output(row.frame, prediction.x0)

    def _enter(self, buffer: Buffer, frame: Tensor, condition: dict[str, Tensor], mask: Tensor | None) -> Row:
        if frame.shape != buffer.noise.shape[1:]:
            raise ValueError(f"a frame of shape {tuple(frame.shape)} came into a stream of {tuple(buffer.noise.shape[1:])}; begin a new stream")
        hidden = 1 if mask is None else shaped(mask, frame)
        frame = frame if mask is None else torch.where(hidden != 0, frame, 0)
        if not bool(torch.isfinite(frame).all()):
            raise ValueError(f"frame {buffer.frames} is not finite; hide what is missing with a mask")
        first = self.grid.levels[0]
        return Row(buffer.frames, (first.alpha * frame + first.sigma * buffer.noise[0]) * hidden, condition, mask)

    def _predict(self, rows: list[tuple[int, Any]]) -> list[Prediction]:
        """One call on all rows, stacked, and each row's part of the prediction."""
        x = torch.cat([row.x for _, row in rows])
        streams = len(rows[0][1].x)
        level = self.grid.path.level(self.grid.lam[[k for k, _ in rows]].repeat_interleave(streams), like=x)
        masks = _stacked([{} if row.mask is None else {"mask": row.mask} for _, row in rows])
        condition = {**_stacked([row.condition for _, row in rows]), **masks}
        run = Run(self.denoiser, self.hooks, mask=shaped(masks["mask"], x) if masks else None, condition=condition)
        x, found = run.predict(x, level)
        return [Prediction(here, self.grid.levels[k], "x0", x0) for (k, _), here, x0 in zip(rows, x.split(streams), found.x0.split(streams))]

    def _next(self, prediction: Prediction, k: int, noise: Tensor, mask: Tensor | None) -> Tensor:
        there = self.grid.levels[k]
        eps = noise[k] if self.renoise == "noise" else prediction.eps
        x = there.alpha * prediction.x0 + there.sigma * eps
        return x if mask is None else x * shaped(mask, x)


def _stacked(conditions: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Conditions of all rows, one after the other."""
    first = conditions[0]
    for other in conditions[1:]:
        if other.keys() != first.keys() or any(other[k].shape != first[k].shape for k in first):
            raise ValueError(f"frames under way have conditions {_shapes(first)} and {_shapes(other)}; all must have the same, "
                             "or drain the stream in between")
    return {k: torch.cat([c[k] for c in conditions]) for k in first}


def _shapes(condition: dict[str, Tensor]) -> str:
    return "{" + ", ".join(f"{k}: {tuple(v.shape)}" for k, v in condition.items()) + "}"
