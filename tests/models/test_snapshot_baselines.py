"""Peers between snapshots: laws that all obey, closed forms, published figures of real cells, and bad input."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from trajlab.catalog import load
from trajlab.metrics.distribution import energy_distance, wasserstein
from trajlab.models import SNAPSHOT_METHODS
from trajlab.models.snapshot_baselines import CopyNext, CopyPrevious, ExactInterpolation, Pooled, RandomPairs, gap, without
from trajlab.models.snapshot_baselines_bridge import EntropicBridge
from trajlab.models.snapshot_baselines_cfm import ICFM, OTCFM, SF2M
from trajlab.models.snapshot_baselines_flow import RectifiedFlow, SnapshotInterpolant
from trajlab.models.snapshot_baselines_net import FlowTraining, intervals
from trajlab.types import Snapshots

SHORT = FlowTraining(width=24, iterations=3, batch=16)
FAIR = FlowTraining(width=32, layers=2, iterations=250, batch=64, lr=5e-3)
NETS = [ICFM, OTCFM, SF2M, RectifiedFlow, SnapshotInterpolant]


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def cloud(n: int, dim: int = 2, value: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=seed(value), dtype=torch.float64)


def snapshots(sizes=(30, 25, 35, 30), times=(0.0, 1.0, 2.0, 4.0)) -> Snapshots:
    """Clouds that move by (2, 0) a unit of time."""
    x = torch.cat([cloud(n, value=k) + torch.tensor([2 * t, 0.0]) for k, (n, t) in enumerate(zip(sizes, times))])
    return Snapshots(x, torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)), torch.tensor(times, dtype=torch.float64))


def made(name: str):
    """A method of the table; those with a net hardly trained."""
    method = load(SNAPSHOT_METHODS[name])()
    return type(method)(**{**vars(method), "config": SHORT}) if hasattr(method, "config") else method


# laws

@pytest.mark.parametrize("name", SNAPSHOT_METHODS)
def test_one_seed_gives_one_answer_and_nothing_global_is_touched(name):
    torch.manual_seed(1)
    np.random.seed(1)
    wanted = torch.rand(1), np.random.rand()
    torch.manual_seed(1)
    np.random.seed(1)
    one, two, three = (made(name).left_out(snapshots(), 2, seed(s)) for s in (0, 0, 1))
    assert (torch.rand(1), np.random.rand()) == wanted
    assert torch.equal(one, two)
    assert torch.equal(one, three) == (name in ("copy_previous", "copy_next", "pooled"))
    assert one.dtype == torch.float64
    assert one.shape[1] == 2
    assert bool(torch.isfinite(one).all())


@pytest.mark.parametrize("name", SNAPSHOT_METHODS)
def test_what_is_left_out_is_not_seen(name):
    clean = snapshots()
    spoilt = clean.replace(x=torch.where((clean.snapshot == 1)[:, None], 1e6, clean.x))
    assert torch.equal(made(name).left_out(clean, 1, seed()), made(name).left_out(spoilt, 1, seed()))


@pytest.mark.parametrize("name", SNAPSHOT_METHODS)
def test_two_populations_are_two_snapshots(name):
    x, y = cloud(20), cloud(26, value=1) + 3
    pair = Snapshots(torch.cat([x, y]), torch.tensor([0] * 20 + [1] * 26), torch.tensor([1.0, 3.0], dtype=torch.float64))
    assert torch.equal(made(name).between(x, 1.0, y, 3.0, 1.5, seed()), made(name).at(pair, 1.5, seed()))


@pytest.mark.parametrize("name", [name for name in SNAPSHOT_METHODS if name not in ("copy_next", "pooled")])
def test_at_a_snapshot_it_is_the_snapshot(name):
    s = snapshots(sizes=(30, 30, 30, 30))
    y = made(name).at(s, 1.0, seed())
    assert wasserstein(y, s.at(1)) < 1e-6


@pytest.mark.parametrize("name", SNAPSHOT_METHODS)
def test_cells_of_weight_zero_do_not_matter(name):
    s = snapshots(sizes=(30, 30, 30), times=(0.0, 1.0, 2.0))
    keep = torch.arange(90) % 3 != 0
    few = s.replace(x=s.x[keep], snapshot=s.snapshot[keep], weight=s.weight[keep])
    one, two = (made(name).left_out(v, 1, seed()) for v in (s.replace(weight=keep.double()), few))
    assert torch.allclose(one, two)


def test_leaving_out_keeps_the_rest():
    s = snapshots()
    rest = without(s, 2)
    assert rest.time.tolist() == [0, 1, 4]
    for new, old in ((0, 0), (1, 1), (2, 3)):
        assert torch.equal(rest.at(new), s.at(old))


def test_the_neighbours_of_a_time():
    s = snapshots()
    here = gap(s, 2.5)
    assert (here.index, here.duration, here.s) == (2, 2.0, 0.25)
    assert gap(s, 1.0).index == 1
    assert gap(s, 4.0).s == 1


# null models and interpolation

def test_copies_and_pools():
    s = snapshots()
    assert torch.equal(CopyPrevious().left_out(s, 1, seed()), s.at(0))
    assert torch.equal(CopyNext().left_out(s, 1, seed()), s.at(2))
    assert torch.equal(Pooled().left_out(s, 1, seed()), torch.cat([s.at(0), s.at(2)]))


def test_interpolation_follows_the_clock():
    x = cloud(50)
    moved = x.flip(0) + torch.tensor([4.0, 0])
    for method, time in ((ExactInterpolation(), 0.5), (ExactInterpolation(warp=2), 1.0), (EntropicBridge(0.01, noise=False), 0.5)):
        assert wasserstein(method.between(x, 0.0, moved, 2.0, time, seed()), x + torch.tensor([1.0, 0])) < 1e-3


def test_interpolation_between_weighted_cells_carries_their_mass():
    x, y = torch.tensor([[0.0], [10.0]]), torch.tensor([[2.0]] * 8)
    s = Snapshots(torch.cat([x, y]), torch.tensor([0, 0] + [1] * 8), torch.tensor([0.0, 1.0]), torch.tensor([3.0, 1.0] + [1.0] * 8))
    assert sorted(ExactInterpolation().at(s, 0.5, seed()).flatten().tolist()) == [1.0] * 6 + [6.0] * 2


def test_random_pairs_shrink_the_spread():
    x, y = cloud(2000), cloud(2000, value=1)
    assert float(RandomPairs().between(x, 0.0, y, 1.0, 0.5, seed()).var()) == pytest.approx(0.5, abs=0.04)
    assert float(RandomPairs().between(x, 0.0, x, 1.0, 0.25, seed()).var()) == pytest.approx(0.625, abs=0.04)


@pytest.mark.parametrize(("sigma", "duration"), [(0.5, 2.0), (1.0, 1.0), (1.5, 0.5)])
def test_the_brownian_bridge_between_gaussians_is_the_closed_form(sigma, duration):
    """N(0, 1) to itself with e = sigma^2 T: ends correlate by sqrt(1 + e^2/4) - e/2; the variance in the middle is (1 + correlation)/2 + e/4."""
    e = sigma**2 * duration
    correlation = math.sqrt(1 + e**2 / 4) - e / 2
    grid = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(400, dtype=torch.float64) + 0.5) / 400)[:, None]
    for noise, want in ((False, (1 + correlation) / 2), (True, (1 + correlation) / 2 + e / 4)):
        y = torch.cat([EntropicBridge(sigma, noise).between(grid, 0.0, grid, duration, duration / 2, seed(k)) for k in range(12)])
        assert float(y.var()) == pytest.approx(want, rel=0.05)


# nets

@pytest.mark.parametrize("kind", NETS)
def test_nets_find_a_population_that_moves(kind):
    """Moved by 2 a unit of time, seen at 0, 2 and 3: at 1 the population of 0 moved by 2."""
    s = snapshots((80, 80, 80), (0.0, 2.0, 3.0))
    truth = cloud(400, value=9) + torch.tensor([2.0, 0])
    y = kind(config=FAIR).at(s, 1.0, seed())
    assert float((y.mean(0) - truth.mean(0)).abs().max()) < 0.35
    assert energy_distance(y, truth) < 0.15 < energy_distance(s.at(0), truth)


def test_the_sde_has_the_marginals_of_the_ode():
    x, y = cloud(300), cloud(300, value=1) + torch.tensor([2.0, 0])
    ends = [SF2M(FAIR, sigma=0.6, stochastic=stochastic).between(x, 0.0, y, 1.0, 0.9, seed()) for stochastic in (False, True)]
    assert energy_distance(*ends) < 0.05
    assert not torch.equal(*ends)
    assert float((ends[1].std(0) - 1).abs().max()) < 0.25


def test_reflow_straightens_paths():
    x = cloud(200)
    y = torch.cat([cloud(100, value=1) / 4 + torch.tensor([0, 3.0]), cloud(100, value=2) / 4 - torch.tensor([0, 3.0])])
    s = Snapshots(torch.cat([x, y]), torch.tensor([0] * 200 + [1] * 200), torch.tensor([0.0, 1.0], dtype=torch.float64))
    gaps = []
    for reflows in (0, 1):
        model = RectifiedFlow(FAIR, reflows).fit(s, seed())
        start = intervals(s)[1][0].x0
        whole = model.flow(start, 0.0, 1.0, 20) - start
        gaps.append(float((model.velocity(start, torch.zeros(200)) - whole).square().mean().detach()))
    # along a straight path the first velocity leads to the end; independent pairs first lead all cells to the mean of both groups
    assert gaps[1] < 0.5 * gaps[0]


def test_nets_do_not_see_the_units():
    s = snapshots((40, 40, 40), (0.0, 1.0, 3.0))
    other = Snapshots(s.x * 100 + 7, s.snapshot, s.time * 24 + 5)
    for one, two in ((ICFM(SHORT, sigma=0.1), ICFM(SHORT, sigma=10.0)), (SF2M(SHORT, sigma=0.25), SF2M(SHORT, sigma=25 / math.sqrt(24)))):
        y, z = one.at(s, 2.0, seed()), two.at(other, 53.0, seed())
        assert torch.allclose(y, (z - 7) / 100, atol=1e-4)


# real cells

@pytest.fixture(scope="module")
def bodies(reference) -> Snapshots:
    """Embryoid bodies, five principal components, each standardised over all cells, those left out later included."""
    folder = reference / "cells" / "nlsb_eb"
    if not folder.is_dir():
        pytest.skip(f"needs the embryoid body cells in {folder}, which are not part of the project")
    files = [np.load(folder / f"{part}_rna.npz") for part in ("test", "val")]
    x, time = (np.concatenate([f[key] for f in files]) for key in ("X", "ts"))
    order = np.argsort(time, kind="stable")
    return Snapshots(torch.from_numpy(((x - x.mean(0)) / x.std(0))[order, :5]), torch.from_numpy(time[order]), torch.arange(5.0).double())


def scores(method, bodies: Snapshots, distance) -> list[float]:
    return [distance(method.left_out(bodies, k, seed()), bodies.at(k)) for k in (1, 2, 3)]


@pytest.mark.reference
def test_exact_interpolation_of_embryoid_bodies(bodies):
    method = ExactInterpolation()
    assert scores(method, bodies, wasserstein) == pytest.approx([0.848, 0.884, 0.930], abs=1e-3)
    assert sum(scores(method, bodies, lambda x, y: wasserstein(x, y, 2))) / 3 == pytest.approx(0.978, abs=1e-3)
    assert scores(method, bodies, energy_distance) == pytest.approx([0.162, 0.136, 0.161], abs=1e-3)


@pytest.mark.reference
def test_peers_that_draw_on_embryoid_bodies(bodies):
    assert scores(RandomPairs(), bodies, wasserstein) == pytest.approx([0.894, 1.084, 1.045], abs=0.03)
    assert scores(EntropicBridge(), bodies, wasserstein) == pytest.approx([0.844, 0.890, 0.941], abs=0.02)


# bad input

@pytest.mark.parametrize("name", SNAPSHOT_METHODS)
def test_bad_questions_are_told(name):
    s, method = snapshots(), made(name)
    with pytest.raises(ValueError, match="time 5 was asked for and there are snapshots at 0, 1, 2, 4"):
        method.at(s, 5.0, seed())
    for index in (0, 3, -1, 7):
        with pytest.raises(ValueError, match=f"snapshot {index} of 4 was to be left out.*: 1 to 2"):
            method.left_out(s, index, seed())
    with pytest.raises(ValueError, match="three snapshots are needed"):
        method.left_out(snapshots((5, 5), (0.0, 1.0)), 1, seed())
    bad = cloud(5)
    bad[4, 0] = float("inf")
    with pytest.raises(ValueError, match="second population is inf in row 4, column 0"):
        method.between(cloud(5), 0.0, bad, 1.0, 0.5, seed())
    with pytest.raises(ValueError, match="first population has 0 cells"):
        method.between(cloud(5)[:0], 0.0, bad, 1.0, 0.5, seed())
    with pytest.raises(ValueError, match="2 dimensions and the second 3"):
        method.between(cloud(5), 0.0, cloud(5, 3), 1.0, 0.5, seed())


def test_bad_settings_are_told():
    with pytest.raises(ValueError, match="warp=0"):
        ExactInterpolation(0)
    with pytest.raises(ValueError, match="sigma=0"):
        EntropicBridge(0.0)
    with pytest.raises(ValueError, match="did you mean 'sinkhorn'"):
        SF2M(plan="sinkhron")
    with pytest.raises(ValueError, match="did you mean 'minibatch_ot'"):
        SnapshotInterpolant(coupling="minibatch")
    with pytest.raises(ValueError, match="reflows=-1"):
        RectifiedFlow(reflows=-1)
    with pytest.raises(ValueError, match="iterations=0"):
        FlowTraining(iterations=0)


@pytest.mark.parametrize("kind", [ICFM, OTCFM, SF2M])
def test_a_missing_package_is_told_with_its_extra(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcfm", None)
    monkeypatch.delitem(sys.modules, "torchcfm.conditional_flow_matching", raising=False)
    with pytest.raises(ImportError, match=r"torchcfm: pip install 'trajlab\[dev\]'"):
        kind(SHORT).at(snapshots(), 3.0, seed())
