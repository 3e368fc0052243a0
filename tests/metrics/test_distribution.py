"""Distances between populations: closed forms, laws, published figures of real cells, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trajlab.metrics.distribution import (
    DISTANCES,
    energy_distance,
    finite_sample_floor,
    mmd,
    sinkhorn_divergence,
    sliced,
    wasserstein,
)


def cloud(n: int, dim: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SPD = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
SHIFT = torch.tensor([3.0, -1.0], dtype=torch.float64)


# transport

def test_w2_of_gaussians_is_the_closed_form():
    """N(0, I) to N(m, A^2), A positive: W2^2 = |m|^2 + |A - I|_F^2; of samples of 600 it is a little more."""
    want = math.sqrt(float((SHIFT**2).sum() + ((SPD - torch.eye(2)) ** 2).sum()))
    assert wasserstein(cloud(600), cloud(600, seed=1) @ SPD + SHIFT, p=2) == pytest.approx(want, rel=0.03)


def test_w2_of_a_monotone_map_is_exact():
    x = cloud(300)
    y = x @ SPD + SHIFT
    assert wasserstein(x, y, 2) == pytest.approx(math.sqrt(float((x - y).square().sum(1).mean())), rel=1e-12)


def test_w1_and_w2_are_what_they_are_called():
    x, y = torch.zeros(2, 1), torch.tensor([[3.0], [4.0]])
    assert wasserstein(x, y, 1) == pytest.approx(3.5)
    assert wasserstein(x, y, 2) == pytest.approx(math.sqrt(12.5))
    assert DISTANCES["W1"](x, y) == pytest.approx(3.5)
    assert DISTANCES["W2"](x, y) == pytest.approx(math.sqrt(12.5))


def test_a_shift_costs_its_length_in_both():
    for p in (1, 2):
        assert wasserstein(cloud(50), cloud(50) + SHIFT, p) == pytest.approx(float(SHIFT.norm()), rel=1e-12)


@pytest.mark.parametrize("p", [1, 2])
def test_transport_is_a_metric(p):
    x, y, z = cloud(40), cloud(30, seed=1) + 1, cloud(50, seed=2)
    assert wasserstein(x, x, p) == 0
    assert wasserstein(x, y, p) == pytest.approx(wasserstein(y, x, p), rel=1e-9)
    assert wasserstein(x, z, p) <= wasserstein(x, y, p) + wasserstein(y, z, p)
    assert wasserstein(x, y, 1) <= wasserstein(x, y, 2)


def test_weights_stand_for_repeats():
    x, y = cloud(5), cloud(6, seed=1)
    assert wasserstein(x, y, 1, a=[2, 1, 1, 1, 1]) == pytest.approx(wasserstein(x[[0, 0, 1, 2, 3, 4]], y, 1), rel=1e-9)


# unbiased distances

def test_energy_distance_is_zero_in_expectation_for_equal_laws():
    d = torch.tensor([energy_distance(cloud(6, 2, 2 * s), cloud(9, 2, 2 * s + 1)) for s in range(400)])
    assert abs(float(d.mean())) < 3 * float(d.std()) / 20
    assert float(d.std()) / 20 < 0.02  # counting cells with themselves would add E|X - X'| (1/6 + 1/9) = .49
    assert 0.3 < float((d < 0).double().mean()) < 0.8


def test_energy_distance_is_the_closed_form():
    """N(0, 1) and N(m, 1): E|Z| of N(m, 2) is 2/sqrt(pi) exp(-m^2/4) + m erf(m/2)."""
    m = 1.5
    want = 2 * (2 / math.sqrt(math.pi) * math.exp(-(m**2) / 4) + m * math.erf(m / 2)) - 4 / math.sqrt(math.pi)
    d = [energy_distance(cloud(800, 1, s), cloud(800, 1, s + 50) + m) for s in range(4)]
    assert sum(d) / 4 == pytest.approx(want, rel=0.05)


def test_energy_distance_of_few_cells_by_hand():
    x, y = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[2.0], [3.0]])
    want = 2 * (2 + 3 + 1 + 2 + 3 + 2) / 6 - 2 * (1 + 5 + 4) / 6 - 1
    assert energy_distance(x, y) == pytest.approx(want)
    assert energy_distance(torch.cat([x, torch.tensor([[99.0]])]), y, a=[1, 1, 1, 0]) == pytest.approx(want)


def test_importance_weights_bring_the_law_back():
    """Cells of N(1, 1) weighted by the density ratio exp(1/2 - x) are cells of N(0, 1), in expectation."""
    d = torch.tensor([[energy_distance(x, cloud(200, 1, s + 100), a=w) for w in ((0.5 - x).exp().flatten(), None)]
                      for s in range(20) for x in [cloud(200, 1, s) + 1]])
    assert abs(float(d[:, 0].mean())) < 0.03
    assert float(d[:, 1].mean()) > 0.4


def test_mmd_is_the_closed_form_and_zero_in_expectation():
    """Gaussian kernel of width h, N(0, 1) and N(m, 1): E k = h / sqrt(h^2 + 2) exp(-m^2 / (2 (h^2 + 2)))."""
    h, m = 1.3, 1.0
    pair = lambda shift: h / math.sqrt(h**2 + 2) * math.exp(-(shift**2) / (2 * (h**2 + 2)))  # noqa: E731
    of = lambda s, shift, n: mmd(cloud(n, 1, s), cloud(n, 1, s + 1000) + shift, bandwidth=h, scales=(1.0,))  # noqa: E731
    d = torch.tensor([of(s, m, 300) for s in range(40)])
    assert float(d.mean()) == pytest.approx(2 * pair(0) - 2 * pair(m), abs=3 * float(d.std()) / math.sqrt(40))
    assert float(d.std()) / math.sqrt(40) < 0.01
    d = torch.tensor([of(s, 0.0, 8) for s in range(300)])
    assert abs(float(d.mean())) < 3 * float(d.std()) / math.sqrt(300)
    assert float(d.std()) / math.sqrt(300) < 0.01


def test_mmd_mixes_scales_and_takes_the_median_for_its_width():
    x, y = cloud(60), cloud(60, seed=1) + 1
    h = float(torch.pdist(torch.cat([x, y])).median())
    want = sum(mmd(x, y, h, (s,)) for s in (0.5, 1.0, 2.0)) / 3
    assert mmd(x, y) == pytest.approx(want, rel=1e-12)
    assert mmd(10 * x, 10 * y) == pytest.approx(want, rel=1e-9)


# entropic and sliced

def test_sinkhorn_divergence_of_a_shift_is_its_square_at_every_temperature():
    x = cloud(60)
    for epsilon in (0.3, 3.0):
        assert sinkhorn_divergence(x, x + SHIFT, epsilon) == pytest.approx(float((SHIFT**2).sum()), rel=1e-4)
    assert sinkhorn_divergence(x, x) == pytest.approx(0, abs=1e-9)


def test_sinkhorn_divergence_goes_to_the_transport_cost():
    x, y = cloud(60), cloud(50, seed=1) + 2
    want = wasserstein(x, y, 2) ** 2
    gaps = [abs(sinkhorn_divergence(x, y, epsilon) - want) for epsilon in (5.0, 0.5, 0.05)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.01 * want
    assert sinkhorn_divergence(x, y, 0.5, a=[0] + [1] * 59) == pytest.approx(sinkhorn_divergence(x[1:], y, 0.5), rel=1e-6)


@pytest.mark.parametrize("p", [1, 2])
def test_sliced_on_a_line_is_transport(p):
    x, y, a = cloud(40, 1), cloud(33, 1, 1) + 1, torch.rand(40, generator=torch.Generator().manual_seed(3))
    assert sliced(x, y, p) == pytest.approx(wasserstein(x, y, p), rel=1e-9)
    assert sliced(x, y, p, a=a) == pytest.approx(wasserstein(x, y, p, a=a), rel=1e-6)


def test_sliced_of_a_shift_in_the_plane():
    """The mean of |<u, m>| over directions is 2 |m| / pi, that of its square |m|^2 / 2."""
    x, size = cloud(30), float(SHIFT.norm())
    assert sliced(x, x + SHIFT, 1, directions=4000) == pytest.approx(2 / math.pi * size, rel=0.02)
    assert sliced(x, x + SHIFT, 2, directions=4000) == pytest.approx(size / math.sqrt(2), rel=0.02)


@pytest.mark.parametrize("name", DISTANCES)
def test_all_are_invariant_to_turns_and_order(name):
    x, y = cloud(40), cloud(40, seed=1) + 1
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    value = DISTANCES[name](x, y)
    assert value > 0
    # sliced has as many directions as it draws
    assert DISTANCES[name](x @ turn, y.flip(0) @ turn) == pytest.approx(value, rel=0.1 if name == "sliced" else 1e-4)


# floors and real cells

def test_the_floor_is_of_disjoint_halves():
    x = torch.arange(20.0)[:, None]
    seen = []

    def spy(one, two):
        seen.append((one, two))
        return 1.0

    assert finite_sample_floor(x, spy, splits=4) == 1.0
    assert len(seen) == 4
    for one, two in seen:
        assert sorted(torch.cat([one, two]).flatten().tolist()) == list(range(20))
    assert not torch.equal(seen[0][0], seen[1][0])
    assert finite_sample_floor(x, "W2", seed=1) == finite_sample_floor(x, "W2", seed=1) != finite_sample_floor(x, "W2", seed=2)
    assert 0 < finite_sample_floor(cloud(400)) < finite_sample_floor(cloud(100))


@pytest.fixture(scope="module")
def bodies(reference):
    """Embryoid bodies, five principal components, each standardised over all cells, 550 cells a time."""
    folder = reference / "cells" / "nlsb_eb"
    if not folder.is_dir():
        pytest.skip(f"needs the embryoid body cells in {folder}, which are not part of the project")
    files = [np.load(folder / f"{part}_rna.npz") for part in ("test", "val")]
    x, time = (np.concatenate([f[key] for f in files]) for key in ("X", "ts"))
    x = (x - x.mean(0)) / x.std(0)
    return [torch.from_numpy(x[time == k, :5]) for k in range(5)]


@pytest.mark.reference
def test_distances_of_embryoid_bodies(bodies):
    copied = [wasserstein(bodies[k - 1], bodies[k]) for k in (1, 2, 3)]
    assert copied == pytest.approx([1.612, 1.400, 0.806], abs=1e-3)
    pooled = [wasserstein(torch.cat([bodies[k - 1], bodies[k + 1]]), bodies[k]) for k in (1, 2, 3)]
    assert pooled == pytest.approx([1.227, 0.906, 1.039], abs=1e-3)
    assert [energy_distance(bodies[k - 1], bodies[k]) for k in (1, 2, 3)] == pytest.approx([1.030, 0.539, 0.088], abs=1e-3)
    floor = [finite_sample_floor(bodies[k]) for k in (1, 2, 3)]
    assert floor == pytest.approx([0.575, 0.713, 0.756], abs=0.08)  # other splits


# bad input

@pytest.mark.parametrize("distance", [*DISTANCES.values(), finite_sample_floor])
def test_bad_populations_are_told(distance):
    x, bad = cloud(6), cloud(6)
    bad[3, 1] = float("nan")
    call = distance if distance is finite_sample_floor else lambda x: distance(x, cloud(6))
    with pytest.raises(ValueError, match="population is nan in row 3, column 1"):
        call(bad)
    with pytest.raises(ValueError, match="population has 0 cells"):
        call(x[:0])
    if distance is not finite_sample_floor:
        with pytest.raises(ValueError, match="2 dimensions and the second 3"):
            distance(x, cloud(6, 3))


def test_bad_settings_are_told():
    x = cloud(6)
    with pytest.raises(ValueError, match="p=3 came; 1"):
        wasserstein(x, x, 3)
    with pytest.raises(ValueError, match="p=0"):
        sliced(x, x, 0)
    with pytest.raises(ValueError, match="has 1 cells; at least 2"):
        energy_distance(x[:1], x)
    with pytest.raises(ValueError, match="one cell holds all the weight"):
        energy_distance(x, x, a=[0, 0, 1, 0, 0, 0])
    with pytest.raises(ValueError, match="median distance is zero"):
        mmd(torch.zeros(4, 1), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="bandwidth=-1"):
        mmd(x, x, -1.0)
    with pytest.raises(ValueError, match="epsilon=-1"):
        sinkhorn_divergence(x, x, -1.0)
    with pytest.raises(ValueError, match="did you mean 'energy'"):
        finite_sample_floor(x, "enery")
    with pytest.raises(ValueError, match="splits=0"):
        finite_sample_floor(x, splits=0)
    with pytest.raises(ValueError, match="has 3 cells; at least 4"):
        finite_sample_floor(x[:3])
