"""Draws of series: spread and coverage where they are known, seeds, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trajlab.data.adapters.arrays import from_numpy
from trajlab.models.series_diffusion import DiffusionConfig, SeriesDiffusion, held
from trajlab.models.series_diffusion_fit import residuals
from trajlab.models.series_local import Scale

QUICK = DiffusionConfig(reference="linear", ahead=4, width=32, steps=80, evaluations=8)


def autoregressive(frames=700, series=1, seed=0):
    """x[n] = 1.6 x[n-1] - 0.8 x[n-2] + noise of unit variance, ``[frame node 1]``."""
    rng, x = np.random.default_rng(seed), np.zeros((frames + 100, series, 1))
    for n in range(2, len(x)):
        x[n] = 1.6 * x[n - 1] - 0.8 * x[n - 2] + rng.normal(size=(series, 1))
    return x[100:]


def spread(steps):
    """Standard deviation of the prediction after 1, 2, ... steps: root of the sum of squares of the impulse response."""
    response = [1.0, 1.6]
    for _ in range(steps - 2):
        response.append(1.6 * response[-1] - 0.8 * response[-2])
    return np.sqrt(np.cumsum(np.square(response)))


def test_spread_and_mean_of_an_autoregressive_process():
    x = autoregressive()
    out = SeriesDiffusion(QUICK).forecast(from_numpy(x, 1.0), 12, draws=200).draws[:, 0, :, 0].numpy()
    exact, a, b = [], x[-1, 0, 0], x[-2, 0, 0]
    for _ in range(12):
        a, b = 1.6 * a - 0.8 * b, a
        exact.append(a)
    assert np.allclose(out.std(0), spread(12), rtol=0.25)
    assert (np.abs(out.mean(0) - exact) < 0.35 * spread(12)).all()


def test_fitted_on_many_series_covers_new_ones():
    model = SeriesDiffusion(QUICK).fit(from_numpy(autoregressive(300, 6), 1.0))
    x = autoregressive(312, 12, seed=1)
    out = model.forecast(from_numpy(x[:300], 1.0), 12, draws=40).draws[..., 0].numpy()
    low, high = np.quantile(out, [0.1, 0.9], axis=0)
    truth = x[300:, :, 0].T
    assert 0.65 < ((truth > low) & (truth < high)).mean() < 0.93
    with pytest.raises(ValueError, match="fitted on series of 1 channels, and this one has 2"):
        model.forecast(from_numpy(np.concatenate([x, x], -1)[:300, :1], 1.0), 3)


def test_one_seed_one_answer_and_draws_do_not_depend_on_their_number():
    x = from_numpy(autoregressive(300, 2), 1.0)
    model = SeriesDiffusion(QUICK).fit(x)
    before = torch.random.get_rng_state()
    out = model.forecast(x, 9, draws=3, seed=5).draws
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(out, model.forecast(x, 9, draws=3, seed=5).draws)
    assert torch.allclose(out[:2], model.forecast(x, 9, draws=2, seed=5).draws, rtol=1e-3, atol=1e-3)
    assert (out[0] - out[1]).abs().max() > 0.1
    assert out.shape == (3, 2, 9, 1)


def test_residuals_are_those_of_a_reference_that_has_not_seen_the_frames():
    """25 lags on little data fit their own noise: the residual there is far too small, elsewhere it is not."""
    x = autoregressive(160)[:, 0]
    model = SeriesDiffusion(QUICK)
    scale = Scale.of(x)
    honest = residuals(model.reference, x, scale, QUICK).off[:, 0].square().mean().sqrt() * float(scale.std[0])
    learned = model.reference.learn(x)
    seen = [learned.runs(x, [n], [1])[0][0] - x[n] for n in range(40, 159)]
    assert float(honest) > 1.1 * float(np.sqrt(np.mean(np.square(seen))))


def test_a_series_without_noise_is_continued_as_its_reference():
    t = np.arange(200.0)
    x = np.stack([np.sin(0.3 * t), np.cos(0.3 * t)], -1)
    out = SeriesDiffusion(QUICK).forecast(from_numpy(x[:180], 1.0), 20, draws=3).draws[:, 0].numpy()
    assert np.abs(out - x[180:]).max() < 0.02


def test_draws_that_run_away_are_held():
    drawn = np.array([[[1.0], [25.0], [2.0], [np.nan], [3.0]]])
    assert held(drawn, np.zeros((1, 1, 1)))[0, :, 0].tolist() == [1.0, 1.0, 2.0, 2.0, 3.0]


def test_settings_are_checked():
    with pytest.raises(ValueError, match="did you mean 'nvar'"):
        DiffusionConfig(reference="nvarr")
    with pytest.raises(ValueError, match=r"DiffusionConfig.ahead is 0"):
        DiffusionConfig(ahead=0)
    with pytest.raises(ValueError, match="in rising order"):
        DiffusionConfig(sigma_min=3.0, sigma_max=1.0)
    with pytest.raises(ValueError, match="diffusion needs a context of at least"):
        SeriesDiffusion(QUICK).forecast(from_numpy(autoregressive(30), 1.0), 3)
