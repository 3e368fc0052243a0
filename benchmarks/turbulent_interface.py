"""Barriers about the interface of a turbulent-like jet: FTLE and momentum barriers against the distance to it.

    python benchmarks/turbulent_interface.py                     # about 100 s of one processor
    python benchmarks/turbulent_interface.py --quick             # 128 x 128 points, Re = 500: twenty seconds
    python benchmarks/turbulent_interface.py --pictures FOLDER   # where the pictures go

Three plane jets with a passive scalar are computed (in two dimensions: no vortex is stretched). The scalar is split into four layers; the outermost
border is the turbulent/non-turbulent interface (TNTI), the next one an internal interface. Printed are correlations, jumps and thicknesses at both
for several integration times, and what of the claims about turbulent jets is seen in this flow. Drawn are the conditional averages, and the fields
of one run. The exit status is 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from trajlab.evaluate.bars import as_text, bar_table, missed
from trajlab.evaluate.cache import write_json
from trajlab.evaluate.turbulent_interface import FIELDS, INTERFACES, Study, study_interface
from trajlab.evaluate.turbulent_interface_config import InterfaceConfig
from trajlab.evaluate.turbulent_interface_tables import BARS, as_evaluation, figures_of
from trajlab.sources.jet import JetConfig

HERE = Path(__file__).resolve().parent


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="128 x 128 points and Re = 500")
    parser.add_argument("--points", type=int, help="of the jet along either axis (256)")
    parser.add_argument("--reynolds", type=float, help="U h/nu (1000)")
    parser.add_argument("--schmidt", type=float, default=1.0, help="nu/kappa (1)")
    parser.add_argument("--runs", type=int, default=3, help="jets (3)")
    parser.add_argument("--clusters", type=int, default=4, help="layers of the scalar (4)")
    parser.add_argument("--clustering", default="kmeans", help="kmeans or gaussian")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", default=HERE / "results")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the page with all tables and figures there")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "turbulent_interface.json")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    import turbulent_interface_pictures as pictures

    options, began, wall = arguments(given), time.process_time(), time.perf_counter()
    points, reynolds = options.points or (128 if options.quick else 256), options.reynolds or (500.0 if options.quick else 1000.0)
    jet = JetConfig(points=points, reynolds=reynolds, schmidt=options.schmidt, seed=options.seed, spin_up=30.0, duration=26.0)
    config = InterfaceConfig(jet=jet, runs=options.runs, clusters=options.clusters, clustering=options.clustering)
    study = study_interface(config, tell=lambda line: print(line, file=sys.stderr, flush=True))
    found, evaluation = figures_of(study), as_evaluation(study)
    print(f"{evaluation.title}\n{evaluation.summary}\n")
    for table in evaluation.tables:
        print(as_text(table), "\n")
    print(as_text(bar_table(BARS, {"trajlab": found}, "trajlab", "Bars")), "\n")
    drawn = [pictures.averages(options.pictures / "turbulent-interface-averages.png", study),
             pictures.fields(options.pictures / "turbulent-interface-fields.png", study)]
    spent = {"CPU seconds": time.process_time() - began, "seconds": time.perf_counter() - wall}
    write_json(options.out, record(study) | spent | {"bars": {name: value.value for name, value in found.items()}})
    if options.report:
        from trajlab.report.page import report

        drawn.append(report(evaluation).save(options.report))
    print("\n".join([*(f"picture: {path}" for path in drawn), f"figures: {options.out}"]))
    print(f"{spent['CPU seconds']:.0f} CPU seconds, {spent['seconds']:.0f} s in all\n")
    lost = missed(BARS, found)
    print("\n".join(["missed:", *lost]) if lost else "every bar is reached")
    return 1 if lost else 0


def record(study: Study) -> dict[str, object]:
    """Correlations and jumps with their errors, scales and provenance."""
    fields = {which: {name: [[*study.correlation(name, which, d), *study.jump(name, which, d)] for d in study.config.durations] for name in FIELDS}
              for which in INTERFACES}
    motions = [{side: list(m.velocity) for side, m in run.items()} for run in study.motions]
    return {"correlation, error, jump, error over durations": fields, "durations": study.config.durations, "Taylor microscale, h": study.microscale,
            "integral time, h/U": study.integral, "mean velocity of the interface, U": motions, "provenance": dict(study.provenance)}


if __name__ == "__main__":
    sys.exit(main())
