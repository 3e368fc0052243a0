"""Further questions about forecasts of air quality: sudden changes, sparse data, fewer stations; and persistence on a week of METR-LA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from trajlab.evaluate.air_quality import DAMPED, OURS, Run
from trajlab.evaluate.air_quality_protocol import Protocol, Task, sudden
from trajlab.evaluate.results import Table
from trajlab.metrics.masked import MaskedErrors
from trajlab.models.air.baselines import StationPersistence
from trajlab.types import Trajectories

__all__ = ["few_table", "metr_la_persistence", "metr_la_table", "sparse_table", "sudden_table"]


def sudden_table(task: Task, runs: Mapping[str, Run], share: float = 0.1) -> tuple[Table, dict[str, Any]]:
    """Errors over the windows with the largest change of the mean over stations within 24 h."""
    which = sudden(task, share)
    found = {name: task.scores(r.said, which) for name, r in runs.items()}
    horizons = list(next(iter(found.values())))
    rows = [[name, *(f"{s[h].mae:.1f}" for h in horizons), *(f"{s[h].rmse:.1f}" for h in horizons)] for name, s in found.items()]
    title = f"Sudden change: the {share:.0%} of windows whose mean over stations changes most within {horizons[0]} h ({int(which.sum())} windows)"
    record = {name: {h: s[h].mae for h in horizons} for name, s in found.items()}
    return Table(title, ["method", *(f"MAE {h} h" for h in horizons), *(f"RMSE {h} h" for h in horizons)], rows,
                 "Chosen by what came: nothing here says that a change was foreseen."), record


def sparse_table(task: Task, whole: Mapping[str, Run], sparse: Mapping[float, Mapping[str, Run]]) -> Table:
    """How errors grow as training data are dropped, and the baseline that does not care."""
    h = task.longest
    names = list(next(iter(sparse.values())))
    rows = [[name, f"{whole[name].scores[h].mae:.1f}" if name in whole else None, *(f"{sparse[d][name].scores[h].mae:.1f}" for d in sparse)]
            for name in names]
    if DAMPED in whole:
        rows.append([DAMPED, f"{whole[DAMPED].scores[h].mae:.1f}", *[None] * len(sparse)])
    heads = ["method", "all data", *(f"{d:.0%} dropped" for d in sparse)]
    return Table(f"Sparse training data: MAE up to {h} h", heads, rows, "Weeks are dropped at random; statistics of stations keep all frames.")


def few_table(task: Task, nodes: Sequence[int], alone: Run, whole: Mapping[str, Run]) -> tuple[Table, dict[str, Any]]:
    """AirPhyNet that has some stations only, beside the one that sees all, both scored on these.

    Args:
        task: of all stations.
        nodes: numbers of those that ``alone`` saw.
        alone: AirPhyNet on them.
        whole: methods that saw all.
    """
    chosen = torch.zeros(task.series.n_nodes, dtype=torch.bool)
    chosen[list(nodes)] = True
    which = chosen[None].expand(len(task.origins()), -1)
    found = {f"sees {len(nodes)} stations": alone.scores}
    found |= {name: task.scores(whole[key].said, which) for key, name in ((OURS, f"sees {len(chosen)} stations"), (DAMPED, DAMPED)) if key in whole}
    horizons = list(alone.scores)
    rows = [[name, *(f"{s[h].mae:.1f}" for h in horizons)] for name, s in found.items()]
    title = f"Fewer stations: AirPhyNet, MAE on {', '.join(task.series.source['stations'][k] for k in nodes)}"
    return Table(title, ["method", *(f"MAE {h} h" for h in horizons)], rows), {name: {h: s[h].mae for h in horizons} for name, s in found.items()}


def metr_la_persistence(series: Trajectories) -> Mapping[int, MaskedErrors]:
    """Errors of persistence at 15, 30 and 60 min in the last fifth of a week of METR-LA, every 5 min."""
    task = Task(series, Protocol(horizons=(3, 6, 12), past=12, every=1))
    method = StationPersistence().fit(task.train)
    return task.scores(task.answers(method), at=True)


def metr_la_table(scores: Mapping[str, Mapping[int, MaskedErrors]]) -> Table:
    """Errors at the lead time."""
    horizons = list(next(iter(scores.values())))
    rows = [[name, *(f"{s[h].mae:.2f}" for h in horizons), *(f"{s[h].rmse:.2f}" for h in horizons)] for name, s in scores.items()]
    heads = ["method", *(f"MAE {5 * h} min" for h in horizons), *(f"RMSE {5 * h} min" for h in horizons)]
    return Table("METR-LA, first week: errors at the lead time, mph, last fifth", heads, rows,
                 "Published figures are of four months of data, and of another test part.")
