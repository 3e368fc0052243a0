"""Solver schedules: known solvers are schedules, orders of convergence, the step to the clean end, JSON."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.paths.schedules import VPLinear, VPTable
from trajlab.samplers.deis import DEIS
from trajlab.samplers.grids import explicit, karras, uniform_lam
from trajlab.samplers.sample import sample
from trajlab.samplers.solver_schedule import Decision, SolverSchedule, step_weights
from trajlab.sources.mixtures import GaussianMixture

PATH = VPTable()
RING = GaussianMixture.ring()


def start(n=16, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["eps", "x0"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_full_and_exact_is_deis(kind, order):
    grid = karras(PATH, 6)
    one = sample(RING.denoiser(PATH), grid, start(), DEIS(order, kind)).x
    other = sample(RING.denoiser(PATH), grid, start(), SolverSchedule((Decision(1.0, kind, order),))).x
    torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-10)


def test_simple_scaling_of_second_order_is_dpmpp_2m():
    """x_t = (sigma_t/sigma_s) x + alpha_t (1 - e^-h) [(1 + 1/2r) D0 - 1/2r D1] with r the last step over this one (Lu et al. 2022)."""
    past, s, t = PATH.levels([-1.0, 0.2, 1.9])
    weight, weights = step_weights(Decision(kind="x0", order=2, scaling="simple"), [s, past], s, t)
    h, r = t.lam - s.lam, (s.lam - past.lam) / (t.lam - s.lam)
    front = t.alpha * (1 - math.exp(-h))
    assert weight == pytest.approx(t.sigma / s.sigma)
    assert weights == pytest.approx([front * (1 + 0.5 / r), -front * 0.5 / r], rel=1e-10)


@pytest.mark.parametrize("kind", ["eps", "x0"])
@pytest.mark.parametrize("scaling", ["exact", "simple"])
@pytest.mark.parametrize("estimate", ["full", "low"])
def test_constant_predictions_are_integrated_exactly(kind, scaling, estimate):
    """Whatever the choices, equal predictions give the first-order step, for the clean end too."""
    *past, s = PATH.levels([-3.0, -1.0, 0.5])
    for t in PATH.levels([2.0, math.inf]):
        decision = Decision(kind=kind, order=3, scaling=scaling, estimate=estimate)
        first = step_weights(Decision(kind=kind, order=1), [s], s, t)[1]
        assert sum(step_weights(decision, [s, *past[::-1]], s, t)[1]) == pytest.approx(first[0], rel=1e-10)


def test_low_estimate_is_taylor_with_lowest_differences():
    """p = e0 + D u + D2 u^2: the slope is the first difference alone, without the correction that Lagrange makes."""
    c, b, s, t = PATH.levels([-3.0, -1.2, 0.5, 1.4])
    full, low = (step_weights(Decision(estimate=e), [s, b, c], s, t)[1] for e in ("full", "low"))
    u, h = [0.0, b.lam - s.lam, c.lam - s.lam], t.lam - s.lam
    e = [0.3, -0.8, 1.7]
    second = ((e[2] - e[1]) / (u[2] - u[1]) - (e[1] - e[0]) / u[1]) / u[2]
    # - sigma_t int_0^h e^(h-u) u du
    moment = -t.sigma * (math.exp(h) - 1 - h)
    difference = sum((a - b) * w for a, b, w in zip(low, full, e))
    assert difference == pytest.approx(second * u[1] * moment, rel=1e-9)


def slope(decision, steps=(40, 80)):
    mixture = GaussianMixture.ring(radial=0.3, tangential=0.3)
    path = VPLinear()
    lam = path.lam_of(torch.tensor([0.0, 0.98], dtype=torch.float64)).tolist()
    x = start() * path.level(lam[0]).sigma
    end = mixture.ode_end(path, x, *lam)
    errors = []
    for n in steps:
        got = sample(mixture.denoiser(path), uniform_lam(path, n, *lam, end="stop"), x, SolverSchedule((decision,))).x
        errors.append(float((got - end).norm()))
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize(
    ("decision", "order"),
    [
        (Decision(order=2, kind="x0", scaling="simple"), 2.0),
        (Decision(order=3), 3.0),
        (Decision(order=3, estimate="low"), 2.0),
        (Decision(order=1, corrector=True), 2.0),
        (Decision(order=2, corrector=True), 3.0),
        (Decision(order=2, corrector=True, kind="x0"), 3.0),
    ],
    ids=lambda d: f"{d.kind}-{d.order}-{d.estimate}-{d.scaling}-{d.corrector}" if isinstance(d, Decision) else "",
)
def test_order_of_convergence(decision, order):
    assert slope(decision) == pytest.approx(order, abs=0.35)


def test_correctors_cost_no_call():
    grid = uniform_lam(PATH, 7)
    for corrector in (False, True):
        solver = SolverSchedule((Decision(corrector=corrector),))
        assert solver.plan(grid).nfe == 8
        assert sample(RING.denoiser(PATH), grid, start(), solver).nfe == 8


def test_the_step_to_the_clean_end_integrates_to_sigma_0():
    """int_0^inf e^-u (e0 + u [01] + u (u - u1) [012]) du = e0 + [01] + (2 - u1) [012]."""
    c, b, s = PATH.levels([-1.0, 0.6, 1.8])
    (clean,) = PATH.levels([math.inf])
    u1, u2 = b.lam - s.lam, c.lam - s.lam
    e = [0.4, -0.3, 1.1]
    first, second = (e[1] - e[0]) / u1, ((e[2] - e[1]) / (u2 - u1) - (e[1] - e[0]) / u1) / u2
    weight, weights = step_weights(Decision(order=3), [s, b, c], s, clean)
    assert weight == pytest.approx(1 / s.alpha)
    assert sum(w * v for w, v in zip(weights, e)) == pytest.approx(-s.rho * (e[0] + first + (2 - u1) * second), rel=1e-10)
    assert step_weights(Decision(order=3, kind="x0"), [s, b, c], s, clean) == (0.0, [1.0, 0.0, 0.0])


def test_own_grid():
    steps = (Decision(2.0), Decision(1.0), Decision(0.5))
    clean = SolverSchedule(steps, start=-3.5, stop=3.5)
    assert clean.grid(PATH).lam.tolist() == pytest.approx([-3.5, 0.5, 2.5, math.inf])
    assert clean.plan(clean.grid(PATH)).nfe == clean.nfe == 3
    stopped = SolverSchedule(steps, start=-3.5, stop=3.5, clean=False)
    assert stopped.grid(PATH).lam.tolist() == pytest.approx([-3.5, 0.5, 2.5, 3.5])
    assert stopped.plan(stopped.grid(PATH)).nfe == 3
    # A last width of 0 puts the last call at the end of the range.
    assert SolverSchedule((Decision(), Decision(0.0)), -3.0, 3.0).grid(PATH).lam.tolist() == pytest.approx([-3, 3, math.inf])


def test_there_and_back_in_json():
    schedule = SolverSchedule((Decision(0.3, "x0", 2, "low", True, "simple"), Decision()), start=-4.0, clean=False)
    assert SolverSchedule.from_json(schedule.to_json()) == schedule
    assert hash(SolverSchedule.from_json(schedule.to_json())) == hash(schedule)


def test_bad_input():
    for wrong, message in (
        ({"kind": "esp"}, "did you mean 'eps'"),
        ({"order": 9}, "order 9"),
        ({"width": -1.0}, "width -1"),
        ({"width": math.nan}, "width nan"),
        ({"scaling": "B"}, "no scaling"),
    ):
        with pytest.raises(ValueError, match=message):
            Decision(**wrong)
    with pytest.raises(ValueError, match="at least one decision"):
        SolverSchedule(())
    with pytest.raises(ValueError, match="step 0 has width 0"):
        SolverSchedule((Decision(0.0), Decision()))
    with pytest.raises(ValueError, match="decides 2 steps and the grid has 5"):
        SolverSchedule((Decision(), Decision())).plan(uniform_lam(PATH, 5))
    with pytest.raises(ValueError, match="cannot start at alpha = 0"):
        SolverSchedule().plan(explicit(PATH, [-math.inf, 0.0, 1.0]))
    for text in ("{}", "[1]", '{"decisions": [{"width": 1, "colour": 2}]}', "nonsense"):
        with pytest.raises(ValueError):
            SolverSchedule.from_json(text)
