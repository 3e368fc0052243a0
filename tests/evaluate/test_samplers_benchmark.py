"""The measures of samplers on problems small enough to know the answer, and the benchmark program in small."""

from __future__ import annotations

import math
import time
import tomllib
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from benchmark_files import load

from trajlab.catalog import find
from trajlab.evaluate import samplers as measure
from trajlab.paths.schedules import Rectified, VPLinear, VPTable
from trajlab.samplers.deis import DEIS, ddim
from trajlab.samplers.grids import at_times, uniform_lam
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def ring() -> measure.Problem:
    return measure.Problem.make("ring", GaussianMixture.ring(), VPTable(), torch.Generator().manual_seed(0), 16)


@pytest.fixture(scope="module")
def program():
    pytest.importorskip("diffusers")
    found = load("samplers")
    found.STARTS, found.FRESH = 16, 32
    return found


@pytest.fixture
def plan():
    return tomllib.loads((BENCHMARKS / "samplers.toml").read_text())


def test_error_is_the_median_distance_and_the_exact_end_has_none(ring):
    assert ring.error(ring.end) == 0
    assert ring.error(ring.end + torch.tensor([3.0, 4.0])) == pytest.approx(5)
    assert ring.error(ring.end * math.nan) == math.inf
    one_lost = ring.end.clone()
    one_lost[0] = math.nan
    assert ring.error(one_lost) == 0
    assert ring.distances(one_lost)[0] == math.inf


def test_a_path_without_a_start_is_refused():
    with pytest.raises(ValueError, match="finite start"):
        measure.Problem.make("x", GaussianMixture.ring(), Rectified(), torch.Generator())


def test_grid_for_uses_all_calls_it_may():
    path = VPTable()
    for calls in (5, 10):
        nodes = measure.grid_for(ddim(), path, "uniform_lam", calls)
        assert nodes is not None
        assert nodes.steps == calls - 1, "one call is the denoising one"
    assert measure.grid_for(DEIS(3), path, "uniform_lam", 3) is None, "three steps and a denoising call are four"


def test_convergence_sees_the_order():
    path = VPLinear()
    smooth = GaussianMixture.ring(radial=0.3, tangential=0.3)
    problem = measure.Problem.make("x", smooth, path, torch.Generator().manual_seed(0), 64, float(path.level_at(0.98).lam))
    steps = (40, 80, 160)
    for solver, order in [(ddim(), 1), (DEIS(2), 2), (DEIS(3), 3)]:
        errors = measure.convergence(problem, solver, "uniform_lam", steps)
        assert measure.slope(errors, steps) == pytest.approx(order, abs=0.15)


def test_slope_by_hand():
    assert measure.slope([9.0, 8.0, 1.0], [1, 2, 4]) == pytest.approx(3)


def test_kinds_of_solvers():
    path, known = VPTable(), measure.solvers()
    many = {name for name, solver in known.items() if measure.is_multistep(solver, path)}
    assert {"deis", "ipndm", "pndm_f", "pndm_s", "dpmpp_2m", "dpmpp_3m", "unipc", "unipc_x0"} <= many
    assert not {"ddim", "edm_heun", "rho_rk4", "dpmpp_2s", "dpm_solver_3s"} & many
    noisy = {name for name, solver in known.items() if measure.draws(solver, path)}
    assert {"ancestral", "reverse_sde", "predictor_corrector", "annealed_langevin", "dpmpp_sde_2m"} <= noisy
    assert not {"ddim", "deis", "unipc", "edm_heun", "dpm_solver_23"} & noisy


def test_medians_time_the_second_part_alone():
    def slow():
        time.sleep(0.001)
        return lambda: sum(range(20_000))

    found = measure.medians({"much": slow, "little": lambda: lambda: sum(range(200))}, repeats=5)
    assert found["much"] > 10 * found["little"] > 0


def test_bare_run_executes_the_table():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    grid = uniform_lam(VPTable(), 6)
    assert torch.allclose(measure.bare_run(ddim(), grid, x)()(), x / grid.levels[0].alpha, rtol=1e-4), "without noise the state only grows with alpha"


def test_ddim_of_diffusers_agrees_with_ours_at_its_own_times(ring, program):
    """An independent implementation, on the same nodes: index n is t = 1 - n / 999."""
    peer = program.peers.Peer("DDIMScheduler", {"timestep_spacing": "trailing"})
    index = peer.ready(10).timesteps
    nodes = at_times(ring.path, 1 - index.double() / 999)
    ours = sample(ring.mixture.denoiser(ring.path), nodes, ring.start.float(), ddim())
    theirs, calls = program.peers.error_of(peer, ring, 10)
    assert ours.nfe == calls == 10
    assert ring.error(ours.x) == pytest.approx(theirs, rel=1e-3)


def test_every_peer_runs_or_says_how_it_fails(ring, program):
    for name, peer in program.peers.PEERS.items():
        value, calls = program.attempt(lambda: program.peers.error_of(peer, ring, 9))  # noqa: B023
        assert isinstance(value, float), (name, value)
        assert calls == 9, name
    failed, calls = program.attempt(lambda: program.peers.error_of(program.peers.Peer("NoSuchScheduler"), ring, 5))
    assert failed.startswith("AttributeError: module diffusers has no attribute NoSuch")
    assert calls == 0
    assert program.cell(math.inf, 5, 5) == "not finite"
    assert program.cell(0.12345, 7, 8) == "0.123 (7)"


def test_tables_and_bars_in_small(program, plan, capsys, monkeypatch):
    monkeypatch.setattr(program.measure, "solvers", lambda: {n: find(n, "samplers")() for n in ("ddim", "deis", "dpmpp_2m", "dpm_solver_12")})
    plan |= {"calls": [5, 10], "mixtures": 1, "every_grid": []}
    found: dict = {}
    options = Namespace(seed=0, repeats=1, plots=None)
    assert program.errors(plan, options, found) == []
    assert program.defaults(plan, options, found) == [], "the default misses a bar"
    plan["bars"] |= {"ddim": 1e-6, "step_us": 1e-6, "dpmpp_share": 1e-6}
    assert [s.split(":")[0] for s in program.defaults(plan, options, found)] == ["error over that of ddim"]
    assert len(program.overhead(plan, options, found)) == 4, "two bars for two multistep solvers"
    out = capsys.readouterr().out
    for piece in ("trajlab: deis, uniform_lam", "diffusers: UniPC2 bh1", "not finite", "dpm_solver_12", "us a step"):
        assert piece in out


def test_orders_in_small(program, plan, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(program, "STEPS_OF_ORDERS", (20, 40))
    plan["orders"] = {"ddim": {"grid": "uniform_lam", "order": 1}, "deis": {"grid": "uniform_lam", "order": 1}, "nosuch": {"grid": "uniform_lam"}}
    lost = program.orders(plan, Namespace(seed=0, plots=tmp_path), {})
    assert [s.split(":")[0] for s in lost] == ["deis", "nosuch"], "a wrong order, and what is not there, are missed"
    assert (tmp_path / "samplers-orders.svg").read_text().count("<path") > 5
    assert "mean distance" in capsys.readouterr().out


def test_search_in_small(program, plan, capsys, monkeypatch):
    monkeypatch.setattr(program.measure, "solvers", lambda: {n: find(n, "samplers")() for n in ("ddim", "deis")})
    plan["search"] = {"population": 12, "generations": 3}
    plan["bars"]["search"] = 1e6
    assert len(program.search(plan, Namespace(seed=0), {})) == 2, "both problems miss an impossible bar"
    assert "held-out" in capsys.readouterr().out
