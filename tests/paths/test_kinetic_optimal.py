"""Kinetic-optimal paths: the least energy and its angle where they are known, fits from data, masks, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.paths.denoiser import Denoiser
from trajlab.paths.explained import NODES, Explained
from trajlab.paths.kinetic_optimal import KineticOptimal, kinetic_energy
from trajlab.paths.schedules import Rectified, VPCosine, VPLinear
from trajlab.sources.mixtures import GaussianMixture

F64 = torch.float64


def two_points() -> Explained:
    """Data +-1: mmse = 1 - E tanh(s + sqrt(s) z) with s = e^(2 lam)."""
    z = torch.linspace(-12, 12, 4001, dtype=F64)
    weight = torch.exp(-(z**2) / 2)
    weight /= weight.sum()
    return Explained.from_mmse(lambda lam: torch.stack([((1 - torch.tanh(math.exp(2 * k) + math.exp(k) * z)) * weight).sum() for k in lam.tolist()]))


@pytest.fixture(scope="module")
def binary():
    return two_points()


def test_two_points(binary):
    path = KineticOptimal(binary)
    assert path.angle == pytest.approx(0.6913, abs=5e-5)
    assert path.energy == pytest.approx(0.4591, abs=1e-4)
    assert kinetic_energy(path, binary) == pytest.approx(0.4591, abs=3e-4)
    assert kinetic_energy(Rectified(), binary) == pytest.approx(0.9824, abs=1e-4)
    assert kinetic_energy(VPCosine(), binary) == pytest.approx(0.8690, abs=1e-4)


def test_energy_of_a_flow_by_simulation(generator):
    """The closed form is E|v|^2 along the marginals: checked by drawing from them, Cond-OT on +-1."""
    n = 400_000
    x1 = torch.randint(0, 2, (n,), generator=generator).double() * 2 - 1
    t = torch.rand(n, generator=generator, dtype=F64)
    x = t * x1 + (1 - t) * torch.randn(n, generator=generator, dtype=F64)
    clean = torch.tanh(t * x / (1 - t) ** 2)
    assert float((((clean - x) / (1 - t)) ** 2).mean()) == pytest.approx(0.9824, abs=0.01)


def test_gaussian_data_cost_nothing():
    explained = Explained.spectrum(torch.ones(5))
    path = KineticOptimal(explained)
    assert path.angle < 1e-3
    assert path.energy < 1e-6
    assert kinetic_energy(path, explained) < 1e-6
    assert kinetic_energy(VPCosine(), explained) < 1e-12
    assert kinetic_energy(Rectified(), explained) == pytest.approx(2 * (1 - math.pi / 4), abs=1e-6)
    t = torch.linspace(0.01, 0.99, 20, dtype=F64)
    for mine, theirs in zip(path.coefficients(t), VPCosine().coefficients(t)):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_separated_points_give_conditional_ot():
    explained, path = Explained.points(), KineticOptimal()
    assert path.angle == pytest.approx(math.pi / 2, abs=1e-12)
    assert (kinetic_energy(path, explained), kinetic_energy(Rectified(), explained)) == (pytest.approx(2, abs=1e-9), pytest.approx(2, abs=1e-9))
    assert kinetic_energy(VPCosine(), explained) == pytest.approx(math.pi**2 / 4, abs=1e-9)
    t = torch.linspace(0, 1, 21, dtype=F64)
    for mine, theirs in zip(path.coefficients(t), Rectified().coefficients(t)):
        assert torch.allclose(mine, theirs, atol=1e-9)


def test_rectified_flow_of_gaussian_data_in_closed_form(generator):
    """int l/(l t^2 + (1-t)^2) dt = pi sqrt(l)/2, so Cond-OT spends 2 - (pi/2) mean sqrt(l)."""
    values = torch.rand(30, generator=generator, dtype=F64) ** 3
    wanted = 2 - math.pi / 2 * float((values / values.mean()).sqrt().mean())
    assert kinetic_energy(Rectified(), Explained.spectrum(values)) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("values", [torch.linspace(0.01, 2, 20), torch.tensor([10.0, 1e-3, 1e-3]), torch.tensor([1.0, 0.0, 0.0])])
def test_no_path_spends_less(values):
    explained = Explained.spectrum(values)
    path = KineticOptimal(explained)
    least = kinetic_energy(path, explained)
    assert least == pytest.approx(path.energy, abs=1e-3)
    for other in (Rectified(), VPCosine(), VPLinear(0.1, 12.0), KineticOptimal(Explained.spectrum(torch.tensor([3.0, 1.0])))):
        assert kinetic_energy(other, explained) >= least - 1e-9
    assert 0 <= path.angle <= math.pi / 2  # Lam <= 1: the chord never passes the origin


def test_rank_deficient_data_keep_their_angle_to_the_end():
    """Half of the directions empty: Lam tends to 1/2 at the data end, and the table carries it to pi/2."""
    explained = Explained.spectrum(torch.tensor([1.0, 0.0]))
    lam = torch.tensor([-30.0, 30.0], dtype=F64)
    # mmse / a^2 = mean l / (b^2 l + a^2) with l = (2, 0): 1 at no signal, 1/2 at no noise.
    assert torch.allclose(explained.at(lam), torch.tensor([0.0, 0.5], dtype=F64), atol=1e-7)


def test_fit_by_spectrum_subset_and_denoiser_agree(generator):
    mixture = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.full((2, 1, 1), 1e-8))
    x = mixture.sample(800, generator)
    exact = KineticOptimal(two_points()).angle
    by_subset = KineticOptimal.fit(x, generator, "subset")
    by_denoiser = KineticOptimal.fit(x, generator, mixture.denoiser(VPLinear()))
    assert by_subset.angle == pytest.approx(exact, abs=0.03)
    assert by_denoiser.angle == pytest.approx(exact, abs=0.03)
    scaled = GaussianMixture(torch.tensor([[-1.1], [1.1]]), torch.full((2, 1, 1), 1e-8))
    assert KineticOptimal.fit(1.1 * x, generator, scaled.denoiser(VPLinear())).angle == pytest.approx(exact, abs=0.03)
    assert KineticOptimal.fit(x).angle < 1e-3  # the covariance alone sees a Gaussian
    assert KineticOptimal.fit(x) == KineticOptimal.fit(x)


def test_spectrum_of_data_is_that_of_their_covariance(generator):
    values = torch.tensor([2.0, 1.2, 0.6, 0.2], dtype=F64)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=F64)).Q
    z = torch.randn(4000, 4, generator=generator, dtype=F64)
    z = torch.linalg.qr(z).Q * math.sqrt(4000)  # exactly white
    x = ((z * values.sqrt()) @ turn.T).reshape(4000, 2, 2)
    assert torch.allclose(torch.tensor(Explained.covariance(x).share), torch.tensor(Explained.spectrum(values).share), atol=1e-9)


def test_masks_and_projections(generator):
    x = torch.randn(600, 3, 2, 2, generator=generator, dtype=F64) * torch.tensor([1.3, 0.5])
    x /= (x**2).mean().sqrt()
    mask = torch.ones(600, 3, 2, dtype=torch.bool)
    mask[:, 2, 1] = False
    seen = x[mask].reshape(600, -1)
    seen = seen / (seen**2).mean().sqrt()
    hidden = torch.where(mask[..., None], seen.new_zeros(()), math.nan).expand_as(x) + torch.nan_to_num(x)
    assert torch.allclose(torch.tensor(Explained.covariance(hidden, mask).share), torch.tensor(Explained.covariance(seen).share), atol=1e-9)
    # Isotropic in the subspace without centre of mass is Gaussian of full rank there: (n - 1) dim free numbers, angle 0.
    z = torch.randn(20000, 4, 1, 3, generator=generator, dtype=F64)
    assert KineticOptimal.fit(z, axes=(1,)).angle < 0.08
    # Told of no projection, the same data look rank-deficient.
    flat = z - z.mean(1, keepdim=True)
    assert KineticOptimal.fit(flat / (flat**2).mean().sqrt()).angle > 0.3


def test_an_imperfect_denoiser_only_lowers_the_share(generator):
    mixture = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.full((2, 1, 1), 1e-8))
    x = mixture.sample(800, generator)
    lazy = Denoiser(lambda x, t: torch.zeros_like(x), VPCosine())
    assert max(Explained.measured(lazy, x, generator).share) < 0.01
    assert KineticOptimal.fit(x, generator, lazy).angle < 0.05


def test_between_its_nodes_the_share_is_linear():
    explained = Explained((-1.0, 0.0, 2.0), (0.0, 0.5, 2.0))
    assert explained.share == (0.0, 0.5, 1.0)
    assert torch.allclose(explained.at(torch.tensor([-9.0, -0.5, 1.0, math.inf], dtype=F64)), torch.tensor([0.0, 0.25, 0.75, 1.0], dtype=F64))
    assert len(Explained.spectrum(torch.ones(2)).lam) == len(NODES)


@pytest.mark.parametrize(("call", "words"), [
    (lambda x, g: KineticOptimal.fit(5 * x), "standardise them"),
    (lambda x, g: KineticOptimal.fit(x, how="subset"), "pass generator"),
    (lambda x, g: KineticOptimal.fit(x, g, "subsett"), "did you mean 'subset'"),
    (lambda x, g: KineticOptimal.fit(x, mask=torch.rand(50, 3) > 0.5), "hides different entries"),
    (lambda x, g: KineticOptimal.fit(x, mask=torch.ones(50, 4, dtype=torch.bool)), "the mask has shape"),
    (lambda x, g: KineticOptimal(floor=0.0), "floor = 0"),
    (lambda x, g: Explained((1.0, 0.0), (0.1, 0.2)), "increasing"),
    (lambda x, g: Explained((0.0, 1.0), (0.1, math.nan)), "not a number"),
    (lambda x, g: Explained.spectrum(torch.tensor([-1.0, 2.0])), "not negative"),
    (lambda x, g: kinetic_energy(Rectified(), Explained.points(), panels=0), "at least one"),
])
def test_bad_input(call, words, generator):
    x = torch.randn(50, 3, generator=generator, dtype=F64)
    x /= (x**2).mean().sqrt()
    with pytest.raises(ValueError, match=words):
        call(x, generator)
