"""Killed runs, full disks, and folders that belong to another run."""

from __future__ import annotations

import json
import multiprocessing
import resource
import time

import pytest
import torch
from toy_training import Samples, die, net, squares, validate, weights

from trajlab.train import TrainConfig, checkpoint, train


def quick(**changes):
    return TrainConfig(**{"steps": 60, "batch": 16, "lr": 2e-2, "warmup": 5, "accelerator": "cpu", "log_every": 10, **changes})


def run(config, folder, module=None, samples=None):
    return train(module or net(dropout=0.2), squares, samples or Samples(), config, folder, validate, progress=False)


def lines(folder):
    """What must agree between runs: everything but the clock."""
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("elapsed", "rate")} for line in read]


def in_a_process(function, *args):
    """Run in a forked process; its exit code, negative for a signal."""
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    process.join(60)
    return process.exitcode


class Slow(Samples):
    def batch(self, indices):
        time.sleep(0.005)
        return super().batch(indices)


def killed_in_a_step(folder):
    run(quick(save_every_seconds=0.05), folder, samples=Slow(at=48, do=die))


def killed_while_saving(folder):
    write, count = checkpoint.write, []

    def stops(path, content):
        count.append(path)
        if len(count) == 13:  # inside the third checkpoint
            write(path, content[: len(content) // 2])
            die()
        write(path, content)

    checkpoint.write = stops
    run(quick(save_every_seconds=0.05), folder, samples=Slow())


def killed_before_the_pointer(folder):
    replace, count = checkpoint.os.replace, []

    def stops(*args):
        count.append(args)
        die() if len(count) == 2 else replace(*args)

    checkpoint.os.replace = stops
    run(quick(save_every_seconds=0.05), folder, samples=Slow())


@pytest.mark.parametrize("how", [killed_in_a_step, killed_while_saving, killed_before_the_pointer])
def test_killed_and_resumed_is_uninterrupted(how, tmp_path):
    whole = run(quick(), tmp_path / "whole")
    assert in_a_process(how, tmp_path / "killed") == -9
    assert checkpoint.latest(tmp_path / "killed") is not None
    samples = Samples()
    rest = run(quick(), tmp_path / "killed", net(seed=9, dropout=0.2), samples)
    assert 5 < len(samples.seen) < 60
    assert torch.equal(weights(rest.module), weights(whole.module))
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert [{k: v for k, v in line.items() if k not in ("elapsed", "rate")} for line in rest.history] == lines(tmp_path / "whole")
    assert sorted(p.name for p in (tmp_path / "killed" / "checkpoints").iterdir()) == ["latest", "step-000000060"]
    one, two = (checkpoint.load(checkpoint.latest(tmp_path / name)) for name in ("whole", "killed"))
    assert all(torch.equal(one[0][k][n], two[0][k][n]) for k in one[0] for n in one[0][k])
    assert set(one[0]) == {"model", "optimiser", "ema"}
    assert set(one[0]["ema"]) == set(dict(net().named_parameters()))


def test_the_best_weights_survive_a_resume(tmp_path):
    scores = iter([1.0, *[2.0] * 50])
    kept = []

    def scripted(module):
        kept.append(weights(module).clone())
        return {"score": next(scores)}

    config = quick(keep="best", validate_every=10)

    def go(samples):
        return train(net(), squares, samples, config, tmp_path, scripted, progress=False)

    from toy_training import interrupt

    assert go(Samples(at=30, do=interrupt)).interrupted
    result = go(Samples())
    assert torch.equal(weights(result.module), kept[0])
    assert result.best["step"] == 10


@pytest.fixture
def full_disk():
    """A function after which writing beyond some bytes of a file fails half-way, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


FULL = [
    (9000, r"checkpoint of step 40 .*could not be written to .*checkpoints: File too large; .* MB are free.*previous .* intact"),
    (1000, r"metrics.jsonl cannot be written: File too large; .* MB are free; make room and run again"),
]


@pytest.mark.parametrize(("size", "message"), FULL)
def test_a_full_disk_leaves_the_last_checkpoint(size, message, tmp_path, full_disk):
    def part(steps, folder, **keywords):
        wide = torch.nn.Sequential(torch.nn.Linear(4, 1000), torch.nn.Linear(1000, 1))
        return run(quick(steps=steps, warmup=2, schedule="constant"), folder, wide, **keywords)

    torch.manual_seed(0)
    part(20, tmp_path / "full")
    kept = {p: p.read_bytes() for p in checkpoint.latest(tmp_path / "full").iterdir()}
    with pytest.raises(OSError, match=message):
        part(40, tmp_path / "full", samples=Samples(at=10, do=lambda: full_disk(size)))
    full_disk(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert {p: p.read_bytes() for p in checkpoint.latest(tmp_path / "full").iterdir()} == kept
    assert not list((tmp_path / "full" / "checkpoints").glob(".*"))
    torch.manual_seed(0)
    whole = part(40, tmp_path / "whole")
    assert torch.equal(weights(part(40, tmp_path / "full").module), weights(whole.module))
    assert len(lines(tmp_path / "full")) == len({json.dumps(line) for line in lines(tmp_path / "full")})


CHANGES = [
    ({"config": quick(lr=0.1)}, "config.lr was 0.02 and is 0.1"),
    ({"config": quick(steps=100)}, "config.steps was 60 and is 100"),
    ({"samples": Samples(50)}, "data.samples was 60 and is 50"),
    ({"module": torch.nn.Sequential(torch.nn.Linear(4, 1))}, r"model.0.weight was \[16, 4\] float32 and is \[1, 4\]"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(quick(), folder)
    return folder


@pytest.mark.parametrize(("changes", "message"), CHANGES)
def test_another_run_is_refused(changes, message, finished):
    with pytest.raises(ValueError, match=f"holds another run.*{message}"):
        run(**{"config": quick(), "folder": finished, **changes})


def test_other_values_in_the_data_are_refused(finished):
    other = Samples()
    other.y[0] += 1
    with pytest.raises(ValueError, match=r"data.fingerprint was \w+ and is"):
        run(quick(), finished, samples=other)


def test_where_it_computes_may_change(finished):
    assert run(quick(save_every_seconds=7.0, log_every=3), finished).step == 60


def test_damaged_checkpoints_are_named(finished, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    file = checkpoint.latest(folder) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"step-000000060 is damaged.*start afresh"):
        run(quick(), folder)
    shutil.rmtree(checkpoint.latest(folder))
    with pytest.raises(ValueError, match="latest names step-000000060, which is not there"):
        run(quick(), folder)


def test_a_torn_line_is_dropped(tmp_path):
    from trajlab.train.log import Log

    log = Log(tmp_path)
    log.add({"step": 1})
    log.add({"step": 2})
    end = log.position()
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"st')
    assert Log(tmp_path, end).lines == [{"step": 1}]
    assert (tmp_path / "metrics.jsonl").read_bytes() == b'{"step": 1}\n'
