"""Two processes give what one gives."""

from __future__ import annotations

import functools
import json

import pytest
import torch
from toy_training import Ragged, Samples, interrupt, net, squares, sum_of_squares, validate, weights

from trajlab.train import TrainConfig, train

quick = functools.partial(TrainConfig, steps=20, batch=15, lr=1e-2, warmup=3, accelerator="cpu", log_every=5)


def run(config, samples=None, loss=squares, **keywords):
    return train(keywords.pop("module", None) or net(), loss, samples or Samples(), config, progress=False, **keywords)


def test_two_processes_are_one(tmp_path):
    """An odd batch: eight samples for one process and seven for the other."""
    one, two = run(quick(), validate=validate), run(quick(devices=2), validate=validate, folder=tmp_path)
    torch.testing.assert_close(weights(two.module), weights(one.module), rtol=1e-5, atol=1e-5)
    for a, b in zip(one.history, two.history, strict=True):
        assert a["step"] == b["step"]
        for key in {"loss", "gradient"} & set(a):
            assert a[key] == pytest.approx(b[key], rel=1e-4)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == two.history  # written once
    assert [p.name for p in (tmp_path / "checkpoints").glob("step*")] == ["step-000000020"]
    assert two.step == 20
    assert two.stopped == "steps"


def test_ragged_shares_are_weighted_by_their_terms():
    one, two = (run(quick(devices=n, ema=0.0), Ragged(), sum_of_squares) for n in (1, 2))
    torch.testing.assert_close(weights(two.module), weights(one.module), rtol=1e-5, atol=1e-5)


def test_weights_that_stay_unused_and_methods_other_than_forward():
    class Headed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.spare = net(), net(1)

        def twice(self, x):
            return self.body(x) + self.body(-x)

    def loss(module, batch):
        return (module.twice(batch[0]) - batch[1]).square().mean()

    one, two = (run(quick(devices=n, steps=5), loss=loss, module=Headed()) for n in (1, 2))
    torch.testing.assert_close(weights(two.module), weights(one.module), rtol=1e-5, atol=1e-5)
    assert torch.equal(weights(two.module.spare), weights(net(1)))


def test_interrupt_of_one_process_stops_all_and_one_process_goes_on(tmp_path):
    part = run(quick(devices=2), Samples(at=12, do=interrupt), folder=tmp_path)
    assert part.interrupted
    assert part.step == 11  # the first batch was for the checksum of the data
    rest = run(quick(devices=1), folder=tmp_path)
    torch.testing.assert_close(weights(rest.module), weights(run(quick()).module), rtol=1e-5, atol=1e-5)


def test_best_and_patience_with_two_processes():
    scores = iter([2.0, 1.0, 3.0, 3.0, 3.0])
    result = run(quick(devices=2, steps=500, validate_every=4, patience=2, keep="best"), validate=lambda _: {"score": next(scores)})
    assert (result.stopped, result.step, result.best["step"]) == ("patience", 16, 8)


def test_a_failing_process_is_named():
    def fails(*_):
        raise ValueError("no such molecule")

    with pytest.raises(RuntimeError, match=r"process \d of the training failed: ValueError: no such molecule"):
        run(quick(devices=2), loss=fails)


def test_spawn_wants_what_can_be_pickled():
    with pytest.raises(ValueError, match=r"hands loss to other processes by pickling.*ddp_fork"):
        run(quick(devices=2, strategy="ddp_spawn"), loss=lambda module, batch: squares(module, batch))
