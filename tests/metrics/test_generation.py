"""Marginal scores against densities known by hand, and their invariances."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.metrics.generation import bond_marginal, density, marginal, marginal_score, pair_marginal
from trajlab.types import Trajectories


def clouds(scenes=200, nodes=3, frames=5, dim=3, wide=1.0, seed=0, shift=0.0):
    x = wide * torch.randn(scenes * nodes, frames, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift
    return Trajectories(x=x, time=torch.arange(float(frames)).expand(scenes, -1).double(), scene=torch.arange(scenes).repeat_interleave(nodes))


def turned(trajectories, angle=0.5):
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, -1.0]]).double()
    return trajectories.replace(x=trajectories.x @ turn + 4.0)


def test_density_by_hand():
    values = torch.tensor([0.0, 0.1, 0.6, 1.0, 7.0])
    assert density(values, 0.0, 1.0, 2).tolist() == pytest.approx([2 / 5 / 0.5, 2 / 5 / 0.5])  # 1 is in the last bin, 7 in none


def test_marginal_by_hand():
    real = torch.tensor([0.0, 0.25, 0.75, 1.0])
    assert marginal(real, real, bins=2) == 0
    assert marginal(real, torch.tensor([0.1, 0.2]), bins=2) == pytest.approx(1.0)
    assert marginal(real, torch.tensor([5.0, 6.0]), bins=2) == pytest.approx(1.0)
    uniform = torch.linspace(0, 1, 10_001)
    assert marginal(uniform, uniform.square()[uniform > 0], bins=4) == pytest.approx(sum(
        abs(4 * (math.sqrt((k + 1) / 4) - math.sqrt(k / 4)) - 1) for k in range(4)) / 4, abs=2e-3)  # density of u^2: 1/(2 sqrt x)


def test_same_law_is_at_the_noise_and_others_are_above():
    real = clouds()
    for score in (marginal_score, pair_marginal):
        floor = score(real, clouds(seed=1))
        assert 0 < floor < 0.3 * score(real, clouds(seed=2, wide=2.0))


def test_a_shift_counts_only_if_not_centred():
    real, moved = clouds(), clouds(seed=1, shift=1.0)
    assert marginal_score(real, moved) == pytest.approx(marginal_score(real, clouds(seed=1)), abs=1e-9)
    assert marginal_score(real, moved, centre=False) > 3 * marginal_score(real, moved)


def test_each_frame_alone_sees_what_pooling_hides():
    real, other = clouds(), clouds(seed=1)
    grow = torch.linspace(0.5, 1.5, 5)[:, None].double()
    real, other = real.replace(x=real.x * grow), other.replace(x=other.x * grow.flip(0))
    assert marginal_score(real, other) < 0.5 * marginal_score(real, other, per="frame")


def test_pair_distances_turn_shift_and_permute():
    real, other = clouds(), clouds(seed=1, wide=1.3)
    order = torch.arange(600).reshape(200, 3).flip(1).flatten()
    moved = turned(other).replace(x=turned(other).x[order])
    assert pair_marginal(real, moved) == pytest.approx(pair_marginal(real, other), abs=1e-9)
    assert marginal_score(real, moved) != pytest.approx(marginal_score(real, other), abs=1e-6)


def molecules(stretch=1.0, seed=0, scenes=100, kinds=(8, 1, 1)):
    generator = torch.Generator().manual_seed(seed)
    base = torch.tensor([[0.0, 0, 0], [0.96 * stretch, 0, 0], [-0.24, 1.5, 0]]).double()
    x = base[:, None].repeat(scenes, 4, 1) + 0.02 * torch.randn(3 * scenes, 4, 3, generator=generator, dtype=torch.float64)
    return Trajectories(x=x, time=torch.arange(4.0).expand(scenes, -1).double(), scene=torch.arange(scenes).repeat_interleave(3),
                        kind=torch.tensor(kinds).repeat(scenes))


def test_bonds_one_by_one():
    real = molecules()
    floor, far = bond_marginal(real, molecules(seed=1), bins=10), bond_marginal(real, molecules(1.5, seed=1), bins=10)
    assert floor < 0.3 * far
    first, second = (bond_marginal(real, molecules(1.5, seed=1), torch.tensor([[0], [k]]), bins=10) for k in (1, 2))
    assert far == pytest.approx((first + second) / 2)  # O-H and O-H, not the pair of hydrogens at 1.9
    assert first > 5 * second
    assert bond_marginal(real, turned(molecules(1.5, seed=1)), bins=10) == pytest.approx(far)


def test_hidden_entries_change_nothing():
    real, other = clouds(), clouds(seed=1)
    mask = torch.rand(600, 5, generator=torch.Generator().manual_seed(4)) > 0.3
    wild = lambda fill: other.replace(x=torch.where(mask[..., None], other.x, fill), mask=mask)  # noqa: E731
    for score in (marginal_score, pair_marginal):
        assert score(real, wild(math.nan)) == score(real, wild(3.0))
        assert score(wild(math.nan), real) == score(wild(3.0), real)
        assert score(real, wild(0.0)) != score(real, other)
        third = torch.arange(600) % 3 == 2
        fewer = clouds(nodes=2).replace(x=other.x[~third])
        assert score(real, other.replace(mask=~third[:, None].expand(-1, 5))) == pytest.approx(score(real, fewer))


def test_bad_input():
    real = clouds()
    with pytest.raises(ValueError, match="3 dimensions and the generated 2"):
        marginal_score(real, clouds(dim=2))
    with pytest.raises(ValueError, match="5 frames and the generated 4"):
        marginal_score(real, clouds(frames=4), per="frame")
    with pytest.raises(ValueError, match="no pairs of nodes"):
        pair_marginal(clouds(nodes=1), real)
    with pytest.raises(ValueError, match="which has no density"):
        marginal(torch.ones(3), torch.ones(3))
    with pytest.raises(ValueError, match=r"no bonds to compare"):
        bond_marginal(molecules(), molecules(), cutoff=0.1)
    with pytest.raises(ValueError, match="other elements"):
        bond_marginal(molecules(), molecules(kinds=(1, 8, 1)))
    with pytest.raises(ValueError, match="whole and of the same molecule"):
        bond_marginal(molecules(), molecules().replace(mask=torch.rand(300, 4) > 0.5))
