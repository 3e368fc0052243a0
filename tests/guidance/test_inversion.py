"""Inversion: BDIA there and back to rounding, its warning, and how far DDIM inversion misses."""

from __future__ import annotations

import warnings

import pytest
import torch
from guided_systems import F64, normal, rotation, springs

from trajlab.guidance.inversion import BDIA, bdia_inversion, bdia_pair, ddim_inversion
from trajlab.paths.schedules import EDM, Rectified, VPLinear, VPTable
from trajlab.samplers.deis import DEIS
from trajlab.samplers.grids import uniform_lam
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture

PATH = VPTable()
RING = GaussianMixture.ring().denoiser(PATH)


def round_trip(gamma, steps, dtype=F64, rows=64):
    grid, start = uniform_lam(PATH, steps, end="stop"), normal(rows, 2, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = bdia_inversion(RING, grid, *bdia_pair(RING, grid, start, gamma), gamma)
    assert found.nfe == steps - 1
    return float((found.noise - start).abs().max() / start.abs().max())


@pytest.mark.parametrize("steps", [10, 50])
def test_a_leapfrog_comes_back_to_rounding(steps):
    assert round_trip(1.0, steps) < 1e-13
    assert round_trip(1.0, steps, torch.float32) < 1e-6  # relative to the largest number


def test_a_smaller_gamma_loses_its_digits():
    assert round_trip(0.5, 10) < 1e-11
    assert 1e-7 < round_trip(0.5, 10, torch.float32) < 1e-2
    assert 1e-4 < round_trip(0.5, 50) < 10
    assert round_trip(0.5, 50, torch.float32) > 1e3


def test_the_loss_of_digits_is_told_and_only_then():
    grid, pair = uniform_lam(PATH, 50, end="stop"), (normal(2, 2), normal(2, 2))
    with pytest.warns(UserWarning, match="use gamma = 1, fewer steps or float64"):
        bdia_inversion(RING, grid, *pair, gamma=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bdia_inversion(RING, grid, *pair, gamma=1.0)
        bdia_inversion(RING, uniform_lam(PATH, 10, end="stop"), *pair, gamma=0.5)


def test_sampling_with_it_beats_ddim():
    start = normal(64, 2)
    grid = uniform_lam(PATH, 50, end="stop")
    first, last = float(grid.lam[0]), float(grid.lam[-1])
    exact = RING.mixture.ode_end(PATH, start, first, last, tolerance=1e-6)
    error = {name: float((sample(RING, grid, start, s).x - exact).norm(dim=1).median()) for name, s in (("bdia", BDIA()), ("ddim", DEIS(1)))}
    assert error["bdia"] < 0.9 * error["ddim"]


def test_clean_data_alone_costs_a_step_and_the_chain_is_still_exact():
    grid = uniform_lam(PATH, 12, end="stop")
    data = RING.mixture.sample(8, torch.Generator().manual_seed(0))
    back = bdia_inversion(RING, grid, data)
    assert back.nfe == 12
    assert len(back.states) == 13
    solver, z = BDIA(), list(back.states[:2])
    for k in range(1, 12):
        (here, before), eps = solver.weights(grid, k)
        z.append(here * z[-1] + before * z[-2] + eps * RING(z[-1], grid.levels[k]).eps)
    torch.testing.assert_close(z[-1], data, rtol=1e-12, atol=1e-12)


def test_the_update_is_the_formula():
    grid, gamma = uniform_lam(PATH, 4, end="stop"), 0.7
    trace = sample(RING, grid, normal(3, 2), BDIA(gamma), trace=True).trace
    before, here = normal(3, 2), trace[0].x
    found, (a, b, c) = RING(here, grid.levels[1]), grid.levels[:3]
    step = gamma * before - gamma * (a.alpha * found.x0 + a.sigma * found.eps) + c.alpha * found.x0 + c.sigma * found.eps
    torch.testing.assert_close(trace[1].x, step, rtol=1e-10, atol=1e-10)
    assert b.lam < c.lam


@pytest.mark.parametrize("path", [Rectified(), EDM(), VPLinear()])
def test_trajectories_of_any_path_turn_and_mask(path):
    denoiser, mask, turn = springs(path), torch.ones(2, 4, 5, dtype=torch.bool), rotation()
    mask[0, 3] = False
    grid = uniform_lam(path, 8, -3.0, 4.0, end="stop")
    start = normal(2, 4, 5, 3) * grid.levels[0].sigma * mask[..., None]
    pair = bdia_pair(denoiser, grid, start, mask=mask)
    torch.testing.assert_close(bdia_inversion(denoiser, grid, *pair, mask=mask).noise, start, rtol=1e-10, atol=1e-10)
    turned = ddim_inversion(denoiser, grid, pair[0] @ turn, mask=mask).noise
    torch.testing.assert_close(turned, ddim_inversion(denoiser, grid, pair[0], mask=mask).noise @ turn, rtol=1e-9, atol=1e-9)
    assert not turned[~mask].any()


def test_ddim_inversion_misses_less_with_more_steps_and_refinement_closes_it():
    denoiser, start = springs(), normal(4, 4, 5, 3)

    def missed(steps, refine=0):
        grid = uniform_lam(VPLinear(), steps, -3.0, 3.0, end="stop")
        back = ddim_inversion(denoiser, grid, sample(denoiser, grid, start, DEIS(1)).x, refine)
        assert back.nfe == steps * (1 + refine)
        return float((back.noise - start).abs().max())

    assert 1.6 < missed(20) / missed(40) < 2.4
    assert missed(20, refine=8) < 1e-4 * missed(20)


def test_ddim_inversion_of_the_ring():
    def missed(steps):
        grid, start = uniform_lam(PATH, steps, end="stop"), normal(64, 2)
        return float((ddim_inversion(RING, grid, sample(RING, grid, start, DEIS(1)).x).noise - start).norm(dim=1).median())

    assert 0.2 < missed(10) < 1.2
    assert missed(100) < 0.25


def test_bad_input():
    grid = uniform_lam(PATH, 4, end="stop")
    for gamma in (0.0, 1.1):
        with pytest.raises(ValueError, match=r"within \(0, 1\]"):
            BDIA(gamma)
    with pytest.raises(ValueError, match="at least 2 steps"):
        sample(RING, uniform_lam(PATH, 1), normal(2, 2), BDIA())
    with pytest.raises(ValueError, match="they must be the same"):
        bdia_inversion(RING, grid, normal(2, 2), normal(3, 2))
    from trajlab.samplers.grids import explicit

    with pytest.raises(ValueError, match="between finite log-SNR"):
        ddim_inversion(RING, explicit(VPLinear(), [-2.0, float("inf")]), normal(2, 2))
