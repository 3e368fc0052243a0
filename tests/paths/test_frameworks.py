"""DDPM, NCSN and SDE as paths, and denoisers of one on another."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from trajlab.paths.denoiser import Denoiser, Edm
from trajlab.paths.frameworks import (
    Reclocked,
    SigmaTable,
    betas,
    convert,
    ddpm,
    ddpm_from_abar,
    drift_and_diffusion,
    index,
    ncsn,
    sde,
)
from trajlab.paths.interpolants import Interpolant
from trajlab.paths.prediction import KINDS, Prediction
from trajlab.paths.schedules import EDM, VE, Rectified, SubVP, VPCosine, VPLinear, VPTable
from trajlab.samplers.grids import explicit
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture

F64 = torch.float64
PATHS = [VPLinear(), VPTable(), SubVP(), VE(), EDM(), Rectified(), VPCosine(), SigmaTable((0.01, 0.1, 1.0, 50.0))]


def test_tables():
    assert ddpm() == VPTable()
    scaled = torch.tensor(betas("scaled_linear", 100, 8.5e-4, 1.2e-2), dtype=F64)
    assert torch.allclose(scaled.sqrt().diff(), (scaled[-1].sqrt() - scaled[0].sqrt()).expand(99) / 99)
    assert torch.allclose(torch.tensor(ddpm_from_abar(torch.cumprod(1 - scaled, 0).tolist()).betas, dtype=F64), scaled)
    cosine = torch.tensor(betas("cosine", 100), dtype=F64)
    n = torch.arange(1, 90, dtype=F64)
    f = torch.cos((torch.arange(101, dtype=F64) / 100 + 0.008) / 1.008 * math.pi / 2) ** 2
    assert torch.allclose(torch.cumprod(1 - cosine, 0)[n.long() - 1], (f / f[0])[n.long()], rtol=1e-10)
    assert float(cosine.max()) == 0.999


def test_ncsn_table_is_geometric_between_its_levels():
    sigmas = torch.logspace(1, -2, 10, dtype=F64).tolist()
    path, smooth = ncsn(sigmas), ncsn(sigma_min=0.01, sigma_max=10.0)
    t = torch.linspace(0, 1, 37, dtype=F64)
    assert torch.allclose(path.lam_of(t), smooth.lam_of(t), atol=1e-12)
    assert torch.allclose(path.slopes(t)[1], smooth.slopes(t)[1], rtol=1e-9)
    assert path.levels(path.lam_of(torch.tensor([0.0], dtype=F64)))[0].sigma == pytest.approx(10.0)


def test_sdes():
    assert sde("vp", b0=0.2, b1=10.0) == VPLinear(0.2, 10.0)
    assert isinstance(sde("edm"), EDM)
    for t in (0.1, 0.5, 0.9):
        beta = 0.1 + 19.9 * (1 - t)
        f, g2 = drift_and_diffusion(VPLinear().level_at(t))
        assert (f, g2) == (pytest.approx(-beta / 2), pytest.approx(beta))
        integral = 0.1 * (1 - t) + 19.9 * (1 - t) ** 2 / 2
        f, g2 = drift_and_diffusion(SubVP().level_at(t))
        assert (f, g2) == (pytest.approx(-beta / 2), pytest.approx(beta * (1 - math.exp(-2 * integral))))
        k = VE().level_at(t)
        assert drift_and_diffusion(k) == (0, pytest.approx(2 * k.sigma**2 * math.log(80 / 0.002)))


@pytest.mark.parametrize("there", PATHS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("here", PATHS, ids=lambda p: type(p).__name__)
def test_exact_denoisers_carry_over(here, there, generator):
    """The denoiser that was exact on one path is the exact one of the other, in every reading."""
    mixture = GaussianMixture.ring()
    mine, wanted = convert(mixture.denoiser(here), there), mixture.denoiser(there)
    for lam in (-3.5, -1.0, 0.5, 3.0, 4.5):
        k = there.level(lam)
        x = k.alpha * mixture.sample(5, generator) + k.sigma * torch.randn(5, 2, generator=generator, dtype=F64)
        for kind in KINDS:
            a, b = mine(x, k).view(kind), wanted(x, k).view(kind)
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-9 * float(b.abs().max()))
    lam = torch.tensor([-3.0, -1.0, 0.0, 2.0, 4.0], dtype=F64)
    rows = there.level(lam, like=x)
    assert torch.allclose(mine(x, rows).x0, wanted(x, rows).x0, atol=1e-9)


def test_ve_and_vp_sample_the_same(generator):
    """One net, trained on VP, sampled on VE: the same samples, start rescaled."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(2, 2).double()
    for kind, precondition in (("eps", None), ("v", None), ("x0", Edm())):
        vp = Denoiser(lambda x, t: torch.tanh(layer(x)) + t[:, None], VPLinear(), kind, precondition, clock="quarter_log_rho")
        lam = torch.linspace(-4, 5, 21, dtype=F64)
        z = torch.randn(6, 2, generator=generator, dtype=F64)
        grids = [explicit(p, lam, "stop") for p in (VPLinear(), VE())]
        ends = [sample(d, g, z * g.levels[0].sigma).x / g.levels[-1].alpha for d, g in ((vp, grids[0]), (convert(vp, VE()), grids[1]))]
        assert torch.allclose(ends[0], ends[1], rtol=1e-6, atol=1e-6)
        twice = convert(convert(vp, VE()), VPLinear())
        k = VPLinear().level(0.3)
        assert torch.allclose(twice(z, k).x0, vp(z, k).x0, atol=1e-12)


def test_float32_noise_survives_at_small_noise(generator):
    """An eps net near the data: going through x0 would drown eps in rounding."""
    net = Denoiser(lambda x, t: torch.sin(x), VPLinear(), "eps")
    x, k = torch.randn(50, 2, generator=generator), Rectified().level(6.5)
    there = VPLinear().level(6.5)
    assert torch.allclose(convert(net, Rectified())(x, k).eps, torch.sin(x * there.alpha / k.alpha), atol=1e-6)


def test_guided_denoisers_masks_and_conditions_pass_through(generator):
    seen = {}

    class Guided:
        path = VPCosine()

        def __call__(self, x, level, **condition):
            seen.update(condition)
            return Prediction(x, level, "x0", 2 * x)

    x, mask = torch.randn(3, 2, generator=generator), torch.ones(3, 2, dtype=torch.bool)
    convert(Guided(), Rectified())(x, Rectified().level(0.0), mask=mask, goal=1)
    assert seen == {"mask": mask, "goal": 1}
    net = Denoiser(lambda x, t, shift: x + shift, VPCosine())
    assert torch.allclose(convert(net, VPCosine()).given(shift=2.0)(x, VPCosine().level(0.0)).x0, x + 2)


def test_ends_of_the_path():
    x = torch.ones(2, 3, dtype=F64)
    for lam in (-math.inf, math.inf):
        found = convert(Denoiser(lambda x, t: x, VPCosine()), Rectified())(x, Rectified().level(lam))
        assert torch.allclose(found.x0, x)


def test_integer_clocks():
    told = []
    net = Reclocked(lambda x, n: told.append(n) or x, index(1000))
    for n in (0, 250, 999):
        path = VPTable()
        Denoiser(net, path, "eps")(torch.zeros(2, 3, dtype=F64), path.level_at(1 - n / 999))
        assert torch.allclose(told[-1], torch.full((2,), float(n), dtype=F64), atol=1e-6)
    assert float(index(1000, last=1.0)(torch.tensor(0.25))) == 0.75


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: betas("cosin"), ValueError, "did you mean 'cosine'"),
    (lambda: betas(steps=1), ValueError, "at least two"),
    (lambda: ddpm_from_abar([0.1, 0.5]), ValueError, "reverse it"),
    (lambda: ncsn([0.1, -1.0]), ValueError, "positive sigmas"),
    (lambda: sde("vpp"), ValueError, "did you mean 'vp'"),
    (lambda: sde("vp", sigma_min=1.0), TypeError, "sigma_min"),
    (lambda: index(1), ValueError, "at least two"),
    (lambda: inspect.unwrap(convert)(Denoiser(lambda x, t: x, VPCosine()), Interpolant()), TypeError, "Gaussian path"),
    (lambda: convert(Denoiser(lambda x, t: x, VPTable()), VE())(torch.zeros(2, 3), VE().level(5.5)), ValueError, "to 4.605, and was asked for 5.5"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_extrapolation_is_allowed_where_asked():
    net = Denoiser(lambda x, t: x, VPTable())
    assert float(convert(net, VE(), strict=False)(torch.ones(2, 3, dtype=F64), VE().level(5.5)).x0.mean()) == pytest.approx(1.0, abs=1e-4)
