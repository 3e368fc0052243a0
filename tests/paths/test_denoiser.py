"""Denoisers: preconditioning and its limits, clocks, conditions, dtypes, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.paths.denoiser import Denoiser, Edm, level_range
from trajlab.paths.schedules import VE, Rectified, VPCosine, VPLinear, VPTable


class Recorder(torch.nn.Module):
    """Returns half its input, and remembers what it was told."""

    def forward(self, x, clock, **condition):
        self.x, self.clock, self.condition = x, clock, condition
        return 0.5 * x


@pytest.mark.parametrize("path", [VPCosine(), VE(), Rectified()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_preconditioning_is_that_of_the_rescaled_state(path, scale):
    for lam in (-3.0, 0.0, 2.5):
        k = path.level(lam)
        inside, skip, out = Edm(scale).weights(k)
        rho, root = k.rho, math.sqrt(k.rho**2 + scale**2)
        # With y = x / alpha: c_in y = inside x, and c_skip y = skip x.
        assert math.isclose(inside * k.alpha, 1 / root, rel_tol=1e-12)
        assert math.isclose(skip * k.alpha, scale**2 / root**2, rel_tol=1e-12)
        assert math.isclose(out, rho * scale / root, rel_tol=1e-12)


def test_preconditioned_input_and_target_have_unit_variance(generator):
    path = VPLinear()
    for scale in (1.0, 2.0):
        x0, eps = scale * torch.randn(200000, generator=generator), torch.randn(200000, generator=generator)
        for lam in (-4.0, 0.0, 4.0):
            k = path.level(lam)
            inside, skip, out = Edm(scale).weights(k)
            x = k.alpha * x0 + k.sigma * eps
            assert abs(float((inside * x).var()) - 1) < 0.02
            assert abs(float(((x0 - skip * x) / out).var()) - 1) < 0.02


def test_limits_of_preconditioning(generator):
    x = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    denoiser = Denoiser(lambda x, t: torch.ones_like(x), VPCosine(), precondition=Edm())
    # No noise: the state itself, whatever the net says. Pure noise: what the net says.
    assert torch.allclose(denoiser(x, VPCosine().level(math.inf)).x0, x)
    assert torch.allclose(denoiser(x, VPCosine().level(-math.inf)).x0, torch.ones_like(x))
    silent = Denoiser(lambda x, t: torch.zeros_like(x), VE(), precondition=Edm())
    assert torch.allclose(silent(x, VE().level(-20.0)).x0, torch.zeros_like(x), atol=1e-15)


def test_clocks(generator):
    x, path, net = torch.randn(3, 2, generator=generator), VPLinear(), Recorder()
    k = path.level(0.7)
    for clock, wanted in (("t", k.t), ("lam", k.lam), ("sigma", k.sigma), ("quarter_log_rho", math.log(k.sigma / k.alpha) / 4)):
        Denoiser(net, path, clock=clock)(x, k)
        assert net.clock.shape == (3,)
        assert torch.allclose(net.clock, torch.full((3,), wanted))
        rows = path.level(torch.full((3,), 0.7, dtype=torch.float64), like=x)
        Denoiser(net, path, clock=clock)(x, rows)
        assert torch.allclose(net.clock, torch.full((3,), wanted), atol=1e-6)


def test_condition_mask_and_dtype(generator):
    x, path, net = torch.randn(3, 2, generator=generator, dtype=torch.float64), VPLinear(), Recorder()
    k, mask = path.level(0.0), torch.ones(3, dtype=torch.bool)
    base = Denoiser(net, path, "eps", dtype=torch.float32)
    given = base.given(past=1, goal=2)
    found = given(x, k, goal=3, mask=mask)
    assert net.condition == {"past": 1, "goal": 3, "mask": mask}
    assert net.x.dtype == net.clock.dtype == torch.float32
    assert found.eps.dtype == torch.float64
    assert base.condition == {}
    # A net that does not take the mask is not given it.
    assert torch.equal(Denoiser(lambda x, t: x, path)(x, k, mask=mask).x0, x)


@pytest.mark.parametrize("kind", ["x0", "eps", "v", "score", "velocity"])
def test_the_output_is_of_its_kind(kind, generator):
    x = torch.randn(3, 2, generator=generator)
    assert torch.allclose(Denoiser(lambda x, t: 2 * x, VPCosine(), kind)(x, VPCosine().level(0.1)).view(kind), 2 * x)


def test_ranges():
    assert level_range(Rectified()) == (-7.0, 7.0)
    first, last = level_range(VPTable())
    assert (round(first, 2), round(last, 2)) == (-5.06, 4.61)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Denoiser(lambda x, t: x, VPCosine(), "epsilon"), "did you mean 'eps'"),
    (lambda: Denoiser(lambda x, t: x, VPCosine(), clock="time"), "no clock 'time'"),
    (lambda: Denoiser(lambda x, t: x, VPCosine(), "eps", Edm()), "a preconditioned net predicts x0"),
])
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words):
        make()
