"""What a bridge through snapshots of cells says, as an evaluation for the report: cells and paths, velocity, fates, and held-out distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trajlab.evaluate.cells import HeldOut, held_out_table
from trajlab.evaluate.results import Curve, Evaluation, Figure, Picture, Table
from trajlab.models.cell_answers import velocity_of
from trajlab.models.fates import Fates, fate
from trajlab.models.sbirr import SchrodingerBridge
from trajlab.types import Snapshots, Trajectories

__all__ = ["bridge_evaluation", "ends_by_kmeans"]

PATHS = 60  #: drawn in the picture


@dataclass(frozen=True)
class Answers:
    """What was computed of a fitted bridge: paths, velocity of every cell, and fates."""

    bridge: SchrodingerBridge
    paths: Trajectories
    velocity: np.ndarray
    ends: Fates


def ends_by_kmeans(snapshots: Snapshots, count: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """Terminal sets where nothing is known of types: the last snapshot in so many clusters (k-means, Lloyd 1982; started by k-means++).

    Returns:
        Name -> mask over all cells; ``end 1`` is the largest.

    Raises:
        ValueError: fewer than one cluster, or more than the last snapshot has cells.
    """
    from scipy.cluster.vq import kmeans2

    where = (snapshots.snapshot == snapshots.n_snapshots - 1).numpy()
    x = snapshots.x[torch.from_numpy(where)].double().numpy()
    if not 1 <= count <= len(x):
        raise ValueError(f"{count} terminal sets of a last snapshot with {len(x)} cells; 1 to {len(x)} were wanted")
    tries = [kmeans2(x, count, minit="++", seed=np.random.default_rng(seed + k), missing="warn") for k in range(5)]
    middle, label = min(tries, key=lambda one: float(((x - one[0][one[1]]) ** 2).sum()))
    sizes = np.bincount(label, minlength=len(middle))
    found = {}
    for place, cluster in enumerate(k for k in np.argsort(-sizes, kind="stable") if sizes[k]):
        mask = np.zeros(len(where), dtype=bool)
        mask[np.flatnonzero(where)[label == cluster]] = True
        found[f"end {place + 1}"] = mask
    return found


def bridge_evaluation(bridge: SchrodingerBridge, terminal: Mapping[str, Any], scores: Sequence[HeldOut], whole: Snapshots, name: str = "cells",
                      seed: int = 0) -> Evaluation:
    """All that the page shows.

    Args:
        bridge: fitted.
        terminal: terminal sets over the bridge's snapshots, as `trajlab.models.fates.fate` takes them.
        scores: held-out distances, of `trajlab.evaluate.cells.leave_one_out`.
        whole: the snapshots that ``scores`` are about.
        name: of the data.
        seed: of the paths.
    """
    clock = torch.linspace(float(bridge.snapshots.time[0]), float(bridge.snapshots.time[-1]), 41, dtype=torch.float64)
    answers = Answers(bridge, bridge.bridge(clock, PATHS, seed), velocity_of(bridge).numpy(), fate(bridge, terminal))
    tables = [_snapshots(answers), _fates(answers)]
    if scores:
        tables.insert(0, held_out_table(scores, whole, "Snapshots left out", "In the units of the coordinates."))
    figures = [_shares(answers), *([_history(bridge)] if len(bridge.history) > 1 else [])]
    return Evaluation(f"Bridge through {name}", _summary(answers, scores), tables, figures, provenance=bridge.provenance(),
                      pictures=_pictures(answers))


def _summary(answers: Answers, scores: Sequence[HeldOut]) -> str:
    bridge = answers.bridge
    seen, worst = bridge.snapshots, max(plan.error for plan in bridge.plans)
    lines = [f"- {len(seen.x)} cells at {seen.n_snapshots} times from {float(seen.time[0]):g} to {float(seen.time[-1]):g}"
             f"{'' if seen.units.time == '1' else ' ' + seen.units.time}, {seen.x.shape[1]} dimensions",
             f"- references of the family {bridge.provenance()['family']}, volatility {bridge.sigma:.3g} in scaled coordinates, "
             f"{len(bridge.history) - 1} refinements, largest marginal error {worst:.1e}"]
    if bridge.parameters:
        lines.append("- parameters: " + ", ".join(f"{key} {value:.4g}" for key, value in bridge.parameters.items()))
    if scores:
        best = {s.method: [r.w1 for r in scores if r.method == s.method] for s in scores}
        ranked = sorted(best, key=lambda key: float(np.mean(best[key])))
        lines.append(f"- nearest to snapshots left out, by mean W1: {ranked[0]}, then {ranked[1]}" if len(ranked) > 1 else f"- judged: {ranked[0]}")
    return "\n".join(lines) + ("\n\nA bridge says how populations can have come from each other with the least deviation from its reference. Drift, "
                               "noise and growth cannot all be told from snapshots, and cells are not followed: fates are those of this model.")


def _snapshots(answers: Answers) -> Table:
    seen, rows = answers.bridge.snapshots, []
    for k in range(seen.n_snapshots):
        speed = np.linalg.norm(answers.velocity[(seen.snapshot == k).numpy()], axis=1).mean()
        plan = answers.bridge.plans[k] if k + 1 < seen.n_snapshots else None
        told = [plan.error, plan.converged] if plan else [None, None]
        rows.append([f"{float(seen.time[k]):g}", int((seen.snapshot == k).sum()), float(speed), *told])
    return Table("Snapshots that were fitted", ["time", "cells", "mean speed", "marginal error of the plan from here", "converged"], rows,
                 "Speed: norm of the mean rate of change of the bridges that leave a cell (of those that reach it at the last snapshot).")


def _decided(answers: Answers) -> tuple[list[list[float]], list[float]]:
    """For each snapshot: shares of cells that end in each set with a probability above a half, and the mean commitment."""
    seen, ends = answers.bridge.snapshots, answers.ends
    shares = [(ends.at(k) > 0.5).double().mean(0).tolist() for k in range(seen.n_snapshots)]
    return shares, [float(ends.commitment[seen.snapshot == k].mean()) for k in range(seen.n_snapshots)]


def _fates(answers: Answers) -> Table:
    shares, commitment = _decided(answers)
    rows = [[f"{float(t):g}", *row, max(1 - sum(row), 0.0), sure] for t, row, sure in zip(answers.bridge.snapshots.time, shares, commitment)]
    return Table("Fates: share of cells for which an end is likelier than not", ["time", *answers.ends.names, "undecided", "commitment"], rows,
                 "Commitment: 1 - entropy over that of an even chance, averaged over cells; 1 where every cell's fate is certain.")


def _shares(answers: Answers) -> Figure:
    shares, commitment = _decided(answers)
    seen, by_end = answers.bridge.snapshots, np.array(shares).T
    curves = [Curve("commitment", seen.time.numpy(), np.array(commitment)),
              *(Curve(f"{name} likelier than not", seen.time.numpy(), share) for name, share in zip(answers.ends.names, by_end))]
    unit = "" if seen.units.time == "1" else f", {seen.units.time}"
    return Figure("When fates are decided", f"time{unit}", "share of cells, commitment", curves)


def _history(bridge: SchrodingerBridge) -> Figure:
    steps = np.arange(len(bridge.history), dtype=float)
    return Figure("Objective of the refinement", "iteration", "divergence from the reference, up to a constant",
                  [Curve("objective", steps, np.array([step.objective for step in bridge.history]))],
                  note="It falls as far as the transition law of the reference is exact; the lowest iterate is kept.")


def _pictures(answers: Answers) -> list[Picture]:
    seen = answers.bridge.snapshots
    x, time = seen.x.double().numpy(), seen.time[seen.snapshot].numpy()
    shared = {"x": x, "time": time, "names": tuple(seen.names[:2]), "unit": seen.units.time}
    note = "First two dimensions."
    return [Picture("Snapshots and paths of the bridge", "time", paths=answers.paths.x.numpy(), note=note, **shared),
            Picture("Velocity", "velocity", velocity=answers.velocity, note=f"{note} Mean rate of change of the bridges from a cell.", **shared),
            Picture("Fates", "fates", fates=answers.ends.probability.numpy(), labels=answers.ends.names,
                    note=f"{note} The likeliest end, paler where it is less certain.", **shared)]
