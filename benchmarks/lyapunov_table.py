"""Lyapunov spectra of all chaotic systems, with error bars: makes, checks and compares ``data/lyapunov.json``.

    python benchmarks/lyapunov_table.py                   # all systems, one core, about ten minutes; a run that was killed goes on
    python benchmarks/lyapunov_table.py Lorenz Rossler    # these systems alone, into the table there is
    python benchmarks/lyapunov_table.py --check           # ten systems anew, from other starts, against the table
    python benchmarks/lyapunov_table.py --compare         # the table beside the columns of dysts

Three windows are later stretches of the orbit from the tabulated start; each is done at two step sizes (`trajlab.dynamics.lyapunov`). ``--check``
fails (exit status 1) where an exponent of the ten is further from the table than SIGMA errors of both together, or where the sum of a spectrum of the
table is not its mean divergence to 1e-3 of the larger of |divergence| and the largest |exponent|. Windows last as long as the budget of
CPU seconds allows; the table tells how long.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import time
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from trajlab.dynamics.lyapunov import later, lyapunov
from trajlab.evaluate.bars import as_text
from trajlab.evaluate.results import Table
from trajlab.sources.chaos import chaos, kind_of, names
from trajlab.sources.chaos_dysts import record as columns_of
from trajlab.sources.lyapunov_table import LyapunovRecord

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "data" / "lyapunov.json"
WINDOWS, TRANSIENT, PILOT = 3, 100.0, 10.0  #: windows of a system; periods before the first; periods that tell what a period costs
SHORTEST, LONGEST = 50, 6400  #: periods of a window
STEPS = 200_000  #: of a map's window
DELAYED = 6  #: exponents of a delay system
RTOL = 1e-9  #: of the finer step
SIGMA, SYSTEMS = 4.0, 10
SUM = 1e-3


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", help="names; all where none is given (--check: ten by lot)")
    parser.add_argument("--check", action="store_true", help="recompute ten systems and compare with the table")
    parser.add_argument("--compare", action="store_true", help="the table beside the columns of dysts")
    parser.add_argument("--seed", type=int, help="of vectors, and with --check of the systems, by default drawn anew; the table: 0")
    parser.add_argument("--budget", type=float, help="CPU seconds of a system without compilation (3; --check: 2)")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for name in options.systems:
        kind_of(name)  # a mistyped name is told before anything is computed
    began = time.process_time()
    status = check(options) if options.check else compare(options) if options.compare else build(options)
    print(f"{time.process_time() - began:.0f} s of CPU")
    return status


# ------------------------------------------------------------------------------------------------------------------- measuring


def measure(name: str, budget: float, seed: int, shift: float = 0.0) -> LyapunovRecord:
    """The record of a system; ``shift`` periods (maps: steps) are put before the windows."""
    system = chaos(name)
    try:
        began = time.process_time()
        if system.kind == "ode":
            result = of_flow(system, budget, seed, shift)
        elif system.kind == "map":
            result = of_map(system, seed, shift)
        else:
            result = of_delay(system, budget, seed, shift)
    except Exception as error:  # a system that fails has its row, with the reason
        return LyapunovRecord(name, system.kind, system.dim, float(system.period), failed=f"{type(error).__name__}: {error}"[:300])
    return LyapunovRecord.of(result, system.kind, system.period, seed, time.process_time() - began)


def of_flow(system: Any, budget: float, seed: int, shift: float) -> Any:
    """As many periods a window as the budget allows, in powers of two times the shortest."""
    field, period = system.field, system.period
    starts, times = later(field, system.start, 1, (TRANSIENT + shift) * period, period, rtol=RTOL)
    lyapunov(field, starts, 0.1 * period, t0=times, seed=seed, workers=1)  # compiles
    began = time.process_time()
    lyapunov(field, starts, PILOT * period, t0=times, seed=seed, workers=1)
    cost = WINDOWS * (time.process_time() - began) / PILOT
    periods = min(max(budget / cost, SHORTEST), LONGEST)
    duration = SHORTEST * 2.0 ** math.floor(math.log2(periods / SHORTEST)) * period
    escaped = False
    while True:
        try:
            starts, times = later(field, system.start, WINDOWS, (TRANSIENT + shift) * period, 1.1 * duration, rtol=RTOL)
            return replace(lyapunov(field, starts, duration, t0=times, seed=seed, rtol=RTOL, workers=1), escaped=escaped)
        except ValueError:  # at one of the two steps; shorter windows may come before that
            duration, escaped = duration / 4, True
            if duration < PILOT * period:
                raise


def of_map(system: Any, seed: int, shift: float) -> Any:
    from trajlab.dynamics.maps import iterate

    first, apart = 1000 + int(shift), int(1.1 * STEPS)
    orbit = iterate(system.field, system.start, first + (WINDOWS - 1) * apart)
    return lyapunov(system.field, orbit.x[0, first::apart], STEPS, seed=seed)


def of_delay(system: Any, budget: float, seed: int, shift: float) -> Any:
    """Constant histories a hundredth apart, which are on different stretches of the attractor after the transient."""
    field, least = system.field, 50 * system.field.longest
    starts = system.start * (1.0 + 0.01 * np.arange(1.0, WINDOWS + 1))[:, None]
    lyapunov(field, starts[:1], least, count=1, seed=seed, rtol=RTOL)  # compiles
    began = time.process_time()
    lyapunov(field, starts[:1], least, count=DELAYED, seed=seed, rtol=RTOL)
    stretches = min(max(budget / (WINDOWS * (time.process_time() - began)), 1.0), 256.0)
    return lyapunov(field, starts, least * 2.0 ** math.floor(math.log2(stretches)) + shift * system.period, count=DELAYED, seed=seed, rtol=RTOL)


# --------------------------------------------------------------------------------------------------------------------- the table


def build(options: argparse.Namespace) -> int:
    """Measure what is missing, write after each system, and move the file into its place when it is whole."""
    budget, seed = options.budget or 3.0, options.seed or 0
    settings = {"windows": WINDOWS, "transient_periods": TRANSIENT, "budget": budget, "map_steps": STEPS, "delay_exponents": DELAYED,
                "rtol": RTOL, "seed": seed}
    part = options.out.with_suffix(".part.json")
    records = begun(part, settings)
    if options.systems and options.out.is_file():
        records = {name: record for name, record in read(options.out)["systems"].items() if name not in options.systems} | records
    wanted = [name for name in options.systems or names() if name not in records]
    for number, name in enumerate(wanted, 1):
        record = measure(name, budget, seed)
        records[name] = record.to_json()
        write(part, settings, records)
        print(f"[{number}/{len(wanted)}] {line(record)}", flush=True)
    write(options.out, settings, dict(sorted(records.items())))
    part.unlink(missing_ok=True)
    print(f"table: {options.out}")
    return 0


def begun(part: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What a run that was killed has left, if its settings were the same."""
    if not part.is_file():
        return {}
    left = read(part)
    return left["systems"] if left["provenance"]["settings"] == settings else {}


def read(path: Path) -> dict[str, Any]:
    import json

    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, settings: dict[str, Any], records: dict[str, Any]) -> None:
    """One system a line, by a temporary file and a rename."""
    import json

    provenance = {
        "made_by": "python benchmarks/lyapunov_table.py", "date": datetime.now(UTC).date().isoformat(), "settings": settings,
        "versions": {name: version(name) for name in ("trajlab", "dysts", "numpy", "numba", "scipy")} | {"python": sys.version.split()[0]},
        "units": "rates in nats per unit of the system's time (maps: per step)", "licence": "CC0"}
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(record)}" for name, record in records.items())
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(f'{{"provenance": {json.dumps(provenance, indent=1)},\n"systems": {{\n{rows}\n}}}}\n', encoding="utf-8")
    os.replace(temporary, path)


def line(record: LyapunovRecord) -> str:
    if record.failed:
        return f"{record.name}: FAILED {record.failed}"
    values = " ".join(f"{value:.4g}±{error:.2g}" for value, error in zip(record.exponents, record.error))
    return f"{record.name}: {values}  {record.duration / record.period:.0f} periods {record.cpu_seconds:.1f} s {', '.join(told(record))}"


def told(record: LyapunovRecord) -> list[str]:
    return [*record.flags, *([] if record.exact else ["central differences"])]


# ------------------------------------------------------------------------------------------------------------------- the check


def check(options: argparse.Namespace) -> int:
    """Ten systems from other starts with other vectors, and the sums of all."""
    seed = int(np.random.SeedSequence().entropy % 2**32) if options.seed is None else options.seed  # type: ignore[operator]
    rng = np.random.default_rng(seed)
    table = {name: LyapunovRecord.from_json(record) for name, record in read(options.out)["systems"].items()}
    fit = sorted(name for name, record in table.items() if not record.failed and "windows disagree" not in record.flags)
    drawn = options.systems or [str(name) for name in rng.choice(fit, SYSTEMS, replace=False)]
    print(f"seed {seed}: {', '.join(drawn)}\n")
    rows, lost = [], []
    for name in drawn:
        again = measure(name, options.budget or 2.0, seed, float(rng.uniform(20, 200)))
        rows.append(judged(table[name], again))
        lost += rows[-1].pop()
    note = (f"Apart: largest difference of an exponent over the errors of both in quadrature; at most {SIGMA:g} was wanted. Periods: of a window, "
            "in the table and here.")
    heads = ["system", "table", "error", "here", "error", "apart", "periods", "here", "mismatch here"]
    print(as_text(Table("Largest exponents, recomputed", heads, rows, note)))
    lost += sums(table)
    print("\n" + ("\n".join(["missed:", *lost]) if lost else "the table agrees, and every sum is the divergence"))
    return 1 if lost else 0


def judged(old: LyapunovRecord, new: LyapunovRecord) -> list[Any]:
    """A row of the table of the check, with the sentences about what is missed at its end."""
    if new.failed or old.failed:
        return [old.name, *[None] * 8, [f"{old.name}: {new.failed or old.failed}"]]
    apart = distance(old, new)
    lost = [] if apart <= SIGMA else [f"{old.name}: an exponent is {apart:.1f} errors from the table, {new.exponents} where it has {old.exponents}"]
    if not (new.mismatch or 0.0) <= SUM:
        lost.append(f"{old.name}: the sum differs from the divergence by {new.mismatch}")
    return [old.name, old.largest, old.error[0], new.largest, new.error[0], apart, round(old.duration / old.period), round(new.duration / new.period),
            new.mismatch, lost]


def distance(old: LyapunovRecord, new: LyapunovRecord) -> float:
    """Largest difference of an exponent in units of the errors of both in quadrature.

    The logarithms of growth over a window are known to about one at its ends, so 1/duration is added to the errors, as far as they are smaller.
    """
    floor = 1.0 / np.array([old.duration, new.duration]) / math.sqrt(WINDOWS)
    count = min(len(old.exponents), len(new.exponents))
    errors = np.hypot(np.maximum(old.error[:count], floor[0]), np.maximum(new.error[:count], floor[1]))
    return float((np.abs(np.subtract(old.exponents[:count], new.exponents[:count])) / errors).max())


def sums(table: dict[str, LyapunovRecord]) -> list[str]:
    """Systems whose sum of exponents is not the mean divergence."""
    have = [record for record in table.values() if record.mismatch is not None]
    worst = sorted(have, key=lambda record: -(record.mismatch or 0.0))[:3]
    print(f"\nsum against divergence: {len(have)} of {len(table)} systems have both; the worst are "
          + ", ".join(f"{record.name} {record.mismatch:.1e}" for record in worst))
    lost = [f"{record.name}: sum {record.sum}, divergence {record.divergence}" for record in have if not record.mismatch <= SUM]
    lost += [f"{record.name}: no sum" for record in table.values() if record.kind == "ode" and record.mismatch is None]
    return lost


# ------------------------------------------------------------------------------------------------------------------ comparison


def compare(options: argparse.Namespace) -> int:
    """Every system of the table beside dysts' own columns; agreement is to a tenth or two errors."""
    rows, counts = [], {"largest": [0, 0], "spectrum[0]": [0, 0], "sum": [0, 0], "D_KY": [0, 0]}
    for name, record in read(options.out)["systems"].items():
        row = beside(LyapunovRecord.from_json(record), columns_of(name, record["kind"]), counts)
        if row and (not options.systems or name in options.systems):
            rows.append(row)
    heads = ["system", "largest", "error", "dysts max", "dysts s[0]", "sum", "dysts sum", "D_KY", "dysts D_KY", "disagree", "flags"]
    note = ("A column disagrees where it is further from ours than a tenth of ours and than two of our errors; a sum, than a hundredth of the "
            "largest |exponent|, for it has next to no error.")
    print(as_text(Table("Lyapunov spectra beside the columns of dysts", heads, rows, note)))
    print("disagree: " + "; ".join(f"{column} {bad} of {count}" for column, (bad, count) in counts.items()))
    return 0


def beside(record: LyapunovRecord, columns: Any, counts: dict[str, list[int]]) -> list[Any] | None:
    if record.failed:
        return [record.name, *[None] * 9, record.failed]
    theirs = list(columns.get("lyapunov_spectrum_estimated") or [])
    total = sum(theirs) if theirs and record.sum is not None else None
    error, size = record.error[0], max(map(abs, record.exponents))
    pairs = {
        "largest": (record.largest, columns.get("maximum_lyapunov_estimated"), max(0.1 * abs(record.largest), 2 * error)),
        "spectrum[0]": (record.largest, theirs[0] if theirs else None, max(0.1 * abs(record.largest), 2 * error)),
        "sum": (record.sum, total, 0.01 * size),
        "D_KY": (record.kaplan_yorke, columns.get("kaplan_yorke_dimension"), max(0.1, 2 * record.kaplan_yorke_error)),
    }
    wrong = [column for column, (own, other, limit) in pairs.items() if tally(own, other, limit, counts[column])]
    shown = [pairs["largest"][1], pairs["spectrum[0]"][1]]
    return [record.name, record.largest, error, *shown, record.sum, total, record.kaplan_yorke, pairs["D_KY"][1], ", ".join(wrong),
            ", ".join(told(record))]


def tally(own: float | None, other: float | None, limit: float, count: list[int]) -> bool:
    """Whether two values disagree, counted; missing ones don't count."""
    if own is None or other is None:
        return False
    wrong = not abs(own - other) <= limit
    count[0] += wrong
    count[1] += 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
