"""The stream batch: what comes out is what each frame would give alone, at one call a tick."""

from __future__ import annotations

import pytest
import torch

from trajlab.paths.denoiser import Denoiser
from trajlab.paths.schedules import Rectified, VPLinear
from trajlab.samplers.deis import ddim
from trajlab.samplers.grids import explicit, uniform_lam
from trajlab.samplers.hooks import Hook
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample
from trajlab.samplers.streaming import StreamBatch
from trajlab.sources.mixtures import GaussianMixture

PATH = VPLinear()
N = 4
LEVELS = explicit(PATH, [-1.0, 0.0, 1.0, 2.0])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def mixture():
    return GaussianMixture.smooth_paths(seeded())


@pytest.fixture(scope="module")
def frames(mixture):
    return mixture.sample(14, seeded(1)).reshape(7, 2, *mixture.event)  # 7 ticks of two streams


class Counting:
    """Counts calls of another denoiser, and keeps what levels they had."""

    def __init__(self, inner) -> None:
        self.inner, self.path, self.levels = inner, inner.path, []

    def __call__(self, x, level, **condition):
        self.levels.append(level.lam.flatten())
        return self.inner(x, level, **condition)


@pytest.mark.parametrize("renoise", ["noise", "ddim"])
def test_pipelined_is_sequential(mixture, frames, renoise):
    denoiser = Counting(mixture.denoiser(PATH))
    stream = StreamBatch(denoiser, LEVELS, renoise)
    empty = stream.begin(frames[0], seeded(2))
    outputs = list(stream.through(empty, frames))
    assert len(denoiser.levels) == 7 + N - 1 == 10
    assert [out.frame for out in outputs] == list(range(7))
    for frame, out in zip(frames, outputs):
        torch.testing.assert_close(out.x, stream.alone(empty, frame).x, atol=1e-12, rtol=0)
    assert len(denoiser.levels) == 10 + 7 * N  # alone: n calls a frame


def test_latency_and_calls_by_tick(mixture, frames):
    denoiser = Counting(mixture.denoiser(PATH))
    stream = StreamBatch(denoiser, LEVELS)
    buffer = stream.begin(frames[0], seeded(2))
    for k, frame in enumerate(frames):
        buffer, out = stream.tick(buffer, frame)
        assert (None if out is None else out.frame) == (k - 3 if k >= 3 else None)
        assert (buffer.frames, buffer.calls) == (k + 1, k + 1)
    assert [len(lam) // 2 for lam in denoiser.levels] == [1, 2, 3, 4, 4, 4, 4]
    torch.testing.assert_close(denoiser.levels[-1], LEVELS.lam.repeat_interleave(2))
    buffer, rest = stream.drain(buffer)
    assert [out.frame for out in rest] == [4, 5, 6]
    assert stream.tick(buffer) == (buffer, None)  # nothing under way: no call
    assert buffer.calls == len(denoiser.levels) == 10


def test_a_drained_stream_goes_on(mixture, frames):
    stream = StreamBatch(mixture.denoiser(PATH), LEVELS)
    empty = stream.begin(frames[0], seeded(2))
    buffer, _ = stream.tick(empty, frames[0])
    buffer, first = stream.drain(buffer)
    buffer, _ = stream.tick(buffer, frames[1])
    _, second = stream.drain(buffer)
    assert [first[0].frame, second[0].frame] == [0, 1]
    torch.testing.assert_close(second[0].x, stream.alone(empty, frames[1]).x, atol=1e-12, rtol=0)


def test_the_buffer_that_was_handed_in_stays_good(mixture, frames):
    stream = StreamBatch(mixture.denoiser(PATH), LEVELS)
    buffer = stream.begin(frames[0], seeded(2))
    for frame in frames[:4]:
        before, (buffer, out) = buffer, stream.tick(buffer, frame)
    once, again = stream.tick(before, frames[3])[1], stream.tick(before, frames[3])[1]
    assert torch.equal(once.x, out.x)
    assert torch.equal(again.x, out.x)
    with pytest.raises(AttributeError):
        buffer.calls = 0


def test_ddim_is_the_ddim_solver(mixture, frames):
    stream = StreamBatch(mixture.denoiser(PATH), LEVELS, "ddim")
    buffer = stream.begin(frames[0], seeded(2))
    first = LEVELS.levels[0]
    start = first.alpha * frames[0] + first.sigma * buffer.noise[0]
    torch.testing.assert_close(stream.alone(buffer, frames[0]).x, sample(mixture.denoiser(PATH), LEVELS, start, ddim()).x, atol=1e-12, rtol=0)


def test_every_level_has_its_own_noise(mixture, frames):
    """Written out: enter, then for every level denoise and noise again."""
    denoiser = mixture.denoiser(PATH)
    stream = StreamBatch(denoiser, LEVELS)
    buffer = stream.begin(frames[0], seeded(2))
    clean = frames[3]
    for level, noise in zip(LEVELS.levels, buffer.noise):
        clean = denoiser(level.alpha * clean + level.sigma * noise, level).x0
    torch.testing.assert_close(stream.alone(buffer, frames[3]).x, clean, atol=1e-12, rtol=0)
    assert float(torch.corrcoef(buffer.noise.flatten(1)).triu(1).abs().max()) < 0.7


def test_noise_is_fixed_a_level(mixture, frames):
    """The same frame gives the same output at every tick: no flicker."""
    stream = StreamBatch(mixture.denoiser(PATH), LEVELS)
    outputs = list(stream.through(stream.begin(frames[0], seeded(2)), [frames[0]] * 6))
    assert max(float((out.x - outputs[0].x).abs().max()) for out in outputs) < 1e-12
    other = next(stream.through(stream.begin(frames[0], seeded(3)), [frames[0]]))
    assert float((other.x - outputs[0].x).abs().max()) > 1e-3


def test_a_stream_does_not_know_its_mates(mixture, frames):
    stream = StreamBatch(mixture.denoiser(PATH), LEVELS)
    both = list(stream.through(stream.begin(frames[0], RowNoise(seeded(2))), frames))
    second = list(stream.through(stream.begin(frames[0, 1:], RowNoise(seeded(2), [1])), frames[:, 1:]))
    for one, two in zip(second, both):
        torch.testing.assert_close(one.x[0], two.x[1], atol=1e-12, rtol=0)


def pulled(x, lam, past):
    """Reads whatever stands at hidden entries; there must be zeros."""
    return torch.tanh(lam).reshape(-1, 1, 1, 1) * (0.7 * x + past[:, :, None]) + 0.1 * x.sum(2, keepdim=True)


def test_conditions_and_masks_travel_with_their_frame():
    denoiser = Denoiser(pulled, PATH, clock="lam")
    stream = StreamBatch(denoiser, LEVELS)
    x = torch.randn(6, 2, 3, 5, 2, generator=seeded(), dtype=torch.float64)
    past = torch.randn(6, 2, 3, 2, generator=seeded(1), dtype=torch.float64)
    mask = torch.rand(6, 2, 3, 5, generator=seeded(2)) < 0.7
    x = torch.where(mask[..., None], x, torch.nan)
    empty = buffer = stream.begin(torch.zeros_like(x[0]), seeded(3))
    outputs = []
    for k in range(6):
        buffer, out = stream.tick(buffer, x[k], {"past": past[k]}, mask[k])
        outputs += [] if out is None else [out]
    outputs += stream.drain(buffer)[1]
    for k, out in enumerate(outputs):
        torch.testing.assert_close(out.x, stream.alone(empty, x[k], {"past": past[k]}, mask[k]).x, atol=1e-12, rtol=0)
        assert bool((out.x[~mask[k]] == 0).all())
    state = x[5].nan_to_num(0)
    for level, noise in zip(LEVELS.levels, empty.noise):
        shown = (level.alpha * state + level.sigma * noise) * mask[5][..., None]
        state = denoiser(shown, level, past=past[5]).x0 * mask[5][..., None]
    torch.testing.assert_close(outputs[5].x, state, atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="frames under way have conditions"):
        stream.tick(stream.tick(empty, torch.zeros_like(x[0]), {"past": past[0]})[0], torch.zeros_like(x[0]), {"past": past[0, :, :1]})


class Centred(Hook):
    """Everything without its centre of mass."""

    def noise(self, z):
        return z - z.mean(1, keepdim=True)

    def on_x0(self, x0, x, level):
        assert torch.is_tensor(level.alpha)
        return x0 - x0.mean(1, keepdim=True)


def test_hooks_act_in_a_stream():
    denoiser = Denoiser(lambda x, t: torch.sin(x) + 1, PATH)
    stream = StreamBatch(denoiser, LEVELS, hooks=(Centred(),))
    frame = torch.randn(2, 3, 4, 2, generator=seeded(), dtype=torch.float64)
    frame = frame - frame.mean(1, keepdim=True)
    out = next(stream.through(stream.begin(frame, seeded(1)), [frame]))
    assert float(out.x.mean(1).abs().max()) < 1e-12


def test_it_turns_with_frames_and_noise():
    from dataclasses import replace

    denoiser = Denoiser(lambda x, t: x / (1 + x.square().sum((1, 2, 3), keepdim=True)), PATH)
    stream = StreamBatch(denoiser, LEVELS)
    frame = torch.randn(2, 3, 4, 3, generator=seeded(), dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=seeded(5), dtype=torch.float64))[0]
    buffer = stream.begin(frame, seeded(1))
    straight, turned = stream.alone(buffer, frame), stream.alone(replace(buffer, noise=buffer.noise @ turn), frame @ turn)
    torch.testing.assert_close(turned.x, straight.x @ turn, atol=1e-12, rtol=0)


def test_bad_input(mixture, frames):
    denoiser = mixture.denoiser(PATH)
    with pytest.raises(ValueError, match="no way to noise again 'again'"):
        StreamBatch(denoiser, LEVELS, "again")
    with pytest.raises(TypeError, match=r"make the grid on denoiser\.path"):
        StreamBatch(denoiser, uniform_lam(Rectified(), 3))
    with pytest.raises(ValueError, match="finite log-SNRs"):
        StreamBatch(denoiser, explicit(PATH, [0.0, float("inf")]))
    stream = StreamBatch(denoiser, LEVELS)
    buffer = stream.begin(frames[0], seeded())
    with pytest.raises(ValueError, match="into a stream of"):
        stream.tick(buffer, frames[0, :1])
    with pytest.raises(ValueError, match="frame 0 is not finite"):
        stream.tick(buffer, frames[0] / 0)
    with pytest.raises(ValueError, match="generator"):
        stream.begin(frames[0], RowNoise(None))
