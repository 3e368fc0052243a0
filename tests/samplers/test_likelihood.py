"""Log-likelihood by the probability-flow ODE, against mixtures whose density is known."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.paths.denoiser import Denoiser
from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import VE, VPCosine, VPTable
from trajlab.samplers.dopri5 import Control
from trajlab.samplers.likelihood import Divergence, LikelihoodConfig, flow_log_density, log_likelihood, standard_normal
from trajlab.samplers.noise import RowNoise
from trajlab.sources.mixtures import GaussianMixture

STOP = 3.0
RHO = math.exp(-STOP)


def config(start=-9.0, **how):
    return LikelihoodConfig(start=start, stop=STOP, divergence=Divergence(**how), control=Control(1e-5, 1e-5))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def ring():
    mixture = GaussianMixture.ring()
    return mixture, mixture.sample(6, generator()) + 0.05


@pytest.mark.parametrize("path", [VE(), VPTable()])
def test_mixture_density(ring, path):
    mixture, x = ring
    found = log_likelihood(mixture.denoiser(path), x, config())
    torch.testing.assert_close(found.log_density, mixture.log_density(x, 1.0, RHO), rtol=0, atol=1e-4)
    assert found.dims.tolist() == [2.0] * 6
    torch.testing.assert_close(found.bits_per_dim, -found.log_density / math.log(2) / 2)


def test_trajectories_in_chunks():
    mixture, path = GaussianMixture.smooth_paths(generator(3), frames=2), VPCosine()
    x = mixture.sample(3, generator())
    for chunk in (4, 100):
        found = log_likelihood(mixture.denoiser(path), x, config(start=-12.0, chunk=chunk))
        torch.testing.assert_close(found.log_density, mixture.log_density(x, 1.0, RHO), rtol=0, atol=3e-4)


def test_rows_and_rotations():
    mixture, path, x = GaussianMixture.ring(radial=0.3), VPCosine(), torch.tensor([[0.9, 0.1], [0.2, -0.3], [-1.0, 0.0]], dtype=torch.float64)
    together = log_likelihood(mixture.denoiser(path), x, config())
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)  # a symmetry of the ring
    alone = log_likelihood(mixture.denoiser(path), x[1:2] @ turn.mT, config())
    torch.testing.assert_close(alone.log_density[0], together.log_density[1], rtol=1e-8, atol=1e-8)


def test_an_equivariant_denoiser_has_an_invariant_density():
    """Nodes that keep a distance: not Gaussian, and the same density for a turned, reflected or relabelled sample."""
    path = VPCosine()

    def net(x, t):
        off = x - x.mean(1, keepdim=True)
        length = off.square().sum(-1, keepdim=True)
        return off / (1 + length) * (0.5 + t.reshape(-1, 1, 1))

    x = torch.randn(2, 4, 3, generator=generator(), dtype=torch.float64)
    x = x - x.mean(1, keepdim=True)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator(1), dtype=torch.float64))[0]
    settings = LikelihoodConfig(-5.0, 3.0, divergence=Divergence(centred=(1,), chunk=12), control=Control(1e-5, 1e-5))
    found = [log_likelihood(Denoiser(net, path), y, settings)
             for y in (x, (x @ turn.mT)[:, [2, 0, 3, 1]])]
    assert found[0].dims.tolist() == [9.0, 9.0]
    assert float(found[0].log_density.std()) > 0.1
    for other in found[1:]:
        torch.testing.assert_close(other.log_density, found[0].log_density, rtol=1e-8, atol=1e-8)


class Embedded:
    """A mixture over n - 1 nodes, seen as n nodes with zero mean."""

    def __init__(self, mixture, path, nodes):
        self.mixture, self.path = mixture, path
        basis = torch.linalg.qr(torch.cat([torch.ones(nodes, 1), torch.eye(nodes)[:, :-1]], 1).double())[0]
        self.basis = basis[:, 1:]  # [node inner], orthonormal, each column of zero sum

    def inner(self, x):
        return torch.einsum("nk,bntd->bktd", self.basis, x)

    def outer(self, y):
        return torch.einsum("nk,bktd->bntd", self.basis, y)

    def __call__(self, x, level, mask=None):
        if mask is not None:
            x = x[:, :3]
        x0 = self.outer(self.mixture.posterior(self.inner(x), level.alpha, level.sigma)[0])
        if mask is not None:
            x0 = torch.cat([x0, torch.full_like(x0[:, :1], 5.0)], 1)
            x = torch.cat([x, torch.zeros_like(x[:, :1])], 1)
        return Prediction(x, level, "x0", x0)


def flat_mixture():
    d = 2 * 2 * 1
    mean = torch.randn(3, 2, 2, 1, generator=generator(5), dtype=torch.float64)
    root = 0.4 * torch.randn(3, d, d, generator=generator(6), dtype=torch.float64)
    return GaussianMixture(mean - mean.mean(0), root @ root.mT + 0.05 * torch.eye(d, dtype=torch.float64))


def test_zero_mean_subspace_and_mask():
    mixture = flat_mixture()
    denoiser = Embedded(mixture, VPCosine(), 3)
    y = mixture.sample(3, generator())
    exact = mixture.log_density(y, 1.0, RHO)
    found = log_likelihood(denoiser, denoiser.outer(y), config(start=-9.0, centred=(1,), chunk=6))
    assert found.dims.tolist() == [4.0] * 3  # (3 - 1) nodes, 2 frames, 1 coordinate
    torch.testing.assert_close(found.log_density, exact, rtol=0, atol=1e-3)
    # A fourth node that is not there changes nothing, whatever stands in it.
    wide = torch.cat([denoiser.outer(y), torch.full((3, 1, 2, 1), math.nan, dtype=torch.float64)], 1)
    mask = torch.tensor([True, True, True, False]).expand(3, 4)
    padded = log_likelihood(denoiser, wide, config(start=-9.0, centred=(1,), chunk=8), mask=mask)
    assert padded.dims.tolist() == [4.0] * 3
    torch.testing.assert_close(padded.log_density, found.log_density, rtol=1e-8, atol=1e-8)
    assert float(padded.latent[:, 3].abs().max()) == 0


def test_hutchinson_is_unbiased_and_has_a_stream_a_row():
    root = 0.5 * torch.randn(4, 4, generator=generator(2), dtype=torch.float64)
    mixture = GaussianMixture(torch.zeros(1, 4), (root @ root.mT + 0.05 * torch.eye(4, dtype=torch.float64))[None])
    x, path = mixture.sample(2, generator()), VPCosine()
    exact = mixture.log_density(x, 1.0, RHO)
    fast = LikelihoodConfig(-9.0, STOP, divergence=Divergence("hutchinson", probes=64, chunk=64), control=Control(1e-4, 1e-4))
    found = log_likelihood(mixture.denoiser(path), x, fast, generator=generator())
    few = LikelihoodConfig(-9.0, STOP, divergence=Divergence("hutchinson", probes=1), control=Control(1e-4, 1e-4))
    one = log_likelihood(mixture.denoiser(path), x, few, generator=generator())
    assert float((one.log_density - exact).abs().max()) > 0.02  # random
    assert float((found.log_density - exact).abs().max()) < 0.5
    alone = log_likelihood(mixture.denoiser(path), x[1:], few, generator=RowNoise(generator(), rows=[1]))
    torch.testing.assert_close(alone.log_density[0], one.log_density[1], rtol=1e-7, atol=1e-7)


def test_float32_nets():
    mixture, path = GaussianMixture.ring(radial=0.3, tangential=0.3), VPCosine()
    x = mixture.sample(4, generator()).float()
    found = log_likelihood(mixture.denoiser(path), x, config(start=-6.0))
    assert found.latent.dtype == torch.float32
    torch.testing.assert_close(found.log_density, mixture.log_density(x, 1.0, RHO), rtol=0, atol=2e-3)


def test_any_field():
    """x' = A x stretches volumes by e^tr(A t)."""
    matrix = torch.tensor([[0.5, 1.0], [-0.3, 0.2]], dtype=torch.float64)
    x = torch.randn(3, 2, generator=generator(), dtype=torch.float64)
    found = flow_log_density(lambda x, _t: x @ matrix.mT, x, 0.0, 1.0, standard_normal, control=Control(1e-9, 1e-9))
    grow = torch.linalg.matrix_exp(matrix)
    exact = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), grow @ grow.mT).log_prob(x)
    torch.testing.assert_close(found.log_density, exact, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(found.latent @ grow.mT, x, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("call", "message"), [
    (lambda d, x: log_likelihood(d, x, LikelihoodConfig(3.0, 1.0)), "from lam = 3 to 1"),
    (lambda d, x: log_likelihood(d, x, LikelihoodConfig(-math.inf, 1.0)), "finite log-SNRs"),
    (lambda d, x: log_likelihood(d, x, config(centred=(1,))), "off zero mean over axes"),
    (lambda d, x: log_likelihood(d, x, config(centred=(0,))), "axes from 1"),
    (lambda d, x: log_likelihood(d, x, config(trace="hutchinson")), "pass generator="),
    (lambda d, x: log_likelihood(d, x * math.nan, config()), "not finite"),
    (lambda d, x: log_likelihood(d, x, config(), mask=torch.ones(len(x), 3, dtype=torch.bool)), "the mask has shape"),
    (lambda d, x: Divergence("hutchison"), "did you mean 'hutchinson'"),
    (lambda d, x: Divergence(probes=0), "at least 1"),
])
def test_bad_input(ring, call, message):
    with pytest.raises(ValueError, match=message):
        call(ring[0].denoiser(VPCosine()), ring[1])
