"""Fates against the absorption solve, drawn paths and plans made by hand; velocity, pseudo-time and growth; all of it in AnnData."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import trajlab as tl
from trajlab.dynamics.bridges import bridge_moments
from trajlab.dynamics.linear_noise import linear_noise
from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.dynamics.references import LinearReference
from trajlab.models.cell_answers import growth_of, neighbour_mean, pseudotime_of, velocity_of
from trajlab.models.fates import Fates, ancestors, descendants, fate, fates, growth, terminal_sets
from trajlab.models.gene_trends import lineage_paths
from trajlab.models.sbirr import SchrodingerBridge, SchrodingerBridgeConfig

SIZES = (7, 5, 9, 6)


def random_plans(generator):
    return [torch.rand(m, n, generator=generator, dtype=torch.float64) ** 4 for m, n in itertools.pairwise(SIZES)]


def members(early):
    found = [torch.zeros(n, 2, dtype=torch.float64) for n in SIZES]
    found[-1][:2, 0] = 1
    found[-1][3:5, 1] = 1  # cells 2 and 5 are in no set
    if early:
        found[1][0, 1] = found[2][4, 0] = found[0][3, 0] = 1
    return found


@pytest.mark.parametrize("early", [False, True])
def test_fates_are_absorption_probabilities(generator, early):
    """(I - Q)^-1 R of the chain over the cells of all snapshots, with one more absorbing state for ending outside."""
    plans, member = random_plans(generator), members(early)
    found = torch.cat(fates(plans, member))
    total, start = sum(SIZES), np.cumsum((0, *SIZES))
    chain = torch.zeros(total, total, dtype=torch.float64)
    for k, plan in enumerate(plans):
        chain[start[k]:start[k + 1], start[k + 1]:start[k + 2]] = plan / plan.sum(1, keepdim=True)
    inside = torch.cat(member)
    outside = (torch.arange(total) >= start[-2]).double() * (1 - inside.sum(1))
    absorbing = (inside.sum(1) + outside) > 0
    Q, R = chain[~absorbing][:, ~absorbing], chain[~absorbing][:, absorbing] @ torch.cat([inside, outside[:, None]], 1)[absorbing]
    solved = torch.linalg.solve(torch.eye(len(Q), dtype=torch.float64) - Q, R)
    assert torch.allclose(found[~absorbing], solved[:, :2], atol=1e-12, rtol=0)
    assert torch.equal(found[absorbing], inside[absorbing])
    assert torch.allclose(1 - found[~absorbing].sum(1), solved[:, 2], atol=1e-12)


def test_descendants_and_ancestors(generator):
    plans, member = random_plans(generator), members(False)
    # fates of one cell are the mass that its descendants have in the sets
    forward = descendants(plans, torch.eye(SIZES[0], dtype=torch.float64)[2], 0)
    assert torch.allclose(forward[-1] @ member[-1], fates(plans, member)[0][2], atol=1e-14)
    # Bayes: with consistent plans, source share x fate is proportional to ancestry
    for k in (1, 2):  # make the chain consistent: each plan's rows have the mass of the last one's columns
        plans[k] = plans[k] * (plans[k - 1].sum(0) / plans[k].sum(1))[:, None]
    back = ancestors(plans, plans[-1].sum(0) * member[-1][:, 0], 3)
    joint = plans[0].sum(1) * fates(plans, member)[0][:, 0]
    assert [len(part) for part in back] == list(SIZES)
    assert torch.allclose(back[0], joint / joint.sum(), atol=1e-13)


def test_cells_without_descendants_have_no_fate(generator):
    plans = random_plans(generator)
    plans[0][3] = 0
    found = fates(plans, members(False))
    assert torch.equal(found[0][3], torch.zeros(2, dtype=torch.float64))
    assert bool(torch.isfinite(found[0]).all())


def test_commitment():
    p = torch.tensor([[1.0, 0], [0.5, 0.5], [0, 1]], dtype=torch.float64)
    assert torch.allclose(Fates(("a", "b"), p, torch.zeros(3, dtype=torch.long)).commitment, torch.tensor([1.0, 0, 1], dtype=torch.float64))


def forked(sigma=0.3, n=40, seed=0, family="brownian", **options):
    """Two branches that part in the second dimension while all move along the first, cells shuffled in AnnData."""
    rng, day = np.random.default_rng(seed), np.tile([0.0, 1.0, 3.0], n)
    side = np.repeat([-1.0, 1.0], 3 * n // 2)
    x = np.stack([day, side * day], 1) + 0.1 * rng.standard_normal((3 * n, 2))
    snapshots = tl.snapshots_from_numpy(x, day)
    how = SchrodingerBridgeConfig(family=family, sigma=sigma, scale="one", **options)
    return SchrodingerBridge(how).fit(snapshots), x, day, side


@pytest.fixture(scope="module")
def fork():
    return forked()


def test_fates_of_a_fork(fork):
    bridge, _, day, side = fork
    labels = np.where(side > 0, "up", "down")
    found = fate(bridge, terminal_sets(bridge.snapshots, labels))
    order = bridge.snapshots.source["cell"]
    late = torch.from_numpy(day[order] >= 1)
    assert found.names == ("down", "up")
    assert float(found.of("up")[late & torch.from_numpy(side[order] > 0)].min()) > 0.95
    assert torch.allclose(found.probability.sum(1), torch.ones(120, dtype=torch.float64))
    assert 0.4 < float(found.at(0)[:, 1].mean()) < 0.6
    # drawn paths end in the sets as often as the fates of the first snapshot say
    _, ends = lineage_paths(bridge, terminal_sets(bridge.snapshots, labels), torch.tensor([0.5, 2.0], dtype=torch.float64), 4000)
    assert float(ends["up"].double().mean()) == pytest.approx(float(found.at(0)[:, 1].mean()), abs=3 * 0.5 / math.sqrt(4000))
    # absorbed early: cells of day 1 are certain
    early = fate(bridge, terminal_sets(bridge.snapshots, labels, last_only=False))
    assert set(early.probability.unique().tolist()) == {0.0, 1.0}


def test_bad_sets(fork):
    bridge = fork[0]
    labels = np.array(["a", "b"] * 60)
    with pytest.raises(ValueError, match="at the last snapshot there is no label 'c'"):
        terminal_sets(bridge.snapshots, labels, ["c"])
    with pytest.raises(ValueError, match="one a row"):
        terminal_sets(bridge.snapshots, labels[:50])
    for sets, message in (({}, "no terminal sets"), ({"a": []}, "has no cells"), ({"a": [0, 999]}, "cells 0 to 999"),
                          ({"a": np.ones(3, dtype=bool)}, "mask of shape"), ({"a": [1], "b": [1]}, "more than one")):
        with pytest.raises(ValueError, match=message):
            fate(bridge, sets)
    with pytest.raises(ValueError, match="did you mean 'up'"):
        fate(bridge, {"up": [119], "down": [118]}).of("upp")
    with pytest.raises(ValueError, match="2 were wanted"):
        fates([bridge.plans[0].P], [torch.zeros(40, 1, dtype=torch.float64)])


def test_velocity_of_a_brownian_bridge_is_a_difference_quotient(fork):
    bridge = fork[0]
    found, s = velocity_of(bridge), bridge.snapshots
    P, Q = (plan.P / plan.P.sum(1, keepdim=True) for plan in bridge.plans)
    last = bridge.plans[1].P
    want = torch.cat([P @ s.at(1) - s.at(0), (Q @ s.at(2) - s.at(1)) / 2, (s.at(2) - (last / last.sum(0)).mT @ s.at(1)) / 2])
    assert torch.allclose(found, want, atol=1e-10)


def test_velocity_is_the_slope_of_the_mean_bridges(generator):
    """For a linear reference with rotation, against differences of the bridges' means over a fine grid."""
    x, y = (torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (6, 5))
    A, b = torch.tensor([[-0.3, 1.1], [-0.7, 0.2]], dtype=torch.float64), torch.tensor([0.4, -0.2], dtype=torch.float64)
    reference = LinearReference(LinearSDE(A, b, torch.tensor([[0.5, 0.1], [0.1, 0.3]], dtype=torch.float64)))
    law = linear_noise(reference, x, 0.8, steps=2000)
    P = torch.rand(6, 5, generator=generator, dtype=torch.float64)
    bridge = SimpleNamespace(
        plans=[SimpleNamespace(P=P)], reference=reference, scale=SimpleNamespace(divisor=torch.tensor([2.0, 3.0], dtype=torch.float64)),
        evidence=SimpleNamespace(laws=[law], intervals=[SimpleNamespace(x=x, y=y)]))
    i, j = (v.flatten() for v in torch.meshgrid(torch.arange(6), torch.arange(5), indexing="ij"))
    pairs, ends = law.of(i), y[j]
    first, before = (bridge_moments(pairs, ends, k).mean for k in (1, 1999))
    out, back = ((first - x[i]) / law.h).reshape(6, 5, 2), ((ends - before) / law.h).reshape(6, 5, 2)
    want = torch.cat([(P[..., None] * out).sum(1) / P.sum(1)[:, None], (P[..., None] * back).sum(0) / P.sum(0)[:, None]])
    assert torch.allclose(velocity_of(bridge), want * bridge.scale.divisor, atol=5e-3)


def test_pseudotime_is_the_time_of_the_state(generator):
    """A front that moves at unit speed: the time of a state is its place, also for cells ahead of their snapshot."""
    day = np.repeat([0.0, 1.0, 3.0], 60)
    rng = np.random.default_rng(0)
    x = np.stack([day + 0.15 * rng.standard_normal(180), 0.05 * rng.standard_normal(180)], 1)
    bridge = SchrodingerBridge(SchrodingerBridgeConfig(family="brownian", sigma=0.1, scale="one")).fit(tl.snapshots_from_numpy(x, day))
    found = pseudotime_of(bridge)
    inner = (day > 0.5) & (day < 2)
    assert np.abs(found.numpy() - np.clip(x[:, 0], 0.1, 2.9)).mean() < 0.12
    assert np.corrcoef(found.numpy()[inner], x[inner, 0])[0, 1] > 0.9
    assert torch.equal(found, pseudotime_of(bridge))


def test_growth_of_known_plans(generator):
    P = torch.rand(4, 3, generator=generator, dtype=torch.float64)
    a = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    found = growth(P, a, 2.0, (100, 250))
    # forwards: weights grown by these rates have the shares of the rows, and the population its size
    grown = 100 * a * (2.0 * found).exp()
    assert torch.allclose(grown / grown.sum(), P.sum(1) / P.sum(), atol=1e-14)
    assert float(grown.sum()) == pytest.approx(250)
    assert torch.allclose(growth(7 * P, a, 2.0), found - math.log(2.5) / 2)
    with pytest.raises(ValueError, match="positive numbers"):
        growth(P, a, 0.0)
    with pytest.raises(ValueError, match="positive numbers"):
        growth(P, a, 1.0, (0, 3))


def test_growth_of_a_branch_that_doubles():
    rng = np.random.default_rng(0)
    start = np.r_[rng.normal((0, -2), 0.4, (60, 2)), rng.normal((0, 2), 0.4, (60, 2))]
    end = np.r_[rng.normal((1, -2), 0.4, (50, 2)), rng.normal((1, 2), 0.4, (100, 2))]
    how = SchrodingerBridgeConfig(family="brownian", sigma=0.3, scale="none", growth=1.0)
    bridge = SchrodingerBridge(how).fit(tl.snapshots_from_numpy([start, end], [0.0, 1.0]))
    rows = bridge.plans[0].P.sum(1)
    assert float(rows[60:].sum() / rows[:60].sum()) == pytest.approx(2.0, rel=0.05)
    found = growth_of(bridge, sizes=(120, 240))
    assert bool(found[120:].isnan().all())
    assert float(found[60:120].mean() - found[:60].mean()) > 0.4
    with pytest.raises(ValueError, match="3 sizes for 2 snapshots"):
        growth_of(bridge, sizes=(1, 2, 3))


def test_neighbour_mean():
    x = torch.tensor([[0.0], [0.1], [5.0], [5.1]], dtype=torch.float64)
    values = torch.tensor([1.0, 3, 10, 20], dtype=torch.float64)
    assert neighbour_mean(x, values, 2).tolist() == [2, 2, 15, 15]
    assert neighbour_mean(x, values, 1) is values
    assert neighbour_mean(x, values, 99).tolist() == [8.5] * 4
