"""Snapshots as the bridge wants them: scaled coordinates, weights, intervals between neighbours, and a snapshot left out."""

from __future__ import annotations

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
        ValueError: fewer than two snapshots.
    """
    if snapshots.n_snapshots < 2:
        raise ValueError(f"a bridge needs at least 2 snapshots, got {snapshots.n_snapshots}")
    cells = [snapshots.x[snapshots.snapshot == k].double() for k in range(snapshots.n_snapshots)]
    weight = [snapshots.weight[snapshots.snapshot == k].double() for k in range(snapshots.n_snapshots)]
    weight = [w / w.sum() for w in weight]
    gaps = snapshots.time.diff().tolist()
    return [Interval(cells[k], cells[k + 1], weight[k], weight[k + 1], gap) for k, gap in enumerate(gaps)]


def without(snapshots: Snapshots, number: int | None) -> tuple[Snapshots, Float[Tensor, "cell dim"], float]:
    """The other snapshots, the cells of one, and its time.

    Raises:
        ValueError: it is not an inner snapshot.
    """
    if number is None or not 0 < number < snapshots.n_snapshots - 1:
        raise ValueError(f"snapshot {number} of {snapshots.n_snapshots} cannot be held out; an inner one, "
                         f"1 to {snapshots.n_snapshots - 2}, was wanted")
    out = snapshots.snapshot == number
    rest = torch.where(snapshots.snapshot > number, snapshots.snapshot - 1, snapshots.snapshot)[~out]
    keep = torch.arange(snapshots.n_snapshots) != number
    others = snapshots.replace(x=snapshots.x[~out], snapshot=rest, time=snapshots.time[keep], weight=snapshots.weight[~out])
    return others, snapshots.x[out].double(), float(snapshots.time[number])
