"""Answers in AnnData, through a file, into CellRank's mapping."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import trajlab as tl
from trajlab.data.adapters.anndata_genes import GeneMap
from trajlab.data.adapters.anndata_out import CellAnswers, rows_of, sparse_plan, write_answers
from trajlab.models.cell_answers import velocity_of
from trajlab.models.sbirr import SchrodingerBridge, SchrodingerBridgeConfig

anndata = pytest.importorskip("anndata", reason="needs anndata: pip install 'trajlab[cells]'")
pd = pytest.importorskip("pandas")

COUNTS = (9, 14, 11)


def made(seed=0):
    """Cells of three days in random order, with genes that the two dimensions give exactly, and a bridge through them."""
    rng = np.random.default_rng(seed)
    day = rng.permutation(np.repeat([0.0, 1.0, 3.0], COUNTS))
    z = np.stack([day - 1, 0.5 * rng.standard_normal(len(day))], 1)
    V = np.linalg.qr(rng.standard_normal((6, 2)))[0]
    obs = pd.DataFrame({"day": pd.Categorical([f"D{t:g}" for t in day]), "kind": np.where(z[:, 1] > 0, "up/high", "down")},
                       index=[f"c{k}" for k in range(len(day))])
    adata = anndata.AnnData(z @ V.T + 5, obs=obs, obsm={"X_pca": z}, varm={"PCs": V})
    snapshots = tl.from_anndata(adata, "day")
    return adata, SchrodingerBridge(SchrodingerBridgeConfig(family="brownian", sigma=0.5)).fit(snapshots)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    adata, bridge = made()
    sets = tl.terminal_sets(bridge.snapshots, adata.obs["kind"])
    assert tl.to_anndata(bridge, adata, terminal=sets, sizes=(100, 200, 400), threshold=0.0) is adata
    path = tmp_path_factory.mktemp("cells") / "out.h5ad"
    adata.write_h5ad(path)
    return adata, bridge, anndata.read_h5ad(path), tl.fate(bridge, sets)


def test_everything_survives_the_file(written):
    adata, bridge, again, found = written
    order = bridge.snapshots.source["cell"]
    assert np.allclose(again.obsm["velocity_pca"][order], velocity_of(bridge).numpy(), atol=1e-12)
    assert np.allclose(again.obsm["trajlab_fates"][order], found.probability.numpy())
    assert list(again.uns["trajlab"]["fate_names"]) == ["down", "up/high"] == list(found.names)
    assert again.obs["trajlab_pseudotime"].between(0, 3).all()
    assert np.array_equal(again.obs["trajlab_growth"].isna(), again.obs["day"] == "D3")
    grown = again.obs[again.obs["day"] != "D3"]
    assert np.allclose(grown["trajlab_growth"], np.where(grown["day"] == "D0", np.log(2), np.log(2) / 2), atol=1e-2)  # doubled in 1 day, in 2
    assert [f"D{t:g}" for t in again.obs["trajlab_time"]] == list(again.obs["day"])
    assert list(again.uns["trajlab"]["labels"]) == ["D0", "D1", "D3"]
    assert again.uns["trajlab"]["time_unit"] == "day"
    notes = json.loads(again.uns["trajlab"]["notes"])
    assert notes["method"] == "sbirr"
    assert "mean time" in notes["pseudotime"]
    assert set(adata.obs) == set(again.obs)


def test_couplings_are_what_cellrank_takes(written):
    _, bridge, again, _ = written
    found = tl.to_cellrank(again)
    assert list(found) == [(0.0, 1.0), (1.0, 3.0)]
    order = bridge.snapshots.source["cell"]
    names = np.asarray(again.obs_names)
    for k, (key, one) in enumerate(found.items()):
        assert all(t in again.obs["trajlab_time"].cat.categories for t in key)
        assert list(one.obs_names) == list(names[again.obs["trajlab_time"] == key[0]])
        assert list(one.var_names) == list(names[again.obs["trajlab_time"] == key[1]])
        # cell by cell the plan of the bridge, which counts cells in its own order
        source, target = (names[order[bridge.snapshots.snapshot.numpy() == m]] for m in (k, k + 1))
        assert np.allclose(one[source, target].X.toarray(), bridge.plans[k].P.numpy(), atol=1e-15)
    assert list(tl.to_cellrank(again, time_key="day")) == [("D0", "D1"), ("D1", "D3")]


def test_cellrank_needs_categories(written):
    again = written[2].copy()
    again.obs["hour"] = again.obs["trajlab_time"].astype(float) * 24
    with pytest.raises(TypeError, match="CellRank wants a categorical"):
        tl.to_cellrank(again, time_key="hour")
    again.obs["hour"] = again.obs["hour"].astype("category")
    assert list(tl.to_cellrank(again, time_key="hour")) == [(0.0, 24.0), (24.0, 72.0)]
    again.obs["kind"] = again.obs["kind"].astype("category")
    with pytest.raises(ValueError, match="cells of one snapshot have the times"):
        tl.to_cellrank(again, time_key="kind")
    with pytest.raises(ValueError, match="did you mean 'hour'"):
        tl.to_cellrank(again, time_key="hours")
    with pytest.raises(ValueError, match="cells were left out"):
        tl.to_cellrank(again[2:].copy())
    with pytest.raises(ValueError, match="write couplings first"):
        tl.to_cellrank(again, key="other")


def test_reordered_and_larger_files():
    adata, bridge = made()
    want = velocity_of(bridge).numpy()
    shuffled = adata[np.random.default_rng(1).permutation(len(adata))].copy()
    new = anndata.AnnData(np.zeros((2, 6)), obs=pd.DataFrame({"day": ["D9", "D9"]}, index=["new1", "new2"]))
    more = anndata.concat([shuffled, new], join="outer")
    tl.to_anndata(bridge, more)
    names = bridge.snapshots.source["obs_names"]
    assert np.allclose(more[names].obsm["velocity_pca"], want)
    assert np.isnan(more[["new1", "new2"]].obsm["velocity_pca"]).all()
    assert more.obs["trajlab_time"].isna().sum() == 2
    one = tl.to_cellrank(more)[0.0, 1.0]
    source, target = (names[bridge.snapshots.snapshot.numpy() == k] for k in (0, 1))
    assert np.allclose(one[source, target].X.toarray(), bridge.plans[0].P.numpy(), atol=1e-3 * float(bridge.plans[0].P.max()))
    with pytest.raises(ValueError, match="1 of the 34 cells are not in adata"):
        tl.to_anndata(bridge, adata[1:].copy())


def test_what_cannot_be_written():
    adata, bridge = made()
    with pytest.raises(ValueError, match="a name without '/'"):
        tl.to_anndata(bridge, adata, key="a/b")
    assert "velocity_pca" not in adata.obsm
    with pytest.raises(ValueError, match="needs the AnnData"):
        tl.to_anndata(bridge)
    with pytest.raises(TypeError, match="to_anndata got a dict"):
        tl.to_anndata({}, adata)
    other = tl.snapshots_from_numpy([np.ones((2, 1)), np.zeros((2, 1))], [0, 1])
    with pytest.raises(ValueError, match="do not know the rows"):
        write_answers(CellAnswers(), other, adata)
    twice = adata.copy()
    twice.obs_names = ["same"] * len(twice)
    with pytest.raises(ValueError, match="obs_names are not unique"):
        rows_of(bridge.snapshots, twice)


def test_snapshots_alone_become_anndata():
    bridge = made()[1]
    new = tl.to_anndata(bridge.snapshots)
    again = tl.from_anndata(new, "time")
    assert torch.equal(again.x, bridge.snapshots.x)
    assert torch.equal(again.time, bridge.snapshots.time)
    assert list(new.obs_names) == list(bridge.snapshots.source["obs_names"])


def test_sparse_plans_keep_mass_and_ancestors():
    rng = np.random.default_rng(0)
    plan = np.exp(-8 * rng.random((30, 20))) / 600
    plan[:, 7] *= 1e-12  # a target that hardly any mass reaches keeps its likeliest ancestors
    thin = sparse_plan(plan, 0.05)
    assert 0 < thin.nnz < 400
    assert thin[:, 7].nnz > 0
    assert np.allclose(np.asarray(thin.sum(1)).ravel(), plan.sum(1), rtol=1e-14)
    assert np.allclose(sparse_plan(plan, 0.0).toarray(), plan, rtol=1e-14)
    with pytest.raises(ValueError, match="threshold=1"):
        sparse_plan(plan, 1.0)


def test_genes_come_back():
    adata, bridge = made()
    genes = tl.gene_map(adata)
    order = bridge.snapshots.source["cell"]
    assert np.allclose(genes.genes(bridge.snapshots.x).numpy(), np.asarray(adata.X)[order])
    assert np.allclose(tl.gene_map(adata[:20].copy()).genes(bridge.snapshots.x).numpy(), np.asarray(adata.X)[order])  # a part of the cells
    adata.varm["PCs"][3] = 0
    with pytest.raises(ValueError, match="not orthonormal"):
        tl.gene_map(adata)
    with pytest.raises(ValueError, match="did you mean 'PCs'"):
        tl.gene_map(adata, loadings="PCS")
    with pytest.raises(ValueError, match="no gene 'gat'; did you mean 'gata'"):
        GeneMap(torch.eye(2), torch.zeros(2), ("gata", "myc")).number("gat")
