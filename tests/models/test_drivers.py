"""Driver genes against scipy, the Jacobian in genes against finite differences."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import sparse, stats

from trajlab.data.adapters.anndata_genes import GeneMap
from trajlab.dynamics.references import CallableReference
from trajlab.models.bridge_scale import Scale
from trajlab.models.drivers import driver_jacobian, lineage_drivers, regulators
from trajlab.types import Snapshots


def test_correlations_and_their_intervals():
    rng = np.random.default_rng(0)
    fate = rng.random(80)
    genes = rng.standard_normal((80, 5)) + fate[:, None] * [3, -2, 0, 0, 0.5]
    genes[:, 3] = 4.0
    names = ["a", "b", "c", "flat", "e"]
    found = lineage_drivers(genes, fate, names)
    for k in (0, 1, 2, 4):
        want = stats.pearsonr(genes[:, k], fate)
        low, high = want.confidence_interval(0.95)
        assert [found.correlation[k], found.low[k], found.high[k]] == pytest.approx([want.statistic, low, high], abs=1e-12)
    assert np.isnan(found.correlation[3])
    assert np.isnan(found.q[3])
    known = [0, 1, 2, 4]
    assert np.allclose(found.q[known], stats.false_discovery_control(found.p[known]))
    assert found.top(2) == ["a", "e"] or found.top(1) == ["a"]
    assert found.top(5)[-1] == "flat"
    assert list(found.table().index[:1]) == ["a"]
    again = lineage_drivers(sparse.csr_matrix(np.r_[genes, genes[:1]]), np.r_[fate, np.nan], names)
    assert np.allclose(again.correlation, found.correlation, equal_nan=True)


def test_exact_correlation():
    fate = np.linspace(0, 1, 10)
    found = lineage_drivers(np.stack([2 * fate, -fate], 1), fate, ["up", "down"])
    assert found.correlation.tolist() == pytest.approx([1, -1])
    assert found.q.max() < 1e-12


@pytest.mark.parametrize(("genes", "fate", "message"), [
    (np.ones((5, 2)), np.ones(4), "were wanted"), (np.ones((5, 2)), np.ones(5), "fates that vary"),
    (np.ones((3, 2)), np.arange(3.0), "at least 4 cells"), (np.full((5, 2), np.nan), np.arange(5.0), "expression of 'a' is not finite"),
])
def test_bad_drivers(genes, fate, message):
    with pytest.raises(ValueError, match=message):
        lineage_drivers(genes, fate, ["a", "b"])


def fitted(generator, kind="each"):
    """A bridge with a nonlinear drift in scaled coordinates, and the map to seven genes."""
    x = torch.randn(30, 3, generator=generator, dtype=torch.float64) * torch.tensor([5.0, 1, 0.2], dtype=torch.float64) + 2
    snapshots = Snapshots(x, torch.arange(30) // 15, torch.tensor([0.0, 1.0]))
    W = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    drift = lambda z: torch.tanh(z @ W.mT) - 0.3 * z  # noqa: E731
    V = torch.linalg.qr(torch.randn(7, 3, generator=generator, dtype=torch.float64))[0]
    genes = GeneMap(V, torch.randn(7, generator=generator, dtype=torch.float64), tuple("abcdefg"))
    reference = CallableReference(drift, torch.eye(3, dtype=torch.float64))
    return SimpleNamespace(snapshots=snapshots, scale=Scale.of(snapshots, kind), reference=reference), genes


def rate(bridge, genes, g):
    """d gene / dt of genes, by way of the scaled coordinates."""
    x = (g - genes.mean) @ genes.loadings
    return (bridge.scale.divisor * bridge.reference.drift((x - bridge.scale.shift) / bridge.scale.divisor)) @ genes.loadings.mT


@pytest.mark.parametrize("kind", ["each", "one", "none"])
def test_jacobian_against_differences(generator, kind):
    bridge, genes = fitted(generator, kind)
    weight = torch.rand(30, generator=generator, dtype=torch.float64)
    weight[:5] = 0
    found = driver_jacobian(bridge, genes, weight)
    g, h = genes.genes(bridge.snapshots.x), 1e-5
    columns = [(rate(bridge, genes, g + h * e) - rate(bridge, genes, g - h * e)) / (2 * h) for e in torch.eye(7, dtype=torch.float64)]
    want = torch.einsum("c,jci->ij", weight / weight.sum(), torch.stack(columns))
    assert torch.allclose(found, want, atol=1e-8)
    assert not torch.allclose(driver_jacobian(bridge, genes), want, atol=1e-3)


def test_regulators_leave_out_the_gene_itself(generator):
    bridge, genes = fitted(generator)
    J = driver_jacobian(bridge, genes)
    found = regulators(J, genes, "c", 3)
    assert len(found) == 3
    assert "c" not in dict(found)
    assert [abs(v) for _, v in found] == sorted((abs(v) for v in J[2][[0, 1, 3, 4, 5, 6]].tolist()), reverse=True)[:3]
    with pytest.raises(ValueError, match="no gene 'z'"):
        regulators(J, genes, "z")


def test_bad_jacobians(generator):
    bridge, genes = fitted(generator)
    with pytest.raises(ValueError, match="not all 0"):
        driver_jacobian(bridge, genes, torch.zeros(30))
    with pytest.raises(ValueError, match="loadings of 2 dimensions"):
        driver_jacobian(bridge, GeneMap(torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), ("a", "b")))
