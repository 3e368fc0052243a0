"""Chains of plans: pushing, pulling and drawing agree with products of the tables."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from trajlab.couplings.chosen import CoupleConfig, couple
from trajlab.couplings.exact import emd
from trajlab.couplings.multimarginal import Chain


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def cells():
    return [normal(n, 2, seed=n) + k for k, n in enumerate((30, 40, 25, 35))]


@pytest.fixture(scope="module")
def chain(cells):
    tight = CoupleConfig(tolerance=1e-10)
    return Chain([couple(x, y, temperature=0.5, config=tight) for x, y in pairwise(cells)], [0.0, 1.0, 3.0, 4.0])


def forwards(chain: Chain, k: int) -> torch.Tensor:
    P = chain.plans[k].P
    return P / P.sum(1, keepdim=True)


def test_descendants_and_ancestors_are_products_of_transitions(chain):
    T = forwards(chain, 0) @ forwards(chain, 1) @ forwards(chain, 2)
    v = torch.zeros(30, 2, dtype=torch.float64)
    v[3, 0], v[5:8, 1] = 1.0, 2.0
    torch.testing.assert_close(chain.descendants(v, 0, 3), T.mT @ v)
    torch.testing.assert_close(chain.descendants(v, 0, 3).sum(0), v.sum(0))
    f = normal(35, seed=1)
    torch.testing.assert_close(chain.expected(f, 3, 0), T @ f)
    back = [plan.P / plan.P.sum(0) for plan in chain.plans]
    torch.testing.assert_close(chain.ancestors(f.abs(), 3, 1), back[1] @ back[2] @ f.abs())
    assert torch.equal(chain.descendants(v, 0, 0), v)


def test_the_composed_plan_has_the_marginals_of_its_ends(chain):
    whole = chain.composed(0, 3)
    torch.testing.assert_close(whole.sum(1), chain.plans[0].row_sums)
    torch.testing.assert_close(whole.sum(0), chain.plans[2].column_sums, atol=1e-8, rtol=1e-6)
    # time reversed, the chain is the same plan
    torch.testing.assert_close(chain.ancestors(torch.diag(chain.plans[2].column_sums), 3, 0), whole, atol=1e-8, rtol=1e-5)


def test_paths_are_drawn_from_the_chain(chain, cells):
    n = 20_000
    drawn = chain.paths(n, torch.Generator().manual_seed(0))
    assert drawn.shape == (n, 4)
    product = cells[0][drawn[:, 0]] * cells[3][drawn[:, 3]]
    wanted = torch.einsum("ij,id,jd->d", chain.composed(0, 3), cells[0], cells[3])
    assert bool(((product.mean(0) - wanted).abs() < 5 * product.std(0) / n**0.5).all())


def test_assignments_compose_to_an_assignment():
    x = [normal(20, 2, seed=k) for k in range(3)]
    one, two = (emd(a, b) for a, b in pairwise(x))
    whole = Chain([one, two]).composed(0, 2)
    assert torch.equal(whole.argmax(1), two.target[one.target])
    assert Chain([one, two]).cells == [20, 20, 20]


def test_chains_that_do_not_fit(chain):
    one = torch.full((3, 4), 1 / 12, dtype=torch.float64)
    with pytest.raises(ValueError, match="no plan came"):
        Chain([])
    with pytest.raises(ValueError, match="ends in 4 cells and plan 1 starts from 3"):
        Chain([one, one])
    with pytest.raises(ValueError, match="increasing times"):
        Chain([one], [1.0, 0.0])
    with pytest.raises(TypeError, match="a str came"):
        Chain(["plan"])
    skew = one.mT * torch.tensor([0.4, 1.2, 1.2, 1.2], dtype=torch.float64)[:, None]
    with pytest.raises(ValueError, match=r"snapshot 1 .* differ by 0\.3"):
        Chain([one, skew])
    assert Chain([one, skew], tolerance=math.inf).gaps == [pytest.approx(0.3)]
    with pytest.raises(ValueError, match="snapshots 2 to 1"):
        chain.descendants(torch.zeros(25), 2, 1)
    with pytest.raises(ValueError, match="7 values came for snapshot 3, which has 35"):
        chain.ancestors(torch.zeros(7), 3, 0)
    empty = torch.tensor([[0.5, 0.5], [0.0, 0.0]])
    with pytest.raises(ValueError, match="cell 1 of a plan has no mass"):
        Chain([empty]).descendants(torch.ones(2), 0, 1)
