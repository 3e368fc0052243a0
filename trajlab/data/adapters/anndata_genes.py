"""From the space that cells were fitted in back to genes: loadings and means of a principal component analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.data.adapters.anndata_matrix import dense

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["GeneMap", "gene_map"]

ORTHONORMAL = 1e-4  #: how far V^T V may be from the identity: loadings are often kept in float32


@dataclass(frozen=True, eq=False)
class GeneMap:
    """gene = mean + V x, with loadings V of orthonormal columns; x = V^T (gene - mean).

    Attributes:
        loadings: V, ``[gene dim]``.
        mean: ``[gene]``.
        names: of the genes.

    Raises:
        ValueError: shapes disagree, loadings whose columns are not orthonormal, or values that are not finite.
    """

    loadings: Tensor
    mean: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        V, mean = torch.as_tensor(self.loadings).double(), torch.as_tensor(self.mean).double()
        if V.ndim != 2 or mean.shape != V.shape[:1] or len(self.names) != len(V):
            raise ValueError(f"GeneMap: loadings {tuple(V.shape)}, mean {tuple(mean.shape)}, {len(self.names)} names; [gene dim], [gene] "
                             "and one name a gene were wanted")
        if not bool(torch.isfinite(V).all() and torch.isfinite(mean).all()):
            raise ValueError("GeneMap: loadings or means are not finite")
        off = float((V.mT @ V - torch.eye(V.shape[1], dtype=V.dtype)).abs().max())
        if off > ORTHONORMAL:
            raise ValueError(f"GeneMap: the columns of the loadings are not orthonormal (V^T V is off the identity by {off:.2g}); the loadings of a "
                             "principal component analysis are. Scaled loadings must be divided by their scale, and x multiplied by it")
        object.__setattr__(self, "loadings", V)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "names", tuple(map(str, self.names)))

    def genes(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch gene"]:
        """Expression at states."""
        return x.double() @ self.loadings.mT + self.mean

    def number(self, name: str) -> int:
        """The place of a gene.

        Raises:
            ValueError: there is none of this name; the nearest are told.
        """
        if name not in self.names:
            raise ValueError(unknown("gene", name, self.names))
        return self.names.index(name)


def gene_map(adata: AnnData, use_rep: str = "X_pca", loadings: str = "PCs", n_dims: int | None = None) -> GeneMap:
    """The map from ``adata.obsm[use_rep]`` to the genes of ``adata.X``, as `scanpy.pp.pca` leaves it. Genes without loadings (those that were not
    highly variable) are left out. The mean is that of ``X - rep V^T``: of all cells it is the centre of the analysis, also where the cells at hand
    are a part of those that were analysed.

    Args:
        adata: with ``X`` as it was analysed (log-normalised).
        use_rep: key of ``obsm``.
        loadings: key of ``varm``.
        n_dims: the first so many dimensions: as in `from_anndata`.

    Raises:
        ValueError: an unknown key, fewer dimensions than asked for, or loadings whose columns are not orthonormal.
    """
    for key, where, what in ((use_rep, adata.obsm, "obsm"), (loadings, adata.varm, "varm")):
        if key not in where:
            raise ValueError(f"adata.{what} has {unknown('key', str(key), map(str, where.keys()))}; sc.pp.pca(adata) makes X_pca and PCs")
    V = dense(adata.varm[loadings], n_dims)
    z = dense(adata.obsm[use_rep], n_dims)
    if V.shape[1] != z.shape[1]:
        raise ValueError(f"adata.varm[{loadings!r}] has {V.shape[1]} columns and adata.obsm[{use_rep!r}] has {z.shape[1]}, "
                         f"n_dims={n_dims}; as many of one as of the other were wanted")
    used = np.abs(V).sum(1) > 0
    mean = _column_means(adata.X)[used] - z.mean(0) @ V[used].T
    return GeneMap(torch.from_numpy(V[used]), torch.from_numpy(mean), tuple(map(str, np.asarray(adata.var_names)[used])))


def _column_means(matrix: Any) -> np.ndarray:
    if matrix is None:
        raise ValueError("this AnnData has no X, so the means of genes are not known")
    if hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    matrix = matrix if hasattr(matrix, "mean") else matrix[:]
    return np.asarray(matrix.mean(0), dtype=np.float64).reshape(-1)
