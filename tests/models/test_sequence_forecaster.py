"""Learned forecasters of single series: a known dynamic is learned, seeds and neighbours do as they should, and free runs are held."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from trajlab.data.adapters.arrays import from_numpy
from trajlab.models.sequence_forecaster import SequenceConfig, SequenceForecaster, gru, state_space, transformer
from trajlab.models.sequence_forecaster_fit import put
from trajlab.models.sequence_forecaster_module import SequenceModule

TINY = SequenceConfig(width=8, steps=8, batch=8, window=16, unroll=3, horizon=20)
BACKBONES = {"gru": {}, "transformer": {"heads": 2, "reach": 8}, "state_space": {"modes": 4}}


def tiny(backbone="gru", **settings):
    return SequenceForecaster(replace(TINY, backbone=backbone, options=BACKBONES[backbone], **settings))


def waves(frames=240, phases=(0.0, 1.0)):
    """Two channels of a sum of two turns, an orbit that a linear map makes; ``[frame node dim]``."""
    t = np.arange(frames)[:, None] + 10 * np.array(phases)
    return 3 + np.stack([np.sin(0.2 * t) + 0.3 * np.cos(0.5 * t), np.cos(0.2 * t) - 0.3 * np.sin(0.5 * t)], -1)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_linear_orbit_is_continued(backbone):
    x = waves(300, (0.0,))
    out = tiny(backbone).forecast(from_numpy(x[:240], 0.1), 60)
    error = (out.draws[0, 0].numpy() - x[240:, 0]) / x.std(0)
    persistence = (x[239:240, 0] - x[240:, 0]) / x.std(0)
    assert np.sqrt((error**2).mean()) < 0.1 * np.sqrt((persistence**2).mean())
    assert out.provenance["method"] == backbone


@pytest.mark.parametrize("backbone", BACKBONES)
def test_free_run_equals_prediction_at_true_frames(backbone):
    """What the run makes one frame at a time is what the whole sequence, with the made frames in it, predicts at once."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = SequenceModule(replace(TINY, backbone=backbone, options=BACKBONES[backbone]), 2).double()
    u = torch.as_tensor(waves(40)).transpose(0, 1) - 3
    with torch.no_grad():
        _, path = module(u, 10)
        moves, _ = module(torch.cat([u, path], 1), 0)
    steps = torch.cat([u[:, -1:], path], 1).diff(dim=1)
    assert torch.allclose(moves[:, -11:-1] * module.pace, steps, atol=1e-12)


def test_one_seed_one_answer_and_series_apart():
    x = from_numpy(waves(), 0.1)
    before = torch.random.get_rng_state()
    one, two = (tiny().forecast(x, 5, seed=3).draws for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.equal(one, tiny().forecast(x, 5, seed=4).draws)
    alone = tiny().forecast(from_numpy(waves(phases=(0.0,)), 0.1), 5, seed=3).draws
    assert torch.equal(one[:, :1], alone)


def test_units_and_origin_do_not_matter():
    x = waves(phases=(0.0,))
    out = tiny().forecast(from_numpy(x, 0.1), 5).draws[0, 0].numpy()
    moved = tiny().forecast(from_numpy(1000 * x - 7, 0.1), 5).draws[0, 0].numpy()
    assert np.allclose(moved, 1000 * out - 7, rtol=1e-3)


def test_fitted_on_many_then_continued_without_training():
    many = from_numpy(waves(200, tuple(np.linspace(0, 4, 6))), 0.1)
    fitted = tiny().fit(many)
    x = waves(120, (7.3,))
    forecast = fitted.forecast(from_numpy(x[:60], 0.1), 30)
    assert np.abs(forecast.draws[0, 0].numpy() - x[60:90, 0]).max() < 0.1
    kept = fitted.module.readout.weight.clone()
    tuned = SequenceForecaster(replace(fitted.config, finetune=4))
    tuned.module = fitted.module
    assert not torch.equal(tuned.forecast(from_numpy(x[:60], 0.1), 30).draws, forecast.draws)
    assert torch.equal(fitted.module.readout.weight, kept)
    with pytest.raises(ValueError, match="fitted on series of 2 channels, and this one has 1"):
        fitted.forecast(from_numpy(x[:60, :, :1], 0.1), 3)


def test_a_run_that_runs_away_is_held():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = SequenceModule(TINY, 1).double()
    with torch.no_grad():
        module.readout.weight.zero_()
        module.readout.bias.fill_(3.0)
        _, path = module(torch.zeros(1, 5, 1).double(), 12)
    assert path[0, :, 0].tolist() == [3.0, 6.0, 9.0, 12.0, 15.0, 18.0] + [18.0] * 6


def test_the_readout_is_that_of_least_squares(generator):
    module = SequenceModule(TINY, 2).double()
    told = torch.randn(100, module.readout.in_features, generator=generator).double() * 5 + 1
    weight, bias = torch.randn(2, told.shape[1], generator=generator).double(), torch.tensor([1.0, -2.0]).double()
    put(module, (told, told @ weight.T + bias), 1e-14)
    assert torch.allclose(module.readout.weight, weight, atol=1e-8)
    assert torch.allclose(module.readout.bias, bias, atol=1e-7)


def test_constant_and_short_series():
    assert torch.isfinite(tiny().forecast(from_numpy(np.full((60, 1), 2.0), 1.0), 4).draws).all()
    assert tiny().forecast(from_numpy(waves(tiny().shortest), 0.1), 4).draws.shape == (1, 2, 4, 2)
    with pytest.raises(ValueError, match="gru needs a context of at least"):
        tiny().forecast(from_numpy(waves(8), 0.1), 4)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="did you mean 'gru'"):
        SequenceConfig(backbone="grru")
    with pytest.raises(ValueError, match="none left after a washout"):
        SequenceConfig(window=5, washout=8)
    with pytest.raises(ValueError, match=r"SequenceConfig.lags is 0"):
        SequenceConfig(lags=0)
    assert (gru().name, transformer().name, state_space(width=16).config.width) == ("gru", "transformer", 16)
