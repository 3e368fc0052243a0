"""Warm starts: noise goes to the latent that carries its mass, and the rest is sampled as usual."""

from __future__ import annotations

import pytest
import torch

from trajlab.couplings.semidiscrete import SemiDiscrete, standard_normal
from trajlab.paths.schedules import Rectified, VPLinear
from trajlab.samplers.deis import ddim
from trajlab.samplers.grids import uniform_lam
from trajlab.samplers.hooks import Hook
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample
from trajlab.samplers.warm_start import Bank, WarmStart
from trajlab.sources.mixtures import GaussianMixture

PATH = VPLinear()
GRID = uniform_lam(PATH, 16, stop=5.0)
QUICK = SemiDiscrete(iterations=250, batch=1500, check=100, tolerance=0.1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def mixture():
    return GaussianMixture.smooth_paths(seeded())


@pytest.fixture(scope="module")
def bank(mixture):
    return Bank.of_denoiser(mixture.denoiser(PATH), GRID, 10, (60, *mixture.event), seeded(1))


@pytest.fixture(scope="module")
def warm(bank):
    return bank.fit(seeded(2), QUICK)


def noise(n: int, event, seed: int = 3):
    return torch.randn(n, *event, generator=seeded(seed), dtype=torch.float64)


def test_a_bank_holds_states_of_its_level(mixture):
    assert float(GRID.lam[6]) == pytest.approx(Bank.of_denoiser(mixture.denoiser(PATH), GRID, 10, (3, *mixture.event), seeded()).lam)
    data = mixture.sample(4000, seeded())
    mean, covariance = mixture.moments()
    level = PATH.level(-0.5)
    latents = Bank.of_data(PATH, -0.5, data, seeded(1)).latents.flatten(1)
    torch.testing.assert_close(latents.mean(0), level.alpha * mean, atol=0.07, rtol=0)
    wanted = level.alpha**2 * covariance + level.sigma**2 * torch.eye(16, dtype=torch.float64)
    torch.testing.assert_close(torch.cov(latents.T), wanted, atol=0.09, rtol=0)


def test_banks_from_data_and_from_the_denoiser_agree(mixture):
    made = Bank.of_denoiser(mixture.denoiser(PATH), uniform_lam(PATH, 16), 6, (1500, *mixture.event), seeded())
    noised = Bank.of_data(PATH, made.lam, mixture.sample(1500, seeded(1)), seeded(2))
    torch.testing.assert_close(made.latents.double().mean(0), noised.latents.mean(0), atol=0.12, rtol=0)


def test_hooks_act_on_the_noise_of_a_bank():
    class Centred(Hook):
        def noise(self, z):
            return z - z.mean(-2, keepdim=True)

    data = torch.zeros(5, 2, 8, 3)
    assert float(Bank.of_data(PATH, 0.0, data, seeded(), (Centred(),)).latents.mean(-2).abs().max()) < 1e-6


def test_every_latent_is_used_alike(warm, mixture):
    index = warm.choose(noise(30_000, mixture.event))
    mass = torch.bincount(index, minlength=60).double() / 30_000
    assert float((mass - 1 / 60).abs().sum() / 2) < 0.06
    assert warm.cells.converged


def test_only_the_remaining_steps_are_sampled(warm, mixture):
    start = noise(40, mixture.event)
    result = warm.sample(mixture.denoiser(PATH), GRID, start, ddim(), trace=True)
    assert result.nfe == 11  # ten steps and the last denoising, of 17
    assert [step.level.lam for step in result.trace[:-1]] == pytest.approx(GRID.lam[7:].tolist())
    direct = sample(mixture.denoiser(PATH), warm.remaining(GRID), warm.latents(start), ddim())
    assert torch.equal(result.x, direct.x)
    index = warm.choose(start)
    again = sample(mixture.denoiser(PATH), warm.remaining(GRID), warm.bank.latents.double()[index], ddim())
    torch.testing.assert_close(result.x, again.x, atol=1e-12, rtol=0)


def test_samples_are_of_the_data(mixture):
    """A warm start from 60 latents of the denoiser is a sample of the mixture where 60 plain samples are."""
    held = Bank.of_data(PATH, float(GRID.lam[6]), mixture.sample(60, seeded(4)), seeded(5)).fit(seeded(2), QUICK)
    result = held.sample(mixture.denoiser(PATH), GRID, noise(200, mixture.event))
    truth = mixture.log_density(mixture.sample(200, seeded(6)), 1.0, 0.02)
    assert float(mixture.log_density(result.x, 1.0, 0.02).median()) > float(truth.quantile(0.05))


def test_a_grid_without_the_level_gets_it(warm):
    grid = warm.remaining(uniform_lam(PATH, 5, stop=4.0))
    assert float(grid.lam[0]) == warm.bank.lam
    assert bool((grid.lam[1:] > warm.bank.lam).all())
    assert grid.end == "denoise"


def test_candidates_across_a_border_are_rejected():
    """Two far groups: near the border both are among the best, but only the best one's group is drawn from."""
    spots = torch.cat([0.3 * torch.randn(15, 2, generator=seeded()) + 3, 0.3 * torch.randn(15, 2, generator=seeded(1)) - 3]).double()
    bank = Bank(PATH, 0.0, spots)
    cells = QUICK.fit(spots, standard_normal((2,)), seeded(2))
    start = 0.05 * noise(400, (2,))  # on the border
    near = cells.nearest(start, 8)
    assert bool(((near < 15).any(1) & (near >= 15).any(1)).any())
    best = near[:, 0] < 15
    chosen = WarmStart(bank, cells, top=8, angle=0.5).choose(start, seeded(3))
    assert torch.equal(chosen < 15, best)
    assert not torch.equal(chosen, near[:, 0])
    assert bool((near == chosen[:, None]).any(1).all())
    mixed = WarmStart(bank, cells, top=8, angle=1.0).choose(start, seeded(3))
    assert not torch.equal(mixed < 15, best)


def test_candidates_are_drawn_by_row(bank, warm, mixture):
    several = WarmStart(bank, warm.cells, top=5, angle=1.0)
    start = noise(30, mixture.event)
    whole = several.choose(start, RowNoise(seeded(4)))
    assert torch.equal(whole, several.choose(start, RowNoise(seeded(4))))
    assert not torch.equal(whole, several.choose(start, RowNoise(seeded(5))))
    assert torch.equal(several.choose(start[7:9], RowNoise(seeded(4), [7, 8])), whole[7:9])
    place = (warm.cells.nearest(noise(3000, mixture.event), 5) == several.choose(noise(3000, mixture.event), seeded(6))[:, None]).double().mean(0)
    torch.testing.assert_close(place, torch.full((5,), 0.2, dtype=torch.float64), atol=0.03, rtol=0)


def test_latents_keep_their_noise(bank, warm, mixture):
    """What is drawn is a latent of the bank, never an average of several."""
    latents = WarmStart(bank, warm.cells, top=5, angle=1.0).latents(noise(50, mixture.event), seeded())
    assert bool((latents[:, None] == bank.latents.to(latents)).flatten(2).all(2).any(1).all())


def test_bad_input(bank, warm, mixture):
    with pytest.raises(ValueError, match="left=16 came"):
        Bank.of_denoiser(mixture.denoiser(PATH), GRID, 16, (4, *mixture.event), seeded())
    with pytest.raises(ValueError, match="two or more were wanted"):
        Bank(PATH, 0.0, torch.zeros(1, 2))
    with pytest.raises(ValueError, match="all of them finite"):
        Bank(PATH, 0.0, torch.full((3, 2), torch.nan))
    with pytest.raises(ValueError, match="top=0"):
        WarmStart(bank, warm.cells, top=0)
    with pytest.raises(ValueError, match="fit them on this bank"):
        WarmStart(Bank(PATH, 0.0, torch.zeros(3, 2)), warm.cells)
    with pytest.raises(ValueError, match=r"make both on denoiser\.path"):
        warm.remaining(uniform_lam(Rectified(), 4))
    with pytest.raises(ValueError, match="before the bank's level"):
        warm.remaining(uniform_lam(PATH, 4, stop=-4.0))
    with pytest.raises(ValueError, match="generator"):
        WarmStart(bank, warm.cells, top=3).choose(noise(2, mixture.event))
