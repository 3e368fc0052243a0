"""Roll-outs as tables: stability, temperatures, distances from the reference, and what stopped a system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trajlab.evaluate.results import Table
from trajlab.evaluate.rollouts import Measured, Settings
from trajlab.metrics import molecular as m


def rollout_tables(
    runs: Mapping[str, Measured], reference: Measured | None = None, settings: Settings | None = None, suffix: str = ""
) -> list[Table]:
    """Tables of several roll-outs beside their reference; ``suffix`` ends their titles."""
    found = [_run_table(runs, reference, settings or Settings()), *_distance_tables(runs), *_stop_tables(runs)]
    return [replace(table, title=table.title + suffix) for table in found]


def _run_table(runs: Mapping[str, Measured], reference: Measured | None, settings: Settings) -> Table:
    """Stability, temperatures and the canonical law of roll-outs, the reference in the last row."""
    elements = list(next(iter(runs.values())).elements)
    drift = [f"energy change after {settings.drift_fs / 1000:g} ps, rms, meV/atom"] if any(run.drift for run in runs.values()) else []
    columns = ["run", "ended early", "T, K", "±", *[f"{e}: T / target" for e in elements], "std K / canonical", "± ", "distance from canonical",
               *drift]
    rows = []
    for name, run in {**runs, **({} if reference is None else {"reference": reference})}.items():
        shares = [f"{run.elements[e].value / run.target:.3f} ± {run.elements[e].error / run.target:.3f}" for e in elements]
        rows.append([name, f"{len(run.stops.early)} of {run.stops.n}", *run.temperature, *shares, *run.canonical.spread, run.canonical.distance,
                     *(drift_at(run.drift, settings.drift_fs) for _ in drift)])
    note = (f"The first {settings.discard_fs / 1000:g} ps (at most a fifth) are left out. Errors by blocking. Elements: kinetic energy over its "
            "canonical expectation at the target temperature. Distance from canonical: Kolmogorov-Smirnov, K against Gamma(n/2).")
    return Table("Roll-outs", columns, rows, note)


def drift_at(drift: m.Drift | None, time: float) -> float | None:
    """The rms change of the reference energy at a time, meV/atom; None where nothing was left to look at."""
    if drift is None:
        return None
    at = int((drift.time - time).abs().argmin())
    value = float(drift.rms[at])
    return value if value == value and abs(float(drift.time[at]) - time) < 0.1 * time else None


def _distance_tables(runs: Mapping[str, Measured]) -> list[Table]:
    rows = []
    for name, run in runs.items():
        for what in ("bonded", "shell", "all", "angles", "vdos"):
            if what in run.compared:
                c = run.compared[what]
                rows.append([name, what, c.value, c.matched, c.floor, None if what == "vdos" else c.above, c.spread])
    note = ("Distributions: integral of |g - g_ref| over the integral of g_ref. vdos: cosine overlap of the spectra, 1 is best, both seen "
            "through the same frames and Hann window. Halves: the same with equal numbers of runs on either side; noise: two halves of the "
            "reference; above: the difference of the two; spread: over random halves.")
    return [Table("Distance from the reference", ["run", "curve", "value", "halves", "noise", "above", "spread"], rows, note)] if rows else []


def _stop_tables(runs: Mapping[str, Measured]) -> list[Table]:
    rows = [[name, scene, time / 1000, reason] for name, run in runs.items() for scene, time, reason in run.stops.early]
    return [Table("Systems that ended early", ["run", "system", "time, ps", "reason"], rows)] if rows else []
