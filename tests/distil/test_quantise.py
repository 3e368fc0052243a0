"""Quantisers, int8 layers, calibration over the denoising trajectory, and vectors that stay equivariant."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from trajlab.distil import kernels
from trajlab.distil.calibration import calibrate, quantise_denoiser, skewed_times, with_net
from trajlab.distil.quantise import NormQuantisedLinear, QuantiseConfig, QuantisedLinear, quantise
from trajlab.distil.quantiser import Quantiser, by_norm, fit, fit_channels, round_channels, sqnr
from trajlab.paths.denoiser import Denoiser
from trajlab.paths.schedules import Rectified, VPTable
from trajlab.samplers.grids import uniform_lam, uniform_t
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


# Quantisers


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("ends", [(-1.0, 1.0), (-0.3, 2.0), (0.0, 5.0), (-4.0, 0.0)])
def test_error_is_at_most_half_a_level_inside_the_range(bits, ends):
    q = Quantiser.between(*ends, bits)
    x = torch.linspace(*q.range, 4001, dtype=torch.float64)
    assert float((q(x) - x).abs().max()) <= q.scale / 2 * (1 + 1e-9)
    assert float(q(torch.zeros(1))) == 0.0
    assert len(q.quantise(x).unique()) == 2**bits
    outside = torch.tensor([q.range[0] - 3, q.range[1] + 3], dtype=torch.float64)
    torch.testing.assert_close(q(outside), torch.tensor(q.range, dtype=torch.float64))


@pytest.mark.parametrize(("bits", "clip", "decibel"), [(8, 3.95, 40.5), (4, 2.5, 19.4)])
def test_noise_of_a_gaussian(bits, clip, decibel):
    """Known values of levels that are symmetric about 0; that 0 is a level costs 0.2 dB at 4 bits."""
    x = normal(400_000, dtype=torch.float64)
    assert sqnr(x, Quantiser.between(-clip, clip, bits)(x)) == pytest.approx(decibel, abs=0.1 if bits == 8 else 0.25)


@pytest.mark.parametrize(("bits", "power", "clip"), [(8, 2.0, 3.95), (8, 2.4, 4.25), (4, 2.0, 2.5), (4, 2.4, 2.7)])
def test_the_search_finds_the_best_range_of_a_gaussian(bits, power, clip):
    q = fit(normal(100_000, dtype=torch.float64), bits, power)
    width = (q.range[1] - q.range[0]) / 2
    assert width == pytest.approx(clip, abs=0.25)


def test_the_search_minds_one_sided_data():
    x = normal(20_000).abs()
    q = fit(x)
    assert q.zero == 0
    assert sqnr(x, q(x)) > sqnr(x, Quantiser.between(-q.range[1], q.range[1])(x)) + 4


def test_every_channel_has_its_own_scale():
    weight = normal(6, 500) * torch.tensor([1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0])[:, None]
    scale = fit_channels(weight)
    back = round_channels(weight.double(), scale) * scale[:, None]
    assert all(sqnr(w, b) > 38 for w, b in zip(weight, back))
    assert float(fit_channels(torch.zeros(2, 3)).min()) > 0


# Layers

KERNELS = kernels.available(torch.device("cpu"))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("bias", [True, False])
def test_the_kernel_computes_the_quantised_product(kernel, bits, bias):
    """Against the same integers multiplied in float64."""
    layer, x = nn.Linear(96, 40, bias=bias).requires_grad_(False), normal(5, 7, 96).abs() - 0.4
    config = QuantiseConfig(weight_bits=bits, activation_bits=bits, kernel=kernel)
    q = fit(x, bits)
    made = QuantisedLinear(layer, q, config)
    wanted = q(x.double()) @ (made.weight.double() * made.scale[:, None]).T + (layer.bias.double() if bias else 0)
    got = made(x)
    assert got.shape == (5, 7, 40)
    # Values midway between two levels may be rounded either way: at most one level of one or two inputs.
    assert float((got - wanted).abs().max()) <= 2.01 * q.scale * float((made.weight * made.scale[:, None]).abs().max())
    assert float((got - wanted).abs().median()) < 1e-5
    assert made(x.double()).dtype == torch.float64


def net(width=64, depth=3):
    torch.manual_seed(0)
    layers = [nn.Linear(3, width), nn.SiLU()]
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, 2))


def test_a_copy_is_quantised_and_every_layer_reported():
    module, x = net(), normal(500, 3)
    before = copy.deepcopy(module.state_dict())
    made = quantise(module, lambda m: m(x))
    assert [r.how for r in made.layers] == ["kept: first", "int8", "int8", "int8", "kept: last"]
    assert all(r.output_db > 33 and r.weight_db > 38 and r.input_db > 33 for r in made.layers[1:-1])
    assert sqnr(module(x).detach(), made.module(x).detach()) > 30
    assert sum(isinstance(m, QuantisedLinear) for m in made.module.modules()) == 3
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert "int8" in str(made)
    assert str(made).count("\n") == 5
    torch.testing.assert_close(copy.deepcopy(made.module)(x), made.module(x))


def test_options():
    module, x = net(), normal(200, 3)
    everything = quantise(module, lambda m: m(x), QuantiseConfig(skip_first=False, skip_last=False))
    assert [r.how for r in everything.layers] == ["int8"] * 5
    some = quantise(module, lambda m: m(x), QuantiseConfig(skip=("2", "4")))
    assert [r.how for r in some.layers] == ["kept: first", "kept: asked", "kept: asked", "int8", "kept: last"]
    coarse = quantise(module, lambda m: m(x), QuantiseConfig(weight_bits=4, activation_bits=4))
    fine = quantise(module, lambda m: m(x))
    assert all(c.output_db < f.output_db - 12 for c, f in zip(coarse.layers[1:-1], fine.layers[1:-1]))


def test_a_layer_under_two_names_is_replaced_under_both():
    shared = nn.Linear(8, 8)
    module, x = nn.Sequential(nn.Linear(8, 8), shared, nn.Tanh(), shared, nn.Linear(8, 8)), normal(50, 8)
    made = quantise(module, lambda m: m(x)).module
    assert isinstance(made[1], QuantisedLinear)
    assert made[3] is made[1]


# Vectors


def turn(seed=3):
    q, _ = torch.linalg.qr(normal(3, 3, seed=seed, dtype=torch.float64))
    return q


def equivariance_error(layer, x):
    """How far turning does not commute with a layer of vectors [... dim channel], relative."""
    q = turn()
    first, then = q @ layer(x), layer(q @ x)
    return float((first - then).norm() / then.norm())


def test_norm_wise_scales_keep_vectors_equivariant():
    """Vectors longer along one axis, as in a flow: scales of single components clip what turning moves into them."""
    x = normal(200, 3, 16, dtype=torch.float64) * torch.tensor([1.0, 0.1, 0.02], dtype=torch.float64)[:, None]
    layer = nn.Linear(16, 16, bias=False).double()
    error = {}
    for rounding in ("norm", "shared"):
        config = QuantiseConfig(vectors=("",), rounding=rounding, skip_first=False, skip_last=False)
        error[rounding] = equivariance_error(quantise(layer, lambda m: m(x), config).module, x)
    each = [fit(x[:, k]) for k in range(3)]
    error["component"] = equivariance_error(lambda v: layer(torch.stack([q(v[:, k]) for k, q in enumerate(each)], 1)).detach(), x)
    assert error["norm"] < 1e-12
    assert error["shared"] < 0.02
    assert error["component"] > 10 * error["shared"]


def test_lengths_are_quantised_and_directions_kept():
    x = normal(50, 3, 4)
    q = Quantiser.between(0, float(x.norm(dim=1).max()), 4)
    y = by_norm(x, q)
    torch.testing.assert_close(y.norm(dim=1), q(x.norm(dim=1)))
    torch.testing.assert_close(torch.linalg.cross(x, y, dim=1), torch.zeros_like(x), atol=1e-5, rtol=0)
    assert float(by_norm(torch.zeros(1, 3, 1), q).abs().max()) == 0


# Calibration over the trajectory


def test_skewed_times():
    t = skewed_times(200_000, seeded())
    assert float((t == 1).double().mean()) == pytest.approx(0.159, abs=0.004)
    assert float((t == 0).double().mean()) == pytest.approx(0.067, abs=0.003)
    assert float(t.median()) == pytest.approx(0.6, abs=0.005)


@pytest.mark.parametrize("path", [VPTable(), Rectified()], ids=["vp", "rectified"])
def test_calibration_states_lie_on_the_denoising_trajectory(path):
    mixture, grid = GaussianMixture.ring(), uniform_t(path, 20)
    start = normal(40, 2, dtype=torch.float64)
    times = torch.linspace(0, 1, 40, dtype=torch.float64)
    found = calibrate(mixture.denoiser(path), start, times, grid)
    whole = sample(mixture.denoiser(path), grid, start, trace=True).trace
    states = torch.stack([start, *(s.x for s in whole)])
    for row in range(40):
        node = int((grid.lam - found.lam[row]).abs().argmin())
        assert abs(grid.levels[node].t - float(times[row])) <= 0.5 / 20 + 1e-3
        assert torch.equal(found.x[row], states[node, row])


class Net(nn.Module):
    """v from x and Fourier features of time."""

    def __init__(self, width=48):
        super().__init__()
        middle = [m for _ in range(2) for m in (nn.Linear(width, width), nn.SiLU())]
        self.net = nn.Sequential(nn.Linear(8, width), nn.SiLU(), *middle, nn.Linear(width, 2))

    def forward(self, x, t):
        angle = t[:, None] * torch.tensor([1.0, 3.0, 9.0]) * math.pi / 2
        return self.net(torch.cat([x, angle.sin(), angle.cos()], -1))


@pytest.fixture(scope="module")
def trained():
    """A small denoiser of the ring, and its path."""
    path, mixture = VPTable(), GaussianMixture.ring()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Net()
    optimiser, g = torch.optim.Adam(module.parameters(), 3e-3), seeded()
    data = mixture.sample(20_000, g).float()
    for step in range(1200):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / 1200)
        x0, eps, t = data[torch.randint(len(data), (256,), generator=g)], torch.randn(256, 2, generator=g), torch.rand(256, generator=g).double()
        alpha, sigma = (w.float()[:, None] for w in path.scales(path.lam_of(t)))
        loss = (module(alpha * x0 + sigma * eps, t.float()) - (alpha * eps - sigma * x0)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Denoiser(module.eval(), path, "v")


def test_skewed_calibration_beats_all_at_the_clean_end(trained):
    start, grid, error = normal(512, 2, seed=5), uniform_lam(trained.path, 20), {}
    with torch.no_grad():
        exact = sample(trained, grid, start).x
        calibration = {"skewed": skewed_times(256, seeded(7)), "clean": torch.ones(256, dtype=torch.float64)}
        for name, times in calibration.items():
            found = calibrate(trained, normal(256, 2, seed=6), times)
            made = quantise(trained.net, found.driver(trained), QuantiseConfig(skip_first=False))
            error[name] = float((sample(with_net(trained, made.module), grid, start).x - exact).norm(dim=1).mean())
    assert error["skewed"] < 0.01
    assert error["skewed"] < 0.3 * error["clean"]


def test_a_denoiser_in_one_call(trained):
    made, report = quantise_denoiser(trained, normal(128, 2), seeded())
    assert [r.how for r in report.layers] == ["kept: first", "int8", "int8", "kept: last"]
    grid, start = uniform_lam(trained.path, 10), normal(64, 2, seed=9)
    with torch.no_grad():
        difference = (sample(made, grid, start).x - sample(trained, grid, start).x).norm(dim=1)
        again, _ = quantise_denoiser(trained, normal(128, 2), seeded())
        assert torch.equal(sample(again, grid, start).x, sample(made, grid, start).x)
    assert float(difference.median()) < 0.05


# Bad input


def test_no_kernels_is_a_clear_error(monkeypatch):
    module, x = net(), normal(20, 3)
    with pytest.raises(ValueError, match="no int8 kernel for device 'meta'"):
        kernels.choose("auto", torch.device("meta"))
    monkeypatch.setattr(kernels, "engines", list)
    with pytest.raises(ValueError, match=r"no int8 kernel 'packed' .* use kernel='int_mm'"):
        quantise(module, lambda m: m(x), QuantiseConfig(kernel="packed"))
    monkeypatch.delattr(torch, "_int_mm")
    with pytest.raises(ValueError, match=r"no int8 kernel for device 'cpu' .* keep it in floating point"):
        quantise(module, lambda m: m(x))
    with pytest.raises(ValueError, match="did you mean 'packed'"):
        kernels.choose("pakced", torch.device("cpu"))


def test_bad_input():
    module, x = net(), normal(20, 3)
    with pytest.raises(ValueError, match="9 bits"):
        QuantiseConfig(weight_bits=9)
    with pytest.raises(ValueError, match="rounding"):
        QuantiseConfig(rounding="length")
    with pytest.raises(ValueError, match="no linear layer 'head"):
        quantise(module, lambda m: m(x), QuantiseConfig(skip=("head*",)))
    with pytest.raises(ValueError, match="Linear was called"):
        quantise(module, lambda m: None)
    with pytest.raises(ValueError, match="not finite"):
        quantise(module, lambda m: m(x * math.nan))
    with pytest.raises(ValueError, match="vectors are"):
        quantise(module, lambda m: m(x), QuantiseConfig(vectors=("2",)))
    with pytest.raises(ValueError, match="bias"):
        NormQuantisedLinear(nn.Linear(3, 3), Quantiser(1.0, 0), QuantiseConfig())
    made = quantise(module, lambda m: m(x)).module
    with pytest.raises(ValueError, match="no gradient"):
        made(x.clone().requires_grad_())
    with pytest.raises(ValueError, match="must hold 0"):
        Quantiser.between(1.0, 2.0)
    with pytest.raises(ValueError, match="one number within"):
        calibrate(GaussianMixture.ring().denoiser(VPTable()), normal(3, 2), torch.tensor([0.1, 0.2, 1.4]))
    with pytest.raises(TypeError, match=r"Module was wanted; this is a Denoiser around a function"):
        quantise_denoiser(Denoiser(lambda x, t: x, VPTable()), normal(3, 2), seeded())
