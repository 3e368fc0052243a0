"""Further questions about forecasts of air quality: sudden changes, sparse data, fewer stations; and persistence on a week of METR-LA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trajlab.evaluate.air_quality import DAMPED, OURS, Run, net, run
from trajlab.evaluate.air_quality_protocol import Protocol, Task, sudden
from trajlab.evaluate.results import Table
from trajlab.metrics.masked import MaskedErrors
from trajlab.models.air.airphynet_config import AirPhyNetConfig
from trajlab.models.air.baselines import StationPersistence
from trajlab.types import Trajectories

__all__ = ["few_stations", "metr_la_persistence", "metr_la_table", "sparse_runs", "sparse_table", "sudden_table"]


def sudden_table(task: Task, runs: Mapping[str, Run], share: float = 0.1) -> tuple[Table, dict[str, Any]]:
    """Errors over the windows with the largest change of the mean over stations within 24 h."""
    which = sudden(task, share)
    found = {name: task.scores(r.said, which) for name, r in runs.items()}
    horizons = list(next(iter(found.values())))
    rows = [[name, *(f"{s[h].mae:.1f}" for h in horizons), *(f"{s[h].rmse:.1f}" for h in horizons)] for name, s in found.items()]
    title = f"Sudden change: the {share:.0%} of windows whose mean over stations changes most within 24 h ({int(which.sum())} windows)"
    record = {name: {h: s[h].mae for h in horizons} for name, s in found.items()}
    return Table(title, ["method", *(f"MAE {h} h" for h in horizons), *(f"RMSE {h} h" for h in horizons)], rows,
                 "Chosen by what came: nothing here says that a change was foreseen."), record


def sparse_runs(task: Task, common: AirPhyNetConfig, names: Sequence[str], dropped: Sequence[float]) -> dict[float, dict[str, Run]]:
    """Nets that are trained on what is left when so much of the training windows is dropped, in weeks; validation and test are untouched."""
    return {d: {name: run(name, net(name, common.but(share=1 - d)), task) for name in names} for d in dropped}


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


def few_stations(series: Trajectories, nodes: Sequence[int], whole: Mapping[str, Run], common: AirPhyNetConfig,
                 protocol: Protocol | None = None) -> tuple[Table, dict[str, Any]]:
    """AirPhyNet that has some stations only, beside the one that sees all, both scored on these."""
    task, some = Task(series, protocol), Task(part(series, nodes), protocol)
    alone = run(OURS, net(OURS, common), some)
    chosen = torch.zeros(series.n_nodes, dtype=torch.bool)
    chosen[list(nodes)] = True
    which = chosen[None].expand(len(task.origins()), -1)
    found = {f"sees {len(nodes)} stations": alone.scores, f"sees {series.n_nodes} stations": task.scores(whole[OURS].said, which)}
    if DAMPED in whole:
        found[DAMPED] = task.scores(whole[DAMPED].said, which)
    horizons = list(alone.scores)
    rows = [[name, *(f"{s[h].mae:.1f}" for h in horizons)] for name, s in found.items()]
    title = f"Fewer stations: AirPhyNet, MAE on {', '.join(series.source['stations'][k] for k in nodes)}"
    return Table(title, ["method", *(f"MAE {h} h" for h in horizons)], rows), {name: {h: s[h].mae for h in horizons} for name, s in found.items()}


def part(series: Trajectories, nodes: Sequence[int]) -> Trajectories:
    """Some sensors of a single scene.

    Raises:
        ValueError: more than one scene, or a number that is no sensor's.
    """
    if series.n_scenes != 1 or not nodes or not 0 <= min(nodes) <= max(nodes) < series.n_nodes:
        raise ValueError(f"sensors {list(nodes)} of {series.n_nodes} in {series.n_scenes} scenes: numbers of sensors of one scene were wanted")
    pick: Tensor = torch.as_tensor(list(nodes))
    names = series.source.get("stations", range(series.n_nodes))
    return series.replace(x=series.x[pick], mask=series.mask[pick], scene=series.scene[pick], kind=series.kind[pick],
                          extra={k: v[pick] for k, v in series.extra.items()}, static={k: v[pick] for k, v in series.static.items()},
                          source={**series.source, "stations": tuple(names[k] for k in nodes)})


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
