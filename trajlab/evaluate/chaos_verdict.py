"""What a run of the benchmark of chaotic systems comes to: tables, figures, the claim and what failed, with provenance; and the files of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import trajlab
from trajlab.evaluate.bars import as_text
from trajlab.evaluate.cache import write_json
from trajlab.evaluate.chaos import Run
from trajlab.evaluate.chaos_claim import Claim, claim_table, claims, judged_in, matrix_table, sentences
from trajlab.evaluate.chaos_degree import degree_figures, degree_table
from trajlab.evaluate.chaos_entries import entered
from trajlab.evaluate.chaos_names import SCORES, setting_name
from trajlab.evaluate.chaos_tables import HEADLINE, chosen, failure_table, headline, score_tables, settings_of, system_table
from trajlab.evaluate.results import Evaluation, Table

__all__ = ["Outcome", "judge", "write"]

PACKAGES = ("numpy", "scipy", "numba", "torch", "dysts", "joblib", "pandas")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was found.

    Attributes:
        run: what was computed.
        frame: a pandas frame with one row a forecast.
        verdict: ``"ahead"``, ``"behind"``, or ``"not judged"``.
        lines: the verdict in sentences.
        claims: the comparisons behind it.
        evaluation: for the report.
    """

    run: Run
    frame: Any
    verdict: str
    lines: list[str]
    claims: list[Claim]
    evaluation: Evaluation

    @property
    def text(self) -> str:
        """For a terminal: a short table a setting, what failed, and the verdict."""
        tables = [Table(setting_name(*s), HEADLINE, headline(chosen(self.frame, s)), "") for s in settings_of(self.frame)]
        return "\n\n".join([*map(as_text, tables), _legend(self.frame), self.evaluation.summary])


def judge(run: Run) -> Outcome:
    """Tables, figures and verdict of a run."""
    import pandas as pd

    frame, suite = pd.DataFrame(run.records), run.suite
    judged, after = judged_in(frame, suite.judged, suite.bar, suite.claim)
    made = claims(frame, judged, suite.bar, (suite.claim, suite.also), suite.level) if judged else []
    verdict, lines = sentences(made, judged, after) if made else ("not judged", [_nothing(run)])
    tables = [claim_table(made, judged, suite.level, frame.system.nunique())] if made else []
    tables += score_tables(frame, suite.protocols)
    enough = frame.system.nunique() >= 6 and any(name in set(frame.forecaster) for name in suite.bar)
    tables += [matrix_table(frame, suite.bar, score, suite.level) for score in (suite.claim, suite.also)] if enough else []
    tables += [degree_table(frame, run.known, suite.claim), system_table(frame, run.known, suite.claim)]
    failures = failure_table(frame, run.left_out)
    tables += [failures] if failures else []
    figures = [figure for measure in ("exponent", "dimension") for figure in degree_figures(frame, run.known, suite.claim, measure, judged)]
    evaluation = Evaluation(suite.title, _summary(run, frame, verdict, lines), tables, figures, provenance=_provenance(run, frame))
    return Outcome(run, frame, verdict, lines, made, evaluation)


def _nothing(run: Run) -> str:
    return (f"the cheap bar is {', '.join(run.suite.bar)}, and this run has no forecaster beside it, or none of it: "
            f"{', '.join(run.suite.forecasters)}")


def _summary(run: Run, frame: Any, verdict: str, lines: list[str]) -> str:
    suite = run.suite
    told = {"ahead": "The claim holds: in at least one setting the judged forecaster is ahead of each of the cheap bar",
            "behind": "The claim does NOT hold: in no setting is the judged forecaster ahead of each of the cheap bar",
            "not judged": "No claim is judged"}[verdict]
    by = f", by {SCORES[suite.claim].title} and {suite.level:.0%} paired bootstrap intervals over systems." if verdict != "not judged" else "."
    how = (f"{len(frame)} forecasts ({run.computed} of them computed now) of {frame.system.nunique()} systems by {frame.forecaster.nunique()} "
           f"forecasters in {run.seconds:.0f} s on {run.workers}.")
    return f"{told}{by}\n\n" + "\n".join(f"- {line}" for line in lines) + f"\n\n{how} {_failed(frame, run)}"


def _failed(frame: Any, run: Run) -> str:
    """How many (system, start) pairs failed for whom."""
    lost = frame[frame.failed != ""].groupby("forecaster", sort=False).size()
    total = frame.groupby("forecaster", sort=False).size()
    told = ", ".join(f"{name} {count} of {total[name]}" for name, count in lost.items())
    reasons = dict.fromkeys((protocol, why) for _, protocol, why in run.left_out)
    named = {reason: ", ".join(system for system, *rest in run.left_out if tuple(rest) == reason) for reason in reasons}
    out = "; ".join(f"{systems} (protocol {protocol}: {why})" for (protocol, why), systems in named.items())
    return (f"Failed, over all settings: {told}." if told else "No forecast failed.") + (f" Left out for all: {out}." if out else "")


def _legend(frame: Any) -> str:
    caps = "; ".join(f"protocol {name}: {group.cap.median():.3g} periods, {group.cap_lyapunov.median():.3g} Lyapunov times"
                     for name, group in frame.groupby("protocol"))
    return ("Medians over systems of medians over starts; (mean): the mean of means. VPT30: time until the sMAPE of a step exceeds 30 of 200, in "
            "units of the protocol's clock (A: periods, B: Lyapunov times); VPT-NRMSE: periods until the error exceeds 0.4 rms. "
            f"Caps (median; exponents of trajlab's own table): {caps}. KL in nats; exponents per period.")


def _provenance(run: Run, frame: Any) -> dict[str, Any]:
    from trajlab.sources import lyapunov_table

    versions = {name: metadata.version(name) for name in PACKAGES}
    try:
        table = lyapunov_table.provenance()
    except FileNotFoundError:
        table = {}
    suite = {k: v for k, v in asdict(run.suite).items() if k != "systems"}
    systems = {name: dict(about) for name, about in run.known.items()}
    forecasters = {entry: dict(entered(entry).provenance(run.suite.seed)) for entry in run.suite.forecasters}
    return {"trajlab": trajlab.__version__, "date": datetime.now(UTC).isoformat(timespec="seconds"), "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} processors", "packages": versions, "suite": suite, "forecasters": forecasters,
            "systems": systems, "lyapunov_table": table, "seconds": round(run.seconds, 1), "cpu_seconds": round(float(frame.seconds.sum()), 1)}


def write(outcome: Outcome, folder: Path) -> dict[str, Path]:
    """Records as JSON and, where pyarrow is installed, parquet; the evaluation for ``trajlab report``. Each by a temporary file and a rename."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"provenance": outcome.evaluation.provenance, "verdict": outcome.verdict, "statements": outcome.lines, "claims": _told(outcome.claims),
               "left_out": outcome.run.left_out, "records": outcome.run.records}
    files = {"json": write_json(folder / "results.json", content)}
    if _has_arrow():
        temporary = folder / "results.parquet.tmp"
        outcome.frame.to_parquet(temporary)
        os.replace(temporary, folder / "results.parquet")
        files["parquet"] = folder / "results.parquet"
    outcome.evaluation.save(folder)
    return files


def _told(made: list[Claim]) -> list[Mapping[str, Any]]:
    keep = ("setting", "judged", "other", "score", "why")
    return [{**{k: getattr(c, k) for k in keep}, "ahead": c.ahead, "difference": c.shown} for c in made]


def _has_arrow() -> bool:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        return False
    return True
