"""Estimators on random processes of the published prior: cells of a number of paths and a share of wrong labels, all methods on the same tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from trajlab.evaluate.jumps import Guess, Method, answered, completed, methods
from trajlab.evaluate.jumps_peers import PEERS, single_lag
from trajlab.metrics.jumps import log_rate_error, path_kl
from trajlab.sources.jump_prior import JumpPrior, JumpTask, PriorConfig

__all__ = ["Cell", "Scores", "score_cell"]

FAILED = float("inf")  #: the score of a method that gave no answer; it is not excused


@dataclass(frozen=True)
class Cell:
    """Tasks of one kind.

    Attributes:
        paths: number of paths.
        noise: probability that a label is replaced.
        tasks: how many.
        looks: of each path.
        soft: median path-KL that the default is expected to reach, or None.
    """

    paths: int
    noise: float
    tasks: int = 30
    looks: int = 100
    soft: float | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        return cls(**record)

    @property
    def name(self) -> str:
        return f"{self.paths} path{'s' if self.paths > 1 else ''}, {self.noise:.0%} flips"

    def drawn(self, seed: int) -> list[JumpTask]:
        """The tasks; another seed has others, another cell too. Sets in which no label changes are passed over: they say nothing of rates."""
        offset = 1_000_000 * seed + 1000 * self.paths + round(1000 * self.noise)
        endless = JumpPrior(PriorConfig.published()).tasks(100 * self.tasks, offset, K=self.paths, L=self.looks, eps=self.noise)
        return list(islice((task for task in endless if (np.diff(task.label, axis=1) != 0).any()), self.tasks))


@dataclass(frozen=True)
class Scores:
    """One cell, scored.

    Attributes:
        cell: the cell.
        kl: path-KL per jump by method, ``[task]``; infinite where a method failed, NaN where it does not apply (peers, irregular looks).
        log_rate: median error of log-rates by method, ``[task]``, likewise.
        seconds: CPU seconds by method, ``[task]``.
        level: estimated probability of a flip by method, ``[task]``; NaN where there is none.
        failures: sentences by method.
    """

    cell: Cell
    kl: Mapping[str, Float[np.ndarray, "task"]]
    log_rate: Mapping[str, Float[np.ndarray, "task"]]
    seconds: Mapping[str, Float[np.ndarray, "task"]]
    level: Mapping[str, Float[np.ndarray, "task"]]
    failures: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def median(self, method: str) -> float:
        return float(np.median(self._applied(self.kl[method])))

    def mean(self, method: str) -> float:
        return float(self._applied(self.kl[method]).mean())

    def _applied(self, values: np.ndarray) -> np.ndarray:
        return values[~np.isnan(values)]

    @property
    def best(self) -> str:
        """The method with the smallest median, among those that apply to all tasks."""
        whole = [m for m, v in self.kl.items() if not np.isnan(v).any()]
        return min(whole, key=self.median)

    def as_record(self) -> dict[str, Any]:
        """For a file of results."""
        kl = {m: [None if np.isnan(x) else float(x) for x in v] for m, v in self.kl.items()}
        return {"paths": self.cell.paths, "noise": self.cell.noise, "tasks": self.cell.tasks, "looks": self.cell.looks, "path-KL": kl,
                "seconds": {m: float(np.nansum(v)) for m, v in self.seconds.items()}, "failures": {m: list(v) for m, v in self.failures.items()}}


def score_cell(cell: Cell, seed: int, peers: bool = True, found: Mapping[str, Method] | None = None,
               say: Callable[[str], None] = lambda _: None) -> Scores:
    """Run every method on every task of a cell.

    Args:
        cell: what is drawn.
        seed: of the tasks.
        peers: whether deeptime takes part, where looks are regular.
        found: the methods by name; those of `trajlab.evaluate.jumps.methods` if none are given.
        say: receives a line when the cell is done.
    """
    rows = methods(cell.noise > 0, peers) if found is None else found
    tasks = cell.drawn(seed)
    guesses = {name: [_guess(name, method, task) for task in tasks] for name, method in rows.items()}
    scored = {name: np.array([_scores(task, guess) for task, guess in zip(tasks, given)]).T for name, given in guesses.items()}
    failures = {name: [g.failed for g in given if g and g.failed] for name, given in guesses.items()}
    say(f"{cell.name}: {sum(v[2][~np.isnan(v[2])].sum() for v in scored.values()):.1f} CPU s")
    kl, log_rate, seconds, level = ({name: v[k] for name, v in scored.items()} for k in range(4))
    return Scores(cell, kl, log_rate, seconds, level, {name: lines for name, lines in failures.items() if lines})


def _guess(name: str, method: Method, task: JumpTask) -> Guess | None:
    """None where a peer does not apply."""
    paths = task.paths()
    if name in PEERS and single_lag(paths) is None:
        return None
    guess = answered(method, paths)
    return guess if guess.q is None else replace(guess, q=completed(guess.q, paths))


def _scores(task: JumpTask, guess: Guess | None) -> tuple[float, float, float, float]:
    if guess is None:
        return (float("nan"),) * 4
    if guess.q is None:
        return FAILED, FAILED, guess.seconds, float("nan")
    level = float("nan") if guess.level is None else guess.level
    return float(path_kl(task.q, guess.q)), float(log_rate_error(task.q, guess.q)), guess.seconds, level
