"""A stream behind a filter: skipped ticks call nothing, and what is processed comes out as from the stream alone."""

from __future__ import annotations

from itertools import pairwise

import torch

from trajlab.paths.denoiser import Denoiser
from trajlab.paths.schedules import VPLinear
from trajlab.samplers.filtered_stream import FilteredStream
from trajlab.samplers.grids import explicit
from trajlab.samplers.similarity import SimilarityFilter, residual
from trajlab.samplers.streaming import StreamBatch

PATH = VPLinear()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(still: int = 12, moving: int = 6, streams: int = 1):
    """Windows ``[tick stream node time dim]``: new ones at first, then always the last of them."""
    x = torch.randn(moving, streams, 3, 5, 2, generator=seeded(), dtype=torch.float64)
    return torch.cat([x, x[-1:].expand(still, *x.shape[1:])])


def run(rule, frames, seed=4):
    stream = StreamBatch(Denoiser(lambda x, t: torch.sin(x), PATH), explicit(PATH, [0.0, 1.0, 2.0]))
    filtered, generator = FilteredStream(stream, rule), seeded(seed)
    state = filtered.begin(frames[0], seeded(1))
    states, outputs = [state], []
    for frame in frames:
        state, out = filtered.tick(state, frame, residual(frame), generator)
        states.append(state)
        outputs.append(out)
    return stream, states, outputs


def test_still_frames_cost_no_calls_and_repeat_the_output():
    stream, states, outputs = run(SimilarityFilter(cap=None), windows())
    calls = [state.buffer.calls for state in states]
    assert calls == [0, 1, 2, 3, 4, 5, 6] + [6] * 12
    assert states[-1].skipped == 12
    assert outputs[0] is outputs[1] is None
    assert [out.frame for out in outputs[2:]] == [0, 1, 2, 3] + [3] * 12
    assert all(out is outputs[5] for out in outputs[6:])
    torch.testing.assert_close(outputs[5].x, stream.alone(states[0].buffer, windows()[3]).x, atol=1e-12, rtol=0)


def test_the_cap_lets_the_pipe_move_on():
    _, states, outputs = run(SimilarityFilter(cap=3), windows())
    assert [b.buffer.calls - a.buffer.calls for a, b in pairwise(states[6:])] == [0, 0, 0, 1] * 3
    assert outputs[-1].frame == 6


def test_one_stream_with_news_moves_all():
    frames = windows(streams=2)
    frames = frames.clone()
    frames[6:, 1] = torch.randn(12, 3, 5, 2, generator=seeded(9), dtype=torch.float64)
    frames[6:, 0] += 1e-4 * torch.randn(12, 3, 5, 2, generator=seeded(8), dtype=torch.float64)
    _, states, _ = run(SimilarityFilter(cap=None), frames)
    assert states[-1].buffer.calls == 18
    torch.testing.assert_close(states[-1].seen.residual, residual(frames[-1]), rtol=0, atol=0)
    assert states[-1].seen.skipped.tolist() == [0, 0]


def test_it_is_repeatable():
    once, again = (run(SimilarityFilter(threshold=0.0), windows(), seed=5)[1][-1] for _ in range(2))
    assert once.buffer.calls == again.buffer.calls < 18
    assert torch.equal(once.output.x, again.output.x)
