"""Snapshots from AnnData: every way that people write times, every matrix, and every kind of bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import trajlab as tl

anndata = pytest.importorskip("anndata", reason="needs anndata: pip install 'trajlab[cells]'")
pd = pytest.importorskip("pandas")
sparse = pytest.importorskip("scipy.sparse")

N = 12


def cells(time, x=None, **obs):
    """AnnData of 12 cells whose state is (row, row^2)."""
    rows = np.arange(N, dtype=float)
    x = np.stack([rows, rows**2], 1) if x is None else x
    table = pd.DataFrame({"day": time, **obs}, index=[f"cell{k}" for k in range(N)])
    return anndata.AnnData(np.outer(rows, [1.0, 2.0, 3.0]), obs=table, obsm={"X_pca": x})


def cycle(*labels):
    return [labels[k % len(labels)] for k in range(N)]


@pytest.mark.parametrize(("labels", "time", "unit"), [
    ((0, 3, 7.5), [0, 3, 7.5], "1"),
    (("D10", "D2", "D3"), [2, 3, 10], "day"),
    (("day 0", "day 3", "Day 12.5"), [0, 3, 12.5], "day"),
    (("day-1", "day-2", "day-10"), [1, 2, 10], "day"),
    (("D-1", "D0", "D1"), [-1, 0, 1], "day"),
    (("E8.5", "E6.5", "E7.25"), [6.5, 7.25, 8.5], "day"),
    (("0h", "12h", "72h"), [0, 12, 72], "h"),
    (("6 hours", "12 hours", "1 hour"), [1, 6, 12], "h"),
    (("t_1", "t_2", "t_3"), [1, 2, 3], "1"),
    (("1", "2.5", ".5"), [0.5, 1, 2.5], "1"),
    ((pd.Timedelta(hours=12), pd.Timedelta(days=2), pd.Timedelta(0)), [0, 0.5, 2], "day"),
    ((pd.Timestamp("2020-01-03"), pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-01T06:00")), [0, 0.25, 2], "day"),
])
@pytest.mark.parametrize("categorical", [False, True])
def test_times_are_read_as_people_write_them(labels, time, unit, categorical):
    values = pd.Series(cycle(*labels), index=[f"cell{k}" for k in range(N)])
    found = tl.from_anndata(cells(values.astype("category") if categorical else values), time_key="day")
    assert found.time.tolist() == time
    assert found.units.time == unit
    # every cell is where it was put, in the order of the file within its snapshot
    order = found.source["cell"]
    assert torch.equal(found.x[:, 0], torch.as_tensor(order, dtype=torch.float64))
    assert [labels[k % 3] for k in order] == [found.source["labels"][k] for k in found.snapshot.tolist()]
    assert all(np.all(np.diff(order[found.snapshot.numpy() == k]) > 0) for k in range(3))


def test_times_by_hand_and_unit():
    adata = cells(cycle("day 0-3", "day 6-9"))
    with pytest.raises(ValueError, match=r"cannot read a time from 'day 0-3'.*times="):
        tl.from_anndata(adata, "day")
    found = tl.from_anndata(adata, "day", times={"day 0-3": 1.5, "day 6-9": 7.5}, time_unit="day")
    assert found.time.tolist() == [1.5, 7.5]
    assert found.units.time == "day"
    with pytest.raises(ValueError, match="did you mean 'day 6-8'"):
        tl.from_anndata(adata, "day", times={"day 0-3": 1.5, "day 6-8": 7.5})


@pytest.mark.parametrize(("labels", "message"), [
    (("E8.5", "P1"), "different words"),
    (("12h", "D3"), "different words"),
    (("D1", "early"), "cannot read a time from 'early'"),
    (("D1_rep1", "D2_rep1"), "cannot read a time"),
    (("D1", "D1.0"), "'D1' and 'D1.0' both say the time 1"),
    ((True, False), "truth values"),
    ((0.0, np.inf), "inf is not finite"),
    ((0.0, np.nan), "6 cells have no time, the first is 'cell1'"),
    (("D1", None), "6 cells have no time"),
])
def test_times_that_say_nothing(labels, message):
    with pytest.raises(ValueError, match=message):
        tl.from_anndata(cells(cycle(*labels)), "day")


@pytest.mark.parametrize("store", ["csr", "csc", "int", "float32", "table", "backed", "backed csr"])
def test_any_matrix(store, tmp_path):
    adata = cells(cycle(0, 1))
    want = np.asarray(adata.X)
    adata.X = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "int": lambda x: x.astype(int), "backed csr": sparse.csr_matrix,
               "float32": lambda x: x.astype(np.float32)}.get(store, lambda x: x)(adata.X)
    if store == "table":
        adata.obsm["X_pca"] = pd.DataFrame(adata.obsm["X_pca"], index=adata.obs_names, columns=["one", "two"])
        assert tl.from_anndata(adata, "day").names == ("one", "two")
    if store.startswith("backed"):
        adata.write_h5ad(tmp_path / "x.h5ad")
        adata = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    found = tl.from_anndata(adata, "day", use_rep="X", n_dims=2)
    assert found.x.dtype == torch.float64
    assert found.names == ("0", "1")
    assert np.array_equal(found.x.numpy(), want[found.source["cell"], :2])


def test_layers_and_weights():
    adata = cells(cycle(1, 0), w=np.arange(N, dtype=float))
    adata.layers["counts"] = np.asarray(adata.X) * 2
    found = tl.from_anndata(adata, "day", use_rep="counts", weight_key="w")
    assert torch.equal(found.weight, torch.as_tensor(found.source["cell"], dtype=torch.float64))
    assert torch.equal(found.x[:, 0], 2 * found.weight)
    assert tl.from_anndata(adata, "day").names == ("pca1", "pca2")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_name_cell_and_column(bad):
    x = np.ones((N, 3)) * np.arange(N)[:, None]
    x[7, 1] = bad
    with pytest.raises(ValueError, match=rf"adata.obsm\['X_pca'\]: {bad} in cell 'cell7', column 'pca2'"):
        tl.from_anndata(cells(cycle(0, 1), x), "day")


def test_unknown_keys_are_answered():
    adata = cells(cycle(0, 1))
    with pytest.raises(ValueError, match=r"time_key.*did you mean 'day'"):
        tl.from_anndata(adata, "dya")
    with pytest.raises(ValueError, match=r"use_rep.*did you mean 'X_pca'"):
        tl.from_anndata(adata, "day", use_rep="X_pac")
    del adata.obsm["X_pca"]
    with pytest.raises(ValueError, match=r"sc.pp.pca\(adata\) makes it"):
        tl.from_anndata(adata, "day")
    with pytest.raises(ValueError, match="weight_key"):
        tl.from_anndata(adata, "day", use_rep="X", weight_key="w")
    with pytest.raises(ValueError, match="n_dims=9"):
        tl.from_anndata(adata, "day", use_rep="X", n_dims=9)
    with pytest.raises(TypeError, match="an AnnData was wanted"):
        tl.from_anndata(np.ones((3, 2)), "day")


def test_text_in_a_matrix():
    adata = cells(cycle(0, 1))
    adata.obsm["X_pca"] = np.full((N, 2), "a")
    with pytest.raises(ValueError, match="numbers are wanted"):
        tl.from_anndata(adata, "day")


def test_what_is_odd_is_told():
    with pytest.warns(UserWarning, match=r"\['7'\] have one cell"):
        tl.from_anndata(cells([0] * 5 + [1] * 6 + [7]), "day")
    flat = np.stack([np.arange(N), np.full(N, 2)], 1)
    with pytest.warns(UserWarning, match="do not vary .pca2"):
        assert tl.from_anndata(cells(cycle(0, 1), flat), "day").x.shape == (N, 2)
    empty = pd.Categorical(cycle("D0", "D1"), categories=["D0", "D1", "D2"])
    with pytest.warns(UserWarning, match=r"no cell has the categories \['D2'\]"):
        assert tl.from_anndata(cells(empty), "day").n_snapshots == 2
    with pytest.raises(ValueError, match="there are no cells"):
        tl.from_anndata(cells(cycle(0, 1))[:0], "day")


def test_batches_confounded_with_time_are_warned_about(recwarn):
    tl.from_anndata(cells(cycle(0, 1), batch=list("aabb" * 3)), "day", batch_key="batch")
    tl.from_anndata(cells(cycle(0, 1), batch=["a"] * N), "day", batch_key="batch")
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"'batch' is confounded with time.*of both 0 and 1"):
        tl.from_anndata(cells(cycle(0, 1), batch=cycle("a", "b")), "day", batch_key="batch")
    partly = cells([0] * 4 + [1] * 4 + [2] * 4, batch=list("aabbaabbcccc"))
    with pytest.warns(UserWarning, match="of both 1 and 2"):
        tl.from_anndata(partly, "day", batch_key="batch")


def test_files(tmp_path):
    path = tmp_path / "cells.h5ad"
    cells(cycle("D3", "D1")).write_h5ad(path)
    found = tl.read(path, time_key="day", n_dims=1)
    assert found.time.tolist() == [1, 3]
    assert found.x.shape == (N, 1)
    with pytest.raises(ValueError, match=r"which column of obs is their time.*day"):
        tl.read(path)
    with pytest.raises(TypeError, match="did you mean 'time_key'"):
        tl.read(path, timekey="day")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be read as AnnData"):
        tl.read(path, time_key="day")


def test_the_file_is_left_as_it_was():
    adata = cells(cycle("D3", "D1"))
    before = adata.copy()
    found = tl.from_anndata(adata, "day")
    found.x.mul_(0)
    assert adata.obs.equals(before.obs)
    assert np.array_equal(adata.obsm["X_pca"], before.obsm["X_pca"])
    assert not adata.uns
