"""Tables of the benchmark of chaotic systems, from a frame with one row a forecast."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trajlab.evaluate.chaos_names import SCORES, setting_name
from trajlab.evaluate.chaos_suite import Protocol
from trajlab.evaluate.results import Table

__all__ = ["HEADLINE", "failure_table", "headline", "score_tables", "settings_of", "system_table", "typical"]


def settings_of(frame: Any) -> list[tuple[str, float]]:
    """(protocol, noise) of all that was run, in order."""
    return list(dict.fromkeys(zip(frame.protocol, (float(n) for n in frame.noise))))


def chosen(frame: Any, setting: tuple[str, float]) -> Any:
    return frame[(frame.protocol == setting[0]) & (frame.noise == setting[1])]


def by_system(rows: Any, score: str, average: str = "median") -> Any:
    """One value a forecaster and system, over its starts; what has no score counts as the worst for medians, and is left out of means.

    Series for which nobody can have the score, such as Lyapunov times without an exponent, are left out.
    """
    needs = SCORES[score].needs
    rows = rows[rows[needs].notna()] if needs else rows
    values = rows.assign(value=rows[score].astype(float))
    if average == "median":
        values["value"] = values["value"].fillna(math.inf if SCORES[score].lower else -math.inf)
    with np.errstate(invalid="ignore"):
        return values.pivot_table(index="system", columns="forecaster", values="value", aggfunc=average, sort=False, dropna=False)


def typical(rows: Any, score: str) -> dict[str, float]:
    """Median over systems of the medians over starts, of each forecaster; NaN where it falls on one that has no score."""
    if rows[score].isna().all():
        return {}
    found = by_system(rows, score).median()
    return {name: float(value) if math.isfinite(value) else math.nan for name, value in found.items()}


def means(rows: Any, score: str) -> dict[str, float]:
    """Mean over systems of the means over starts."""
    return {} if rows[score].isna().all() else {name: float(value) for name, value in by_system(rows, score, "mean").mean().items()}


def score_tables(frame: Any, protocols: Mapping[str, Protocol]) -> list[Table]:
    """One table a setting: forecasters from the lowest mean sMAPE up."""
    return [_score_table(chosen(frame, setting), setting, protocols[setting[0]]) for setting in settings_of(frame)]


def _score_table(rows: Any, setting: tuple[str, float], protocol: Protocol) -> Table:
    columns, cells = ["forecaster"], {name: [name] for name in dict.fromkeys(rows.forecaster)}
    for score, about in SCORES.items():
        for word, figure in (("median", typical), *((("mean", means),) if about.mean else ())):
            found = figure(rows, score)
            columns.append(f"{about.title}, {word}")
            for name, row in cells.items():
                row.append(found.get(name))
    failed, seconds = rows.groupby("forecaster").failed.apply(lambda f: int((f != "").sum())), rows.groupby("forecaster").seconds.mean()
    for name, row in cells.items():
        row += [int(failed[name]), float(seconds[name])]
    order = means(rows, "smape")
    ranked = sorted(cells, key=lambda name: order.get(name, math.inf))
    note = _note(rows, protocol)
    return Table(setting_name(*setting), [*columns, "failed", "CPU s"], [cells[name] for name in ranked], note)


def _note(rows: Any, p: Protocol) -> str:
    lyapunov = rows.cap_lyapunov.dropna()
    told = f" and {lyapunov.median():.3g} Lyapunov times (median; {lyapunov.min():.3g} to {lyapunov.max():.3g})" if len(lyapunov) else ""
    without = rows[rows.cap_lyapunov.isna()].system.nunique()
    clock = "a period" if p.clock == "period" else "1/(largest exponent)"
    return (f"{rows.system.nunique()} systems, {rows.start.nunique()} starts each; {p.per_period} points {clock}, {p.context} of context. Medians "
            f"(means) over systems of medians (means) over starts. Errors over the first {p.horizon} points. Valid times are capped by the {p.free} "
            f"forecast points: {rows.cap.median():.3g} periods (median){told}, counted with the exponents in the table of systems"
            + (f"; {without} systems have none" if without else "") + ". sMAPE is from 0 to 200; MASE is over the seasonal naive error in the "
            f"context. Long-term figures are of {p.free} points, which is few: compare them, but don't take them for the system's own. n/a: the "
            "median falls on a forecast without that figure (one that stands still has no dimension).")


def headline(rows: Any) -> list[list[Any]]:
    """What a terminal has room for: a row a forecaster of one setting."""
    picked = [("smape", typical), ("smape", means), ("mase", typical), ("vpt30_clock", typical), ("vpt30_clock", means), ("vpt", typical),
              ("vpt30_lyapunov", typical), ("hellinger", typical), ("kl", typical), ("dimension_gap", typical), ("exponent_gap", typical)]
    found = [figure(rows, score) for score, figure in picked]
    names = sorted(dict.fromkeys(rows.forecaster), key=lambda name: found[1].get(name, math.inf))
    failed = rows.groupby("forecaster").failed.apply(lambda f: int((f != "").sum()))
    return [[name, *(_short(column.get(name)) for column in found), int(failed[name])] for name in names]


#: columns of `headline`
HEADLINE = ("forecaster", "sMAPE", "(mean)", "MASE", "VPT30", "(mean)", "VPT-NRMSE", "VPT30 Lyap.", "Hellinger", "KL", "|D2-true|", "|exp.-true|",
            "failed")


def _short(value: float | None) -> str | None:
    return None if value is None or math.isnan(value) else f"{value:.3g}"


def system_table(frame: Any, known: Mapping[str, Mapping[str, Any]], score: str) -> Table:
    """What is known of each system, and who is best there."""
    settings, rows = settings_of(frame), []
    best = {setting: by_system(chosen(frame, setting), score, "mean") for setting in settings}
    for system in dict.fromkeys(frame.system):
        about = known[system]
        cells = [_best(table, system, SCORES[score].lower) for table in best.values()]
        rows.append([system, about["period"], about["exponent"], about["error"], about["exponent"] * about["period"], about["dimension"], *cells])
    columns = ["system", "period", "largest exponent", "±", "times period", "Kaplan-Yorke dimension", *(setting_name(*s) for s in settings)]
    note = f"Exponents are those of trajlab's own table. Last columns: the forecaster with the best {SCORES[score].title}."
    return Table("Systems", columns, rows, note)


def _best(table: Any, system: str, lower: bool) -> str | None:
    if system not in table.index or table.loc[system].isna().all():
        return None
    row = table.loc[system]
    name = row.idxmin() if lower else row.idxmax()
    return f"{name} ({row[name]:.3g})"


def failure_table(frame: Any, left_out: Sequence[tuple[str, str, str]]) -> Table | None:
    """Forecasts that failed, by forecaster and setting with the commonest reason; then systems that have no series."""
    rows: list[list[Any]] = []
    for (name, protocol, noise), group in frame.groupby(["forecaster", "protocol", "noise"], sort=False):
        lost = group[group.failed != ""]
        if len(lost):
            rows.append([name, setting_name(protocol, noise), f"{len(lost)} of {len(group)}", str(lost.failed.mode()[0])])
    rows += [[f"({system})", f"protocol {protocol}", "left out for all", why] for system, protocol, why in left_out]
    note = "Failed forecasts count with the worst score there is; they are left out of nothing but means of scores that have no worst."
    return Table("What failed", ["forecaster", "setting", "(system, start) pairs", "why"], rows, note) if rows else None
