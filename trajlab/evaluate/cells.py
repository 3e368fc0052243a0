"""Snapshots left out in turn: how far a method's population is from the cells that were seen, beside what chance alone gives.

Each inner snapshot is taken out, a method predicts it from the others, and W1 (mean Euclidean transport cost), W2 (root of the mean squared cost) and
the unbiased energy distance to the cells are measured. The finite-sample floor is the distance of two halves of the snapshot itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.evaluate.results import Table
from trajlab.metrics.distribution import energy_distance, finite_sample_floor, wasserstein
from trajlab.models.bridge_scale import without
from trajlab.models.snapshot_baselines import SnapshotMethod
from trajlab.types import Snapshots

__all__ = ["HeldOut", "held_out_table", "inner", "leave_one_out", "means", "scored"]

NOTE = ("W1: mean Euclidean transport cost; W2: root of the mean squared cost; energy: unbiased energy distance, near zero for two samples of one "
        "law. Floor: two halves of the snapshot itself, mean of 3 splits; at the full number of cells W1's floor is lower.")


def _silent(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class HeldOut:
    """One prediction of one snapshot.

    Attributes:
        method: name of the row.
        index: of the snapshot that was left out.
        w1, w2, energy: distances to its cells.
        seconds: of CPU time for fit and prediction, not for the distances.
        cells: that were predicted.
        failed: why there is no prediction, else empty; the distances are infinite then.
    """

    method: str
    index: int
    w1: float
    w2: float
    energy: float
    seconds: float = 0.0
    cells: int = 0
    failed: str = ""


def inner(snapshots: Snapshots, folds: Sequence[int] | None = None) -> list[int]:
    """The snapshots to leave out: those asked for, or all with neighbours on both sides.

    Raises:
        ValueError: one has no two neighbours, or there is none.
    """
    known = list(range(1, snapshots.n_snapshots - 1))
    if not known:
        raise ValueError(f"{snapshots.n_snapshots} snapshots; three or more were wanted, so that one between others can be left out")
    wrong = [k for k in folds or () if k not in known]
    if wrong:
        raise ValueError(f"snapshot {wrong[0]} was to be left out; one with neighbours on both sides was wanted: {known[0]} to {known[-1]}")
    return list(folds) if folds is not None else known


def scored(method: str, index: int, predicted: Float[Tensor, "cell dim"], cells: Float[Tensor, "other dim"], seconds: float = 0.0) -> HeldOut:
    """The distances of a prediction."""
    return HeldOut(method, index, wasserstein(predicted, cells, 1), wasserstein(predicted, cells, 2), energy_distance(predicted, cells), seconds,
                   len(predicted))


def leave_one_out(snapshots: Snapshots, methods: Mapping[str, Callable[[], SnapshotMethod]], seed: int = 0, folds: Sequence[int] | None = None,
                  say: Callable[[str], None] = _silent, together: bool = False) -> list[HeldOut]:
    """Every method on every fold. A method that fails has its reason in its row and an infinite distance; the others go on.

    Args:
        snapshots: all of them; a method never sees the one left out.
        methods: by name of the row, makers of methods, called once.
        seed: of everything that is drawn, the same for each method and fold.
        folds: snapshots to leave out; all inner ones by default.
        say: is told each result.
        together: no fold is seen while another is predicted.

    Raises:
        ValueError: as `inner`.
    """
    found, chosen = [], inner(snapshots, folds)
    for name, make in methods.items():
        for index in chosen:
            rest, when = without(snapshots, chosen if together else [index]), float(snapshots.time[index])
            began = time.process_time()
            try:
                predicted = make().at(rest, when, torch.Generator().manual_seed(seed))
                spent = time.process_time() - began
                one = scored(name, index, predicted, snapshots.at(index).double(), spent)
            except (ValueError, RuntimeError, ImportError) as error:  # belongs into its row
                one = HeldOut(name, index, float("inf"), float("inf"), float("inf"), time.process_time() - began, 0, " ".join(str(error).split()))
            found.append(one)
            say(f"{name}, snapshot {index}: W1 {one.w1:.3f}, W2 {one.w2:.3f}, energy {one.energy:.3f}, {one.seconds:.1f} s {one.failed}".rstrip())
    return found


def means(scores: Sequence[HeldOut], method: str) -> tuple[float, float, float]:
    """W1, W2 and energy distance of a method, averaged over its folds.

    Raises:
        ValueError: there is none of that name.
    """
    rows = [s for s in scores if s.method == method]
    if not rows:
        raise ValueError(f"no scores of {method!r}; there are those of {', '.join(sorted({s.method for s in scores}))}")
    return fmean(s.w1 for s in rows), fmean(s.w2 for s in rows), fmean(s.energy for s in rows)


def floors(snapshots: Snapshots, folds: Sequence[int], seed: int = 0) -> list[HeldOut]:
    """Two halves of each snapshot against each other."""
    half = "floor (halves)"
    return [HeldOut(half, k, *(finite_sample_floor(snapshots.at(k), name, seed=seed) for name in ("W1", "W2", "energy"))) for k in folds]


def held_out_table(scores: Sequence[HeldOut], snapshots: Snapshots, title: str, note: str = "") -> Table:
    """One row a method, the floor first: W1 of each fold, and means of all three distances."""
    folds = sorted({s.index for s in scores})
    every = [*floors(snapshots, folds), *scores]
    rows: list[list[float | str | None]] = []
    for name in dict.fromkeys(s.method for s in every):
        mine = {s.index: s for s in every if s.method == name}
        first, second, energy = means(every, name)
        seconds = fmean(s.seconds for s in mine.values())
        rows.append([name, *(mine[k].w1 if k in mine else None for k in folds), first, second, energy, None if name.startswith("floor") else seconds])
    failed = "; ".join(dict.fromkeys(f"{s.method}: {s.failed}" for s in scores if s.failed))
    heads = ["method", *(f"W1 at {float(snapshots.time[k]):g}" for k in folds), "mean W1", "mean W2", "mean energy", "CPU s a fold"]
    return Table(title, heads, rows, " ".join(filter(None, [note, NOTE, failed])))
