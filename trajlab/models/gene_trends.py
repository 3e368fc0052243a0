"""Expression along a lineage: penalised splines over time, cells or paths weighted by their fate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.data.adapters.anndata_genes import GeneMap
from trajlab.models.fates import Fates, _memberships

__all__ = ["Trend", "gene_trends", "lineage_paths", "spline"]

PENALTIES = np.logspace(-6, 6, 25)  #: looked at by cross-validation, relative to the trace of the data's part
RIDGE = 1e-10  #: relative; keeps coefficients determined where no cell is


@dataclass(frozen=True, eq=False)
class Trend:
    """Smoothed expression of some genes along one lineage.

    Attributes:
        names: of the genes.
        time: ``[time]``.
        mean: ``[time gene]``.
        error: standard error of the mean, ``[time gene]``, given the weights and the penalty.
        penalty: of each gene, chosen by cross-validation where none was given, ``[gene]``.
    """

    names: tuple[str, ...]
    time: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    penalty: np.ndarray


def spline(time: np.ndarray, values: np.ndarray, weight: np.ndarray, at: np.ndarray, knots: int = 8, penalty: float | None = None,
           names: Sequence[str] = ()) -> Trend:
    """Weighted P-splines (Eilers & Marx 1996): cubic B-splines on even knots whose coefficients c minimise

        sum_i w_i (g_i - B_i c)^2 + lambda |D2 c|^2,

    D2 the second difference, so that a large lambda leaves the weighted straight line. lambda is chosen for each gene by generalised
    cross-validation. Errors are those of independent observations with variance proportional to 1/w_i.

    Args:
        time: ``[row]``.
        values: ``[row gene]``.
        weight: non-negative, ``[row]``.
        at: times of the trend.
        knots: intervals between knots from the first time to the last.
        penalty: lambda, relative to the mean diagonal of B^T W B; chosen by default.
        names: of the genes.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, weights that are negative or all 0, or fewer than one interval.
    """
    from scipy.interpolate import BSpline

    time, values, weight, at = (np.asarray(v, dtype=np.float64) for v in (time, values, weight, at))
    _check(time, values, weight, knots, penalty)
    low, high = min(time.min(), at.min()), max(time.max(), at.max())
    step = (high - low) / knots if high > low else 1.0
    grid = low + step * np.arange(-3, knots + 4)
    basis = lambda t: np.asarray(BSpline.design_matrix(np.clip(t, low, low + step * knots), grid, 3).todense())  # noqa: E731
    B, shown = basis(time), basis(at)
    weight = weight / weight.sum() * (weight > 0).sum()
    gram, load = B.T @ (weight[:, None] * B), B.T @ (weight[:, None] * values)
    bend = np.diff(np.eye(B.shape[1]), 2, axis=0)
    unit = np.trace(gram) / len(gram)
    squares = weight @ values**2
    tried = PENALTIES if penalty is None else np.array([penalty])
    count = (weight > 0).sum()
    best, fits = np.full(values.shape[1], np.inf), [np.zeros((len(at), values.shape[1])) for _ in range(2)]
    chosen = np.zeros(values.shape[1])
    for lam in tried:
        inverse = np.linalg.inv(gram + unit * (lam * bend.T @ bend + RIDGE * np.eye(len(gram))))
        c, freedom = inverse @ load, float(np.trace(inverse @ gram))
        residual = np.maximum(squares - 2 * (c * load).sum(0) + (c * (gram @ c)).sum(0), 0.0)
        score = residual / max(1 - freedom / count, 1e-6) ** 2
        spread = np.sqrt(np.maximum(np.einsum("ti,ij,tj->t", shown, inverse @ gram @ inverse, shown), 0.0))
        better = score < best
        best, chosen = np.where(better, score, best), np.where(better, lam, chosen)
        fits[0][:, better] = (shown @ c)[:, better]
        fits[1][:, better] = (spread[:, None] * np.sqrt(residual / max(count - freedom, 1.0)))[:, better]
    return Trend(tuple(names) or tuple(f"gene {k + 1}" for k in range(values.shape[1])), at, fits[0], fits[1], chosen)


def _check(time: np.ndarray, values: np.ndarray, weight: np.ndarray, knots: int, penalty: float | None) -> None:
    if values.ndim != 2 or time.shape != values.shape[:1] or weight.shape != time.shape or not len(time):
        raise ValueError(f"times {time.shape}, values {values.shape}, weights {weight.shape}; [row], [row gene] and [row] were wanted")
    if not (np.isfinite(time).all() and np.isfinite(values).all() and np.isfinite(weight).all()):
        raise ValueError("times, values or weights of a trend are not finite; leave such cells out")
    if weight.min() < 0 or not weight.sum() > 0:
        raise ValueError(f"weights from {weight.min():g} to {weight.max():g}; non-negative ones, not all 0, were wanted: does no cell have this "
                         "fate?")
    if knots < 1 or (penalty is not None and not penalty > 0):
        raise ValueError(f"knots={knots}, penalty={penalty}; positive ones were wanted")


def gene_trends(bridge: Any, genes: GeneMap, names: Iterable[str], terminal: Mapping[str, Any] | Fates, *, n: int = 400, points: int = 50,
                knots: int = 8, seed: int = 0) -> dict[str, Trend]:
    """Expression of genes along each lineage, over time.

    With terminal sets, paths of the bridge are drawn and sorted by the set that they end in, so the trend is E[gene(X_t) | fate], also between
    snapshots. With `Fates`, the cells themselves are weighted by their probabilities, at the times of their snapshots. Genes come from states by the
    loadings, gene = mean + V x.

    Args:
        bridge: fitted.
        genes: see `gene_map`.
        names: the genes.
        terminal: terminal sets as in `fate`, or `Fates`.
        n: paths.
        points: times of the trend, from the first snapshot to the last.
        knots: see `spline`.
        seed: of the paths.

    Raises:
        ValueError: an unknown gene, other dimensions in the loadings than in the snapshots, or a fate that nothing has.
    """
    names = tuple(map(str, names))  # also an index of pandas
    clock, rows = bridge.snapshots.time, [genes.number(name) for name in names]
    if genes.loadings.shape[1] != bridge.snapshots.x.shape[1]:
        raise ValueError(f"loadings of {genes.loadings.shape[1]} dimensions for snapshots of {bridge.snapshots.x.shape[1]}; pass the same use_rep "
                         "and n_dims to gene_map and from_anndata")
    at = torch.linspace(float(clock[0]), float(clock[-1]), points, dtype=torch.float64)
    if isinstance(terminal, Fates):
        snapshots = bridge.snapshots
        x, time, fates = snapshots.x, snapshots.time[snapshots.snapshot], {k: terminal.of(k) for k in terminal.names}
    else:
        paths, ends = lineage_paths(bridge, terminal, at, n, seed)
        x, time = paths.reshape(-1, paths.shape[-1]), at.repeat(n)
        fates = {name: one.double().repeat_interleave(points) for name, one in ends.items()}
    values = (x.double() @ genes.loadings[rows].mT + genes.mean[rows]).numpy()
    found = {}
    for name, weight in fates.items():
        if not float(weight.sum()) > 0:
            raise ValueError(f"no cell or path has the fate {name!r}, so there is no trend; draw more paths (n={n}) or leave it out")
        found[name] = spline(time.numpy(), values, weight.numpy(), at.numpy(), knots, None, names)
    return found


def lineage_paths(bridge: Any, terminal: Mapping[str, Any], times: Float[Tensor, "time"], n: int = 400, seed: int = 0,
                  ) -> tuple[Float[Tensor, "path time dim"], dict[str, Tensor]]:
    """Paths of the bridge and, for each terminal set, which of them end in it: the first set that they meet at a snapshot. Paths pass through
    cells at the snapshots, so their share is the fate probability of the first snapshot, and each set's paths are draws of the process given that
    fate.

    Args:
        bridge: fitted.
        terminal: as in `fate`.
        times: rising, within the snapshots.
        n: paths.
        seed: of the paths.
    """
    snapshots = bridge.snapshots
    names, member = _memberships(snapshots, terminal)
    every = torch.unique(torch.cat([times.double(), snapshots.time]))
    x = bridge.bridge(every, n, seed=seed).x
    first = torch.full((n,), -1)
    for k in range(snapshots.n_snapshots):
        cells = snapshots.at(k).double()
        met = member[snapshots.snapshot == k][torch.cdist(x[:, torch.searchsorted(every, snapshots.time[k])], cells).argmin(1)]
        first = torch.where((first < 0) & (met.sum(1) > 0), met.argmax(1), first)
    return x[:, torch.searchsorted(every, times.double())], {name: first == column for column, name in enumerate(names)}
