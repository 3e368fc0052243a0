"""The published network: its size, what padding and the order of paths do, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab.models.jumps.fim_mjp import FIMMJP
from trajlab.models.jumps.fim_mjp_config import FIMMJPConfig
from trajlab.nets.fim_mjp import FIMMJPNet
from trajlab.sources.jump_prior import JumpPrior
from trajlab.sources.jump_prior_config import PriorConfig
from trajlab.train.config import TrainConfig
from trajlab.types import JumpPaths

SMALL = FIMMJPConfig(hidden=24, queries=4, attention=16, perceptron=32, paths=20, batch=8)
PRIOR = PriorConfig(states=(2, 3), state_weights=(1.0, 1.0), looks=(10, 20))


@pytest.fixture
def looks():
    rng = np.random.default_rng(0)
    label, time = torch.from_numpy(rng.integers(0, 6, (2, 5, 9))), torch.from_numpy(np.sort(rng.random((2, 5, 9)), -1)).float()
    return label, time, torch.tensor([[9, 4, 9, 1, 7], [3, 9, 9, 9, 0]])


@pytest.fixture(scope="module")
def trained():
    train = TrainConfig(steps=40, batch=1, lr=4e-3, optimiser="adamw", clip=None, ema=0.0, log_every=10, warmup=5)
    model, lines = FIMMJP(SMALL), []
    import trajlab.train.loop as loop

    keep = loop.train

    def kept(*arguments, **named):
        result = keep(*arguments, **named)
        lines.extend(result.history)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", kept)
        model.fit(PRIOR, train, progress=False)
    return model, [line["loss"] for line in lines if "loss" in line]


def test_size_is_the_published_one():
    assert sum(p.numel() for p in FIMMJPNet().parameters()) == pytest.approx(4.98e6 / 4, rel=0.005)


def test_shapes_and_diagonals(looks):
    out = FIMMJPNet()(*looks)
    assert out.log_mean.shape == out.log_std.shape == (2, 6, 6)
    assert out.initial.shape == (2, 6)
    assert not torch.diagonal(out.log_mean, dim1=1, dim2=2).any()
    assert (out.log_mean != 0).sum() == 60


def test_padding_and_the_order_of_paths_do_not_matter(looks):
    torch.manual_seed(0)
    net, (label, time, length) = FIMMJPNet(hidden=16), looks
    whole = net(label, time, length)
    wild = torch.arange(9) >= length[..., None]
    order = torch.tensor([3, 1, 4, 0, 2])
    other = net(torch.where(wild, 5, label)[:, order], torch.where(wild, 7.0, time)[:, order], length[:, order])
    for a, b in zip(whole, other, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    last = net(torch.where(torch.arange(9) == length[..., None] - 1, (label + 1) % 6, label), time, length)
    assert (last.log_mean - whole.log_mean).abs().max() > 1e-4


def test_the_backward_half_sees_the_last_look(looks):
    """As a bidirectional LSTM read out at the last look does."""
    torch.manual_seed(0)
    net = FIMMJPNet(hidden=8)
    both = torch.nn.LSTM(8, 8, batch_first=True, bidirectional=True)
    both.load_state_dict({**net.forwards.state_dict(), **{f"{k}_reverse": v for k, v in net.backwards.state_dict().items()}})
    x = torch.randn(3, 7, 8)
    wanted = both(x)[0][:, -1]
    torch.testing.assert_close(torch.cat([net.forwards(x)[0][:, -1], net.backwards(x[:, -1:])[0][:, 0]], -1), wanted)


def test_a_short_training_lowers_the_loss(trained):
    _, loss = trained
    assert loss[-1] < loss[0] - 1.0


def test_unit_and_origin_of_time(trained):
    model, _ = trained
    paths = JumpPrior(PRIOR).task_at(5, 0, K=7, n=3).paths()
    answer = model.infer(paths)
    other = model.infer(paths.replace(time=paths.time * 60.0 + 1000.0))
    np.testing.assert_allclose(other.generator * 60.0, answer.generator, rtol=1e-4)
    np.testing.assert_allclose(other.std * 60.0, answer.std, rtol=1e-4)
    assert answer.generator.shape == (3, 3)
    assert np.abs(answer.generator.sum(1)).max() < 1e-12
    assert answer.initial.sum() == pytest.approx(1)


def test_many_paths_are_split_and_averaged(trained):
    model, _ = trained
    task = JumpPrior(PRIOR).task_at(6, 0, K=40, n=3)
    paths = task.paths()
    half = [paths.replace(label=paths.label[s], time=paths.time[s], path=paths.path[s] - paths.path[s][0], observed=paths.observed[s])
            for s in (paths.path < 20, paths.path >= 20)]
    span = (task.time - task.time[:, :1]).max(1)
    assert span[:20].max() == pytest.approx(span[20:].max())
    parts = [model.infer(p).generator for p in half]
    np.testing.assert_allclose(model.infer(paths).generator, (parts[0] + parts[1]) / 2, rtol=1e-4)


def test_saved_and_loaded(trained, tmp_path):
    model, _ = trained
    paths = JumpPrior(PRIOR).task_at(7, 0, K=3).paths()
    np.testing.assert_array_equal(FIMMJP.load(model.save(tmp_path)).infer(paths).generator, model.infer(paths).generator)


def test_bad_input(trained, looks):
    model, _ = trained
    paths = JumpPrior(PriorConfig(states=(7,), state_weights=(1.0,))).task_at(1, 0, K=2).paths()
    with pytest.raises(ValueError, match="7 states are more than the 6"):
        model.infer(paths)
    with pytest.raises(ValueError, match="no weights"):
        FIMMJP().infer(paths)
    with pytest.raises(ValueError, match="without a single look"):
        FIMMJPNet(hidden=4)(*looks[:2], torch.zeros(2, 5, dtype=torch.long))
    with pytest.raises(ValueError, match="up to 20 states"):
        FIMMJP().fit(PriorConfig.wide())
    with pytest.raises(ValueError, match=r"steps=None"):
        FIMMJP().fit(PRIOR, TrainConfig(minutes=1, batch=1))
    with pytest.raises(ValueError, match="hidden is 0"):
        FIMMJPConfig(hidden=0)
    one = JumpPaths(torch.zeros(3, dtype=torch.long), torch.zeros(3, dtype=torch.float64), torch.arange(3), 2)
    with pytest.raises(ValueError, match="no time passes"):
        model.infer(one)
