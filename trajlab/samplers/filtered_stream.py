"""A stream batch behind a similarity filter: ticks that bring nothing new repeat the last output and call no net."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.samplers.noise import RowNoise
from trajlab.samplers.similarity import Seen, SimilarityFilter
from trajlab.samplers.streaming import Buffer, Output, StreamBatch


@dataclass(frozen=True)
class FilteredBuffer:
    """The state between ticks; a tick returns a new one.

    Attributes:
        buffer: of the stream batch.
        seen: of the filter; None before the first tick.
        output: what came out last; None while the pipe fills.
        skipped: ticks without a call so far.
    """

    buffer: Buffer
    seen: Seen | None = None
    output: Output | None = None
    skipped: int = 0


@dataclass(frozen=True)
class FilteredStream:
    """A stream batch whose ticks may be skipped. With several streams, a tick is skipped where none of them has anything new.

    Attributes:
        stream: what processes frames.
        rule: what decides.
    """

    stream: StreamBatch
    rule: SimilarityFilter

    def begin(self, like: Float[Tensor, "stream *event"], generator: torch.Generator | RowNoise) -> FilteredBuffer:
        """An empty buffer, as `StreamBatch.begin`."""
        return FilteredBuffer(self.stream.begin(like, generator))

    def tick(self, state: FilteredBuffer, frame: Float[Tensor, "stream *event"], new: Float[Tensor, "stream *what"],
             generator: torch.Generator | RowNoise, condition: dict[str, Tensor] | None = None,
             mask: Bool[Tensor, "stream *part"] | None = None) -> tuple[FilteredBuffer, Output | None]:
        """Process the frame or skip it.

        Args:
            state: from `begin` or the last tick.
            frame, condition, mask: as in `StreamBatch.tick`.
            new: what is new in the observations behind this frame, by `similarity.residual`.
            generator: of the filter's draw.

        Returns:
            The new state, and the newest output: the last one again on a skipped tick.
        """
        process, seen = self.rule(new, state.seen, generator)
        if state.seen is not None and bool(process.any()) and not bool(process.all()):
            # One call serves all streams, so those that would have skipped see this frame too, and start counting anew.
            seen = Seen(new.clone(), torch.where(process, seen.skipped, 0))
        if not bool(process.any()):
            return replace(state, seen=seen, skipped=state.skipped + 1), state.output
        buffer, out = self.stream.tick(state.buffer, frame, condition, mask)
        out = out or state.output
        return FilteredBuffer(buffer, seen, out, state.skipped), out
