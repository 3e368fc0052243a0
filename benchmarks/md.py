"""Molecular dynamics from end to end: TrajCast (our default and the published small preset) and baselines on a molecule and a metal.

    python benchmarks/md.py                       # everything at the full budget: hours
    python benchmarks/md.py --quick               # a look at everything in minutes; bars are printed, not enforced
    python benchmarks/md.py --system uracil --minutes 20

Prints the tables of one-step errors and roll-outs and the acceptance table, writes them to ``runs/md/results.json`` and one HTML page
a system. Reference data, trained models and roll-outs are kept in ``runs/md``; the same command goes on where it was interrupted. The exit
status is 1 where a bar is missed at the full budget.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MOST_MINUTES, QUICK_MINUTES = 40.0, 0.3
SHORT = {"default": "TrajCast, our default", "published": "TrajCast, published small"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="at most 6 minutes in all; bars are printed, not enforced")
    parser.add_argument("--minutes", type=float, help=f"of training for each model, at most {MOST_MINUTES:g} (default: as md.toml says)")
    parser.add_argument("--system", default="all", choices=["uracil", "copper", "ethanol", "all"])
    parser.add_argument("--models", default="default,published", help="comma-separated: default, published")
    parser.add_argument("--data", type=Path, default=HERE.parent / ".." / "shared" / "data",
                        help="folder of reference files; they are downloaded where it is absent")
    parser.add_argument("--out", type=Path, default=HERE.parent / "runs" / "md")
    parser.add_argument("--devices", type=int, default=None, help="training processes (default: 2 where there are 2 cores)")
    given = parser.parse_args()
    given.models = [name.strip() for name in given.models.split(",")]
    for name in given.models:
        if name not in SHORT:
            parser.error(f"--models {name}: choose from {', '.join(SHORT)}")
    if given.quick and given.minutes is None:
        given.minutes = QUICK_MINUTES
    if given.minutes is not None and not 0 < given.minutes <= MOST_MINUTES:
        parser.error(f"--minutes {given.minutes:g}: the bars are for at most {MOST_MINUTES:g} minutes of training for each model")
    return given


def main() -> int:
    given = arguments()
    # Small matrices in several threads spend their time waiting, many times longer on a busy machine; must be set before torch is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    plans = tomllib.loads((HERE / "md.toml").read_text())
    names = list(plans) if given.system == "all" else [given.system]
    began, results, lost = time.monotonic(), {}, []
    for name in names:
        verdict = one_system(name, plans[name], given)
        results[name] = record(verdict)
        lost += [f"{name}: {sentence}" for sentence in verdict.missed]
    finish(given, results, lost, time.monotonic() - began)
    return 1 if lost and not given.quick else 0


def one_system(name: str, plan: dict[str, Any], given: argparse.Namespace) -> Any:
    """All stages of one system; prints its tables and writes its page."""
    from trajlab.evaluate.cache import Cache
    from trajlab.evaluate.suite import Plan, Suite
    from trajlab.evaluate.verdict import assess

    models = tuple(SHORT[short] for short in given.models)
    data = given.data if given.data.is_dir() else None
    devices = given.devices or min(2, os.cpu_count() or 1)
    whole = Plan.of(plan, given.quick)
    suite = Suite(name, whole, Cache(given.out / name), data, given.minutes or whole.minutes, models, {"devices": devices}, say)
    say(cost(suite))
    verdict = assess(suite)
    verdict.evaluation.save(given.out / name / "evaluation")
    say(f"report: {page(verdict, given.out / f'{name}.html')}")
    return verdict


def cost(suite: Any) -> str:
    """What the stages will take, from the time of a few force calls."""
    from trajlab.evaluate.costs import expected

    minutes = expected(suite)
    lines = [f"{suite.plan.title}: about {sum(minutes.values()):.0f} minutes where nothing is cached yet"]
    return "\n".join([*lines, *[f"  {stage}: {value:.1f} min" for stage, value in minutes.items()]])


def page(verdict: Any, path: Path) -> Path:
    from trajlab.report.page import report

    return report(verdict.evaluation).save(path)


def record(verdict: Any) -> dict[str, Any]:
    """Figures, bars missed and provenance, as plain values."""
    found = {name: {figure: list(e) for figure, e in figures.items()} for name, figures in verdict.found.items()}
    return {"found": found, "missed": verdict.missed, "provenance": dict(verdict.evaluation.provenance)}


def finish(given: argparse.Namespace, results: dict[str, Any], lost: list[str], seconds: float) -> None:
    from trajlab.evaluate.cache import write_json

    when = time.strftime("%Y-%m-%d %H:%M:%S")
    about = {"command": sys.argv, "quick": given.quick, "minutes": given.minutes, "wall_s": round(seconds, 1), "when": when}
    say(f"results: {write_json(given.out / 'results.json', {'about': about, 'systems': results})}, {seconds / 60:.1f} minutes")
    if lost:
        print("\nBars not reached" + (" (not enforced with --quick)" if given.quick else "") + ":", *lost, sep="\n  ")
    else:
        print("\nAll bars are reached.")


def say(text: str) -> None:
    print(f"[md] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
