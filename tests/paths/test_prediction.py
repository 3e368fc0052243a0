"""Five readings of one prediction: each from each, at every noise level; velocities and scores against autograd."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from trajlab.paths.prediction import KINDS, Prediction
from trajlab.paths.schedules import EDM, VE, Rectified, SubVP, VPCosine, VPLinear
from trajlab.sources.mixtures import GaussianMixture

PATHS = [VPLinear(), VPCosine(), VE(), EDM(), SubVP(), Rectified()]


def truth(path, lam, x0, eps):
    k = path.level(lam)
    return k.alpha * x0 + k.sigma * eps, k


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(("had", "wanted"), itertools.permutations(KINDS, 2))
def test_each_from_each(path, had, wanted, generator):
    x0, eps = torch.randn(2, 5, 3, 4, 2, generator=generator, dtype=torch.float64)
    for lam in (-4.0, -1.0, 0.3, 2.0, 6.0):
        x, k = truth(path, lam, x0, eps)
        known = {"x0": x0, "eps": eps, "v": k.alpha * eps - k.sigma * x0, "score": -eps / k.sigma, "velocity": k.dalpha * x0 + k.dsigma * eps}
        found = Prediction(x, k, had, known[had]).view(wanted)
        # Getting x0 from eps divides rounding by alpha/sigma, and the reverse by sigma/alpha.
        room = 1e-11 * math.exp(abs(lam))
        assert torch.allclose(found, known[wanted], rtol=room, atol=room * max(1.0, float(known[wanted].abs().max())))


@pytest.mark.parametrize("lam", [-15.0, -9.0, 9.0, 15.0])
def test_there_and_back_at_extreme_noise(lam, generator):
    # v is well determined at both ends: x0 and eps follow from it, and it from them, without loss where they carry the information.
    x0, eps = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    x, k = truth(VPCosine(), lam, x0, eps)
    v = k.alpha * eps - k.sigma * x0
    for kind in ("x0", "eps"):
        there = Prediction(x, k, "v", v).view(kind)
        assert torch.allclose(there, {"x0": x0, "eps": eps}[kind], atol=1e-13)
    carries = "x0" if lam < 0 else "eps"
    assert torch.allclose(Prediction(x, k, carries, {"x0": x0, "eps": eps}[carries]).v, v, atol=1e-12)


def test_levels_of_rows_give_the_same(generator):
    path, lam = VPLinear(), torch.tensor([-3.0, 0.0, 4.0], dtype=torch.float64)
    x, value = torch.randn(2, 3, 2, 5, generator=generator, dtype=torch.float64)
    rows = path.level(lam, like=x)
    for had, wanted in itertools.permutations(KINDS, 2):
        together = Prediction(x, rows, had, value).view(wanted)
        for k, number in enumerate(path.levels(lam)):
            alone = Prediction(x[k : k + 1], number, had, value[k : k + 1]).view(wanted)
            assert torch.allclose(together[k : k + 1], alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_velocity_is_the_derivative_of_the_state(path, generator):
    x0, eps = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    t = torch.tensor(0.61, dtype=torch.float64)

    def state(t):
        alpha, sigma = path.scales(path.lam_of(t))
        return alpha * x0 + sigma * eps

    x, slope = torch.func.jvp(state, (t,), (torch.ones_like(t),))
    assert torch.allclose(Prediction(x, path.level_at(0.61), "x0", x0).velocity, slope, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_score_is_the_gradient_of_the_log_density(path, generator):
    mixture = GaussianMixture.ring()
    k = path.level(0.4)
    x = (k.alpha * mixture.sample(7, generator) + k.sigma * torch.randn(7, 2, generator=generator, dtype=torch.float64)).requires_grad_()
    gradient = torch.autograd.grad(mixture.log_density(x, k.alpha, k.sigma).sum(), x)[0]
    assert torch.allclose(mixture.denoiser(path)(x.detach(), k).score, gradient, rtol=1e-9, atol=1e-9)


def test_what_was_made_is_kept_and_replaced(generator):
    x, value = torch.randn(2, 3, 2, generator=generator)
    p = Prediction(x, VPCosine().level(0.0), "eps", value)
    assert p.kind == "eps"
    assert p.eps is value
    assert p.view("x0") is p.x0
    other = p.replaced("x0", torch.zeros_like(x))
    assert other.kind == "x0"
    assert other.level is p.level
    assert p.kind == "eps"


def test_bad_input():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="did you mean 'score'"):
        Prediction(x, VPCosine().level(0.0), "scores", x)
    with pytest.raises(ValueError, match="no kind of prediction 'noise'"):
        Prediction(x, VPCosine().level(0.0), "x0", x).view("noise")
    with pytest.raises(ValueError, match="eps cannot be had from x0 at alpha = 1, sigma = 0"):
        _ = Prediction(x, VPCosine().level(math.inf), "x0", x).eps
    with pytest.raises(ValueError, match="not determined at sigma = 0"):
        _ = Prediction(x, VPCosine().level(math.inf), "x0", x).score
    with pytest.raises(ValueError, match="x0 cannot be had from eps"):
        _ = Prediction(x, VPCosine().level(-math.inf), "eps", x).x0
