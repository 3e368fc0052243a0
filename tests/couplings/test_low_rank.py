"""Low-rank plans: their rank, marginals and falling objective."""

from __future__ import annotations

import pytest
import torch

from trajlab.couplings.exact import emd
from trajlab.couplings.low_rank import low_rank


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(n: int) -> torch.Tensor:
    return torch.full((n,), 1 / n, dtype=torch.float64)


@pytest.fixture(scope="module")
def pair():
    return normal(200, 3), normal(180, 3, seed=1) * 1.5 + 0.5


def plan_of(pair, rank: int, **settings):
    return low_rank(*pair, uniform(200), uniform(180), torch.Generator().manual_seed(0), rank, **settings)


def test_rank_marginals_and_objective(pair):
    plan = plan_of(pair, 12)
    assert int(torch.linalg.matrix_rank(plan.P, rtol=1e-10)) <= 12
    assert plan.converged
    assert plan.marginal_error < 1e-3
    assert bool((plan.P >= 0).all())
    falls = torch.tensor(plan.history).diff()
    assert bool((falls <= 1e-3 * plan.history[0]).all())


def test_a_higher_rank_costs_less_and_never_less_than_the_optimum(pair):
    best, independent = emd(*pair).cost, float(torch.cdist(*pair).square().mean())
    few, more = (plan_of(pair, rank).mean_cost(*pair) for rank in (5, 40))
    assert best < more < few < 0.6 * independent
    assert plan_of(pair, 1).mean_cost(*pair) == pytest.approx(independent)  # rank one is the independent coupling


def test_clusters_that_have_moved_are_found():
    centre = 10 * torch.eye(4, dtype=torch.float64)
    kind = torch.arange(120) % 4
    x, y = centre[kind] + 0.1 * normal(120, 4), centre[kind] + 0.1 * normal(120, 4, seed=1) + 1
    plan = low_rank(x, y, uniform(120), uniform(120), torch.Generator().manual_seed(0), 4)
    assert float(plan.P[kind[:, None] == kind].sum()) > 0.999


def test_bad_ranks(pair):
    with pytest.raises(ValueError, match="rank=0"):
        plan_of(pair, 0)
