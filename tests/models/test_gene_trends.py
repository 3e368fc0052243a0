"""Penalised splines with known answers, and trends of lineages that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import trajlab as tl
from trajlab.data.adapters.anndata_genes import GeneMap
from trajlab.models.gene_trends import gene_trends, spline
from trajlab.models.sbirr import SchrodingerBridge, SchrodingerBridgeConfig

T = np.linspace(-1, 2, 200)
ONE = np.ones(200)


def test_cubics_are_kept_and_stiff_splines_are_lines():
    cubic = np.stack([T**3 - T, 2 * T + 1], 1)
    free = spline(T, cubic, ONE, T, penalty=1e-9)
    assert np.allclose(free.mean, cubic, atol=1e-5)
    stiff = spline(T, cubic, ONE, T, penalty=1e9)
    assert np.allclose(stiff.mean[:, 0], np.polyval(np.polyfit(T, cubic[:, 0], 1), T), atol=1e-4)
    assert np.allclose(stiff.mean[:, 1], cubic[:, 1], atol=1e-6)


def test_weights_choose_and_count():
    time, weight = np.r_[T, T], np.r_[ONE, 0 * ONE]
    mixed = np.r_[np.sin(T), np.full(200, 9.0)][:, None]
    only = spline(T, np.sin(T)[:, None], ONE, T)
    found = spline(time, mixed, weight, T)
    assert np.allclose(found.mean, only.mean, atol=1e-8)
    assert np.allclose(found.error, only.error, atol=1e-8)
    doubled = spline(time, np.r_[np.sin(T), np.cos(T)][:, None], np.r_[3 * ONE, ONE], T, penalty=1e-3)
    assert np.allclose(doubled.mean[:, 0], spline(T, (0.75 * np.sin(T) + 0.25 * np.cos(T))[:, None], ONE, T, penalty=1e-3).mean[:, 0], atol=1e-8)


def test_chosen_penalty_smooths_noise_and_bands_hold():
    rng, truth = np.random.default_rng(0), np.sin(3 * T)
    noisy = truth[:, None] + 0.3 * rng.standard_normal((200, 60))
    found = spline(T, noisy, ONE, T)
    assert np.sqrt(((found.mean - truth[:, None]) ** 2).mean()) < 0.09  # 0.3 sqrt(10 / 200) = 0.07 for the whole basis
    inside = np.abs(found.mean - truth[:, None]) < 2 * found.error
    assert 0.88 < inside.mean() < 0.99
    straight = spline(T, T[:, None] + 0.3 * rng.standard_normal((200, 60)), ONE, T)
    assert np.median(straight.penalty) > 100 * np.median(found.penalty)


@pytest.mark.parametrize(("change", "message"), [
    ({"weight": -ONE}, "non-negative"), ({"weight": 0 * ONE}, "does no cell have this fate"), ({"values": T}, r"\[row gene\]"),
    ({"values": np.full((200, 1), np.nan)}, "not finite"), ({"knots": 0}, "knots=0"), ({"penalty": -1.0}, "penalty=-1"),
])
def test_bad_splines(change, message):
    with pytest.raises(ValueError, match=message):
        spline(**{"time": T, "values": T[:, None], "weight": ONE, "at": T, **change})


@pytest.fixture(scope="module")
def fork():
    rng, day = np.random.default_rng(0), np.tile([0.0, 1.0, 2.0], 60)
    side = np.repeat([-1.0, 1.0], 90)
    x = np.stack([day, side * day], 1) + 0.05 * rng.standard_normal((180, 2))
    snapshots = tl.snapshots_from_numpy(x, day)
    return SchrodingerBridge(SchrodingerBridgeConfig(family="brownian", sigma=0.2, scale="none")).fit(snapshots), np.where(side > 0, "up", "down")


def test_trends_of_a_fork(fork):
    """The second gene goes up on one branch and down on the other, the third is their sum with time."""
    bridge, labels = fork
    c = 2**-0.5
    loadings, mean = torch.tensor([[c, 0.0], [0.0, 1.0], [c, 0.0]], dtype=torch.float64), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    genes = GeneMap(loadings, mean, ("g", "h", "k"))
    sets = tl.terminal_sets(bridge.snapshots, labels)
    for terminal in (sets, tl.fate(bridge, sets)):
        found = gene_trends(bridge, genes, ["h", "k"], terminal, n=300)
        for name, sign in (("up", 1.0), ("down", -1.0)):
            trend = found[name]
            assert trend.names == ("h", "k")
            assert trend.mean.shape == (50, 2)
            late = trend.time > 0.9  # before, cells of both fates are alike
            assert np.abs(trend.mean[late, 0] - sign * trend.time[late]).max() < 0.15, name
            assert np.abs(trend.mean[:, 1] - (1 + c * trend.time)).max() < 0.1, name


def test_bad_trends(fork):
    bridge, labels = fork
    genes = GeneMap(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), ("a", "b", "c"))
    sets = tl.terminal_sets(bridge.snapshots, labels)
    with pytest.raises(ValueError, match="loadings of 3 dimensions for snapshots of 2"):
        gene_trends(bridge, genes, ["a"], sets)
    with pytest.raises(ValueError, match="no gene 'd'"):
        gene_trends(bridge, genes, ["d"], sets)
