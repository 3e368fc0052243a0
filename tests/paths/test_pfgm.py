"""PFGM++: radii, variances and kernels at any N and D, masks and projections, and the limit of EDM."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from trajlab.paths.centre import centred, degrees
from trajlab.paths.empirical import Empirical
from trajlab.paths.frameworks import convert
from trajlab.paths.pfgm import PFGM
from trajlab.paths.schedules import EDM
from trajlab.samplers.grids import explicit
from trajlab.samplers.sample import sample

F64 = torch.float64


@pytest.mark.parametrize(("n", "d"), [(2, 2048.0), (192, 2.0**20), (4, 8.0), (1, 3.0), (50, 0.5), (3, 1.0)])
@pytest.mark.parametrize("how", ["noise", "radial"])
def test_radius_has_its_law(n, d, how, generator):
    path, like = PFGM(augmented=d), torch.zeros(20000, n, dtype=F64)
    z = path.noise(like, generator) if how == "noise" else path.radial(torch.randn(like.shape, generator=generator, dtype=F64))
    assert bool(torch.isfinite(z).all())
    square = (z**2).sum(1)
    # R^2 / (R^2 + r^2) ~ Beta(N/2, D/2) with r^2 = D at sigma = 1.
    share = (square / (square + d)).numpy()
    assert stats.kstest(share, stats.beta(n / 2, d / 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("n", "d"), [(2, 2048.0), (192, 2.0**20), (24, 128.0), (8, 12.0)])
def test_variance_is_d_over_d_minus_2(n, d, generator):
    size = max(20000, 800_000 // n)
    z = PFGM(augmented=d).noise(torch.zeros(size, n, dtype=F64), generator)
    assert float(z.var()) == pytest.approx(d / (d - 2), rel=0.012)


def test_radial_keeps_direction_rank_and_rows(generator):
    path, z = PFGM(augmented=3.0), torch.randn(50, 4, 3, generator=generator, dtype=F64)
    out = path.radial(z)
    ratio = out / z
    assert torch.allclose(ratio, ratio[:, :1, :1].expand_as(ratio), rtol=1e-12)
    norm = torch.linalg.vector_norm
    assert torch.equal(norm(out.flatten(1), dim=1).argsort(), norm(z.flatten(1), dim=1).argsort())
    assert torch.equal(path.radial(z[7:8]), out[7:8])


def test_radial_is_accurate_far_out():
    """Ranks near 0 and 1. With N = 6, D = 4, P(B > 1 - y) = 6 y^2 - 8 y^3 + 3 y^4 for B ~ Beta(3, 2)."""
    path, n, d = PFGM(augmented=4.0), 6, 4.0
    z = torch.zeros(4, n, dtype=F64)
    z[:, 0] = torch.tensor([1e-3, 0.5, 6.0, 9.0])
    square = (path.radial(z) ** 2).sum(1).numpy()
    law, chi = stats.betaprime(n / 2, d / 2), stats.chi2(n)
    assert np.allclose(square[:2], [law.ppf(chi.cdf(1e-6)) * d, law.ppf(chi.cdf(0.25)) * d], rtol=1e-6)
    y = d / (square[2:] + d)
    assert np.allclose(6 * y**2 - 8 * y**3 + 3 * y**4, chi.sf([36.0, 81.0]), rtol=1e-9)


def test_infinite_d_is_gaussian(generator):
    z = torch.randn(5, 3, generator=generator, dtype=F64)
    assert torch.equal(PFGM(augmented=math.inf).radial(z), z)
    assert torch.allclose(PFGM(augmented=1e9).radial(z), z, rtol=1e-7)
    a, b = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    assert torch.equal(PFGM(augmented=math.inf).noise(z, a), torch.randn(5, 3, generator=b, dtype=F64))


@pytest.mark.parametrize("how", ["noise", "radial"])
def test_a_mask_changes_n_alone(how, generator):
    """Of 2 x 3 x 4 numbers 8 are observed: the radius has the law of N = 8, and what is hidden is zero."""
    d, mask = 5.0, torch.tensor([[True, True, False], [False, False, False]]).expand(20000, 2, 3)
    path, normal = PFGM(augmented=d), torch.randn(20000, 2, 3, 4, generator=generator, dtype=F64)
    z = path.noise(normal, generator, mask) if how == "noise" else path.radial(normal, mask)
    assert float(z[~mask].abs().max()) == 0
    square = (z**2).flatten(1).sum(1)
    assert stats.kstest((square / (square + d)).numpy(), stats.beta(4.0, d / 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("how", ["noise", "radial"])
def test_a_projection_leaves_n_minus_1_nodes(how, generator):
    d, normal = 6.0, torch.randn(20000, 4, 1, 3, generator=generator, dtype=F64)
    path = PFGM(augmented=d)
    z = path.noise(normal, generator, axes=(1,)) if how == "noise" else path.radial(normal, axes=(1,))
    assert float(z.mean(1).abs().max()) < 1e-10
    assert int(degrees(normal, axes=(1,))[0]) == 9
    square = (z**2).flatten(1).sum(1)
    assert stats.kstest((square / (square + d)).numpy(), stats.beta(4.5, d / 2).cdf).pvalue > 1e-3


def test_rotations_and_permutations_commute_with_the_map(generator):
    path, z = PFGM(augmented=3.0), torch.randn(3, 4, 2, 3, generator=generator, dtype=F64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=F64)).Q
    order = torch.tensor([2, 0, 3, 1])
    for axes in (None, (1,)):
        out = path.radial(z, axes=axes)
        assert torch.allclose(path.radial(z @ turn.T, axes=axes), out @ turn.T, atol=1e-12)
        assert torch.allclose(path.radial(z[:, order], axes=axes), out[:, order], atol=1e-12)


def test_prior_is_heavy_tailed(generator):
    path = PFGM(augmented=3.0)
    z = torch.randn(20000, 2, generator=generator, dtype=F64)
    start = path.prior((20000, 2), z) / 80
    assert stats.kstest(start[:, 0].numpy(), stats.t(3).cdf).pvalue > 1e-3
    assert stats.kstest(start[:, 0].numpy(), stats.norm.cdf).pvalue < 1e-6


def test_finite_data_denoiser_tends_to_that_of_edm(generator):
    points = torch.randn(6, 4, generator=generator, dtype=F64)
    sigma = 0.7
    x = points[torch.arange(200) % 6] + sigma * torch.randn(200, 4, generator=generator, dtype=F64)
    gaussian = Empirical(points, EDM())(x, EDM().level(-math.log(sigma))).x0
    gaps = []
    for d in (8.0, 128.0, 2048.0, 1e6):
        path = PFGM(augmented=d)
        found = Empirical(points, path)(x, path.level(-math.log(sigma))).x0
        weight = torch.softmax(-(4 + d) / 2 * torch.log(((x[:, None] - points) ** 2).sum(-1) + sigma**2 * d), 1)
        assert torch.allclose(found, weight @ points, atol=1e-8)
        gaps.append(float((found - gaussian).abs().max()))
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3]
    assert 0.3 < gaps[0] < 2
    assert gaps[3] < 2e-5
    # Slope -1 in D.
    assert math.log(gaps[1] / gaps[3]) / math.log(1e6 / 128) == pytest.approx(1.0, abs=0.05)


def test_the_denoiser_minimises_the_error_under_this_noise(generator):
    points, d = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]], dtype=F64), 3.0
    path = PFGM(augmented=d)
    clean = points[torch.randint(3, (60000,), generator=generator)]
    x, level = clean + 0.6 * path.noise(clean, generator), path.level(-math.log(0.6))
    errors = [float(((Empirical(points, p)(x, level).x0 - clean) ** 2).mean()) for p in (path, EDM())]
    assert errors[0] < 0.97 * errors[1]


def test_the_flow_keeps_the_marginals(generator):
    """dx/dsigma = (x - D)/sigma carries data + 4 noise to data + 0.3 noise, with the same D as the noise."""
    points, d, n = torch.tensor([[-1.5, 0.0], [1.0, 0.5]], dtype=F64), 3.0, 20000
    path = PFGM(augmented=d)

    def draw(sigma):
        clean = points[torch.randint(2, (n,), generator=generator)]
        return clean + sigma * path.noise(clean, generator)

    grid = explicit(path, torch.linspace(-math.log(4.0), -math.log(0.3), 60, dtype=F64), "stop")
    start, wanted = draw(4.0), draw(0.3)
    gaussian = convert(Empirical(points, EDM()), path)
    for denoiser, same in ((Empirical(points, path), True), (gaussian, False)):
        end = sample(denoiser, grid, start).x
        pvalues = [stats.ks_2samp((end @ way).numpy(), (wanted @ way).numpy()).pvalue for way in torch.eye(2, dtype=F64)]
        assert (min(pvalues) > 1e-3) == same


def test_masks_in_the_finite_data_denoiser(generator):
    points = torch.randn(5, 3, 2, generator=generator, dtype=F64)
    mask = torch.tensor([[True, False, True]]).expand(4, 3)
    x = torch.randn(4, 3, 2, generator=generator, dtype=F64)
    x[:, 1] = math.nan
    for path in (PFGM(augmented=7.0), EDM()):
        level = path.level(0.3)
        found = Empirical(points, path)(x, level, mask=mask).x0
        alone = Empirical(points[:, [0, 2]], path)(x[:, [0, 2]], level).x0
        assert torch.allclose(found[:, [0, 2]], alone, atol=1e-12)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: PFGM(augmented=0.0), "a positive number was wanted"),
    (lambda: PFGM(sigma_min=3.0, sigma_max=1.0), "0 < sigma_min < sigma_max"),
    (lambda: PFGM().radial(torch.ones(2, 3), torch.tensor([[True] * 3, [False] * 3])), "row 1 has no number"),
    (lambda: PFGM().radial(torch.ones(2, 3), torch.ones(2, 4, dtype=torch.bool)), "the mask has shape"),
    (lambda: PFGM().radial(torch.ones(2, 3), axes=(0,)), "after the batch"),
    (lambda: PFGM().prior((2, 3), torch.ones(2, 4)), "was wanted"),
    (lambda: Empirical(torch.zeros(0, 3), EDM()), "at least one point"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_centred_and_degrees(generator):
    x = torch.randn(3, 4, 2, 3, generator=generator, dtype=F64)
    mask = torch.ones(3, 4, 2, dtype=torch.bool)
    mask[0, 2:, 0] = False
    mask[1, :, 1] = False
    for axes in ((1,), (1, 2), (-3,)):
        out = centred(x, mask, axes)
        weight = mask[..., None].double()
        assert float((out * weight).sum(tuple(a % 4 for a in axes)).abs().max()) < 1e-12
        assert torch.allclose(centred(out, mask, axes), out, atol=1e-14)
        assert float(out[~mask].abs().max()) == 0
    assert degrees(x, mask).tolist() == [18, 12, 24]
    assert degrees(x, mask, (1,)).tolist() == [12, 9, 18]
    assert degrees(x, mask, (1, 2)).tolist() == [15, 9, 21]
