"""Losses: their least values, masks, projections, levels, weights, and that a net that is trained with them learns the truth."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.paths.denoiser import Denoiser, Edm
from trajlab.paths.interpolants import Interpolant
from trajlab.paths.levels import LogitNormalTime, LogNormal, UniformTime
from trajlab.paths.pfgm import PFGM
from trajlab.paths.prediction import KINDS
from trajlab.paths.regression import Denoising, Matching, denoising_loss, edm_weight, flow_matching_loss, interpolant_loss, noise_of
from trajlab.paths.schedules import EDM, VE, Rectified, VPCosine, VPTable
from trajlab.sources.mixtures import gaussian
from trajlab.train.config import TrainConfig
from trajlab.train.loop import train

F64 = torch.float64


def fixed(lam):
    return lambda path, batch, generator: torch.full((batch,), lam, dtype=F64)


def mean(loss):
    return float(loss[0] / loss[1])


@pytest.mark.parametrize("path", [VPCosine(), VE(), Rectified()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("regress", KINDS)
def test_least_value_is_the_posterior_variance(path, regress, generator):
    """Gaussian data N(0, s^2): mmse of x0 = s^2 sigma^2 / (alpha^2 s^2 + sigma^2), and a reading p x0 + q eps has (p - q alpha/sigma)^2 of it."""
    s, k = 1.5, path.level(0.3)
    x = s * torch.randn(60000, 2, generator=generator, dtype=F64)
    found = mean(denoising_loss(gaussian(torch.zeros(2), s**2 * torch.eye(2)).denoiser(path), x, generator, how=Denoising(fixed(0.3), regress)))
    mmse = s**2 * k.sigma**2 / (k.alpha**2 * s**2 + k.sigma**2)
    p, q = {"x0": (1, 0), "eps": (0, 1), "v": (-k.sigma, k.alpha), "score": (0, -1 / k.sigma), "velocity": (k.dalpha, k.dsigma)}[regress]
    assert found == pytest.approx((p - q * k.alpha / k.sigma) ** 2 * mmse, rel=0.02)


def test_a_preconditioned_net_has_unit_loss_at_the_start(generator):
    """EDM's weight makes the error of the net's own output count: with F = 0 the loss is 1 at every level, for data of the given scale."""
    x = torch.randn(40000, 3, generator=generator, dtype=F64)
    for path in (EDM(), VPCosine()):
        denoiser = Denoiser(lambda x, t: torch.zeros_like(x), path, precondition=Edm())
        for lam in (-2.0, 0.0, 3.0):
            assert mean(denoising_loss(denoiser, x, generator, how=Denoising(fixed(lam)))) == pytest.approx(1.0, rel=0.03)
        assert mean(denoising_loss(denoiser, x, generator)) == pytest.approx(1.0, rel=0.03)
    k = EDM().level(0.2)
    assert edm_weight(0.5)(k) == pytest.approx((k.sigma**2 + 0.25) / (0.5 * k.sigma) ** 2)


def test_weights_multiply_the_error(generator):
    x = torch.randn(100, 3, generator=generator, dtype=F64)
    denoiser, k = Denoiser(lambda x, t: 0 * x, VPCosine()), VPCosine().level(1.2)

    def value(**how):
        return mean(denoising_loss(denoiser, x, torch.Generator().manual_seed(1), how=Denoising(fixed(1.2), **how)))

    values = {w: value(weight=w) for w in ("one", "snr", "min_snr")}
    assert values["snr"] / values["one"] == pytest.approx((k.alpha / k.sigma) ** 2)
    assert values["min_snr"] / values["one"] == pytest.approx(5.0)
    assert value(weight=lambda k: k.sigma) / values["one"] == pytest.approx(k.sigma)
    # The same prediction compared as noise is the same error times the signal-to-noise ratio.
    assert value(regress="eps") == pytest.approx(values["snr"], rel=1e-9)


@pytest.mark.parametrize("loss", ["denoising", "flow", "drift", "eta"])
def test_what_is_hidden_does_not_count_and_is_not_seen(loss, generator):
    x = torch.randn(6, 3, 4, 2, generator=generator)
    source = torch.randn(6, 3, 4, 2, generator=generator)
    mask = torch.rand(6, 3, 4, generator=generator) > 0.4
    seen = []

    def net(x, _, mask=None, **__):
        seen.append((x, mask))
        return torch.sin(x)

    def run(x, source, mask):
        g = torch.Generator().manual_seed(2)
        if loss == "denoising":
            return denoising_loss(Denoiser(net, VPCosine()), x, g, mask)
        if loss == "flow":
            return flow_matching_loss(net, Rectified(), source, x, g, mask)
        return interpolant_loss(net, Interpolant(), source, x, g, loss, mask)

    total, count = run(x, source, mask)
    assert int(count) == int(mask.sum()) * 2
    assert seen[-1][1] is mask
    assert float(seen[-1][0][~mask].abs().max()) == 0
    dirty = [torch.where(mask[..., None], w, torch.full_like(w, math.nan)) for w in (x, source)]
    again, _ = run(*dirty, mask)
    assert torch.equal(total, again)
    whole, count = run(x, source, None)
    assert int(count) == x.numel()
    assert not torch.equal(whole, total)


def test_projection_takes_the_centre_out(generator):
    seen = []

    def net(x, _, **__):
        seen.append(x)
        return x

    x = torch.randn(5, 4, 3, 2, generator=generator, dtype=F64) + 7
    for axes in ((1,), (1, 2)):
        denoising_loss(Denoiser(net, VPCosine()), x, generator, how=Denoising(axes=axes))
        flow_matching_loss(net, Rectified(), None, x, generator, how=Matching(axes=axes))
        interpolant_loss(net, Interpolant(), x.flip(0), x, generator, how=Matching(axes=axes))
        denoising_loss(Denoiser(net, PFGM(augmented=3.0)), x, generator, how=Denoising(axes=axes))
        for state in seen:
            assert float(state.mean(axes).abs().max()) < 1e-8 * max(1.0, float(state.abs().max()))
        seen.clear()


def test_pfgm_paths_train_with_their_own_noise(generator):
    like = torch.zeros(20000, 2, dtype=F64)
    heavy, normal = (noise_of(p, like, generator) for p in (PFGM(augmented=3.0), EDM()))
    kurtosis = [float((z**4).mean() / (z**2).mean() ** 2) for z in (heavy, normal)]
    assert kurtosis[0] > 6
    assert kurtosis[1] == pytest.approx(3, abs=0.2)
    told = []
    denoising_loss(Denoiser(lambda x, t: told.append(x) or x, PFGM(augmented=3.0)), like, generator, how=Denoising(fixed(0.0)))
    assert float((told[0] ** 4).mean() / (told[0] ** 2).mean() ** 2) > 6


def test_conditions_and_time_stamps_reach_the_net(generator):
    seen = {}

    def net(x, _, **condition):
        seen.update(condition)
        return x

    x, time = torch.randn(4, 3, 2, generator=generator), torch.rand(4, 3, generator=generator)
    denoising_loss(Denoiser(net, VPCosine()), x, generator, condition={"time": time})
    assert seen.pop("time") is time
    flow_matching_loss(net, Rectified(), None, x, generator, condition={"time": time})
    assert seen.pop("time") is time
    interpolant_loss(net, Interpolant(), x, x, generator, condition={"time": time})
    assert seen.pop("time") is time


def test_levels(generator):
    lam = LogNormal()(VE(), 20000, generator)
    assert float(-lam.mean()) == pytest.approx(-0.5, abs=0.04)
    assert float(lam.std()) == pytest.approx(1.2, abs=0.03)
    kept = LogNormal(0.0, 5.0)(VPTable(), 2000, generator)
    first, last = VPTable().ends
    assert first <= float(kept.min()) < float(kept.max()) <= last
    t = UniformTime(0.1, 0.9).times(100, generator)
    assert torch.equal(((t - 0.1) / 0.8 * 100).long().sort().values, torch.arange(100))
    assert not torch.equal(t, t.sort().values)
    assert float(UniformTime(stratified=False).times(4000, generator).mean()) == pytest.approx(0.5, abs=0.03)
    one, two = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    assert torch.allclose(VPCosine().t_of(UniformTime()(VPCosine(), 50, one)), UniformTime().times(50, two))
    logit = torch.logit(LogitNormalTime(0.5, 2.0).times(20000, generator))
    assert (float(logit.mean()), float(logit.std())) == (pytest.approx(0.5, abs=0.06), pytest.approx(2.0, abs=0.05))
    assert torch.allclose(LogitNormalTime()(Rectified(), 9, torch.Generator().manual_seed(1)),
                          torch.randn(9, generator=torch.Generator().manual_seed(1), dtype=F64), atol=1e-9)


def test_losses_repeat_with_the_generator_and_leave_the_global_one_alone(generator):
    x = torch.randn(8, 3, generator=generator)
    torch.manual_seed(4)
    before = torch.get_rng_state()
    runs = [denoising_loss(Denoiser(lambda x, t: x, VPCosine()), x, torch.Generator().manual_seed(5))[0] for _ in range(2)]
    assert torch.equal(*runs)
    assert torch.equal(before, torch.get_rng_state())


def affine(loss, steps=400, rate=0.05, batch=512, seed=3):
    """Fit net(x) = w x + b by a loss at one time."""
    g = torch.Generator().manual_seed(seed)
    w, b = torch.zeros(1, requires_grad=True, dtype=F64), torch.zeros(1, requires_grad=True, dtype=F64)
    adam = torch.optim.Adam([w, b], rate)
    for k in range(steps):
        adam.param_groups[0]["lr"] = rate * (1 - k / steps)
        total, count = loss(lambda x, t, **_: w * x + b, g, batch)
        (total / count).backward()
        adam.step()
        adam.zero_grad()
    return float(w.detach()), float(b.detach())


class At:
    """All times the same."""

    def __init__(self, t):
        self.t = t

    def times(self, batch, generator):
        return torch.full((batch,), self.t, dtype=F64)


@pytest.mark.parametrize("kind", ["drift", "velocity", "score", "eta", "flow", "denoising"])
def test_training_finds_the_closed_form(kind):
    """N(1, .5^2) -> N(-1, 2^2), brownian gamma, t = .4; the denoiser and the flow start from N(0, 1)."""
    t, path = 0.4, Interpolant()
    m0, v0, m1, v1 = (0.0, 1.0, -1.0, 4.0) if kind in ("flow", "denoising") else (1.0, 0.25, -1.0, 4.0)
    k = [float(w) for w in (Rectified() if kind in ("flow", "denoising") else path).coefficients(torch.tensor(t))]
    a, b, c, da, db, _, cdc = k
    mean, variance = a * m0 + b * m1, a**2 * v0 + b**2 * v1 + c**2
    gain = {"drift": a * da * v0 + b * db * v1 + cdc, "flow": a * da * v0 + b * db * v1, "velocity": a * da * v0 + b * db * v1,
            "score": -1.0, "eta": c, "denoising": b * v1}[kind] / variance
    at_mean = {"score": 0.0, "eta": 0.0, "denoising": m1}.get(kind, da * m0 + db * m1)

    def loss(net, g, batch):
        z = torch.randn(2, batch, 1, generator=g, dtype=F64)
        source, data = m0 + math.sqrt(v0) * z[0], m1 + math.sqrt(v1) * z[1]
        if kind == "flow":
            return flow_matching_loss(net, Rectified(), source, data, g, how=Matching(times=At(t)))
        if kind == "denoising":
            return denoising_loss(Denoiser(net, Rectified()), data, g, how=Denoising(fixed(math.log(t / (1 - t)))))
        return interpolant_loss(net, path, source, data, g, kind, how=Matching(times=At(t)))

    w, offset = affine(loss)
    assert w == pytest.approx(gain, abs=0.05)
    assert offset == pytest.approx(at_mean - gain * mean, abs=0.06)


def test_the_loss_of_ncsn_is_that_of_noise(generator):
    """sigma^2 |s + z/sigma|^2 = |eps - z|^2."""
    x, denoiser = torch.randn(50, 3, generator=generator, dtype=F64), Denoiser(lambda x, t: torch.sin(x), VE(), "eps")
    values = [mean(denoising_loss(denoiser, x, torch.Generator().manual_seed(1), how=how))
              for how in (Denoising(regress="score", weight=lambda k: k.sigma**2), Denoising(regress="eps"))]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_it_is_a_loss_for_the_training_loop(generator):
    """Ragged masks: the loop divides the sum by what is observed."""
    mask = torch.rand(64, 3, 2, generator=generator) > 0.3
    data = torch.where(mask[..., None], torch.randn(64, 3, 2, 2, generator=generator), math.nan)

    class Batches:
        def __len__(self):
            return 64

        def batch(self, indices):
            return data[indices], mask[indices]

    class Scale(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x, t, mask=None):
            return self.weight * x

    def loss(module, batch, generator):
        return denoising_loss(Denoiser(module, VPCosine()), batch[0], generator, batch[1], how=Denoising(fixed(0.0)))

    module = Scale()
    result = train(module, loss, Batches(), TrainConfig(steps=150, batch=64, lr=0.05), progress=False)
    assert result.skipped == 0
    assert float(module.weight.detach()) == pytest.approx(math.sqrt(0.5), abs=0.08)  # alpha, as alpha^2 + sigma^2 = 1


def test_antithetic_pairs_call_twice_and_weights_apply(generator):
    calls = []

    def net(x, _, **__):
        calls.append(x)
        return torch.zeros_like(x)

    x, g = torch.randn(4, 2, generator=generator, dtype=F64), torch.Generator
    interpolant_loss(net, Interpolant(), x, x, generator)
    assert len(calls) == 2
    assert torch.allclose((calls[0] + calls[1]) / 2, x)  # source = data = x, so the noise cancels
    assert not torch.allclose(calls[0], x)
    interpolant_loss(net, Interpolant(), x, x, generator, how=Matching(antithetic=False))
    interpolant_loss(net, Interpolant("linear", "zero"), x, x, generator)
    assert len(calls) == 4
    weights = (None, lambda t: torch.full_like(t, 3.0))
    both = [flow_matching_loss(net, Rectified(), None, x, g().manual_seed(1), how=Matching(weight=w))[0] for w in weights]
    assert float(both[1] / both[0]) == pytest.approx(3.0)


def net_(x, _, **__):
    return x


@pytest.mark.parametrize(("call", "words"), [
    (lambda x, g: Denoising(regress="noise"), "no kind of prediction"),
    (lambda x, g: Denoising(weight="edmm"), "did you mean 'edm'"),
    (lambda x, g: denoising_loss(Denoiser(net_, VPCosine()), x * math.nan, g), "data is not finite"),
    (lambda x, g: denoising_loss(Denoiser(net_, VPCosine()), x, g, torch.ones(3, 2, dtype=torch.bool)), "the mask has shape"),
    (lambda x, g: flow_matching_loss(net_, Interpolant(), None, x, g), "pass source"),
    (lambda x, g: flow_matching_loss(net_, Rectified(), x / 0, x, g), "source is not finite"),
    (lambda x, g: interpolant_loss(net_, Interpolant(), x, x, g, "speed"), "no interpolant loss 'speed'"),
    (lambda x, g: interpolant_loss(net_, Interpolant("linear", "zero"), x, x, g, "eta"), "without noise"),
    (lambda x, g: interpolant_loss(net_, Interpolant("linear", "zero"), x, x, g, "score"), "cannot be regressed where gamma = 0"),
    (lambda x, g: LogNormal(std=0.0), "positive"),
    (lambda x, g: UniformTime(0.5, 0.5), "low < high"),
    (lambda x, g: LogitNormalTime(std=-1.0), "positive std"),
])
def test_bad_input(call, words, generator):
    with pytest.raises(ValueError, match=words):
        call(torch.randn(3, 4, generator=generator), generator)
