"""Grids, tables, noise and `sample` itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trajlab.paths.denoiser import Denoiser, Edm
from trajlab.paths.pfgm import PFGM
from trajlab.paths.schedules import EDM, VE, Rectified, SubVP, VPCosine, VPLinear, VPTable
from trajlab.samplers import grids
from trajlab.samplers.deis import DEIS, ddim
from trajlab.samplers.hooks import Hook
from trajlab.samplers.noise import RowNoise
from trajlab.samplers.quadrature import integrals, lagrange
from trajlab.samplers.sample import sample
from trajlab.samplers.tables import Run, Stage, Table, execute
from trajlab.sources.mixtures import GaussianMixture, gaussian

PATHS = [VPLinear(), VPCosine(), VPTable(), VE(), EDM(), SubVP(), Rectified()]
names = lambda p: type(p).__name__  # noqa: E731


@pytest.fixture
def ring():
    return GaussianMixture.ring()


@pytest.fixture
def x(generator):
    return torch.randn(32, 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("path", PATHS, ids=names)
@pytest.mark.parametrize("make", grids.GRIDS.values(), ids=grids.GRIDS)
def test_a_grid_runs_from_noise_to_data(path, make):
    grid = make(path, 9)
    assert grid.steps == 9
    assert len(grid.levels) == 10
    sigma_over_alpha = [level.rho for level in grid.levels]
    assert sigma_over_alpha == sorted(sigma_over_alpha, reverse=True)
    assert float(grid.lam[0]) == pytest.approx(max(path.ends[0], -7.0), abs=1e-9)
    assert float(grid.lam[-1]) == pytest.approx(min(path.ends[1], 7.0), abs=1e-9)


@pytest.mark.parametrize(("lam", "message"), [
    ([0.0, 1.0, 1.0], "from 1 at node 1 to 1"), ([2.0, 1.0], "noise must decrease"), ([0.0], "at least two nodes"), ([0.0, math.nan], "node 1")])
def test_bad_grids_are_refused(lam, message):
    with pytest.raises(ValueError, match=message):
        grids.explicit(VPLinear(), lam)


def test_bad_bounds_and_ends_are_refused():
    with pytest.raises(ValueError, match="at least one step"):
        grids.uniform_lam(VPLinear(), 0)
    with pytest.raises(ValueError, match="stop must be larger"):
        grids.uniform_t(VPLinear(), 5, start=3.0, stop=1.0)
    with pytest.raises(ValueError, match="did you mean 'denoise'"):
        grids.uniform_lam(VPLinear(), 5, end="denoised")
    with pytest.raises(ValueError, match="within \\[0, 1\\]"):
        grids.at_times(VPLinear(), [0.1, 1.2])
    with pytest.raises(ValueError, match="infinite noise"):
        grids.karras(Rectified(), 5, start=-math.inf)


def test_quadrature_is_exact_for_exponentials_times_polynomials():
    import numpy as np

    # int_0^h e^u u du = (h-1) e^h + 1, with l_j through nodes 0, -1: l_0 = 1 + u, l_1 = -u.
    h = 1.7
    first, second = integrals(np.exp, [0.0, -1.0], 0.0, h)
    moment = (h - 1) * math.exp(h) + 1
    assert first == pytest.approx(math.expm1(h) + moment, rel=1e-14)
    assert second == pytest.approx(-moment, rel=1e-14)
    assert np.allclose(lagrange([0.0, 1.0, 3.0], np.array([0.0, 1.0, 3.0])), np.eye(3))


@pytest.mark.parametrize("path", PATHS, ids=names)
def test_ddim_read_as_noise_and_as_clean_sample_is_the_same(path, ring, x):
    grid = grids.uniform_lam(path, 12)
    start = x * grid.levels[0].sigma
    one = sample(ring.denoiser(path), grid, start, DEIS(1, "eps")).x
    two = sample(ring.denoiser(path), grid, start, DEIS(1, "x0")).x
    torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("path", PATHS, ids=names)
def test_every_path_reaches_the_exact_end(path, ring, x):
    """The end of the ODE does not depend on the path, given the same start in x / alpha."""
    grid = grids.uniform_lam(path, 60, start=-4.0, stop=4.0, end="stop")
    start = x * grid.levels[0].sigma
    found = sample(ring.denoiser(path), grid, start, DEIS(3)).x
    wanted = ring.ode_end(path, start, -4.0, 4.0)
    assert float((found - wanted).norm(dim=1).median()) < 5e-4


@pytest.mark.parametrize(("polynomial", "order", "slope"), [("lam", 1, 1), ("lam", 2, 2), ("lam", 3, 3), ("t", 2, 2), ("t", 3, 3), ("rho", 2, 2),
                                                           ("rho", 3, 3)])
def test_convergence(polynomial, order, slope, generator):
    path = VPLinear()
    wide = GaussianMixture.ring(radial=0.3, tangential=0.3)
    stop = float(path.lam_of(torch.tensor(0.98, dtype=torch.float64)))
    x = torch.randn(64, 2, generator=generator, dtype=torch.float64)
    make = grids.uniform_t if polynomial == "t" else grids.uniform_lam
    wanted = wide.ode_end(path, x, path.ends[0], stop)
    errors = []
    for steps in (80, 160):
        found = sample(wide.denoiser(path), make(path, steps, stop=stop, end="stop"), x, DEIS(order, "eps", polynomial)).x
        errors.append(float((found - wanted).norm(dim=1).median()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(slope, abs=0.25)


def test_a_clean_gaussian_is_reached(generator):
    path = Rectified()
    data = gaussian(torch.tensor([1.0, -1.0]), [[0.5, 0.2], [0.2, 0.3]])
    samples = sample(data.denoiser(path), grids.uniform_lam(path, 40), (4000, 2), generator=generator)
    assert samples.nfe == 41
    torch.testing.assert_close(samples.x.double().mean(0), torch.tensor([1.0, -1.0], dtype=torch.float64), atol=0.05, rtol=0)
    torch.testing.assert_close(samples.x.double().T.cov(), torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64), atol=0.05, rtol=0)


def test_a_start_from_a_shape_has_the_noise_of_its_path():
    """PFGM++ starts from heavy tails, and a grid that starts inside the path from less noise."""
    seen = []
    for path, wanted in ((EDM(), 80.0), (PFGM(augmented=4.0), 80 * math.sqrt(2))):
        denoiser = Denoiser(lambda x, t: (seen.append(x), x)[1] * 0, path)
        sample(denoiser, grids.uniform_lam(path, 2), (4000, 1), ddim(), generator=torch.Generator().manual_seed(0))
        assert float(seen[-3].std()) == pytest.approx(wanted, rel=0.06)
    sample(denoiser, grids.uniform_lam(path, 2, start=0.0), (4000, 1), ddim(), generator=torch.Generator().manual_seed(0))
    assert float(seen[-3].std()) == pytest.approx(math.sqrt(2), rel=0.06)


def test_a_solver_that_reads_noise_says_where_it_cannot_start():
    path = Rectified()
    grid = grids.explicit(path, [-math.inf, 0.0, 2.0])
    data = GaussianMixture.ring()
    with pytest.raises(ValueError, match="alpha = 0"):
        sample(data.denoiser(path), grid, (4, 2), DEIS(2), generator=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(sample(data.denoiser(path), grid, torch.ones(4, 2), DEIS(2, "x0")).x).all())


def test_a_grid_may_end_at_no_noise(ring, x):
    path = VPLinear()
    to_the_end = sample(ring.denoiser(path), grids.explicit(path, [-5.0, -1.0, 1.0, 3.0, math.inf], end="stop"), x, DEIS(3)).x
    denoised = sample(ring.denoiser(path), grids.explicit(path, [-5.0, -1.0, 1.0, 3.0], end="denoise"), x, DEIS(3)).x
    torch.testing.assert_close(to_the_end, denoised)


def test_fewer_steps_than_the_order_are_refused(ring, x):
    with pytest.raises(ValueError, match="order 3 and the grid only 2 steps"):
        sample(ring.denoiser(VPLinear()), grids.uniform_lam(VPLinear(), 2), x, DEIS(3))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="kind"):
        DEIS(2, "v")
    with pytest.raises(ValueError, match="polynomial"):
        DEIS(2, "eps", "tau")
    with pytest.raises(ValueError, match="order 9"):
        DEIS(9)


def test_a_start_that_is_not_finite_is_refused(ring, x):
    x[5, 1] = math.nan
    with pytest.raises(ValueError, match="1 places, first in row 5"):
        sample(ring.denoiser(VPLinear()), grids.uniform_lam(VPLinear(), 5), x)


def test_a_mask_of_the_wrong_shape_is_refused(ring, x):
    with pytest.raises(ValueError, match=r"\(32, 3\).*\(32, 2\)"):
        sample(ring.denoiser(VPLinear()), grids.uniform_lam(VPLinear(), 5), x, mask=torch.ones(32, 3, dtype=torch.bool))


def test_another_path_is_refused(ring, x):
    with pytest.raises(TypeError, match="make the grid on denoiser"):
        sample(ring.denoiser(VPLinear()), grids.uniform_lam(Rectified(), 5), x)


def test_noise_without_a_generator_is_refused(ring):
    with pytest.raises(ValueError, match="pass generator="):
        sample(ring.denoiser(VPLinear()), grids.uniform_lam(VPLinear(), 5), (4, 2))


def test_integers_are_refused(ring):
    with pytest.raises(ValueError, match="floating-point"):
        sample(ring.denoiser(VPLinear()), grids.uniform_lam(VPLinear(), 5), torch.zeros(4, 2, dtype=torch.long))


class TestNoise:
    def test_rows_are_their_own(self):
        like = torch.empty(6, 3, 2)
        whole = RowNoise(torch.Generator().manual_seed(1))
        alone = RowNoise(torch.Generator().manual_seed(1), rows=[4])
        for _ in range(70):  # more than a block
            assert torch.equal(whole.normal(like)[4], alone.normal(like[4:5])[0])

    def test_numbers_are_standard_normal_and_do_not_repeat(self):
        noise = RowNoise(torch.Generator().manual_seed(1))
        drawn = torch.stack([noise.normal(torch.empty(50, 40)) for _ in range(80)])
        assert abs(float(drawn.mean())) < 0.01
        assert float(drawn.std()) == pytest.approx(1, abs=0.01)
        assert len(drawn.flatten().unique()) > 0.99 * drawn.numel()

    def test_another_batch_is_refused(self):
        noise = RowNoise(torch.Generator().manual_seed(1))
        noise.normal(torch.empty(3, 2))
        with pytest.raises(ValueError, match="drawn for 3 rows, and 4 came"):
            noise.normal(torch.empty(4, 2))


class TestHooks:
    def test_they_act_in_order_and_at_their_places(self, ring, x):
        seen = []

        class Tell(Hook):
            def start(self, x, level):
                seen.append("start")
                return x

            def before_model(self, x, level):
                seen.append("before")
                return x

            def on_x0(self, x0, x, level):
                seen.append("x0")
                return x0

            def after_step(self, x, prediction, level):
                seen.append("after")
                return x

        sample(ring.denoiser(VPLinear()), grids.uniform_lam(VPLinear(), 2, end="stop"), x, ddim(), hooks=[Tell()])
        assert seen == ["start", "before", "x0", "after", "before", "x0", "after"]

    def test_what_they_return_is_what_is_used(self, ring, x):
        class Zero(Hook):
            def on_x0(self, x0, x, level):
                return torch.zeros_like(x0)

        out = sample(ring.denoiser(VPLinear()), grids.uniform_lam(VPLinear(), 4), x, hooks=[Zero()]).x
        assert bool((out == 0).all())


def test_a_table_with_inner_points_is_executed_as_written():
    """x' = x by the midpoint rule, written as stages: the net's velocity is read."""
    path = Rectified()
    seen = []
    net = lambda x, t: (seen.append(float(t[0])), x)[1]  # noqa: E731
    k = path.levels(path.lam_of(torch.tensor([0.2, 0.25, 0.3], dtype=torch.float64)))
    stages = (Stage(k[1], k[0], (1.0,), (0.05,), "velocity", node=False), Stage(k[2], k[1], (0.0, 1.0), (0.1,), "velocity"))
    table = Table(k[0], stages)
    start = torch.ones(1, 1, dtype=torch.float64)
    out = execute(table, Run(Denoiser(net, path, "velocity")), start)
    assert table.nfe == 2
    assert table.depth == (2, 1)
    assert seen == pytest.approx([0.2, 0.25])
    assert float(out) == pytest.approx(1 + 0.1 * 1.05, rel=1e-12)
    assert bool((start == 1).all())  # nothing is changed in place


def test_preconditioning_gives_the_posterior_mean_of_standard_normal_data_for_free(x):
    """With sigma_data = 1 and a net that returns zero, D = c_skip x is exact for N(0, I)."""
    for path in PATHS:
        denoiser = Denoiser(lambda x, t: torch.zeros_like(x), path, precondition=Edm(1.0))
        level = path.level(0.3)
        wanted = gaussian(torch.zeros(2), torch.eye(2, dtype=torch.float64)).denoiser(path)(x, level).x0
        torch.testing.assert_close(denoiser(x, level).x0, wanted)


def test_a_watcher_sees_every_node(ring, x):
    nodes: list[Tensor] = []
    grid = grids.uniform_lam(VPLinear(), 6)
    result = sample(ring.denoiser(VPLinear()), grid, x, watch=lambda step: nodes.append(step.level.lam), trace=True)
    assert nodes[:6] == pytest.approx(grid.lam[1:].tolist())
    assert math.isinf(nodes[6])
    assert [step.index for step in result.trace] == list(range(7))


def test_gradients_are_kept_only_where_the_start_asks_for_them(x):
    net = torch.nn.Linear(2, 2).double()
    denoiser = Denoiser(lambda x, t: net(x), VPLinear())
    grid = grids.uniform_lam(VPLinear(), 4)
    assert not sample(denoiser, grid, x).x.requires_grad
    sample(denoiser, grid, x.requires_grad_(True)).x.sum().backward()
    assert net.weight.grad is not None
    assert x.grad is not None
