"""Every Gaussian path: clock there and back, scales, slopes, ends; and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab import catalog
from trajlab.paths.explained import Explained
from trajlab.paths.frameworks import SigmaTable, ddpm
from trajlab.paths.gaussian import GaussianPath
from trajlab.paths.kinetic_optimal import KineticOptimal
from trajlab.paths.schedules import EDM, VE, SubVP, VPCosine, VPLinear, VPTable

PATHS = {name: made for name, made in ((n, catalog.find(n, "paths")()) for n in catalog.table("paths")) if isinstance(made, GaussianPath)}
PATHS["vp_table_cosine"] = ddpm("cosine", 50)
PATHS["kinetic_optimal_fitted"] = KineticOptimal(Explained.spectrum(torch.linspace(0.01, 2, 20)))
PATHS["kinetic_optimal_gaussian"] = KineticOptimal(Explained.spectrum(torch.ones(2)))
TIMES = torch.cat([torch.linspace(0, 1, 101, dtype=torch.float64)[1:-1], torch.tensor([1e-6, 1e-3, 1 - 1e-3, 1 - 1e-6], dtype=torch.float64)])
INSIDE = (torch.rand(200, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.98 + 0.01)

each = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


def test_the_table_holds_gaussian_paths():
    assert len(PATHS) >= 12


@each
def test_time_to_log_snr_and_back(path):
    assert torch.allclose(path.t_of(path.lam_of(TIMES)), TIMES, rtol=0, atol=1e-12)


@each
def test_log_snr_to_time_and_back(path):
    first, last = path.ends
    lam = torch.linspace(max(first, -8), min(last, 8), 103, dtype=torch.float64)
    # Near an end, t itself has 1e-16 of room; what that is in lam is the slope there.
    back = path.lam_of(path.t_of(lam))
    assert float((back - lam).abs().max()) < 1e-9


@each
def test_log_snr_is_the_ratio_of_the_scales_and_increases(path):
    first, last = path.ends
    lam = torch.linspace(max(first, -20), min(last, 20), 57, dtype=torch.float64)
    alpha, sigma = path.scales(lam)
    assert torch.allclose(torch.log(alpha / sigma), lam, atol=1e-11)
    assert bool((path.lam_of(TIMES.sort().values).diff() > 0).all())


@each
def test_slopes_are_derivatives_of_the_scales(path):
    t = INSIDE.clone().requires_grad_()
    alpha, sigma = path.scales(path.lam_of(t))
    dalpha, dsigma = path.slopes(INSIDE)
    for value, slope in ((alpha, dalpha), (sigma, dsigma)):
        found = torch.autograd.grad(value.sum(), t, retain_graph=True)[0] if value.requires_grad else torch.zeros_like(INSIDE)
        assert torch.allclose(found, slope, rtol=1e-8, atol=1e-9)


@each
def test_scales_are_exact_at_both_ends(path):
    alpha, sigma = path.scales(torch.tensor([-math.inf, math.inf], dtype=torch.float64))
    assert float(sigma[1]) == 0
    assert float(alpha[1]) == 1
    assert float(alpha[0]) in (0.0, 1.0)  # 1 where alpha is 1 throughout
    assert not bool(torch.isnan(torch.stack([alpha, sigma])).any())


@each
def test_the_clean_end_is_a_level_like_any_other(path):
    k = path.level(math.inf)
    assert (k.alpha, k.sigma) == (1.0, 0.0)
    assert not any(math.isnan(w) for w in (k.t, k.dalpha, k.dsigma))
    assert k.t >= 1 - 1e-12


@each
def test_levels_of_rows_are_those_of_numbers(path):
    first, last = path.ends
    lam = torch.linspace(max(first, -4), min(last, 4), 5, dtype=torch.float64)
    x = torch.zeros(5, 2, 3, dtype=torch.float64)
    rows = path.level(lam, like=x)
    for k, number in enumerate(path.levels(lam)):
        for name in ("lam", "alpha", "sigma", "t", "dalpha", "dsigma"):
            row = getattr(rows, name)
            assert row.shape == (5, 1, 1)
            assert math.isclose(float(row[k]), getattr(number, name), rel_tol=1e-12, abs_tol=1e-15)
        assert math.isclose(number.rho, math.exp(-float(lam[k])), rel_tol=1e-10)


@each
def test_a_path_is_equal_to_its_like_and_can_be_a_key(path):
    import copy

    assert copy.deepcopy(path) == path
    assert hash(copy.deepcopy(path)) == hash(path)


def test_variance_preserving_paths_preserve_the_variance():
    for path in (VPLinear(), VPCosine(), VPTable()):
        alpha, sigma = path.scales(path.lam_of(TIMES))
        assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha), atol=1e-14)
    alpha, sigma = SubVP().scales(SubVP().lam_of(TIMES))
    assert torch.allclose(alpha**2 + sigma, torch.ones_like(alpha), atol=1e-13)


def test_known_numbers():
    # DDPM-linear-1000: log-SNR from -5.06 to 4.61, sigma 0.01 at the end.
    first, last = VPTable().ends
    assert (round(first, 2), round(last, 2)) == (-5.06, 4.61)
    assert math.isclose(VPTable().level_at(1.0).sigma, 0.01, rel_tol=1e-9)
    edm = EDM()
    nodes = [edm.level_at(k / 4).sigma for k in range(5)]
    karras = [(80 ** (1 / 7) + k / 4 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for k in range(5)]
    assert all(math.isclose(a, b, rel_tol=1e-10) for a, b in zip(nodes, karras))
    beta = VPLinear().b0 + (VPLinear().b1 - VPLinear().b0) * 0.5  # integral of beta = b0 tau + (b1 - b0) tau^2 / 2
    assert math.isclose(VPLinear().level_at(0.0).alpha, math.exp(-beta / 2), rel_tol=1e-9)


def test_table_agrees_with_its_own_entries():
    path = VPTable()
    abar = torch.cumprod(1 - torch.tensor(path.betas, dtype=torch.float64), 0)
    n = torch.arange(1000, dtype=torch.float64)
    alpha, _ = path.scales(path.lam_of(1 - n / 999))
    assert torch.allclose(alpha, abar.sqrt(), rtol=1e-9)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: VPLinear(b0=0.0), "0 < b0 < b1"),
    (lambda: VPLinear(b0=3.0, b1=2.0), "beta runs from 3 to 2"),
    (lambda: VE(sigma_min=2.0, sigma_max=1.0), "0 < sigma_min < sigma_max"),
    (lambda: VPTable((0.1,)), "at least two entries"),
    (lambda: VPTable((0.1, 1.2)), "within"),
    (lambda: SigmaTable((0.2, 0.1)), "sort them"),
    (lambda: VPCosine().level_at(1.5), r"t = 1.5"),
    (lambda: VPCosine().level(math.nan), "not a number"),
    (lambda: VPCosine().level(torch.zeros(3)), "pass one number, or one a sample"),
    (lambda: VPCosine().level(torch.zeros(3), like=torch.zeros(2, 4)), r"lam has shape \(3,\)"),
    (lambda: VPCosine().prior((2, 3), torch.zeros(2, 4)), r"\(2, 3\) was wanted"),
])
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_prior_has_the_noise_of_the_start(generator):
    z = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    assert torch.equal(VPCosine().prior((4, 3), z), z)
    assert torch.allclose(VE().prior((4, 3), z), 80 * z)
