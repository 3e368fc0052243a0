"""DPM-Solver-v3 and its statistics: exact on a Gaussian in one step, Adams-Bashforth without statistics, half of DDIM's error with them."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from samplers.closed_forms import FIRST, LAST, PATH, Linear, TwoModes, error, nodes, slope

from trajlab.paths.schedules import VE, Rectified, VPLinear, VPTable
from trajlab.samplers import grids
from trajlab.samplers.deis import DEIS, ddim
from trajlab.samplers.dpm_solver_v3 import DPMSolverV3, taylor
from trajlab.samplers.model_statistics import ModelStatistics, collect
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.quadrature import lagrange
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded():
    return torch.Generator().manual_seed(0)


@functools.cache
def two_modes():
    return collect(TwoModes(), grids.uniform_lam(PATH, 200, FIRST, LAST), noise(256, 2), seeded())


def test_gaussian_statistics_are_known_and_one_step_is_exact():
    """On N(0, v): l = sigma^2/(alpha^2 v + sigma^2), nothing is left for f, and the linear part is the whole solution."""
    path = VPLinear()
    known = collect(Linear(path, 0.25), grids.uniform_lam(path, 300, -4.0, 4.0), noise(4, 3), seeded())
    for lam, found, s in zip(known.lam.tolist(), known.l.flatten().tolist(), known.s.flatten().tolist()):
        k = path.level(lam)
        assert found == pytest.approx(k.sigma**2 / (k.alpha**2 * 0.25 + k.sigma**2))
        assert abs(s) < 1e-6
    x, grid = noise(5, 3), grids.explicit(path, [-4.0, 4.0], end="stop")
    scale = [math.sqrt(k.alpha**2 * 0.25 + k.sigma**2) for k in grid.levels]
    torch.testing.assert_close(sample(Linear(path, 0.25), grid, x, DPMSolverV3(known, 1)).x, x * scale[1] / scale[0], rtol=1e-3, atol=0)


def test_growth_is_known_on_two_widths():
    """Coordinates of variances v, w share l; then f = (l_v - l) y with y' = -l_v y, and s follows."""
    variance = torch.tensor([0.01, 1.0], dtype=torch.float64)
    grid = grids.uniform_lam(PATH, 800, -3.0, 3.0)
    known = collect(Linear(PATH, variance), grid, torch.ones(1, 2, dtype=torch.float64), seeded(), floor=0.0)

    def f(lam):
        rho2 = math.exp(-2 * lam)
        own = rho2 / (variance + rho2)
        return (own - own.mean()) * ((variance + rho2) / (variance + math.exp(6.0))).sqrt()

    for k in (200, 400, 600):
        lam = float(known.lam[k])
        rate = (f(lam + 1e-5) - f(lam - 1e-5)) / 2e-5
        assert float(known.s[k]) == pytest.approx(float((f(lam) * rate).sum() / f(lam).square().sum()), rel=2e-3)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_without_statistics_it_is_adams_bashforth_on_the_clean_sample(order):
    x = noise(8, 2)
    grid = grids.karras(PATH, 9, start=-4.0, stop=4.0)
    ends = [sample(TwoModes(), grid, x, solver).x for solver in (DPMSolverV3(order=order), DEIS(order, "x0"))]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("order", "corrector", "low", "high"), [
    (1, False, 0.9, 1.1), (2, False, 1.9, 2.1), (3, False, 2.8, 3.5), (1, True, 1.7, 2.1), (2, True, 2.4, 3.2)])
def test_orders(order, corrector, low, high):
    """Between 20 and 160 steps; below an error of 1e-6 the resolution of the statistics is seen."""
    solver = DPMSolverV3(two_modes(), order, corrector=corrector)
    assert low < math.log2(error(solver, 20) / error(solver, 160)) / 3 < high


def test_pseudo_order_keeps_the_first_difference():
    """Order 2 is the same; order 3 loses one order and differs."""
    solver = functools.partial(DPMSolverV3, two_modes())
    assert error(solver(2, pseudo=True), 20) == pytest.approx(error(solver(2), 20), rel=1e-9)
    assert slope(solver(3, pseudo=True), 80) < 2.5
    q = torch.linspace(0, 1, 5, dtype=torch.float64).numpy()
    assert abs(taylor([0.3, -0.2], q) - lagrange([0.3, -0.2], q)).max() < 1e-12
    assert taylor([0.3, -0.2, -0.5], q).sum(0) == pytest.approx(1)


@pytest.mark.parametrize("corrector", [False, True])
def test_calls_and_nodes(corrector):
    solver = DPMSolverV3(order=3, corrector=corrector)
    found = sample(TwoModes(), nodes(12, "denoise"), noise(4, 2), solver, trace=True)
    assert found.nfe == 13
    assert [k.level.lam for k in found.trace] == [*(k.lam for k in nodes(12).levels[1:]), math.inf]


def test_six_tenths_of_the_error_of_ddim_in_sixteen_dimensions():
    path = VPTable()
    mixture = GaussianMixture.smooth_paths(torch.Generator().manual_seed(2))
    mixture = GaussianMixture((mixture.mean - mixture.moments()[0]).reshape(-1, *mixture.event), mixture.covariance)
    denoiser = mixture.denoiser(path)
    known = collect(denoiser, grids.uniform_lam(path, 80), noise(48, *mixture.event), seeded())
    assert known.l.shape == (81, 1, 1, 1)
    x = noise(48, *mixture.event, seed=5)
    fine = sample(denoiser, grids.uniform_lam(path, 120, end="stop"), x, DEIS(4)).x

    def far(solver, steps):
        end = sample(denoiser, grids.uniform_lam(path, steps, end="stop"), x, solver).x
        return float((end - fine).flatten(1).norm(dim=-1).median())

    for steps in (5, 10, 20):
        assert far(DPMSolverV3(known, 1), steps) < 0.6 * far(ddim(), steps)
    assert far(DPMSolverV3(known, 2), 10) < 0.8 * far(DPMSolverV3(order=2), 10)


def test_statistics_do_not_depend_on_the_path():
    class Other(TwoModes):
        path = VE()

    grid = grids.uniform_lam(Other.path, 60, -4.0, 4.0)
    x = noise(16, 2)
    there = collect(Other(), grid, x * grid.levels[0].sigma, seeded())
    here_grid = grids.uniform_lam(PATH, 60, -4.0, 4.0)
    here = collect(TwoModes(), here_grid, x * here_grid.levels[0].sigma, seeded())
    torch.testing.assert_close(there.l, here.l)
    torch.testing.assert_close(there.s, here.s)


def test_hidden_entries_do_not_count():
    x, mask = noise(8, 3, 4, 2), torch.ones(8, 3, 4, dtype=torch.bool)
    mask[:, 2] = False
    grid = grids.uniform_lam(PATH, 40, -4.0, 4.0)

    class Same(RowNoise):
        def normal(self, like):
            return noise(*x.shape, seed=9)[:, : like.shape[1]]

    padded = collect(TwoModes(), grid, x, Same(None), mask=mask)
    short = collect(TwoModes(), grid, x[:, :2], Same(None))
    torch.testing.assert_close(padded.l, short.l)
    torch.testing.assert_close(padded.s, short.s)


def test_statistics_by_frame():
    """Frames of different spread have statistics of their own, which the solver uses."""
    variance = torch.tensor([0.01, 1.0], dtype=torch.float64).reshape(2, 1)
    grid = grids.uniform_lam(PATH, 200, -4.0, 4.0)
    known = collect(Linear(PATH, variance), grid, noise(8, 3, 2, 2), seeded(), keep=(1,))
    assert known.l.shape == (201, 1, 2, 1)
    x, ends = noise(4, 3, 2, 2), grids.explicit(PATH, [-4.0, 0.0, 4.0], end="stop")
    scale = [(k.alpha**2 * variance + k.sigma**2) ** 0.5 for k in ends.levels]
    found = sample(Linear(PATH, variance), ends, x, DPMSolverV3(known, 2)).x
    torch.testing.assert_close(found, x * scale[-1] / scale[0], rtol=3e-3, atol=0)


def test_saved_and_loaded(tmp_path):
    known = two_modes()
    again = ModelStatistics.load(known.save(tmp_path / "statistics"))
    for name in ("lam", "l", "s"):
        assert torch.equal(getattr(again, name), getattr(known, name))
    assert again.about == known.about
    assert again.about["paths"] == 256
    assert sorted(p.name for p in (tmp_path / "statistics").iterdir()) == ["statistics.json", "statistics.safetensors"]
    (tmp_path / "statistics" / "statistics.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match="no readable model statistics"):
        ModelStatistics.load(tmp_path / "statistics")
    with pytest.raises(ValueError, match="no readable model statistics"):
        ModelStatistics.load(tmp_path / "nothing")


def test_bad_input():
    known = two_modes()
    with pytest.raises(ValueError, match="only cover"):
        DPMSolverV3(known).plan(grids.uniform_lam(PATH, 10, LAST, LAST + 2))
    with pytest.raises(ValueError, match="only cover"):
        DPMSolverV3(known).plan(grids.at_times(Rectified(), [0.0, 0.2, 0.5, 0.9]))
    with pytest.raises(ValueError, match="order 7"):
        DPMSolverV3(order=7)
    with pytest.raises(ValueError, match="use at least 3 steps"):
        DPMSolverV3().plan(nodes(2))
    with pytest.raises(ValueError, match="fine grid"):
        collect(TwoModes(), nodes(5), noise(2, 2), seeded())
    with pytest.raises(ValueError, match="names an axis"):
        collect(TwoModes(), nodes(50), noise(2, 2), seeded(), keep=(1,))
    with pytest.raises(TypeError, match="make the grid on"):
        collect(TwoModes(), grids.uniform_lam(VE(), 50), noise(2, 2), seeded())
    with pytest.raises(ValueError, match="rising levels"):
        ModelStatistics(torch.tensor([1.0, 0.0]), torch.ones(2), torch.ones(2))
    with pytest.raises(ValueError, match="not finite"):
        ModelStatistics(torch.tensor([0.0, 1.0]), torch.ones(2), torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match="first axis"):
        ModelStatistics(torch.tensor([0.0, 1.0]), torch.ones(3), torch.ones(3))
