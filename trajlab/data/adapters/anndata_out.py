"""Answers about cells written into AnnData, in the order of its cells, and couplings as CellRank takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trajlab.catalog import need, unknown
from trajlab.types import Snapshots

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

__all__ = ["CellAnswers", "rows_of", "snapshots_to_anndata", "sparse_plan", "to_cellrank", "write_answers"]


@dataclass(frozen=True, eq=False)
class CellAnswers:
    """What is known of each cell after a fit, cells in the order of the snapshots.

    Attributes:
        obs: named values, ``[cell]`` each.
        velocity: named velocities in the coordinates of the snapshots, ``[cell dim]`` each; the name is put behind ``velocity_``.
        fates: ``[cell fate]``, or None.
        fate_names: of the columns of ``fates``.
        couplings: one a pair of neighbouring snapshots, sparse ``[source target]``.
        notes: definitions and provenance, written as text.
    """

    obs: Mapping[str, np.ndarray] = field(default_factory=dict)
    velocity: Mapping[str, np.ndarray] = field(default_factory=dict)
    fates: np.ndarray | None = None
    fate_names: Sequence[str] = ()
    couplings: Sequence[Any] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


def rows_of(snapshots: Snapshots, adata: AnnData) -> np.ndarray:
    """The row of ``adata`` of each cell of the snapshots, ``[cell]``: by name, or by place where the names are the same.

    Raises:
        ValueError: the snapshots were not made by `from_anndata`, or cells are missing or not told apart by their names.
    """
    names, order = snapshots.source.get("obs_names"), snapshots.source.get("cell")
    if names is None or order is None or len(order) != len(snapshots.x):
        raise ValueError("these snapshots do not know the rows of AnnData that they came from; make them by tl.from_anndata, and leave cells out "
                         "of adata rather than out of them")
    if len(adata) == len(order) and bool((np.asarray(adata.obs_names, dtype=object)[order] == names).all()):
        return np.asarray(order)
    if not adata.obs_names.is_unique:
        raise ValueError("adata is not the one that the snapshots came from, and its obs_names are not unique, so that cells cannot be matched; call "
                         "adata.obs_names_make_unique() before tl.from_anndata")
    rows = adata.obs_names.get_indexer(names)
    if (rows < 0).any():
        raise ValueError(f"{int((rows < 0).sum())} of the {len(rows)} cells are not in adata, the first is {names[int((rows < 0).argmax())]!r}; "
                         "pass the AnnData that the snapshots came from")
    return rows


def write_answers(answers: CellAnswers, snapshots: Snapshots, adata: AnnData, key: str = "trajlab") -> None:
    """Write answers into ``adata``: see `trajlab.models.cell_answers.to_anndata`. Cells that the snapshots lack get NaN.

    Raises:
        ValueError: a key with "/" in it, which ``.h5ad`` would nest, or cells that cannot be matched.
    """
    import pandas as pd

    for name in (key, *answers.obs, *answers.velocity):
        if not name or "/" in name:
            raise ValueError(f"the key {name!r} cannot be written to .h5ad; a name without '/' was wanted")
    rows, number = rows_of(snapshots, adata), snapshots.snapshot.cpu().numpy()
    time = snapshots.time.cpu().numpy()
    seen = np.full(len(adata), np.nan)
    seen[rows] = time[number]
    adata.obs[f"{key}_time"] = pd.Categorical(seen, categories=time, ordered=True)
    for name, value in answers.obs.items():
        adata.obs[f"{key}_{name}"] = _spread(value, rows, len(adata))
    for name, value in answers.velocity.items():
        adata.obsm[f"velocity_{name}"] = _spread(value, rows, len(adata))
    if answers.fates is not None:
        adata.obsm[f"{key}_fates"] = _spread(answers.fates, rows, len(adata))
    place = [np.argsort(rows[number == k], kind="stable") for k in range(len(time))]
    couplings = {f"{k}->{k + 1}": plan.tocsr()[place[k]][:, place[k + 1]] for k, plan in enumerate(answers.couplings)}
    adata.uns[key] = {
        "time": time, "time_unit": snapshots.units.time, "labels": np.asarray([str(v) for v in snapshots.source.get("labels", time)], dtype=object),
        "time_key": str(snapshots.source.get("time_key", "")), "use_rep": str(snapshots.source.get("use_rep", "")), "couplings": couplings,
        "fate_names": np.asarray([str(name) for name in answers.fate_names], dtype=object),
        "notes": json.dumps(dict(answers.notes), default=str)}


def _spread(value: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Values of cells in the rows of adata, NaN elsewhere."""
    value = np.asarray(value, dtype=np.float64)
    full = np.full((count, *value.shape[1:]), np.nan)
    full[rows] = value
    return full


def sparse_plan(plan: np.ndarray, threshold: float = 1e-4) -> csr_matrix:
    """A plan without its smallest entries: kept are those of at least ``threshold`` times the largest of their row or of their column, so that every
    cell keeps its likeliest descendants and ancestors. Rows are scaled to keep their mass.

    Raises:
        ValueError: a threshold outside 0 to 1.
    """
    from scipy import sparse

    if not 0 <= threshold < 1:
        raise ValueError(f"threshold={threshold}; a number from 0 (keep all) to below 1 was wanted")
    plan = np.asarray(plan, dtype=np.float64)
    least = np.minimum(plan.max(1, keepdims=True), plan.max(0, keepdims=True)) * threshold
    kept = np.where(plan >= least, plan, 0.0)
    left = kept.sum(1, keepdims=True)
    return sparse.csr_matrix(np.divide(kept * plan.sum(1, keepdims=True), left, out=kept, where=left > 0))


def to_cellrank(adata: AnnData, time_key: str | None = None, key: str = "trajlab") -> dict[tuple[Any, Any], AnnData]:
    """Couplings as ``cellrank.kernels.RealTimeKernel`` takes them: ``{(t_source, t_target): AnnData}`` over neighbouring times, each with the plan as
    ``X``, the source cells as ``obs`` and the target cells as ``var``, in the order of ``adata``. Use it so::

        cellrank.kernels.RealTimeKernel(adata, time_key="trajlab_time", couplings=tl.to_cellrank(adata))

    Args:
        adata: that `to_anndata` wrote into, also after it was saved and read.
        time_key: column of ``obs`` given to CellRank, whose categories are the keys; it wants a categorical one of numbers. By default the one that
            `to_anndata` wrote, ``"trajlab_time"``.
        key: as in `to_anndata`.

    Raises:
        TypeError: the column is not categorical.
        ValueError: no couplings or no such column, or cells were taken out or added since the couplings were written.
        ImportError: anndata is not installed.
    """
    import pandas as pd

    anndata = need("anndata", "cells", "to_cellrank")
    if key not in adata.uns or "couplings" not in adata.uns[key]:
        raise ValueError(f"adata.uns has {unknown('key', key, map(str, adata.uns.keys()))}; write couplings first: tl.to_anndata(bridge, adata)")
    time_key = f"{key}_time" if time_key is None else time_key
    if time_key not in adata.obs:
        raise ValueError(f"time_key: adata.obs has {unknown('column', time_key, map(str, adata.obs.columns))}")
    column = adata.obs[time_key]
    if not isinstance(column.dtype, pd.CategoricalDtype):
        raise TypeError(f"adata.obs[{time_key!r}] is {column.dtype}; CellRank wants a categorical one: adata.obs[{time_key!r}] = "
                        f"adata.obs[{time_key!r}].astype('category'), or leave time_key out")
    stored, found = adata.uns[key], {}
    own = adata.obs[f"{key}_time"].astype(float).to_numpy()
    cells = [np.flatnonzero(own == t) for t in np.asarray(stored["time"])]
    for name, plan in stored["couplings"].items():
        k, m = map(int, name.split("->"))
        if plan.shape != (len(cells[k]), len(cells[m])):
            raise ValueError(f"coupling {name} is {plan.shape[0]} by {plan.shape[1]}, but adata has {len(cells[k])} and {len(cells[m])} "
                             "cells there; cells were left out after to_anndata. Fit and write again for these cells")
        found[_category(column, cells[k]), _category(column, cells[m])] = anndata.AnnData(plan, obs=adata.obs.iloc[cells[k]].copy(),
                                                                                          var=adata.obs.iloc[cells[m]].copy())
    return found


def _category(column: Any, cells: np.ndarray) -> Any:
    """The one category of some cells."""
    distinct = column.iloc[cells].unique().tolist()
    if len(distinct) != 1:
        raise ValueError(f"cells of one snapshot have the times {distinct[:4]} in column {column.name!r}; the column that the snapshots "
                         "were made from, or no time_key, was wanted")
    return distinct[0]


def snapshots_to_anndata(snapshots: Snapshots, use_rep: str = "X_pca", time_key: str = "time") -> AnnData:
    """A new AnnData with states in ``obsm[use_rep]``, time and weight in ``obs``, and no genes.

    Raises:
        ImportError: anndata is not installed.
    """
    import pandas as pd

    anndata = need("anndata", "cells", "to_anndata")
    names = snapshots.source.get("obs_names")
    index = pd.Index([str(n) for n in (range(len(snapshots.x)) if names is None or len(names) != len(snapshots.x) else names)])
    time = snapshots.time[snapshots.snapshot].cpu().numpy()
    obs = pd.DataFrame({time_key: time, "weight": snapshots.weight.cpu().numpy()}, index=index)
    return anndata.AnnData(obs=obs, obsm={use_rep: snapshots.x.cpu().numpy()}, uns={"time_unit": snapshots.units.time})
