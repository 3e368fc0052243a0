"""Genes that go with a fate (lineage drivers) and genes that drive others (the Jacobian of the drift, in genes)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.data.adapters.anndata_genes import GeneMap
from trajlab.data.adapters.anndata_matrix import dense

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Drivers", "driver_jacobian", "lineage_drivers", "regulators"]


@dataclass(frozen=True, eq=False)
class Drivers:
    """Correlation of genes with one fate.

    Attributes:
        names: of the genes.
        correlation: ``[gene]``; NaN for genes that do not vary.
        low, high: confidence interval, ``[gene]``.
        p: two-sided p-value of no correlation, ``[gene]``.
        q: p-values adjusted for the number of genes (Benjamini & Hochberg 1995), ``[gene]``.
    """

    names: tuple[str, ...]
    correlation: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    q: np.ndarray

    def top(self, n: int = 10) -> list[str]:
        """The genes of largest correlation."""
        return [self.names[k] for k in np.argsort(-np.nan_to_num(self.correlation, nan=-2.0), kind="stable")[:n]]

    def table(self) -> pd.DataFrame:
        """One row a gene, the largest correlation first."""
        import pandas as pd

        columns = {name: getattr(self, name) for name in ("correlation", "low", "high", "p", "q")}
        return pd.DataFrame(columns, index=pd.Index(self.names, name="gene")).sort_values("correlation", ascending=False)


def lineage_drivers(expression: Any, fate: Any, names: Iterable[str], confidence: float = 0.95) -> Drivers:
    """Pearson's correlation of each gene with a fate probability over cells, with Fisher's interval: arctanh r is normal with standard deviation
    (n - 3)^-1/2 (Fisher 1921). Cells are taken as independent and p-values do not know that fates were computed from the same cells, so they rank
    genes rather than test them. Cells of the terminal sets themselves, whose fate is certain, are best left out.

    Args:
        expression: ``[cell gene]``, dense or sparse.
        fate: probability of one fate, ``[cell]``, cells in the same order; NaN leaves a cell out.
        names: of the genes.
        confidence: of the interval.

    Raises:
        ValueError: shapes that do not fit, fewer than 4 cells, a fate that does not vary, or a value that is not finite.
    """
    names = tuple(map(str, names))  # also an index of pandas
    from scipy.stats import norm

    g, f = dense(expression), np.asarray(fate, dtype=np.float64).reshape(-1)
    if g.shape != (len(f), len(names)):
        raise ValueError(f"expression {g.shape}, fates {f.shape} and {len(names)} names; [cell gene], [cell] and one name a gene were wanted")
    g, f = g[~np.isnan(f)], f[~np.isnan(f)]
    if len(f) < 4 or np.ptp(f) == 0 or not 0 < confidence < 1:
        raise ValueError(f"{len(f)} cells with fates from {f.min(initial=np.inf):g} to {f.max(initial=-np.inf):g}, confidence={confidence}; at "
                         "least 4 cells, fates that vary, and a confidence between 0 and 1 were wanted")
    if not np.isfinite(g).all():
        raise ValueError(f"the expression of {names[int(np.argwhere(~np.isfinite(g))[0][1])]!r} is not finite in some cells")
    g, f = g - g.mean(0), f - f.mean()
    scale = np.sqrt((g**2).sum(0) * (f @ f))
    varies = (g**2).sum(0) > 1e-24 * np.maximum((g**2).sum(0).max(), 1e-300)
    r = np.clip(np.divide(f @ g, scale, out=np.full(len(names), np.nan), where=varies), -1, 1)
    z, spread = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15)), 1 / np.sqrt(len(f) - 3)
    reach = norm.ppf(0.5 + confidence / 2) * spread
    p = 2 * norm.sf(np.abs(z) / spread)
    return Drivers(names, r, np.tanh(z - reach), np.tanh(z + reach), p, _adjusted(p))


def _adjusted(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q-values; NaN stays."""
    q, known = np.full(len(p), np.nan), np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])[::-1]]
    ranks = np.arange(len(order), 0, -1)
    q[order] = np.minimum(np.minimum.accumulate(p[order] * len(order) / ranks), 1)
    return q


def driver_jacobian(bridge: Any, genes: GeneMap, weight: Float[Tensor, "cell"] | None = None) -> Float[Tensor, "gene gene"]:
    """How the rate of change of each gene (row) depends on each gene (column), per unit of time: with the refined drift f in scaled coordinates
    z = (x - mu) / s, x = V^T (gene - mean),

        J = V diag(s) E[Df] diag(1/s) V^T,

    the mean over cells for a nonlinear drift. It knows genes through the loadings alone: genes that vary together share their entries, so it ranks
    candidates, and is no causal proof.

    Args:
        bridge: fitted, with ``reference``, ``scale`` and ``snapshots``.
        genes: see `gene_map`.
        weight: of each cell, ``[cell]``, such as ``fates.of("Ery")``; all cells alike by default.

    Raises:
        ValueError: loadings of other dimensions, or weights that are negative or all 0.
    """
    x, s = bridge.scale.forward(bridge.snapshots).x, bridge.scale.divisor
    if genes.loadings.shape[1] != x.shape[1]:
        raise ValueError(f"loadings of {genes.loadings.shape[1]} dimensions for snapshots of {x.shape[1]}; pass the same use_rep and n_dims to "
                         "gene_map and from_anndata")
    w = torch.ones(len(x), dtype=torch.float64) if weight is None else torch.as_tensor(weight).double()
    if w.shape != (len(x),) or not bool((w >= 0).all()) or not float(w.sum()) > 0:
        raise ValueError(f"weights of shape {tuple(w.shape)} for {len(x)} cells, sum {float(w.sum()):g}; one non-negative weight a cell, "
                         "not all 0, was wanted")
    A = torch.zeros(len(s), len(s), dtype=torch.float64)
    for part, share in zip(x.split(4096), (w / w.sum()).split(4096)):
        A += torch.einsum("c,cij->ij", share, bridge.reference.jacobian(part))
    V = genes.loadings
    return V @ (s[:, None] * A / s) @ V.mT


def regulators(jacobian: Float[Tensor, "gene gene"], genes: GeneMap, target: str, n: int = 10) -> list[tuple[str, float]]:
    """The genes on which the rate of one depends most, by size, with the sign: positive ones raise it. The gene itself is left out.

    Raises:
        ValueError: an unknown gene.
    """
    row = jacobian[genes.number(target)].clone()
    row[genes.number(target)] = 0
    return [(genes.names[k], float(row[k])) for k in row.abs().argsort(descending=True)[:n].tolist()]
