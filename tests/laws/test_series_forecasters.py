"""What holds for every forecaster of series: seeds, rows that stand alone, no look ahead, units, shapes, and errors that name what is wrong."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from trajlab.catalog import load
from trajlab.models import FORECASTERS
from trajlab.types import Trajectories

FRAMES, STEPS = 220, 20


def _quick_sequence(name):
    settings = {"steps": 2, "width": 8, "layers": 1, "batch": 2, "window": 20, "horizon": 4}
    return lambda: getattr(importlib.import_module("trajlab.models.sequence_forecaster"), name)(**settings)


def _quick_diffusion():
    module = importlib.import_module("trajlab.models.series_diffusion")
    config = importlib.import_module("trajlab.models.series_diffusion_config")
    return module.SeriesDiffusion(config.DiffusionConfig(reference="linear", width=8, layers=1, steps=3, batch=8, evaluations=5))


#: Cheaper settings of what learns for long by default; what is not named is built without arguments.
QUICK = {"diffusion": _quick_diffusion, **{name: _quick_sequence(name) for name in ("gru", "transformer", "state_space")}}


def built(name):
    return QUICK[name]() if name in QUICK else load(FORECASTERS[name])()


def waves(seed=0, frames=FRAMES):
    """Two channels of incommensurate waves with a product, ``[time 2]``: smooth, not periodic."""
    t, phase = 0.13 * np.arange(frames), np.random.default_rng(seed).uniform(0, 6, 3)
    return np.stack([np.sin(t + phase[0]) + 0.4 * np.sin(1.618 * t + phase[1]), np.cos(t + phase[0]) * (1 + 0.3 * np.sin(1.618 * t + phase[2]))], 1)


def pasts(*series):
    x = torch.as_tensor(np.stack(series))
    time = 0.5 * torch.arange(x.shape[1], dtype=torch.float64).expand(len(x), -1)
    return Trajectories(x, time, torch.arange(len(x)))


@pytest.fixture(scope="module", params=FORECASTERS)
def answered(request):
    """Name, forecaster, and what it says of two series."""
    model = built(request.param)
    return request.param, model, model.forecast(pasts(waves(0), waves(1)), STEPS, draws=2, seed=3)


def test_shapes_clock_and_what_is_masked(answered):
    _, model, forecast = answered
    assert forecast.draws.shape[1:] == (2, STEPS, 2)
    assert forecast.draws.shape[0] in (1, 2)
    assert torch.allclose(forecast.time[0], 0.5 * (FRAMES + torch.arange(STEPS, dtype=torch.float64)))
    assert bool(torch.isfinite(forecast.draws[forecast.mask]).all())
    assert forecast.provenance["method"] == model.name
    assert forecast.provenance["seed"] == 3


def test_the_same_seed_gives_the_same_and_nothing_is_remembered(answered):
    _, model, forecast = answered
    again = model.forecast(pasts(waves(0), waves(1)), STEPS, draws=2, seed=3)
    assert torch.equal(again.draws, forecast.draws)


def test_a_row_does_not_depend_on_its_mates(answered):
    _, model, forecast = answered
    other = model.forecast(pasts(waves(0), 50 * waves(7)), STEPS, draws=2, seed=3)
    assert torch.equal(other.draws[:, 0], forecast.draws[:, 0])


def test_the_future_is_not_seen(answered):
    """The context is a view of a longer array whose end changes."""
    _, model, forecast = answered
    x = np.concatenate([np.stack([waves(0), waves(1)]), np.full((2, STEPS, 2), 1e6)], 1)
    past = pasts(*x).frames(slice(0, FRAMES))
    assert torch.equal(model.forecast(past, STEPS, draws=2, seed=3).draws, forecast.draws)


def test_global_random_numbers_are_neither_used_nor_moved(answered):
    _, model, forecast = answered
    torch.manual_seed(99)
    np.random.seed(99)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert torch.equal(model.forecast(pasts(waves(0), waves(1)), STEPS, draws=2, seed=3).draws, forecast.draws)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_units_and_origins_of_channels_do_not_matter(answered):
    name, model, forecast = answered
    if not getattr(model, "scale_free", False):
        pytest.skip(f"{name} does not declare it")
    scale, origin = torch.tensor([2.5, 40.0]), torch.tensor([3.0, -100.0])
    past = pasts(waves(0), waves(1))
    other = model.forecast(past.replace(x=past.x * scale + origin), STEPS, draws=2, seed=3).draws
    torch.testing.assert_close((other - origin) / scale, forecast.draws, rtol=1e-4, atol=1e-4)


def test_a_channel_that_does_not_move_and_one_that_only_grows(answered):
    name, _, _ = answered
    x = np.stack([np.full(FRAMES, 7.3), 0.01 * np.arange(FRAMES) + 0.1 * waves(2)[:, 0]], 1)
    forecast = built(name).forecast(pasts(x), STEPS)
    assert bool(torch.isfinite(forecast.draws[forecast.mask]).all())


def test_too_short_a_context(answered):
    name, model, _ = answered
    if model.shortest < 2:
        pytest.skip(f"{name} needs a single frame")
    with pytest.raises(ValueError, match=f"{model.name}.* at least {model.shortest} frames, got {model.shortest - 1}"):
        model.forecast(pasts(waves(0)[: model.shortest - 1]), STEPS)


def test_the_shortest_context_is_enough(answered):
    name, model, _ = answered
    forecast = built(name).forecast(pasts(waves(0)[: model.shortest]), 5)
    assert forecast.draws.shape[1:] == (1, 5, 2)


def test_missing_frames_and_wrong_objects(answered):
    _, model, _ = answered
    past = pasts(waves(0), waves(1))
    mask = past.mask.clone()
    mask[1, 5] = False
    with pytest.raises(ValueError, match="1 of 2 series have missing frames"):
        model.forecast(past.replace(mask=mask), STEPS)
    with pytest.raises(ValueError, match="steps=0"):
        model.forecast(past, 0)
    with pytest.raises(TypeError, match="Trajectories"):
        model.forecast(past.x, STEPS)
    with pytest.raises(TypeError, match="Trajectories"):
        model.fit(past.x)


def test_one_channel(answered):
    name, _, _ = answered
    assert built(name).forecast(pasts(waves(0)[:, :1]), STEPS).draws.shape[1:] == (1, STEPS, 1)
