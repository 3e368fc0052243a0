"""Snapshots as the bridge wants them: scaled coordinates, weights, intervals between neighbours, and a snapshot left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.models.bridge_evidence import Interval
from trajlab.types import Snapshots

__all__ = ["Scale", "intervals_of", "without"]


@dataclass(frozen=True, eq=False)
class Scale:
    """x -> (x - shift) / divisor, float64."""

    shift: Tensor
    divisor: Tensor

    @classmethod
    def of(cls, snapshots: Snapshots, kind: str) -> Scale:
        """``none``; ``one``: the root of the mean variance over dimensions; ``each``: the deviation of each dimension (constant ones are left)."""
        x = snapshots.x.double()
        if kind == "none":
            return cls(torch.zeros(x.shape[1], dtype=torch.float64), torch.ones(x.shape[1], dtype=torch.float64))
        deviation = x.std(0, correction=0)
        if kind == "one":
            deviation = deviation.square().mean().sqrt().expand_as(deviation)
        return cls(x.mean(0), torch.where(deviation > 1e-12 * float(x.abs().max().clamp(min=1e-300)), deviation, 1.0))

    def forward(self, snapshots: Snapshots) -> Snapshots:
        return snapshots.replace(x=(snapshots.x.double() - self.shift) / self.divisor)

    def back(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return x * self.divisor + self.shift


def intervals_of(snapshots: Snapshots) -> list[Interval]:
    """Neighbouring snapshots.

    Raises:
        ValueError: fewer than two snapshots, or one without a cell of positive weight.
    """
    if snapshots.n_snapshots < 2:
        raise ValueError(f"a bridge needs at least 2 snapshots, got {snapshots.n_snapshots}")
    counts = snapshots.weight > 0  # cells of weight zero take no part
    each = [(snapshots.snapshot == k) & counts for k in range(snapshots.n_snapshots)]
    empty = [k for k, mine in enumerate(each) if not bool(mine.any())]
    if empty:
        raise ValueError(f"snapshots {empty} hold no cell of positive weight; leave them out")
    cells, weight = [snapshots.x[mine].double() for mine in each], [snapshots.weight[mine].double() for mine in each]
    weight = [w / w.sum() for w in weight]
    gaps = snapshots.time.diff().tolist()
    return [Interval(cells[k], cells[k + 1], weight[k], weight[k + 1], gap) for k, gap in enumerate(gaps)]


def without(snapshots: Snapshots, numbers: Sequence[int]) -> Snapshots:
    """The other snapshots.

    Raises:
        ValueError: a number that is none of a snapshot.
    """
    wrong = [k for k in numbers if not 0 <= k < snapshots.n_snapshots]
    if wrong:
        raise ValueError(f"snapshots {wrong} of {snapshots.n_snapshots} cannot be left out; 0 to {snapshots.n_snapshots - 1} were wanted")
    if not numbers:
        return snapshots
    keep = torch.tensor([k not in numbers for k in range(snapshots.n_snapshots)])
    stays, new = keep[snapshots.snapshot], keep.cumsum(0) - 1
    return snapshots.replace(x=snapshots.x[stays], snapshot=new[snapshots.snapshot[stays]], time=snapshots.time[keep], weight=snapshots.weight[stays])
