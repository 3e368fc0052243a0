"""Likelihood of mixtures of paths and of draws, against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde, multivariate_normal

from trajlab.metrics.motion_likelihood import gaussian_log_density, kde_nll, nll_joint, nll_marginal, regular
from trajlab.models.motion.mixture import PathMixture


def mixture(nodes=4, modes=3, frames=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(nodes, modes, frames, 2, 2, generator=g, dtype=torch.float64)
    mean = torch.randn(nodes, modes, frames, 2, generator=g, dtype=torch.float64)
    probability = torch.rand(nodes, modes, generator=g, dtype=torch.float64)
    truth = torch.randn(nodes, frames, 2, generator=g, dtype=torch.float64)
    return (probability / probability.sum(-1, True), mean, root @ root.mT + 0.1 * torch.eye(2)), truth


def test_density():
    (_, mean, covariance), _ = mixture()
    want = [multivariate_normal.logpdf(m, cov=c) for m, c in zip(mean.reshape(-1, 2).numpy(), covariance.reshape(-1, 2, 2).numpy())]
    assert np.allclose(gaussian_log_density(mean, covariance).flatten(), want)


def test_both_likelihoods_are_those_of_scipy():
    (p, mean, covariance), truth = mixture()
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[1, 2:] = False
    mask[3] = False
    joint, marginal = nll_joint(p, mean, covariance, truth, mask), nll_marginal(p, mean, covariance, truth, mask)
    for n in range(3):
        frames = [t for t in range(5) if mask[n, t]]
        at = np.array([[multivariate_normal.pdf(truth[n, t], mean[n, k, t], covariance[n, k, t]) for t in frames] for k in range(3)])
        assert float(joint[n]) == pytest.approx(-math.log(p[n].numpy() @ at.prod(1)))
        assert float(marginal[n]) == pytest.approx(-np.log(p[n].numpy() @ at).mean())
    assert math.isnan(joint[3])
    assert math.isnan(marginal[3])


def test_by_hand_they_differ_hugely():
    """Two modes at -1 and 1 of variance 0.01; the truth changes from one to the other."""
    mean = torch.tensor([[[[-1.0, 0.0], [-1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]], dtype=torch.float64)
    covariance = (0.01 * torch.eye(2, dtype=torch.float64)).expand(1, 2, 2, 2, 2)
    p, mask = torch.tensor([[0.5, 0.5]], dtype=torch.float64), torch.ones(1, 2, dtype=torch.bool)
    truth = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    density = math.log(1 / (2 * math.pi * 0.01))
    assert float(nll_joint(p, mean, covariance, truth, mask)) == pytest.approx(200 - 2 * density)
    assert float(nll_marginal(p, mean, covariance, truth, mask)) == pytest.approx(math.log(2) - density)


def test_hidden_values_permutation_and_turns():
    (p, mean, covariance), truth = mixture()
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[0, 3] = False
    want = nll_joint(p, mean, covariance, truth, mask)
    assert torch.equal(nll_joint(p, mean, covariance, torch.where(mask[..., None], truth, math.nan), mask), want)
    order = torch.tensor([2, 0, 1])
    assert torch.allclose(nll_joint(p[:, order], mean[:, order], covariance[:, order], truth, mask), want)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert torch.allclose(nll_joint(p, mean @ turn.T + 5, turn @ covariance @ turn.T, truth @ turn.T + 5, mask), want)


def test_kernel_estimate_is_that_of_scipy_and_clipped():
    g = torch.Generator().manual_seed(1)
    draws = torch.randn(20, 3, 4, 2, generator=g, dtype=torch.float64) @ torch.tensor([[1.0, 0.5], [0.0, 0.3]], dtype=torch.float64)
    truth = torch.randn(3, 4, 2, generator=g, dtype=torch.float64) * 0.3
    truth[2] = 100.0
    got = kde_nll(draws, truth)
    want = [[-gaussian_kde(draws[:, n, t].T.numpy()).logpdf(truth[n, t].numpy())[0] for t in range(4)] for n in range(2)]
    assert got[:2].tolist() == pytest.approx(np.minimum(np.mean(want, 1), 20).tolist(), rel=1e-4)
    assert float(got[2]) == 20.0
    assert float(kde_nll(draws, truth, floor=-5.0)[2]) == 5.0
    assert math.isfinite(float(kde_nll(torch.zeros(3, 1, 2, 2), torch.zeros(1, 2, 2))))  # draws that coincide
    assert torch.allclose(kde_nll(draws[torch.randperm(20, generator=g)], truth), got)


def test_narrow_ellipses_of_single_precision_are_read_and_indefinite_ones_are_not():
    """A standard deviation of 30 m along a direction and 1 mm across it, rounded to single precision, has a determinant of either sign."""
    angle = torch.linspace(0.1, 3.0, 200, dtype=torch.float64)
    along = torch.stack([angle.cos(), angle.sin()], -1)
    covariance = (900.0 * along[:, :, None] * along[:, None] + 1e-6 * torch.eye(2)).float()
    assert bool((torch.linalg.det(covariance.double()) <= 0).any())
    density = gaussian_log_density(torch.zeros(200, 2), covariance)
    assert bool(density.isfinite().all())
    wide = (along[:, :, None] * along[:, None] + 0.01 * torch.eye(2)).double()
    assert torch.equal(regular(wide), wide)
    with pytest.raises(ValueError, match="not positive definite"):
        gaussian_log_density(torch.zeros(2), torch.tensor([[1.0, 1.01], [1.01, 1.0]]))


def test_bad_input():
    (p, mean, covariance), truth = mixture()
    mask = torch.ones(4, 5, dtype=torch.bool)
    with pytest.raises(ValueError, match="not positive definite"):
        nll_joint(p, mean, torch.zeros_like(covariance), truth, mask)
    with pytest.raises(ValueError, match="node 1 is not finite"):
        nll_marginal(p, mean.index_fill(0, torch.tensor([1]), math.nan), covariance, truth, mask)
    with pytest.raises(ValueError, match="2 draws: a density needs at least 3"):
        kde_nll(torch.zeros(2, 1, 1, 2), torch.zeros(1, 1, 2))


def test_the_mixture_of_forecasters_says_the_same():
    (p, mean, covariance), truth = mixture()
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[2, 1:3] = False
    paths = PathMixture(p.log(), mean, covariance)
    assert torch.allclose(paths.nll_joint(truth, mask), nll_joint(p, mean, covariance, truth, mask))
    assert torch.allclose(paths.nll_marginal(truth, mask), nll_marginal(p, mean, covariance, truth, mask))
