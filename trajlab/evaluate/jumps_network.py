"""What the zero-shot network says of its own accuracy, held against fresh processes of the published prior."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trajlab.dynamics.jumps.lag_features import lag_features
from trajlab.evaluate.results import Table
from trajlab.metrics.jumps import interval_coverage, path_kl
from trajlab.metrics.uncertainty import Estimate
from trajlab.models.jumps.zero_shot import ZeroShot, ZeroShotAnswer
from trajlab.sources.jump_prior import JumpPrior, JumpTask, PriorConfig

__all__ = ["NetworkFigures", "network_figures", "network_table"]

FLOOR = 1e-4  #: true rates below this, in jumps per unit of the data's clock, cannot be told from each other
CHUNK = 100  #: tasks in one pass of the network


@dataclass(frozen=True)
class NetworkFigures:
    """Scores over fresh tasks.

    Attributes:
        tasks: how many.
        nll: Gaussian negative log-likelihood of log-rates on true links, without ``log(2 pi) / 2``, nats a link, mean over tasks.
        nll_error: its standard error.
        coverage: share of log-rates on true links within their 90 % interval.
        absolute: mean absolute error of log-rates.
        link: cross-entropy of links, nats, over all ordered pairs.
        level: mean absolute error of the probability of a flip.
        median_kl: median path-KL of the point estimate.
        seconds: CPU seconds a task, features and network.
        about: how the weights came about.
    """

    tasks: int
    nll: float
    nll_error: float
    coverage: Estimate
    absolute: float
    link: float
    level: float
    median_kl: float
    seconds: float
    about: Mapping[str, Any] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """For a file of results."""
        return vars(self) | {"coverage": list(self.coverage), "about": dict(self.about)}


def network_figures(tasks: int, seed: int, network: ZeroShot | None = None) -> NetworkFigures:
    """Ask the network (the shipped one by default) about fresh tasks of the published prior, all sizes and levels of noise that it has.

    Raises:
        ValueError: fewer than two tasks.
    """
    if tasks < 2:
        raise ValueError(f"{tasks} tasks; at least 2 were wanted")
    network = network or ZeroShot.load()
    drawn = list(JumpPrior(PriorConfig.published()).tasks(tasks, seed))
    paths = [task.paths() for task in drawn]
    network.infer(paths[0])
    began = time.process_time()
    answers = [answer for k in range(0, tasks, CHUNK) for answer in network.infer_many(paths[k : k + CHUNK])]
    spent = (time.process_time() - began) / tasks
    each = [_judged(task, answer, lag_features(p).unit) for task, answer, p in zip(drawn, answers, paths)]
    nll, absolute, link, level, kl = np.array([e[:5] for e in each]).T
    inside = interval_coverage(*(np.concatenate([e[5][k] for e in each]) for k in range(3)))
    return NetworkFigures(tasks, float(nll.mean()), float(nll.std(ddof=1) / np.sqrt(tasks)), inside, float(absolute.mean()), float(link.mean()),
                          float(level.mean()), float(np.median(kl)), spent, network.about)


def _judged(task: JumpTask, answer: ZeroShotAnswer, unit: float) -> tuple[float, float, float, float, float, np.ndarray]:
    """Scores of one answer, and ``[true low high, link]`` of the logarithms of its true rates."""
    off = ~np.eye(task.n_states, dtype=bool)
    there = off & (task.q > 0)
    truth, mean, std = np.log(np.maximum(task.q[there], FLOOR / unit)), answer.mean[there], answer.std[there]
    z = (truth - mean) / std
    p = np.clip(answer.link[off], 1e-9, 1 - 1e-9)
    link = -np.where(there[off], np.log(p), np.log(1 - p)).mean()
    low, high = (np.log(end[there]) for end in answer.interval(0.9))
    return (float((np.log(std) + z**2 / 2).mean()), float(np.abs(truth - mean).mean()), float(link), abs(answer.eps - task.eps),
            float(path_kl(task.q, answer.generator)), np.stack([truth, low, high]))


def network_table(found: NetworkFigures) -> Table:
    """Figures, and how the weights were trained."""
    said = {k: found.about[k] for k in ("command", "steps", "seconds", "seed") if k in found.about}
    rows = [["negative log-likelihood of log-rates, nats a link", f"{found.nll:.3f} ± {found.nll_error:.3f}"],
            ["90 % intervals hold the log-rate", str(found.coverage)], ["mean |error| of log-rates", f"{found.absolute:.3f}"],
            ["cross-entropy of links, nats", f"{found.link:.3f}"], ["mean |error| of the level of flips", f"{found.level:.4f}"],
            ["median path-KL", f"{found.median_kl:.4f}"], ["CPU s a task", f"{found.seconds:.5f}"],
            *[[f"training: {name}", str(value)] for name, value in said.items()]]
    return Table(f"The network alone on {found.tasks} fresh tasks of the published prior", ["figure", "value"], rows,
                 "Without log(2 pi) / 2, over true links; rates below 1e-4 jumps per unit of the data's clock count as that.")
