"""Tables of the benchmark of motion: every row on a data set with a share of its training windows, and how it compares with a plain one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.evaluate.results import Table
from trajlab.evaluate.traffic_cells import BASELINES, SCORES, Cell, Settings
from trajlab.evaluate.traffic_data import MotionSet
from trajlab.metrics.paired import Paired, paired_bootstrap

__all__ = ["Scored", "Sheet", "compared", "sheet_table"]

#: how a score of two rows is compared: errors by their ratio, nats by their difference
STATISTIC = {"ADE": "ratio", "FDE": "ratio", "minADE": "ratio", "minFDE": "ratio", "NLL": "difference", "infeasible": "difference"}


@dataclass(frozen=True)
class Scored:
    """A row, over all seeds.

    Attributes:
        values: score to ``[seed window]``.
        seconds: of the processor, a cell.
    """

    values: Mapping[str, Float[np.ndarray, "seed window"]]
    seconds: float

    @classmethod
    def of(cls, cells: Sequence[Cell], settings: Settings) -> Self:
        """From the cache; ``cells`` differ by their seed."""
        found = [cell.scores(settings) for cell in cells]
        return cls({name: np.stack([one[name] for one in found]) for name in SCORES}, float(np.mean([one["seconds"] for one in found])))

    def mean(self, name: str) -> float:
        """Over windows and seeds; NaN where the row has no such score."""
        value = self.values[name]
        return float(np.nanmean(value)) if not np.isnan(value).all() else float("nan")

    def by_seed(self, name: str) -> list[float]:
        """Over windows."""
        return [float(np.nanmean(one)) if not np.isnan(one).all() else float("nan") for one in self.values[name]]

    def by_window(self, name: str) -> Float[Tensor, "window"]:
        """Over seeds."""
        return torch.from_numpy(self.values[name].mean(0))


@dataclass(frozen=True)
class Sheet:
    """All rows of a data set at one share.

    Attributes:
        data, share: which.
        rows: by name.
        cluster: what each test window belongs to, ``[window]``.
        windows: counts of training, validation and test windows.
        level: of intervals.
    """

    data: MotionSet
    share: float
    rows: Mapping[str, Scored]
    cluster: Tensor
    windows: tuple[int, int, int]
    level: float = 0.95

    @property
    def name(self) -> str:
        return f"{self.data.name}, {self.share:.0%}"


def compared(sheet: Sheet, first: str, second: str, score: str) -> Paired:
    """Two rows by a score, means over seeds; clusters of test windows are drawn with replacement, both rows on the same ones.

    Raises:
        KeyError: there is no such row.
    """
    one, two = (sheet.rows[name].by_window(score) for name in (first, second))
    return paired_bootstrap(one, two, sheet.cluster, statistic=STATISTIC[score], level=sheet.level)  # type: ignore[arg-type]


def sheet_table(sheet: Sheet, plain: str) -> Table:
    """Scores of all rows, and intervals against the plain one."""
    heads = ["row", "ADE", "over seeds", "FDE", "min ADE", "min FDE", "NLL", "median window", "inside 68 %", "infeasible", "rms acc.",
             f"ADE over {plain}", f"NLL minus {plain}", "CPU s"]
    rows = [_row(sheet, name, plain) for name in sheet.rows]
    train, validation, test = sheet.windows
    seeds = len(next(iter(sheet.rows.values())).values["ADE"])
    groups = len(sheet.cluster.unique())
    independent = "vehicles" if sheet.data.cluster == "agent" else "stretches of 20 s"
    note = (f"{train} training, {validation} validation and {test} test windows, {seeds} seed{'s' if seeds > 1 else ''} (of the share, the weights "
            "and the draws). Errors in m, of the mean path, and of the best of 20 draws; NLL in nats a step, its mean and its median over windows; "
            "infeasible: share of transitions of the mean path that no vehicle drives; acceleration in m/s^2, of the mean path. Intervals of "
            f"{sheet.level:.0%} by paired bootstrap over {groups} {independent}.")
    return Table(f"{sheet.data.title}; {sheet.share:.0%} of the training windows", heads, rows, note)


def _row(sheet: Sheet, name: str, plain: str) -> list[Any]:
    row = sheet.rows[name]
    shown = lambda score, form: None if np.isnan(row.mean(score)) else format(row.mean(score), form)  # noqa: E731
    seeds = row.by_seed("ADE")
    pairs: list[str | None] = [None, None]
    if name != plain and plain in sheet.rows:
        pairs = [interval(sheet, name, plain, score) for score in ("ADE", "NLL")]
    spread = f"{min(seeds):.3f} - {max(seeds):.3f}" if len(seeds) > 1 else None
    errors = [shown(score, ".3f") for score in ("FDE", "minADE", "minFDE", "NLL")]
    typical = None if errors[-1] is None else f"{float(np.median(row.values['NLL'])):.3f}"
    others = [shown(score, form) for score, form in (("coverage", ".2f"), ("infeasible", ".1%"), ("rms acceleration", ".2f"))]
    return [name, shown("ADE", ".3f"), spread, *errors, typical, *others, *pairs, f"{row.seconds:.1f}" if name not in BASELINES else None]


def interval(sheet: Sheet, first: str, second: str, score: str) -> str | None:
    """In words; None where a row has no such score."""
    if np.isnan(sheet.rows[first].mean(score)):
        return None
    found = compared(sheet, first, second, score)
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
