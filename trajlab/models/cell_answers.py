"""What a fitted bridge says of each of its cells: velocity, growth, pseudo-time, fates; and all of it written into AnnData."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.data.adapters.anndata_out import CellAnswers, snapshots_to_anndata, sparse_plan, write_answers
from trajlab.models.fates import Fates, fate, growth, transition
from trajlab.types import Snapshots

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["growth_of", "neighbour_mean", "pseudotime_of", "to_anndata", "velocity_of"]

NOTES = {
    "velocity": "mean rate of change of the bridges that leave a cell; at the last snapshot, of those that reach it",
    "pseudotime": "mean time at which paths of the bridge, looked at evenly in time, pass near the cell's state",
    "growth": "net growth per unit of time, averaged over neighbours of the same snapshot; none for the last snapshot",
}


def velocity_of(bridge: Any) -> Float[Tensor, "cell dim"]:
    """Velocity of each cell, in the snapshots' coordinates per unit of time: the mean rate of change of the bridges that leave it,

        v(x) = f(x) + D G_0^T S_T^-1 ( E[y | x] - m_T(x) ),

    which is the drift of the bridge process there. No bridge leaves the last snapshot; there it is that of the bridges which reach the cell,

        v(y) = E[ f(m_T) + (Df(m_T) + D S_T^-1)(y - m_T) | y ].

    For a Brownian reference both are (E[y | x] - x) / T. Exact for linear references, of the linear-noise approximation for others.
    """
    plans, laws, reference = bridge.plans, bridge.evidence.laws, bridge.reference
    found = []
    for one, law, plan in zip(bridge.evidence.intervals, laws, plans):
        gap = transition(plan.P.double()) @ one.y - law.m[:, -1]
        pull = torch.linalg.solve(law.S[:, -1], gap[..., None])
        found.append(reference.drift(one.x) + (reference.D @ law.G[:, 0].mT @ pull)[..., 0])
    return torch.cat([*found, _arriving(reference, laws[-1], plans[-1].P.double(), bridge.evidence.intervals[-1].y)]) * bridge.scale.divisor


def _arriving(reference: Any, law: Any, plan: Tensor, y: Tensor) -> Float[Tensor, "target dim"]:
    """The mean rate of change of bridges as they reach each target: linear in y for each source, so sources are averaged first."""
    end = law.m[:, -1]
    slope = reference.jacobian(end) + reference.D @ torch.linalg.inv(law.S[:, -1])
    offset = reference.drift(end) - (slope @ end[..., None])[..., 0]
    back = transition(plan.mT)
    mean = (back @ slope.flatten(1)).reshape(len(y), *slope.shape[1:])
    return back @ offset + (mean @ y[..., None])[..., 0]


def pseudotime_of(bridge: Any, n: int = 200, points: int = 60, neighbours: int = 30, seed: int = 0) -> Float[Tensor, "cell"]:
    """Pseudo-time of each cell: the expected time under the bridge, given the state,  E[s | X_s = x]  for s uniform between the first snapshot and
    the last. Estimated as the mean time of the nearest states of drawn paths, looked at evenly in time. A cell ahead of its snapshot has a time
    later than its own; states that are passed twice (cycles) get a mean between.

    Args:
        bridge: fitted, with ``bridge(times, n, seed)``, ``snapshots`` and ``scale``.
        n: paths.
        points: times at which they are looked at.
        neighbours: path states that are averaged.
        seed: of the paths.
    """
    from scipy.spatial import cKDTree

    time = bridge.snapshots.time
    at = torch.linspace(float(time[0]), float(time[-1]), points, dtype=torch.float64)
    paths = bridge.bridge(at, n, seed=seed).x.double()
    divisor = bridge.scale.divisor
    _, near = cKDTree((paths.reshape(-1, paths.shape[-1]) / divisor).numpy()).query((bridge.snapshots.x.double() / divisor).numpy(), k=neighbours)
    return at[torch.from_numpy(np.asarray(near)) % points].mean(1)


def growth_of(bridge: Any, sizes: Sequence[float] | None = None, neighbours: int = 15) -> Float[Tensor, "cell"]:
    """Net growth rate of each cell (see `trajlab.models.fates.growth`), averaged over its nearest neighbours in its snapshot, itself included, since
    single cells' rates are noisy; NaN at the last snapshot.

    Args:
        bridge: fitted with ``growth``, so that source marginals are relaxed.
        sizes: of each population, where known; else the mean growth of every interval is 0.
        neighbours: averaged; 1 for none.

    Raises:
        ValueError: as many sizes as snapshots were wanted.
    """
    intervals = bridge.evidence.intervals
    if sizes is not None and len(sizes) != len(intervals) + 1:
        raise ValueError(f"{len(sizes)} sizes for {len(intervals) + 1} snapshots; one a snapshot was wanted")
    found = []
    for k, (one, plan) in enumerate(zip(intervals, bridge.plans)):
        rate = growth(plan.P, one.a, one.duration, None if sizes is None else (float(sizes[k]), float(sizes[k + 1])))
        found.append(neighbour_mean(one.x, rate, neighbours))
    return torch.cat([*found, torch.full((len(intervals[-1].y),), float("nan"), dtype=torch.float64)])


def neighbour_mean(x: Float[Tensor, "cell dim"], values: Float[Tensor, "cell"], neighbours: int) -> Float[Tensor, "cell"]:
    """The mean of values over the nearest cells, each cell itself included."""
    from scipy.spatial import cKDTree

    if neighbours < 2:
        return values
    _, near = cKDTree(x.numpy()).query(x.numpy(), k=min(neighbours, len(x)))
    return values[torch.from_numpy(np.asarray(near)).reshape(len(x), -1)].mean(1)


def to_anndata(
    result: Any, adata: AnnData | None = None, *, terminal: Mapping[str, Any] | Fates | None = None, sizes: Sequence[float] | None = None,
    velocity: Callable[[Tensor, Tensor], Tensor] | None = None, threshold: float = 1e-4, key: str = "trajlab", seed: int = 0,
) -> AnnData:
    """Write a fitted bridge into AnnData, in place, and return it. Where ``key`` is ``"trajlab"`` and cells were read from ``X_pca``:

    - ``obsm["velocity_pca"]``: velocity, see `velocity_of`, or the one given;
    - ``obs["trajlab_time"]``: time of the snapshot, categorical;
    - ``obs["trajlab_pseudotime"]``: expected time under the bridge given the state, see `pseudotime_of`;
    - ``obs["trajlab_growth"]``: growth rate, see `growth_of`, where it was fitted or ``sizes`` are given;
    - ``obsm["trajlab_fates"]``: fate probabilities, the names of whose columns are in ``uns["trajlab"]["fate_names"]``;
    - ``uns["trajlab"]["couplings"]``: sparse plans under ``"0->1"``, ``"1->2"``, ...; `to_cellrank` makes CellRank's mapping of them.

    All of it survives ``.h5ad``. Snapshots alone give a new AnnData.

    Args:
        result: a fitted `SchrodingerBridge`, or `Snapshots`.
        adata: the one that the snapshots came from; it may have been reordered, or have gained cells, which get NaN.
        terminal: terminal sets as in `fate`, or `Fates`.
        sizes: of each population, see `growth_of`.
        velocity: v(x, t) in the snapshots' coordinates, for ``[cell dim]`` and ``[cell]``, such as that of a fitted flow.
        threshold: see `trajlab.data.adapters.anndata_out.sparse_plan`.
        key: what names begin with.
        seed: of the paths that pseudo-times come from.

    Raises:
        TypeError: neither a bridge nor snapshots.
        ValueError: no AnnData to write into, one that lacks cells, or a key that cannot be saved.
    """
    if isinstance(result, Snapshots):
        if adata is not None:
            raise ValueError("to_anndata got Snapshots and an AnnData; Snapshots alone, or a fitted bridge and an AnnData, were wanted")
        return snapshots_to_anndata(result)
    if not all(hasattr(result, name) for name in ("snapshots", "plans", "evidence", "scale")):
        raise TypeError(f"to_anndata got a {type(result).__name__}; a SchrodingerBridge that was fitted, or Snapshots, were wanted")
    if adata is None:
        raise ValueError("to_anndata needs the AnnData that the snapshots came from: to_anndata(bridge, adata)")
    snapshots = result.snapshots
    found = velocity_of(result) if velocity is None else velocity(snapshots.x.double(), snapshots.time[snapshots.snapshot])
    obs = {"pseudotime": pseudotime_of(result, seed=seed).numpy()}
    if sizes is not None or getattr(result.config, "growth", None) is not None:
        obs["growth"] = growth_of(result, sizes).numpy()
    ends = fate(result, terminal) if isinstance(terminal, Mapping) else terminal
    basis = str(snapshots.source.get("use_rep", "X_x")).removeprefix("X_")
    answers = CellAnswers(
        obs, {basis: found.detach().numpy()}, None if ends is None else ends.probability.numpy(), () if ends is None else ends.names,
        [sparse_plan(plan.P.numpy(), threshold) for plan in result.plans], {**NOTES, **result.provenance()})
    write_answers(answers, snapshots, adata, key)
    return adata
