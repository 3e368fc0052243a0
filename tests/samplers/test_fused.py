"""The compiled execution of tables: equal to the plain loop, never writing into what a user holds, and out of the way where it cannot serve."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from trajlab import catalog
from trajlab.paths.denoiser import Denoiser, Edm
from trajlab.paths.prediction import Prediction
from trajlab.paths.schedules import VPTable
from trajlab.samplers import fused, tables
from trajlab.samplers.deis import DEIS
from trajlab.samplers.dpm_solver_pp import dpmpp_2m, dpmpp_3m
from trajlab.samplers.edm import edm_churn
from trajlab.samplers.grids import uniform_lam
from trajlab.samplers.hooks import Hook
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.sample import sample
from trajlab.samplers.solver import Solver, planned
from trajlab.samplers.tables import Run, Stage, Table
from trajlab.samplers.unipc import UniPC, unipc_x0
from trajlab.sources.mixtures import GaussianMixture

PATH = VPTable()
MIXTURE = GaussianMixture.smooth_paths(torch.Generator().manual_seed(0))
EXACT = MIXTURE.denoiser(PATH)
START = torch.randn(6, *MIXTURE.event, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
#: Of samples, and of states on the way, which in float32 depend on rounding more.
ON_THE_WAY = {torch.float32: 2e-4, torch.float64: 1e-11}
EQUAL = {torch.float32: 3e-6, torch.float64: 1e-12}


class Exact:
    """The mixture's denoiser, with a raw prediction of any kind, or as a preconditioned net has it."""

    def __init__(self, kind, path=PATH, mixture=EXACT):
        self.kind, self.path, self.exact, self.seen = kind, path, mixture, []

    def __call__(self, x, level):
        found = self.exact(x, level)
        self.seen.append((x, x.clone()))
        if self.kind != "preconditioned":
            return Prediction(x, level, self.kind, found.view(self.kind))
        edm = Edm(0.7)
        _, skip, out = edm.weights(level)
        return Prediction.read(x, level, edm, (found.x0 - skip * x) / out)


def a_run(denoiser, **more):
    return Run(denoiser, noise=RowNoise(torch.Generator().manual_seed(3)), **more)


def apart(a, b):
    return float((a - b).abs().max() / b.abs().max())


def plans(steps=12):
    found = {}
    for name in sorted(catalog.table("samplers")):
        try:
            found[name] = catalog.find(name, "samplers")().plan(uniform_lam(PATH, steps))
        except NotImplementedError:
            continue
    return found


PLANS = plans()


@pytest.fixture(autouse=True)
def always(monkeypatch):
    monkeypatch.setattr(fused, "SMALLEST", 0)


def both(plan, kind, x):
    one, two = a_run(Exact(kind)), a_run(Exact(kind))
    assert fused.serves(plan, one, x)
    return fused.execute(plan, one, x), tables.loop(plan, two, x), one, two


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", ["eps", "x0", "v", "preconditioned"])
@pytest.mark.parametrize("name", sorted(PLANS))
def test_equals_the_plain_loop(name, kind, dtype):
    quick, plain, one, two = both(PLANS[name], kind, START.to(dtype))
    assert quick.dtype == dtype
    assert quick.shape == plain.shape
    assert apart(quick, plain) < EQUAL[dtype]
    assert (one.nfe, one.nodes) == (two.nfe, two.nodes)
    for (a, _), (b, _) in zip(one.denoiser.seen, two.denoiser.seen, strict=True):
        assert apart(a, b) < ON_THE_WAY[dtype]


@pytest.mark.parametrize("kind", ["score", "velocity"])
@pytest.mark.parametrize("solver", [DEIS(order=5), UniPC(order=5), UniPC(order=2, weights="bh1"), dpmpp_3m(), edm_churn()], ids=str)
@pytest.mark.parametrize("end", ["stop", "denoise"])
def test_other_orders_readings_and_ends(solver, kind, end):
    quick, plain, *_ = both(solver.plan(uniform_lam(PATH, 9, stop=3.0, end=end)), kind, START)
    assert apart(quick, plain) < 1e-12


def test_every_shape_of_stage():
    """Tables at random: stages without calls, several readings of a prediction, zero weights, noise, unused states."""
    g, levels = torch.Generator().manual_seed(5), PATH.levels(torch.linspace(-2, 2, 9))
    draw = lambda n: tuple(0.0 if w < -0.8 else float(w) for w in torch.randn(n, generator=g, dtype=torch.float64))  # noqa: E731
    pick = lambda n: int(torch.randint(n, (), generator=g))  # noqa: E731
    for _ in range(60):
        stages = []
        for k in range(8):
            called = levels[k] if k == 0 or pick(3) else None
            stages.append(Stage(levels[k + 1], called, draw(pick(4)), draw(pick(6)), ("eps", "x0", "v")[pick(3)], (0.0, 0.0, 0.7)[pick(3)]))
        plan = Table(levels[0], tuple(stages))
        for kind in ("eps", "preconditioned"):
            quick, plain, *_ = both(plan, kind, START)
            torch.testing.assert_close(quick, plain, rtol=1e-10, atol=1e-10 * float(plain.abs().max()))


def test_a_stage_without_terms_is_zero():
    levels = PATH.levels([0.0, 1.0])
    plan = Table(levels[0], (Stage(levels[1], levels[0], (), (0.0,)),))
    assert bool((both(plan, "x0", START)[0] == 0).all())


@pytest.mark.parametrize("solver", [DEIS(), dpmpp_2m(), UniPC(), unipc_x0()], ids=str)
def test_nothing_that_is_held_is_written_to(solver):
    outputs, start = [], START.clone()

    class Keeping(Exact):
        def __call__(self, x, level):
            found = super().__call__(x, level)
            outputs.append((found.raw, found.raw.clone()))
            return found

    denoiser = Keeping("eps")
    first = sample(denoiser, uniform_lam(PATH, 12), start, solver).x
    kept = first.clone()
    sample(Exact("eps"), uniform_lam(PATH, 12), -start, solver)
    assert torch.equal(start, START)
    assert torch.equal(first, kept)
    assert all(torch.equal(a, b) for a, b in denoiser.seen + outputs)


def test_a_net_may_return_one_tensor_every_time_or_its_input():
    still = torch.ones_like(START)
    for net in (lambda x, t: still, lambda x, t: x):
        denoiser = Denoiser(net, PATH, "eps")
        plan = UniPC(kind="x0").plan(uniform_lam(PATH, 12))
        assert apart(fused.execute(plan, Run(denoiser), START), tables.loop(plan, Run(denoiser), START)) < 1e-12
    assert bool((still == 1).all())


@pytest.mark.parametrize("how", ["transposed", "other precision", "strided"])
def test_outputs_in_any_layout(how):
    change = {
        "transposed": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
        "other precision": lambda x: x.float(),
        "strided": lambda x: torch.stack([x, x + 1], -1)[..., 0],
    }[how]
    x, plan = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64), DEIS().plan(uniform_lam(PATH, 8))

    class Laid:
        path = PATH

        def __call__(self, x, level):
            return Prediction(x, level, "eps", change(torch.sin(x)))

    assert apart(fused.execute(plan, Run(Laid()), x), tables.loop(plan, Run(Laid()), x)) < 1e-6


@pytest.mark.parametrize("first", ["eps", "preconditioned"])
def test_a_denoiser_that_changes_its_kind_on_the_way(first):
    class Changing(Exact):
        def __call__(self, x, level):
            self.kind = first if level.lam < 0 else "v"
            return super().__call__(x, level)

    plan = unipc_x0().plan(uniform_lam(PATH, 12))
    assert apart(fused.execute(plan, Run(Changing("x0")), START), tables.loop(plan, Run(Changing("x0")), START)) < 1e-11


def test_where_it_does_not_serve(monkeypatch):
    plan, x = DEIS().plan(uniform_lam(PATH, 12)), START.clone()
    run = Run(EXACT)
    assert fused.serves(plan, run, x)
    assert not fused.serves(plan, Run(EXACT, hooks=(Hook(),)), x)
    assert not fused.serves(plan, Run(EXACT, mask=torch.ones_like(x)), x)
    assert not fused.serves(plan, Run(EXACT, watch=print), x)
    assert not fused.serves(plan, run, x.clone().requires_grad_())
    assert not fused.serves(plan, run, x.transpose(0, 3))
    assert not fused.serves(plan, run, torch.nn.Parameter(x, requires_grad=False))
    assert not fused.serves(plan, run, x.to("meta"))
    tensors = replace(plan, stages=(replace(plan.stages[0], states=(torch.ones(6, 1, 1, 1),)), *plan.stages[1:]))
    assert not fused.serves(tensors, run, x)
    late = replace(plan, stages=(replace(plan.stages[0], level=None, predictions=()), *plan.stages[1:]))
    assert not fused.serves(late, run, x)
    monkeypatch.setattr(fused, "SMALLEST", x.numel() * len(plan.stages) + 1)
    assert not fused.serves(plan, run, x)
    monkeypatch.setattr(fused, "SMALLEST", 0)
    monkeypatch.setattr(fused, "kernel", lambda: None)
    assert not fused.serves(plan, run, x)
    assert bool(torch.isfinite(tables.execute(plan, run, x)).all())


def test_derivatives_go_through_the_plain_loop():
    grid = uniform_lam(PATH, 6)
    net = lambda x, t: torch.sin(x)  # noqa: E731
    f = lambda x: sample(Denoiser(net, PATH, "eps"), grid, x, DEIS()).x  # noqa: E731
    x, way = START, torch.ones_like(START)
    plan = DEIS().plan(grid)
    _, tangent = torch.func.jvp(lambda x: tables.execute(plan, Run(Denoiser(net, PATH, "eps")), x), (x,), (way,))
    step = 1e-6
    assert apart(tangent, (f(x + step * way) - f(x - step * way)) / (2 * step)) < 1e-6
    mapped = torch.func.vmap(lambda x: tables.execute(plan, Run(Denoiser(net, PATH, "eps")), x))(torch.stack([x, 2 * x]))
    assert apart(mapped[1], f(2 * x)) < 1e-10
    y = x.clone().requires_grad_()
    f(y).sum().backward()
    assert apart(y.grad, tangent) < 1e-10  # sin acts on each number alone: the gradient of the sum is the derivative along ones


def test_a_reading_that_is_not_determined_is_refused():
    plan = DEIS(kind="eps").plan(uniform_lam(PATH, 8))
    clean = replace(plan.stages[0].level, alpha=1.0, sigma=0.0)
    wrong = replace(plan, stages=(replace(plan.stages[0], level=clean), *plan.stages[1:]))
    with pytest.raises(ValueError, match="eps cannot be had from x0"):
        fused.execute(wrong, Run(Denoiser(lambda x, t: x, PATH, "x0")), START)


def test_a_prediction_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \(6, 1, 1, 2\) for a state of shape \(6, 1, 8, 2\)"):
        sample(Denoiser(lambda x, t: x[:, :, :1], PATH, "eps"), uniform_lam(PATH, 8), START, DEIS())


def test_runs_at_once_do_not_meet():
    grid, starts = uniform_lam(PATH, 12), [START * s for s in (1.0, -0.5, 2.0, 0.1)]
    alone = [sample(Exact("v"), grid, x, unipc_x0()).x for x in starts]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            at_once = list(pool.map(lambda x: sample(Exact("v"), grid, x, unipc_x0()).x, starts))
            assert all(torch.equal(a, b) for a, b in zip(alone, at_once))


def test_an_inner_run_inside_a_net():
    plan = DEIS().plan(uniform_lam(PATH, 6))

    class Nested(Exact):
        def __call__(self, x, level):
            fused.execute(plan, Run(Exact("x0")), x)
            return super().__call__(x, level)

    assert torch.equal(fused.execute(plan, Run(Nested("eps")), START), fused.execute(plan, Run(Exact("eps")), START))


def test_a_grid_keeps_its_tables():
    grid = uniform_lam(PATH, 12)
    assert planned(DEIS(), grid) is planned(DEIS(), grid)
    assert planned(DEIS(order=2), grid) is not planned(DEIS(), grid)
    assert planned(DEIS(), uniform_lam(PATH, 12)) is not planned(DEIS(), grid)
    assert planned(DEIS(), grid.ended("stop")).nfe == planned(DEIS(), grid).nfe - 1
    for other in (pickle.loads(pickle.dumps(grid)), copy.deepcopy(grid)):
        assert torch.equal(other.lam, grid.lam)
        assert not vars(other)["_tables"]
    for order in range(1, 7):
        for polynomial in ("lam", "t", "rho"):
            for kind in ("eps", "x0"):
                assert planned(DEIS(order, kind, polynomial), grid).nfe == 13
    assert len(vars(grid)["_tables"]) <= 32


def test_a_solver_that_may_change_is_planned_anew():
    class Mine(Solver):
        order = 1

        def plan(self, grid):
            return DEIS(order=self.order).plan(grid)

    grid, solver = uniform_lam(PATH, 12), Mine()
    first = planned(solver, grid)
    solver.order = 3
    assert len(planned(solver, grid).stages[5].predictions) == 3 != len(first.stages[5].predictions)


def test_the_compiler_is_loaded_only_when_it_is_worth_it():
    code = ("import sys, torch; from trajlab.samplers.sample import sample; from trajlab.samplers.grids import uniform_lam; "
            "from trajlab.paths.schedules import VPTable; from trajlab.paths.denoiser import Denoiser; p = VPTable(); "
            "d = Denoiser(lambda x, t: x, p, 'eps'); sample(d, uniform_lam(p, 20), torch.ones(8, 5, 4, 3)); assert 'numba' not in sys.modules; "
            "sample(d, uniform_lam(p, 20), torch.ones(64, 20, 8, 3)); assert 'numba' in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_folder_for_what_is_compiled(monkeypatch):
    from trajlab.samplers import fused_kernels

    compile_ = fused_kernels.numba.njit

    def full(*given, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(*given, **options)

    monkeypatch.setattr(fused_kernels.numba, "njit", full)
    assert len(fused_kernels.compiled().signatures) == 2
