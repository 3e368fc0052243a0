"""Plans by size and memory: every method answers alike, the choice is told, and bad input is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trajlab.couplings import chosen
from trajlab.couplings.chosen import METHODS, CoupleConfig, couple
from trajlab.couplings.exact import emd
from trajlab.couplings.memory import in_words, needed, parse
from trajlab.couplings.plans import DensePlan, Found, SparsePlan, as_plan, draw
from trajlab.couplings.sinkhorn import sinkhorn

SMALL = CoupleConfig(batch=60, metas=40, rank=15, passes=3)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def populations():
    return normal(150, 3), normal(120, 3, seed=1) + 0.5


@pytest.mark.filterwarnings("ignore:the minibatch plan")
@pytest.mark.parametrize("temperature", [None, 1.0])
@pytest.mark.parametrize("method", METHODS)
def test_every_plan_answers_as_its_table_does(populations, method, temperature):
    if method == "sinkhorn" and temperature is None:
        pytest.skip("entropic transport has a temperature")
    x, y = populations
    a = torch.rand(150, generator=torch.Generator().manual_seed(2)) + 0.5
    plan = couple(x, y, a, temperature=temperature, method=method, config=SMALL)
    P, v = plan.P.double(), normal(120, 2, seed=3)
    assert plan.found.method == method
    assert float(P.sum()) == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(plan.apply(v), P @ v)
    torch.testing.assert_close(plan.apply(v[:, 0]), P @ v[:, 0])
    torch.testing.assert_close(plan.apply_t(x), P.mT @ x)
    torch.testing.assert_close(plan.rows(torch.tensor([7, 3, 7])).double(), P[[7, 3, 7]])
    assert plan.mean_cost(x, y) == pytest.approx(float((P * torch.cdist(x, y) ** 2).sum()), rel=1e-3)
    error = max(float((P.sum(1) - plan.a).abs().sum()), float((P.sum(0) - plan.b).abs().sum()))
    assert plan.marginal_error == pytest.approx(error, abs=1e-12)
    assert np.allclose(plan.sparse(0.0).toarray(), P, atol=1e-15)
    assert np.allclose(plan.sparse(0.1).sum(1), P.sum(1))
    assert plan.sparse(0.9).nnz < 0.3 * P.numel()


@pytest.mark.filterwarnings("ignore:the minibatch plan")
@pytest.mark.parametrize("temperature", [None, 1.0])
@pytest.mark.parametrize("method", METHODS)
def test_pairs_are_drawn_from_the_plan(populations, method, temperature):
    """Means and products of the drawn pairs, within five standard errors of those of the plan; and so for the cells that follow one cell."""
    if method == "sinkhorn" and temperature is None:
        pytest.skip("entropic transport has a temperature")
    x, y = populations
    plan, n = couple(x, y, temperature=temperature, method=method, config=SMALL), 20_000
    i, j = plan.sample(n, torch.Generator().manual_seed(4))
    P = plan.P.double()
    product = x[i] * y[j]
    wanted = torch.einsum("ij,id,jd->d", P, x, y) / P.sum()
    assert bool(((product.mean(0) - wanted).abs() < 5 * product.std(0) / n**0.5).all())
    to = y[plan.follow(torch.full((n,), 5), torch.Generator().manual_seed(5))]
    there = P[5] @ y / P[5].sum()
    assert bool(((to.mean(0) - there).abs() <= 5 * to.std(0) / n**0.5 + 1e-9).all())
    again = plan.sample(n, torch.Generator().manual_seed(4))
    assert torch.equal(again[0], i)
    assert torch.equal(again[1], j)


def test_the_choice_goes_by_size_memory_and_question(populations, monkeypatch):
    x, y = populations
    monkeypatch.setattr(chosen, "EXACT", 100)
    assert couple(x[:100], y[:100]).found.method == "exact"
    beyond = couple(x, y, config=SMALL)
    assert beyond.found.method == "meta_cells"
    assert "150 by 120" in beyond.found.why
    assert couple(x, y, temperature=1.0).found.method == "sinkhorn"
    monkeypatch.setattr(chosen, "SINKHORN", 100)
    assert couple(x[:120], y, temperature=1.0, config=SMALL).found.method == "minibatch"
    a = torch.rand(150, generator=torch.Generator().manual_seed(2)) + 0.5
    assert couple(x, y, a, temperature=1.0, config=SMALL).found.method == "meta_cells"


def test_memory_decides_where_the_table_does_not_fit():
    x, y = normal(1500, 2), normal(1500, 2, seed=1)
    plan = couple(x, y, memory="100MB", config=CoupleConfig(metas=200))
    assert plan.found.method == "meta_cells"
    assert "does not fit" in plan.found.why
    with pytest.raises(ValueError, match=r"exact.*takes about 194 MB.*100 MB.*meta_cells"):
        couple(x, y, memory="100MB", method="exact", config=CoupleConfig(metas=200))
    with pytest.raises(ValueError, match="no plan between 1500 by 1500 cells fits"):
        couple(x, y, memory="1MB")


def test_a_log_kernel_is_the_same_as_its_table(populations):
    x, y = populations
    kernel = lambda x, y: -torch.cdist(x, y) ** 2 / 2 + x[:, :1]  # noqa: E731
    plan = couple(x, y, cost=kernel, config=CoupleConfig(tolerance=1e-8))
    torch.testing.assert_close(plan.P, sinkhorn(kernel(x, y), None, None).P, atol=1e-5, rtol=1e-2)
    torch.testing.assert_close(plan.P, couple(x, y, temperature=2.0, config=CoupleConfig(tolerance=1e-8)).P, atol=1e-9, rtol=1e-6)
    half = couple(x, y, cost=kernel, temperature=2.0, config=CoupleConfig(tolerance=1e-8)).P
    torch.testing.assert_close(half, couple(x, y, temperature=4.0, config=CoupleConfig(tolerance=1e-8)).P, atol=1e-9, rtol=1e-6)
    worst = couple(x, y, cost=lambda x, y: -torch.cdist(x, y) ** 2, method="exact")
    assert worst.mean_cost(x, y) == pytest.approx(emd(x, y).cost)


@pytest.mark.parametrize("rho", [(1.0, math.inf), (1.0, 2.0)])
def test_relaxed_plans_in_float32_agree_with_the_table_in_float64(populations, rho):
    from trajlab.couplings.sinkhorn import SinkhornConfig

    x, y = populations
    for temperature in (2.0, 0.02):
        wanted = sinkhorn(-torch.cdist(x, y) ** 2 / temperature, None, None, SinkhornConfig(1e-7, 20_000, rho))
        plan = couple(x, y, temperature=temperature, config=CoupleConfig(torch.float32, rho=rho, tolerance=1e-5))
        assert float((plan.P - wanted.P).abs().sum()) < 1e-4 * float(wanted.P.sum())
        assert plan.marginal_error < 1e-4


def test_a_plan_that_has_not_converged_warns(populations):
    with pytest.warns(UserWarning, match=r"marginal error of .*allow more iterations"):
        plan = couple(*populations, temperature=0.01, config=CoupleConfig(iterations=20))
    assert not plan.converged
    assert plan.marginal_error > 1e-3
    with pytest.warns(UserWarning, match="make more passes"):
        couple(*populations, method="minibatch", config=SMALL)


def test_amounts_of_memory():
    assert [parse(s) for s in ("4GB", "500 MB", "1.5GiB", "1024", 77)] == [4 * 10**9, 5 * 10**8, 3 * 2**29, 1024, 77]
    assert in_words(1.5e9) == "1.5 GB"
    assert in_words(12) == "12 B"
    for bad in ("lots", "4 parsecs", "-1GB", "0MB", ""):
        with pytest.raises(ValueError, match="positive amount"):
            parse(bad)
    with pytest.raises(TypeError, match="float"):
        parse(1e9)
    assert needed("sinkhorn", 20_000, 20_000, 4, 1024, 2000, 100, True) == pytest.approx(1.6e9, rel=0.05)


@pytest.mark.parametrize(("change", "match"), [
    ({"method": "sinkorn"}, "did you mean 'sinkhorn'"),
    ({"cost": "manhattan"}, "no cost 'manhattan'"),
    ({"temperature": 0.0}, "temperature=0.0"),
    ({"method": "sinkhorn"}, "wants a temperature"),
    ({"method": "low_rank", "cost": lambda x, y: -torch.cdist(x, y)}, "low rank wants squared distances"),
    ({"method": "meta_cells", "temperature": 1.0, "config": CoupleConfig(inside="nearest")}, "use 'uniform'"),
    ({"method": "minibatch", "temperature": 1.0, "config": CoupleConfig(rho=(1.0, 1.0))}, "relaxed marginals"),
    ({"method": "minibatch", "a": [0.0] + [1.0] * 149}, "weights of zero"),
    ({"a": [-1.0] + [1.0] * 149}, "weights of the source"),
    ({"cost": lambda x, y: torch.zeros(2, 2)}, "the log-kernel gave"),
    ({"cost": lambda x, y: -torch.cdist(x, y) / 0}, "not finite"),
])
def test_bad_questions(populations, change, match):
    with pytest.raises(ValueError, match=match):
        couple(*populations, **change)


def test_bad_populations_and_settings(populations):
    x, y = populations
    with pytest.raises(ValueError, match="row 3, column 1"):
        couple(torch.where(torch.arange(450).reshape(150, 3) == 10, torch.nan, x), y)
    with pytest.raises(ValueError, match="3 dimensions and the second 2"):
        couple(x, y[:, :2])
    with pytest.raises(ValueError, match="0 cells"):
        couple(x, y[:0])
    with pytest.raises(TypeError, match="cost is of type int"):
        couple(x, y, cost=3)
    with pytest.raises(ValueError, match="batch=1"):
        CoupleConfig(batch=1)
    with pytest.raises(ValueError, match="float16"):
        CoupleConfig(dtype=torch.float16)
    with pytest.raises(ValueError, match="no way inside"):
        CoupleConfig(inside="nearby")
    assert couple(x[:1], y).marginal_error < 1e-12  # one cell sends to all


def test_plans_of_other_kinds_are_taken_in():
    table = torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64)
    assert torch.equal(as_plan(table).P, table)
    assert torch.equal(as_plan(sinkhorn(table)).P, sinkhorn(table).P)
    assert isinstance(as_plan(emd(table)), SparsePlan)
    with pytest.raises(TypeError, match="a str came"):
        as_plan("plan")
    with pytest.raises(ValueError, match="negative"):
        as_plan(-table)
    with pytest.raises(ValueError, match="threshold=1"):
        as_plan(table).sparse(1.0)


def test_no_table_is_made_where_it_would_be_large():
    n = 20_000
    w = torch.full((n,), 1 / n, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"3\.2 GB"):
        SparsePlan(torch.arange(n), torch.arange(n), w, w, w).P  # noqa: B018
    assert SparsePlan(torch.arange(n), torch.arange(n), w, w, w).sparse(0.5).nnz == n


def test_draws_pass_over_items_without_mass():
    mass = torch.tensor([[0.0, 1.0, 0.0, 3.0, 0.0]]).double()
    drawn = draw(mass, torch.Generator().manual_seed(0), 4000)[0]
    assert set(drawn.tolist()) == {1, 3}
    assert float((drawn == 3).double().mean()) == pytest.approx(0.75, abs=0.03)
    relaxed = DensePlan(mass, torch.ones(1).double(), torch.ones(5).double(), Found(hard=(False, False)))
    assert relaxed.marginal_error == 0.0
