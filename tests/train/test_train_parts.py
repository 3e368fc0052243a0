"""Order, schedule, average and flat weights, each by itself."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from toy_training import net, weights

from trajlab.train import EMA, TrainConfig, optim
from trajlab.train.flat import Flat
from trajlab.train.order import Order, mixed


@pytest.mark.parametrize(("size", "batch"), [(10, 3), (12, 4), (7, 7), (5, 32), (1, 1)])
def test_every_pass_sees_every_sample_once(size, batch):
    order = Order(size, batch, seed=0)
    stream = torch.cat([order.indices(step) for step in range(4 * size)])
    assert len(stream) == 4 * size * min(batch, size)
    for epoch in stream[: 4 * size].view(4, size):
        assert sorted(epoch.tolist()) == list(range(size))


def test_order_depends_on_seed_and_step_alone():
    forward, later = Order(50, 8, seed=3), Order(50, 8, seed=3)
    want = [forward.indices(step).tolist() for step in range(40)]
    assert [later.indices(step).tolist() for step in reversed(range(40))] == want[::-1]
    assert Order(50, 8, seed=4).indices(0).tolist() != want[0]
    assert want[0] != want[1]


def test_shares_make_up_the_batch():
    order = Order(50, 7, seed=0)
    parts = [order.share(5, rank, 3) for rank in range(3)]
    assert torch.equal(torch.cat(parts), order.indices(5))
    assert [len(p) for p in parts] == [3, 2, 2]


def test_seeds_of_neighbours_differ():
    assert len({mixed("step", 0, step, rank) for step in range(100) for rank in range(3)}) == 300


def test_schedule_warms_up_and_falls_to_zero():
    config = TrainConfig(steps=10_000, lr=1e-2, warmup=200)
    rates = [optim.learning_rate(config, step, step / 10_000) for step in range(10_000)]
    assert rates[0] == pytest.approx(1e-2 / 200)
    assert rates[99] == pytest.approx(0.5e-2, rel=1e-2)
    assert max(rates) == pytest.approx(1e-2, rel=2e-3)
    assert rates[5000] == pytest.approx(0.5e-2)
    assert rates[-1] < 1e-9
    constant = TrainConfig(steps=10_000, lr=1e-2, warmup=0, schedule="constant")
    assert {optim.learning_rate(constant, step, step / 10_000) for step in (0, 5000, 9999)} == {1e-2}


def test_warm_up_of_a_short_run_is_a_tenth_of_it():
    config = TrainConfig(steps=100, lr=1.0, warmup=200, schedule="constant")
    assert optim.learning_rate(config, 10, 0.1) == 1.0


def test_average_follows_its_equation():
    p = torch.zeros(3)
    ema, mean = EMA({"p": p}, 0.9), torch.zeros(3)
    for n in range(200):
        p += 1.0
        ema.update()
        decay = min(0.9, (1 + n) / (10 + n))
        mean = decay * mean + (1 - decay) * p
    torch.testing.assert_close(ema.mean["p"], mean)
    assert float(p[0] - mean[0]) == pytest.approx(9.0, rel=1e-3)  # a ramp is followed d / (1 - d) updates behind


def test_average_is_applied_and_taken_back_also_after_an_error():
    p = torch.zeros(2)
    ema = EMA({"p": p}, 0.5)
    p += 1
    ema.update()
    inside = []

    def fails():
        with ema.applied():
            inside.append(p.clone())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fails()
    assert torch.equal(inside[0], ema.mean["p"])
    assert not torch.equal(inside[0], p)
    assert torch.equal(p, torch.ones(2))


def test_no_average():
    p = torch.zeros(2)
    ema = EMA({"p": p}, 0.0)
    p += 1
    ema.update()
    with ema.applied():
        assert torch.equal(p, torch.ones(2))


def test_half_precision_is_averaged_in_float32():
    p = torch.zeros(1, dtype=torch.bfloat16)
    ema = EMA({"p": p}, 0.999)
    assert ema.mean["p"].dtype == torch.float32


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamw"])
def test_flat_weights_train_as_the_weights_themselves(name):
    config = TrainConfig(steps=1, optimiser=name, weight_decay=0.1, lr=1e-2)
    one = net()
    two = copy.deepcopy(one)
    flat = Flat(one)
    first = optim.build(flat.weights, config)
    kind, keywords = {"adam": (torch.optim.Adam, {}), "amsgrad": (torch.optim.Adam, {"amsgrad": True}), "adamw": (torch.optim.AdamW, {})}[name]
    second = kind(two.parameters(), lr=1e-2, weight_decay=0.1, **keywords)
    x = torch.linspace(-1, 1, 20).view(5, 4)
    for _ in range(5):
        for module, optimiser in ((one, first), (two, second)):
            optimiser.zero_grad(set_to_none=module is two)
            module(x).square().mean().backward()
            optimiser.step()
    torch.testing.assert_close(weights(one), weights(two), rtol=1e-5, atol=1e-7)


def test_flat_weights_of_mixed_dtypes_and_ties():
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2).double(), "c": nn.Linear(2, 2), "d": nn.Linear(2, 2)})
    module["c"].weight = module["a"].weight
    module["d"].requires_grad_(False)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    flat = Flat(module)
    assert {k: len(v) for k, v in flat.weights.items()} == {"float32": 8, "float64": 6}
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
    with torch.no_grad():
        flat.weights["float32"].zero_()
    assert float(module["c"].weight.detach().abs().sum()) == 0
    assert float(module["d"].weight.abs().sum()) > 0


def test_flat_weights_survive_a_cast():
    module = net()
    flat = Flat(module)
    want = weights(module).clone()
    module.double().float()
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(2)
    flat.bind()
    torch.testing.assert_close(flat.weights["float32"].detach(), 2 * want)
    with torch.no_grad():
        flat.weights["float32"].zero_()
    assert float(weights(module).abs().sum()) == 0


def test_released_weights_are_on_their_own():
    module = net()
    flat = Flat(module)
    flat.release()
    with torch.no_grad():
        flat.weights["float32"].zero_()
    assert float(weights(module).abs().sum()) > 0
    assert all(p.grad is None for p in module.parameters())


def test_nothing_to_train():
    with pytest.raises(ValueError, match="nothing to train"):
        Flat(nn.SiLU())
