"""Meta-cells: masses are kept, clusters are found, and the plan's marginals are exact."""

from __future__ import annotations

import pytest
import torch

from trajlab.couplings import meta_cells as module
from trajlab.couplings.chosen import CoupleConfig, couple
from trajlab.couplings.exact import emd
from trajlab.couplings.meta_cells import MetaPlan, kmeans, meta_cells, refined
from trajlab.couplings.plans import Found, as_plan


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def blobs(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    kind = torch.randint(8, (n,), generator=torch.Generator().manual_seed(seed))
    centre = 20 * torch.eye(8, dtype=torch.float64)
    return centre[kind] + 0.3 * normal(n, 8, seed=seed + 1), kind


@pytest.mark.parametrize("batch", [1 << 14, 100])
def test_kmeans_finds_separate_clusters(monkeypatch, batch):
    monkeypatch.setattr(module, "BATCH", batch)
    x, kind = blobs(600)
    label = kmeans(x, 8, torch.Generator().manual_seed(0))
    assert len(torch.stack([label, kind]).unique(dim=1)[0]) == 8
    assert torch.equal(label, kmeans(x, 8, torch.Generator().manual_seed(0)))


def test_more_clusters_lie_closer():
    x = normal(4000, 3)

    def spread(k: int) -> float:
        cells = meta_cells(x, torch.full((4000,), 1 / 4000, dtype=torch.float64), k, torch.Generator().manual_seed(0))
        return float((x - cells.centre[cells.label]).square().sum(1).mean())

    # the quantisation error of 3 dimensions falls as k^(-2/3) (Zador 1982): 8 times the groups, a quarter of the error
    assert spread(160) == pytest.approx(spread(20) / 4, rel=0.25)


def test_masses_and_means_are_exact():
    x, _ = blobs(500)
    a = torch.rand(500, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    a = a / a.sum()
    cells = meta_cells(x, a, 30, torch.Generator().manual_seed(0))
    assert float(cells.mass.sum()) == pytest.approx(1, abs=1e-14)
    torch.testing.assert_close(cells.mass @ cells.centre, a @ x)
    torch.testing.assert_close(cells.mass[cells.label] * cells.share, a)
    torch.testing.assert_close(cells.mean(x), cells.centre)
    assert sorted(torch.cat(cells.members).tolist()) == list(range(500))
    drawn = cells.inside(torch.full((20_000,), 4), torch.Generator().manual_seed(1))
    assert set(drawn.tolist()) == set(cells.members[4].tolist())
    shares = torch.bincount(drawn, minlength=500)[cells.members[4]] / 20_000
    torch.testing.assert_close(shares.double(), cells.share[cells.members[4]], atol=0.02, rtol=0)


def test_equal_cells_and_more_groups_than_cells():
    same = torch.ones(20, 2, dtype=torch.float64)
    uniform = torch.full((20,), 0.05, dtype=torch.float64)
    assert len(meta_cells(same, uniform, 5, torch.Generator().manual_seed(0)).mass) == 1
    x = normal(20, 2)
    assert torch.equal(meta_cells(x, uniform, 50, torch.Generator()).label, torch.arange(20))
    with pytest.raises(ValueError, match="0 groups of 20 cells"):
        meta_cells(x, uniform, 0, torch.Generator())


def test_marginals_are_exact_and_transport_inside_comes_nearer_to_the_optimum():
    x, y = normal(400, 4), normal(350, 4, seed=1) + 0.5
    a = torch.rand(400, generator=torch.Generator().manual_seed(3)) + 0.2
    best = emd(x, y, a).cost
    cost = {}
    for inside in ("uniform", "nearest"):
        plan = couple(x, y, a, method="meta_cells", config=CoupleConfig(metas=100, inside=inside))
        assert plan.marginal_error < 1e-12
        cost[inside] = plan.mean_cost(x, y)
    assert best < cost["nearest"] < 0.6 * cost["uniform"] + 0.4 * best


def test_one_meta_cell_a_cell_is_the_exact_plan():
    x, y = normal(60, 3), normal(60, 3, seed=1)
    plan = couple(x, y, method="meta_cells")
    assert plan.mean_cost(x, y) == pytest.approx(emd(x, y).cost)


def test_transport_inside_wants_few_entries():
    x, a = normal(10, 2), torch.full((10,), 0.1, dtype=torch.float64)
    cells = meta_cells(x, a, 3, torch.Generator().manual_seed(0))
    dense = as_plan(cells.mass[:, None] * cells.mass)
    with pytest.raises(TypeError, match="few entries"):
        refined(MetaPlan(dense, cells, cells, a, a, Found()), x, x)
