import math

import numpy as np
import pytest
import torch
from samplers.ring_of_modes import FIRST, LAST, MIXTURE, PATH, errors, nodes, slope, start

from trajlab.paths.schedules import Rectified, VPCosine, VPTable
from trajlab.samplers.deis import DEIS
from trajlab.samplers.dpm_solver import DPMSolver, DPMSolverFast, fast_orders, phi
from trajlab.samplers.grids import Grid, at_times, explicit, karras, uniform_lam
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture, gaussian


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("z", [0.0, 1e-8, -1e-3, 0.499, -0.501, 2.0, -9.0])
def test_phi(k, z):
    u, w = np.polynomial.legendre.leggauss(40)
    u, w = (u + 1) / 2, w / 2
    assert phi(k, z) == pytest.approx(float((w * np.exp((1 - u) * z) * u ** (k - 1)).sum()) / math.factorial(k - 1), rel=1e-13)


@pytest.mark.parametrize(("solver", "order"), [(DPMSolver(1), 1), (DPMSolver(2), 2), (DPMSolver(2, r1=0.8), 2), (DPMSolver(3), 3),
                                               (DPMSolver(3, r1=0.5), 3), (DPMSolver(3, r2=0.6), 2)])
def test_error_falls_at_its_order(solver, order):
    assert slope(solver) == pytest.approx(order, abs=0.15)


def test_third_order_does_not_depend_on_the_grid():
    found = []
    exact = MIXTURE.ode_end(PATH, start(16), FIRST, LAST)
    for steps in (40, 80):
        x = sample(MIXTURE.denoiser(PATH), karras(PATH, steps, FIRST, LAST, "stop"), start(16), DPMSolver(3)).x
        found.append(float((x - exact).norm(dim=1).median()))
    assert math.log2(found[0] / found[1]) == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize("kind", ["eps", "x0"])
def test_first_order_is_ddim(kind):
    x = sample(MIXTURE.denoiser(PATH), nodes(7, "denoise"), start(), DPMSolver(1, kind)).x
    torch.testing.assert_close(x, sample(MIXTURE.denoiser(PATH), nodes(7, "denoise"), start(), DEIS(1)).x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["eps", "x0"])
@pytest.mark.parametrize("path", [PATH, VPCosine()], ids=["linear", "cosine"])
def test_standard_normal_data_stay_where_they_are(kind, path):
    data = gaussian(torch.zeros(2), torch.eye(2)).denoiser(path)
    moved = [float((sample(data, uniform_lam(path, n, -3.0, 3.0, "stop"), start(), DPMSolver(3, kind)).x - start()).abs().max()) for n in (25, 50)]
    assert moved[1] < 3e-4
    assert math.log2(moved[0] / moved[1]) == pytest.approx(3, abs=0.25)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_calls(order):
    out = sample(MIXTURE.denoiser(PATH), nodes(5, "denoise"), start(), DPMSolver(order), trace=True)
    assert out.nfe == 5 * order + 1
    assert len(out.trace) == 6
    assert out.trace[1].level.lam == pytest.approx(float(nodes(5).lam[2]))


def test_plan_of_fast():
    assert [fast_orders(n) for n in (1, 2, 3, 4, 5, 6)] == [[1], [2], [2, 1], [3, 1], [3, 2], [3, 2, 1]]
    assert [fast_orders(n) for n in (9, 10, 11)] == [[3, 3, 2, 1], [3, 3, 3, 1], [3, 3, 3, 2]]
    assert all(sum(fast_orders(n)) == n and len(fast_orders(n)) == n // 3 + 1 for n in range(1, 40) if n > 2)


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("calls", [1, 2, 3, 7, 12])
def test_fast_makes_as_many_calls_as_there_are_intervals(calls, even):
    solver = DPMSolverFast(even=even)
    assert solver.plan(nodes(calls)).nfe == calls
    assert solver.plan(nodes(calls, "denoise")).nfe == calls + 1
    stages = solver.plan(nodes(calls)).stages
    assert stages[-1].to.lam == pytest.approx(LAST)
    made = [FIRST] + [s.to.lam for s in stages if s.node]
    steps = fast_orders(calls)
    wanted = np.cumsum([0, *steps]) / calls if not even else np.arange(len(steps) + 1) / len(steps)
    np.testing.assert_allclose((np.array(made) - FIRST) / (LAST - FIRST), wanted, atol=1e-12)


@pytest.mark.parametrize("even", [True, False])
def test_fast_has_steps_of_its_orders(even):
    # 47 calls are fifteen steps of order 3 and one of order 2, no first-order step among them.
    assert float(errors(DPMSolverFast(even=even), 47).median()) < float(errors(DPMSolver(2), 24).median()) / 5


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("steps", [2, 3, 9])
def test_fast_from_pure_noise_to_no_noise(steps, even):
    path = Rectified()
    grid = at_times(path, torch.linspace(0, 1, steps + 1), "stop")
    out = sample(MIXTURE.denoiser(path), grid, start(), DPMSolverFast("x0", even))
    assert out.nfe == steps
    assert bool(torch.isfinite(out.x).all())
    if steps == 9:
        assert float(out.x.norm(dim=1).mean()) == pytest.approx(1.0, abs=0.25)


def test_last_step_to_no_noise_gives_the_clean_prediction():
    grid = nodes(6)
    whole = Grid(PATH, torch.cat([grid.lam, torch.tensor([math.inf])]), "stop")
    for solver in (DPMSolver(2), DPMSolver(3, "x0")):
        a, b = (sample(MIXTURE.denoiser(PATH), g, start(), solver) for g in (grid.ended("denoise"), whole))
        torch.testing.assert_close(a.x, b.x, rtol=1e-12, atol=1e-12)
        assert a.nfe == b.nfe


def test_long_steps_are_taken_at_first_order_where_asked():
    assert DPMSolver(3, longest=0.1).plan(nodes(5)).nfe == 5
    assert DPMSolver(3, longest=2.0).plan(nodes(5)).nfe == 15
    mixed = explicit(PATH, [-5.0, -3.0, -2.5, -2.0], "stop")
    assert DPMSolver(2, longest=math.log(3)).plan(mixed).nfe == 1 + 2 + 2


def test_two_calls_a_step_explode_from_high_noise_in_noise_prediction_alone():
    path, ring = VPTable(), GaussianMixture.ring()
    first, last = path.ends
    exact = ring.ode_end(path, start(), first, math.inf)
    found = [float((sample(ring.denoiser(path), uniform_lam(path, 2, first, last), start(), solver).x - exact).norm(dim=1).median())
             for solver in (DPMSolver(2), DPMSolver(2, longest=math.log(3)), DPMSolver(2, "x0"))]
    assert found[0] > 2 > 4 * found[1]
    assert found[1] > 4 * found[2]


@pytest.mark.parametrize(("settings", "words"), [({"order": 4}, "orders 1, 2 and 3"), ({"kind": "v"}, "kind for DPM-Solver"),
                                                ({"r1": 0.7}, "0 < r1 < r2"), ({"order": 2, "r1": 0.0}, "0 < r1"), ({"r2": 1.2}, "r2 = 1.2"),
                                                ({"longest": 0.0}, "longest = 0")])
def test_bad_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        DPMSolver(**settings)


def test_bad_input():
    with pytest.raises(ValueError, match="kind for DPM-Solver-fast"):
        DPMSolverFast("score")
    with pytest.raises(ValueError, match="at least one"):
        fast_orders(0)
    noise = at_times(Rectified(), [0.0, 0.5, 0.9])
    for solver in (DPMSolver(2), DPMSolverFast()):
        with pytest.raises(ValueError, match="cannot start at alpha = 0"):
            solver.plan(noise)
