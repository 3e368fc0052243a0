"""Replacement and cycles: what becomes of a Gaussian's other half, with its known mean and variance."""

from __future__ import annotations

import math

import pytest
import torch
from guided_systems import F64, Gaussian, bivariate, normal, rotation, seeded, springs

from trajlab.guidance.cyclic import Cyclic, window
from trajlab.guidance.inversion import ddim_inversion
from trajlab.guidance.replacement import Replacement
from trajlab.paths.schedules import EDM, VPLinear
from trajlab.samplers.ancestral import Ancestral
from trajlab.samplers.grids import uniform_lam
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample

PATH = VPLinear()
ROWS = 1000


def other_half(cycles, span=(1.0, 3.0), same=False, rows=ROWS):
    """Mean and variance of x2 where x1 = 1.5 is held; the truth is 1.35 and .19."""
    grid = uniform_lam(PATH, 50, -5.0, 7.0)
    mask = torch.tensor([True, False]).expand(rows, 2)
    value = torch.tensor([1.5, math.nan], dtype=F64).expand(rows, 2)
    hook = Replacement.drawn(value, mask, seeded(3), lam=None if same else grid.lam)
    x = sample(Gaussian(bivariate(), PATH), grid, normal(rows, 2, seed=1), Cyclic(span, cycles), generator=seeded(2), hooks=[hook]).x
    torch.testing.assert_close(x[:, 0], torch.full((rows,), 1.5, dtype=F64))
    return float(x[:, 1].mean()), float(x[:, 1].var())


@pytest.mark.parametrize(("cycles", "mean", "variance"), [(0, 0.89, 0.29), (1, 1.04, 0.24), (3, 1.18, 0.20), (10, 1.25, 0.19)])
def test_cycles_bring_the_conditional(cycles, mean, variance):
    found = other_half(cycles)
    assert found[0] == pytest.approx(mean, abs=0.06)
    assert found[1] == pytest.approx(variance, abs=0.06)


def test_a_window_in_too_much_noise_does_nothing():
    assert other_half(3, span=(-2.0, 0.0))[0] == pytest.approx(0.90, abs=0.06)


def test_one_noise_for_all_levels_gives_the_same_means_and_a_wider_spread():
    (plain, wide), (mean, narrow) = other_half(0, same=True), other_half(3, same=True)
    assert plain == pytest.approx(0.89, abs=0.06)
    assert mean == pytest.approx(1.18, abs=0.06)
    assert wide > 0.32 > narrow


def test_the_window_goes_with_the_gap_in_the_data():
    assert window(1.0) == (0.0, 2.0)
    assert window(math.sqrt(0.19))[0] == pytest.approx(0.83, abs=0.01)


def test_without_cycles_it_is_ancestral_sampling():
    grid = uniform_lam(PATH, 12, -5.0, 5.0)
    denoiser, start = bivariate().denoiser(PATH), normal(5, 2)
    plain = sample(denoiser, grid, start, Ancestral(), generator=seeded()).x
    assert torch.equal(sample(denoiser, grid, start, Cyclic(cycles=0), generator=seeded()).x, plain)


def test_a_cycle_keeps_the_marginals_and_is_the_same_on_every_path():
    """Without a segment, thrown back and solved again, samples are still N(0, 1) in each coordinate."""
    ends = []
    for path in (PATH, EDM()):
        grid = uniform_lam(path, 120, -4.0, 5.0)
        start = normal(600, 2, seed=1) * (grid.levels[0].alpha ** 2 + grid.levels[0].sigma ** 2) ** 0.5
        ends.append(sample(Gaussian(bivariate(0.0), path), grid, start, Cyclic((1.0, 3.0), 3, eta=0.0), generator=seeded(2)).x)
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)
    assert float(ends[0].var()) == pytest.approx(1.0, abs=0.12)


def test_calls_are_those_of_the_table():
    grid = uniform_lam(PATH, 24, -5.0, 7.0)
    solver = Cyclic((1.0, 3.0), 2)
    assert solver.plan(grid).nfe == sample(Gaussian(bivariate(), PATH), grid, normal(2, 2), solver, generator=seeded()).nfe == 25 + 2 * 4


def segment(rows=3):
    """Two of five frames of a small trajectory, seen."""
    value, mask = normal(rows, 4, 5, 3, seed=8), torch.zeros(rows, 4, 5, dtype=torch.bool)
    mask[:, :, :2] = True
    return value, mask


def test_the_segment_is_kept_at_every_node_and_call():
    value, mask = segment()
    hook = Replacement(value, mask, normal(3, 4, 5, 3, seed=9))
    seen = []
    out = sample(springs(), uniform_lam(PATH, 6), normal(3, 4, 5, 3), hooks=[hook],
                 watch=lambda s: seen.append((s.x - s.level.alpha * value - s.level.sigma * hook.eps)[mask].abs().max()))
    assert len(seen) == 7
    assert float(max(seen)) < 1e-12
    torch.testing.assert_close(out.x[mask], value[mask])


def test_it_turns_permutes_and_rows_stand_alone():
    value, mask = segment()
    eps, start, grid, turn = normal(3, 4, 5, 3, seed=9), normal(3, 4, 5, 3), uniform_lam(PATH, 40, -5.0, 7.0), rotation()
    solver = Cyclic((1.0, 3.0), 1, eta=0.0, eta_window=0.0)

    def run(value, mask, eps, start, rows=(0, 1, 2)):
        return sample(springs(), grid, start, solver, generator=RowNoise(seeded(), rows), hooks=[Replacement(value, mask, eps), Turned()]).x

    class Turned(Replacement):
        """The noise of the disturbances, turned along."""

        def __init__(self):
            pass

        noise = staticmethod(lambda z: z)
        before_model = after_step = lambda self, x, *_: x

    whole = run(value, mask, eps, start)
    alone = run(value[1:2], mask[1:2], eps[1:2], start[1:2], (1,))
    torch.testing.assert_close(alone, whole[1:2], rtol=1e-10, atol=1e-10)
    Turned.noise = staticmethod(lambda z: z @ turn)
    torch.testing.assert_close(run(value @ turn, mask, eps @ turn, start @ turn), whole @ turn, rtol=1e-9, atol=1e-9)
    order = torch.tensor([2, 0, 3, 1])
    Turned.noise = staticmethod(lambda z: z[:, order])
    torch.testing.assert_close(run(value[:, order], mask[:, order], eps[:, order], start[:, order]), whole[:, order], rtol=1e-9, atol=1e-9)


def test_an_inverted_segment_brings_the_trajectory_back():
    """Held everywhere, the run is the inversion; at nodes exactly, and without noise the value."""
    value, mask = segment()
    grid = uniform_lam(PATH, 8, -4.0, 6.0, end="stop")
    inversion = ddim_inversion(springs(), grid, value * grid.levels[-1].alpha)
    hook = Replacement.inverted(inversion, torch.ones_like(mask))
    for x, level in zip(inversion.states, grid.levels):
        torch.testing.assert_close(hook.segment(level), x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(hook.segment(PATH.level(math.inf)), value)
    middle = 0.5 * (grid.levels[3].lam + grid.levels[4].lam)
    level = PATH.level(middle)
    torch.testing.assert_close((hook.segment(level) - level.alpha * value) / level.sigma, 0.5 * (hook.eps[3] + hook.eps[4]))
    out = sample(springs(), grid.ended("denoise"), normal(3, 4, 5, 3), hooks=[hook]).x
    torch.testing.assert_close(out, value, rtol=1e-9, atol=1e-9)


def test_draws_by_row_and_windows():
    value, mask = segment()
    whole = Replacement.drawn(value, mask, seeded(4)).eps
    assert torch.equal(Replacement.drawn(value[2:], mask[2:], RowNoise(seeded(4), [2])).eps, whole[2:])
    hook = Replacement.drawn(value, mask, seeded(4), window=(-1.0, 1.0))
    x = normal(3, 4, 5, 3)
    assert hook.before_model(x, PATH.level(2.0)) is x
    rows = hook.before_model(x, PATH.level(torch.tensor([0.0, 2.0, -3.0], dtype=F64), like=x))
    assert torch.equal(rows[1:], x[1:])
    torch.testing.assert_close(rows[0], hook.before_model(x, PATH.level(0.0))[0])


def test_bad_input():
    value, mask = segment()
    with pytest.raises(ValueError, match="they must be the same"):
        Replacement(value, mask, value[:, :2])
    with pytest.raises(ValueError, match="one log-SNR a place"):
        Replacement(value, mask, torch.stack([value] * 3), torch.zeros(2))
    with pytest.raises(ValueError, match="low to high"):
        Replacement(value, mask, value, window=(1.0, 1.0))
    hook = Replacement.drawn(value, mask, seeded())
    with pytest.raises(ValueError, match="the observed value has shape"):
        hook.before_model(normal(2, 4, 5, 3), PATH.level(0.0))
    placed = Replacement.drawn(value, mask, seeded(), lam=torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"use Replacement\.drawn"):
        placed.before_model(value, PATH.level(torch.zeros(3), like=value))
    for wrong, words in (({"window": (3.0, 1.0)}, "low to high"), ({"cycles": -1}, "0 or more"), ({"eta": 1.5}, r"eta = 1\.5")):
        with pytest.raises(ValueError, match=words):
            Cyclic(**wrong)
    with pytest.raises(ValueError, match="must lie in the window"):
        Cyclic((1.0, 3.0)).plan(uniform_lam(PATH, 20, 1.5, 6.0))
    with pytest.raises(ValueError, match="must lie in the window"):
        Cyclic((1.0, 1.1)).plan(uniform_lam(PATH, 5))
    with pytest.raises(ValueError, match="must be positive"):
        window(0.0)
