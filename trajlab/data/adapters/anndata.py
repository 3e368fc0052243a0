"""AnnData of cells taken at several times (extra ``cells``), to `Snapshots`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trajlab.catalog import need, unknown
from trajlab.data.adapters.anndata_matrix import matrix_of, place_of, refuse_unfinite
from trajlab.data.adapters.anndata_times import clock_of
from trajlab.data.adapters.snapshot_arrays import tell
from trajlab.types import Snapshots
from trajlab.units import Units

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = ["from_anndata", "read_anndata"]


def from_anndata(
    adata: AnnData | Any, time_key: str, use_rep: str = "X_pca", n_dims: int | None = None, weight_key: str | None = None,
    batch_key: str | None = None, times: Mapping[Any, float] | None = None, time_unit: str | None = None,
) -> Snapshots:
    """Snapshots from AnnData: one population for each time in ``adata.obs[time_key]``, cells in float64.

    Times may be unequal and irregular, and each may have any number of cells. ``adata`` is not changed; which row each cell came from is kept in
    ``source``, so that answers can be written back (`to_anndata`). Constant dimensions are kept, with a warning, so that dimensions stay those of
    the loadings.

    Args:
        adata: in memory or backed; matrices may be dense or sparse, of any number type.
        time_key: column of ``obs``: numbers, text with one number (``"D10"``, ``"day 3"``, ``"E8.5"``), timedeltas or dates (in days), or
            categories of these.
        use_rep: key of ``obsm``, name of a layer, or ``"X"``.
        n_dims: the first so many dimensions; all by default.
        weight_key: column of ``obs`` with non-negative weights of cells within their snapshot.
        batch_key: column of ``obs`` with the batch; neighbouring snapshots that share no batch are warned about.
        times: the number of each label, where labels don't say it.
        time_unit: ``"day"``, ``"h"``, ...; by default as the labels say ("D10", "E8.5": days), else none.

    Raises:
        TypeError: not AnnData.
        ValueError: an unknown key (the nearest are told), a value that is not finite (its cell and column are told), times that cannot be read,
            or fewer dimensions than asked for.
        ImportError: anndata is not installed.
    """
    need("anndata", "cells", "from_anndata")
    if not (hasattr(adata, "obs") and hasattr(adata, "obsm")):
        raise TypeError(f"from_anndata got a {type(adata).__name__}; an AnnData was wanted (tl.read('cells.h5ad', time_key=...) reads files, "
                        "tl.snapshots_from_numpy takes arrays)")
    clock = clock_of(_column(adata, time_key, "time_key"), times, f"adata.obs[{time_key!r}]")
    x, names = matrix_of(adata, use_rep, n_dims)
    refuse_unfinite(x, adata.obs_names, names, place_of(adata, use_rep))
    order = np.argsort(clock.snapshot, kind="stable")
    weight = np.ones(len(x)) if weight_key is None else _column(adata, weight_key, "weight_key").to_numpy(np.float64)
    source = {"reader": "anndata", "time_key": time_key, "use_rep": use_rep, "labels": clock.labels, "cell": order,
              "obs_names": np.asarray(adata.obs_names, dtype=object)[order]}
    tell(np.bincount(clock.snapshot), clock.labels, x, names)
    if batch_key is not None:
        _tell_batches(_column(adata, batch_key, "batch_key").to_numpy(), clock.snapshot, clock.labels, batch_key)
    return Snapshots(torch.from_numpy(x[order]), torch.from_numpy(clock.snapshot[order]), torch.from_numpy(clock.time),
                     torch.from_numpy(weight[order]), names, Units(time=time_unit or clock.unit), source)


def read_anndata(path: str | Path, *, time_key: str | None = None, use_rep: str = "X_pca", **options: Any) -> Snapshots:
    """Snapshots from an ``.h5ad`` file; options as in `from_anndata`. Expression is not read unless ``use_rep`` asks for it.

    Raises:
        ValueError: no ``time_key`` (the columns are told), a file that cannot be read, or what `from_anndata` refuses.
        ImportError: anndata is not installed.
    """
    anndata = need("anndata", "cells", f"reading {path}")
    try:
        adata = anndata.read_h5ad(path, backed="r")
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as AnnData: {error}; is it cut short?") from error
    try:
        if time_key is None:
            raise ValueError(f"{path} holds cells; say which column of obs is their time, tl.read(path, time_key=...): "
                             f"{', '.join(map(str, adata.obs.columns))}")
        return from_anndata(adata, time_key, use_rep, **options)
    finally:
        adata.file.close()


def _column(adata: AnnData, key: str, argument: str) -> pd.Series:
    if key not in adata.obs.columns:
        raise ValueError(f"{argument}: adata.obs has {unknown('column', str(key), map(str, adata.obs.columns))}")
    return adata.obs[key]


def _tell_batches(batch: np.ndarray, snapshot: np.ndarray, labels: tuple[Any, ...], key: str) -> None:
    """Warn where a change in time is a change of batch as well."""
    sets = [set(batch[snapshot == k].tolist()) for k in range(len(labels))]
    if len(set().union(*sets)) < 2:
        return
    apart = [f"{labels[k]} and {labels[k + 1]}" for k in range(len(sets) - 1) if not sets[k] & sets[k + 1]]
    if apart:
        warnings.warn(f"{key!r} is confounded with time: no batch has cells of both {'; of both '.join(apart[:4])}"
                      f"{' ...' if len(apart) > 4 else ''}. What changes there may be the batch; correct for it with cells that are comparable, or "
                      "read velocities and fates across it with care", stacklevel=3)
