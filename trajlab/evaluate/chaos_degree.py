"""Do forecasters fall behind, or come to the fore, where a system is more chaotic: ranks and errors against the degree of chaos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajlab.evaluate.chaos_names import SCORES, setting_name
from trajlab.evaluate.chaos_tables import by_system, chosen, settings_of
from trajlab.evaluate.results import Curve, Figure, Table

__all__ = ["DEGREES", "Ranked", "degree_figures", "degree_table", "ranked"]

GROUP = 5  #: systems of neighbouring degree of chaos whose ranks are averaged in a figure
SHOWN = 8  #: forecasters in a figure: so many can be told apart

#: measures of chaos: what is read from the table of systems, and its name
DEGREES = {"exponent": "largest exponent x period", "dimension": "Kaplan-Yorke dimension"}


@dataclass(frozen=True, eq=False)
class Ranked:
    """Forecasters on the systems of one setting.

    Attributes:
        degree: of chaos, ``[system]``, rising.
        names: of the forecasters.
        ranks: 1 is the best, ties shared, ``[system forecaster]``.
        errors: the score, lower being better, ``[system forecaster]``.
    """

    degree: np.ndarray
    names: list[str]
    ranks: np.ndarray
    errors: np.ndarray

    def correlation(self, name: str, of: str = "ranks") -> tuple[float, float]:
        """Spearman's correlation of the ranks (or errors) of a forecaster with the degree of chaos, and its p value; NaN where it is not defined."""
        from scipy.stats import spearmanr

        values = getattr(self, of)[:, self.names.index(name)]
        if len(values) < 4 or np.ptp(values) == 0 or np.ptp(self.degree) == 0:
            return math.nan, math.nan
        found = spearmanr(self.degree, values)
        return float(found.statistic), float(found.pvalue)


def degree_of(known: Mapping[str, Any], measure: str) -> float:
    """The degree of chaos of a system, NaN where it is not known."""
    return float(known["exponent"] * known["period"] if measure == "exponent" else known["dimension"])


def ranked(frame: Any, setting: tuple[str, float], known: Mapping[str, Mapping[str, Any]], score: str, measure: str = "exponent") -> Ranked:
    """Ranks by the mean score over the starts of each system; what has no score has the last rank. Systems of unknown degree are left out."""
    from scipy.stats import rankdata

    table = by_system(chosen(frame, setting), score, "mean")
    degree = np.array([degree_of(known[system], measure) for system in table.index])
    order = [k for k in np.argsort(degree, kind="stable") if math.isfinite(degree[k])]
    values = table.to_numpy(float)[order] * (1.0 if SCORES[score].lower else -1.0)
    values = np.where(np.isnan(values), np.inf, values)
    return Ranked(degree[order], list(table.columns), rankdata(values, axis=1) if len(values) else values, values)


def degree_figures(frame: Any, known: Mapping[str, Mapping[str, Any]], score: str, measure: str = "exponent", judged: str = "") -> list[Figure]:
    """One figure a setting: mean rank, with its standard error, in groups of systems of neighbouring degree of chaos."""
    found = [(setting, ranked(frame, setting, known, score, measure)) for setting in settings_of(frame)]
    return [made for setting, ranks in found if (made := _figure(ranks, setting, score, measure, judged))]


def _figure(found: Ranked, setting: tuple[str, float], score: str, measure: str, judged: str) -> Figure | None:
    if len(found.degree) < 2 or len(found.names) < 2:
        return None
    groups = np.array_split(np.arange(len(found.degree)), max(2, len(found.degree) // GROUP))
    overall = found.ranks.mean(0)
    best = sorted(range(len(found.names)), key=lambda k: (found.names[k] != judged, overall[k]))[:SHOWN]
    x = np.array([found.degree[group].mean() for group in groups])
    curves = [_curve(found, k, groups, x) for k in best]
    note = (f"Rank by mean {SCORES[score].title} over the starts of a system, 1 being the best of {len(found.names)}; means over groups of about "
            f"{len(found.degree) // len(groups)} systems, bands one standard error. rho: Spearman's correlation of rank and degree of chaos over the "
            f"{len(found.degree)} systems"
            + (f". The {SHOWN} best are shown; the table has all." if len(found.names) > SHOWN else "."))
    return Figure(f"{setting_name(*setting)}: rank against chaos", DEGREES[measure], "rank", curves, note=note)


def _curve(found: Ranked, k: int, groups: list[np.ndarray], x: np.ndarray) -> Curve:
    y = np.array([found.ranks[group, k].mean() for group in groups])
    band = np.array([found.ranks[group, k].std(ddof=1) / math.sqrt(len(group)) if len(group) > 1 else 0.0 for group in groups])
    rho, _ = found.correlation(found.names[k])
    told = f" (rho {rho:+.2f})" if math.isfinite(rho) else ""
    return Curve(found.names[k] + told, x, y, band)


def degree_table(frame: Any, known: Mapping[str, Mapping[str, Any]], score: str) -> Table:
    """Spearman's correlations of rank and error with both measures of chaos, of every forecaster in every setting."""
    rows, columns = [], ["forecaster", "setting"]
    for measure in DEGREES.values():
        columns += [f"rank and {measure}", "p", f"{SCORES[score].title} and {measure}", "p"]
    for setting in settings_of(frame):
        both = {measure: ranked(frame, setting, known, score, measure) for measure in DEGREES}
        for name in next(iter(both.values())).names:
            cells = [value for found in both.values() for of in ("ranks", "errors") for value in found.correlation(name, of)]
            rows.append([name, setting_name(*setting), *cells])
    note = ("Spearman's correlation over systems. Positive with the error: the more chaotic, the worse the forecast. Positive with the rank: others "
            "cope better with chaos. p values are not corrected for their number.")
    return Table("Degree of chaos", columns, rows, note)
