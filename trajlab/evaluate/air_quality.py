"""Forecasts of air quality compared: which methods there are, how each fares at every horizon, and the tables of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trajlab.evaluate.air_quality_protocol import Protocol, Task, part
from trajlab.evaluate.results import Table
from trajlab.metrics.masked import MaskedErrors
from trajlab.metrics.paired import Paired, paired_bootstrap
from trajlab.models.air.airphynet import AirPhyNet
from trajlab.models.air.airphynet_config import AirPhyNetConfig
from trajlab.models.air.baselines import Climatology, DampedPersistence, StationPersistence
from trajlab.models.air.station_forecaster import StationForecaster
from trajlab.sources.air_quality import prsa
from trajlab.types import Trajectories

__all__ = ["DAMPED", "NETS", "OURS", "PLAIN", "ROOTS", "Job", "Run", "compared", "error_table", "judged", "net", "plain_methods", "run", "verdict",
           "work"]

OURS, DAMPED, TUNED = "AirPhyNet", "damped persistence, e-fold 24 h", "damped persistence, e-fold of validation"
ROOTS = "the same in roots, to the median"  #: the forecast that AirPhyNet adds to, with an e-folding time of the validation
PLAIN = ("persistence", DAMPED, TUNED, ROOTS, "climatology, mean", "climatology, median", "climatology, hour of day")
BLOCK = 24  #: windows of a block of the bootstrap: 24 times 7 h, a week

#: settings of the nets beside the common ones
NETS: dict[str, dict[str, Any]] = {
    "GRU": {"core": "gru"},
    "graph GRU (DCRNN-lite)": {"core": "graph_gru"},
    OURS: {},
    "AirPhyNet, diffusion only": {"advection": False},
    "AirPhyNet, advection only": {"diffusion": False},
    "neural ODE without physics": {"diffusion": False, "advection": False},
    "AirPhyNet told the wind that came": {"wind": "given"},
}


@dataclass
class Run:
    """A method that was fitted and asked.

    Attributes:
        name: in tables.
        said: forecasts of all windows, ``[window node time]``.
        scores: at every horizon.
        members: mean absolute error of every net by itself, at every horizon.
        physics: what was learned of the terms.
        seconds: CPU seconds of fit and forecasts.
    """

    name: str
    said: Tensor
    scores: Mapping[int, MaskedErrors]
    members: Mapping[int, list[float]] = field(default_factory=dict)
    physics: Mapping[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return {"mae": {h: s.mae for h, s in self.scores.items()}, "rmse": {h: s.rmse for h, s in self.scores.items()},
                "members": dict(self.members), "physics": dict(self.physics), "seconds": self.seconds}


def plain_methods(longest: int = 72) -> dict[str, StationForecaster]:
    """The baselines that learn next to nothing, by name, unfitted."""
    return dict(zip(PLAIN, (StationPersistence(), DampedPersistence(24.0), DampedPersistence(None, steps=longest),
                            DampedPersistence(None, steps=longest, roots=True), Climatology("mean"), Climatology("median"), Climatology("hour"))))


def net(name: str, common: AirPhyNetConfig, say: Callable[[str], None] | None = None) -> AirPhyNet:
    """A net of `NETS`, with common settings, unfitted.

    Raises:
        ValueError: none of that name.
    """
    from trajlab.catalog import unknown

    if name not in NETS:
        raise ValueError(unknown("net", name, NETS))
    return AirPhyNet(common.but(**NETS[name]), say=say)


def run(name: str, method: StationForecaster, task: Task, train: Trajectories | None = None) -> Run:
    """Fit a method on the training part (or on another) and score it on the test windows."""
    began = time.process_time()
    method.fit(task.train if train is None else train, task.validation)
    told = isinstance(method, AirPhyNet) and method.config.wind == "given"
    said = task.answers(method, told_wind=told)
    out = Run(name, said, task.scores(said))
    if isinstance(method, AirPhyNet):
        members = range(len(method.nets) if len(method.nets) > 1 else 0)
        alone = [task.scores(task.answers(_alone(method, k), told_wind=told)) for k in members] or [out.scores]
        out.members = {h: [s[h].mae for s in alone] for h in out.scores}
        out.physics = method.physics()
    out.seconds = time.process_time() - began
    return out


@dataclass(frozen=True)
class Job:
    """A net that is to be run, in a process of its own.

    Attributes:
        name: of `NETS`.
        folder: of the series.
        protocol: of the windows.
        common: settings of all nets.
        nodes: numbers of the stations that it sees; all by default.
    """

    name: str
    folder: Path
    protocol: Protocol
    common: AirPhyNetConfig
    nodes: tuple[int, ...] = ()


def work(job: Job) -> Run:
    """Do a job: `run` of a net on PRSA."""
    torch.set_num_threads(1)
    task = _task(job.folder, job.protocol, job.nodes)
    return run(job.name, net(job.name, job.common), task)


@lru_cache(maxsize=2)
def _task(folder: Path, protocol: Protocol, nodes: tuple[int, ...]) -> Task:
    series = prsa(folder)
    return Task(part(series, nodes) if nodes else series, protocol)


def _alone(method: AirPhyNet, k: int) -> AirPhyNet:
    """One member of an ensemble as a method."""
    one = AirPhyNet(method.config)
    one.__dict__ |= {**method.__dict__, "nets": method.nets[k : k + 1]}
    return one


def compared(first: Run, second: Run, horizon: int) -> Paired:
    """Ratio of mean absolute errors, first over second, with an interval of 95 % from weeks drawn with replacement, both methods on the same ones."""
    one, two = (r.scores[horizon].per_scene for r in (first, second))
    keep = ~(one.isnan() | two.isnan())
    week = torch.arange(len(one)) // BLOCK
    return paired_bootstrap(one[keep], two[keep], week[keep], statistic="ratio")


def error_table(runs: Sequence[Run], title: str, note: str = "", against: str = DAMPED) -> Table:
    """Errors of every method at every horizon, and how the longest compares with a reference."""
    horizons = list(runs[0].scores)
    reference = next((r for r in runs if r.name == against), None)
    heads = ["method", *(f"MAE {h} h" for h in horizons), *(f"RMSE {h} h" for h in horizons), f"members, MAE {horizons[-1]} h",
             f"over reference, {horizons[-1]} h", "CPU s"]
    rows = []
    for r in runs:
        alone = r.members.get(horizons[-1], [])
        ratio = None if reference is None or r is reference else compared(r, reference, horizons[-1])
        rows.append([r.name, *(f"{r.scores[h].mae:.1f}" for h in horizons), *(f"{r.scores[h].rmse:.1f}" for h in horizons),
                     f"{min(alone):.1f} - {max(alone):.1f}" if alone else None,
                     None if ratio is None else f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]", f"{r.seconds:.0f}"])
    told = ("Means up to the horizon over what was seen, ug/m3; RMSE is the root of the pooled mean square. Nets are means of their members. "
            f"Reference: {against}; the interval is 95 %, over weeks drawn with replacement.")
    return Table(title, heads, rows, f"{told} {note}".strip())


def verdict(runs: Mapping[str, Run]) -> list[str]:
    """What the figures say of AirPhyNet beside the best plain forecast and the other nets at the longest horizon, a sentence each."""
    out = []
    for name in [n for n in (ROOTS, *NETS) if n in runs and n != OURS and not n.endswith("that came")] if OURS in runs else []:
        ratio = compared(runs[OURS], runs[name], max(runs[OURS].scores))
        word = "better than" if ratio.high < 1 else "worse than" if ratio.low > 1 else "not told apart from"
        out.append(f"{OURS} is {word} {name}: MAE {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] times as large")
    return out


def judged(runs: Mapping[str, Run], gain: float = 0.05) -> list[str]:
    """What is missed: AirPhyNet below damped persistence (e-fold 24 h) at every horizon, and at the longest by at least ``gain``."""
    if OURS not in runs or DAMPED not in runs:
        return [f"{OURS} or {DAMPED} was not run"]
    ours, theirs = runs[OURS].scores, runs[DAMPED].scores
    above = [h for h in ours if not ours[h].mae < theirs[h].mae]
    lost = [f"{h} h: {OURS} has MAE {ours[h].mae:.2f}, {DAMPED} {theirs[h].mae:.2f}; below it was wanted" for h in above]
    last = max(ours)
    limit = (1 - gain) * theirs[last].mae
    if not ours[last].mae <= limit:
        lost.append(f"{last} h: {OURS} has MAE {ours[last].mae:.2f}; at most {limit:.2f} was wanted, {gain:.0%} below {DAMPED}")
    return lost
