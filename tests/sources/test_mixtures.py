"""Mixtures: moments, the denoiser against sampling and against the gradient of the density, ends of the ODE against the closed form."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.paths.schedules import EDM, Rectified, SubVP, VPLinear, VPTable
from trajlab.sources.mixtures import GaussianMixture, gaussian

PATHS = [VPLinear(), VPTable(), SubVP(), EDM(), Rectified()]
names = pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_mixture(seed: int = 0, modes: int = 3, dim: int = 4) -> GaussianMixture:
    g = seeded(seed)
    root = torch.randn(modes, dim, dim, generator=g, dtype=torch.float64) * 0.4
    return GaussianMixture(torch.randn(modes, dim, generator=g, dtype=torch.float64), root @ root.mT, torch.tensor([0.5, 1.0, 2.5])[:modes])


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def test_moments_of_two_points_by_hand():
    mixture = GaussianMixture(torch.tensor([[0.0, 0], [4.0, 0]]), torch.zeros(2, 2, 2), torch.tensor([3.0, 1.0]))
    mean, covariance = mixture.moments()
    assert mean.tolist() == [1.0, 0.0]
    assert covariance.tolist() == [[3.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("mixture", [random_mixture(), GaussianMixture.ring(), GaussianMixture.smooth_paths(seeded())], ids=["any", "ring", "paths"])
def test_samples_have_the_exact_moments(mixture):
    n = 40_000
    x = mixture.sample(n, seeded()).reshape(n, -1)
    mean, covariance = mixture.moments()
    assert torch.allclose(x.mean(0), mean, atol=5 * float(covariance.diagonal().max().sqrt()) / n**0.5)
    assert torch.allclose(x.T.cov(), covariance, atol=8 * float(covariance.abs().max()) / n**0.5)


def test_ring_is_turned_by_an_eighth_onto_itself():
    mixture, angle = GaussianMixture.ring(), math.pi / 4
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    x = normal(16, 2)
    assert torch.allclose(mixture.log_density(x @ turn.T), mixture.log_density(x), atol=1e-9)
    assert torch.allclose(mixture.posterior(x @ turn.T, 0.6, 0.8)[0], mixture.posterior(x, 0.6, 0.8)[0] @ turn.T, atol=1e-12)


def test_denoiser_is_the_average_over_clean_samples():
    mixture = random_mixture()
    clean, alpha, sigma = mixture.sample(200_000, seeded(3)), 0.5, 0.8
    x = normal(6, 4) * 0.7
    weight = torch.softmax(-0.5 * ((x[:, None] - alpha * clean) ** 2).sum(-1) / sigma**2, -1)
    assert torch.allclose(mixture.posterior(x, alpha, sigma)[0], weight @ clean, atol=0.02)


@pytest.mark.parametrize("scales", [(1.0, 0.0), (0.8, 0.6), (0.05, 1.0), (1.0, 3.0)])
def test_denoiser_is_the_gradient_of_the_density(scales):
    """Tweedie: alpha E[x0 | x] = x + sigma^2 grad log p(x)."""
    alpha, sigma = scales
    mixture, x, step = random_mixture(), normal(5, 4), 1e-5
    slope = torch.stack([(mixture.log_density(x + e, alpha, sigma) - mixture.log_density(x - e, alpha, sigma)) / (2 * step)
                         for e in step * torch.eye(4, dtype=torch.float64)], -1)
    assert torch.allclose(alpha * mixture.posterior(x, alpha, sigma)[0], x + sigma**2 * slope, atol=1e-6)


def test_density_integrates_to_one():
    axis = torch.linspace(-3, 3, 601, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    for alpha, sigma in [(1.0, 0.0), (0.5, 0.4)]:
        assert float(GaussianMixture.ring().log_density(x, alpha, sigma).exp().sum() * 0.01**2) == pytest.approx(1, abs=1e-6)


@names
def test_denoiser_reads_the_same_on_every_path(path):
    mixture, lam = random_mixture(), 0.7
    level = path.level(lam)
    x = normal(4, 4)
    found = mixture.denoiser(path)(x * level.alpha, level)
    assert torch.allclose(found.x0, mixture.posterior(x, 1.0, math.exp(-lam))[0], atol=1e-12)


def test_rows_may_have_levels_of_their_own():
    mixture, path = random_mixture(), VPLinear()
    x, lam = normal(3, 4), torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64)
    together = mixture.denoiser(path)(x, path.level(lam, like=x)).x0
    alone = torch.cat([mixture.denoiser(path)(x[k : k + 1], path.level(float(lam[k]))).x0 for k in range(3)])
    assert torch.allclose(together, alone, atol=1e-12)


@names
@pytest.mark.parametrize("stop", [3.0, 16.0, math.inf])
def test_end_of_the_ode_of_one_gaussian(path, stop):
    """Along an eigenvector of the covariance, x - alpha m goes with sqrt(alpha^2 v + sigma^2)."""
    root = normal(3, 3, seed=5) * 0.5
    mean, covariance, start = normal(3, seed=6), root @ root.T, -3.0
    values, vectors = torch.linalg.eigh(covariance)
    a, b = path.level(start), path.level(stop)
    x = normal(8, 3)
    factor = ((b.alpha**2 * values + b.sigma**2) / (a.alpha**2 * values + a.sigma**2)).sqrt()
    wanted = b.alpha * mean + (x - a.alpha * mean) @ vectors @ torch.diag(factor) @ vectors.T
    assert torch.allclose(gaussian(mean, covariance).ode_end(path, x, start, stop), wanted, atol=1e-8)


def test_end_of_the_ode_maps_noise_to_the_mixture():
    mixture = GaussianMixture.ring()
    end = mixture.ode_end(VPLinear(), normal(2000, 2), -5.0, tolerance=1e-6)
    mean, covariance = mixture.moments()
    assert torch.allclose(end.mean(0), mean, atol=0.08)
    assert torch.allclose(end.T.cov(), covariance, atol=0.05)
    assert float(mixture.log_density(end).mean()) == pytest.approx(float(mixture.log_density(mixture.sample(4000, seeded())).mean()), abs=0.08)


def test_end_of_the_ode_does_not_depend_on_how_it_is_cut():
    mixture, path, x = random_mixture(), Rectified(), normal(8, 4)
    half = mixture.ode_end(path, x, -4.0, 1.0)
    assert torch.allclose(mixture.ode_end(path, half, 1.0), mixture.ode_end(path, x, -4.0), atol=1e-8)


def test_end_keeps_the_shape_of_events():
    mixture = GaussianMixture.smooth_paths(seeded(), frames=4)
    assert mixture.ode_end(VPLinear(), normal(3, 1, 4, 2), -5.0).shape == (3, 1, 4, 2)


def test_without_noise_a_sample_is_its_own_posterior_mean():
    mixture = random_mixture()
    x = mixture.sample(5, seeded())
    assert torch.allclose(mixture.posterior(x, 1.0, 0.0)[0], x, atol=1e-12)
    assert torch.allclose(mixture.posterior(0.3 * x, 0.3, 0.0)[0], x, atol=1e-12)


def test_without_signal_the_answer_is_the_mean():
    mixture = random_mixture()
    found, share = mixture.posterior(normal(5, 4), 0.0, 1.0)
    assert torch.allclose(found, mixture.moments()[0].expand(5, 4), atol=1e-12)
    assert torch.allclose(share, mixture.weight.expand(5, 3), atol=1e-12)


def test_neither_signal_nor_noise_is_still_finite():
    assert torch.allclose(random_mixture().posterior(torch.zeros(2, 4), 0.0, 0.0)[0].double(), random_mixture().moments()[0].expand(2, 4), atol=1e-6)


def test_points_and_lines_at_the_clean_end():
    """A point at the origin, a line through (2, 0) along y: what lies on one of them belongs to it, noise or none."""
    line = torch.tensor([[0.0, 0], [0, 1.0]])
    mixture = GaussianMixture(torch.tensor([[0.0, 0], [2.0, 0]]), torch.stack([torch.zeros(2, 2), line]))
    x = torch.tensor([[0.0, 0], [2.0, 0.7]], dtype=torch.float64)
    for sigma in (0.0, 1e-9):
        found, share = mixture.posterior(x, 1.0, sigma)
        assert torch.allclose(found, x, atol=1e-7)
        assert torch.allclose(share, torch.eye(2, dtype=torch.float64), atol=1e-6)
    off = mixture.posterior(torch.tensor([[1.7, 0.5]], dtype=torch.float64), 1.0, 0.0)[0]
    assert torch.allclose(off, torch.tensor([[2.0, 0.5]], dtype=torch.float64)), "the nearest mode, projected onto its line"


def test_point_data_are_reached_in_one_step():
    point = gaussian(torch.tensor([1.0, -2.0]), torch.zeros(2, 2))
    assert torch.allclose(point.ode_end(VPLinear(), normal(3, 2), -5.0), point.mean.expand(3, 2), atol=1e-9)


def test_cooling_blurs_the_borders_only():
    mixture = GaussianMixture.ring(radial=0.1, tangential=0.1)
    between = torch.tensor([[math.cos(math.pi / 8 * 0.8), math.sin(math.pi / 8 * 0.8)]], dtype=torch.float64)
    sharp, blurred = (mixture.posterior(between, 1.0, 0.05, cool=c)[1].max() for c in (0.0, 1.0))
    assert float(sharp) > 0.95 > float(blurred)
    single = gaussian(torch.zeros(2), torch.eye(2))
    assert torch.equal(single.posterior(between, 0.5, 0.5, cool=2.0)[0], single.posterior(between, 0.5, 0.5)[0])


def test_float32_states_give_float32_predictions():
    x = normal(3, 2).float()
    assert GaussianMixture.ring().posterior(x, 0.5, 0.5)[0].dtype == torch.float32


@pytest.mark.parametrize(("mean", "covariance", "weight", "message"), [
    (torch.zeros(2, 3), torch.eye(2).expand(2, 2, 2), None, r"\(2, 3, 3\) was wanted"),
    (torch.zeros(2, 2), torch.eye(2).expand(2, 2, 2), torch.tensor([1.0, 0.0]), "positive weight"),
    (torch.zeros(2, 2), torch.eye(2).expand(2, 2, 2), torch.tensor([1.0, math.nan]), "positive weight"),
    (torch.zeros(1, 2), torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]), None, "least eigenvalue -1"),
    (torch.zeros(1, 2), torch.tensor([[[1.0, 0.5], [0.0, 1.0]]]), None, "symmetric"),
    (torch.full((1, 2), math.nan), torch.eye(2)[None], None, "not finite"),
    (torch.zeros(0, 2), torch.zeros(0, 2, 2), None, "at least one mode"),
])
def test_what_is_no_mixture_is_refused(mean, covariance, weight, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(mean, covariance, weight)


def test_what_cannot_be_asked_is_refused():
    mixture = GaussianMixture.ring()
    with pytest.raises(ValueError, match="2 numbers was wanted"):
        mixture.posterior(torch.zeros(3, 5), 1.0, 1.0)
    with pytest.raises(ValueError, match="to a larger one"):
        mixture.ode_end(VPLinear(), torch.zeros(3, 2), 2.0, 1.0)
    with pytest.raises(ValueError, match="finite log-SNR"):
        mixture.ode_end(VPLinear(), torch.zeros(3, 2), -math.inf)
    with pytest.raises(ValueError, match="no density"):
        gaussian(torch.zeros(2), torch.zeros(2, 2)).log_density(torch.zeros(3, 2))
