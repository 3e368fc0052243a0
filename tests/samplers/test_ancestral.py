"""DDIM(eta) and ancestral sampling: DDPM's posterior, its generalisation, and end variances."""

from __future__ import annotations

import math

import pytest
import torch
from samplers.closed_forms import end_variance

from trajlab.paths.schedules import EDM, Rectified, SubVP, VPLinear, VPTable
from trajlab.samplers import grids
from trajlab.samplers.ancestral import Ancestral, posterior
from trajlab.samplers.deis import ddim
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture


@pytest.mark.parametrize("n", [1, 40, 500, 999])
def test_is_ddpms_posterior(n):
    """Equations 6 and 7 of Ho et al. 2020, on their table."""
    path = VPTable()
    beta = torch.tensor(path.betas, dtype=torch.float64)
    bar = (1 - beta).cumprod(0)
    s, t = (path.level_at(1 - k / 999) for k in (n, n - 1))
    state, clean, width = posterior(s, t)
    assert state == pytest.approx(float((1 - beta[n]).sqrt() * (1 - bar[n - 1]) / (1 - bar[n])), rel=1e-8)
    assert clean == pytest.approx(float(bar[n - 1].sqrt() * beta[n] / (1 - bar[n])), rel=1e-8)
    assert width**2 == pytest.approx(float(beta[n] * (1 - bar[n - 1]) / (1 - bar[n])), rel=1e-8)


@pytest.mark.parametrize("path", [VPLinear(), EDM(), SubVP(), Rectified()], ids=lambda p: type(p).__name__)
def test_is_the_conditional_of_the_chain(path):
    """x_s = (alpha_s/alpha_t) x_t + noise: condition the Gaussian (x_t, x_s) given the clean sample on x_s."""
    s, t = path.level(-0.5), path.level(0.7)
    cross, variance = s.alpha / t.alpha * t.sigma**2, s.sigma**2
    state, clean, width = posterior(s, t)
    assert state == pytest.approx(cross / variance)
    assert clean == pytest.approx(t.alpha - cross / variance * s.alpha)
    assert width**2 == pytest.approx(t.sigma**2 - cross**2 / variance)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_keeps_the_marginals_and_spans_both_ends(eta):
    path = VPLinear()
    s, t = path.level(-0.5), path.level(0.7)
    state, clean, width = posterior(s, t, eta)
    assert clean + state * s.alpha == pytest.approx(t.alpha)
    assert (state * s.sigma) ** 2 + width**2 == pytest.approx(t.sigma**2)
    assert posterior(path.level(-math.inf), t, eta) == pytest.approx((t.sigma * math.sqrt(1 - eta**2), t.alpha, eta * t.sigma))
    assert posterior(s, path.level(math.inf), eta) == (0.0, 1.0, 0.0)


def test_end_variance_is_that_of_the_data():
    path = VPLinear()
    errors = [abs(end_variance(Ancestral(), grids.uniform_lam(path, n, start=-4.0, end="stop")) / 0.25 - 1) for n in (50, 100, 200)]
    assert errors[0] < 0.25
    assert 1.7 < errors[1] / errors[2] < 2.2  # first order in distribution
    assert errors[2] < 0.06


def test_eta_zero_is_ddim(generator):
    path, mixture = VPLinear(), GaussianMixture.ring()
    x = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    grid = grids.uniform_t(path, 12)
    torch.testing.assert_close(sample(mixture.denoiser(path), grid, x, Ancestral(0.0)).x, sample(mixture.denoiser(path), grid, x, ddim()).x)


def test_starts_at_pure_noise(generator):
    path, mixture = Rectified(), GaussianMixture.ring()
    x = torch.randn(64, 2, generator=generator, dtype=torch.float64)
    grid = grids.at_times(path, torch.linspace(0, 1, 30))
    assert bool(torch.isfinite(sample(mixture.denoiser(path), grid, x, Ancestral(), generator=generator).x).all())


def test_bad_input():
    with pytest.raises(ValueError, match="eta = "):
        Ancestral(1.5)
