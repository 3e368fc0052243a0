"""Growth: two branches of which one is doubled, identities of the rates, and bad input."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.couplings.sinkhorn import SinkhornConfig, sinkhorn
from trajlab.couplings.unbalanced import birth_death, branch_ratio, grow, grown, growth_rates, nearest


def branches(distance: float, n: int = 100, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two branches at a distance, both moving by 1 along the other axis; the second has twice the cells afterwards."""
    generator = torch.Generator().manual_seed(seed)
    cloud = lambda k: 0.4 * torch.randn(k, 2, generator=generator, dtype=torch.float64)  # noqa: E731
    off, up = torch.tensor([[distance, 0.0], [0.0, 1.0]], dtype=torch.float64)
    return torch.cat([cloud(n), cloud(n) + off]), torch.cat([cloud(n) + up, cloud(2 * n) + off + up])


def relaxed(distance: float, spread: float, rho: float):
    x, y = branches(distance)
    return sinkhorn(-torch.cdist(x, y) ** 2 / (2 * spread**2), None, None, SinkhornConfig(1e-5, rho=(rho, math.inf)))


@pytest.mark.parametrize(("distance", "spread", "rho", "ratio"), [
    (1, 0.3, 1.0, 1.42), (2, 0.3, 10.0, 1.67), (2, 0.3, 1.0, 1.95), (2, 0.6, 10.0, 1.25), (2, 0.6, 1.0, 1.70), (4, 0.3, 1.0, 2.0), (4, 0.6, 0.1, 2.0),
    (2, 0.6, math.inf, 1.0)])
def test_the_doubled_branch_grows_as_measured(distance, spread, rho, ratio):
    """Means over large samples; branches of 100 cells scatter by about 0.05."""
    plan = relaxed(distance, spread, rho)
    a = torch.full((200,), 1 / 200, dtype=torch.float64)
    assert branch_ratio(plan, slice(100, None), slice(0, 100), a) == pytest.approx(ratio, abs=0.12)


def test_rates_are_relative_unless_sizes_are_known():
    plan, a = relaxed(4, 0.3, 1.0), torch.full((200,), 1 / 200, dtype=torch.float64)
    rates = growth_rates(plan, a, duration=2.0)
    assert float((a * (2 * rates).exp()).sum()) == pytest.approx(1)
    known = growth_rates(plan, a, masses=(100.0, 150.0), duration=2.0)
    torch.testing.assert_close(known - rates, torch.full_like(rates, math.log(1.5) / 2))
    assert float((200 * a * (2 * known).exp()).sum()) == pytest.approx(300)
    torch.testing.assert_close(grown(a, rates, 2.0), plan.P.sum(1) / plan.P.sum(), rtol=1e-6, atol=1e-12)
    shifted = sinkhorn(-torch.cdist(*branches(4)) ** 2 / 0.18 + 3.0, None, None, SinkhornConfig(1e-8, rho=(1.0, math.inf)))
    torch.testing.assert_close(growth_rates(shifted, a, duration=2.0), rates, atol=1e-3, rtol=1e-2)


def test_means_over_neighbours_scatter_less_and_keep_the_branches_apart():
    x, _ = branches(4)
    plan, a = relaxed(4, 0.3, 1.0), torch.full((200,), 1 / 200, dtype=torch.float64)
    single, smooth = growth_rates(plan, a), growth_rates(plan, a, neighbours=nearest(x, 30))
    assert float(smooth[:100].std()) < 0.6 * float(single[:100].std())
    everyone = torch.cat([torch.arange(100).expand(100, -1), torch.arange(100, 200).expand(100, -1)])
    branch = growth_rates(plan, a, neighbours=everyone)
    assert float(branch[150] - branch[50]) == pytest.approx(math.log(2), abs=0.03)


def test_known_growth_makes_a_balanced_plan_right_and_rounds_come_nearer():
    x, y = branches(2)
    kernel, a, b = -torch.cdist(x, y) ** 2 / 0.72, torch.full((200,), 1 / 200, dtype=torch.float64), torch.full((300,), 1 / 300, dtype=torch.float64)
    true = torch.cat([torch.zeros(100), torch.full((100,), math.log(2.0))]).double()
    crossing = []
    for weight in (a, grown(a, true, 1.0)):
        P = sinkhorn(kernel, weight, b).P
        crossing.append(float(P[:100, 100:].sum() + P[100:, :100].sum()))
    assert crossing[1] < 0.4 * crossing[0]
    one, five = (branch_ratio(grow(kernel, a, b, rho=10.0, rounds=k).plan, slice(100, None), slice(0, 100), a) for k in (1, 5))
    assert one < 1.4
    assert one + 0.2 < five < 2.1
    start = grow(kernel, a, b, rho=1.0, rounds=3, rates=true, neighbours=nearest(x, 20))
    assert len(start.history) <= 3
    assert float(start.rates[100:].mean() - start.rates[:100].mean()) == pytest.approx(math.log(2), abs=0.2)


def test_prior_rates_from_scores():
    score = torch.linspace(-2, 2, 41, dtype=torch.float64)
    rates = birth_death(score, torch.zeros(41, dtype=torch.float64))
    assert bool((rates.diff() > 0).all())
    assert float(rates[20]) == pytest.approx(0.0)
    assert float(rates.abs().max()) < 0.7
    with pytest.raises(ValueError, match="two finite scores"):
        birth_death(score, score[:3])
    with pytest.raises(ValueError, match="birth="):
        birth_death(score, score, birth=(2.0, 1.0))


def test_neighbours_are_the_nearest():
    x = torch.tensor([[0.0], [1.0], [1.5], [9.0]], dtype=torch.float64)
    assert nearest(x, 2).tolist() == [[0, 1], [1, 2], [2, 1], [3, 2]]
    assert nearest(torch.zeros(3, 1), 1).flatten().tolist() == [0, 1, 2]
    with pytest.warns(UserWarning, match="all cells are taken"):
        assert nearest(x, 9).shape == (4, 4)
    with pytest.raises(ValueError, match="k=0"):
        nearest(x, 0)


@pytest.mark.parametrize(("change", "match"), [
    ({"a": torch.ones(3)}, "200 positive finite numbers"),
    ({"a": torch.zeros(200)}, "positive"),
    ({"duration": 0.0}, "duration=0.0"),
    ({"masses": (1.0, -2.0)}, "two positive sizes"),
    ({"neighbours": torch.zeros(3, 2, dtype=torch.long)}, "neighbours of shape"),
    ({"neighbours": torch.full((200, 2), 200)}, "from 0 to 199"),
])
def test_bad_questions(change, match):
    with pytest.raises(ValueError, match=match):
        growth_rates(torch.full((200, 4), 1 / 800).double(), **change)


def test_cells_that_send_nothing():
    with pytest.raises(ValueError, match="source cell 1 sends no mass"):
        growth_rates(torch.tensor([[0.5, 0.5], [0.0, 0.0]]), torch.ones(2))
    with pytest.raises(ValueError, match="rounds=0"):
        grow(torch.zeros(2, 2).double(), torch.ones(2).double() / 2, torch.ones(2).double() / 2, rounds=0)
    with pytest.raises(ValueError, match="rates came"):
        grown(torch.ones(2), torch.tensor([0.0, math.nan]), 1.0)
    with pytest.raises(ValueError, match="no cells"):
        branch_ratio(torch.ones(2, 2), slice(0, 0), slice(0, 1))
