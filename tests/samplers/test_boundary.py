"""Starts chosen on reference pairs: under a squared distance it is regression, and that is said."""

from __future__ import annotations

import warnings

import pytest
import torch

from trajlab.paths.denoiser import Denoiser
from trajlab.paths.schedules import VPLinear
from trajlab.samplers.boundary import choose_start, rewards_averaging
from trajlab.samplers.deis import ddim
from trajlab.samplers.grids import uniform_lam
from trajlab.samplers.sample import sample

PATH = VPLinear()
GRID = uniform_lam(PATH, 12, stop=5.0)
D, FREE, PAIRS = 16, 12, 40


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


VECTORS = torch.linalg.qr(torch.randn(D, D, generator=seeded(7), dtype=torch.float64))[0]
VALUES = torch.cat([torch.linspace(0.2, 1.0, FREE, dtype=torch.float64), torch.zeros(D - FREE, dtype=torch.float64)])
MIX = torch.randn(4, D, generator=seeded(8), dtype=torch.float64)


def conditional(x, lam, y):
    """E[x0 | x, y] of N(m(y), C), m(y) = y MIX: linear-Gaussian."""
    alpha, sigma = (w[:, None] for w in PATH.scales(lam))
    mean = y @ MIX
    off = (x - alpha * mean) @ VECTORS
    return mean + off * (alpha * VALUES / (alpha**2 * VALUES + sigma**2)) @ VECTORS.T


def squared(out, target):
    return (out - target).square().flatten(1).mean(1)


@pytest.fixture(scope="module")
def pairs():
    y = torch.randn(PAIRS, 4, generator=seeded(1), dtype=torch.float64)
    z = torch.randn(PAIRS, D, generator=seeded(2), dtype=torch.float64)
    return y, y @ MIX + (z * VALUES.sqrt()) @ VECTORS.T


@pytest.fixture(scope="module")
def denoiser():
    return Denoiser(conditional, PATH, clock="lam")


def chosen(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return choose_start(*args, **kwargs)


def test_the_best_start_under_a_squared_distance_is_zero(denoiser, pairs):
    y, z = pairs
    drawn = torch.randn(200, D, generator=seeded(3), dtype=torch.float64)
    found = chosen(denoiser.given(y=y), GRID, z, squared, torch.cat([drawn, torch.zeros(1, D)]), solver=ddim())
    assert found.best == 200
    excess = found.losses - found.losses[200]  # over what no start can take away
    assert float(excess[:200].min()) > 0
    assert 0.1 < float(excess[:200].min() / excess[:200].mean()) < 0.3  # 200 draws come this near to the best start
    assert found.size == 0
    assert found.gain < 0.7
    mean = sample(denoiser.given(y=y), GRID, found.starts(PAIRS), ddim()).x
    torch.testing.assert_close(mean, y @ MIX, atol=0.06, rtol=0)  # the posterior mean, for every y


def test_more_candidates_do_better(denoiser, pairs):
    y, z = pairs
    drawn = torch.randn(200, D, generator=seeded(3), dtype=torch.float64)
    all_of_them = chosen(denoiser.given(y=y), GRID, z, squared, drawn, solver=ddim())
    few = chosen(denoiser.given(y=y), GRID, z, squared, drawn[:10], solver=ddim())
    assert float(all_of_them.losses[all_of_them.best]) < float(few.losses[few.best]) < float(all_of_them.losses.mean())
    torch.testing.assert_close(few.losses, all_of_them.losses[:10])
    assert torch.equal(all_of_them.start, drawn[all_of_them.best])


def test_a_start_serves_other_conditions(denoiser, pairs):
    y, z = pairs
    found = chosen(denoiser.given(y=y[:20]), GRID, z[:20], squared, 100, generator=seeded(3), solver=ddim())
    fresh = sample(denoiser.given(y=y[20:]), GRID, found.starts(20), ddim()).x
    others = sample(denoiser.given(y=y[20:]), GRID, torch.randn(20, D, generator=seeded(9), dtype=torch.float64), ddim()).x
    assert float(squared(fresh, z[20:]).mean()) < float(squared(others, z[20:]).mean())


def test_regression_is_said(denoiser, pairs):
    y, z = pairs
    with pytest.warns(UserWarning, match="choosing a start by it is regression"):
        found = choose_start(denoiser.given(y=y), GRID, z, squared, 3, generator=seeded(), solver=ddim())
    assert found.regression


def spectrum(out, target):
    power = [torch.fft.rfft(w, dim=-1).abs().square() for w in (out, target)]
    return (power[0] - power[1]).abs().mean(-1)


def test_metrics_of_spectra_and_statistics_do_not_warn(denoiser, pairs):
    y, z = pairs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = choose_start(denoiser.given(y=y), GRID, z, spectrum, 20, generator=seeded(), solver=ddim())
    assert not found.regression
    assert found.size > 0.7


@pytest.mark.parametrize(("metric", "averaging"), [
    (squared, True),
    (lambda a, b: (a - b).flatten(1).norm(dim=1), True),
    (lambda a, b: (a - b).norm(dim=-1).flatten(1).mean(1), True),  # average displacement error
    (lambda a, b: (a - b).abs().flatten(1).amax(1), True),
    (lambda a, b: (a.diff(dim=-2).norm(dim=-1).flatten(1).mean(1) - b.diff(dim=-2).norm(dim=-1).flatten(1).mean(1)).abs(), False),  # mean step
    (lambda a, b: (a.flatten(1).var(1) - b.flatten(1).var(1)).abs(), False),
    (lambda a, b: 1 - torch.exp(-(a - b).square().flatten(1).sum(1)), False),
])
@pytest.mark.parametrize("rows", [1, 30])
def test_which_metrics_reward_averaging(metric, averaging, rows):
    assert rewards_averaging(metric, torch.randn(rows, 3, 10, 2, generator=seeded(4), dtype=torch.float64)) is averaging


def test_bad_input(denoiser, pairs):
    y, z = pairs
    given = denoiser.given(y=y)
    with pytest.raises(ValueError, match="0 candidates"):
        choose_start(given, GRID, z, squared, 0, generator=seeded())
    with pytest.raises(ValueError, match="without a generator"):
        choose_start(given, GRID, z, squared, 5)
    with pytest.raises(ValueError, match="of the targets' shape"):
        choose_start(given, GRID, z, squared, torch.zeros(3, D + 1))
    with pytest.raises(ValueError, match=r"shape \(40,\), was wanted"):
        choose_start(given, GRID, z, lambda a, b: squared(a, b).mean(), 5, generator=seeded())
    with pytest.raises(ValueError, match="40 of them not finite"):
        choose_start(given, GRID, z, lambda a, b: squared(a, b) / 0, 5, generator=seeded())
