import math

import pytest
import torch
from samplers.ring_of_modes import MIXTURE, PATH, nodes, slope, start

from trajlab.paths.denoiser import Denoiser
from trajlab.paths.schedules import Rectified, VPCosine
from trajlab.samplers.deis import DEIS
from trajlab.samplers.dpm_solver_pp import DPMSolverPP, DPMSolverPPSDE, dpmpp_2m, dpmpp_2s, dpmpp_3m, dpmpp_3m_as_published, dpmpp_3s, step_orders
from trajlab.samplers.grids import Grid, at_times, explicit, karras, uniform_lam
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import gaussian


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def width(std):
    """The exact denoiser of N(0, std^2), entry by entry, on the tests' path."""

    def net(x, lam):
        alpha, sigma = (w.to(x).reshape(-1, *[1] * (x.ndim - 1)) for w in PATH.scales(lam.double()))
        return alpha * std**2 / (alpha**2 * std**2 + sigma**2) * x

    return Denoiser(net, PATH, "x0", clock="lam")


@pytest.mark.parametrize(("solver", "order"), [(dpmpp_2s, 2), (dpmpp_3s, 3), (dpmpp_2m, 2), (dpmpp_3m, 3), (dpmpp_3m_as_published, 2)])
def test_error_falls_at_its_order(solver, order):
    assert slope(solver(), 160 if order == 3 else 80) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("grid", [nodes(9), karras(PATH, 9, -3.0, 3.0), explicit(VPCosine(), [-4.0, -3.9, -1.0, 0.0, 2.5, 2.6, 5.0])],
                         ids=["uniform", "karras", "uneven"])
def test_third_order_is_exponential_adams_bashforth(grid):
    ours, theirs, published = (s.plan(grid).stages for s in (DPMSolverPP(3, lower_final=0), DEIS(3, "x0"), DPMSolverPP(3, True, lower_final=0)))
    for a, b, c in list(zip(ours, theirs, published))[2 : grid.steps]:
        assert a.states == pytest.approx(b.states, rel=1e-13)
        assert a.predictions == pytest.approx(b.predictions, rel=1e-12, abs=1e-13)
        # The weights always sum to those of the first-order step; only the differences are weighed in another way.
        assert sum(c.predictions) == pytest.approx(sum(a.predictions), rel=1e-12)
    assert max(abs(c.predictions[2] / a.predictions[2] - 1) for a, c in list(zip(ours, published))[2 : grid.steps]) > 0.15


def test_first_steps():
    first, second, third = DPMSolverPP(3, lower_final=0).plan(nodes(8)).stages[:3]
    assert [len(s.predictions) for s in (first, second, third)] == [1, 2, 3]
    s, t = nodes(8).levels[1:3]
    whole = t.alpha * -math.expm1(s.lam - t.lam)
    assert second.states == pytest.approx((t.sigma / s.sigma,))
    assert second.predictions == pytest.approx((1.5 * whole, -0.5 * whole))


def test_order_at_the_ends():
    assert step_orders(nodes(6), 3) == [1, 2, 3, 3, 3, 3]
    assert step_orders(nodes(6), 3, lower_final=7) == [1, 2, 3, 3, 2, 1]
    assert step_orders(nodes(6), 3, lower_final=6) == [1, 2, 3, 3, 3, 3]
    assert step_orders(at_times(Rectified(), [0, 0.2, 0.4, 0.6, 0.8, 1.0], "stop"), 3) == [1, 1, 2, 3, 1]
    assert DPMSolverPP(2).plan(nodes(9)) == DPMSolverPP(2, lower_final=10).plan(nodes(9))
    assert DPMSolverPP(2).plan(nodes(10)) == DPMSolverPP(2, lower_final=0).plan(nodes(10))
    assert DPMSolverPP(3).plan(nodes(6)) == DPMSolverPP(3, lower_final=0).plan(nodes(6))
    assert DPMSolverPP(3).plan(nodes(5)) != DPMSolverPP(3, lower_final=0).plan(nodes(5))


@pytest.mark.parametrize(("solver", "steps"), [(dpmpp_2s(), 1), (dpmpp_3s(), 1), (DPMSolverPP(1), 1), (DPMSolverPP(2), 2), (DPMSolverPP(3), 3),
                                               (DPMSolverPP(3, True, lower_final=0), 5)])
def test_data_in_one_point_are_reached_exactly(solver, steps):
    mean = torch.tensor([0.7, -1.2], dtype=torch.float64)
    grid = nodes(steps)
    out = sample(gaussian(mean, torch.zeros(2, 2)).denoiser(PATH), grid, start(), solver).x
    first, last = grid.levels[0], grid.levels[-1]
    wanted = last.alpha * mean + last.sigma * (start() - first.alpha * mean) / first.sigma
    torch.testing.assert_close(out, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", [dpmpp_2s(), dpmpp_3s(), dpmpp_2m(), dpmpp_3m(), dpmpp_3m_as_published()])
def test_standard_normal_data_stay_where_they_are(solver):
    data = width(1.0)
    far = [float((sample(data, uniform_lam(PATH, n, -3.0, 3.0, "stop"), start(), solver).x - start()).abs().max()) for n in (25, 50)]
    assert far[1] < 0.01
    assert far[1] < far[0] / 3


@pytest.mark.parametrize("solver", [dpmpp_2m(), dpmpp_3m(), DPMSolverPPSDE()])
def test_last_step_to_no_noise_gives_the_clean_prediction(solver):
    grid = nodes(12)
    whole = Grid(PATH, torch.cat([grid.lam, torch.tensor([math.inf])]), "stop")
    last = solver.plan(whole).stages[-1]
    assert [w for w in (*last.states, *last.predictions) if w] == [1.0]
    assert last.noise == 0
    a, b = (sample(MIXTURE.denoiser(PATH), g, start(), solver, generator=seeded()) for g in (grid.ended("denoise"), whole))
    torch.testing.assert_close(a.x, b.x, rtol=1e-12, atol=1e-12)
    assert a.nfe == b.nfe == 13


@pytest.mark.parametrize("solver", [dpmpp_2m(), dpmpp_3m(), dpmpp_2s(), DPMSolverPPSDE()])
def test_from_pure_noise(solver):
    grid = at_times(Rectified(), torch.linspace(0, 1, 41), "stop")
    x = sample(MIXTURE.denoiser(Rectified()), grid, (200, 2), solver, generator=seeded()).x
    assert float(x.norm(dim=1).mean()) == pytest.approx(float(MIXTURE.sample(20000, seeded(1)).norm(dim=1).mean()), abs=0.06)


def end_variance(solver, steps):
    """Of the samples of N(0, 1/4) data, for which D = gain x: what the table makes of the covariance of (x, last D), exactly."""
    table = solver.plan(uniform_lam(PATH, steps, None, 6.0))
    now = torch.diag(torch.tensor([table.start.sigma**2, 0.0], dtype=torch.float64))
    for stage in table.stages:
        gain = 0.25 * stage.level.alpha / (0.25 * stage.level.alpha**2 + stage.level.sigma**2)
        (state,), (new, old) = stage.states or (0.0,), (*stage.predictions, 0.0)[:2]
        move = torch.tensor([[state + gain * new, old], [gain, 0.0]], dtype=torch.float64)
        now = move @ now @ move.T
        now[0, 0] += stage.noise**2
    return float(now[0, 0])


@pytest.mark.parametrize("order", [1, 2])
def test_variance_of_the_sde_converges_at_its_order(order):
    off = [abs(end_variance(DPMSolverPPSDE(order), steps) - 0.25) for steps in (100, 200)]
    assert math.log2(off[0] / off[1]) == pytest.approx(order, abs=0.25)


def test_sde_keeps_the_variance():
    assert end_variance(DPMSolverPPSDE(), 50) == pytest.approx(0.25, rel=0.02)
    x = sample(width(0.5), uniform_lam(PATH, 50, None, 6.0), torch.randn(20, 2000, generator=seeded(3)), DPMSolverPPSDE(), generator=seeded()).x
    assert float(x.var()) == pytest.approx(end_variance(DPMSolverPPSDE(), 50), rel=0.025)
    assert float(x.mean()) == pytest.approx(0, abs=0.01)


def test_sde_is_reproduced_by_its_generator():
    def run(rows, seed=0):
        noise = RowNoise(seeded(seed), rows=rows)
        return sample(MIXTURE.denoiser(PATH), nodes(10, "denoise"), start()[rows], DPMSolverPPSDE(), generator=noise).x

    every = list(range(32))
    assert torch.equal(run(every), run(every))
    assert not torch.equal(run(every), run(every, seed=1))
    torch.testing.assert_close(run([5, 9]), run(every)[[5, 9]], rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="pass generator="):
        sample(MIXTURE.denoiser(PATH), nodes(10), start(), DPMSolverPPSDE())


@pytest.mark.parametrize(("solver", "steps"), [(dpmpp_2m(), 1), (dpmpp_3m(), 2), (dpmpp_3m_as_published(), 2), (DPMSolverPPSDE(), 1)])
def test_fewer_steps_than_the_order(solver, steps):
    with pytest.raises(ValueError, match=f"has order {solver.order} and the grid only {steps} steps"):
        solver.plan(nodes(steps))
    assert solver.plan(nodes(solver.order)).nfe == solver.order


def test_bad_settings():
    with pytest.raises(ValueError, match="order 4 came"):
        DPMSolverPP(4)
    with pytest.raises(ValueError, match="orders 1 and 2"):
        DPMSolverPPSDE(3)
