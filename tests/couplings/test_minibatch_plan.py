"""Plans of batches: marginals right in expectation, exact for equal weights, and a cost above the optimum that falls with the batch."""

from __future__ import annotations

import pytest
import torch

from trajlab.couplings.chosen import CoupleConfig, couple
from trajlab.couplings.exact import emd
from trajlab.couplings.minibatch_plan import batches, minibatch_plan, resampled


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(n: int) -> torch.Tensor:
    return torch.full((n,), 1 / n, dtype=torch.float64)


def test_resampling_is_systematic():
    a = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    for seed in range(20):
        times = torch.bincount(resampled(a, 12, torch.Generator().manual_seed(seed)), minlength=3)
        assert bool(((times - 12 * a).abs() < 1).all())
    mean = sum(torch.bincount(resampled(a, 12, torch.Generator().manual_seed(s)), minlength=3) for s in range(2000)) / 2000
    torch.testing.assert_close(mean.double(), 12 * a, atol=0.05, rtol=0)


def test_equal_weights_are_met_exactly():
    plan = minibatch_plan(normal(300, 3), normal(300, 3, seed=1), uniform(300), uniform(300), torch.Generator().manual_seed(0), batch=64)
    assert plan.marginal_error < 1e-12
    assert all(64 <= len(i) == len(j) for i, j in batches(uniform(300), uniform(200), 64, 3, torch.Generator().manual_seed(0)))


def test_different_weights_are_met_in_expectation():
    x, y = normal(60, 2), normal(50, 2, seed=1)
    a = torch.rand(60, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    a = a / a.sum()
    few, many = (minibatch_plan(x, y, a, uniform(50), torch.Generator().manual_seed(0), 20, passes) for passes in (1, 200))
    assert many.marginal_error < 0.03 < few.marginal_error


def test_the_cost_lies_above_the_optimum_and_falls_with_the_batch():
    x, y = normal(600, 3), normal(600, 3, seed=1)
    best = emd(x, y).cost
    costs = [minibatch_plan(x, y, uniform(600), uniform(600), torch.Generator().manual_seed(0), b).mean_cost(x, y) for b in (20, 100, 300, 600)]
    assert costs[0] > costs[1] > costs[2] > costs[3]
    assert costs[3] == pytest.approx(best)


def test_entropic_batches_approach_the_entropic_plan():
    """At a temperature high against the distances of a batch's cells, the mean over batches has the drift of the whole plan."""
    x, y = normal(400, 2), normal(400, 2, seed=1) + 1
    one = couple(x, y, temperature=2.0, method="minibatch", config=CoupleConfig(batch=100, passes=8))
    all_ = couple(x, y, temperature=2.0, method="sinkhorn")
    move = [plan.apply(y) / plan.row_sums[:, None] for plan in (one, all_)]
    assert float((move[0] - move[1]).square().mean()) < 0.02 * float(move[1].var(0).mean())


def test_bad_batches():
    with pytest.raises(ValueError, match="batch=1 and passes=1"):
        minibatch_plan(normal(5, 2), normal(5, 2), uniform(5), uniform(5), torch.Generator(), batch=1)
