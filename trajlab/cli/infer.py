"""``trajlab infer VISITS.csv``: the rates of a Markov jump process from a table of observations, with intervals and checks, as one HTML page."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from trajlab.cli.options import parse

TABLES = (".csv", ".tsv", ".parquet", ".feather")


@dataclass(frozen=True)
class Options:
    """Infer the rates of a Markov jump process from looks at its states, and write what follows from them as one HTML page.

    Attributes:
        data: a table with one row a look (.csv, .tsv, .parquet, .feather), or discrete trajectories (.npy, .npz, .dat, .txt) with --lag.
        subject: column of the subject or path; found by its name where it is left out, as are the next two.
        time: column of the time.
        state: column of the state.
        obstype: column of the kind of observation: 1 a look, 2 the exact time of a jump, 3 the exact time of entry from a state not known.
        death: states whose time of entry is always known exactly.
        censor: codes of states that are not known exactly, such as 99=1,2,3, or 99 for any state.
        states: the states in their order, or one number: how many there are.
        covariates: columns that rates depend on.
        signal: columns of a continuous measurement; states are then hidden, --states says how many, and --death is the value that stands for an entry
            into the last of them.
        lag: time between the frames of discrete trajectories.
        method: auto (network, then posterior mode), zero-shot (network alone), mle, or map.
        noise: of labels (none, flip, matrix) or of the signal (gaussian, student); auto lets the data say.
        level: of flips, where it is known.
        confusions: labels that may be mistaken, true and seen, such as 1:2 2:1, for --noise matrix; all by default.
        links: jumps that are possible, such as 1:2 2:1 2:3; all by default.
        absorbing: states that are never left.
        reversible: detailed balance holds.
        strength: pseudo-jumps of the prior for each link.
        confidence: of the intervals.
        intervals: laplace, profile, bootstrap or posterior.
        checks: simulated data sets that the data are compared with; 0 for none.
        seed: of everything that is drawn.
        report: the page.
        out: where to write the generator: .json with all about it, or .csv.
    """

    data: tyro.conf.Positional[Path]
    subject: str | None = None
    time: str | None = None
    state: str | None = None
    obstype: str | None = None
    death: tuple[str, ...] = ()
    censor: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    signal: tuple[str, ...] = ()
    lag: float | None = None
    method: str = "auto"
    noise: str = "auto"
    level: float | None = None
    confusions: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    absorbing: tuple[str, ...] = ()
    reversible: bool = False
    strength: float | None = None
    confidence: float = 0.95
    intervals: str = "laplace"
    checks: int = 40
    seed: int = 0
    report: Path = Path("report.html")
    out: Path | None = None


def run(arguments: Sequence[str]) -> None:
    """Read, infer, print, and write the page."""
    given = parse(Options, arguments, "infer")
    _checked(given)
    from trajlab.evaluate.jumps_page import PageConfig, jump_evaluation
    from trajlab.report.page import report
    from trajlab.report.text import summary

    page = PageConfig(level=given.confidence, intervals=given.intervals, replicates=given.checks, seed=given.seed)
    paths = read_paths(given)
    print(f"{given.data}: {paths.n_paths} paths, {len(paths.label)} observations, {paths.n_states} states", file=sys.stderr, flush=True)
    fit = infer(given, paths)
    evaluation = jump_evaluation(fit, given.data.name, page)
    print(summary(evaluation))
    if given.out is not None:
        print(f"\nwritten: {write_generator(fit, given.out)}")
    print(f"\nreport: {report(evaluation).save(given.report)}")


def _checked(given: Options) -> None:
    if not given.data.is_file():
        raise FileNotFoundError(f"{given.data} does not exist; a table with one row a look was wanted, or discrete trajectories with --lag")
    if given.out is not None and given.out.suffix not in (".json", ".csv"):
        raise ValueError(f"--out {given.out}: the generator is written as .json or .csv")
    if given.lag is None and given.data.suffix not in TABLES:
        raise ValueError(f"{given.data} ends in {given.data.suffix!r}; tables end in {', '.join(TABLES)}. Discrete trajectories need --lag, the time "
                         "between their frames")
    if given.signal and (len(given.states) != 1 or not given.states[0].isdigit()):
        raise ValueError("--signal needs --states N, the number of hidden states")


def read_paths(given: Options) -> Any:
    """The paths of a table or of discrete trajectories; what readers warn of stands in the notes of the page already.

    Raises:
        ValueError: what the reader refuses.
    """
    from trajlab.data.adapters.deeptime import read_dtrajs
    from trajlab.data.adapters.jump_tables import jumps_from_signal_table, jumps_from_table, read_rows

    count = int(given.states[0]) if len(given.states) == 1 and given.states[0].isdigit() else None
    if given.lag is not None:
        return read_dtrajs(given.data, given.lag, n_states=count)
    rows = read_rows(given.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if given.signal:
            death = float(given.death[0]) if given.death else None
            return jumps_from_signal_table(rows, signal=given.signal, n_states=count or 0, subject=given.subject, time=given.time, death=death,
                                           covariates=given.covariates)
        return jumps_from_table(rows, subject=given.subject, time=given.time, state=given.state, obstype=given.obstype, death=given.death,
                                censor=_codes(given.censor), covariates=given.covariates, states=count or given.states or None)


def infer(given: Options, paths: Any) -> Any:
    """The fit. Covariates of text have become columns of their own, all of which are used."""
    from trajlab.models.jumps.markov_jump import MarkovJump
    from trajlab.models.jumps.markov_jump_config import MarkovJumpConfig

    names = list(paths.names) or [str(k) for k in range(paths.n_states)]
    links, confusions = (tuple(_link(text, names, option) for text in texts) or None
                         for texts, option in ((given.links, "--links"), (given.confusions, "--confusions")))
    absorbing = tuple(_index(text, names, "--absorbing") for text in given.absorbing)
    config = MarkovJumpConfig(method=given.method, noise=given.noise, level=given.level, confusions=confusions, links=links,
                              absorbing=absorbing, strength=given.strength, reversible=given.reversible,
                              covariates=tuple(paths.covariates), seed=given.seed)
    return MarkovJump(config).infer(paths)


def write_generator(fit: Any, out: Path) -> Path:
    """The generator as .json (with names, unit, initial distribution and provenance) or as a table with the states' names."""
    if out.suffix == ".json":
        return fit.save(out)
    import pandas as pd

    scratch = out.with_name(f".{out.name}.tmp")
    pd.DataFrame(fit.generator, index=pd.Index(fit.names, name="from"), columns=list(fit.names)).to_csv(scratch)
    return scratch.replace(out)


def _codes(given: Sequence[str]) -> dict[str, Any]:
    """``99=1,2`` or ``99`` to what the reader takes."""
    parts = [text.partition("=") for text in given]
    return {code: tuple(filter(None, states.split(","))) if equals else None for code, equals, states in parts}


def _link(text: str, names: Sequence[str], option: str) -> tuple[int, int]:
    start, colon, stop = text.partition(":")
    if not colon:
        raise ValueError(f"{option} {text}: a pair of states is written FROM:TO, such as {names[0]}:{names[-1]}")
    return _index(start, names, option), _index(stop, names, option)


def _index(name: str, names: Sequence[str], option: str) -> int:
    from trajlab.catalog import unknown

    if name not in names:
        raise ValueError(f"{option}: {unknown('state', name, names)}")
    return list(names).index(name)
