from __future__ import annotations

import subprocess
import sys

import pytest

from trajlab.train import TrainConfig

WRONG = [
    ({}, "neither"),
    ({"steps": 10, "minutes": 1.0}, "both"),
    ({"steps": 0}, "steps is 0"),
    ({"minutes": 0.0}, "minutes is 0"),
    ({"minutes": float("nan")}, "minutes is nan"),
    ({"steps": 10, "batch": 0}, "batch is 0"),
    ({"steps": 10, "lr": -1.0}, "lr is -1"),
    ({"steps": 10, "ema": 1.0}, "ema is 1.0.*below 1"),
    ({"steps": 10, "clip": 0.0}, "clip is 0"),
    ({"steps": 10, "patience": 0}, "patience is 0"),
    ({"steps": 10, "validate_every": 5, "validate_every_seconds": 3.0}, "give one or neither"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_bad_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**values)


@pytest.mark.parametrize(("key", "value", "meant"), [("precision", "bf16-mix", "bf16-mixed"), ("strategy", "ddp_frok", "ddp_fork")])
def test_mistyped_choices_are_guessed(key, value, meant):
    with pytest.raises(ValueError, match=f"did you mean.*{meant}"):
        TrainConfig(steps=1, **{key: value})


def test_mistyped_keys_are_guessed():
    with pytest.raises(ValueError, match=r"warmpu.*did you mean 'warmup'"):
        TrainConfig.from_dict({"steps": 10, "warmpu": 5})


def test_dict_and_back():
    config = TrainConfig(minutes=2, clip=None, lr=1e-2)
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_config_needs_no_torch():
    code = "import sys; from trajlab.train import TrainConfig; TrainConfig(steps=1); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
