"""Exact transport: against sorting, linear programming and known maps; what bad input gets."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import trajlab
from trajlab.couplings.exact import emd, transport_cost
from trajlab.couplings.populations import drawn

NAN = float("nan")


def cloud(n: int, dim: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_of_all_assignments_it_is_the_cheapest():
    x, y = cloud(6), cloud(6, seed=1)
    cost = torch.cdist(x, y) ** 2
    best = min(sum(float(cost[i, j]) for i, j in enumerate(order)) / 6 for order in itertools.permutations(range(6)))
    assert transport_cost(x, y) == pytest.approx(best, rel=1e-12)
    assert transport_cost(cost) == pytest.approx(best, rel=1e-12)  # costs instead of points


@pytest.mark.parametrize("power", [1, 2, 3])
def test_a_line_is_sorted(power):
    x, y = cloud(40, 1), 2 * cloud(40, 1, 1) + 3
    want = float(((x.flatten().sort().values - y.flatten().sort().values).abs() ** power).mean())
    assert transport_cost(x, y, power=power) == pytest.approx(want, rel=1e-12)


def test_weighted_plans_are_those_of_linear_programming():
    from scipy.optimize import linprog

    x, y, a, b = cloud(5), cloud(7, seed=1), torch.rand(5, dtype=torch.float64) + 0.1, torch.rand(7, dtype=torch.float64) + 0.1
    plan = emd(x, y, a, b, power=1)
    rows = [np.kron(np.eye(5)[i], np.ones(7)) for i in range(5)] + [np.kron(np.ones(5), np.eye(7)[j]) for j in range(7)]
    want = linprog(torch.cdist(x, y).flatten().numpy(), A_eq=np.array(rows), b_eq=np.concatenate([a / a.sum(), b / b.sum()])).fun
    assert plan.cost == pytest.approx(want, rel=1e-9)
    assert torch.allclose(plan.P.sum(1), a / a.sum(), atol=1e-12)
    assert torch.allclose(plan.P.sum(0), b / b.sum(), atol=1e-12)
    assert torch.equal(plan.sparse.to_dense(), plan.P)
    assert len(plan.mass) <= 5 + 7 - 1
    assert plan.error < 1e-12
    assert plan.converged


def test_the_gradient_of_a_convex_function_is_the_map():
    x, spd = cloud(200, 3), torch.tensor([[2.0, 0.5, 0], [0.5, 1, 0], [0, 0, 0.3]], dtype=torch.float64)
    plan = emd(x, (x @ spd + 1).flip(0))
    assert torch.equal(plan.target, torch.arange(199, -1, -1))


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6])
def test_both_solvers_agree_at_every_scale(scale):
    x, y = scale * cloud(80), scale * cloud(80, seed=1)
    off = torch.ones(80, dtype=torch.float64)
    off[0] += 1e-9  # no longer uniform: goes to the simplex
    assert transport_cost(x, y, off) == pytest.approx(transport_cost(x, y), rel=1e-6, abs=0)


def test_repeated_cells_are_weights():
    x, y = cloud(4), cloud(6, seed=1)
    assert transport_cost(x, y, [2, 1, 1, 2]) == pytest.approx(transport_cost(x[[0, 0, 1, 2, 3, 3]], y), rel=1e-9)
    assert transport_cost(x, y, [1, 1, 0, 1]) == pytest.approx(transport_cost(x[[0, 1, 3]], y), rel=1e-9)


def test_pairs_of_an_assignment_come_once_and_those_of_a_plan_by_mass(generator):
    x, y = cloud(50), cloud(50, seed=1)
    plan = emd(x, y)
    i, j = plan.pairs(50, generator)
    assert torch.equal(i, plan.source)
    assert torch.equal(j, plan.target)
    plan = emd(x, cloud(30, seed=2))
    i, j = plan.pairs(6000, generator)
    seen = torch.zeros(50, 30, dtype=torch.float64).index_put_((i, j), torch.tensor(1 / 6000, dtype=torch.float64), accumulate=True)
    assert float((seen - plan.P).abs().max()) < 2 / 6000


def test_draws_are_stratified(generator):
    w = torch.tensor([0.5, 0.25, 0.25])
    assert drawn(w, 4, generator).tolist() == [0, 0, 1, 2]
    many = torch.stack([torch.bincount(drawn(torch.tensor([0.3, 0.7]), 5, generator), minlength=2) for _ in range(400)]).double()
    assert sorted(set(many[:, 0].tolist())) == [1, 2]
    assert float(many[:, 0].mean()) == pytest.approx(1.5, abs=0.1)
    with pytest.raises(ValueError, match="0 draws"):
        drawn(w, 0, generator)


def test_bad_input_is_told():
    x = cloud(4)
    bad = x.clone()
    bad[2, 1] = NAN
    with pytest.raises(ValueError, match=r"second population is nan in row 2, column 1 \(1 such"):
        emd(x, bad)
    with pytest.raises(ValueError, match="the cost is inf in row 0, column 3"):
        emd(torch.tensor([[1.0, 2, 3, float("inf")]]))
    with pytest.raises(ValueError, match="first population has 0 cells; at least 1"):
        emd(x[:0], x)
    with pytest.raises(ValueError, match="2 dimensions and the second 3"):
        emd(x, cloud(4, 3))
    with pytest.raises(ValueError, match=r"shape \(4,\); \[cell dim\] was wanted, so \[:, None\]"):
        emd(x[:, 0], x)
    with pytest.raises(ValueError, match=r"weights of the source have shape \(4,\), the least is -1"):
        emd(x, x, [1, 1, -1, 1])
    with pytest.raises(ValueError, match=r"weights of the target have shape \(3,\).*4 finite"):
        emd(x, x, None, [1, 1, 1])
    with pytest.raises(ValueError, match="their sum 0"):
        emd(x, x, [0, 0, 0, 0])
    with pytest.raises(ValueError, match="power=0 came"):
        emd(x, x, power=0)
    with pytest.raises(TypeError, match="first population is a str"):
        emd("cells", x)


def test_an_unfinished_solution_is_refused(monkeypatch):
    monkeypatch.setattr("trajlab.couplings.exact.PIVOTS", 1)
    with pytest.warns(UserWarning, match="numItermax"), pytest.raises(RuntimeError, match="between 60 and 40 cells stopped before the optimum"):
        emd(cloud(60), cloud(40, seed=1))


def test_integers_and_arrays_are_taken():
    assert transport_cost(np.array([[0], [4]]), np.array([[1], [6]]), power=1) == pytest.approx(1.5)


def test_one_file_touches_pot():
    root = Path(trajlab.__file__).parent
    touching = [p.relative_to(root).as_posix() for p in root.rglob("*.py") if re.search(r"^\s*(import ot\b|from ot\b)", p.read_text(), re.MULTILINE)]
    assert touching == ["couplings/exact.py"]


def test_equal_sizes_with_uneven_weights_are_no_assignment():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0]])
    plan = emd(x, y, a=torch.tensor([0.75, 0.25]))
    assert torch.allclose(plan.P, torch.tensor([[0.5, 0.25], [0.0, 0.25]], dtype=plan.P.dtype))
    assert plan.cost == pytest.approx(0.25)
