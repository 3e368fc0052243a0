"""Representations of cells in AnnData as dense float64, whatever they are stored as."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trajlab.catalog import unknown

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["dense", "matrix_of", "place_of", "refuse_unfinite"]


def dense(matrix: Any, columns: int | None = None) -> np.ndarray:
    """A matrix in memory as float64, of its first ``columns``: arrays, tables, sparse ones and those in a file.

    Raises:
        ValueError: complex numbers, text or objects.
    """
    chosen = slice(None) if columns is None else slice(columns)
    if hasattr(matrix, "to_memory"):  # sparse in a file
        matrix = matrix.to_memory()
    if hasattr(matrix, "iloc"):  # a table
        matrix = matrix.to_numpy()
    part = matrix[:, chosen]
    part = np.asarray(part.todense() if hasattr(part, "todense") else part)
    if part.dtype.kind not in "biuf":
        raise ValueError(f"a matrix of {part.dtype} was given where numbers are wanted")
    return np.ascontiguousarray(part, dtype=np.float64)


def place_of(adata: AnnData, use_rep: str) -> str:
    """How a representation is written in Python."""
    if use_rep == "X":
        return "adata.X"
    return f"adata.obsm[{use_rep!r}]" if use_rep in adata.obsm else f"adata.layers[{use_rep!r}]"


def matrix_of(adata: AnnData, use_rep: str, n_dims: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """A representation ``[cell dim]`` and the names of its dimensions.

    Raises:
        ValueError: no such representation, or fewer dimensions than asked for.
    """
    known = [*adata.obsm.keys(), *adata.layers.keys(), "X"]
    if use_rep not in known:
        hint = "; sc.pp.pca(adata) makes it" if use_rep == "X_pca" else ""
        raise ValueError(f"use_rep: adata has {unknown('representation', str(use_rep), known)}{hint}")
    matrix: Any = adata.obsm[use_rep] if use_rep in adata.obsm else adata.X if use_rep == "X" else adata.layers[use_rep]
    if matrix is None:
        raise ValueError("use_rep: this AnnData has no X; name a key of obsm")
    width = matrix.shape[1] if len(matrix.shape) > 1 else 0
    if not width or (n_dims is not None and not 1 <= n_dims <= width):
        raise ValueError(f"{place_of(adata, use_rep)} has shape {tuple(matrix.shape)}, n_dims={n_dims}; [cell dim] with 1 <= n_dims <= dim "
                         "was wanted")
    count = width if n_dims is None else n_dims
    if use_rep not in adata.obsm:
        return dense(matrix, count), tuple(map(str, adata.var_names[:count]))
    if hasattr(matrix, "columns"):
        return dense(matrix, count), tuple(map(str, matrix.columns[:count]))
    short = use_rep.removeprefix("X_")
    return dense(matrix, count), tuple(f"{short}{k + 1}" for k in range(count))


def refuse_unfinite(x: np.ndarray, cells: Iterable[str], names: Sequence[str], what: str) -> None:
    """Raise a ValueError that names the first cell and column that are not finite."""
    bad = ~np.isfinite(x)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(f"{what}: {x[row, column]} in cell {str(list(cells)[row])!r}, column {names[column]!r} (row {row}, column {column}), and "
                         f"{int(bad.any(1).sum()) - 1} further cells have values that are not finite; leave these cells out, or mend the matrix")
