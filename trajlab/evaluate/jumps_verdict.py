"""What the prior suite shows: tables, sentences computed from them, and the bars that are missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from trajlab.evaluate.jumps import AUTO, MAP, NETWORK
from trajlab.evaluate.jumps_peers import PEERS
from trajlab.evaluate.jumps_suite import Scores
from trajlab.evaluate.results import Table

__all__ = ["cell_tables", "median_ratio", "misses", "softly", "verdict"]


def median_ratio(first: Float[np.ndarray, "task"], second: Float[np.ndarray, "task"], seed: int = 0, level: float = 0.95,
                 draws: int = 4000) -> tuple[float, float, float]:
    """The ratio of two medians over the same tasks, and its percentile interval: tasks are drawn with replacement (Efron 1979), the same for both.

    Raises:
        ValueError: other lengths, or fewer than 10 tasks.
    """
    if len(first) != len(second) or len(first) < 10:
        raise ValueError(f"{len(first)} and {len(second)} scores; at least 10 of the same tasks were wanted")
    index = np.random.default_rng(seed).integers(len(first), size=(draws, len(first)))
    ratios = np.median(first[index], 1) / np.median(second[index], 1)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(np.median(first) / np.median(second)), float(low), float(high)


def cell_tables(scores: Sequence[Scores], seed: int) -> list[Table]:
    """Median and mean path-KL, a table for each level of noise, a row for each method, a column for each number of paths."""
    return [_table([s for s in scores if s.cell.noise == noise], noise, seed) for noise in dict.fromkeys(s.cell.noise for s in scores)]


def _table(scores: Sequence[Scores], noise: float, seed: int) -> Table:
    last = scores[-1]
    columns = [f"{s.cell.paths} path{'s' * (s.cell.paths > 1)} ({s.cell.tasks})" for s in scores]
    rows = [[name, *(_cell(s, name) for s in scores), float(np.nanmedian(last.log_rate[name])), _level(last.level[name]),
             float(np.nanmean(last.seconds[name]))] for name, kl in last.kl.items() if not np.isnan(kl).all()]
    heads = ["method", *columns, "log-rate error", "level", "CPU s a task"]
    note = ("Path-KL per jump, median / mean over the tasks (their number in the head), 0 is perfect. Last columns: at the largest number of paths; "
            "median |log error| on true links, median estimated probability of a flip, CPU. MLE and MAP-EM are told whether labels are flipped, the "
            "network and auto are not. All are told how many states there are; "
            "where deeptime is silent about states that no look saw, one pseudo-jump a link stands in. [n]: n tasks, with regular looks.")
    return Table(f"Random processes of the published prior, {last.cell.looks} looks a path, {noise:.0%} flips, seed {seed}", heads, rows, note)


def _cell(s: Scores, name: str) -> str:
    """Median / mean, how many tasks failed, and how many there were where it is not all."""
    if np.isnan(s.kl[name]).all():
        return "-"
    failed, used = len(s.failures.get(name, ())), int((~np.isnan(s.kl[name])).sum())
    return (f"{s.median(name):.3g} / {s.mean(name):.3g}" + (f", {failed} failed" if failed else "")
            + (f" [{used}]" if used < s.cell.tasks else ""))


def _level(values: np.ndarray) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmedian(values))


def verdict(scores: Sequence[Scores]) -> list[str]:
    """What the table says of the network, as sentences computed from it: where it wins, and where it does not."""
    lines = [_sentence(s) for s in scores]
    behind = [s.cell.name for s in scores if s.median(NETWORK) >= s.median(MAP)]
    where = f": {'; '.join(behind)}" if behind else ""
    lines += [line for s in scores for line in _of_peers(s)]
    return [*lines, f"the network alone does not beat MAP-EM's median in {len(behind)} of {len(scores)} cells{where}"]


def _sentence(s: Scores) -> str:
    """Network and default against MAP-EM in one cell."""
    ratio, low, high = median_ratio(s.kl[NETWORK], s.kl[MAP])
    word = "ahead of" if high < 1 else "behind" if low > 1 else "not to be told from"
    auto, *ends = median_ratio(s.kl[AUTO], s.kl[MAP])
    return (f"{s.cell.name}: the network alone is {word} MAP-EM ({ratio:.2f} of its median, 95 % [{low:.2f}, {high:.2f}]); auto at {auto:.2f} "
            f"[{ends[0]:.2f}, {ends[1]:.2f}]; smallest median: {s.best}")


def _of_peers(s: Scores) -> list[str]:
    """deeptime's best row and the default on the tasks that deeptime takes."""
    there = [name for name in PEERS if name in s.kl and not np.isnan(s.kl[name]).all()]
    if not there:
        return []
    best = min(there, key=s.median)
    regular = ~np.isnan(s.kl[best])
    mine = float(np.median(s.kl[AUTO][regular]))
    return [f"{s.cell.name}, regular looks ({regular.sum()} tasks): best of deeptime {s.median(best):.3g} ({best}), auto {mine:.3g}"]


def misses(scores: Sequence[Scores], bars: Mapping[str, float]) -> list[str]:
    """Bars that are not reached.

    Args:
        scores: of the cells.
        bars: ``over_map`` (auto's median over MAP-EM's, at most), ``mean_factor`` and ``mean_offset`` (auto's mean is at most factor x median +
            offset), ``network_paths`` and ``network_noise`` (the cell where the network alone must have a smaller median than MAP-EM).
    """
    lost = []
    for s in scores:
        median, mean, exact = s.median(AUTO), s.mean(AUTO), s.median(MAP)
        if not median <= bars["over_map"] * exact:
            lost.append(f"{s.cell.name}: auto's median {median:.4g} is {median / exact:.2f} of MAP-EM's, where {bars['over_map']:g} was wanted")
        if not mean <= bars["mean_factor"] * median + bars["mean_offset"]:
            lost.append(f"{s.cell.name}: auto's mean {mean:.4g} is above {bars['mean_factor']:g} x its median + {bars['mean_offset']:g}")
        if (s.cell.paths, s.cell.noise) == (bars["network_paths"], bars["network_noise"]) and not s.median(NETWORK) < exact:
            lost.append(f"{s.cell.name}: the network's median {s.median(NETWORK):.4g} is not below MAP-EM's {exact:.4g}")
    return lost


def softly(scores: Sequence[Scores]) -> list[str]:
    """Where the default's median is above what was expected of it; a draw of tasks moves medians by a fifth, so these are told and not failed."""
    return [f"{s.cell.name}: auto's median {s.median(AUTO):.3g}, {s.cell.soft:g} was expected" for s in scores
            if s.cell.soft is not None and not s.median(AUTO) <= s.cell.soft]
