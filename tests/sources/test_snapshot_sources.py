"""Snapshots: generators against the published files and their laws, readers against the shapes and checksums of what is published."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trajlab.sources.bifurcation import Bifurcation, bifurcation, expected_ratio
from trajlab.sources.lotka_volterra import lotka_volterra
from trajlab.sources.repressilator import repressilator, repressilator_proteins
from trajlab.sources.snapshot_vortex import snapshot_vortex
from trajlab.sources.snapshots_cards import FILES, card
from trajlab.sources.snapshots_cells import NAMES, cell_snapshots
from trajlab.sources.snapshots_simulated import SnapshotRecipe, fresh_snapshots


@pytest.fixture(scope="module")
def folder(reference):
    if not (reference / "cells").is_dir():
        pytest.skip(f"needs {reference / 'cells'}, which is not part of the project")
    return reference / "cells"


def alike(a, b, k, tolerance):
    """Means within so many standard errors, spreads within their scatter."""
    x, y = a.at(k), b.at(k)
    error = (x.var(0) / len(x) + y.var(0) / len(y)).sqrt()
    assert bool(((x.mean(0) - y.mean(0)).abs() < tolerance * error).all())
    scatter = math.sqrt(1 / len(x) + 1 / len(y))
    assert bool(((x.std(0) / y.std(0)).log().abs() < tolerance * scatter).all())


@pytest.mark.parametrize(("name", "make", "k"), [
    ("lotka_volterra_2024", lotka_volterra, 4), ("repressilator_2024", repressilator, 5),
    ("lotka_volterra_2025", lambda r: lotka_volterra(SnapshotRecipe(r.times, 200, 0.02, "proportional")), 5),
    ("repressilator_2025", lambda r: repressilator(SnapshotRecipe(r.times, 200, 0.02, "proportional")), 4),
])
def test_generators_follow_the_published_recipe(folder, name, make, k):
    there = cell_snapshots(name, folder)
    recipe = SnapshotRecipe(there.time[: k + 1].tolist(), int((there.snapshot == 0).sum()))
    made = make(recipe)
    for index in (0, k):
        alike(made, there, index, 4.5)
    with pytest.raises(AssertionError):  # and would tell: the noise doubled
        alike(fresh_noise(made, k), there, k, 4.5)


def fresh_noise(snapshots, k):
    middle = snapshots.at(k).mean(0)
    return snapshots.replace(x=middle + 3 * (snapshots.x - middle))


def test_every_snapshot_has_cells_of_its_own():
    """An Ornstein-Uhlenbeck process: the law at each time, no correlation from one snapshot to the next."""
    recipe = SnapshotRecipe((0.5, 1.0), 4000, 0.8, step=5e-3)
    seen = fresh_snapshots(lambda x: -x, (1.0,), (1.0,), recipe)
    for k, time in enumerate(recipe.times):
        variance = 0.32 * (1 - math.exp(-2 * time))
        assert float(seen.at(k).mean()) == pytest.approx(math.exp(-time), abs=0.03)
        assert float(seen.at(k).var()) == pytest.approx(variance, rel=0.07)
    assert abs(float(np.corrcoef(seen.at(0)[:, 0], seen.at(1)[:, 0])[0, 1])) < 0.06
    again = fresh_snapshots(lambda x: -x, (1.0,), (1.0,), recipe)
    assert torch.equal(seen.x, again.x)


def test_proportional_noise_is_that_of_a_geometric_motion():
    seen = fresh_snapshots(torch.zeros_like, (2.0,), (2.0,), SnapshotRecipe((1.0,), 5000, 0.4, "proportional", step=1e-2))
    logs = (seen.x / 2).log()
    assert float(logs.mean()) == pytest.approx(-0.08, abs=0.02)
    assert float(logs.std()) == pytest.approx(0.4, rel=0.05)


def test_elliptic_vortex_turns_as_its_law_says():
    still = SnapshotRecipe((0.0, 1.0, 3.0), 20, sigma=0.0)
    strength, x0, y0, stretch = theta = (0.9, 0.05, 0.0, -0.1)
    seen = snapshot_vortex(still, theta=theta)
    energy = lambda x: math.exp(-stretch) * (x[:, 1] - y0) ** 2 + (x[:, 0] - x0) ** 2  # noqa: E731
    spread = [energy(seen.at(k)).mean() for k in range(3)]
    assert float(spread[2]) == pytest.approx(float(spread[0]), rel=0.05)  # closed orbits
    omega = strength * math.exp(-stretch / 2)
    start = seen.at(0).mean(0)
    expected_y = start[1] * math.cos(omega * 3) - (start[0] - x0) * math.exp(stretch / 2) * math.sin(omega * 3)
    assert float(seen.at(2).mean(0)[1]) == pytest.approx(float(expected_y), abs=0.03)
    sheared = snapshot_vortex(SnapshotRecipe((0.0, 6.0), 60, 0.0), "lamb_oseen")
    assert float(sheared.at(1).std(0).max()) > 2 * float(sheared.at(0).std(0).max())


def test_proteins_are_not_seen_and_delay_the_cycle():
    recipe = SnapshotRecipe((0.0, 2.0), 30, 0.02, "proportional", step=5e-3)
    assert repressilator_proteins(recipe).x.shape == (60, 3)
    assert float((repressilator_proteins(recipe).at(1).mean(0) - repressilator(recipe).at(1).mean(0)).abs().max()) > 0.5


def test_the_growing_branch_grows_at_the_stated_rate():
    recipe = Bifurcation(times=(0.0, 4.0), cells=1500, birth=0.6, sigma=0.25, step=2e-2, seed=3)
    end = bifurcation(recipe).at(1)
    upper, lower = int((end[:, 1] > 0).sum()), int((end[:, 1] < 0).sum())
    assert upper / lower == pytest.approx(expected_ratio(recipe, 4.0), rel=0.15)
    assert expected_ratio(recipe, 0.5) == 1
    none = bifurcation(Bifurcation(times=(0.0, 3.0), cells=200, birth=0.0, step=2e-2))
    assert len(none.at(1)) == 200
    assert bifurcation(recipe).source["birth"] == 0.6


@pytest.mark.parametrize(("name", "sizes", "dim"), [
    ("embryoid", [550] * 5, 100), ("hesc", [92, 102, 66, 172, 138], 5), ("haematopoiesis", [1429, 3781, 5788], 2), ("pbmc", [500] * 21, 30),
    ("gulf_vortex_2024", [111] * 9, 2), ("gulf_vortex_2025", [200] * 11, 2), ("three_genes", [400, 433, 518, 682, 914], 3),
])
def test_readers(folder, name, sizes, dim):
    seen = cell_snapshots(name, folder)
    assert seen.snapshot.bincount().tolist() == sizes
    assert (seen.x.shape[1], seen.x.dtype) == (dim, torch.float64)


def test_embryoid_bodies_standardised_and_not(folder):
    raw = cell_snapshots("embryoid", folder, components=5)
    assert float(raw.x[:, 0].mean()) == pytest.approx(52.2, abs=0.05)  # not centred
    assert float(raw.at(0)[:, 0].mean()) == pytest.approx(55.06, abs=0.01)
    scaled = cell_snapshots("embryoid", folder, components=5, standardise=True)
    assert torch.allclose(scaled.x.std(0, correction=0), torch.ones(5, dtype=torch.float64))
    with pytest.raises(ValueError, match="components=101"):
        cell_snapshots("embryoid", folder, components=101)


def test_times_and_scales_are_those_of_the_authors(folder):
    assert cell_snapshots("hesc", folder).time.tolist() == [0, 12, 24, 36, 72]
    there, between = cell_snapshots("pbmc", folder), cell_snapshots("pbmc", folder, between=True)
    assert torch.allclose(between.time, (there.time[1:] + there.time[:-1]) / 2)
    middle = (there.at(4).mean(0) + there.at(5).mean(0)) / 2
    assert float((between.at(4).mean(0) - middle).norm() / (there.at(0).mean(0) - there.at(20).mean(0)).norm()) < 0.3


def test_a_changed_pickle_is_not_opened(tmp_path):
    (tmp_path / "hESC_data.npy").write_bytes(b"\x93NUMPY, but not that one")
    with pytest.raises(ValueError, match=r"not the hESC_data.npy of the card"):
        cell_snapshots("hesc", tmp_path)


def test_cards_and_bad_input(tmp_path):
    for name in FILES:
        one = card(name)
        assert len(one.sha256) == 64
        assert one.url.endswith(name)
        assert all((one.licence, one.citation, one.size))
    with pytest.raises(ValueError, match="did you mean 'hesc'"):
        cell_snapshots("hesd", tmp_path)
    with pytest.raises(ValueError, match="did you mean"):
        card("LV_data.npx")
    with pytest.raises(FileNotFoundError, match="pass folder=None to download"):
        cell_snapshots(NAMES[0], tmp_path)
    for wrong in ({"times": (1.0, 1.0)}, {"times": (1.0,), "cells": 0}, {"times": (1.0,), "sigma": -1}, {"times": ()}, {"times": (-1.0,)}):
        with pytest.raises(ValueError, match="were wanted"):
            SnapshotRecipe(**wrong)
    with pytest.raises(ValueError, match="smaller step"):
        fresh_snapshots(lambda x: x**3, (50.0,), (60.0,), SnapshotRecipe((1.0,), 3, step=1e-2))
    with pytest.raises(ValueError, match="beta, gamma and delta"):
        lotka_volterra(theta=(1.0,))
    with pytest.raises(ValueError, match="did you mean 'elliptic'"):
        snapshot_vortex(law="eliptic")
    with pytest.raises(ValueError, match="Bifurcation: times"):
        Bifurcation(times=(1.0, 0.0))
