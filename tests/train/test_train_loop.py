from __future__ import annotations

import copy
import math
import time

import pytest
import torch
from toy_training import Ragged, Samples, interrupt, net, squares, sum_of_squares, validate, weights

from trajlab.train import TrainConfig, train


def quick(**changes):
    return TrainConfig(**{"steps": 60, "batch": 16, "lr": 2e-2, "warmup": 5, "accelerator": "cpu", "log_every": 10, **changes})


def run(config, module=None, samples=None, loss=squares, **keywords):
    return train(module or net(), loss, samples or Samples(), config, progress=False, **keywords)


def test_it_learns_and_says_so():
    module = net()
    before = validate(module)["mse"]
    result = run(quick(steps=300), module, validate=validate)
    assert result.module is module
    assert not module.training
    assert (result.step, result.stopped, result.interrupted, result.skipped, result.folder) == (300, "steps", False, 0, None)
    assert validate(module)["mse"] < 0.3 * before
    assert validate(module)["mse"] == pytest.approx(result.history[-1]["validation"]["mse"])
    losses = [line["loss"] for line in result.history if "loss" in line]
    assert len(losses) == 30
    assert losses[-1] < 0.5 * losses[0]
    assert sum("validation" in line for line in result.history) == 20


def test_steps_are_reproducible_and_seeds_matter():
    one, two, other = (run(quick(seed=seed), net(dropout=0.3)) for seed in (0, 0, 1))
    assert torch.equal(weights(one.module), weights(two.module))
    assert not torch.equal(weights(one.module), weights(other.module))


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(7)
    want = torch.rand(3)
    torch.manual_seed(7)
    run(quick(steps=3), net(dropout=0.3))
    assert torch.equal(torch.rand(3), want)


def test_subnormal_numbers_come_back():
    run(quick(steps=2))
    assert float(torch.tensor(1e-40) * 1.0) > 0


def test_loop_is_plain_adam():
    """Without warm-up, average and clipping the loop is the textbook one."""
    samples, module, result = Samples(), net(), run(quick(steps=12, warmup=0, schedule="constant", ema=0.0, clip=None))
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-2)
    seen = Samples()
    run(quick(steps=12), samples=seen)
    for indices in seen.seen:
        optimiser.zero_grad()
        squares(module, samples.batch(torch.tensor(indices))).backward()
        optimiser.step()
    torch.testing.assert_close(weights(result.module), weights(module), rtol=1e-5, atol=1e-6)


def test_clipping():
    kept = []

    def loss(module, batch):
        kept.append(weights(module))
        return 1e6 * squares(module, batch)

    result = run(quick(steps=2, clip=1e-12, optimiser="adam", warmup=0), loss=loss)
    # Adam divides by the gradient's size, but not where that is far below its epsilon of 1e-8.
    assert float((kept[1] - kept[0]).abs().max()) < 1e-4 * 2e-2
    assert result.history[-1]["gradient"] > 1e3


def test_average_is_what_validates_and_remains():
    seen = []

    def watch(module):
        seen.append(weights(module).clone())
        return {"zero": 0.0}

    averaged, raw = run(quick(ema=0.9), validate=watch), run(quick(ema=0.0))
    assert torch.equal(seen[-1], weights(averaged.module))
    assert not torch.equal(weights(averaged.module), weights(raw.module))
    # Validating between steps does not change the steps.
    assert torch.equal(weights(averaged.module), weights(run(quick(ema=0.9)).module))


def test_minutes_are_kept_and_the_rate_falls():
    def slow(module, batch):
        time.sleep(0.01)
        return squares(module, batch)

    start = time.perf_counter()
    result = run(quick(steps=None, minutes=0.8 / 60), loss=slow, validate=validate)
    assert result.stopped == "minutes"
    assert 0.8 <= result.elapsed < 0.95
    assert time.perf_counter() - start < 8
    assert result.step > 20
    rates = [line["lr"] for line in result.history if "lr" in line]
    assert rates[-1] < 0.1 * max(rates)


def test_budget_counts_validation():
    def slow(module):
        time.sleep(0.1)
        return validate(module)

    result = run(quick(steps=None, minutes=0.5 / 60, validate_every=1), validate=slow)
    assert result.elapsed < 0.8
    assert result.history[-1]["step"] == result.step


def test_patience_and_best():
    scores = iter([3.0, 2.0, 1.0, 5.0, float("nan"), 4.0, 9.0])
    kept = []

    def scripted(module):
        kept.append(weights(module).clone())
        return {"score": next(scores)}

    result = run(quick(steps=1000, validate_every=7, patience=3, keep="best"), validate=scripted)
    assert (result.stopped, result.step) == ("patience", 42)
    assert (result.best["step"], result.best["validation"]) == (21, {"score": 1.0})
    assert torch.equal(weights(result.module), kept[2])


def test_a_bad_step_is_skipped_and_counted():
    calls = []

    def sometimes(module, batch):
        calls.append(0)
        return squares(module, batch) * (float("nan") if len(calls) in (5, 6, 20) else 1.0)

    result = run(quick(), loss=sometimes)
    assert result.skipped == 3
    assert bool(torch.isfinite(weights(result.module)).all())
    assert all(math.isfinite(line["loss"]) for line in result.history)


def test_an_infinite_gradient_of_a_finite_loss_is_skipped():
    def cusp(module, batch):
        return (module(batch[0]) * 0).abs().sqrt().mean()

    with pytest.raises(FloatingPointError, match=r"20 steps in a row, up to step 20 at learning rate .*smaller lr"):
        run(quick(), loss=cusp)


def test_giving_up_keeps_the_checkpoint(tmp_path):
    calls = []

    def breaks(module, batch):
        calls.append(0)
        return squares(module, batch) * (float("inf") if len(calls) > 30 else 1.0)

    with pytest.raises(FloatingPointError, match=r"the last checkpoint is .*step-"):
        run(quick(save_every_seconds=0), loss=breaks, folder=tmp_path)
    assert run(quick(), folder=tmp_path).step == 60


def test_named_losses_and_counts():
    def named(module, batch):
        total, count = sum_of_squares(module, batch)
        return {"loss": (total, count), "rows": count, "half": 0.5 * total.detach() / count}

    pair, alone = run(quick(), samples=Ragged(), loss=named), run(quick(), samples=Ragged())
    torch.testing.assert_close(weights(pair.module), weights(alone.module), rtol=1e-4, atol=1e-5)
    assert pair.history[0]["half"] == pytest.approx(pair.history[0]["loss"] / 2)
    assert pair.history[0]["rows"] > 16


WRONG = [({"los": 1}, "without 'loss', with los"), (torch.zeros(3), r"scalar tensor.*shape \(3,\)"), (1.0, "got float")]


@pytest.mark.parametrize(("answer", "message"), WRONG)
def test_losses_that_are_none(answer, message):
    with pytest.raises(ValueError, match=message):
        run(quick(), loss=lambda *_: answer)


def test_empty_batch_of_terms():
    with pytest.raises(ValueError, match="counted 0 terms in the batch of step 0"):
        run(quick(), loss=lambda module, batch: (squares(module, batch) * 0, 0))


def test_random_numbers_of_a_step_are_handed_over():
    class Noisy(Samples):
        def batch(self, indices, generator):
            x, y = super().batch(indices)
            return x + torch.randn(x.shape, generator=generator), y

    drawn = []

    def noisy(module, batch, generator):
        drawn.append(torch.rand(1, generator=generator).item())
        return squares(module, batch)

    one, two = run(quick(), samples=Noisy(), loss=noisy), run(quick(), samples=Noisy(), loss=noisy)
    assert torch.equal(weights(one.module), weights(two.module))
    assert drawn[:60] == drawn[60:]
    assert len(set(drawn)) == 60


def test_double_precision_batches_stay_double():
    kinds = set()

    def loss(module, batch):
        kinds.add((batch[0].dtype, next(module.parameters()).dtype))
        return squares(module, [b.to(next(module.parameters()).dtype) for b in batch])

    samples = Samples()
    samples.x, samples.y = samples.x.double(), samples.y.double()
    run(quick(steps=2), samples=samples, loss=loss)
    result = run(quick(steps=2, precision="64-true"), samples=samples, loss=loss)
    assert kinds == {(torch.float64, torch.float32), (torch.float64, torch.float64)}
    assert weights(result.module).dtype == torch.float64


def test_mixed_precision_trains():
    result = run(quick(precision="bf16-mixed"))
    assert weights(result.module).dtype == torch.float32
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_interrupt_saves_and_resumes_to_the_same_numbers(tmp_path):
    config = quick()
    whole = run(config, net(dropout=0.2), validate=validate)
    part = run(config, net(dropout=0.2), Samples(at=33, do=interrupt), validate=validate, folder=tmp_path)
    assert (part.interrupted, part.stopped, part.step) == (True, "interrupted", 32)  # the first batch was for the checksum of the data
    rest = run(config, net(seed=5, dropout=0.2), validate=validate, folder=tmp_path)
    assert torch.equal(weights(rest.module), weights(whole.module))
    assert (rest.step, rest.interrupted, rest.stopped) == (60, False, "steps")


def test_an_interrupt_inside_the_loss_is_no_loss():
    calls = []

    def impatient(module, batch):
        calls.append(0)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return squares(module, batch)

    result = run(quick(), loss=impatient)
    assert (result.interrupted, result.step) == (True, 19)


def test_an_interrupt_inside_validation_is_no_loss(tmp_path):
    def impatient(_):
        raise KeyboardInterrupt

    part = run(quick(validate_every=20), folder=tmp_path, validate=impatient)
    assert (part.interrupted, part.step) == (True, 20)
    rest = run(quick(validate_every=20), folder=tmp_path, validate=validate)
    assert torch.equal(weights(rest.module), weights(run(quick()).module))


def test_a_finished_run_returns_at_once(tmp_path):
    first = run(quick(), folder=tmp_path, validate=validate)
    samples = Samples()
    again = run(quick(), net(seed=3), samples, folder=tmp_path, validate=validate)
    assert samples.seen == [[0, 30, 59]]  # the checksum's batch
    assert torch.equal(weights(first.module), weights(again.module))
    assert again.history == first.history
    assert again.best == first.best


def test_a_constant_rate_can_go_on_longer(tmp_path):
    whole = run(quick(steps=60, schedule="constant"))
    run(quick(steps=40, schedule="constant"), folder=tmp_path)
    longer = run(quick(steps=60, schedule="constant"), folder=tmp_path)
    assert torch.equal(weights(whole.module), weights(longer.module))


def test_a_model_moved_by_validation_still_trains():
    def casting(module):
        samples = Samples()
        module.double()
        found = float(squares(module, (samples.x.double(), samples.y.double())))
        module.float()
        return {"mse": found}

    torch.testing.assert_close(weights(run(quick(), validate=casting).module), weights(run(quick(), validate=validate).module))


BAD = [
    ({"batches": Samples(0)}, ValueError, "no samples"),
    ({"batches": [1, 2]}, TypeError, "batch\\(indices\\).*list has not"),
    ({"config": quick(devices=2, batch=1)}, ValueError, "shared by 2 processes"),
    ({"config": quick(patience=3)}, ValueError, "needs validate"),
    ({"config": quick(keep="best")}, ValueError, "needs validate"),
    ({"config": quick(devices=2, strategy="ddp")}, ValueError, "torchrun --nproc-per-node 2"),
    ({"validate": lambda _: {}}, ValueError, "empty dict"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), BAD)
def test_bad_input(changes, kind, message):
    with pytest.raises(kind, match=message):
        train(**{"module": net(), "loss": squares, "batches": Samples(), "config": quick(steps=2), "progress": False, **changes})


def test_plain_progress_lines(capsys, tmp_path):
    train(net(), squares, Samples(at=20, do=interrupt), quick(), tmp_path, validate)
    assert "interrupted after step 19; the same call goes on from there" in capsys.readouterr().err
    train(net(), squares, Samples(), quick(), tmp_path, validate)
    said = capsys.readouterr().err
    assert "going on after step 19" in said
    assert "step 60" in said
    assert "steps/s" in said
    assert "mse" in said
    assert "left" in said


def test_result_is_a_copyable_module():
    module = run(quick(steps=3)).module
    twin = copy.deepcopy(module)
    with torch.no_grad():
        module[0].weight.zero_()
    assert bool(twin[0].weight.any())
